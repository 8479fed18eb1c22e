//! By member: its live state, asked for at each scrape.

use std::time::Duration;

use super::text::Text;

/// The live state of an endpoint of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberRow {
    pub pool: String,
    pub endpoint: String,
    pub in_flight: u64,
    pub attempts: u64,
    pub failures: u64,
    /// One of [`STATES`].
    pub state: &'static str,
    /// The weight that counts now.
    pub weight: f64,
    pub ejections: u64,
    pub probes_passed: u64,
    pub probes_failed: u64,
    /// The mean latency, where one was measured.
    pub latency: Option<Duration>,
    /// What it says of its load.
    pub load: Option<f64>,
}

/// What a member can be.
const STATES: [&str; 6] = ["unchecked", "up", "down", "ejected", "drain", "maintenance"];

pub(super) fn render<'a>(rows: &'a [MemberRow], text: &mut Text) {
    type Pick = fn(&MemberRow) -> u64;
    let families: [(&str, &str, &str, Pick); 4] = [
        (
            "transom_member_in_flight",
            "gauge",
            "Attempts at the endpoint that have not ended.",
            |r| r.in_flight,
        ),
        ("transom_member_attempts_total", "counter", "Attempts at the endpoint.", |r| r.attempts),
        (
            "transom_member_failures_total",
            "counter",
            "Attempts that failed and for which the endpoint is to blame.",
            |r| r.failures,
        ),
        (
            "transom_member_ejections_total",
            "counter",
            "Times the endpoint was taken out because of its traffic.",
            |r| r.ejections,
        ),
    ];
    for (name, kind, help, pick) in families {
        text.family(name, kind, help);
        for row in rows {
            text.sample(&[("pool", &row.pool), ("endpoint", &row.endpoint)], pick(row));
        }
    }
    let labels = |row: &'a MemberRow| [("pool", &*row.pool), ("endpoint", &*row.endpoint)];
    text.family(
        "transom_member_state",
        "gauge",
        "1 for what the endpoint is, 0 for what it is not.",
    );
    for row in rows {
        let [pool, endpoint] = labels(row);
        for state in STATES {
            text.sample(&[pool, endpoint, ("state", state)], u8::from(row.state == state));
        }
    }
    text.family(
        "transom_member_weight",
        "gauge",
        "The weight that counts now: less than the one that is written while the endpoint starts \
         slowly.",
    );
    for row in rows {
        text.sample(&labels(row), row.weight);
    }
    text.family("transom_member_probes_total", "counter", "Probes of the endpoint.");
    for row in rows {
        let [pool, endpoint] = labels(row);
        text.sample(&[pool, endpoint, ("result", "passed")], row.probes_passed);
        text.sample(&[pool, endpoint, ("result", "failed")], row.probes_failed);
    }
    text.family(
        "transom_member_latency_seconds",
        "gauge",
        "The mean latency of the endpoint, in which peaks count at once and fade with 10 s.",
    );
    for row in rows {
        if let Some(latency) = row.latency {
            text.sample(&labels(row), latency.as_secs_f64());
        }
    }
    text.family(
        "transom_member_load",
        "gauge",
        "What the endpoint says of its load; 1 is what it can do.",
    );
    for row in rows {
        if let Some(load) = row.load {
            text.sample(&labels(row), load);
        }
    }
}
