//! What is counted in: a set of cells for each worker.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

/// Counts upwards.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// For the one worker whose cell this is. Two threads at once could lose counts, in exchange
    /// for which this is a plain addition, five times as fast as an atomic one.
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// For any thread.
    pub(super) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Cells of type `T` for each worker, made by the worker that first needs them.
pub(super) struct Sharded<T>(Box<[OnceLock<Box<CachePadded<T>>>]>);

impl<T: Default> Sharded<T> {
    pub(super) fn new(workers: usize) -> Self {
        Sharded((0..workers).map(|_| OnceLock::new()).collect())
    }

    /// The cells of this worker.
    pub(super) fn at(&self, worker: usize) -> &T {
        self.0[worker % self.0.len()].get_or_init(Box::default)
    }
}

impl<T> Sharded<T> {
    fn made(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|cells| cells.get().map(|cells| &***cells))
    }

    /// A counter over all workers.
    pub(super) fn sum(&self, pick: impl Fn(&T) -> &Counter) -> u64 {
        self.made().map(|cells| pick(cells).get()).sum()
    }

    /// How many have begun and not ended. Ends are read first, so that what passes meanwhile
    /// cannot make it negative.
    pub(super) fn difference(
        &self,
        begun: impl Fn(&T) -> &Counter,
        ended: impl Fn(&T) -> &Counter,
    ) -> u64 {
        let ended = self.sum(ended);
        self.sum(begun).saturating_sub(ended)
    }

    /// A histogram over all workers.
    pub(super) fn histogram(&self, pick: impl Fn(&T) -> &Histogram) -> Counts {
        let mut counts = Counts::default();
        for cells in self.made() {
            let histogram = pick(cells);
            counts.sum += Duration::from_nanos(histogram.nanos.get());
            for (total, bucket) in counts.buckets.iter_mut().zip(&histogram.buckets) {
                *total += bucket.get();
            }
        }
        counts
    }
}

/// Upper ends of the buckets in nanoseconds, and as they are written in seconds. Steps of 1, 2.5
/// and 5: what falls into a bucket is known to a factor of 2.5, over five decades.
pub(super) const BOUNDS: [(u64, &str); 16] = [
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
    (60_000_000_000, "60"),
];

/// How often something took how long.
#[derive(Default)]
pub(super) struct Histogram {
    /// One for each of [`BOUNDS`], and one for what is beyond.
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    /// As with [`Counter::add`], for one worker.
    pub(super) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)].add(1);
        self.nanos.add(nanos);
    }
}

fn bucket(nanos: u64) -> usize {
    BOUNDS.partition_point(|(bound, _)| *bound < nanos)
}

/// A histogram at one moment.
#[derive(Default)]
pub(super) struct Counts {
    /// Each counts only what is above the bucket before it.
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) sum: Duration,
}

impl Counts {
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_at_most_its_bound() {
        for (nanos, expected) in [
            (0, 0),
            (500_000, 0),
            (500_001, 1),
            (1_000_000, 1),
            (2_500_000, 2),
            (2_500_001, 3),
            (60_000_000_000, 15),
            (60_000_000_001, 16),
            (u64::MAX, 16),
        ] {
            assert_eq!(bucket(nanos), expected, "{nanos}");
        }
    }

    #[test]
    fn bounds_rise_and_are_written_as_they_are() {
        assert!(BOUNDS.is_sorted_by(|a, b| a.0 < b.0));
        for (nanos, seconds) in BOUNDS {
            assert_eq!(seconds.parse::<f64>().unwrap(), nanos as f64 / 1e9);
        }
    }

    #[test]
    fn workers_add_up() {
        let sharded = Sharded::<Histogram>::new(3);
        sharded.at(0).observe(Duration::from_millis(1));
        sharded.at(2).observe(Duration::from_millis(2));
        sharded.at(2).observe(Duration::from_secs(100));
        let counts = sharded.histogram(|h| h);
        assert_eq!((counts.buckets[1], counts.buckets[2], counts.buckets[16]), (1, 1, 1));
        assert_eq!((counts.count(), counts.sum), (3, Duration::from_millis(100_003)));
    }
}
