//! Numbers for Prometheus.
//!
//! Every worker counts in cells of its own, which nobody else writes; a scrape adds them up. Which
//! cells belong to a route is found when the configuration is built, so that a request costs a few
//! additions and no look-up of a name. Labels are names of the configuration, never what a client
//! sent (SL-11).
//!
//! Cells live as long as a site or a listener holds them: a route of the same name goes on counting
//! after a reload, one that is gone is not shown any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use transom_proxy::record::Sink;

use super::access_log;

mod cells;
mod consumers;
mod guards;
mod http2;
mod listeners;
mod members;
mod overload;
mod pools;
mod process;
mod program;
mod registry;
mod relays;
mod routes;
mod sources;
#[cfg(test)]
mod tests;
mod text;
mod versions;

pub use guards::GuardRow;
pub use listeners::{ListenerMetrics, Open, Refusal, Transport};
pub use members::MemberRow;
pub use overload::OverloadRow;
pub use sources::SourceRow;
pub use versions::VersionRow;

use consumers::ByConsumer;
use listeners::Listeners;
use pools::Pools;
use program::{ConfigCells, LogCounts};
use routes::{Routes, SiteSink};
use text::Text;

/// The numbers of the whole program.
pub struct Metrics {
    workers: usize,
    listeners: Listeners,
    routes: Routes,
    pools: Pools,
    consumers: Arc<ByConsumer>,
    config: ConfigCells,
    log: Mutex<LogCounts>,
    members: Mutex<Members>,
    overload: Mutex<Overload>,
    guards: Mutex<Guards>,
    sources: Mutex<Sources>,
    versions: Mutex<Versions>,
    started: SystemTime,
}

type Members = Option<Box<dyn Fn() -> Vec<MemberRow> + Send + Sync>>;
type Overload = Option<Box<dyn Fn() -> OverloadRow + Send + Sync>>;
type Guards = Option<Box<dyn Fn() -> Vec<GuardRow> + Send + Sync>>;
type Sources = Option<Box<dyn Fn() -> Vec<SourceRow> + Send + Sync>>;
type Versions = Option<Box<dyn Fn() -> Vec<VersionRow> + Send + Sync>>;

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
            listeners: Listeners::default(),
            routes: Routes::default(),
            pools: Pools::default(),
            consumers: Arc::default(),
            config: ConfigCells::default(),
            log: Mutex::default(),
            members: Mutex::default(),
            overload: Mutex::default(),
            guards: Mutex::default(),
            sources: Mutex::default(),
            versions: Mutex::default(),
            started: SystemTime::now(),
        })
    }

    /// How many workers count.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The sink of a site with these names.
    pub fn sink(&self, names: &Names<'_>) -> Arc<dyn Sink> {
        let (listeners, routes, pools) = (&self.listeners, &self.routes, &self.pools);
        let consumers = self.consumers.clone();
        Arc::new(SiteSink::new(names, self.workers, listeners, routes, pools, consumers))
    }

    /// Counts the connections of a listener. To be held while it listens.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics(self.listeners.cells(name.into(), self.workers))
    }

    /// The first configuration, or another one, runs now.
    pub fn config_taken(&self, generation: u64) {
        self.config.taken(generation);
    }

    /// A configuration was offered and not taken.
    pub fn config_refused(&self) {
        self.config.refused();
    }

    /// The access log that is written to from now on.
    pub fn set_access_log(&self, log: Option<access_log::Handle>) {
        locked(&self.log).replace(log);
    }

    /// Where the state of the members is asked for at each scrape.
    pub fn set_members(&self, rows: impl Fn() -> Vec<MemberRow> + Send + Sync + 'static) {
        *locked(&self.members) = Some(Box::new(rows));
    }

    /// Where it is asked at each scrape what is given up.
    pub fn set_overload(&self, row: impl Fn() -> OverloadRow + Send + Sync + 'static) {
        *locked(&self.overload) = Some(Box::new(row));
    }

    /// Where the state of guarded pools is asked for at each scrape.
    pub fn set_guards(&self, rows: impl Fn() -> Vec<GuardRow> + Send + Sync + 'static) {
        *locked(&self.guards) = Some(Box::new(rows));
    }

    /// Where the sources of endpoints are asked for at each scrape.
    pub fn set_sources(&self, rows: impl Fn() -> Vec<SourceRow> + Send + Sync + 'static) {
        *locked(&self.sources) = Some(Box::new(rows));
    }

    /// Where the versions of APIs are asked for at each scrape.
    pub fn set_versions(&self, rows: impl Fn() -> Vec<VersionRow> + Send + Sync + 'static) {
        *locked(&self.versions) = Some(Box::new(rows));
    }

    /// Everything in the text format of Prometheus, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Text::default();
        routes::render(&self.routes, &mut text);
        self.consumers.render(&mut text);
        listeners::render(&self.listeners, &mut text);
        relays::render(&self.listeners, &mut text);
        pools::render(&self.pools, &mut text);
        let rows = locked(&self.members).as_ref().map(|rows| rows()).unwrap_or_default();
        members::render(&rows, &mut text);
        let row = locked(&self.overload).as_ref().map(|row| row()).unwrap_or_default();
        overload::render(&row, &mut text);
        let rows = locked(&self.guards).as_ref().map(|rows| rows()).unwrap_or_default();
        guards::render(&rows, &mut text);
        let rows = locked(&self.sources).as_ref().map(|rows| rows()).unwrap_or_default();
        sources::render(&rows, &mut text);
        let rows = locked(&self.versions).as_ref().map(|rows| rows()).unwrap_or_default();
        versions::render(&rows, &mut text);
        self.config.render(&mut text);
        locked(&self.log).render(&mut text);
        process::render(self.started, &mut text);
        text.into_string()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
