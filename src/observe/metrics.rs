//! Numbers for Prometheus.
//!
//! Every worker counts in cells of its own, which nobody else writes; a scrape adds them up. Which
//! cells belong to a route is found when the configuration is built, so that a request costs a few
//! additions and no look-up of a name. Labels are names of the configuration, never what a client
//! sent (SL-11).
//!
//! Cells live as long as a site or a listener holds them: a route of the same name goes on counting
//! after a reload, one that is gone is not shown any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::Code;
use transom_proxy::fields::Fields;
use transom_proxy::record::{Record, Sink};

use super::access_log;

mod cells;
mod process;
mod text;

use cells::{Counter, Histogram, Sharded};
use text::Text;

/// The numbers of the whole program.
pub struct Metrics {
    workers: usize,
    /// By listener.
    listeners: Mutex<Registry<Arc<str>, ListenerCells>>,
    /// By listener and route.
    routes: Mutex<Registry<ListenerAndRoute, RouteCells>>,
    /// By pool.
    pools: Mutex<Registry<Arc<str>, PoolCells>>,
    config: ConfigCells,
    log: Mutex<LogCounts>,
    members: Mutex<Members>,
    started: SystemTime,
}

type ListenerAndRoute = (Arc<str>, Arc<str>);
type Registry<K, T> = BTreeMap<K, Weak<Sharded<T>>>;
type Members = Option<Box<dyn Fn() -> Vec<MemberRow> + Send + Sync>>;

#[derive(Default)]
struct ListenerCells {
    begun: Counter,
    ended: Counter,
    /// By [`Code`].
    faults: [Counter; Code::ALL.len()],
    tunnels_begun: Counter,
    tunnels_ended: Counter,
    accepted: Counter,
    closed: Counter,
    /// By [`Refusal`].
    refused: [Counter; Refusal::ALL.len()],
}

#[derive(Default)]
struct RouteCells {
    /// By class of status; 0 where nothing could be sent.
    requests: [Counter; CLASSES.len()],
    duration: Histogram,
    body_in: Counter,
    body_out: Counter,
}

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Default)]
struct PoolCells {
    attempts: Counter,
    retries: Counter,
    connections_new: Counter,
    connections_reused: Counter,
    response: Histogram,
}

#[derive(Default)]
struct ConfigCells {
    generation: AtomicU64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
    last_failed: AtomicBool,
    /// Seconds since 1970 of the last configuration that was taken.
    loaded: AtomicU64,
}

/// Counts of the access log over all logs there have been.
#[derive(Default)]
struct LogCounts {
    current: Option<access_log::Handle>,
    written: u64,
    dropped: u64,
    errors: u64,
}

/// The live state of an endpoint of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    pub pool: String,
    pub endpoint: String,
    pub in_flight: u64,
    pub attempts: u64,
    pub failures: u64,
}

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A rule about addresses.
    Address,
    /// The listener has all the connections it may have.
    Connections,
    /// This client has all the connections it may have.
    ConnectionsPerClient,
    Draining,
    /// No file descriptor or memory for it.
    Exhausted,
    ProxyHeader,
    Tls,
}

impl Refusal {
    pub const ALL: [Refusal; 7] = [
        Refusal::Address,
        Refusal::Connections,
        Refusal::ConnectionsPerClient,
        Refusal::Draining,
        Refusal::Exhausted,
        Refusal::ProxyHeader,
        Refusal::Tls,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Address => "address",
            Refusal::Connections => "connections",
            Refusal::ConnectionsPerClient => "connections-per-client",
            Refusal::Draining => "draining",
            Refusal::Exhausted => "exhausted",
            Refusal::ProxyHeader => "proxy-header",
            Refusal::Tls => "tls",
        }
    }
}

/// Names that a site counts under.
#[derive(Clone, Debug, Default)]
pub struct Names<'a> {
    pub listener: &'a str,
    /// In the order of the site's routes.
    pub routes: Vec<&'a str>,
    /// [`transom_proxy::destination::Endpoint::pool`] of everything the routes may forward to.
    pub pools: Vec<&'a str>,
}

