//! Whether the members of a pool are well: probes, and what their traffic tells.

use transom_settings::{
    Duration, Factor, HeaderName, HeaderValue, Limit, Map, Method, OneOrMany, Percent, Spanned,
    StatusPattern, Switch, settings,
};

settings! {
    /// How the members of a pool are probed: `{ http: /healthz, every: 5s }`.
    pub struct Health flatten(probe: Probe) {
        /// Between two probes of a member that is up.
        pub every: Spanned<Duration> = Duration::seconds(5).into(),
        /// Between two probes while the last one contradicts what is thought of the member, or
        /// nothing is known of it yet. By default a fifth of `every`.
        pub fast_every: Option<Spanned<Duration>> = None,
        /// Between two probes of a member that is down. By default `every`.
        pub down_every: Option<Spanned<Duration>> = None,
        /// How long a probe may take, connecting included.
        pub timeout: Spanned<Duration> = Duration::seconds(2).into(),
        /// By which part each of these waits is longer or shorter at random.
        pub jitter: Percent = Percent::of(10),
        /// After how many probes that pass in a row a member is up again. A member that has fallen
        /// several times within 5 minutes needs so many for each time, ten times as many at most.
        pub rise: Spanned<u32> = 2.into(),
        /// After how many probes that fail in a row a member is down. The very first probe counts
        /// at once.
        pub fall: Spanned<u32> = 3.into(),
        /// The port to probe, where it is not the endpoint's own.
        pub port: Option<u16> = None,
    }

    /// What a member is asked. Probes use the TLS settings of the pool.
    pub choice Probe {
        /// A request, by HTTP/1.1: `http: /healthz`.
        "http" => Http(HttpProbe),
        /// A connection, and perhaps a text that it must bring: `tcp: on`.
        "tcp" => Tcp(Switch<TcpProbe>),
        /// The health service of gRPC (grpc.health.v1), asked about this service: `grpc: shop.Orders`,
        /// or `grpc: ""` for the server as a whole. Over TLS the pool must offer HTTP/2.
        "grpc" => Grpc(String),
        /// A program and its arguments, which passes if it ends with status 0: `command: [check, -q]`.
        /// It is told of the member by the variables `TRANSOM_POOL`, `TRANSOM_ENDPOINT`,
        /// `TRANSOM_ADDRESS` and `TRANSOM_PORT`.
        "command" => Command(OneOrMany<Spanned<String>>),
    }

    /// A request to a member, and what its response must be. Redirects are not followed.
    pub struct HttpProbe short(path) {
        /// The path, with its query.
        pub path: Spanned<String>,
        /// The method.
        pub method: Method = Method::known("GET"),
        /// `Host`, where it is not the endpoint's own name.
        pub host: Option<HeaderValue> = None,
        /// Further header fields.
        pub headers: Map<HeaderName, HeaderValue> = Map::new(),
        /// Statuses that pass.
        pub status: OneOrMany<StatusPattern> = StatusPattern::Class(2).into(),
        /// A text that the first 64 KiB of the body must hold.
        pub body: Option<String> = None,
    }

    /// A connection to a member, and what it must bring.
    pub struct TcpProbe {
        /// A text that the first 4 KiB of the answer must hold. Without it, a connection is enough.
        pub expect: Option<String> = None,
        /// What is sent first.
        pub send: Option<String> = None,
    }

    /// A program beside each member that says in one line how the member is (HAProxy's
    /// `agent-check`): `75%`, `load:40%`, `maxconn:30`, `drain`, `maint`, `down # why`, `up`.
    pub struct Agent short(port) {
        /// The port where it is asked, at the endpoint's address; without TLS.
        pub port: Spanned<u16>,
        /// How often.
        pub every: Spanned<Duration> = Duration::seconds(2).into(),
        /// How long its answer may take, connecting included.
        pub timeout: Spanned<Duration> = Duration::seconds(2).into(),
        /// What it is sent first.
        pub send: Option<String> = None,
    }

    /// When a member is taken out for a while because of its traffic. With 0 or `off` a detector is
    /// off.
    pub struct Outliers {
        /// Connections in a row that could not be made.
        pub connect_failures: Limit<u32> = Limit::At(3),
        /// Attempts in a row that brought no whole response.
        pub failures: Limit<u32> = Limit::At(5),
        /// Attempts in a row that brought no whole response, or one of 500 to 599.
        pub errors: Limit<u32> = Limit::Unlimited,
        /// Attempts in a row that brought no whole response, or one of 502, 503 or 504.
        pub gateway_errors: Limit<u32> = Limit::Unlimited,
        /// A success rate far below that of the others.
        pub success_rate: Switch<SuccessRate> = Switch::Off,
        /// A share of errors, whatever the others do.
        pub error_share: Switch<ErrorShare> = Switch::Off,
        /// A latency far above that of the others.
        pub latency: Switch<SlowMember> = Switch::Off,
        /// How often members are compared with each other, and longer ejections are forgiven.
        pub every: Spanned<Duration> = Duration::seconds(10).into(),
        /// How long a member is out, for each time that it was.
        pub ejection: Spanned<Duration> = Duration::seconds(30).into(),
        /// The longest time it is out.
        pub max_ejection: Duration = Duration::minutes(5),
        /// Which part of the members may be out at a time. One of several always may, the last
        /// usable one never.
        pub max_ejected: Percent = Percent::of(10),
    }

    /// A success rate below mean − `deviations` × standard deviation of all members.
    pub struct SuccessRate {
        /// How many standard deviations.
        pub deviations: Factor = Factor::hundredths(190),
        /// How many members must have had enough requests.
        pub min_members: u32 = 5,
        /// How many requests within `every` are enough.
        pub min_requests: u32 = 100,
    }

    /// A share of errors (no whole response, or 500 to 599).
    pub struct ErrorShare {
        /// The share from which on a member is out.
        pub share: Percent = Percent::of(85),
        /// How many members must have had enough requests.
        pub min_members: u32 = 5,
        /// How many requests within `every` are enough.
        pub min_requests: u32 = 50,
    }

    /// A mean latency that is many times the median of the others'.
    pub struct SlowMember {
        /// How many times.
        pub factor: Factor = Factor::hundredths(300),
        /// How many members must have had enough requests.
        pub min_members: u32 = 3,
        /// How many requests within `every` are enough.
        pub min_requests: u32 = 50,
    }

    /// How a member gets its whole share by and by, when it comes back or joins.
    pub struct SlowStart short(window) {
        /// How long that takes.
        pub window: Spanned<Duration>,
        /// The share is `(time / window) ^ (1 / aggression)`: 1 is a straight line, more grows fast
        /// at first.
        pub aggression: Spanned<Factor> = Factor::hundredths(100).into(),
        /// The share from which it starts.
        pub min_share: Percent = Percent::of(10),
    }
}
