//! How the members of a pool are looked after, and what it is guarded with.

use std::sync::Arc;

use transom_balance::Pool;
use transom_balance::budget::Allowance;
use transom_balance::guard::breaker::BreakerRule;
use transom_balance::guard::gradient::GradientRule;
use transom_balance::guard::{Guard, GuardRules, QueueRule};
use transom_balance::health::Care;
use transom_balance::health::agent::Agent;
use transom_balance::health::machine::Rhythm;
use transom_balance::health::passive::{OutlierRules, Outliers};
use transom_balance::health::probe::command::CommandProbe;
use transom_balance::health::probe::grpc::GrpcProbe;
use transom_balance::health::probe::http::HttpProbe;
use transom_balance::health::probe::tcp::TcpProbe;
use transom_balance::health::probe::{Probe, Probing};
use transom_balance::health::slow_start::SlowStart;
use transom_balance::health::statistics::Volume;
use transom_balance::log::{Level, Log};
use transom_settings::{Limit, Switch};

use super::action::bounds;
use crate::config;

/// What of a pool's settings looks after it and guards it.
pub(super) struct Upkeep {
    pub(super) care: Care,
    pub(super) guard: Option<Arc<Guard>>,
    pub(super) allowance: Allowance,
    pub(super) retries: Option<usize>,
}

pub(super) fn upkeep(name: &str, written: &config::Pool, previous: Option<&Pool>) -> Upkeep {
    let earlier = previous.and_then(|pool| pool.guard()).map(Arc::as_ref);
    let log = named(name);
    Upkeep {
        care: Care {
            probing: written.health.as_ref().map(probing),
            agent: written.agent.as_ref().map(agent),
            outliers: written.outliers.on().map(|outliers| Outliers::new(rules(outliers))),
            slow_start: written.slow_start.as_ref().map(slow_start),
            drain: written.drain_timeout.value.get().map(|time| time.get()),
        },
        guard: guard_rules(written).map(|rules| Guard::new(rules, earlier, log)),
        allowance: match &written.retry_budget {
            Switch::On(budget) => {
                Allowance { share: budget.share.ratio(), minimum: f64::from(budget.min_per_second) }
            }
            Switch::Off => Allowance { share: f64::INFINITY, minimum: f64::INFINITY },
        },
        retries: count(written.limits.retries),
    }
}

/// Where what happens to members is told.
pub fn log() -> Log {
    Arc::new(|level, what| match level {
        Level::Info => crate::log::info(what),
        Level::Warn => crate::log::warn(what),
    })
}

fn named(pool: &str) -> Log {
    let (pool, log) = (pool.to_owned(), log());
    Arc::new(move |level, what| log(level, &format!("pool `{pool}`: {what}")))
}

fn count(limit: Limit<u32>) -> Option<usize> {
    limit.get().map(|count| count as usize)
}

fn agent(written: &config::Agent) -> Agent {
    Agent {
        port: written.port.value,
        send: written.send.clone().unwrap_or_default().into_bytes(),
        every: written.every.value.get(),
        timeout: written.timeout.value.get(),
    }
}

fn probing(written: &config::Health) -> Probing {
    let every = written.every.value.get();
    Probing {
        probe: probe(&written.probe),
        rhythm: Rhythm {
            every,
            fast: written.fast_every.map_or(every / 5, |time| time.value.get()),
            down: written.down_every.map_or(every, |time| time.value.get()),
            timeout: written.timeout.value.get(),
            jitter: written.jitter.ratio(),
            rise: written.rise.value,
            fall: written.fall.value,
        },
        port: written.port,
    }
}

fn probe(written: &config::Probe) -> Probe {
    match written {
        config::Probe::Http(http) => Probe::Http(HttpProbe {
            method: http.method.to_string(),
            path: http.path.value.clone(),
            host: http.host.as_ref().map(ToString::to_string),
            fields: http.headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            statuses: http.status.iter().map(|pattern| bounds(*pattern)).collect(),
            body: http.body.clone(),
        }),
        config::Probe::Tcp(tcp) => {
            let tcp = tcp.on().cloned().unwrap_or_default();
            let bytes = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
            Probe::Tcp(TcpProbe { send: bytes(&tcp.send), expect: bytes(&tcp.expect) })
        }
        config::Probe::Grpc(service) => Probe::Grpc(GrpcProbe { service: service.clone() }),
        config::Probe::Command(words) => {
            let mut words = words.iter().map(|word| word.value.clone());
            Probe::Command(CommandProbe {
                program: words.next().unwrap_or_default(),
                arguments: words.collect(),
            })
        }
    }
}

fn rules(written: &config::Outliers) -> OutlierRules {
    let streak = |limit: Limit<u32>| limit.get().filter(|count| *count > 0);
    OutlierRules {
        connect_failures: streak(written.connect_failures),
        failures: streak(written.failures),
        errors: streak(written.errors),
        gateway_errors: streak(written.gateway_errors),
        success_rate: written.success_rate.on().map(|rate| {
            let volume = Volume { members: rate.min_members, requests: rate.min_requests };
            (volume, rate.deviations.get())
        }),
        error_share: written.error_share.on().map(|errors| {
            let volume = Volume { members: errors.min_members, requests: errors.min_requests };
            (volume, errors.share.ratio())
        }),
        latency: written.latency.on().map(|slow| {
            let volume = Volume { members: slow.min_members, requests: slow.min_requests };
            (volume, slow.factor.get())
        }),
        every: written.every.value.get(),
        ejection: written.ejection.value.get(),
        longest: written.max_ejection.get(),
        most: written.max_ejected.ratio(),
    }
}

fn slow_start(written: &config::SlowStart) -> SlowStart {
    SlowStart {
        window: written.window.value.get(),
        aggression: written.aggression.value.get(),
        minimum: written.min_share.ratio(),
    }
}

/// Nothing where nothing is limited: an unguarded pool pays nothing.
fn guard_rules(written: &config::Pool) -> Option<GuardRules> {
    let limits = &written.limits;
    // Each exchange needs a connection, or a stream of one: who could get none waits in the queue.
    let carried = |connections: Limit<u32>| {
        let each = written.exchanges_per_connection();
        count(connections).map(|connections| connections.saturating_mul(each))
    };
    let lesser = |one: Option<usize>, other: Option<usize>| one.into_iter().chain(other).min();
    let connections = (carried(limits.connections.value), limits.connections_per_member.value);
    let rules = GuardRules {
        requests: lesser(count(limits.requests.value), connections.0),
        per_member: lesser(count(limits.per_member.value), carried(connections.1)),
        queue: QueueRule {
            length: written.queue.length as usize,
            timeout: written.queue.timeout.value.get(),
        },
        breaker: written.breaker.on().map(|breaker| BreakerRule {
            errors: breaker.errors.value.ratio(),
            requests: breaker.min_requests,
            window: breaker.window.value.get(),
            open: breaker.open.value.get(),
            trials: breaker.trials,
        }),
        adaptive: limits.adaptive.on().map(|adaptive| GradientRule {
            least: adaptive.min.value as usize,
            most: adaptive.max as usize,
            measure: adaptive.measure.value.get(),
            buffer: adaptive.buffer.ratio(),
        }),
    };
    let guards = rules.requests.is_some()
        || rules.per_member.is_some()
        || rules.breaker.is_some()
        || rules.adaptive.is_some()
        // whose members may say how many requests they take
        || written.agent.is_some();
    guards.then_some(rules)
}