impl Metrics {
    /// Cells for so many workers, whose ids count from 0.
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Metrics {
            workers: workers.max(1),
            listeners: Mutex::default(),
            routes: Mutex::default(),
            pools: Mutex::default(),
            config: ConfigCells::default(),
            log: Mutex::default(),
            members: Mutex::default(),
            started: SystemTime::now(),
        })
    }

    /// How many workers count.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The sink of a site with these names.
    pub fn sink(&self, names: &Names<'_>) -> Arc<dyn Sink> {
        let listener: Arc<str> = names.listener.into();
        let route = |name: &str| {
            let key = (listener.clone(), name.into());
            Routed { cells: self.cells(&self.routes, key), pool: AtomicU32::new(UNKNOWN) }
        };
        let mut pools = names.pools.clone();
        pools.sort_unstable();
        pools.dedup();
        let pool = |name: &str| (Arc::from(name), self.cells(&self.pools, Arc::from(name)));
        Arc::new(SiteSink {
            routes: names.routes.iter().map(|name| route(name)).collect(),
            unrouted: route("").cells,
            pools: pools.into_iter().map(pool).collect(),
            listener: self.cells(&self.listeners, listener),
        })
    }

    /// Counts the connections of a listener. To be held while it listens.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics(self.cells(&self.listeners, name.into()))
    }

    /// The first configuration, or another one, runs now.
    pub fn config_taken(&self, generation: u64) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let before = self.config.generation.swap(generation, Ordering::Relaxed);
        self.config.reloads.fetch_add(u64::from(before != 0), Ordering::Relaxed);
        self.config.loaded.store(now.as_secs(), Ordering::Relaxed);
        self.config.last_failed.store(false, Ordering::Relaxed);
    }

    /// A configuration was offered and not taken.
    pub fn config_refused(&self) {
        self.config.failed_reloads.fetch_add(1, Ordering::Relaxed);
        self.config.last_failed.store(true, Ordering::Relaxed);
    }

    /// The access log that is written to from now on.
    pub fn set_access_log(&self, log: Option<access_log::Handle>) {
        let mut counts = locked(&self.log);
        if let Some(old) = counts.current.take() {
            counts.written += old.written();
            counts.dropped += old.dropped();
            counts.errors += old.write_errors();
        }
        counts.current = log;
    }

    /// Where the state of the members is asked for at each scrape.
    pub fn set_members(&self, rows: impl Fn() -> Vec<MemberRow> + Send + Sync + 'static) {
        *locked(&self.members) = Some(Box::new(rows));
    }

    /// The cells of this key, which are those it had where anybody still holds them.
    fn cells<K: Ord, T: Default>(
        &self,
        registry: &Mutex<Registry<K, T>>,
        key: K,
    ) -> Arc<Sharded<T>> {
        let mut registry = locked(registry);
        let slot = registry.entry(key).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let cells = Arc::new(Sharded::new(self.workers));
            *slot = Arc::downgrade(&cells);
            cells
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The living entries of a registry; the others are taken out.
fn living<K: Ord + Clone, T>(registry: &Mutex<Registry<K, T>>) -> Vec<(K, Arc<Sharded<T>>)> {
    let mut living = Vec::new();
    locked(registry).retain(|key, cells| match cells.upgrade() {
        Some(cells) => {
            living.push((key.clone(), cells));
            true
        }
        None => false,
    });
    living
}

/// Counts connections of one listener.
#[derive(Clone)]
pub struct ListenerMetrics(Arc<Sharded<ListenerCells>>);

impl ListenerMetrics {
    /// A connection was accepted by this worker. It is open until the guard is dropped.
    pub fn accepted(&self, worker: usize) -> Open {
        self.0.at(worker).accepted.add_shared(1);
        Open { cells: self.0.clone(), worker }
    }

    /// A connection, accepted or not, is not served.
    pub fn refused(&self, worker: usize, why: Refusal) {
        self.0.at(worker).refused[why as usize].add_shared(1);
    }

    /// How many are open now, over all workers.
    pub fn open(&self) -> u64 {
        self.0.difference(|c| &c.accepted, |c| &c.closed)
    }
}

/// An open connection. May be dropped on another thread than it was made on.
pub struct Open {
    cells: Arc<Sharded<ListenerCells>>,
    worker: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.cells.at(self.worker).closed.add_shared(1);
    }
}

/// Counts the exchanges of one site.
struct SiteSink {
    listener: Arc<Sharded<ListenerCells>>,
    routes: Box<[Routed]>,
    /// What matched no route.
    unrouted: Arc<Sharded<RouteCells>>,
    /// Sorted by name.
    pools: Box<[Pooled]>,
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

