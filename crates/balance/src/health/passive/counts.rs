//! What is counted of one member, to judge it by its traffic.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::health::statistics::Tally;

/// Part of the state of the member.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) connect_failures: AtomicU32,
    pub(super) failures: AtomicU32,
    pub(super) errors: AtomicU32,
    pub(super) gateway_errors: AtomicU32,
    pub(super) requests: AtomicU32,
    pub(super) successes: AtomicU32,
    /// Microseconds.
    pub(super) latency: AtomicU64,
    /// Ejections that still make the next one longer.
    pub(super) ejections: AtomicU32,
    /// Since the start.
    pub ejected: AtomicU64,
    /// The ejection came from not reaching the member, so that reaching it ends it.
    pub(super) unreachable: AtomicBool,
}

impl Counts {
    /// Whether a probe that passes speaks against the ejection.
    pub fn was_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    /// Whether the next ejection would be longer than the first.
    pub fn has_ejections(&self) -> bool {
        self.ejections.load(Ordering::Relaxed) > 0
    }

    pub(super) fn take_tally(&self) -> Tally {
        Tally {
            requests: self.requests.swap(0, Ordering::Relaxed),
            successes: self.successes.swap(0, Ordering::Relaxed),
            latency: self.latency.swap(0, Ordering::Relaxed),
        }
    }

    pub(super) fn forget_streaks(&self) {
        for streak in [&self.connect_failures, &self.failures, &self.errors, &self.gateway_errors] {
            streak.store(0, Ordering::Relaxed);
        }
    }
}
