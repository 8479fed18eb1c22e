//! What keeps a pool from being asked for more than it can do.
//!
//! - Ceilings: so many requests at once for the pool, and for each member.
//! - A limit that finds itself: [`gradient`].
//! - A [`queue`] for those over a limit, bounded in length and time.
//! - A [`breaker`] for a pool that mostly fails.
//!
//! A pool without any of these has no guard, and pays nothing.

pub mod breaker;
pub mod gradient;
pub(crate) mod queue;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use transom_proxy::destination::{
    AttemptResult, Endpoint, Lease, Leasing, Member, Outcome, Recall, Waiting,
};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Fields;

use self::breaker::{Breaker, BreakerRule, Passing, Position};
use self::gradient::{Gradient, GradientRule};
use self::queue::{Look, Queue};
use crate::log::{Level, Log};
use crate::members::PoolMember;
use crate::pool::{Pool, Question};
use crate::random::Random;

/// What a pool is guarded with.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardRules {
    /// Requests at once, over all members. Default: any number.
    pub requests: Option<usize>,
    /// Requests at once for each member. Default: any number.
    pub per_member: Option<usize>,
    /// How many may wait, and for how long.
    pub queue: QueueRule,
    pub breaker: Option<BreakerRule>,
    pub adaptive: Option<GradientRule>,
}

/// How many may wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRule {
    pub length: usize,
    pub timeout: Duration,
}

impl Default for QueueRule {
    fn default() -> Self {
        QueueRule { length: 1000, timeout: Duration::from_secs(1) }
    }
}

/// See the module.
pub struct Guard {
    rules: GuardRules,
    /// These go on over reloads.
    running: Arc<AtomicUsize>,
    queue: Arc<Queue>,
    breaker: Option<Arc<Mutex<Breaker>>>,
    gradient: Option<Arc<Mutex<Gradient>>>,
    refused: Arc<AtomicU64>,
    random: Random,
    log: Log,
}

/// What a guard does at the moment, to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardView {
    pub running: usize,
    pub waiting: usize,
    /// Requests at once, over all members.
    pub limit: Option<usize>,
    pub breaker: Option<Position>,
    /// Requests that were refused since the start.
    pub refused: u64,
}

/// What came of asking for a member at once.
enum Admission {
    Member(Arc<PoolMember>),
    /// All that could be used are busy.
    Busy,
    /// As many run as may run in all.
    Full,
    /// None could be used at all.
    Nobody,
}

impl Guard {
    /// A guard that goes on where `previous` stands, as far as its rules are the same.
    pub fn new(rules: GuardRules, previous: Option<&Guard>, log: Log) -> Arc<Self> {
        let now = Instant::now();
        let breaker = rules.breaker.map(|rule| {
            let earlier = previous.filter(|p| p.rules.breaker == rules.breaker);
            let earlier = earlier.and_then(|previous| previous.breaker.clone());
            earlier.unwrap_or_else(|| Arc::new(Mutex::new(Breaker::new(rule, now))))
        });
        let gradient = rules.adaptive.map(|rule| {
            let earlier = previous.filter(|p| p.rules.adaptive == rules.adaptive);
            let earlier = earlier.and_then(|previous| previous.gradient.clone());
            earlier.unwrap_or_else(|| Arc::new(Mutex::new(Gradient::new(rule, now))))
        });
        Arc::new(Guard {
            running: previous.map_or_else(Arc::default, |previous| previous.running.clone()),
            queue: previous.map_or_else(Arc::default, |previous| previous.queue.clone()),
            refused: previous.map_or_else(Arc::default, |previous| previous.refused.clone()),
            rules,
            breaker,
            gradient,
            random: Random::default(),
            log,
        })
    }

    /// Requests at once for each member, at most.
    pub fn per_member(&self) -> Option<usize> {
        self.rules.per_member
    }

