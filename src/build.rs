//! From what the file says to what runs: a [`Config`] and its [`Materials`] become a [`Snapshot`].
//!
//! ```text
//! listener ─▶ Listening { TLS, Site { Router of the matches, Routes { chain, action } } }
//! pool     ─▶ Pool { members: endpoints with a key that outlives reloads }
//! ```
//!
//! Nothing is bound or started here, no file is read, and no name is looked up: where the endpoints
//! of a pool come from begins to be followed with [`Snapshot::settle`].

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
mod maker;
mod matching;
mod pages;
mod portal;
mod relays;
mod routes;
mod scaling;
mod sources;
mod tls;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use transom_balance::discovery::Roster;
use transom_balance::discovery::names::Names;
use transom_balance::relay::{Relay, udp};
use transom_balance::scale::Scaled;
use transom_balance::{Pool, Split};
use transom_gateway::catalog::Api;
use transom_gateway::consumer::{Consumers, Written};
use transom_gateway::identify;
use transom_gateway::limit::meter::Meters;
use transom_gateway::task::Task;
use transom_net::blocks::Rule;
use transom_net::clients::Pace;
use transom_net::tls::server::ServerTls;
use transom_proxy::codec::head::HeadLimits;
use transom_proxy::fields::Known;
use transom_proxy::headers::forwarded::ForwardedStyle;
use transom_proxy::normalize::{self, PathRules};
use transom_proxy::record::Sink;
use transom_proxy::serve::ceilings::{self, Ceilings, OverLimit};
use transom_proxy::site::{self, RequestIdRule, Site};
use transom_proxy::stage::Stage;
use transom_settings::{
    ByteSize, Diagnostic, Diagnostics, HeaderName, Limit, ListenAddress, Name, Rate, Span, Spanned,
};

use crate::config::{self, Config, EncodedSlashes, Listener, Policy, PolicyUse};
use crate::door;
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

/// A listener as it runs, but for its sockets.
pub struct Listening {
    pub name: Arc<str>,
    pub addresses: Vec<ListenAddress>,
    /// Who may connect; none where everybody may.
    pub clients: Option<Rule>,
    /// New connections of one client.
    pub connection_rate: Option<Pace>,
    /// New connections in all: so many in a time.
    pub turnstile: Option<(u64, Duration)>,
    pub over_limit: OverLimit,
    /// What is open and under way; goes on from one configuration to the next.
    pub counts: Counts,
    /// What is served; its limits and timeouts are there too.
    pub site: Arc<Site>,
    /// In place of HTTP: connections are carried as they are.
    pub relay: Option<Arc<Relay>>,
    /// In place of connections: datagrams are carried.
    pub flows: Option<Arc<udp::Relay>>,
    pub tls: Option<Arc<ServerTls>>,
    pub proxy_protocol: Option<ProxyRule>,
    /// For the TLS handshake.
    pub handshake_timeout: Option<Duration>,
    /// TLS handshakes that wait for their turn on one worker.
    pub handshakes: usize,
    /// For the header of the PROXY protocol.
    pub proxy_timeout: Option<Duration>,
}

/// Who may say with the PROXY protocol for whom they speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRule {
    pub from: Vec<IpNet>,
    /// Whether those may leave it out.
    pub optional: bool,
}

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

impl Listening {
    /// What tells an address apart from others: a port of UDP is not one of TCP, and a socket for
    /// HTTP lets connections wait for their first word.
    pub fn key(&self, address: &ListenAddress) -> String {
        match (&self.relay, &self.flows) {
            (None, None) => address.to_string(),
            (Some(_), _) => format!("tcp://{address}"),
            (_, Some(_)) => format!("udp://{address}"),
        }
    }
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

