//! By pool: attempts and connections.

use std::sync::Arc;

use transom_proxy::message::Version;
use transom_proxy::record::{Record, Relayed};

use super::cells::{Counter, Histogram};
use super::registry::Registry;
use super::text::Text;

/// By the pool's name.
pub(super) type Pools = Registry<Arc<str>, PoolCells>;

#[derive(Default)]
pub(super) struct PoolCells {
    attempts: Counter,
    retries: Counter,
    /// By what was spoken: HTTP/1.1, HTTP/2.
    connections_new: [Counter; 2],
    connections_reused: [Counter; 2],
    response: Histogram,
}

impl PoolCells {
    pub(super) fn count(&self, record: &Record) {
        self.attempts.add(record.attempts.into());
        self.retries.add(record.attempts.saturating_sub(1).into());
        let Some(version) = record.upstream else { return };
        let uses = if record.reused { &self.connections_reused } else { &self.connections_new };
        uses[usize::from(version == Version::Http2)].add(1);
        if let (Some(connected), Some(answered)) = (record.connected, record.answered) {
            self.response.observe(answered.saturating_duration_since(connected));
        }
    }

    pub(super) fn count_relayed(&self, relayed: &Relayed) {
        self.attempts.add(relayed.attempts.into());
        self.retries.add(relayed.attempts.saturating_sub(1).into());
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
        "Last attempts by the connection they went over: opened for them, or reused; with HTTP/2 each is a stream of one that others use as well.",
    );
    for (pool, cells) in &pools {
        let uses: [(&str, &str, Pick); 4] = [
            ("1.1", "new", |c| &c.connections_new[0]),
            ("1.1", "reused", |c| &c.connections_reused[0]),
            ("2", "new", |c| &c.connections_new[1]),
            ("2", "reused", |c| &c.connections_reused[1]),
        ];
        for (version, how, pick) in uses {
            let labels = [("pool", &**pool), ("version", version), ("use", how)];
            text.sample(&labels, cells.sum(pick));
        }
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
