//! How hard pressed the process is, as every worker sees it.
//!
//! Written by who watches over it, read once for each request and connection: one load of memory
//! that hardly ever changes.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::turnstile::Turnstile;

/// What is given up, from one level to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Nothing.
    #[default]
    Calm,
    /// Idle connections are closed, and none is kept.
    Tight,
    /// New requests are answered with 503.
    Shedding,
    /// Nothing is accepted.
    Closed,
}

impl Level {
    pub const ALL: [Level; 4] = [Level::Calm, Level::Tight, Level::Shedding, Level::Closed];

    pub fn as_str(self) -> &'static str {
        match self {
            Level::Calm => "calm",
            Level::Tight => "tight",
            Level::Shedding => "shedding",
            Level::Closed => "closed",
        }
    }
}

/// How hard pressed the process is.
pub struct Pressure {
    level: AtomicU8,
    /// Of so many requests in 10,000 none is taken.
    share: AtomicU32,
    /// Connections of all listeners.
    pub connections: Capacity,
    /// How fast connections are let in.
    pub turnstile: Turnstile,
    /// Requests of all listeners.
    pub requests: Capacity,
    beats: Box<[CachePadded<Beat>]>,
    origin: Instant,
}

/// How many there may be at once, and are.
pub struct Capacity {
    most: AtomicUsize,
    now: CachePadded<AtomicUsize>,
}

/// Whether there is room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is no limit, and it is not counted.
    Unlimited,
    /// It is counted until [`Capacity::leave`].
    Counted,
    None,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity { most: AtomicUsize::new(usize::MAX), now: CachePadded::default() }
    }
}

impl Capacity {
    /// From now on there are at most so many. Those that were not counted before are not now.
    pub fn limit(&self, most: Option<usize>) {
        self.most.store(most.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    pub fn enter(&self) -> Room {
        let most = self.most.load(Ordering::Relaxed);
        if most == usize::MAX {
            return Room::Unlimited;
        }
        if self.now.fetch_add(1, Ordering::Relaxed) < most {
            return Room::Counted;
        }
        self.leave();
        Room::None
    }

    pub fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When a worker last came round, and how late it was.
#[derive(Default)]
struct Beat {
    at: AtomicU64,
    late: AtomicU64,
    /// How often it did not come round for so long that somebody was told.
    stalls: AtomicU64,
}

/// How often a worker should come round.
pub const BEAT: Duration = Duration::from_millis(100);

impl Pressure {
    /// Of a process with so many workers, whose ids count from 0.
    pub fn new(workers: usize) -> Self {
        Pressure {
            level: AtomicU8::new(0),
            share: AtomicU32::new(0),
            connections: Capacity::default(),
            turnstile: Turnstile::default(),
            requests: Capacity::default(),
            beats: (0..workers).map(|_| CachePadded::default()).collect(),
            origin: Instant::now(),
        }
    }

    pub fn level(&self) -> Level {
        Level::ALL[usize::from(self.level.load(Ordering::Relaxed)) % Level::ALL.len()]
    }

    /// Of so many requests in 10,000 none is to be taken.
    pub fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed)
    }

    /// What holds from now on.
    pub fn set(&self, level: Level, share: u32) {
        self.level.store(level as u8, Ordering::Relaxed);
        self.share.store(share.min(10_000), Ordering::Relaxed);
    }

    /// A worker has come round, so much later than it should.
    pub fn beat(&self, worker: usize, late: Duration) {
        if let Some(beat) = self.beats.get(worker) {
            beat.late.store(micros(late), Ordering::Relaxed);
            beat.at.store(micros(self.origin.elapsed()), Ordering::Relaxed);
        }
    }

    /// A worker has not come round for long.
    pub fn count_stall(&self, worker: usize) {
        if let Some(beat) = self.beats.get(worker) {
            beat.stalls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each worker has not come round for long.
    pub fn stalls(&self) -> impl Iterator<Item = u64> {
        self.beats.iter().map(|beat| beat.stalls.load(Ordering::Relaxed))
    }

    /// How late each worker is: as it was when it last came round, or more where it has not come
    /// since. None for a worker that has not begun.
    pub fn lags(&self) -> impl Iterator<Item = Option<Duration>> {
        self.lags_at(micros(self.origin.elapsed()))
    }

    fn lags_at(&self, now: u64) -> impl Iterator<Item = Option<Duration>> {
        self.beats.iter().map(move |beat| {
            let at = beat.at.load(Ordering::Relaxed);
            let due = at + micros(BEAT);
            let late = beat.late.load(Ordering::Relaxed).max(now.saturating_sub(due));
            (at > 0).then(|| Duration::from_micros(late))
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for Pressure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pressure({}, {} in 10,000)", self.level().as_str(), self.share())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb_35_no_more_enter_than_may_and_without_a_limit_none_is_counted() {
        let capacity = Capacity::default();
        assert_eq!(capacity.enter(), Room::Unlimited);
        capacity.limit(Some(2));
        let entered: Vec<_> = (0..4).map(|_| capacity.enter()).collect();
        assert_eq!(entered, [Room::Counted, Room::Counted, Room::None, Room::None]);
        capacity.leave();
        assert_eq!((capacity.enter(), capacity.enter()), (Room::Counted, Room::None));
    }

    #[test]
    fn a_worker_that_does_not_come_round_is_ever_later() {
        let pressure = Pressure::new(2);
        assert!(pressure.lags().all(|lag| lag.is_none()));
        pressure.beat(1, Duration::from_millis(7));
        let lags: Vec<_> = pressure.lags().collect();
        assert_eq!(lags[0], None);
        assert!(lags[1] >= Some(Duration::from_millis(7)));
        let later = micros(pressure.origin.elapsed() + BEAT + Duration::from_millis(30));
        assert!(pressure.lags_at(later).nth(1).unwrap() >= Some(Duration::from_millis(30)));
        // Of a worker that nobody counted on, nothing is known.
        pressure.beat(9, Duration::ZERO);
    }
}
