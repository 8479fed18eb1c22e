//! From what the file says to what runs: a [`Config`] and its [`Materials`] become a [`Snapshot`].
//!
//! ```text
//! listener ─▶ Listening { TLS, Site { Router of the matches, Routes { chain, action } } }
//! pool     ─▶ Pool { members: endpoints with a key that outlives reloads }
//! ```
//!
//! Nothing is bound or started here, no file is read, and no name is looked up: where the endpoints
//! of a pool come from begins to be followed with [`Snapshot::settle`]. What a snapshot has in common with
//! the one that runs is left as it is until [`Snapshot::take_over`].

mod action;
mod apis;
mod balancing;
mod bandwidth;
mod chain;
mod connections;
mod endpoints;
mod futile;
mod kept;
mod lending;
mod limits;
mod listener;
mod maker;
mod matching;
mod pages;
mod portal;
mod relays;
mod routes;
mod scaling;
mod sources;
mod swap;
mod tls;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use transom_balance::discovery::Roster;
use transom_balance::discovery::names::Names;
use transom_balance::scale::Scaled;
use transom_balance::{Pool, Split};
use transom_gateway::catalog::Api;
use transom_gateway::consumer::{Consumers, Written};
use transom_gateway::limit::meter::Meters;
use transom_gateway::task::Task;
use transom_proxy::record::Sink;
use transom_settings::{Diagnostic, Diagnostics, HeaderName, Span};

use crate::config::Config;
use crate::door::Listening;
use crate::materials::Materials;

pub use balancing::rule;
pub use chain::rewrite;
pub use endpoints::Shared;
pub use upkeep::log;

/// What runs.
pub struct Snapshot {
    /// Counts the configurations since the start; the first is 1.
    pub generation: u64,
    pub config: Arc<Config>,
    /// In the order of the file.
    pub listeners: Vec<Listening>,
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// Where the endpoints of pools come from, and of single addresses that have a name; by the
    /// name of the pool, or that address.
    pub rosters: BTreeMap<String, Arc<Roster>>,
    names: Arc<Names>,
    /// Everybody who may ask.
    pub consumers: Consumers,
    /// The APIs, in the order of the file.
    pub apis: Arc<Vec<Arc<Api>>>,
    /// What policies do beside requests.
    pub tasks: Tasks,
    /// Quotas, of which operators can ask who has used what.
    pub meters: Arc<Meters>,
    /// Where the file speaks of sources and names.
    origins: Vec<sources::Origin>,
    /// What goes on in the next snapshot.
    pub shared: Shared,
    /// What was noticed while building. Its places are in the files of the configuration.
    pub warnings: Diagnostics,
}

/// Tasks with their names.
pub type Tasks = Vec<(&'static str, Arc<dyn Task>)>;

/// Gives the sinks of a listener with these routes.
pub type Sinks<'a> = dyn Fn(&str, &[transom_proxy::site::Route]) -> Vec<Arc<dyn Sink>> + 'a;

/// Builds what runs from what the file says, going on where `previous` stands.
///
/// # Errors
/// Every finding that keeps it from running. Warnings alone are in [`Snapshot::warnings`].
pub fn build(
    config: &Arc<Config>,
    materials: &Materials,
    previous: Option<&Snapshot>,
    sinks: &Sinks<'_>,
) -> Result<Snapshot, Diagnostics> {
    let generation = previous.map_or(1, |previous| previous.generation + 1);
    let mut build = Build::new(config, materials, previous);
    build.consumers();
    build.apis();
    for (name, pool) in config.pools.iter() {
        build.pool(name, pool);
    }
    for (name, split) in config.splits.iter() {
        build.split(name, split);
    }
    let listeners: Vec<Option<Listening>> = config
        .listeners
        .iter()
        .map(|(name, listener)| build.listener(name, listener, generation, sinks))
        .collect();
    build.warn_of_idle_plans();
    if build.findings.has_errors() {
        return Err(build.findings);
    }
    Ok(Snapshot {
        generation,
        config: config.clone(),
        listeners: listeners.into_iter().flatten().collect(),
        pools: build.pools,
        rosters: build.rosters,
        names: build.names,
        consumers: build.consumers,
        apis: build.apis,
        tasks: build.tasks,
        meters: build.meters,
        origins: build.origins,
        shared: build.shared.finished(),
        warnings: build.findings,
    })
}

/// A build on its way.
struct Build<'a> {
    config: &'a Config,
    materials: &'a Materials,
    previous: Option<&'a Snapshot>,
    shared: Shared,
    pools: BTreeMap<String, Arc<Pool>>,
    /// Pools whose requests wait for a server that is started on demand.
    scaled: BTreeMap<String, Arc<Scaled>>,
    /// By the name of the pool, or the address that stands in its place.
    rosters: BTreeMap<String, Arc<Roster>>,
    names: Arc<Names>,
    origins: Vec<sources::Origin>,
    splits: HashMap<String, Arc<Split>>,
    /// TLS to an address written `https://`.
    public_tls: Option<maker::Upstream>,
    named: chain::NamedPolicies<'a>,
    versioned: chain::VersionPolicies<'a>,
    /// Everybody who may ask.
    consumers: Consumers,
    apis: Arc<Vec<Arc<Api>>>,
    /// See [`Build::vouched`]; the same for all listeners.
    vouched: Option<Arc<[HeaderName]>>,
    tasks: Tasks,
    meters: Arc<Meters>,
    findings: Diagnostics,
}

impl<'a> Build<'a> {
    fn new(config: &'a Config, materials: &'a Materials, previous: Option<&'a Snapshot>) -> Self {
        Build {
            config,
            materials,
            previous,
            shared: Shared::following(previous.map(|previous| &previous.shared)),
            pools: BTreeMap::new(),
            scaled: BTreeMap::new(),
            rosters: BTreeMap::new(),
            names: sources::names(&config.resolver, previous.map(|previous| &previous.names)),
            origins: Vec::new(),
            splits: HashMap::new(),
            public_tls: None,
            named: chain::NamedPolicies::default(),
            versioned: chain::VersionPolicies::default(),
            consumers: Consumers::default(),
            apis: Arc::default(),
            vouched: None,
            tasks: Vec::new(),
            meters: Arc::default(),
            findings: Diagnostics::new(),
        }
    }

    /// What the file says of those who may ask, beside what the program remembers.
    fn consumers(&mut self) {
        let written = Written::of(&self.config.consumers, &self.config.plans, self);
        self.consumers = Consumers { written: Arc::new(written), stored: self.shared.stored() };
    }

    fn error(
        &mut self,
        place: Span,
        path: impl Into<String>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.findings.push(Diagnostic::error(place, path, what).hint(hint));
    }
}
