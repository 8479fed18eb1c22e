//! The watch over one pool: probes its members, ejects and readmits them, lets them start slowly.
//!
//! One task for each pool, beside the traffic. Whatever it finds goes into the state of the member;
//! the pool is refreshed once for all that has changed together, and each change is one line in the
//! log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use transom_net::Worker;
use transom_net::tasks::Tasks;

use super::agent::{Agent, Says};
use super::passive::Outliers;
use super::probe::Probing;
use super::slow_start::SlowStart;
use crate::log::{Level, Log};
use crate::members::PoolMember;
use crate::pool::Pool;
use crate::random::Random;
use crate::state::{Administrative, State, WHOLE};

mod asking;
mod ward;

use asking::Verdict;
use ward::Ward;

/// Probes of all pools at the same time, at most (U-05).
pub const AT_ONCE: usize = 256;
/// Members from which on the first probes are spread instead of all going out at once.
const MANY: usize = 32;
/// Over how long they are spread.
const SPREAD: Duration = Duration::from_secs(1);
/// The longest sleep.
const LONG: Duration = Duration::from_secs(3600);

/// How the members of a pool are looked after.
#[derive(Clone, Default)]
pub struct Care {
    pub probing: Option<Probing>,
    pub agent: Option<Agent>,
    pub outliers: Option<Arc<Outliers>>,
    pub slow_start: Option<SlowStart>,
    /// How long a member that is drained or removed keeps its clients and what is open. Without, as
    /// long as it takes.
    pub drain: Option<Duration>,
}

/// What a watch needs of the thread it runs on.
#[derive(Clone)]
pub struct Station {
    pub worker: Worker,
    pub tasks: Tasks,
    /// [`AT_ONCE`] of them.
    pub permits: Arc<Semaphore>,
}

