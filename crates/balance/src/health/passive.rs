//! Members judged by their traffic: who fails too often is taken out for a while.
//!
//! Envoy's detectors. What runs with each request is one addition for each detector that is on; who
//! is suspected is written down, and [`Outliers::judge`] decides beside the traffic:
//!
//! - an ejection lasts `ejection` times the number of ejections so far, `longest` at most; each
//!   sweep without one takes one off that number,
//! - at most the share `most` of the members is out at a time, one of several always may be,
//! - the last member that is usable is never ejected.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use transom_proxy::destination::{AttemptResult, Outcome};
use transom_proxy::fault::Code;

use super::statistics::{self, Tally, Volume};
use crate::members::{Passive, PoolMember};
use crate::state::Administrative;

/// Part of an ejection by which it may be longer, so that members ejected together do not all come
/// back together.
const JITTER: f64 = 0.1;

/// What makes a member suspect, and what follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlierRules {
    /// Connections in a row that could not be made. Default 3.
    pub connect_failures: Option<u32>,
    /// Attempts in a row without a whole response. Default 5.
    pub failures: Option<u32>,
    /// Failures, or responses of 500 to 599, in a row. Default: none; Envoy has 5.
    pub errors: Option<u32>,
    /// Failures, or responses of 502, 503 or 504, in a row. Default: none.
    pub gateway_errors: Option<u32>,
    /// Success rate below the mean of all by so many standard deviations. Default: none.
    pub success_rate: Option<(Volume, f64)>,
    /// Share of errors, from 0 to 1. Default: none.
    pub error_share: Option<(Volume, f64)>,
    /// Mean latency that is so many times the others' median. Default: none.
    pub latency: Option<(Volume, f64)>,
    /// How often the last three are worked out. Default 10 s.
    pub every: Duration,
    /// Default 30 s.
    pub ejection: Duration,
    /// Default 5 min.
    pub longest: Duration,
    /// From 0 to 1. Default 0.1.
    pub most: f64,
}

impl Default for OutlierRules {
    fn default() -> Self {
        OutlierRules::DEFAULT
    }
}

impl OutlierRules {
    pub const DEFAULT: OutlierRules = OutlierRules {
        connect_failures: Some(3),
        failures: Some(5),
        errors: None,
        gateway_errors: None,
        success_rate: None,
        error_share: None,
        latency: None,
        every: Duration::from_secs(10),
        ejection: Duration::from_secs(30),
        longest: Duration::from_secs(300),
        most: 0.1,
    };

    /// Whether members are compared with each other.
    pub fn compares(&self) -> bool {
        self.success_rate.is_some() || self.error_share.is_some() || self.latency.is_some()
    }
}

/// What is counted of one member; part of its state.
#[derive(Debug, Default)]
pub struct Counts {
    connect_failures: AtomicU32,
    failures: AtomicU32,
    errors: AtomicU32,
    gateway_errors: AtomicU32,
    requests: AtomicU32,
    successes: AtomicU32,
    /// Microseconds.
    latency: AtomicU64,
    /// Ejections that still make the next one longer.
    ejections: AtomicU32,
    /// Since the start.
    pub ejected: AtomicU64,
    /// The ejection came from not reaching the member, so that reaching it ends it.
    unreachable: AtomicBool,
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

    fn take_tally(&self) -> Tally {
        Tally {
            requests: self.requests.swap(0, Ordering::Relaxed),
            successes: self.successes.swap(0, Ordering::Relaxed),
            latency: self.latency.swap(0, Ordering::Relaxed),
        }
    }

    fn forget_streaks(&self) {
        for streak in [&self.connect_failures, &self.failures, &self.errors, &self.gateway_errors] {
            streak.store(0, Ordering::Relaxed);
        }
    }
}

/// A member that might have to go.
#[derive(Debug)]
struct Suspect {
    key: u64,
    reason: String,
    unreachable: bool,
}

/// An ejection, to be told of.
pub struct Ejection {
    pub member: Arc<PoolMember>,
    pub time: Duration,
    pub reason: String,
}

/// See the module.
#[derive(Debug)]
pub struct Outliers {
    pub rules: OutlierRules,
    suspects: Mutex<Vec<Suspect>>,
    suspected: Notify,
}

/// What an attempt says about a member.
struct Verdict {
    connected: bool,
    answered: bool,
    error: bool,
    gateway_error: bool,
}

