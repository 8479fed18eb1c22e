//! Keys that their issuer publishes at a URL: fetched beside requests, and kept while the issuer is
//! away.
//!
//! A request never fetches anything itself. It finds the keys that were fetched last; where there are
//! none yet, or none that has signed its token, it asks for a fetch and waits for it, for so long and
//! no longer. However many ask, there is one fetch, and strangers' tokens cannot cause more than one
//! in a while.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use transom_balance::log::{Level, Log};
use transom_net::Worker;
use transom_proxy::local::Local;
use transom_proxy::message::Method;
use transom_proxy::patience::within;
use transom_settings::Url;

use super::algorithm::Algorithm;
use super::keys::Keys;
use crate::call::{self, Caller};
use crate::task::Task;

/// The rhythm in which keys are fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythm {
    /// How old keys may become before they are fetched anew.
    pub refresh: Duration,
    /// How long they are used while they cannot be fetched.
    pub stale: Duration,
    /// Between two fetches that unknown keys have caused.
    pub pause: Duration,
    /// How long a request waits for a fetch.
    pub wait: Duration,
}

/// What was fetched from one place. Goes on over reloads.
pub struct Published {
    url: Url,
    allowed: Vec<Algorithm>,
    keys: ArcSwapOption<Keys>,
    /// The number of the last fetch that has ended.
    ended: watch::Sender<u64>,
    wake: Notify,
    state: Mutex<State>,
}

struct State {
    /// The number of the last fetch that was asked for.
    asked: u64,
    /// When one may be asked for again by who does not know a key.
    next_miss: Option<Instant>,
    /// When the keys are to be fetched next in any case.
    due: Option<Instant>,
    /// When they were fetched last.
    fetched: Option<Instant>,
    failures: u32,
}

impl Published {
    /// Nothing yet; the first fetch is asked for from the beginning.
    pub fn at(url: Url, allowed: Vec<Algorithm>) -> Self {
        Published {
            url,
            allowed,
            keys: ArcSwapOption::empty(),
            ended: watch::Sender::new(0),
            wake: Notify::new(),
            state: Mutex::new(State {
                asked: 1,
                next_miss: None,
                due: None,
                fetched: None,
                failures: 0,
            }),
        }
    }

    /// Whether it is what is published there.
    pub fn is_at(&self, url: &Url, allowed: &[Algorithm]) -> bool {
        self.url == *url && self.allowed == allowed
    }

    /// The keys that are there. Waits for the first ones.
    pub async fn keys(&self, worker: &Worker, rhythm: &Rhythm) -> Option<Arc<Keys>> {
        if let Some(keys) = self.keys.load_full() {
            return Some(keys);
        }
        if let Some(first) = self.under_way() {
            self.wait(first, worker, rhythm).await;
        }
        // the fetch may have ended since they were looked for
        self.keys.load_full()
    }

    /// Whether a key is among those that are there now.
    pub fn have(&self, print: &super::key::Print) -> bool {
        self.keys.load().as_ref().is_some_and(|keys| keys.have(print))
    }

    /// Keys that were fetched after `known` was not enough; none where that may not be asked for now.
    pub async fn after_miss(
        &self,
        known: &Arc<Keys>,
        worker: &Worker,
        rhythm: &Rhythm,
    ) -> Option<Arc<Keys>> {
        // others may have had them fetched meanwhile
        let newer = |keys: &Arc<Keys>| !Arc::ptr_eq(keys, known);
        if let Some(keys) = self.keys.load_full().filter(newer) {
            return Some(keys);
        }
        if let Some(fetch) = self.ask(worker.now(), rhythm.pause) {
            self.wait(fetch, worker, rhythm).await;
        }
        self.keys.load_full().filter(newer)
    }

    /// The fetch that is under way or about to begin.
    fn under_way(&self) -> Option<u64> {
        let asked = self.state().asked;
        (*self.ended.borrow() < asked).then_some(asked)
    }

    /// Asks for a fetch: the one that is under way already, or another, if one may be asked for.
    fn ask(&self, now: Instant, pause: Duration) -> Option<u64> {
        let mut state = self.state();
        if *self.ended.borrow() < state.asked {
            return Some(state.asked);
        }
        if state.next_miss.is_some_and(|next| now < next) {
            return None;
        }
        state.next_miss = Some(now + pause);
        state.asked += 1;
        self.wake.notify_one();
        Some(state.asked)
    }

