//! What is given up because there is too much, asked for at each scrape.

use std::time::Duration;

use transom_net::pressure::Level;

use super::text::Text;

/// How the process is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OverloadRow {
    pub level: Level,
    /// Of requests, the part that is turned away.
    pub shed: f64,
    pub memory: Option<f64>,
    pub descriptors: Option<f64>,
    /// By worker.
    pub lags: Vec<Duration>,
    /// How often each worker did not come round for more than a second.
    pub stalls: Vec<u64>,
}

pub(super) fn render(row: &OverloadRow, text: &mut Text) {
    text.family(
        "transom_overload_level",
        "gauge",
        "What is given up: 0 nothing, 1 idle connections, 2 requests too, 3 connections too.",
    );
    text.sample(&[], row.level as u8);
    text.family(
        "transom_overload_shed_ratio",
        "gauge",
        "Of requests, the part that is turned away with 503.",
    );
    text.sample(&[], row.shed);
    text.family(
        "transom_overload_usage_ratio",
        "gauge",
        "Of what there may be of a resource, the part that is in use.",
    );
    let usage = [("memory", row.memory), ("descriptors", row.descriptors)];
    for (resource, part) in usage {
        if let Some(part) = part {
            text.sample(&[("resource", resource)], part);
        }
    }
    text.family(
        "transom_worker_lag_seconds",
        "gauge",
        "How much later than it should a worker last came round.",
    );
    for (worker, lag) in row.lags.iter().enumerate() {
        text.sample(&[("worker", &worker.to_string())], lag.as_secs_f64());
    }
    text.family(
        "transom_worker_stalls_total",
        "counter",
        "How often a worker has not come round for more than a second.",
    );
    for (worker, stalls) in row.stalls.iter().enumerate() {
        text.sample(&[("worker", &worker.to_string())], *stalls);
    }
}