impl Verdict {
    fn of(result: AttemptResult) -> Option<Self> {
        match result {
            AttemptResult::Abandoned => None,
            AttemptResult::Answered(status) => Some(Verdict {
                connected: true,
                answered: true,
                error: status >= 500,
                gateway_error: matches!(status, 502..=504),
            }),
            AttemptResult::Carried => Some(Verdict {
                connected: true,
                answered: true,
                error: false,
                gateway_error: false,
            }),
            AttemptResult::Failed(code) => Some(Verdict {
                connected: !matches!(
                    code,
                    Code::ConnectFailed
                        | Code::ConnectRefused
                        | Code::ConnectTimeout
                        | Code::TlsFailed
                ),
                answered: false,
                error: true,
                gateway_error: true,
            }),
        }
    }
}

impl Outliers {
    pub fn new(rules: OutlierRules) -> Arc<Self> {
        Arc::new(Outliers { rules, suspects: Mutex::default(), suspected: Notify::new() })
    }

    /// Ready once a member is suspected.
    pub async fn suspected(&self) {
        self.suspected.notified().await;
    }

    fn suspect(&self, member: &PoolMember, unreachable: bool, reason: String) {
        let suspect = Suspect { key: member.spec.endpoint.key, reason, unreachable };
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if !suspects.iter().any(|other| other.key == suspect.key) {
            suspects.push(suspect);
        }
        drop(suspects);
        self.suspected.notify_one();
    }

    /// Compares the members with each other; to be called every [`OutlierRules::every`].
    pub fn sweep(&self, members: &[Arc<PoolMember>], now: Instant) {
        let members: Vec<_> =
            members.iter().filter(|member| ejected(member, now).is_none()).collect();
        for member in &members {
            let ejections = &member.state.passive.ejections;
            ejections.store(ejections.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        }
        if !self.rules.compares() {
            return;
        }
        let tallies: Vec<Tally> =
            members.iter().map(|member| member.state.passive.take_tally()).collect();
        if let Some((volume, deviations)) = self.rules.success_rate {
            for (index, rate, bound) in statistics::low_success(&tallies, volume, deviations) {
                let percent = |share: f64| share * 100.0;
                self.suspect(
                    members[index],
                    false,
                    format!(
                        "{:.1} % of its requests succeeded, less than {:.1} %",
                        percent(rate),
                        percent(bound)
                    ),
                );
            }
        }
        if let Some((volume, share)) = self.rules.error_share {
            for (index, failed) in statistics::many_failures(&tallies, volume, share) {
                let reason = format!("{:.0} % of its requests failed", failed * 100.0);
                self.suspect(members[index], false, reason);
            }
        }
        if let Some((volume, factor)) = self.rules.latency {
            for (index, times) in statistics::slow(&tallies, volume, factor) {
                let reason = format!("its latency is {times:.1} times that of the others");
                self.suspect(members[index], false, reason);
            }
        }
    }

    /// Ejects who is suspected, as far as that may be. Refresh the pool afterwards. `random` is
    /// from 0 to 1.
    pub fn judge(
        &self,
        members: &[Arc<PoolMember>],
        now: Instant,
        random: impl Fn() -> f64,
    ) -> Vec<Ejection> {
        let suspects =
            std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner));
        let mut ejections = Vec::new();
        for suspect in suspects {
            let is_suspect = |member: &&Arc<PoolMember>| member.spec.endpoint.key == suspect.key;
            let Some(member) = members.iter().find(is_suspect) else { continue };
            if !may_be_ejected(member, members, self.rules.most, now) {
                continue;
            }
            let counts = &member.state.passive;
            let times = counts.ejections.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            counts.ejected.fetch_add(1, Ordering::Relaxed);
            counts.unreachable.store(suspect.unreachable, Ordering::Relaxed);
            counts.forget_streaks();
            let time = self.rules.ejection.saturating_mul(times).min(self.rules.longest);
            member.state.eject(now + time.mul_f64(1.0 + JITTER * random()), &*suspect.reason);
            ejections.push(Ejection { member: member.clone(), time, reason: suspect.reason });
        }
        ejections
    }
}

