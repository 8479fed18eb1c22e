//! So many new connections in a time, over all workers: who comes too soon stays in the kernel's
//! queue, so that a herd is let in evenly and nobody is refused.
//!
//! Counted as the time at which the next one is due (GCRA). Workers look first and count afterwards,
//! so that each may let in one too many; what is too much is made up for by those that follow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What has come together in this time may pass at once.
const TOGETHER: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub struct Turnstile {
    origin: Instant,
    /// Nanoseconds from one to the next; zero lets everybody pass.
    every: AtomicU64,
    /// When the next one is due, in nanoseconds from `origin`.
    due: AtomicU64,
}

impl Default for Turnstile {
    fn default() -> Self {
        Turnstile { origin: Instant::now(), every: AtomicU64::new(0), due: AtomicU64::new(0) }
    }
}

impl Turnstile {
    /// From now on `count` in `per`; nothing lets everybody pass.
    pub fn set(&self, rate: Option<(u64, Duration)>) {
        let every = rate.map_or(0, |(count, per)| (nanos(per) / count.max(1)).max(1));
        self.every.store(every, Ordering::Relaxed);
    }

    /// How long it is closed from `now` on, if it is.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        let every = self.every.load(Ordering::Relaxed);
        if every == 0 {
            return None;
        }
        let ahead = nanos(TOGETHER).saturating_sub(every);
        let open = self.at(now).saturating_add(ahead);
        let left = self.due.load(Ordering::Relaxed).checked_sub(open)?;
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// One has passed.
    pub fn passed(&self, now: Instant) {
        let every = self.every.load(Ordering::Relaxed);
        if every == 0 {
            return;
        }
        let now = self.at(now);
        let next = |due: u64| Some(due.max(now).saturating_add(every));
        let _ = self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    fn at(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// How many pass from `from` on in so many milliseconds, of those who try all the time.
    fn pass(turnstile: &Turnstile, from: Duration, millis: u64) -> u64 {
        let start = turnstile.origin + from;
        let mut passed = 0;
        for tick in 0..millis * 10 {
            let now = start + Duration::from_micros(tick * 100);
            while turnstile.closed_for(now).is_none() {
                turnstile.passed(now);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn u_21_a_herd_passes_evenly() {
        for (count, per, together, in_a_second) in [
            (100, Duration::from_secs(1), 10, 100),
            (10_000, Duration::from_secs(1), 1000, 10_000),
            (5, Duration::from_secs(1), 1, 5),
            (60, Duration::from_secs(60), 1, 1),
            (1, Duration::from_secs(10), 1, 0),
        ] {
            let turnstile = Turnstile::default();
            turnstile.set(Some((count, per)));
            let start = pass(&turnstile, Duration::ZERO, 1);
            assert!(
                (together..=together + together / 100 + 1).contains(&start),
                "{count}: {start}"
            );
            let later = pass(&turnstile, MS(1), 1000);
            assert!(later.abs_diff(in_a_second) <= 1 + in_a_second / 100, "{count}: {later}");
        }
    }

    #[test]
    fn nothing_is_saved_up_and_what_was_too_much_is_made_up_for() {
        let turnstile = Turnstile::default();
        assert_eq!(turnstile.closed_for(Instant::now()), None, "it lets everybody pass");
        turnstile.passed(Instant::now());
        turnstile.set(Some((10, Duration::from_secs(1))));
        assert_eq!(pass(&turnstile, Duration::from_secs(3600), 1), 1, "after an hour of nobody");
        let now = turnstile.origin + Duration::from_secs(7200);
        for _ in 0..4 {
            turnstile.passed(now);
        }
        assert_eq!(turnstile.closed_for(now), Some(MS(400)));
        assert_eq!(turnstile.closed_for(now + MS(399)), Some(MS(1)));
        assert_eq!(turnstile.closed_for(now + MS(400)), None);
        turnstile.set(None);
        assert_eq!(turnstile.closed_for(now), None);
    }
}
