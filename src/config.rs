//! What the configuration file says: plain values that can be compared and printed.
//!
//! Every type here is described once with `settings!`, which makes its decoding, its defaults and
//! its JSON Schema. Nothing here is live; building what runs is a separate step. What a single
//! value cannot know, such as whether a pool of that name exists, [`check`](fn@check) finds.

mod action;
mod admin;
mod affinity;
mod api;
mod balancing;
mod bandwidth;
mod check;
mod clients;
mod hardening;
mod headers;
mod health;
mod http2;
mod limits;
mod listener;
mod log;
mod overload;
mod policy;
mod pool;
mod protect;
mod relay;
mod route;
mod scale;
mod source;
mod timeouts;
mod tls;

use std::path::PathBuf;

use transom_settings::{
    Context, Definitions, Diagnostics, Duration, FromText, Map, Name, Node, Refusal, Setting,
    Spanned, json::Value as Json, quote, settings,
};

pub use action::{
    Action, Answer, Encoding, Files, Forward, Mirror, Redirect, RedirectStatus, Respond, Retries,
    Upgrade,
};
pub use admin::{Admin, SHORTEST_TOKEN};
pub use affinity::{
    Affinity, AffinityAddress, AffinityCookie, AffinityHeader, ApplicationCookie, SameSite, Split,
};
pub use api::{
    Api, ApiSettings, Moved, Placed, Reading, Served, Version, VersionRoutes, Way, expand,
};
pub use balancing::{
    Algorithm, AlgorithmKind, HashKey, LoadFactor, Locality, Plain, ReportedLoad, Shards,
    SourceAddress,
};
pub use bandwidth::Bandwidth;
pub use check::check;
pub use clients::{AddressPolicy, Addresses};
pub use hardening::{Hardening, Relaxed, hardening};
pub use headers::HeaderChanges;
pub use health::{
    Agent, ErrorShare, Health, HttpProbe, Outliers, Probe, SlowMember, SlowStart, SuccessRate,
    TcpProbe,
};
pub use http2::Http2;
pub use limits::{Limits, OverLimit, RouteLimits};
pub use listener::{
    EncodedSlashes, ForwardedHeaders, Listener, Protocol, ProxyProtocol, RequestId,
};
pub use log::{AccessFormat, AccessLog, Level, Log, LogOutput};
pub use overload::{MemoryBudget, Overload};
pub use policy::{HeadersPolicy, Policy, PolicyUse};
pub use pool::{Endpoint, KeepAlive, Pool, UpstreamHttp, UpstreamHttp2};
pub use protect::{Adaptive, Breaker, PoolLimits, Queue, RetryBudget};
pub use relay::{
    Alpn, ConnectFrom, ProxyFact, ProxyVersion, SendProxyProtocol, Tcp, TcpMatch, TcpRoute, Udp,
    UdpBalance,
};
pub use route::{
    HostRewrite, Match, PathPrefix, Priority, RegexRewrite, ReplacePrefix, Rewrite, Route,
    ValueMatch,
};
pub use scale::{CommandDriver, DockerDriver, Driver, Scale};
pub use source::{
    ConsulSource, DockerSource, EtcdSource, Family, FileSource, RegistrationSource, RegistryServer,
    Resolver, Source, SrvSource,
};
pub use timeouts::{PoolTimeouts, RouteTimeouts, Timeout, Timeouts};
pub use tls::{
    CertificateFiles, ClientAuth, ClientCertificates, Tls, TlsVersion, UnknownNames, UpstreamTls,
};
pub use transom_gateway::consumer::settings::Consumer;
pub use transom_gateway::identify::Combine;
pub use transom_gateway::plan::Plan;
pub use transom_proxy::variables::{Part, Template, Variable};
pub use transom_settings::Target;

/// The configuration that runs, as JSON; secrets are masked.
pub fn printed(config: &Config, generation: u64) -> String {
    let printed = transom_settings::json::json!({
        "generation": generation,
        "config": config.to_json(),
    });
    format!("{printed:#}\n")
}

settings! {
    /// The whole file.
    pub struct Config {
        /// Other files whose listeners, pools, splits and policies are added: paths or patterns such as
        /// `conf.d/*.yaml`, from the directory of the main file.
        pub include: Vec<String> = Vec::new(),
        /// Threads that serve: `auto` is one for each core.
        pub workers: Workers = Workers::Auto,
        /// How long open exchanges may take to finish at exit and when a listener is removed.
        pub grace: Duration = Duration::seconds(30),
        /// The zone in which this Transom stands, for pools that prefer endpoints near to it.
        pub zone: Option<Spanned<Name>> = None,
        /// Which of the instances that have the same file this is, from 0, for pools with `subsetting`.
        pub instance: Option<u64> = None,
        /// When the file is read again.
        pub reload: Reload = Reload::default(),
        /// What is given up when there is too much.
        pub overload: Overload = Overload::default(),
        /// The directory in which survives what is made while Transom runs: consumers and keys, what
        /// was revoked, and what was used of quotas. Without it, there are only those of the file.
        pub data: Option<Spanned<PathBuf>> = None,
        /// How the running program is looked into and steered.
        pub admin: Admin = Admin::default(),
        /// What is written about requests and about the program itself.
        pub log: Log = Log::default(),
        /// How names of endpoints are looked up.
        pub resolver: Resolver = Resolver::default(),
        /// Where connections are accepted, by name.
        pub listeners: Map<Name, Listener>,
        /// APIs with versions, by name. Each version becomes routes of listeners.
        pub apis: Map<Name, Api> = Map::new(),
        /// Sets of interchangeable endpoints, by name.
        pub pools: Map<Name, Pool> = Map::new(),
        /// Divisions of requests between pools, by name. A forward names one like a pool.
        pub splits: Map<Name, Split> = Map::new(),
        /// Who may ask, by name.
        pub consumers: Map<Name, Consumer> = Map::new(),
        /// Limits that consumers share, by name.
        pub plans: Map<Name, Plan> = Map::new(),
        /// Rules that routes refer to, by name.
        pub policies: Map<Name, Policy> = Map::new(),
    }

    /// When the file is read again.
    pub struct Reload {
        /// Reload as soon as the file or one that it includes has changed. Otherwise on SIGHUP and
        /// `transom reload`.
        pub watch: bool = false,
    }
}

impl Config {
    /// Decodes the tree of the file. Findings say what is wrong; where there is a value
    /// nevertheless, it is what could be understood.
    pub fn decode(root: &Node, findings: &mut Diagnostics) -> Option<Self> {
        Setting::decode(root, &mut Context::new(findings))
    }
}

/// The JSON Schema of the file.
pub fn schema() -> Json {
    let mut definitions = Definitions::new();
    let root = <Config as Setting>::schema(&mut definitions);
    definitions.document("https://transom.dev/schema.json", "Transom configuration", root)
}

/// Threads that serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each core that the program may use.
    Auto,
    Count(usize),
}

impl FromText for Workers {
    const WHAT: &'static str = "`auto` or a number";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match (text, text.parse::<usize>()) {
            ("auto", _) => Ok(Workers::Auto),
            (_, Ok(count @ 1..=1024)) => Ok(Workers::Count(count)),
            _ => {
                let what =
                    format!("expected `auto` or a number from 1 to 1024, found {}", quote(text));
                Err(Refusal::new(what))
            }
        }
    }

    fn schema() -> Json {
        transom_settings::json::json!({
            "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 1024 }],
        })
    }

    fn to_json(&self) -> Json {
        match self {
            Workers::Auto => "auto".into(),
            Workers::Count(count) => (*count).into(),
        }
    }
}