impl Passive for Outliers {
    fn ended(&self, member: &PoolMember, outcome: &Outcome) {
        let Some(verdict) = Verdict::of(outcome.result) else { return };
        let (counts, rules) = (&member.state.passive, &self.rules);
        let streak = |count: &AtomicU32, limit: Option<u32>, bad: bool| {
            let limit = limit?;
            if !bad {
                // A store by every request would take the line from the other workers.
                if count.load(Ordering::Relaxed) != 0 {
                    count.store(0, Ordering::Relaxed);
                }
                return None;
            }
            let length = count.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            // Again and again: it may not have been possible the first time.
            length.is_multiple_of(limit.max(1)).then_some(length)
        };
        let unconnected = !verdict.connected;
        if let Some(n) = streak(&counts.connect_failures, rules.connect_failures, unconnected) {
            self.suspect(member, true, format!("{n} connections in a row could not be made"));
        }
        if let Some(n) = streak(&counts.failures, rules.failures, !verdict.answered) {
            self.suspect(member, unconnected, format!("{n} attempts in a row failed"));
        }
        if let Some(n) = streak(&counts.gateway_errors, rules.gateway_errors, verdict.gateway_error)
        {
            self.suspect(member, unconnected, format!("{n} gateway errors in a row"));
        }
        if let Some(n) = streak(&counts.errors, rules.errors, verdict.error) {
            self.suspect(member, unconnected, format!("{n} errors in a row"));
        }
        if rules.compares() {
            counts.requests.fetch_add(1, Ordering::Relaxed);
            if !verdict.error {
                counts.successes.fetch_add(1, Ordering::Relaxed);
            }
            let took = outcome.latency.unwrap_or_else(|| outcome.began.elapsed());
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            counts.latency.fetch_add(micros, Ordering::Relaxed);
        }
    }
}

fn ejected(member: &PoolMember, now: Instant) -> Option<Instant> {
    member.state.ejected_until().filter(|until| *until > now)
}

