//! The background tasks of the control side: started here and named, so that an operator can see
//! what runs and what has failed.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::admin::Task;
use crate::reload::Running;

/// How often the files are looked at, where reloading by change is wanted.
const LOOK: Duration = Duration::from_millis(500);

/// How often what was used of quotas is written.
const KEEP: Duration = Duration::from_millis(500);

/// After how many of these what is over is let go.
const FORGET: u64 = 120;

/// What was started on the control side, by name. Clones are the same.
#[derive(Clone, Default)]
pub struct Supervisor(Arc<Mutex<ByName>>);

type ByName = BTreeMap<&'static str, Kept>;

#[derive(Default)]
struct Kept {
    running: usize,
    /// What the last one that panicked said.
    failure: Option<String>,
}

impl Supervisor {
    /// Starts a task. One that panics ends alone, is told of in the log and remembered.
    #[allow(clippy::disallowed_methods)] // The one place on the control side.
    pub fn start<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.kept().entry(name).or_default().running += 1;
        let this = self.clone();
        let task = tokio::spawn(task);
        tokio::spawn(async move {
            let failure = match task.await {
                Err(error) if error.is_panic() => Some(said(&*error.into_panic())),
                _ => None,
            };
            match &failure {
                Some(what) => crate::log::error(&format!("task `{name}` has failed: {what}")),
                None => crate::log::debug(&format!("task `{name}` has ended")),
            }
            let mut kept = this.kept();
            let kept = kept.entry(name).or_default();
            kept.running -= 1;
            kept.failure = failure.or(kept.failure.take());
        });
    }

    /// Every name under which something was started, in alphabetical order.
    pub fn tasks(&self) -> Vec<Task> {
        let kept = self.kept();
        let task = |(name, kept): (&&str, &Kept)| Task {
            name: (*name).to_owned(),
            running: kept.running,
            restarts: 0,
            failure: kept.failure.clone(),
        };
        kept.iter().map(task).collect()
    }

    fn kept(&self) -> MutexGuard<'_, ByName> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `panic!` was given.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// Looks at what pools do, so that rates can be told.
pub async fn look_at_pools(running: Arc<Running>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        running.look_at_pools();
    }
}

/// Writes what was used of quotas every so often: so much of it is lost with the process at most, and the
/// time that writing takes.
pub async fn keep_usage(running: Arc<Running>) {
    let mut beat = tokio::time::interval(KEEP);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for count in 1_u64.. {
        beat.tick().await;
        running.keep_usage().await;
        if count.is_multiple_of(FORGET) {
            running.forget_what_is_over().await;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_and_what_has_failed_is_known() {
        let supervisor = Supervisor::default();
        assert_eq!(supervisor.tasks(), []);
        supervisor.start("lasts", std::future::pending());
        supervisor.start("fails", async { panic!("on {}", "purpose") });
        supervisor.start("ends", async {});
        let task = |name: &str, running, failure: Option<&str>| Task {
            name: name.to_owned(),
            running,
            restarts: 0,
            failure: failure.map(str::to_owned),
        };
        assert_eq!(
            supervisor.tasks(),
            [task("ends", 1, None), task("fails", 1, None), task("lasts", 1, None)]
        );
        let ended =
            [task("ends", 0, None), task("fails", 0, Some("on purpose")), task("lasts", 1, None)];
        while supervisor.tasks() != ended {
            tokio::task::yield_now().await;
        }
    }
}