    /// Fields in which any policy of the file tells endpoints who asks.
    fn vouched(config: &Config) -> Vec<HeaderName> {
        let routes = config.written_routes();
        let uses = routes.iter().flat_map(|placed| placed.route.policies.iter());
        let inline = uses.filter_map(|policy| match policy {
            PolicyUse::Inline(policy) => Some(policy),
            PolicyUse::Named(_) => None,
        });
        let rules = config.policies.values().chain(inline).filter_map(|policy| match policy {
            Policy::Rule(rule) => Some(rule),
            _ => None,
        });
        let mut names = Vec::new();
        for rule in rules {
            if rule.stage() == Stage::Identify {
                names.extend(identify::USUAL_HEADERS.map(HeaderName::known));
            }
            names.extend(rule.vouched().into_iter().cloned());
        }
        names.sort_unstable();
        names.dedup();
        names
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

    /// A listener, if all of it can run.
    fn listener(
        &mut self,
        name: &Spanned<Name>,
        listener: &'a Listener,
        generation: u64,
        sinks: &Sinks<'_>,
    ) -> Option<Listening> {
        let at = format!("listeners.{name}");
        let tls = listener.tls.as_ref().map(|tls| {
            let alpn = match &listener.tcp {
                None => tls::http(listener.http2.on().is_some()),
                Some(tcp) => relays::alpn(tcp),
            };
            self.server_tls(name, tls, alpn, &format!("{at}.tls"))
        });
        let placed = self.config.routes_of(name);
        let router = self.router(&placed);
        let routes = self.routes(name, listener, &placed);
        let (routes, config) = (routes?, self.config);
        let counts = self.counts(name);
        let site = Site {
            ceilings: ceilings(&listener.limits, &counts.requests),
            name: Arc::from(&***name),
            generation,
            router: router?,
            limits: limits(&listener.limits),
            timeouts: timeouts(&listener.timeouts),
            http2: listener.http2.on().map(http2),
            paths: PathRules {
                merge_slashes: listener.merge_slashes,
                encoded_slashes: match listener.encoded_slashes.value {
                    EncodedSlashes::Keep => normalize::EncodedSlashes::Keep,
                    EncodedSlashes::Refuse => normalize::EncodedSlashes::Refuse,
                },
                ..PathRules::default()
            },
            trusted: listener.trusted_proxies.iter().map(|block| block.net()).collect(),
            forwarded: ForwardedStyle {
                x_forwarded: listener.forwarded.x_forwarded,
                forwarded: listener.forwarded.forwarded,
                via: listener.forwarded.via,
            },
            request_id: request_id(&listener.request_id),
            vouched: self.vouched.get_or_insert_with(|| Build::vouched(config).into()).clone(),
            pages: self.pages(&listener.error_pages),
            // what is in a log was counted before
            sinks: self.tally(&placed).into_iter().chain(sinks(name, &routes)).collect(),
            routes,
        };
        let tls = match tls {
            Some(built) => Some(built?),
            None => None,
        };
        let relay = match &listener.tcp {
            Some(tcp) => Some(Arc::new(self.relay(listener, tcp, &site, &at)?)),
            None => None,
        };
        let flows = match &listener.udp {
            Some(udp) => Some(Arc::new(self.flows(listener, udp, &site, &at)?)),
            None => None,
        };
        Some(Listening {
            name: site.name.clone(),
            relay,
            flows,
            addresses: listener.address.iter().map(|address| address.value.clone()).collect(),
            turnstile: {
                let rate = listener.limits.connection_rate.value.get();
                rate.map(|rate| (rate.count, rate.per.get()))
            },
            connection_rate: pace(&listener.limits.connection_rate_per_client),
            over_limit: over_limit(&listener.limits),
            counts,
            clients: (!listener.clients.is_empty()).then(|| self.addresses(&listener.clients)),
            site: Arc::new(site),
            tls,
            proxy_protocol: listener.proxy_protocol.as_ref().map(|rule| ProxyRule {
                from: rule.from.iter().map(|block| block.net()).collect(),
                optional: rule.optional,
            }),
            handshake_timeout: optional(&listener.timeouts.tls_handshake),
            handshakes: listener.limits.handshakes as usize,
            proxy_timeout: optional(&listener.timeouts.proxy_protocol),
        })
    }
}

/// What is counted of a listener, over all its addresses.
#[derive(Clone, Default)]
pub struct Counts {
    pub connections: Arc<door::Counts>,
    pub requests: Arc<ceilings::Counts>,
}

impl Build<'_> {
    /// Those that the listener has already, if it ran before.
    fn counts(&self, name: &str) -> Counts {
        let mut before = self.previous.iter().flat_map(|previous| &previous.listeners);
        before
            .find(|listener| *listener.name == *name)
            .map_or_else(Counts::default, |listener| listener.counts.clone())
    }
}

