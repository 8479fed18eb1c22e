//! Endpoints in a pool with their live state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_utils::CachePadded;
use transom_proxy::destination::{AttemptResult, Endpoint, Member, Outcome};

use crate::state::{Standing, State, WHOLE};

/// What a file, a source or an operator says of a member.
#[derive(Clone, Debug)]
pub struct MemberSpec {
    pub endpoint: Arc<Endpoint>,
    /// Its share of requests beside the others'. Zero gets none.
    pub weight: u32,
    pub labels: BTreeMap<String, String>,
    /// Where it stands, so that near ones may be preferred.
    pub zone: Option<Arc<str>>,
    /// Zero is used first; higher ones as far as those below have not enough that are usable.
    pub priority: u8,
}

impl MemberSpec {
    /// A member of weight 1 without labels.
    pub fn new(endpoint: Endpoint) -> Self {
        MemberSpec {
            endpoint: Arc::new(endpoint),
            weight: 1,
            labels: BTreeMap::new(),
            zone: None,
            priority: 0,
        }
    }
}

/// Told of every attempt that ends, so that a member may be judged by its traffic.
pub trait Passive: Send + Sync {
    fn ended(&self, member: &PoolMember, outcome: &Outcome);
}

/// One endpoint of a pool with its live state.
pub struct PoolMember {
    pub spec: MemberSpec,
    /// Kept as long as the endpoint belongs to the pool, over reloads and discoveries.
    pub state: Arc<CachePadded<State>>,
    passive: Option<Arc<dyn Passive>>,
}

impl PoolMember {
    /// A member that goes on with `state`.
    pub fn new(
        spec: MemberSpec,
        state: Arc<CachePadded<State>>,
        passive: Option<Arc<dyn Passive>>,
    ) -> Arc<Self> {
        Arc::new(PoolMember { spec, state, passive })
    }

    /// The weight that counts now, in thousandths.
    pub fn effective_weight(&self) -> u32 {
        let share = u64::from(self.state.share());
        let weight = u64::from(self.spec.weight) * share;
        // who has any share keeps some
        let least = u64::from(weight > 0);
        weight.max(least).min(u64::from(u32::MAX)) as u32
    }

    /// One attempt begins.
    pub(crate) fn begin(&self) {
        self.state.in_flight.fetch_add(1, Ordering::Relaxed);
        self.state.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// What is to be shown of it.
    pub fn view(&self, now: Instant) -> MemberView {
        let state = &self.state;
        let standing = state.standing(now);
        let told = state.why(standing);
        MemberView {
            endpoint: self.spec.endpoint.clone(),
            labels: self.spec.labels.clone(),
            zone: self.spec.zone.clone(),
            priority: self.spec.priority,
            weight: self.spec.weight,
            effective_weight: f64::from(self.effective_weight()) / f64::from(WHOLE),
            standing,
            since: told.since,
            reason: told.reason,
            in_flight: state.in_flight.load(Ordering::Relaxed),
            attempts: state.attempts.load(Ordering::Relaxed),
            failures: state.failures.load(Ordering::Relaxed),
            latency: state.latency(),
        }
    }
}

impl Member for PoolMember {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.spec.endpoint
    }

    fn ended(&self, outcome: &Outcome) {
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
        if matches!(outcome.result, AttemptResult::Failed(_)) {
            self.state.failures.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(latency) = outcome.latency {
            self.state.measure(latency, outcome.began + latency);
        }
        if let Some(passive) = &self.passive {
            passive.ended(self, outcome);
        }
    }
}

/// A member as it stood at one moment, to be shown.
#[derive(Clone, Debug)]
pub struct MemberView {
    pub endpoint: Arc<Endpoint>,
    pub labels: BTreeMap<String, String>,
    pub zone: Option<Arc<str>>,
    pub priority: u8,
    pub weight: u32,
    /// The weight that counts now, which is less while it starts slowly.
    pub effective_weight: f64,
    pub standing: Standing,
    /// Since when it stands so.
    pub since: SystemTime,
    /// Why it stands so; empty where nothing ever happened.
    pub reason: String,
    pub in_flight: usize,
    pub attempts: u64,
    pub failures: u64,
    pub latency: Option<Duration>,
}