/// Watches over `pool`; never returns. `known` are the keys of endpoints that belonged to the pool
/// before, so that they do not start slowly; none at the start of the program, when nobody does.
pub async fn watch(pool: Arc<Pool>, known: Option<HashSet<u64>>, station: Station, log: Log) {
    let (verdicts, mut heard) = mpsc::unbounded_channel();
    let (lines, mut said) = mpsc::unbounded_channel();
    let now = Instant::now();
    let care = pool.care().clone();
    let mut watch = Watch::new(pool, care, station, log, (verdicts, lines), now);
    watch.muster(known.as_ref(), now);
    loop {
        let wake = watch.look(Instant::now());
        let suspected = async {
            match &watch.care.outliers {
                Some(outliers) => outliers.suspected().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(verdict) = heard.recv() => watch.hear(verdict, Instant::now()),
            Some((key, said)) = said.recv() => watch.heed(key, said, Instant::now()),
            () = suspected => {}
            () = watch.pool.replaced() => watch.muster(None, Instant::now()),
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
}

struct Watch {
    pool: Arc<Pool>,
    care: Care,
    station: Station,
    log: Log,
    /// By the key of the endpoint.
    wards: HashMap<u64, Ward>,
    /// Members that have been removed, and when what is open at them ends.
    gone: Vec<(Instant, Arc<PoolMember>)>,
    verdicts: mpsc::UnboundedSender<Verdict>,
    /// What agents have said, with the keys of endpoints.
    lines: mpsc::UnboundedSender<(u64, Result<Says, String>)>,
    random: Random,
    /// When members are compared next.
    sweep: Instant,
    panics: bool,
    /// The pool must be refreshed.
    changed: bool,
    /// For the log, once that is done: who reads there that a member is down can rely on it.
    told: Vec<(Level, String)>,
}

/// Where probes and agents tell what they have heard.
type Reports = (mpsc::UnboundedSender<Verdict>, mpsc::UnboundedSender<(u64, Result<Says, String>)>);

impl Watch {
    fn new(
        pool: Arc<Pool>,
        care: Care,
        station: Station,
        log: Log,
        (verdicts, lines): Reports,
        now: Instant,
    ) -> Self {
        Watch {
            sweep: now + care.outliers.as_ref().map_or(LONG, |outliers| outliers.rules.every),
            panics: pool.panics(),
            pool,
            care,
            station,
            log,
            wards: HashMap::new(),
            gone: Vec::new(),
            verdicts,
            lines,
            random: Random::default(),
            changed: false,
            told: Vec::new(),
        }
    }

    /// Does what is due; when to look again.
    fn look(&mut self, now: Instant) -> Instant {
        let mut wake = now + LONG;
        wake = wake.min(self.eject(now)).min(self.readmit(now)).min(self.shares(now));
        wake = wake.min(self.probe(now)).min(self.ask(now));
        wake = wake.min(self.recall(now));
        if std::mem::take(&mut self.changed) {
            self.pool.refresh();
        }
        for (level, line) in self.told.drain(..) {
            (self.log)(level, &line);
        }
        self.tell_of_panic();
        wake
    }

    fn say(&mut self, level: Level, member: &PoolMember, what: &str) {
        let (pool, endpoint) = (&member.spec.endpoint.pool, &member.spec.endpoint.name);
        self.told.push((level, format!("pool `{pool}`: {endpoint} {what}")));
    }

    fn tell_of_panic(&mut self) {
        let panics = self.pool.panics();
        if std::mem::replace(&mut self.panics, panics) != panics {
            let name = transom_proxy::destination::Destination::name(&*self.pool);
            match panics {
                true => (self.log)(
                    Level::Warn,
                    &format!("pool `{name}`: too few members are usable, so all are used"),
                ),
                false => (self.log)(
                    Level::Info,
                    &format!("pool `{name}`: enough members are usable, only they are used"),
                ),
            }
        }
    }

    fn eject(&mut self, now: Instant) -> Instant {
        let Some(outliers) = self.care.outliers.clone() else { return now + LONG };
        let members = self.pool.members();
        if now >= self.sweep {
            self.sweep = now + outliers.rules.every;
            outliers.sweep(&members, now);
        }
        for ejection in outliers.judge(&members, now, || self.random.unit()) {
            self.changed = true;
            if let Some(ward) = self.wards.get_mut(&ejection.member.spec.endpoint.key) {
                ward.passed = 0;
                ward.starting = None;
            }
            let seconds = ejection.time.as_secs_f64();
            let what = format!("is ejected for {seconds} s: {}", ejection.reason);
            self.say(Level::Warn, &ejection.member, &what);
        }
        // Without anything to compare, the sweep only forgives ejections.
        let idle = members.iter().all(|member| !member.state.passive.has_ejections());
        match outliers.rules.compares() || !idle {
            true => self.sweep,
            false => now + LONG,
        }
    }

    /// Ends ejections whose time is over.
    fn readmit(&mut self, now: Instant) -> Instant {
        let mut wake = now + LONG;
        let mut back = Vec::new();
        for ward in self.wards.values_mut() {
            match ward.member.state.ejected_until() {
                Some(until) if until > now => wake = wake.min(until),
                Some(_) if ward.member.state.readmit() => {
                    ward.start(self.care.slow_start.as_ref(), now);
                    back.push(ward.member.clone());
                }
                _ => {}
            }
        }
        for member in back {
            self.changed = true;
            self.say(Level::Info, &member, "is back: its ejection is over");
        }
        wake
    }

    /// Ends what is open where the time of draining is over.
    fn recall(&mut self, now: Instant) -> Instant {
        let Some(drain) = self.care.drain else { return now + LONG };
        let mut wake = now + LONG;
        let mut over = Vec::new();
        let back = |member: &Arc<PoolMember>, recall: fn(&State) -> bool| {
            let open = member.state.in_flight.load(Ordering::Relaxed);
            recall(&member.state).then(|| (member.clone(), open))
        };
        for ward in self.wards.values_mut() {
            let state = &ward.member.state;
            if state.administrative() == Administrative::Ready {
                ward.leaving = None;
                state.keep();
                continue;
            }
            let until = *ward.leaving.get_or_insert(now) + drain;
            match until > now {
                true => wake = wake.min(until),
                false => over.extend(back(&ward.member, State::recall)),
            }
        }
        self.gone.retain(|(until, member)| {
            match *until > now {
                true => wake = wake.min(*until),
                false => over.extend(back(member, State::recall_removed)),
            }
            *until > now
        });
        for (member, open) in over {
            self.say(Level::Info, &member, &format!("has been drained, with {open} still open"));
        }
        wake
    }

    /// Lets those that start slowly have more.
    fn shares(&mut self, now: Instant) -> Instant {
        let Some(rule) = &self.care.slow_start else { return now + LONG };
        let mut wake = now + LONG;
        for ward in self.wards.values_mut() {
            let Some(since) = ward.starting else { continue };
            let share = rule.share(now.saturating_duration_since(since));
            self.changed |= ward.member.state.set_share(share);
            if share == WHOLE {
                ward.starting = None;
            } else {
                wake = wake.min(now + rule.step());
            }
        }
        wake
    }
}

#[cfg(test)]
mod tests;
