//! The background tasks of the control side: started here, named, and started again if they fail.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::reload::Running;

/// How often the files are looked at, where reloading by change is wanted.
const LOOK: Duration = Duration::from_millis(500);

/// Starts a task of the control side.
#[allow(clippy::disallowed_methods)] // The one place on the control side.
pub fn start<F>(name: &'static str, task: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        task.await;
        crate::log::debug(&format!("task `{name}` has ended"));
    })
}

/// Reloads when a file has changed and then stood still for one look, so that a file that is being
/// written is not read half.
pub async fn watch(running: Arc<Running>) {
    let mut changed_before = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let changed = running.files_changed().await;
        if changed_before && changed {
            let _ = running.reload().await;
            changed_before = false;
        } else {
            changed_before = changed;
        }
    }
}
