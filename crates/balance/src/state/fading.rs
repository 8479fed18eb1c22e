//! The mean latency of a member, in which a peak counts at once and is forgotten by and by
//! (peak-EWMA).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::State;

/// How fast measured latency is forgotten: after this long a value weighs 1/e. The default of
/// peak-EWMA in Finagle, APISIX and Kong.
pub const DECAY: Duration = Duration::from_secs(10);

/// A mean latency that fades.
#[derive(Clone, Copy, Debug)]
pub struct Fading {
    /// Nanoseconds, as it was measured.
    pub nanos: f64,
    /// How long ago, in units of [`DECAY`].
    pub age: f64,
}

impl Fading {
    /// The nanoseconds that are left.
    pub fn left(self) -> f64 {
        self.nanos * (-self.age).exp()
    }

    /// The nanoseconds to compare with those of `other` as they were measured: both have faded
    /// since the older was, which need not be worked out.
    pub fn beside(self, other: Fading) -> f64 {
        self.nanos * (other.age - self.age).exp()
    }
}

impl State {
    /// Takes a measured latency into the mean: a peak counts at once, less only by and by
    /// (peak-EWMA). Two workers at the same time may lose one of two values.
    pub fn measure(&self, latency: Duration, now: Instant) {
        self.latencies.add(latency);
        let value = latency.as_nanos().min(u128::from(u64::MAX)) as u64;
        let at = self.nanos(now);
        let mean = self.latency.load(Ordering::Relaxed);
        let since = at.saturating_sub(self.measured.load(Ordering::Relaxed));
        let mean = if value >= mean {
            value
        } else {
            let kept = kept(since);
            (mean as f64 * kept + value as f64 * (1.0 - kept)) as u64
        };
        self.latency.store(mean.max(1), Ordering::Relaxed);
        self.measured.store(at, Ordering::Relaxed);
    }

    /// The mean latency, and how much of it is to be forgotten by now.
    pub fn fading_latency(&self, now: Instant) -> Option<Fading> {
        let mean = self.latency.load(Ordering::Relaxed);
        let since = self.nanos(now).saturating_sub(self.measured.load(Ordering::Relaxed));
        (mean != 0).then(|| Fading { nanos: mean as f64, age: decays(since) })
    }

    /// The mean latency as it was last measured.
    pub fn latency(&self) -> Option<Duration> {
        match self.latency.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_nanos() as u64
    }
}

/// The part of a mean that is left after so many nanoseconds.
fn kept(since: u64) -> f64 {
    (-decays(since)).exp()
}

/// So many nanoseconds in units of [`DECAY`].
fn decays(nanos: u64) -> f64 {
    nanos as f64 / DECAY.as_nanos() as f64
}