    fn record(&self, exchange: &Exchange) {
        let worker = exchange.local.worker.id();
        let record = &exchange.record;
        let routed = exchange.route.and_then(|route| self.routes.get(route as usize));

        let listener = self.listener.at(worker);
        listener.ended.add(1);
        if record.tunnel {
            listener.tunnels_ended.add(1);
        }
        if let Some(fault) = record.fault {
            listener.faults[fault as usize].add(1);
        }

        let route = routed.map_or(&self.unrouted, |routed| &routed.cells).at(worker);
        let class = usize::from(record.status / 100);
        route.requests[if class < CLASSES.len() { class } else { 0 }].add(1);
        route.body_in.add(record.body_in);
        route.body_out.add(record.body_out);
        // How long a tunnel was open says nothing about how long a request takes.
        if let Some(ended) = record.ended.filter(|_| !record.tunnel) {
            route.duration.observe(ended.saturating_duration_since(exchange.started));
        }

        if let Some(pool) = routed.and_then(|routed| self.pool(routed, record)) {
            pool.at(worker).count(record);
        }
    }
}

impl SiteSink {
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

impl PoolCells {
    fn count(&self, record: &Record) {
        self.attempts.add(record.attempts.into());
        self.retries.add(record.attempts.saturating_sub(1).into());
        let Some(connected) = record.connected else { return };
        if record.reused { &self.connections_reused } else { &self.connections_new }.add(1);
        if let Some(answered) = record.answered {
            self.response.observe(answered.saturating_duration_since(connected));
        }
    }
}

impl Metrics {
    /// Everything in the text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Text::default();
        self.render_exchanges(&mut text);
        self.render_connections(&mut text);
        self.render_pools(&mut text);
        self.render_members(&mut text);
        self.render_config(&mut text);
        self.render_log(&mut text);
        process::render(self.started, &mut text);
        text.into_string()
    }

    fn render_exchanges(&self, text: &mut Text) {
        let routes = living(&self.routes);
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
        let bodies = [
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
        ];
        for (name, help, pick) in bodies {
            text.family(name, "counter", help);
            for (key, cells) in &routes {
                let [listener, route] = labels(key);
                text.sample(&[(listener.0, &listener.1), (route.0, &route.1)], cells.sum(pick));
            }
        }
    }

    fn render_connections(&self, text: &mut Text) {
        let listeners = living(&self.listeners);
        text.family("transom_faults_total", "counter", "Exchanges that Transom refused or that failed; `transom explain fault CODE` says what a code means.");
        for (listener, cells) in &listeners {
            for code in Code::ALL {
                let count = cells.sum(|c| &c.faults[*code as usize]);
                if count > 0 {
                    let blame = code.row().blame.as_str();
                    text.sample(
                        &[("listener", listener), ("code", code.as_str()), ("blame", blame)],
                        count,
                    );
                }
            }
        }
        text.family(
            "transom_connections_refused_total",
            "counter",
            "Connections of clients that were not served, by reason.",
        );
        for (listener, cells) in &listeners {
            for why in Refusal::ALL {
                let count = cells.sum(|c| &c.refused[why as usize]);
                text.sample(&[("listener", listener), ("reason", why.as_str())], count);
            }
        }
        text.family(
            "transom_connections_accepted_total",
            "counter",
            "Connections of clients that were accepted.",
        );
        for (listener, cells) in &listeners {
            text.sample(&[("listener", listener)], cells.sum(|c| &c.accepted));
        }
        type Pick = fn(&ListenerCells) -> &Counter;
        let open: [(&str, &str, Pick, Pick); 3] = [
            (
                "transom_connections_open",
                "Connections of clients that are open.",
                |c| &c.accepted,
                |c| &c.closed,
            ),
            (
                "transom_requests_in_flight",
                "Exchanges that have begun and not ended, tunnels among them.",
                |c| &c.begun,
                |c| &c.ended,
            ),
            (
                "transom_tunnels_open",
                "Connections that became tunnels and are open.",
                |c| &c.tunnels_begun,
                |c| &c.tunnels_ended,
            ),
        ];
        for (name, help, begun, ended) in open {
            text.family(name, "gauge", help);
            for (listener, cells) in &listeners {
                text.sample(&[("listener", listener)], cells.difference(begun, ended));
            }
        }
    }