fn may_be_ejected(
    member: &PoolMember,
    members: &[Arc<PoolMember>],
    most: f64,
    now: Instant,
) -> bool {
    if ejected(member, now).is_some() || member.state.administrative() != Administrative::Ready {
        return false;
    }
    let ready: Vec<_> = members
        .iter()
        .filter(|other| {
            other.spec.weight > 0 && other.state.administrative() == Administrative::Ready
        })
        .collect();
    let out = ready.iter().filter(|other| ejected(other, now).is_some()).count();
    let most = ((ready.len() as f64 * most) as usize).max(1);
    let another = ready.iter().any(|other| {
        other.spec.endpoint.key != member.spec.endpoint.key && other.state.standing(now).is_usable()
    });
    out < most && another
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::testing::specs;
    use crate::pool::{Pool, Settings};
    use crate::state::{Health, Standing};

    /// No detector.
    const RULES: OutlierRules =
        OutlierRules { connect_failures: None, failures: None, ..OutlierRules::DEFAULT };

    fn pool_of(weights: &[u32]) -> Arc<Pool> {
        Pool::new("p", specs(weights), Settings::default(), None)
    }

    fn outcome(result: AttemptResult) -> Outcome {
        Outcome { result, began: Instant::now(), latency: Some(Duration::from_millis(1)) }
    }

    /// What of these results makes a member suspect: `c` refused, `r` reset, `5` 500, `g` 503, `.`
    /// 200, `a` abandoned.
    fn suspected(rules: OutlierRules, results: &str) -> String {
        let pool = pool_of(&[1]);
        let outliers = Outliers::new(rules);
        let member = &pool.members()[0];
        let suspects = results.chars().map(|result| {
            let result = match result {
                'c' => AttemptResult::Failed(Code::ConnectRefused),
                'r' => AttemptResult::Failed(Code::BadResponse),
                '5' => AttemptResult::Answered(500),
                'g' => AttemptResult::Answered(503),
                'a' => AttemptResult::Abandoned,
                _ => AttemptResult::Answered(200),
            };
            outliers.ended(member, &outcome(result));
            let suspects = std::mem::take(&mut *outliers.suspects.lock().unwrap());
            suspects.first().map_or('-', |s| if s.unreachable { 'u' } else { 's' })
        });
        suspects.collect()
    }

    #[test]
    fn who_fails_in_a_row_is_suspect() {
        let three = Some(3);
        for (rules, results, expected) in [
            (OutlierRules { connect_failures: three, ..RULES }, "cc.ccc", "-----u"),
            (OutlierRules { connect_failures: three, ..RULES }, "rrrrr", "-----"),
            (OutlierRules { connect_failures: three, ..RULES }, "ccacrc", "---u--"),
            (OutlierRules { failures: three, ..RULES }, "crr", "--s"),
            (OutlierRules { failures: three, ..RULES }, "rrcr5rrr", "--u----s"),
            (OutlierRules { failures: three, ..RULES }, "555555", "------"),
            (OutlierRules { errors: three, ..RULES }, "5g5", "--s"),
            (OutlierRules { errors: three, ..RULES }, "55.55r", "-----s"),
            (OutlierRules { gateway_errors: three, ..RULES }, "5g5ggr", "-----s"),
            // asked again with each further three
            (OutlierRules { errors: three, ..RULES }, "5555555", "--s--s-"),
            (RULES, "cccccccc", "--------"),
        ] {
            assert_eq!(suspected(rules, results), expected, "{results}");
        }
    }

    fn fail(outliers: &Outliers, member: &PoolMember, times: usize) {
        for _ in 0..times {
            outliers.ended(member, &outcome(AttemptResult::Failed(Code::BadResponse)));
        }
    }

    #[test]
    fn ejections_grow_and_are_forgiven() {
        let pool = pool_of(&[1, 1, 1]);
        let members = pool.members();
        let outliers = Outliers::new(OutlierRules { failures: Some(1), ..RULES });
        let mut now = Instant::now();
        let eject = |now: Instant| {
            fail(&outliers, &members[0], 1);
            outliers.judge(&members, now, || 0.0)[0].time.as_secs()
        };
        for seconds in [30, 60, 90] {
            assert_eq!(eject(now), seconds);
            now += Duration::from_secs(seconds);
        }
        outliers.sweep(&members, now);
        outliers.sweep(&members, now);
        assert_eq!(eject(now), 60, "two quiet sweeps take two off");
        now += Duration::from_secs(60);
        for _ in 0..20 {
            eject(now);
            now += Duration::from_secs(300);
        }
        assert_eq!(eject(now), 300);
        assert_eq!(members[0].state.passive.ejected.load(Ordering::Relaxed), 25);
    }

    #[test]
    fn few_may_be_out_at_a_time_and_never_the_last() {
        let now = Instant::now();
        for (members, most, suspects, out) in [
            // a tenth of three is none, but one may always be
            (3, 0.1, 3, 1),
            (20, 0.1, 20, 2),
            (3, 1.0, 3, 2),
            (2, 1.0, 2, 1),
            (1, 1.0, 1, 0),
        ] {
            let pool = pool_of(&vec![1; members]);
            let members = pool.members();
            let outliers = Outliers::new(OutlierRules { failures: Some(1), most, ..RULES });
            for member in &members[..suspects] {
                fail(&outliers, member, 1);
            }
            assert_eq!(
                outliers.judge(&members, now, || 0.0).len(),
                out,
                "{} {most}",
                members.len()
            );
        }
        // The one that is left is usable no more: then the suspect is the last.
        let pool = pool_of(&[1, 1]);
        let members = pool.members();
        members[1].state.set_health(Health::Down, "refused");
        let outliers = Outliers::new(OutlierRules { failures: Some(1), most: 1.0, ..RULES });
        fail(&outliers, &members[0], 1);
        assert!(outliers.judge(&members, now, || 0.0).is_empty());
        // Who is drained by hand is not ejected on top.
        members[1].state.set_health(Health::Up, "passed");
        members[0].state.set_administrative(Administrative::Drain, "by hand");
        fail(&outliers, &members[0], 1);
        assert!(outliers.judge(&members, now, || 0.0).is_empty());
        assert_eq!(members[0].state.standing(now), Standing::Drain);
    }

    #[test]
    fn members_are_compared_at_each_sweep() {
        let pool = pool_of(&[1; 5]);
        let members = pool.members();
        let volume = Volume { members: 5, requests: 10 };
        let rules = OutlierRules { success_rate: Some((volume, 1.9)), ..RULES };
        let outliers = Outliers::new(rules);
        let now = Instant::now();
        for round in 0..20 {
            for (index, member) in members.iter().enumerate() {
                let status = if index == 4 && round % 2 == 0 { 500 } else { 200 };
                outliers.ended(member, &outcome(AttemptResult::Answered(status)));
            }
        }
        outliers.sweep(&members, now);
        let ejections = outliers.judge(&members, now, || 0.0);
        assert_eq!(ejections[0].reason, "50.0 % of its requests succeeded, less than 52.0 %");
        assert_eq!(ejections[0].member.spec.endpoint.name, "e");
        outliers.sweep(&members, now);
        assert!(outliers.judge(&members, now, || 0.0).is_empty(), "counted anew");
    }
}
