//! A connection that is opened anew whenever it ends.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use transom_net::Worker;
use transom_proxy::destination::Destination;
use transom_proxy::local::Local;

use super::link::{Entrance, Link};

/// How long Redis may take to answer, and to be connected to.
pub const TIMEOUT: Duration = Duration::from_millis(500);
/// Between two tries to connect, at first and at the longest.
const SOONEST: Duration = Duration::from_millis(100);
pub const LATEST: Duration = Duration::from_secs(2);
/// A connection that ends before was closed on purpose, and the next one will be, too.
const LASTS: Duration = Duration::from_millis(100);

/// Who uses a connection.
pub trait User {
    /// Whether the next connection is opened at once where one breaks, before anybody hears of it.
    const AT_ONCE: bool;

    /// Asks as long as it is answered.
    fn serve(&self, link: Link, worker: &Worker) -> impl Future<Output = Result<(), String>>;

    /// There is none now.
    fn away(&self);
}

/// Keeps a connection open for `user`, without end.
pub async fn keep<U: User>(
    user: &U,
    destination: &Arc<dyn Destination>,
    entrance: &Entrance,
    local: &Rc<Local>,
) {
    let (mut pause, mut at_once) = (SOONEST, U::AT_ONCE);
    loop {
        let link = Link::open(destination, entrance, TIMEOUT, local).await;
        if let Ok(link) = link {
            let begun = Instant::now();
            // why it ended is seen in what the pool says of its members
            let _ = user.serve(link, &local.worker).await;
            if begun.elapsed() >= LASTS {
                (pause, at_once) = (SOONEST, U::AT_ONCE);
            }
            if std::mem::take(&mut at_once) {
                continue;
            }
        }
        user.away();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LATEST);
    }
}
