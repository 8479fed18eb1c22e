//! The APIs that are served, as operators and portals see them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use transom_proxy::exchange::Exchange;
use transom_proxy::record::Sink;

use crate::openapi::Document;
use crate::policy::lifecycle::{Age, Lifecycle};

/// An API with its versions.
pub struct Api {
    pub name: String,
    pub title: String,
    pub description: Option<String>,
    /// Hosts that it is for, as they are written; empty where it is for all.
    pub hosts: Vec<String>,
    /// Whether portals show it.
    pub listed: bool,
    /// In the order of the file.
    pub versions: Vec<Version>,
}

/// A version of an API.
pub struct Version {
    pub name: String,
    /// The path below which it is.
    pub path: String,
    /// What a request names it by beside the path: `Api-Version: v1`; empty where the path does.
    pub asked_by: String,
    pub is_default: bool,
    /// The version that follows it.
    pub successor: Option<String>,
    pub lifecycle: Option<Lifecycle>,
    pub document: Option<Arc<Document>>,
    pub callers: Arc<Callers>,
}

impl Version {
    /// Where in its life it is at `now`, in seconds since 1970: `published`, `deprecated`, `sunset` once
    /// its end is announced as well, `retired` after that.
    pub fn age(&self, now: i64) -> &'static str {
        let Some(lifecycle) = &self.lifecycle else { return "published" };
        match lifecycle.age(now) {
            Age::Published => "published",
            Age::Retired => "retired",
            Age::Deprecated | Age::BrownOut(_) if lifecycle.sunset.is_some() => "sunset",
            Age::Deprecated | Age::BrownOut(_) => "deprecated",
        }
    }
}

/// Who calls a version, how often, and when last: so many that a screen can show them.
#[derive(Default)]
pub struct Callers {
    known: ArcSwap<HashMap<Arc<str>, Arc<Calls>>>,
    /// Held while somebody is added.
    change: Mutex<()>,
}

#[derive(Default)]
struct Calls {
    count: AtomicU64,
    last: AtomicI64,
}

/// One who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub name: Arc<str>,
    pub calls: u64,
    /// Seconds since 1970.
    pub last: i64,
}

impl Callers {
    /// Callers that are told apart; whom a token names must not decide how much memory there is.
    pub const MOST: usize = 1000;
    const OTHERS: &str = "(others)";
    /// Whoever shows nothing, or was refused before anybody asked.
    const NOBODY: &str = "(nobody)";
    /// Longer names, in bytes, are among the others.
    const LONGEST: usize = 128;

    fn count(&self, name: &str, now: i64) {
        let known = self.known.load();
        let calls = match known.get(name) {
            Some(calls) => calls.clone(),
            None => self.new_caller(name),
        };
        calls.count.fetch_add(1, Ordering::Relaxed);
        // once in a second is often enough
        if calls.last.load(Ordering::Relaxed) != now {
            calls.last.store(now, Ordering::Relaxed);
        }
    }

    fn new_caller(&self, name: &str) -> Arc<Calls> {
        let _changing = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.load();
        let full = known.len() >= Self::MOST || name.len() > Self::LONGEST;
        let name = if full { Self::OTHERS } else { name };
        if let Some(calls) = known.get(name) {
            return calls.clone();
        }
        let (mut changed, calls) = (HashMap::clone(&known), Arc::<Calls>::default());
        changed.insert(name.into(), calls.clone());
        self.known.store(Arc::new(changed));
        calls
    }

    /// All of them, who called last first.
    pub fn list(&self) -> Vec<Caller> {
        let known = self.known.load();
        let caller = |(name, calls): (&Arc<str>, &Arc<Calls>)| Caller {
            name: name.clone(),
            calls: calls.count.load(Ordering::Relaxed),
            last: calls.last.load(Ordering::Relaxed),
        };
        let mut all: Vec<Caller> = known.iter().map(caller).collect();
        all.sort_unstable_by(|a, b| (b.last, &*a.name).cmp(&(a.last, &*b.name)));
        all
    }

    /// How often it was called by this caller.
    pub fn calls_of(&self, name: &str) -> u64 {
        self.known.load().get(name).map_or(0, |calls| calls.count.load(Ordering::Relaxed))
    }
}

/// Counts who calls which version on one listener, once an exchange is over: what is refused counts, too.
pub struct Tally {
    /// By the number of the route; nothing for one that is of no API.
    pub versions: Vec<Option<Arc<Callers>>>,
}

impl Tally {
    fn count(&self, exchange: &Exchange) {
        let Some(route) = exchange.route else { return };
        if let Some(Some(callers)) = self.versions.get(route as usize) {
            let who = exchange.identity.as_ref().map_or(Callers::NOBODY, |who| &*who.name);
            callers.count(who, now());
        }
    }
}

impl Sink for Tally {
    fn tunnelled(&self, exchange: &Exchange) {
        self.count(exchange);
    }

    fn record(&self, exchange: &Exchange) {
        // a tunnel was counted when it began
        if !exchange.record.tunnel {
            self.count(exchange);
        }
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;

    use super::*;
    use crate::moment::Moment;

    #[test]
    fn gw_37_a_version_has_an_age_on_every_day() {
        let moment = |text: &str| Moment::from_text(text).unwrap();
        let version = |sunset: Option<&str>| Version {
            name: "v1".into(),
            path: "/v1".into(),
            asked_by: String::new(),
            is_default: false,
            successor: None,
            lifecycle: Some(Lifecycle {
                deprecated: moment("2027-01-31").into(),
                sunset: sunset.map(|day| moment(day).into()),
                successor: None,
                documentation: None,
                brown_outs: Vec::new().into(),
                dry_run: false,
            }),
            document: None,
            callers: Arc::default(),
        };
        for (sunset, day, expected) in [
            (None, "2027-01-30", "published"),
            (None, "2027-01-31", "deprecated"),
            (Some("2027-12-31"), "2027-01-30", "published"),
            (Some("2027-12-31"), "2027-12-30", "sunset"),
            (Some("2027-12-31"), "2027-12-31", "retired"),
        ] {
            assert_eq!(version(sunset).age(moment(day).second()), expected, "{sunset:?} {day}");
        }
        assert_eq!(Version { lifecycle: None, ..version(None) }.age(i64::MAX), "published");
    }

    #[test]
    fn gw_39_callers_are_told_apart_until_there_are_too_many() {
        let callers = Callers::default();
        callers.count("ann", 10);
        callers.count("ann", 30);
        callers.count("bob", 20);
        let row = |name: &str, calls, last| Caller { name: name.into(), calls, last };
        assert_eq!(callers.list(), [row("ann", 2, 30), row("bob", 1, 20)]);
        for n in 0..2 * Callers::MOST {
            callers.count(&format!("c{n}"), 5);
        }
        callers.count(&"x".repeat(Callers::LONGEST + 1), 5);
        assert_eq!(callers.list().len(), Callers::MOST + 1);
        assert_eq!(callers.calls_of(Callers::OTHERS), Callers::MOST as u64 + 3);
        assert_eq!(callers.calls_of("ann"), 2);
    }
}