    pub fn view(&self) -> GuardView {
        GuardView {
            running: self.running.load(Ordering::Relaxed),
            waiting: self.queue.len(),
            limit: self.limit(),
            breaker: self.breaker.as_ref().map(|breaker| locked(breaker).position()),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// A lease of a member of `pool`, now or later.
    pub(crate) fn lease(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        place: usize,
        question: &Question<'_>,
    ) -> Leasing {
        let leasing = self.try_lease(pool, place, question);
        if matches!(leasing, Leasing::Refused(_)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        leasing
    }

    fn try_lease(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        rule: usize,
        question: &Question<'_>,
    ) -> Leasing {
        let now = Instant::now();
        let trial = match &self.breaker {
            None => false,
            Some(breaker) => match locked(breaker).pass(now) {
                Passing::Yes => false,
                Passing::Trial => true,
                Passing::No(left) => return Leasing::Refused(open(left)),
            },
        };
        // Nobody overtakes those who wait for the same members, but for the trials on which all of them
        // depend.
        if trial || self.queue.is_empty() || !self.queue.holds(pool.lane(rule, question)) {
            match self.admit(pool, rule, question) {
                Admission::Member(member) => {
                    return Leasing::Ready(self.lease_of(member, trial, now));
                }
                Admission::Nobody => {
                    self.give_back(trial, now);
                    return Leasing::Refused(pool.nobody_left());
                }
                Admission::Busy | Admission::Full => {}
            }
        }
        self.give_back(trial, now);
        let QueueRule { length, timeout } = self.rules.queue;
        let place = match trial {
            true => None,
            false => self.queue.join(pool.clone(), rule, question, length),
        };
        let Some(place) = place else {
            let detail = format!("{} run and {} wait", self.view().running, self.queue.len());
            let fault = Fault::new(Code::PoolFull, detail);
            return Leasing::Refused(fault.retry_after(Duration::from_secs(1)));
        };
        // Room may have come between the look and the joining.
        self.hand_over();
        let waiting: Waiting = Box::pin(place.wait(timeout));
        Leasing::Wait(waiting)
    }

    /// A trial that does not take place does not count as one.
    fn give_back(&self, trial: bool, now: Instant) {
        if let (true, Some(breaker)) = (trial, &self.breaker) {
            locked(breaker).ended(true, None, now);
        }
    }

    /// A member that has room now, whose attempt has begun then.
    fn admit(&self, pool: &Pool, rule: usize, question: &Question<'_>) -> Admission {
        if !self.take() {
            return Admission::Full;
        }
        if let Some(member) = pool.begin_at(rule, question) {
            return Admission::Member(member);
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
        match pool.has_others_at(rule, question) {
            true => Admission::Busy,
            false => Admission::Nobody,
        }
    }

    /// Takes one of the places in the pool.
    fn take(&self) -> bool {
        let limit = self.limit().unwrap_or(usize::MAX);
        let more = |running: usize| (running < limit).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn limit(&self) -> Option<usize> {
        let found = self.gradient.as_ref().map(|gradient| locked(gradient).limit(Instant::now()));
        match (self.rules.requests, found) {
            (Some(fixed), Some(found)) => Some(fixed.min(found)),
            (fixed, found) => fixed.or(found),
        }
    }

    fn lease_of(self: &Arc<Self>, member: Arc<PoolMember>, trial: bool, now: Instant) -> Lease {
        Lease::new(Arc::new(Guarded { member, guard: self.clone(), trial }), now)
    }

    /// Gives those who wait what room there is.
    pub(crate) fn hand_over(self: &Arc<Self>) {
        loop {
            let served = self.queue.first(|waiter| {
                let question =
                    Question { wish: waiter.wish, tried: &waiter.tried, now: Instant::now() };
                // The guard of its own pool, which may be of another generation than this one.
                let Some(guard) = waiter.pool.guard().cloned() else { return Look::Full };
                match guard.admit(&waiter.pool, waiter.rule, &question) {
                    Admission::Member(member) => Look::Served(Ok((guard, member))),
                    Admission::Busy => Look::Busy,
                    Admission::Full => Look::Full,
                    // It waits in vain, and must not hold up those behind it.
                    Admission::Nobody => Look::Served(Err(waiter.pool.nobody_left())),
                }
            });
            let Some((waiter, served)) = served else { return };
            let answer =
                served.map(|(guard, member)| guard.lease_of(member, false, Instant::now()));
            // One that has just gone gives its lease back by dropping it, which comes here again.
            let _ = waiter.answer(answer);
        }
    }

    /// The latency is known with the head: what is answered may go on for hours.
    fn answered(self: &Arc<Self>, latency: Duration) {
        let Some(gradient) = &self.gradient else { return };
        locked(gradient).sample(latency, Instant::now(), self.random.unit());
        self.hand_over();
    }

    fn ended(self: &Arc<Self>, outcome: &Outcome, trial: bool) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(breaker) = &self.breaker {
            let failed = match outcome.result {
                AttemptResult::Answered(status) => Some(status >= 500),
                AttemptResult::Failed(_) => Some(true),
                AttemptResult::Carried => Some(false),
                AttemptResult::Abandoned => None,
            };
            let news = locked(breaker).ended(trial, failed, now);
            if let Some(position) = news {
                self.tell(position, now);
            }
        }
        self.hand_over();
    }

    /// The breaker has another position: says so, and lets nobody wait in vain.
    fn tell(&self, position: Position, now: Instant) {
        let left = self.breaker.as_ref().map(|breaker| locked(breaker).left(now));
        let left = left.unwrap_or_default();
        match position {
            Position::Open => {
                let seconds = left.as_secs_f64();
                let what = format!("too many errors: its breaker is open for {seconds:.1} s");
                (self.log)(Level::Warn, &what);
                for waiter in self.queue.all() {
                    let _ = waiter.answer(Err(open(left)));
                }
            }
            Position::Closed => (self.log)(Level::Info, "its breaker is closed again"),
            Position::HalfOpen => {}
        }
    }
}

fn open(left: Duration) -> Fault {
    let detail = format!("the breaker is open for {} ms more", left.as_millis());
    Fault::new(Code::CircuitOpen, detail).retry_after(left.max(Duration::from_secs(1)))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A member whose attempt is counted by the guard as well.
struct Guarded {
    member: Arc<PoolMember>,
    guard: Arc<Guard>,
    trial: bool,
}

impl Member for Guarded {
    fn endpoint(&self) -> &Arc<Endpoint> {
        self.member.endpoint()
    }

    fn answered(&self, latency: Duration) {
        self.member.answered(latency);
        self.guard.answered(latency);
    }

    fn heard(&self, fields: &Fields) {
        self.member.heard(fields);
    }

    fn recall(&self) -> Option<Recall> {
        self.member.recall()
    }

    fn ended(&self, outcome: &Outcome) {
        self.member.ended(outcome);
        self.guard.ended(outcome, self.trial);
    }
}

#[cfg(test)]
mod tests;
