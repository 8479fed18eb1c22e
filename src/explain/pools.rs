//! Who of a pool could get the request, and what speaks for each.

use transom_balance::members::MemberView;
use transom_balance::pool::Chance;
use transom_proxy::destination::Ask;

use super::Telling;
use crate::build::rule;
use crate::config::{AlgorithmKind, Forward, Pool};

impl Telling<'_> {
    /// A pool, or each pool of a split.
    pub(super) fn pool_or_split(&mut self, name: &str, forward: &Forward) {
        let Some(split) = self.snapshot.config.splits.get(name) else {
            return self.pool(name, forward);
        };
        let sticky = if split.cookie.is_some() { ", by cookie" } else { "" };
        self.line(format!("divided by split {name}{sticky}"));
        let all: u32 = split.pools.values().map(|weight| u32::from(weight.value)).sum();
        for (pool, weight) in split.pools.iter() {
            let share = f64::from(weight.value) * 100.0 / f64::from(all.max(1));
            self.line(format!("{share:.1} % of the requests"));
            self.pool(pool, forward);
        }
    }

    fn pool(&mut self, name: &str, forward: &Forward) {
        let Some(pool) = self.snapshot.pools.get(name) else { return };
        let Some(written) = self.snapshot.config.pools.get(name) else { return };
        let rule = rule(forward, written);
        let algorithm = forward.algorithm.as_ref().map_or(&written.algorithm, |own| &own.value);
        let labels = forward.subset.iter().map(|(label, value)| format!(", {label} {value}"));
        let labels: String = labels.collect();
        self.line(format!("forward to pool {name} ({}{labels})", algorithm.word()));
        let ask =
            Ask { client: self.client, http: None, tried: &[], now: std::time::Instant::now() };
        let (chances, chosen) = match rule {
            Some(rule) => {
                let scoped = pool.by(rule);
                (scoped.chances(), scoped.peek(&ask))
            }
            None => (pool.chances(), pool.peek(&ask)),
        };
        if pool.panics() {
            self.line("  panic: too few are usable, so all are used");
        }
        for (member, chance) in pool.view().iter().zip(&chances) {
            self.line(candidate(member, chance.as_ref()));
        }
        let left_out = self.snapshot.rosters.get(name).map_or(0, |roster| roster.left_out());
        if let (1.., Some(instance)) = (left_out, self.snapshot.config.instance) {
            self.line(format!("  {left_out} more are for other instances than {instance}"));
        }
        for what in guarded(written) {
            self.line(format!("  {what}"));
        }
        if let Some(scale) = &written.scale {
            let (min, max) = (scale.min, scale.max.value);
            self.line(format!(
                "  {min} to {max} servers on demand; requests are held until one is there"
            ));
        }
        let sources = self.snapshot.rosters.get(name).map(|roster| roster.sources());
        for source in sources.into_iter().flatten() {
            let found = source.found;
            let failing = if source.failing.is_some() { ", it fails now" } else { "" };
            self.line(format!("  source {}: {found} known{failing}", source.name));
        }
        if let AlgorithmKind::Source(_) = algorithm.0
            && let Some(endpoint) = chosen
        {
            self.line(format!("  the client {} goes to {}", self.client, endpoint.name));
        }
    }
}

/// What keeps the pool from being asked for too much.
fn guarded(pool: &Pool) -> Vec<String> {
    let (limits, queue) = (&pool.limits, &pool.queue);
    let most = [
        limits.requests.value.get().map(|most| format!("{most} requests at once")),
        limits.per_member.value.get().map(|most| format!("{most} for each endpoint")),
        limits.connections.value.get().map(|most| format!("{most} connections")),
        limits
            .connections_per_member
            .value
            .get()
            .map(|most| format!("{most} connections for each endpoint")),
        limits.adaptive.on().map(|_| "as many as their latency allows".to_owned()),
    ];
    let most: Vec<String> = most.into_iter().flatten().collect();
    let mut told = Vec::new();
    if !most.is_empty() {
        let (length, timeout) = (queue.length, queue.timeout.value);
        let most = most.join(", ");
        told.push(format!("at most {most}; {length} more wait up to {timeout} for room"));
    }
    if let Some(breaker) = pool.breaker.on() {
        let (errors, window, open) =
            (breaker.errors.value, breaker.window.value, breaker.open.value);
        let least = breaker.min_requests;
        told.push(format!(
            "left alone for {open} once {errors} of at least {least} requests in {window} have failed"
        ));
    }
    told
}

fn candidate(member: &MemberView, chance: Option<&Chance>) -> String {
    let endpoint = &member.endpoint;
    let address = endpoint.target.address.to_string();
    let mut said = format!("  candidate {}", endpoint.name);
    if address != endpoint.name {
        said.push_str(&format!(" at {address}"));
    }
    said.push_str(&format!(", weight {}", member.weight));
    if member.priority > 0 {
        said.push_str(&format!(", priority {}", member.priority));
    }
    if let Some(zone) = &member.zone {
        said.push_str(&format!(", zone {zone}"));
    }
    if endpoint.target.tls.is_some() {
        said.push_str(", tls");
    }
    said.push_str(": ");
    match chance {
        Some(Chance { portion: 0.0, score }) => {
            said.push_str(&format!("stands by; {score}"));
        }
        Some(Chance { portion, score }) if *portion < 1.0 => {
            said.push_str(&format!("one of those that get {:.0} %; {score}", portion * 100.0));
        }
        Some(Chance { score, .. }) => said.push_str(score),
        None if member.weight == 0 => said.push_str("not used, it has no weight"),
        None if !member.standing.is_usable() => {
            said.push_str(&format!("not used, {}", member.standing.as_str()));
            if !member.reason.is_empty() {
                said.push_str(&format!(" ({})", member.reason));
            }
        }
        None => said.push_str("not used, it does not have these labels"),
    }
    said
}
