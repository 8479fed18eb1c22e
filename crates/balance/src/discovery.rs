//! Where the endpoints of a pool come from while it runs.
//!
//! ```text
//! source ─ follows ─▶ news ─▶ roster of the pool ─ names ─▶ addresses ─▶ Pool::replace
//! ```
//!
//! A source (one file for each kind) tells whole lists. The [`roster`] joins those of all sources of
//! a pool with what the operator has changed by hand, has every name looked up ([`names`]), and
//! gives the pool its members. A source that fails or falls silent takes nothing away: its last good
//! list goes on, and that it does is told once and can be seen (U-10).

pub mod answer;
pub mod call;
pub mod consul;
pub mod docker;
pub mod etcd;
pub mod file;
pub mod listed;
pub mod manual;
pub mod names;
pub mod news;
pub mod registered;
pub mod resolver;
pub mod roster;
pub mod srv;
pub mod subsetting;

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use transom_net::Worker;

pub use listed::Listed;
pub use news::News;
pub use resolver::Resolver;
pub use roster::Roster;

/// What a source reaches others with.
#[derive(Clone)]
pub struct Reach {
    pub worker: Worker,
    pub resolver: Arc<Resolver>,
}

/// Where endpoints come from.
pub trait Source: Send {
    /// Asks, tells the list, and goes on telling it as it changes. Ends only when something fails,
    /// with what that was; it is called again then.
    fn follow<'a>(&'a mut self, reach: &'a Reach, news: &'a News) -> Following<'a>;
}

/// What [`Source::follow`] ends with is why it did.
pub type Following<'a> = Pin<Box<dyn Future<Output = String> + 'a>>;

/// The first wait after a failure; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Follows a source without end. After a failure it waits with full jitter, so that many do not
/// come back to a registry at once.
pub async fn follow(mut source: Box<dyn Source>, reach: Reach, news: News) {
    let mut pause = PAUSE;
    loop {
        let before = news.lists();
        let why = source.follow(&reach, &news).await;
        news.failed(why);
        if news.lists() > before {
            pause = PAUSE;
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Any time up to this one, and at least a tenth of it.
fn jittered(most: Duration) -> Duration {
    // The keys of a hasher are the system's randomness.
    let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    most.mul_f64(0.1 + 0.9 * random)
}