fn pace(rate: &Limit<Rate>) -> Option<Pace> {
    rate.get().map(|rate| Pace::new(rate.count, rate.per.get()))
}

fn over_limit(limits: &config::Limits) -> OverLimit {
    match limits.over_limit {
        config::OverLimit::Refuse => OverLimit::Refuse,
        config::OverLimit::Tarpit => OverLimit::Tarpit(limits.tarpit.get()),
        config::OverLimit::Drop => OverLimit::Drop,
    }
}

fn ceilings(limits: &config::Limits, counts: &Arc<ceilings::Counts>) -> Option<Ceilings> {
    let count = |limit: &Limit<u32>| limit.get().map(|count| count as usize);
    let (requests, per_client) = (count(&limits.requests), count(&limits.requests_per_client));
    let rate = pace(&limits.request_rate_per_client);
    let any = requests.is_some() || per_client.is_some() || rate.is_some();
    let (over, counts) = (over_limit(limits), counts.clone());
    any.then_some(Ceilings { requests, per_client, rate, over, counts })
}

/// `off`, where a time must be given: longer than any process runs.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn optional(timeout: &config::Timeout) -> Option<Duration> {
    timeout.value.get().map(|time| time.get())
}

fn always(limit: &Limit<transom_settings::Duration>) -> Duration {
    limit.get().map_or(FOREVER, |time| time.get())
}

fn timeouts(written: &config::Timeouts) -> site::Timeouts {
    site::Timeouts {
        header: always(&written.header),
        first_byte: always(&written.first_byte),
        keep_alive: always(&written.keep_alive),
        body_idle: optional(&written.body_idle),
        body_min_rate: written.body_min_rate.value.get().map_or(0, |rate| rate.0.bytes()),
        send_idle: optional(&written.send_idle),
        connect: always(&written.connect),
        response: optional(&written.response),
        response_idle: optional(&written.response_idle),
        tunnel_idle: optional(&written.tunnel_idle),
        request: optional(&written.request),
    }
}

fn limits(written: &config::Limits) -> site::Limits {
    let unlimited = |limit: Limit<u32>| limit.get().map_or(usize::MAX, |count| count as usize);
    site::Limits {
        head: HeadLimits {
            start_line: written.request_line.len(),
            line: written.header_line.len(),
            fields: written.headers.len(),
            count: written.header_count as usize,
        },
        requests: written.requests_per_connection.value.get().map_or(u64::MAX, u64::from),
        age: always(&written.connection_age),
        connections: written.connections.map_or_else(connections, |count| count as usize),
        connections_per_client: unlimited(written.connections_per_client.value),
    }
}

fn http2(written: &config::Http2) -> site::Http2 {
    let window = |size: &Spanned<ByteSize>| u32::try_from(size.bytes()).unwrap_or(u32::MAX >> 1);
    site::Http2 {
        prior_knowledge: written.prior_knowledge,
        streams: written.streams.value,
        stream_window: window(&written.stream_window),
        connection_window: window(&written.connection_window),
        resets: written.resets.value,
        control_frames: written.control_frames.value,
        ping: optional(&written.ping),
    }
}

/// Nine tenths of what the limit of open files allows, two for each connection.
fn connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(files / 20 * 9).unwrap_or(usize::MAX)
}

fn request_id(written: &config::RequestId) -> RequestIdRule {
    let header = &*written.header;
    // known names are written as people know them
    let known = Known::of(header.as_bytes());
    let field = known.map_or_else(|| header.to_owned(), |known| known.text().to_owned());
    RequestIdRule { field: Some(field), trust: written.trust }
}
