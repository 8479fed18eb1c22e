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
use super::machine::Machine;
use super::passive::Outliers;
use super::probe::Probing;
use super::slow_start::SlowStart;
use crate::log::{Level, Log};
use crate::members::PoolMember;
use crate::pool::Pool;
use crate::random::Random;
use crate::state::{Administrative, Health, Own, State, WHOLE};

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

/// The outcome of one probe.
struct Verdict {
    key: u64,
    outcome: Result<(), String>,
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

/// What is known of one member beyond its state.
struct Ward {
    member: Arc<PoolMember>,
    machine: Machine,
    /// When it is probed next.
    due: Instant,
    probing: bool,
    /// When its agent is asked next.
    ask: Instant,
    asking: bool,
    /// Its agent did not answer, and the log was told.
    mute: bool,
    /// Probes in a row that have passed since it was ejected.
    passed: u32,
    /// Since when it is drained.
    leaving: Option<Instant>,
    /// Since when it starts slowly.
    starting: Option<Instant>,
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

    /// Takes up who has joined and forgets who has left.
    fn muster(&mut self, known: Option<&HashSet<u64>>, now: Instant) {
        let members = self.pool.members();
        let at_first = self.wards.is_empty();
        let many = members.len() > MANY;
        let states: HashMap<u64, *const State> =
            members.iter().map(|m| (m.spec.endpoint.key, std::ptr::from_ref(&**m.state))).collect();
        // One that left and came back before it was looked for has another state, of which nothing is
        // known.
        let removed = self.wards.extract_if(|key, ward| {
            states.get(key) != Some(&std::ptr::from_ref(&**ward.member.state))
        });
        let until = self.care.drain.map(|drain| now + drain);
        self.gone.extend(removed.filter_map(|(_, ward)| Some((until?, ward.member))));
        for member in members {
            let key = member.spec.endpoint.key;
            if let Some(ward) = self.wards.get_mut(&key) {
                ward.member = member;
                continue;
            }
            if self.care.probing.is_none() {
                // Whatever probes have found is not true for ever.
                self.changed |= member.state.set_health(Health::Unchecked, "it is not probed");
            }
            if self.care.agent.is_none() {
                self.changed |= member.state.set_own(Own::Ready, "nobody asks it");
                self.changed |= member.state.set_own_share(WHOLE);
                member.state.set_own_ceiling(usize::MAX);
            }
            if self.care.drain.is_none() {
                member.state.keep();
            }
            if self.care.outliers.is_none() {
                self.changed |= member.state.readmit();
            }
            if self.care.slow_start.is_none() {
                self.changed |= member.state.set_share(WHOLE);
            }
            let machine = Machine::new(member.state.health());
            let rhythm = self.care.probing.as_ref().map(|probing| probing.rhythm);
            let wait = match (rhythm, machine.health()) {
                (None, _) => LONG,
                (Some(_), Health::Unchecked) if !many => Duration::ZERO,
                (Some(rhythm), Health::Unchecked) => {
                    SPREAD.min(rhythm.every).mul_f64(self.random.unit())
                }
                // Known from before a reload: probes go on in their rhythm.
                (Some(rhythm), _) => rhythm.every.mul_f64(self.random.unit()),
            };
            let first = match many {
                true => SPREAD.mul_f64(self.random.unit()),
                false => Duration::ZERO,
            };
            let joins = match known {
                Some(known) => !known.contains(&key),
                None => !at_first,
            };
            let mut ward = Ward {
                member,
                machine,
                due: now + wait,
                probing: false,
                ask: now + first,
                asking: false,
                mute: false,
                passed: 0,
                leaving: None,
                starting: None,
            };
            // Half way of a slow start when the watch began: it goes on from there.
            if joins || ward.member.state.share() < WHOLE {
                self.changed |= ward.start(self.care.slow_start.as_ref(), now);
            }
            self.wards.insert(key, ward);
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

    /// Sends out the probes that are due.
    fn probe(&mut self, now: Instant) -> Instant {
        let mut wake = now + LONG;
        let Some(probing) = &self.care.probing else { return wake };
        for (key, ward) in &mut self.wards {
            if ward.probing || ward.member.state.administrative() == Administrative::Maintenance {
                continue;
            }
            if ward.due > now {
                wake = wake.min(ward.due);
                continue;
            }
            ward.probing = true;
            let (key, endpoint) = (*key, ward.member.spec.endpoint.clone());
            let (probing, verdicts) = (probing.clone(), self.verdicts.clone());
            let Station { worker, tasks, permits } = self.station.clone();
            tasks.start("health probe", async move {
                let _permit = permits.acquire().await;
                let timeout = probing.rhythm.timeout;
                let asked = tokio::time::timeout(timeout, probing.ask(&endpoint, &worker)).await;
                let late = || Err(format!("nothing within {} ms", timeout.as_millis()));
                let outcome = asked.unwrap_or_else(|_| late());
                // Nobody listens any more once the watch has ended.
                let _ = verdicts.send(Verdict { key, outcome });
            });
        }
        wake
    }

    /// Asks the agents whose turn it is.
    fn ask(&mut self, now: Instant) -> Instant {
        let mut wake = now + LONG;
        let Some(agent) = &self.care.agent else { return wake };
        for (key, ward) in &mut self.wards {
            if ward.asking {
                continue;
            }
            if ward.ask > now {
                wake = wake.min(ward.ask);
                continue;
            }
            ward.asking = true;
            let (key, endpoint) = (*key, ward.member.spec.endpoint.clone());
            let (agent, lines) = (agent.clone(), self.lines.clone());
            let Station { worker, tasks, permits } = self.station.clone();
            tasks.start("agent", async move {
                let _permit = permits.acquire().await;
                let limit = agent.timeout;
                let said = tokio::time::timeout(limit, agent.ask(&endpoint, &worker)).await;
                let late = || Err(format!("nothing within {} ms", limit.as_millis()));
                // Nobody listens any more once the watch has ended.
                let _ = lines.send((key, said.unwrap_or_else(|_| late())));
            });
        }
        wake
    }

    /// Takes what an agent has said. Silence changes nothing: whether a member is there is for its
    /// probes and its traffic to find out.
    fn heed(&mut self, key: u64, said: Result<Says, String>, now: Instant) {
        let Some(agent) = &self.care.agent else { return };
        let Some(ward) = self.wards.get_mut(&key) else { return };
        let (member, state) = (ward.member.clone(), &ward.member.state);
        ward.asking = false;
        ward.ask = now + agent.every.mul_f64(0.9 + 0.2 * self.random.unit());
        let said = match said {
            Ok(said) => said,
            Err(why) => {
                if !std::mem::replace(&mut ward.mute, true) {
                    self.say(Level::Warn, &member, &format!("has an agent of no use: {why}"));
                }
                return;
            }
        };
        let was_mute = std::mem::take(&mut ward.mute);
        if let Some(load) = said.load {
            state.report_load(load, now);
        }
        self.changed |= said.share.is_some_and(|share| state.set_own_share(share));
        let before = state.own();
        if let Some(own) = said.own
            && state.set_own(own, &*said.reason)
        {
            self.changed = true;
            if own == Own::Ready && before != Own::Drain {
                ward.start(self.care.slow_start.as_ref(), now);
            }
            let level = if own == Own::Ready { Level::Info } else { Level::Warn };
            let reason = match &*said.reason {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            self.say(level, &member, &format!("says that it is {}{reason}", own.as_str()));
        } else if was_mute {
            self.say(Level::Info, &member, "has an agent that answers again");
        }
        if let Some(most) = said.ceiling
            && member.state.set_own_ceiling(most)
        {
            let most = match most {
                usize::MAX => "any number of".to_owned(),
                most => most.to_string(),
            };
            self.say(Level::Info, &member, &format!("says that it takes {most} requests at once"));
            self.pool.hand_over();
        }
    }

    /// Takes the outcome of a probe.
    fn hear(&mut self, verdict: Verdict, now: Instant) {
        let Some(rhythm) = self.care.probing.as_ref().map(|probing| probing.rhythm) else { return };
        let Some(ward) = self.wards.get_mut(&verdict.key) else { return };
        let (member, passed) = (ward.member.clone(), verdict.outcome.is_ok());
        let counts = &member.state.probes;
        if passed { &counts.passed } else { &counts.failed }.fetch_add(1, Ordering::Relaxed);
        ward.probing = false;
        let before = ward.machine.health();
        let health = ward.machine.probed(passed, &rhythm, now);
        ward.due = now + ward.machine.wait(&rhythm, self.random.unit());
        ward.passed = if passed { ward.passed + 1 } else { 0 };
        let reached = ward.passed >= rhythm.rise
            && member.state.passive.was_unreachable()
            && member.state.readmit();
        let why = match verdict.outcome {
            Ok(()) => "probes pass".to_owned(),
            Err(why) => why,
        };
        if let Some(health) = health {
            self.changed |= member.state.set_health(health, &*why);
            if before == Health::Down {
                self.changed |= ward.start(self.care.slow_start.as_ref(), now);
            }
        }
        if reached {
            ward.start(self.care.slow_start.as_ref(), now);
            self.changed = true;
        }
        match health {
            Some(Health::Down) => self.say(Level::Warn, &member, &format!("is down: {why}")),
            Some(_) if before == Health::Down => {
                self.say(Level::Info, &member, "is up: probes pass");
            }
            Some(_) | None => {}
        }
        if reached {
            self.say(Level::Info, &member, "is back: probes reach it again");
        }
    }
}

impl Ward {
    /// Begins to start slowly, where the pool wants that. Whether the share has changed.
    fn start(&mut self, rule: Option<&SlowStart>, now: Instant) -> bool {
        let Some(rule) = rule else { return false };
        self.starting = Some(now);
        self.member.state.set_share(rule.share(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests;
