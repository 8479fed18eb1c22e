//! How much the demo is asked, told while it runs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::admin::client;

/// Tells the requests per second without end: on a terminal one line that is written anew each
/// second, elsewhere a line each ten seconds in which something was asked.
pub(super) async fn tell(admin: &Path) {
    let terminal = std::io::stdout().is_terminal();
    let every = Duration::from_secs(if terminal { 1 } else { 10 });
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut before, mut since) = (0, Instant::now());
    let mut states = BTreeMap::new();
    loop {
        let now = ticks.tick().await;
        // the numbers that anyone can ask for
        let Ok((200, metrics)) = client::call(admin, "GET", "/metrics").await else { continue };
        let all = requests(&metrics);
        // a route that a change of the file removed takes its count with it
        let rate = all.saturating_sub(before) as f64 / (now - since).as_secs_f64();
        let quiet = all == before;
        (before, since) = (all, now);
        let line = format!("{rate:.0} requests/s, {all} in all");
        let told = match client::call(admin, "GET", "/pools/orders").await {
            Ok((200, pool)) => changes(&mut states, &pool),
            _ => Vec::new(),
        };
        let mut out = std::io::stdout().lock();
        for change in told {
            let _ = writeln!(out, "{}  {change}", if terminal { "\r\x1b[2K" } else { "" });
        }
        // nobody reads it any more: that is no reason to stop serving
        let _ = match (terminal, quiet) {
            (true, _) => {
                write!(out, "\r\x1b[2K  {line}; Ctrl-C ends it").and_then(|()| out.flush())
            }
            (false, true) => Ok(()),
            (false, false) => writeln!(out, "{line}"),
        };
    }
}

/// What has become of the instances of the order service since the last look.
fn changes(states: &mut BTreeMap<String, String>, pool: &str) -> Vec<String> {
    let pool: Value = serde_json::from_str(pool).unwrap_or_default();
    let mut told = Vec::new();
    for member in pool["members"].as_array().into_iter().flatten() {
        let text = |key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let (endpoint, state, reason) = (text("endpoint"), text("state"), text("reason"));
        let before = states.insert(endpoint.clone(), state.clone());
        if let Some(before) = before.filter(|before| *before != state) {
            let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
            told.push(format!("orders at {endpoint} was {before} and is {state}{reason}"));
        }
    }
    told
}

/// All exchanges that have ended.
fn requests(metrics: &str) -> u64 {
    let counts = metrics.lines().filter(|line| line.starts_with("transom_requests_total{"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_has_changed_is_told_with_its_reason() {
        let pool = |state: &str| {
            format!(r#"{{"members":[{{"endpoint":"a:1","state":"{state}","reason":"refused"}}]}}"#)
        };
        let mut states = BTreeMap::new();
        assert!(changes(&mut states, &pool("up")).is_empty());
        assert!(changes(&mut states, &pool("up")).is_empty());
        let told = changes(&mut states, &pool("ejected"));
        assert_eq!(told, ["orders at a:1 was up and is ejected: refused"]);
        assert!(changes(&mut states, "no JSON").is_empty());
    }

    #[test]
    fn requests_are_counted_over_all_listeners_and_routes() {
        let metrics = "# TYPE transom_requests_total counter\n\
            transom_requests_total{listener=\"web\",route=\"a\",class=\"2xx\"} 3\n\
            transom_requests_total{listener=\"web\",route=\"b\",class=\"4xx\"} 4\n\
            transom_requests_in_flight{listener=\"web\"} 9\n";
        assert_eq!(requests(metrics), 7);
    }
}
