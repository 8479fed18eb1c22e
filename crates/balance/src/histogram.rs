//! How long attempts take, counted in buckets, so that any share of them can be told.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Four buckets for each doubling: a value is told to an eighth.
const PARTS: u32 = 4;
/// The first bucket holds all up to 2^FIRST nanoseconds, 65 microseconds.
const FIRST: u32 = 16;
/// And the last all from 2^(FIRST + DOUBLINGS) on, 68 seconds.
const DOUBLINGS: u32 = 20;
pub const BUCKETS: usize = (DOUBLINGS * PARTS) as usize + 2;

/// Counts so far; one addition for each value.
#[derive(Debug)]
pub struct Histogram([AtomicU32; BUCKETS]);

/// The counts of a histogram at one moment. They wrap around, so only differences tell.
pub type Counts = [u32; BUCKETS];

impl Default for Histogram {
    fn default() -> Self {
        Histogram(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl Histogram {
    pub fn add(&self, value: Duration) {
        self.0[bucket(value)].fetch_add(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }
}

/// The value below which this share of what was counted between two moments lies.
pub fn quantile(before: &Counts, now: &Counts, share: f64) -> Option<Duration> {
    let counted = |at: usize| u64::from(now[at].wrapping_sub(before[at]));
    let all: u64 = (0..BUCKETS).map(counted).sum();
    if all == 0 {
        return None;
    }
    let wanted = ((all as f64 * share).ceil() as u64).clamp(1, all);
    let mut seen = 0;
    let bucket = (0..BUCKETS).find(|at| {
        seen += counted(*at);
        seen >= wanted
    })?;
    Some(middle(bucket))
}

fn bucket(value: Duration) -> usize {
    let nanos = value.as_nanos().min(u128::from(u64::MAX)) as u64;
    if nanos < 1 << FIRST {
        return 0;
    }
    let doubling = nanos.ilog2();
    if doubling >= FIRST + DOUBLINGS {
        return BUCKETS - 1;
    }
    // the two bits below the highest
    let part = (nanos >> (doubling - 2)) & 3;
    1 + ((doubling - FIRST) * PARTS) as usize + part as usize
}

fn middle(bucket: usize) -> Duration {
    let nanos = match bucket.checked_sub(1) {
        None => 1u64 << (FIRST - 1),
        Some(at) if at >= BUCKETS - 2 => 1 << (FIRST + DOUBLINGS),
        Some(at) => {
            let (doubling, part) = (FIRST + at as u32 / PARTS, at as u64 % u64::from(PARTS));
            let width = 1u64 << (doubling - 2);
            (1u64 << doubling) + part * width + width / 2
        }
    };
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_to_an_eighth() {
        let histogram = Histogram::default();
        let before = histogram.counts();
        assert_eq!(quantile(&before, &histogram.counts(), 0.5), None);
        for n in 1..=1000u64 {
            histogram.add(Duration::from_micros(n * 100));
        }
        let now = histogram.counts();
        for (share, expected) in [(0.5, 50.0), (0.99, 99.0), (0.001, 0.1), (1.0, 100.0)] {
            let told = quantile(&before, &now, share).unwrap().as_secs_f64() * 1e3;
            assert!((told / expected - 1.0).abs() < 0.13, "{share}: {told} ms");
        }
        assert_eq!(quantile(&now, &now, 0.5), None, "only what came since");
    }

    #[test]
    fn every_value_has_a_bucket() {
        for nanos in [0, 1, u64::from(u32::MAX), 1 << 16, (1 << 36) - 1, 1 << 36, u64::MAX] {
            assert!(bucket(Duration::from_nanos(nanos)) < BUCKETS);
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        for at in 1..BUCKETS - 1 {
            assert_eq!(bucket(middle(at)), at);
        }
    }
}
