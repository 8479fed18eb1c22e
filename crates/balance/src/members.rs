//! Endpoints in a pool with their live state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_utils::CachePadded;
use transom_proxy::destination::{AttemptResult, Endpoint, Member, Outcome, Recall};
use transom_proxy::fields::Fields;

use crate::load;
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

/// What members tell their pool.
#[derive(Clone, Default)]
pub struct Hooks {
    pub passive: Option<Arc<dyn Passive>>,
    /// The field of responses that tells a member's load.
    pub load_field: Option<Box<str>>,
    /// What is open at a member that is drained or removed has to end some time.
    pub drains: bool,
    /// What all members have in flight together, where an algorithm asks for it.
    pub in_flight: Option<Arc<CachePadded<AtomicUsize>>>,
}

/// One endpoint of a pool with its live state.
pub struct PoolMember {
    pub spec: MemberSpec,
    /// Kept as long as the endpoint belongs to the pool, over reloads and discoveries.
    pub state: Arc<CachePadded<State>>,
    hooks: Arc<Hooks>,
}

impl PoolMember {
    /// A member that goes on with `state`.
    pub fn new(spec: MemberSpec, state: Arc<CachePadded<State>>, hooks: Arc<Hooks>) -> Arc<Self> {
        Arc::new(PoolMember { spec, state, hooks })
    }

    /// The weight that counts now, in thousandths.
    pub fn effective_weight(&self) -> u32 {
        let parts = [self.state.share(), self.state.own_share()].map(u64::from);
        let weight = u64::from(self.spec.weight) * parts[0] * parts[1] / u64::from(WHOLE);
        // who has any share keeps some
        let least = u64::from(self.spec.weight > 0 && parts.iter().all(|part| *part > 0));
        weight.max(least).min(u64::from(u32::MAX)) as u32
    }

    /// One attempt begins, if it still has room.
    pub(crate) fn begin(&self) -> bool {
        let in_flight = &self.state.in_flight;
        match self.state.ceiling() {
            usize::MAX => drop(in_flight.fetch_add(1, Ordering::Relaxed)),
            most => {
                let more = |now| (now < most).then_some(now + 1);
                if in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
                    return false;
                }
            }
        }
        self.state.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(all) = &self.hooks.in_flight {
            all.fetch_add(1, Ordering::Relaxed);
        }
        true
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
            ceiling: Some(state.ceiling()).filter(|most| *most != usize::MAX),
            attempts: state.attempts.load(Ordering::Relaxed),
            failures: state.failures.load(Ordering::Relaxed),
            latency: state.latency(),
            load: state.reported_load(now),
            ejections: state.passive.ejected.load(Ordering::Relaxed),
            probes_passed: state.probes.passed.load(Ordering::Relaxed),
            probes_failed: state.probes.failed.load(Ordering::Relaxed),
        }
    }
}

impl Member for PoolMember {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.spec.endpoint
    }

    fn heard(&self, fields: &Fields) {
        if let Some(field) = &self.hooks.load_field
            && let Some(load) = load::find(fields, field)
        {
            self.state.report_load(load, Instant::now());
        }
    }

    fn recall(&self) -> Option<Recall> {
        let state = self.hooks.drains.then(|| self.state.clone())?;
        Some(Box::pin(async move { state.recalled().await }))
    }

    fn ended(&self, outcome: &Outcome) {
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(all) = &self.hooks.in_flight {
            all.fetch_sub(1, Ordering::Relaxed);
        }
        if matches!(outcome.result, AttemptResult::Failed(_)) {
            self.state.failures.fetch_add(1, Ordering::Relaxed);
            self.state.set_failing(true);
            let now = Instant::now();
            self.state.measure(FAILED.max(now.saturating_duration_since(outcome.began)), now);
        } else if let Some(latency) = outcome.latency {
            self.state.set_failing(false);
            self.state.measure(latency, outcome.began + latency);
        }
        if let Some(passive) = &self.hooks.passive {
            passive.ended(self, outcome);
        }
    }
}

/// What an attempt that failed counts as having taken, at least: who refuses at once must not look
/// like the fastest.
const FAILED: Duration = Duration::from_secs(1);

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
    /// The most it may have in flight.
    pub ceiling: Option<usize>,
    pub attempts: u64,
    pub failures: u64,
    pub latency: Option<Duration>,
    /// What it says of its load, if it does: 1 is what it can do.
    pub load: Option<f64>,
    /// How often it was taken out because of its traffic.
    pub ejections: u64,
    pub probes_passed: u64,
    pub probes_failed: u64,
}
