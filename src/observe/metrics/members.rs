//! By member: its live state, asked for at each scrape.

use super::text::Text;

/// The live state of an endpoint of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    pub pool: String,
    pub endpoint: String,
    pub in_flight: u64,
    pub attempts: u64,
    pub failures: u64,
}

pub(super) fn render(rows: &[MemberRow], text: &mut Text) {
    type Pick = fn(&MemberRow) -> u64;
    let families: [(&str, &str, &str, Pick); 3] = [
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
    ];
    for (name, kind, help, pick) in families {
        text.family(name, kind, help);
        for row in rows {
            text.sample(&[("pool", &row.pool), ("endpoint", &row.endpoint)], pick(row));
        }
    }
}
