//! Endpoints in a pool with their live state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use transom_proxy::destination::{AttemptResult, Endpoint, Member, Outcome};

/// What a member has done; counted by all workers, read by metrics.
#[derive(Debug, Default)]
pub struct Counts {
    pub in_flight: AtomicUsize,
    pub attempts: AtomicU64,
    pub failures: AtomicU64,
}

/// One endpoint of a pool with its live state.
#[derive(Debug)]
pub struct PoolMember {
    endpoint: Arc<Endpoint>,
    pub weight: u32,
    /// Kept over reloads for an endpoint with the same identity.
    pub counts: Arc<CachePadded<Counts>>,
}

impl PoolMember {
    /// A member that goes on with `counts`, or starts with none.
    pub fn new(
        endpoint: Endpoint,
        weight: u32,
        counts: Option<Arc<CachePadded<Counts>>>,
    ) -> Arc<Self> {
        Arc::new(PoolMember {
            endpoint: Arc::new(endpoint),
            weight,
            counts: counts.unwrap_or_default(),
        })
    }

    /// One attempt begins.
    pub(crate) fn begin(&self) {
        self.counts.in_flight.fetch_add(1, Ordering::Relaxed);
        self.counts.attempts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Member for PoolMember {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn ended(&self, outcome: &Outcome) {
        self.counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        if matches!(outcome.result, AttemptResult::Failed(_)) {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}
