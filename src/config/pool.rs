//! Settings of a pool.

use transom_settings::{
    Duration, EndpointAddress, Limit, Map, Name, Percent, Spanned, Switch, settings,
};

use super::{
    Affinity, Agent, Algorithm, Breaker, ConnectFrom, Health, Locality, Outliers, PoolLimits,
    PoolTimeouts, Queue, RetryBudget, Scale, SendProxyProtocol, SlowStart, Source, Timeout,
    UpstreamTls,
};

settings! {
    /// A set of interchangeable endpoints.
    pub struct Pool {
        /// Where requests go. A name stands for all addresses that it has.
        pub endpoints: Vec<Endpoint> = Vec::new(),
        /// Where more endpoints come from while Transom runs.
        pub sources: Vec<Spanned<Source>> = Vec::new(),
        /// Whether a source that lists nothing any more means it. Otherwise its last endpoints are
        /// kept.
        pub allow_empty: bool = false,
        /// Servers that are started and stopped as requests need them.
        pub scale: Option<Scale> = None,
        /// How one endpoint is chosen.
        pub algorithm: Algorithm = Algorithm::default(),
        /// Where fewer than this part of the endpoints are usable, all are used: then the fault is
        /// more likely in what judges them. `0%` never does so.
        pub panic_threshold: Percent = Percent::of(50),
        /// How a client comes back to the endpoint that served it before.
        pub affinity: Option<Spanned<Affinity>> = None,
        /// Whether endpoints near to us are preferred.
        pub locality: Spanned<Locality> = Locality::Ignore.into(),
        /// How members are probed. Without it, they are used until their traffic speaks against it.
        pub health: Option<Health> = None,
        /// A program beside each member that is asked how the member is: its port, or settings.
        pub agent: Option<Agent> = None,
        /// Whether each instance of Transom uses only some of the endpoints: how many. Which ones
        /// they are comes from `instance`, and all instances together use all endpoints alike.
        pub subsetting: Spanned<Limit<u32>> = Limit::Unlimited.into(),
        /// When a member is taken out for a while because of its traffic.
        pub outliers: Switch<Outliers> = Switch::On(Outliers::default()),
        /// Lets a member that comes back, or joins, have its whole share of requests by and by:
        /// `10s` or settings. Members that are there at the start of the program have it at once.
        pub slow_start: Option<SlowStart> = None,
        /// How long a member that is drained or removed keeps the clients that stick to it, and
        /// connections and tunnels that are open; then they are closed. `off`: as long as it takes.
        pub drain_timeout: Timeout = Limit::Unlimited.into(),
        /// How much the pool may be asked at once.
        pub limits: PoolLimits = PoolLimits::default(),
        /// Requests that wait until a member has room.
        pub queue: Queue = Queue::default(),
        /// When the pool is left alone because it mostly fails.
        pub breaker: Switch<Breaker> = Switch::Off,
        /// How many attempts there may be beyond those that clients ask for.
        pub retry_budget: Switch<RetryBudget> = Switch::On(RetryBudget::default()),
        /// Encryption toward the endpoints: `on`, `off` or settings.
        pub tls: Switch<UpstreamTls> = Switch::Off,
        /// The version of HTTP that is spoken to the endpoints.
        pub http: Spanned<UpstreamHttp> = UpstreamHttp::Auto.into(),
        /// How HTTP/2 is spoken to the endpoints, where it is.
        pub http2: UpstreamHttp2 = UpstreamHttp2::default(),
        /// The header of the PROXY protocol with which endpoints are told who the client is.
        pub proxy_protocol: Option<SendProxyProtocol> = None,
        /// The address that connections to the endpoints come from: one of this machine, or
        /// `client` for that of each client, which takes CAP_NET_ADMIN and routes that lead
        /// answers back through this machine.
        pub connect_from: Spanned<ConnectFrom> = ConnectFrom::Any.into(),
        /// How connections are kept for further requests.
        pub keep_alive: KeepAlive = KeepAlive::default(),
        /// Timeouts that differ from the listener's.
        pub timeouts: PoolTimeouts = PoolTimeouts::default(),
    }

    /// One address of a pool.
    pub struct Endpoint short(address) {
        /// Where it is: `10.0.0.1:8080`, `name:8080` or `unix:/path`.
        pub address: Spanned<EndpointAddress>,
        /// Its share of requests beside the others'. Zero gets none.
        pub weight: Spanned<u16> = 1.into(),
        /// What tells it from others: `{ version: v2 }`.
        pub labels: Map<Name, String> = Map::new(),
        /// Where it stands, such as a data centre.
        pub zone: Option<Name> = None,
        /// Those with 0 are used first, those with 1 when too few of them are usable, and so on.
        pub priority: u8 = 0,
    }

    /// The version of HTTP that is spoken to endpoints.
    pub enum UpstreamHttp {
        /// With TLS what the endpoint chooses of HTTP/2 and HTTP/1.1 (ALPN), without it HTTP/1.1.
        Auto = "auto",
        /// HTTP/1.1 alone.
        Http1 = "1.1",
        /// HTTP/2 alone: endpoints must choose it with TLS, and know it without.
        Http2 = "2",
    }

    /// How HTTP/2 is spoken to endpoints.
    pub struct UpstreamHttp2 {
        /// Exchanges at once on one connection, where the endpoint allows as many. For more, another
        /// connection is opened.
        pub streams: Spanned<u16> = 100.into(),
        /// How often an endpoint is asked whether it is still there; with `off` only after it was
        /// late. Servers of gRPC end connections on which they are asked more often than every five
        /// minutes.
        pub ping: Timeout = Limit::Unlimited.into(),
        /// How long the answer to that may take, before the connection is given up.
        pub ping_timeout: Duration = Duration::seconds(10),
    }

    /// How connections to endpoints are kept for further requests.
    pub struct KeepAlive {
        /// How long an unused connection is kept.
        pub idle: Limit<Duration> = Limit::At(Duration::seconds(30)),
        /// Unused connections kept for one endpoint. Zero opens one for each request.
        pub max_idle: u32 = 64,
        /// Age at which a connection is not used again.
        pub age: Limit<Duration> = Limit::At(Duration::minutes(10)),
    }
}

impl Pool {
    /// How many exchanges one connection to an endpoint may carry at once.
    pub fn exchanges_per_connection(&self) -> usize {
        let is_http2 = match self.http.value {
            UpstreamHttp::Auto => self.tls.on().is_some(),
            UpstreamHttp::Http1 => false,
            UpstreamHttp::Http2 => true,
        };
        match is_http2 && !self.is_bound_to_clients() {
            true => usize::from(self.http2.streams.value),
            false => 1,
        }
    }

    /// Whether each connection to an endpoint is for one client.
    pub fn is_bound_to_clients(&self) -> bool {
        self.proxy_protocol.is_some() || self.connect_from.value == ConnectFrom::Client
    }
}
