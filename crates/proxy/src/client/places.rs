//! Places below the ceilings of endpoints, for connections that are about to be opened; and how a
//! worker gives up connections that lie idle, where another one needs the place.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use transom_net::{Ceiling, Ear, Place};

use crate::destination::Endpoint;
use crate::fault::{Code, Fault};
use crate::local::Local;
use crate::patience::within;

/// The ceilings below which a worker has had connections, each of which is listened to.
#[derive(Default)]
pub struct Heard(RefCell<Vec<Weak<Ceiling>>>);

/// Places for one more connection to the endpoint, once there are; none where nothing limits them.
///
/// # Errors
/// When all connections that it may have were in use for `limit`.
pub async fn take(
    local: &Rc<Local>,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<Vec<Place>, Fault> {
    let mut places = Vec::new();
    if endpoint.ceilings.is_empty() {
        return Ok(places);
    }
    let taking = async {
        // its own before its pool's: who waits for one holds no place that another needs to go on
        for ceiling in &endpoint.ceilings {
            listen(local, ceiling);
            places.push(ceiling.take().await);
        }
    };
    match within(&local.worker, limit, taking).await {
        Some(()) => Ok(places),
        None => Err(none_left(limit)),
    }
}

/// What is said when all connections were in use for so long.
pub(super) fn none_left(limit: Duration) -> Fault {
    let millis = limit.as_millis();
    let detail = format!("all connections that `limits` allow were in use for {millis} ms");
    Fault::new(Code::QueueTimeout, detail).retry_after(Duration::from_secs(1))
}

/// From now on this worker gives up connections below the ceiling when others need them.
fn listen(local: &Rc<Local>, ceiling: &Arc<Ceiling>) {
    let mut heard = local.ceilings.0.borrow_mut();
    if heard.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(ceiling))) {
        return;
    }
    heard.retain(|known| known.strong_count() > 0);
    heard.push(Arc::downgrade(ceiling));
    let (ear, local) = (ceiling.ear(), local.clone());
    let aside = local.aside.clone();
    aside.start("connections given up for others", give_up(local, ear));
}

/// Until the ceiling is gone.
async fn give_up(local: Rc<Local>, mut ear: Ear) {
    while let Some(ceiling) = ear.wanted().await {
        ceiling
            .give_up(|| local.idle.borrow_mut().give_up(&ceiling) || local.http2.give_up(&ceiling));
    }
}
