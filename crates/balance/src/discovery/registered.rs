//! Endpoints that register themselves, for as long as they say so again in time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use transom_settings::EndpointAddress;

use super::news::Changed;
use super::{Following, Listed, News, Reach, Source};

/// Who has registered for a pool. It lives on over reloads.
#[derive(Default)]
pub struct Registrations {
    table: Mutex<Table>,
    /// While a reload is on its way, two rosters hear of it.
    changed: Changed,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<EndpointAddress, Entry>,
    /// Who has gone last has gone of its own will.
    left: bool,
    /// How many may be registered at once.
    most: usize,
    /// How long one stays that says nothing else.
    ttl: Duration,
    /// Who shows it may register here and do nothing else.
    token: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Entry {
    listed: Listed,
    until: Instant,
}

/// What a registration has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    New,
    /// It was there already; its time begins anew.
    Again,
    /// There are as many as may be.
    Full,
}

impl Registrations {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many may be registered at once, how long one stays that says nothing else, and with what
    /// it proves that it may.
    pub fn allow(&self, most: usize, ttl: Duration, token: Option<&str>) {
        let mut table = self.table();
        (table.most, table.ttl, table.token) = (most, ttl, token.map(Arc::from));
    }

    /// With what one proves that it may register, where there is such a thing.
    pub fn token(&self) -> Option<Arc<str>> {
        self.table().token.clone()
    }

    /// This endpoint is there for so long.
    pub fn register(&self, listed: Listed, ttl: Option<Duration>, now: Instant) -> Registered {
        let mut table = self.table();
        let until = now + ttl.unwrap_or(table.ttl);
        let full = table.entries.len() >= table.most;
        let known = table.entries.get_mut(&listed.address);
        let done = match known {
            Some(entry) if entry.until > now => {
                *entry = Entry { listed, until };
                Registered::Again
            }
            None if full => return Registered::Full,
            _ => {
                table.entries.insert(listed.address.clone(), Entry { listed, until });
                Registered::New
            }
        };
        drop(table);
        self.changed.tell();
        done
    }

    /// This endpoint goes; whether it was there.
    pub fn leave(&self, address: &EndpointAddress) -> bool {
        let mut table = self.table();
        let was_there = table.entries.remove(address).is_some();
        table.left |= was_there;
        drop(table);
        self.changed.tell();
        was_there
    }

    /// Who is registered, and for how long still.
    pub fn all(&self, now: Instant) -> Vec<(Listed, Duration)> {
        let left =
            |entry: &Entry| (entry.listed.clone(), entry.until.saturating_duration_since(now));
        self.table().entries.values().map(left).collect()
    }

    /// Takes out whose time is over. Gives who is left, whether who has gone last said goodbye, and
    /// when the next one's time is over.
    fn sweep(&self, now: Instant) -> (Vec<Listed>, bool, Option<Instant>) {
        let mut table = self.table();
        let before = table.entries.len();
        table.entries.retain(|_, entry| entry.until > now);
        if table.entries.len() < before {
            table.left = false;
        }
        let next = table.entries.values().map(|entry| entry.until).min();
        (table.entries.values().map(|entry| entry.listed.clone()).collect(), table.left, next)
    }

    /// Tells who is registered, now and whenever that changes.
    async fn tell(&self, news: &News) -> Infallible {
        let mut changed = self.changed.subscribe();
        let mut before = None;
        loop {
            changed.mark_unchanged();
            let (list, left, next) = self.sweep(Instant::now());
            if before.as_ref() != Some(&list) {
                match left && list.is_empty() {
                    true => news.emptied(),
                    false => news.found(list.clone()),
                }
            }
            before = Some(list);
            let over = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // never an error: who tells is `self`
                _ = changed.changed() => {}
                () = over => {}
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source of a pool whose endpoints register themselves.
pub struct Registration(pub Arc<Registrations>);

impl Source for Registration {
    fn follow<'a>(&'a mut self, _: &'a Reach, news: &'a News) -> Following<'a> {
        Box::pin(async move { match self.0.tell(news).await {} })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_come_back_in_time_is_gone() {
        let all = Registrations::new();
        all.allow(2, Duration::from_secs(9), None);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let ttl = Some(Duration::from_secs(10));
        let one = |text: &str| Listed::read(text).unwrap();
        assert_eq!(all.register(one("a:1"), ttl, at(0)), Registered::New);
        assert_eq!(all.register(one("b:1"), ttl, at(5)), Registered::New);
        assert_eq!(all.register(one("c:1"), ttl, at(5)), Registered::Full);
        assert_eq!(all.register(one("a:1"), ttl, at(8)), Registered::Again);
        assert_eq!(all.sweep(at(16)), (vec![one("a:1")], false, Some(at(18))));
        assert!(all.leave(&one("a:1").address) && !all.leave(&one("a:1").address));
        assert_eq!(all.sweep(at(17)), (Vec::new(), true, None), "it has said goodbye");
        all.register(one("a:1"), ttl, at(20));
        assert_eq!(all.sweep(at(40)), (Vec::new(), false, None), "nobody has said so");
    }

    #[tokio::test]
    async fn lb29_whoever_follows_hears_of_each_who_comes_and_goes() {
        let all = Registrations::new();
        all.allow(9, Duration::from_secs(60), None);
        let one = Listed::read("a:1").unwrap();
        let both = [
            News::new("runs", false, Changed::default()),
            News::new("next", false, Changed::default()),
        ];
        let heard = async |expected: Option<&[Listed]>| {
            while !both.iter().all(|news| news.told().list.as_deref() == expected) {
                tokio::task::yield_now().await;
            }
            assert!(both.iter().all(|news| news.told().failing.is_none()));
        };
        let events = async {
            heard(Some(&[])).await;
            for _ in 0..3 {
                all.register(one.clone(), None, Instant::now());
                heard(Some(std::slice::from_ref(&one))).await;
                assert!(all.leave(&one.address));
                heard(Some(&[])).await;
            }
        };
        let events = tokio::time::timeout(Duration::from_secs(10), events);
        tokio::select! {
            _ = all.tell(&both[0]) => {}
            _ = all.tell(&both[1]) => {}
            done = events => done.expect("both hear"),
        }
    }
}
