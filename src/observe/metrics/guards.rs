//! By pool: what it is guarded with, asked for at each scrape.

use super::text::Text;

/// The live state of a pool that is guarded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuardRow {
    pub pool: String,
    pub waiting: u64,
    /// Requests at once.
    pub limit: Option<u64>,
    /// Open connections, where they are limited.
    pub connections: Option<u64>,
    /// One of [`POSITIONS`].
    pub breaker: Option<&'static str>,
    pub refused: u64,
}

/// How a breaker can stand.
const POSITIONS: [&str; 3] = ["closed", "open", "half-open"];

pub(super) fn render(rows: &[GuardRow], text: &mut Text) {
    text.family("transom_pool_waiting", "gauge", "Requests that wait for a member with room.");
    for row in rows {
        text.sample(&[("pool", &row.pool)], row.waiting);
    }
    text.family("transom_pool_limit", "gauge", "Requests that the pool may have at once.");
    for row in rows {
        if let Some(limit) = row.limit {
            text.sample(&[("pool", &row.pool)], limit);
        }
    }
    let help = "Connections that are open to the members of the pool, where they are limited.";
    text.family("transom_pool_open_connections", "gauge", help);
    for row in rows {
        if let Some(open) = row.connections {
            text.sample(&[("pool", &row.pool)], open);
        }
    }
    text.family(
        "transom_pool_refused_total",
        "counter",
        "Requests that a limit, the queue or the breaker of the pool refused at once.",
    );
    for row in rows {
        text.sample(&[("pool", &row.pool)], row.refused);
    }
    text.family("transom_pool_breaker", "gauge", "1 for how the breaker stands, else 0.");
    for row in rows {
        for position in POSITIONS.iter().filter(|_| row.breaker.is_some()) {
            let stands = u8::from(row.breaker == Some(*position));
            text.sample(&[("pool", &row.pool), ("position", position)], stands);
        }
    }
}
