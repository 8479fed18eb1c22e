//! Members judged by their traffic: who fails too often is taken out for a while.
//!
//! Envoy's detectors. What runs with each request is one addition for each detector that is on; who
//! is suspected is written down, and [`Outliers::judge`] decides beside the traffic:
//!
//! - an ejection lasts `ejection` times the number of ejections so far, `longest` at most; each
//!   sweep without one takes one off that number,
//! - at most the share `most` of the members is out at a time, one of several always may be,
//! - the last member that is usable is never ejected.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use transom_proxy::destination::{AttemptResult, Outcome};
use transom_proxy::fault::Code;

use super::statistics::{self, Tally, Volume};
use crate::members::{Passive, PoolMember};
use crate::state::Administrative;

pub mod counts;

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
mod tests;
