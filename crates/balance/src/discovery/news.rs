//! What one source has told: its last good list, and whether it fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Listed;

/// Where a source tells what it finds. Clones are the same.
#[derive(Clone)]
pub struct News(Arc<Inner>);

struct Inner {
    name: String,
    /// Takes an empty list for what it says, instead of for a mistake.
    allow_empty: bool,
    told: Mutex<Told>,
    changed: Changed,
}

/// Counts what has become known; whoever waits for it is woken.
#[derive(Clone)]
pub struct Changed(watch::Sender<u64>);

impl Default for Changed {
    fn default() -> Self {
        Changed(watch::Sender::new(0))
    }
}

impl Changed {
    pub fn tell(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// Whether anybody still listens.
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// What one source has told so far.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The last good list; nothing before the first.
    pub list: Option<Arc<[Listed]>>,
    /// When that was told, or confirmed.
    pub good: Option<Instant>,
    /// Lists so far.
    pub lists: u64,
    /// Why it fails, and since when.
    pub failing: Option<(String, Instant)>,
    /// What is wrong with single entries of the last list, which were left out of it.
    pub remarks: Vec<String>,
    /// Those of the list that is being read.
    next: Vec<String>,
}

/// Most remarks that are kept.
const REMARKS: usize = 20;

impl Told {
    /// Whether it has told anything, if only that it fails.
    pub fn spoke(&self) -> bool {
        self.list.is_some() || self.failing.is_some()
    }

    /// How old the last good list is, where the source fails.
    pub fn stale(&self, now: Instant) -> Option<Duration> {
        self.failing.as_ref()?;
        self.good.map(|good| now.saturating_duration_since(good))
    }
}

impl News {
    /// A source that has told nothing yet.
    pub fn new(name: impl Into<String>, allow_empty: bool, changed: Changed) -> Self {
        News(Arc::new(Inner { name: name.into(), allow_empty, told: Mutex::default(), changed }))
    }

    /// `etcd /pools/orders/`: the kind and what it is asked for.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole list, as it is now. An empty one after one that was not is a mistake somewhere,
    /// unless it is allowed: the last good one goes on (U-10).
    pub fn found(&self, list: Vec<Listed>) {
        let mut told = self.told_mut();
        told.remarks = std::mem::take(&mut told.next);
        let had = told.list.as_ref().is_some_and(|list| !list.is_empty());
        if list.is_empty() && had && !self.0.allow_empty {
            drop(told);
            return self.failed("it lists nothing any more, the last endpoints are kept");
        }
        self.take(told, list);
    }

    /// The list is empty, and that is meant.
    pub fn emptied(&self) {
        self.take(self.told_mut(), Vec::new());
    }

    fn take(&self, mut told: MutexGuard<'_, Told>, list: Vec<Listed>) {
        told.list = Some(list.into());
        told.good = Some(Instant::now());
        told.lists += 1;
        told.failing = None;
        drop(told);
        self.0.changed.tell();
    }

    /// An entry of the list that is being read cannot be used and is left out.
    pub fn remark(&self, what: impl Into<String>) {
        let mut told = self.told_mut();
        if told.next.len() < REMARKS {
            told.next.push(what.into());
        }
    }

    /// Nothing has changed, and somebody has looked.
    pub fn confirmed(&self) {
        let mut told = self.told_mut();
        told.good = Some(Instant::now());
        let recovered = told.failing.take().is_some();
        drop(told);
        if recovered {
            self.0.changed.tell();
        }
    }

    /// It cannot be asked now. The last good list goes on.
    pub fn failed(&self, why: impl Into<String>) {
        let why = why.into();
        let mut told = self.told_mut();
        match &mut told.failing {
            Some((known, _)) if *known == why => return,
            Some((known, _)) => *known = why,
            none => *none = Some((why, Instant::now())),
        }
        drop(told);
        self.0.changed.tell();
    }

    /// Goes on from what an earlier snapshot's source of the same name had told.
    pub fn following(&self, earlier: &News) {
        *self.told_mut() = earlier.told();
    }

    pub fn told(&self) -> Told {
        self.told_mut().clone()
    }

    /// Lists so far.
    pub fn lists(&self) -> u64 {
        self.told_mut().lists
    }

    fn told_mut(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<Listed> {
        text.split_whitespace().map(|one| Listed::read(one).unwrap()).collect()
    }

    #[test]
    fn u10_what_is_empty_or_fails_takes_nothing_away() {
        let changed = Changed::default();
        let news = News::new("file x", false, changed.clone());
        assert!(!news.told().spoke());
        news.failed("no such file");
        assert!(news.told().spoke() && news.told().list.is_none());
        news.found(listed("a:1 b:1"));
        assert_eq!(news.told().failing, None);
        news.found(Vec::new());
        assert_eq!(news.told().list.unwrap().len(), 2);
        assert!(news.told().failing.unwrap().0.contains("nothing any more"));
        let count = *changed.subscribe().borrow();
        news.found(Vec::new());
        assert_eq!(*changed.subscribe().borrow(), count, "the same is told once");
        news.confirmed();
        assert_eq!(news.told().failing, None);

        let news = News::new("file x", true, Changed::default());
        news.found(listed("a:1"));
        news.found(Vec::new());
        assert_eq!(news.told().list.unwrap().len(), 0);
    }
}
