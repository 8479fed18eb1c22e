//! By route: exchanges as they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use transom_proxy::exchange::Exchange;
use transom_proxy::fields::Fields;
use transom_proxy::record::{Http2Tally, Record, Relayed, Sink};

use super::Names;
use super::cells::{Counter, Histogram, Sharded};
use super::consumers::ByConsumer;
use super::listeners::{ListenerCells, Listeners};
use super::pools::{PoolCells, Pools};
use super::registry::Registry;
use super::text::Text;

/// By listener and route.
pub(super) type Routes = Registry<(Arc<str>, Arc<str>), RouteCells>;

#[derive(Default)]
pub(super) struct RouteCells {
    /// By class of status; 0 where nothing could be sent.
    requests: [Counter; CLASSES.len()],
    duration: Histogram,
    body_in: Counter,
    body_out: Counter,
    dry_run: Counter,
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts the exchanges of one site.
pub(super) struct SiteSink {
    listener: Arc<Sharded<ListenerCells>>,
    routes: Box<[Routed]>,
    /// What matched no route.
    unrouted: Arc<Sharded<RouteCells>>,
    /// Sorted by name.
    pools: Box<[Pooled]>,
    consumers: Arc<ByConsumer>,
    workers: usize,
}

struct Routed {
    cells: Arc<Sharded<RouteCells>>,
    /// The pool that this route forwarded to first, which is nearly always the only one. Written
    /// once, so that workers share it without cost.
    pool: AtomicU32,
}

type Pooled = (Arc<str>, Arc<Sharded<PoolCells>>);

const UNKNOWN: u32 = u32::MAX;

impl Sink for SiteSink {
    fn began(&self, exchange: &mut Exchange, _: &Fields) {
        self.listener.at(exchange.local.worker.id()).begun.add(1);
    }

    fn tunnelled(&self, exchange: &Exchange) {
        self.listener.at(exchange.local.worker.id()).tunnels_begun.add(1);
    }

    fn http2(&self, worker: usize, tally: &Http2Tally) {
        self.listener.at(worker).http2.add(tally);
    }

    fn record(&self, exchange: &Exchange) {
        let worker = exchange.local.worker.id();
        let record = &exchange.record;
        let routed = exchange.route.and_then(|route| self.routes.get(route as usize));

        let listener = self.listener.at(worker);
        listener.ended.add(1);
        listener.versions[exchange.asked.version as usize].add(1);
        if record.tunnel {
            listener.tunnels_ended.add(1);
        }
        if let Some(fault) = record.fault {
            listener.faults.0[fault as usize].add(1);
        }

        let route = routed.map_or(&self.unrouted, |routed| &routed.cells).at(worker);
        let class = usize::from(record.status / 100);
        route.requests[if class < CLASSES.len() { class } else { 0 }].add(1);
        route.body_in.add(record.body_in);
        route.body_out.add(record.body_out);
        if record.dry_run.is_some() {
            route.dry_run.add(1);
        }
        // How long a tunnel was open says nothing about how long a request takes.
        if let Some(ended) = record.ended.filter(|_| !record.tunnel) {
            route.duration.observe(ended.saturating_duration_since(exchange.started));
        }

        if let Some(who) = &exchange.identity {
            self.consumers.count(&who.name, record.status, worker, self.workers);
        }
        if let Some(pool) = routed.and_then(|routed| self.pool(routed, record)) {
            pool.at(worker).count(record);
        }
    }

    fn relayed(&self, relayed: &Relayed) {
        let listener = self.listener.at(relayed.worker);
        listener.relays.count(relayed);
        if let Some(fault) = relayed.fault {
            listener.faults.0[fault as usize].add(1);
        }
        let pool = relayed.endpoint.as_ref().map(|endpoint| &endpoint.pool);
        let at = pool.and_then(|name| self.pools.binary_search_by(|(p, _)| p.cmp(name)).ok());
        if let Some(at) = at {
            self.pools[at].1.at(relayed.worker).count_relayed(relayed);
        }
    }
}

impl SiteSink {
    pub(super) fn new(
        names: &Names<'_>,
        workers: usize,
        listeners: &Listeners,
        routes: &Routes,
        pools: &Pools,
        consumers: Arc<ByConsumer>,
    ) -> Self {
        let listener: Arc<str> = names.listener.into();
        let route = |name: &str| {
            let cells = routes.cells((listener.clone(), name.into()), workers);
            Routed { cells, pool: AtomicU32::new(UNKNOWN) }
        };
        let mut sorted = names.pools.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let pool = |name: &str| (Arc::from(name), pools.cells(Arc::from(name), workers));
        SiteSink {
            routes: names.routes.iter().map(|name| route(name)).collect(),
            unrouted: route("").cells,
            pools: sorted.into_iter().map(pool).collect(),
            listener: listeners.cells(listener, workers),
            consumers,
            workers,
        }
    }

    /// The cells of the pool that the last attempt went to.
    fn pool(&self, routed: &Routed, record: &Record) -> Option<&Sharded<PoolCells>> {
        let name = &record.endpoint.as_ref()?.pool;
        let known = routed.pool.load(Ordering::Relaxed);
        if let Some((known, cells)) = self.pools.get(known as usize)
            && known == name
        {
            return Some(cells);
        }
        let at = self.pools.binary_search_by(|(known, _)| known.cmp(name)).ok()?;
        if known == UNKNOWN {
            routed.pool.store(at as u32, Ordering::Relaxed);
        }
        Some(&self.pools[at].1)
    }
}

pub(super) fn render(routes: &Routes, text: &mut Text) {
    let routes = routes.living();
    let labels = |(listener, route): &(Arc<str>, Arc<str>)| -> [(&'static str, Arc<str>); 2] {
        [("listener", listener.clone()), ("route", route.clone())]
    };
    text.family("transom_requests_total", "counter", "Exchanges that ended, by class of status; `none` where nothing could be sent. No route is an empty one.");
    for (key, cells) in &routes {
        let [listener, route] = labels(key);
        for (class, name) in CLASSES.iter().enumerate() {
            let count = cells.sum(|c| &c.requests[class]);
            // A rare class appears with its first exchange, the others from the start.
            if count > 0 || matches!(*name, "2xx" | "4xx" | "5xx") {
                text.sample(
                    &[(listener.0, &listener.1), (route.0, &route.1), ("class", name)],
                    count,
                );
            }
        }
    }
    text.family("transom_request_duration_seconds", "histogram", "From the first byte of a request's head to the last byte of its response; without tunnels.");
    for (key, cells) in &routes {
        let [listener, route] = labels(key);
        let counts = cells.histogram(|c| &c.duration);
        if counts.count() > 0 {
            text.histogram(&[(listener.0, &listener.1), (route.0, &route.1)], &counts);
        }
    }
    let counters = [
        (
            "transom_request_body_bytes_total",
            "Bytes of request bodies received, and of tunnels from the client.",
            (|c| &c.body_in) as fn(&RouteCells) -> &Counter,
        ),
        (
            "transom_response_body_bytes_total",
            "Bytes of response bodies sent, and of tunnels to the client.",
            |c| &c.body_out,
        ),
        (
            "transom_dry_run_total",
            "Requests that a policy with `dry-run` would have refused.",
            |c| &c.dry_run,
        ),
    ];
    for (name, help, pick) in counters {
        text.family(name, "counter", help);
        for (key, cells) in &routes {
            let [listener, route] = labels(key);
            text.sample(&[(listener.0, &listener.1), (route.0, &route.1)], cells.sum(pick));
        }
    }
}
