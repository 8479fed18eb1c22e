//! The live state of a member: what it is doing and whether it may be used.
//!
//! One state is shared by all snapshots in which its endpoint belongs to the pool, so that neither a
//! reload nor a discovery forgets what is known. What requests touch are atomics on cache lines of
//! their own; reasons are behind a lock that only those take who change or show them.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::health::passive::counts::Counts;
use crate::histogram::Histogram;

mod fading;
mod standing;

pub use fading::{DECAY, Fading};
pub use standing::{Administrative, Health, Own, Standing, Told};

/// A whole share of the weight, in thousandths.
pub const WHOLE: u32 = 1000;

/// Probes since the start.
#[derive(Debug, Default)]
pub struct Probes {
    pub passed: AtomicU64,
    pub failed: AtomicU64,
}

/// See the module. In this order, so that all that picking looks at lies on one cache line.
#[derive(Debug)]
#[repr(C)]
pub struct State {
    pub in_flight: AtomicUsize,
    /// Most attempts in flight: the least of what the file and the member say.
    ceiling: AtomicUsize,
    /// From when on moments are counted.
    origin: Instant,
    /// Of peak latency, in nanoseconds; zero: none measured.
    latency: AtomicU64,
    /// When that was measured, in nanoseconds from `origin`.
    measured: AtomicU64,
    /// When `load` was said, in milliseconds from `origin`.
    load_said: AtomicU64,
    /// What it says of its load, as the bits of an `f32`; all ones: nothing.
    load: AtomicU32,
    /// Thousandths of the weight that count, as long as a member starts slowly.
    share: AtomicU32,
    pub attempts: AtomicU64,
    health: AtomicU8,
    administrative: AtomicU8,
    own: AtomicU8,
    /// Thousandths of the weight that count by what the member says.
    own_share: AtomicU32,
    /// The most attempts in flight that the file and the member say.
    ceilings: [AtomicUsize; 2],
    /// The last attempt failed.
    failing: AtomicBool,
    pub failures: AtomicU64,
    /// Milliseconds from `origin`; zero: not ejected.
    ejected_until: AtomicU64,
    /// Of every attempt that was answered.
    pub latencies: Histogram,
    /// What judging by traffic counts.
    pub passive: Counts,
    pub probes: Probes,
    /// What is open at it has to end, and nobody sticks to it any more.
    recalled: AtomicBool,
    recall: Notify,
    reasons: Mutex<Reasons>,
}

/// The last reasons, one for each thing that decides.
#[derive(Clone, Debug)]
struct Reasons {
    health: Told,
    administrative: Told,
    own: Told,
    ejected: Told,
}

impl Default for State {
    fn default() -> Self {
        let start = Told { since: SystemTime::now(), reason: String::new() };
        State {
            in_flight: AtomicUsize::new(0),
            attempts: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            latencies: Histogram::default(),
            health: AtomicU8::new(0),
            administrative: AtomicU8::new(0),
            own: AtomicU8::new(0),
            own_share: AtomicU32::new(WHOLE),
            ejected_until: AtomicU64::new(0),
            share: AtomicU32::new(WHOLE),
            ceiling: AtomicUsize::new(usize::MAX),
            ceilings: [AtomicUsize::new(usize::MAX), AtomicUsize::new(usize::MAX)],
            latency: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            load: AtomicU32::new(NO_LOAD),
            load_said: AtomicU64::new(0),
            passive: Counts::default(),
            probes: Probes::default(),
            recalled: AtomicBool::new(false),
            recall: Notify::new(),
            origin: Instant::now(),
            reasons: Mutex::new(Reasons {
                health: start.clone(),
                administrative: start.clone(),
                own: start.clone(),
                ejected: start,
            }),
        }
    }
}

/// How long a reported load is believed: Envoy's `weight_expiration_period`.
pub const LOAD_EXPIRES: Duration = Duration::from_secs(180);

const NO_LOAD: u32 = u32::MAX;

