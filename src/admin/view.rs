//! Pools as JSON.

use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};
use transom_balance::discovery::Roster;
use transom_balance::discovery::roster::SourceView;
use transom_balance::members::MemberView;
use transom_balance::scale::ScaleView;
use transom_net::Address;

/// A pool in a line.
pub(super) fn in_short(name: &str, roster: &Roster) -> Json {
    let pool = roster.pool();
    let members = pool.view();
    let usable = members.iter().filter(|m| m.standing.is_usable() && m.weight > 0).count();
    let sum = |what: fn(&MemberView) -> u64| members.iter().map(what).sum::<u64>();
    let failing = roster.sources().iter().filter(|source| source.failing.is_some()).count();
    json!({
        "name": name,
        "members": members.len(),
        "usable": usable,
        "panics": pool.panics(),
        "in-flight": sum(|m| m.in_flight as u64),
        "attempts": sum(|m| m.attempts),
        "failures": sum(|m| m.failures),
        "rate": members.iter().map(|m| roster.recent(m).rate).sum::<f64>(),
        "sources-failing": failing,
        "changed-by-hand": roster.manual().iter().count(),
    })
}

/// All that there is to be seen of a pool.
pub(super) fn whole(name: &str, roster: &Roster) -> Json {
    let mut shown = in_short(name, roster);
    let members = roster.pool().view();
    shown["members"] = members.iter().map(|one| member(roster, one)).collect();
    if roster.left_out() > 0 {
        shown["left-out"] = roster.left_out().into();
    }
    if let Some(scaler) = &roster.scaler {
        shown["scale"] = scale(&scaler.view());
    }
    shown["sources"] = roster.sources().iter().map(source).collect();
    let changes = roster.manual();
    shown["changed-by-hand"] = changes
        .iter()
        .map(|(address, change)| {
            json!({
                "address": address.to_string(),
                "change": change.shown(),
                "since": seconds(change.since),
            })
        })
        .collect();
    shown
}

fn member(roster: &Roster, view: &MemberView) -> Json {
    let recent = roster.recent(view);
    let millis = |latency: Option<Duration>| latency.map(|it| it.as_secs_f64() * 1e3);
    let address = match &view.endpoint.target.address {
        Address::Tcp(address) => address.to_string(),
        unix => unix.to_string(),
    };
    let mut shown = json!({
        "endpoint": view.endpoint.name,
        "address": address,
        "state": view.standing.as_str(),
        "since": seconds(view.since),
        "reason": view.reason,
        "weight": view.weight,
        "effective-weight": view.effective_weight,
        "in-flight": view.in_flight,
        "attempts": view.attempts,
        "failures": view.failures,
        "ejections": view.ejections,
        "rate": recent.rate,
        "failure-rate": recent.failure_rate,
        "latency-ms": millis(view.latency),
        "p50-ms": millis(recent.p50),
        "p99-ms": millis(recent.p99),
    });
    if let Some(most) = view.ceiling {
        shown["limit"] = most.into();
    }
    if let Some(own) = view.endpoint.ceilings.first() {
        shown["connections"] = own.open().into();
    }
    if view.priority != 0 {
        shown["priority"] = view.priority.into();
    }
    if let Some(zone) = &view.zone {
        shown["zone"] = (**zone).into();
    }
    if !view.labels.is_empty() {
        shown["labels"] = json!(view.labels);
    }
    shown
}

fn source(view: &SourceView) -> Json {
    let age = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
    let mut shown = json!({ "source": view.name, "found": view.found, "age": view.age.map(age) });
    if let Some((why, since)) = &view.failing {
        shown["failing"] = why.as_str().into();
        shown["failing-for"] = age(*since).into();
    }
    if !view.remarks.is_empty() {
        shown["remarks"] = json!(view.remarks);
    }
    shown
}

fn scale(view: &ScaleView) -> Json {
    let decisions = view.decisions.iter();
    let decisions: Vec<_> =
        decisions.map(|(at, what)| json!({ "at": seconds(*at), "what": what })).collect();
    json!({
        "min": view.min,
        "max": view.max,
        "target": view.target,
        "ready": view.ready,
        "starting": view.starting,
        "leaving": view.leaving,
        "wanted": view.wanted,
        "waiting": view.waiting,
        "decisions": decisions,
    })
}

/// Seconds since 1970.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
