//! Settings of a pool.

use transom_settings::{
    Duration, EndpointAddress, Limit, Map, Name, OneOrMany, Percent, Spanned, Switch, settings,
};

use super::{PoolTimeouts, UpstreamTls};

settings! {
    /// A set of interchangeable endpoints.
    pub struct Pool {
        /// Where requests go.
        pub endpoints: OneOrMany<Endpoint>,
        /// How one endpoint is chosen.
        pub algorithm: Algorithm = Algorithm::RoundRobin,
        /// Where fewer than this part of the endpoints are usable, all are used: then the fault is
        /// more likely in what judges them. `0%` never does so.
        pub panic_threshold: Percent = Percent::of(50),
        /// Encryption toward the endpoints: `on`, `off` or settings.
        pub tls: Switch<UpstreamTls> = Switch::Off,
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

    /// How one endpoint is chosen.
    pub enum Algorithm {
        /// One after the other, in proportion to their weights.
        RoundRobin = "round-robin",
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