    fn render_pools(&self, text: &mut Text) {
        let pools = living(&self.pools);
        type Pick = fn(&PoolCells) -> &Counter;
        let counters: [(&str, &str, Pick); 2] = [
            (
                "transom_pool_attempts_total",
                "Tries of exchanges at endpoints of the pool, counted when the exchange ends.",
                |c| &c.attempts,
            ),
            ("transom_pool_retries_total", "Tries beyond the first of an exchange.", |c| {
                &c.retries
            }),
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

    fn render_members(&self, text: &mut Text) {
        let rows = locked(&self.members).as_ref().map(|rows| rows()).unwrap_or_default();
        type Pick = fn(&MemberRow) -> u64;
        let families: [(&str, &str, &str, Pick); 3] = [
            (
                "transom_member_in_flight",
                "gauge",
                "Attempts at the endpoint that have not ended.",
                |r| r.in_flight,
            ),
            ("transom_member_attempts_total", "counter", "Attempts at the endpoint.", |r| {
                r.attempts
            }),
            (
                "transom_member_failures_total",
                "counter",
                "Attempts that failed and for which the endpoint is to blame.",
                |r| r.failures,
            ),
        ];
        for (name, kind, help, pick) in families {
            text.family(name, kind, help);
            for row in &rows {
                text.sample(&[("pool", &row.pool), ("endpoint", &row.endpoint)], pick(row));
            }
        }
    }

    fn render_config(&self, text: &mut Text) {
        let config = &self.config;
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        text.family(
            "transom_config_generation",
            "gauge",
            "Configurations taken since the start, the running one among them.",
        );
        text.sample(&[], read(&config.generation));
        text.family(
            "transom_config_reloads_total",
            "counter",
            "Configurations that were offered after the first one.",
        );
        text.sample(&[("result", "success")], read(&config.reloads));
        text.sample(&[("result", "failure")], read(&config.failed_reloads));
        text.family(
            "transom_config_last_reload_successful",
            "gauge",
            "1 unless the configuration that was offered last was refused.",
        );
        text.sample(&[], u64::from(!config.last_failed.load(Ordering::Relaxed)));
        text.family(
            "transom_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When the running configuration was taken, in seconds since 1970.",
        );
        text.sample(&[], read(&config.loaded));
    }

    fn render_log(&self, text: &mut Text) {
        let counts = locked(&self.log);
        let of = |count: fn(&access_log::Handle) -> u64| counts.current.as_ref().map_or(0, count);
        let families = [
            (
                "transom_access_log_lines_total",
                "Lines written to the access log.",
                counts.written + of(|log| log.written()),
            ),
            (
                "transom_access_log_dropped_total",
                "Lines lost, because too many waited or writing failed.",
                counts.dropped + of(|log| log.dropped()),
            ),
            (
                "transom_access_log_errors_total",
                "Failures to write or open the access log.",
                counts.errors + of(|log| log.write_errors()),
            ),
        ];
        for (name, help, count) in families {
            text.family(name, "counter", help);
            text.sample(&[], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use transom_proxy::fault::Fault;

    use super::*;
    use crate::observe::testing::{endpoint, exchange};

    fn names() -> Names<'static> {
        Names {
            listener: "web",
            routes: vec!["orders", "a\"b\\c\nd"],
            pools: vec!["users", "orders"],
        }
    }

    /// The value of the series that is written exactly so.
    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let text = metrics.render();
        let line =
            text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(s, _)| s == series))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    fn check(metrics: &Metrics, expected: &[(&str, f64)]) {
        for (series, expected) in expected {
            assert_eq!(value(metrics, series), Some(*expected), "{series}\n{}", metrics.render());
        }
    }

    #[test]
    fn an_exchange_is_counted_where_it_belongs() {
        let metrics = Metrics::new(2);
        let sink = metrics.sink(&names());
        for worker in [0, 1, 1] {
            let mut exchange = exchange(worker);
            exchange.record.body_in = 10;
            sink.began(&mut exchange, &Fields::new());
            sink.record(&exchange);
        }
        let mut failed = exchange(0);
        failed.record.status = 502;
        failed.record.attempts = 3;
        failed.record.reused = false;
        failed.record.endpoint = Some(Arc::new(endpoint("users", "users-1")));
        failed.record.fail(Fault::new(Code::ConnectRefused, "x"));
        sink.began(&mut failed, &Fields::new());
        sink.record(&failed);
        sink.began(&mut exchange(0), &Fields::new());
        check(
            &metrics,
            &[
                (r#"transom_requests_total{listener="web",route="orders",class="2xx"}"#, 3.0),
                (r#"transom_requests_total{listener="web",route="orders",class="5xx"}"#, 1.0),
                (r#"transom_requests_total{listener="web",route="a\"b\\c\nd",class="2xx"}"#, 0.0),
                (r#"transom_request_body_bytes_total{listener="web",route="orders"}"#, 30.0),
                (r#"transom_response_body_bytes_total{listener="web",route="orders"}"#, 4096.0),
                (r#"transom_request_duration_seconds_count{listener="web",route="orders"}"#, 4.0),
                (r#"transom_request_duration_seconds_sum{listener="web",route="orders"}"#, 0.008),
                (
                    r#"transom_request_duration_seconds_bucket{listener="web",route="orders",le="0.001"}"#,
                    0.0,
                ),
                (
                    r#"transom_request_duration_seconds_bucket{listener="web",route="orders",le="0.0025"}"#,
                    4.0,
                ),
                (
                    r#"transom_faults_total{listener="web",code="connect-refused",blame="upstream"}"#,
                    1.0,
                ),
                (r#"transom_requests_in_flight{listener="web"}"#, 1.0),
                (r#"transom_pool_attempts_total{pool="orders"}"#, 3.0),
                (r#"transom_pool_attempts_total{pool="users"}"#, 3.0),
                (r#"transom_pool_retries_total{pool="users"}"#, 2.0),
                (r#"transom_pool_connections_total{pool="orders",use="reused"}"#, 3.0),
                (r#"transom_pool_connections_total{pool="users",use="new"}"#, 1.0),
                (r#"transom_pool_response_seconds_bucket{pool="orders",le="0.0025"}"#, 3.0),
            ],
        );
    }

    #[test]
    fn sl11_what_matched_no_route_has_an_empty_one_and_no_label_of_the_client() {
        let metrics = Metrics::new(1);
        let sink = metrics.sink(&names());
        for status in [404, 0, 999] {
            let mut exchange = exchange(0);
            exchange.route = None;
            exchange.asked.path = "/CANARY".into();
            exchange.record.status = status;
            sink.record(&exchange);
        }
        check(
            &metrics,
            &[
                (r#"transom_requests_total{listener="web",route="",class="4xx"}"#, 1.0),
                (r#"transom_requests_total{listener="web",route="",class="none"}"#, 2.0),
            ],
        );
        assert!(!metrics.render().contains("CANARY"));
    }

    #[test]
    fn a_route_of_the_same_name_goes_on_counting_after_a_reload() {
        let metrics = Metrics::new(1);
        let old = metrics.sink(&names());
        old.record(&exchange(0));
        let new = metrics.sink(&Names { routes: vec!["first", "orders"], ..names() });
        drop(old);
        let mut exchange = exchange(0);
        exchange.route = Some(1);
        new.record(&exchange);
        let series = r#"transom_requests_total{listener="web",route="orders",class="2xx"}"#;
        check(&metrics, &[(series, 2.0)]);
        drop(new);
        assert_eq!(value(&metrics, series), None);
    }

    #[test]
    fn connections_and_tunnels_are_open_until_they_are_not() {
        let metrics = Metrics::new(2);
        let sink = metrics.sink(&names());
        let listener = metrics.listener("web");
        let (first, second) = (listener.accepted(0), listener.accepted(1));
        listener.refused(1, Refusal::Tls);
        let mut exchange = exchange(1);
        sink.began(&mut exchange, &Fields::new());
        exchange.record.tunnel = true;
        exchange.record.status = 101;
        sink.tunnelled(&exchange);
        check(
            &metrics,
            &[
                (r#"transom_connections_open{listener="web"}"#, 2.0),
                (r#"transom_connections_accepted_total{listener="web"}"#, 2.0),
                (r#"transom_connections_refused_total{listener="web",reason="tls"}"#, 1.0),
                (r#"transom_connections_refused_total{listener="web",reason="address"}"#, 0.0),
                (r#"transom_tunnels_open{listener="web"}"#, 1.0),
            ],
        );
        sink.record(&exchange);
        drop(first);
        assert_eq!(listener.open(), 1);
        // On another worker's thread.
        std::thread::spawn(|| drop(second)).join().unwrap();
        check(
            &metrics,
            &[
                (r#"transom_connections_open{listener="web"}"#, 0.0),
                (r#"transom_tunnels_open{listener="web"}"#, 0.0),
                (r#"transom_requests_in_flight{listener="web"}"#, 0.0),
                (r#"transom_requests_total{listener="web",route="orders",class="1xx"}"#, 1.0),
            ],
        );
    }

    #[test]
    fn configurations_taken_and_refused_are_told_apart() {
        let metrics = Metrics::new(1);
        metrics.config_taken(1);
        metrics.config_taken(2);
        metrics.config_refused();
        check(
            &metrics,
            &[
                ("transom_config_generation", 2.0),
                (r#"transom_config_reloads_total{result="success"}"#, 1.0),
                (r#"transom_config_reloads_total{result="failure"}"#, 1.0),
                ("transom_config_last_reload_successful", 0.0),
            ],
        );
        metrics.config_taken(3);
        check(&metrics, &[("transom_config_last_reload_successful", 1.0)]);
        let loaded =
            value(&metrics, "transom_config_last_reload_success_timestamp_seconds").unwrap();
        assert!(loaded > 1.7e9);
    }

    #[test]
    fn the_members_are_asked_for_at_each_scrape() {
        let metrics = Metrics::new(1);
        metrics.set_members(|| {
            let (pool, endpoint) = ("orders".into(), "10.0.0.1:80".into());
            vec![MemberRow { pool, endpoint, in_flight: 1, attempts: 5, failures: 2 }]
        });
        check(
            &metrics,
            &[
                (r#"transom_member_in_flight{pool="orders",endpoint="10.0.0.1:80"}"#, 1.0),
                (r#"transom_member_attempts_total{pool="orders",endpoint="10.0.0.1:80"}"#, 5.0),
                (r#"transom_member_failures_total{pool="orders",endpoint="10.0.0.1:80"}"#, 2.0),
            ],
        );
    }

    #[test]
    fn counts_of_a_replaced_log_are_kept() {
        let metrics = Metrics::new(1);
        let settings = || access_log::Settings {
            format: access_log::Format::Json,
            to: access_log::Output::File("/dev/null".into()),
            queue: 10,
            workers: 1,
        };
        for _ in 0..2 {
            let (log, handle) = access_log::AccessLog::start(settings()).unwrap();
            metrics.set_access_log(Some(handle.clone()));
            log.record(&exchange(0));
            assert!(handle.flush(Duration::from_secs(20)));
        }
        check(&metrics, &[("transom_access_log_lines_total", 2.0)]);
    }

    /// Reads the format by its own rules, and complains of everything that breaks one.
    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::new(2);
        let sink = metrics.sink(&names());
        let _listener = metrics.listener("web");
        sink.record(&exchange(0));
        let text = metrics.render();
        assert!(text.ends_with('\n'));
        let mut families = std::collections::HashMap::new();
        let mut family = String::new();
        let mut series = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap().into();
                assert!(help.len() > family.len() + 3);
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family);
                assert!(matches!(kind, "counter" | "gauge" | "histogram"));
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                assert!(families.insert(family.clone(), kind.to_owned()).is_none(), "{name} twice");
                continue;
            }
            let (full, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap() >= 0.0);
            assert!(series.insert(full), "{full} twice");
            let name = full.split('{').next().unwrap();
            let kind = &families[&family];
            let suffix = name.strip_prefix(family.as_str()).unwrap();
            let histogram = matches!(suffix, "_bucket" | "_sum" | "_count");
            assert!(if kind == "histogram" { histogram } else { suffix.is_empty() }, "{line}");
            assert!(name.starts_with("transom_") || name.starts_with("process_"), "{name}");
            labels(&full[name.len()..]);
        }
        let buckets = text.lines().filter(|l| l.contains("le=\"+Inf\"")).count();
        assert_eq!(buckets, 3, "one route with exchanges, two pools");
    }

    fn labels(mut rest: &str) {
        if rest.is_empty() {
            return;
        }
        rest = rest.strip_prefix('{').unwrap();
        loop {
            let (name, after) = rest.split_once("=\"").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            let mut escaped = false;
            let end = after.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = &after[end.unwrap() + 1..];
            match rest {
                "}" => return,
                _ => rest = rest.strip_prefix(',').unwrap(),
            }
        }
    }
}
