//! By pool: attempts and connections.

use std::sync::Arc;

use transom_proxy::record::Record;

use super::cells::{Counter, Histogram};
use super::registry::Registry;
use super::text::Text;

/// By the pool's name.
pub(super) type Pools = Registry<Arc<str>, PoolCells>;

#[derive(Default)]
pub(super) struct PoolCells {
    attempts: Counter,
    retries: Counter,
    connections_new: Counter,
    connections_reused: Counter,
    response: Histogram,
}

impl PoolCells {
    pub(super) fn count(&self, record: &Record) {
        self.attempts.add(record.attempts.into());
        self.retries.add(record.attempts.saturating_sub(1).into());
        let Some(connected) = record.connected else { return };
        if record.reused { &self.connections_reused } else { &self.connections_new }.add(1);
        if let Some(answered) = record.answered {
            self.response.observe(answered.saturating_duration_since(connected));
        }
    }
}

pub(super) fn render(pools: &Pools, text: &mut Text) {
    let pools = pools.living();
    type Pick = fn(&PoolCells) -> &Counter;
    let counters: [(&str, &str, Pick); 2] = [
        (
            "transom_pool_attempts_total",
            "Tries of exchanges at endpoints of the pool, counted when the exchange ends.",
            |c| &c.attempts,
        ),
        ("transom_pool_retries_total", "Tries beyond the first of an exchange.", |c| &c.retries),
    ];
    for (name, help, pick) in counters {
        text.family(name, "counter", help);
        for (pool, cells) in &pools {
            text.sample(&[("pool", pool)], cells.sum(pick));
        }
    }
    text.family(
        "transom_pool_connections_total",
        "counter",
        "Connections that last attempts went over: opened for them, or reused.",
    );
    for (pool, cells) in &pools {
        text.sample(&[("pool", pool), ("use", "new")], cells.sum(|c| &c.connections_new));
        text.sample(&[("pool", pool), ("use", "reused")], cells.sum(|c| &c.connections_reused));
    }
    text.family(
        "transom_pool_response_seconds",
        "histogram",
        "From the connection to an endpoint to the head of its response.",
    );
    for (pool, cells) in &pools {
        text.histogram(&[("pool", pool)], &cells.histogram(|c| &c.response));
    }
}