impl State {
    /// Whether the last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub fn set_failing(&self, failing: bool) {
        // A store by every request would take the line from the other workers.
        if self.is_failing() != failing {
            self.failing.store(failing, Ordering::Relaxed);
        }
    }

    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unchecked,
        }
    }

    /// Returns whether that is news; if so, refresh the pool.
    pub fn set_health(&self, health: Health, reason: impl Into<String>) -> bool {
        let news = self.health.swap(health as u8, Ordering::Relaxed) != health as u8;
        if news {
            self.reasons().health = Told { since: SystemTime::now(), reason: reason.into() };
        }
        news
    }

    /// What is wanted of it: by an operator, or else by itself.
    pub fn administrative(&self) -> Administrative {
        let own = || match self.own() {
            Own::Drain => Administrative::Drain,
            Own::Maintenance => Administrative::Maintenance,
            Own::Ready if self.own_share() == 0 => Administrative::Drain,
            Own::Ready | Own::Down => Administrative::Ready,
        };
        match self.by_operator() {
            Administrative::Ready => own(),
            wanted => wanted,
        }
    }

    /// What an operator wants of it.
    pub fn by_operator(&self) -> Administrative {
        match self.administrative.load(Ordering::Relaxed) {
            1 => Administrative::Drain,
            2 => Administrative::Maintenance,
            _ => Administrative::Ready,
        }
    }

    /// What it says of itself.
    pub fn own(&self) -> Own {
        match self.own.load(Ordering::Relaxed) {
            1 => Own::Drain,
            2 => Own::Maintenance,
            3 => Own::Down,
            _ => Own::Ready,
        }
    }

    /// Returns whether that is news; if so, refresh the pool.
    pub fn set_own(&self, own: Own, reason: impl Into<String>) -> bool {
        let news = self.own.swap(own as u8, Ordering::Relaxed) != own as u8;
        if news {
            let mut reasons = self.reasons();
            reasons.own = Told { since: SystemTime::now(), reason: reason.into() };
            self.settle(&reasons);
        }
        news
    }

    /// The thousandths of its weight that count by what it says; more than [`WHOLE`] is more.
    pub fn own_share(&self) -> u32 {
        self.own_share.load(Ordering::Relaxed)
    }

    /// Returns whether that is news; if so, refresh the pool.
    pub fn set_own_share(&self, thousandths: u32) -> bool {
        let news = self.own_share.swap(thousandths, Ordering::Relaxed) != thousandths;
        if news {
            let mut reasons = self.reasons();
            if thousandths == 0 {
                let reason = "it says 0%".to_owned();
                reasons.own = Told { since: SystemTime::now(), reason };
            }
            self.settle(&reasons);
        }
        news
    }

    /// Returns whether that is news; if so, refresh the pool.
    pub fn set_administrative(&self, wanted: Administrative, reason: impl Into<String>) -> bool {
        let news = self.administrative.swap(wanted as u8, Ordering::Relaxed) != wanted as u8;
        if news {
            let mut reasons = self.reasons();
            reasons.administrative = Told { since: SystemTime::now(), reason: reason.into() };
            self.settle(&reasons);
        }
        news
    }

    /// Takes the member out until then. Refresh the pool afterwards, and again when it is over.
    pub fn eject(&self, until: Instant, reason: impl Into<String>) {
        self.ejected_until.store(self.millis(until).max(1), Ordering::Relaxed);
        self.reasons().ejected = Told { since: SystemTime::now(), reason: reason.into() };
    }

    /// Ends an ejection. Returns whether there was one; if so, refresh the pool.
    pub fn readmit(&self) -> bool {
        self.ejected_until.swap(0, Ordering::Relaxed) != 0
    }

    /// When the ejection ends, where there is one.
    pub fn ejected_until(&self) -> Option<Instant> {
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.origin + Duration::from_millis(millis)),
        }
    }

    /// Wants back what is open at it, as its drain is over. Returns whether that is news; it is not
    /// where nobody wants it drained any more.
    pub fn recall(&self) -> bool {
        // Held, so that nobody wants it back in use meanwhile.
        let _reasons = self.reasons();
        self.administrative() != Administrative::Ready && self.recall_removed()
    }

    /// Wants back what is open at it, as it has been removed. Returns whether that is news.
    pub fn recall_removed(&self) -> bool {
        let news = !self.recalled.swap(true, Ordering::SeqCst);
        if news {
            self.recall.notify_waiters();
        }
        news
    }

    /// Wants nothing back any more.
    pub fn keep(&self) {
        self.recalled.store(false, Ordering::SeqCst);
    }

    /// Wants nothing back any more from one that is wanted again, from that very moment.
    fn settle(&self, _held: &MutexGuard<'_, Reasons>) {
        if self.administrative() == Administrative::Ready {
            self.keep();
        }
    }

    pub fn is_recalled(&self) -> bool {
        self.recalled.load(Ordering::SeqCst)
    }

    /// Ready once what is open at it is wanted back.
    pub async fn recalled(&self) {
        loop {
            let mut told = std::pin::pin!(self.recall.notified());
            // heard from here on, so that nothing is missed between the look and the wait
            told.as_mut().enable();
            if self.is_recalled() {
                return;
            }
            told.await;
        }
    }

    /// The thousandths of its weight that count: less than [`WHOLE`] while it starts slowly.
    pub fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed)
    }

    /// Returns whether that is news; if so, refresh the pool.
    pub fn set_share(&self, thousandths: u32) -> bool {
        let share = thousandths.min(WHOLE);
        self.share.swap(share, Ordering::Relaxed) != share
    }

    pub fn standing(&self, now: Instant) -> Standing {
        match (self.administrative(), self.health()) {
            (Administrative::Drain, _) => Standing::Drain,
            (Administrative::Maintenance, _) => Standing::Maintenance,
            _ if self.own() == Own::Down => Standing::Down,
            _ if self.ejected_until().is_some_and(|until| until > now) => Standing::Ejected,
            (_, Health::Down) => Standing::Down,
            (_, Health::Up) => Standing::Up,
            (_, Health::Unchecked) => Standing::Unchecked,
        }
    }

    /// Why a member stands as it does.
    pub fn why(&self, standing: Standing) -> Told {
        let reasons = self.reasons();
        match standing {
            Standing::Drain | Standing::Maintenance
                if self.by_operator() == Administrative::Ready =>
            {
                reasons.own.clone()
            }
            Standing::Down if self.own() == Own::Down => reasons.own.clone(),
            Standing::Drain | Standing::Maintenance => reasons.administrative.clone(),
            Standing::Ejected => reasons.ejected.clone(),
            Standing::Unchecked | Standing::Up | Standing::Down => reasons.health.clone(),
        }
    }

    /// The most attempts it may have in flight; `usize::MAX` where nothing limits them.
    pub fn ceiling(&self) -> usize {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// What the file says.
    pub fn set_ceiling(&self, most: usize) {
        self.say_ceiling(0, most);
    }

    /// What the member says; `usize::MAX` where it says nothing. Returns whether that is news; if
    /// so, those who wait may find room.
    pub fn set_own_ceiling(&self, most: usize) -> bool {
        self.say_ceiling(1, most) != most
    }

    fn say_ceiling(&self, who: usize, most: usize) -> usize {
        // Held, so that of two who speak at once neither goes unheard.
        let _reasons = self.reasons();
        let before = self.ceilings[who].swap(most, Ordering::Relaxed);
        let least = self.ceilings.iter().map(|said| said.load(Ordering::Relaxed)).min();
        self.ceiling.store(least.unwrap_or(usize::MAX), Ordering::Relaxed);
        before
    }

    /// Whether it has all the attempts it may have.
    pub fn is_full(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) >= self.ceiling()
    }

    /// It says how busy it is: 0 is idle, 1 is what it can do, more is too much.
    pub fn report_load(&self, load: f64, now: Instant) {
        if load.is_finite() && load >= 0.0 {
            self.load.store((load as f32).to_bits(), Ordering::Relaxed);
            self.load_said.store(self.millis(now), Ordering::Relaxed);
        }
    }

    /// What it said of its load, if that is not too long ago.
    pub fn reported_load(&self, now: Instant) -> Option<f64> {
        let load = self.load.load(Ordering::Relaxed);
        let said = self.load_said.load(Ordering::Relaxed);
        let fresh = self.millis(now).saturating_sub(said) < LOAD_EXPIRES.as_millis() as u64;
        (load != NO_LOAD && fresh).then(|| f64::from(f32::from_bits(load)))
    }

    fn millis(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }

    fn reasons(&self) -> MutexGuard<'_, Reasons> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