    async fn wait(&self, fetch: u64, worker: &Worker, rhythm: &Rhythm) {
        let mut ended = self.ended.subscribe();
        let _ = within(worker, rhythm.wait, ended.wait_for(|ended| *ended >= fetch)).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a fetch has given. Says when the next one is due, and what is worth a line in the log.
    fn fetched(
        &self,
        fetch: u64,
        outcome: Result<Keys, String>,
        rhythm: &Rhythm,
        now: Instant,
    ) -> (Duration, Option<(Level, String)>) {
        let mut state = self.state();
        let (pause, said) = match outcome {
            Ok(keys) => {
                let again = state.failures > 0 || state.fetched.is_none();
                state.failures = 0;
                state.fetched = Some(now);
                let said = again.then(|| (Level::Info, format!("has {} keys", keys.len())));
                self.keys.store(Some(Arc::new(keys)));
                (rhythm.refresh, said)
            }
            Err(why) => {
                state.failures = state.failures.saturating_add(1);
                let age = state.fetched.map(|at| now.saturating_duration_since(at));
                let old = age.is_some_and(|age| age > rhythm.stale);
                let what = match age {
                    None => "has no keys yet, and nothing passes",
                    Some(_) if old => "has only keys that are too old, and nothing passes",
                    Some(_) => "goes on with the keys it has",
                };
                if old {
                    self.keys.store(None);
                }
                // said when it begins, and when nothing passes any more
                let worth = state.failures == 1 || old && state.fetched.take().is_some();
                let said = worth.then(|| (Level::Warn, format!("{what}: {why}")));
                // one second, then twice as long each time, up to half a minute
                let pause = Duration::from_secs(1 << state.failures.clamp(1, 6).min(5));
                ((pause / 2).min(rhythm.refresh), said)
            }
        };
        state.due = now.checked_add(pause);
        drop(state);
        self.ended.send_if_modified(|ended| {
            *ended = fetch.max(*ended);
            true
        });
        (pause, said)
    }
}

/// Fetches what is published.
pub struct Fetching {
    /// What it is fetched for, for the log.
    pub name: String,
    pub published: Arc<Published>,
    pub caller: Caller,
    pub rhythm: Rhythm,
    pub log: Log,
}

impl Task for Fetching {
    fn run(self: Arc<Self>, local: Rc<Local>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            loop {
                self.until_due(&local).await;
                let fetch = self.published.state().asked;
                let outcome = self.fetch(&local).await;
                let now = local.worker.now();
                let (_, said) = self.published.fetched(fetch, outcome, &self.rhythm, now);
                if let Some((level, what)) = said {
                    (self.log)(level, &format!("{} {what}", self.name));
                }
            }
        })
    }
}

impl Fetching {
    /// After a reload, what was fetched before it is still good.
    async fn until_due(&self, local: &Rc<Local>) {
        while self.published.under_way().is_none() {
            let due = self.published.state().due;
            let now = local.worker.now();
            let Some(left) = due.and_then(|due| due.checked_duration_since(now)) else { return };
            if left.is_zero() {
                return;
            }
            let _ = within(&local.worker, left, self.published.wake.notified()).await;
        }
    }

    async fn fetch(&self, local: &Rc<Local>) -> Result<Keys, String> {
        let Published { url, allowed, .. } = &*self.published;
        let mut request = call::request(Method::Get, url);
        request.fields.append("Accept", b"application/jwk-set+json, application/json");
        let called = self.caller.call_alone(local, request).await;
        let called = called.map_err(|fault| format!("{url}: {fault}"))?;
        if called.status != 200 {
            return Err(format!("{url} answers {}", called.status));
        }
        let (keys, wrong) = Keys::of_jwks(&called.body, allowed)
            .map_err(|why| format!("what {url} answers is no set of keys: {why}"))?;
        for why in wrong {
            (self.log)(Level::Warn, &format!("{} leaves out a key: {why}", self.name));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::key::Key;

    const SECOND: Duration = Duration::from_secs(1);
    const RHYTHM: Rhythm = Rhythm {
        refresh: Duration::from_secs(600),
        stale: Duration::from_secs(3600),
        pause: Duration::from_secs(30),
        wait: SECOND,
    };

    fn published() -> Published {
        Published::at(Url::parse("id/keys").unwrap(), Algorithm::ALL.to_vec())
    }

    fn keys() -> Result<Keys, String> {
        Ok(Keys::of(vec![Key::of_secret(Algorithm::Hs256, &[1; 32]).unwrap()]))
    }

    #[test]
    fn a_09_keys_stay_while_their_issuer_is_away_but_not_for_ever() {
        let (published, start) = (published(), Instant::now());
        let fail = |at: u64| {
            let now = start + Duration::from_secs(at);
            let (pause, said) = published.fetched(1, Err("gone".into()), &RHYTHM, now);
            (pause.as_secs(), said.map(|(_, what)| what))
        };
        assert_eq!(fail(0), (1, Some("has no keys yet, and nothing passes: gone".into())));
        assert_eq!(fail(1), (2, None));
        let (pause, said) = published.fetched(1, keys(), &RHYTHM, start + 2 * SECOND);
        assert_eq!((pause, said), (RHYTHM.refresh, Some((Level::Info, "has 1 keys".into()))));
        assert_eq!(published.fetched(1, keys(), &RHYTHM, start + 3 * SECOND).1, None);
        assert_eq!(fail(603), (1, Some("goes on with the keys it has: gone".into())));
        for (at, pause) in [(604, 2), (606, 4), (610, 8), (618, 16), (634, 16), (650, 16)] {
            assert_eq!(fail(at), (pause, None));
            assert!(published.keys.load().is_some());
        }
        let old = "has only keys that are too old, and nothing passes: gone";
        assert_eq!(fail(3604), (16, Some(old.into())));
        assert!(published.keys.load().is_none());
        assert_eq!(fail(3620), (16, None));
    }

    #[test]
    fn a_03_unknown_keys_cause_one_fetch_in_a_while_and_everybody_waits_for_the_same() {
        let (published, start) = (published(), Instant::now());
        let ask = |at: u64| published.ask(start + Duration::from_secs(at), RHYTHM.pause);
        assert_eq!((published.under_way(), ask(0)), (Some(1), Some(1)), "the first one");
        published.fetched(1, keys(), &RHYTHM, start);
        assert_eq!(published.under_way(), None);
        assert_eq!((ask(1), ask(1), ask(2)), (Some(2), Some(2), Some(2)), "one for all");
        published.fetched(2, keys(), &RHYTHM, start + 3 * SECOND);
        assert_eq!((ask(4), ask(30)), (None, None));
        assert_eq!(ask(31), Some(3));
        // one that had begun before it was asked for does not count
        published.fetched(2, keys(), &RHYTHM, start + 32 * SECOND);
        assert_eq!(ask(33), Some(3));
    }
}
