//! How long each part of an exchange may take.

use transom_settings::{ByteRate, ByteSize, Duration, Limit, Spanned, settings};

/// A time after which something is given up, or `off`.
pub type Timeout = Spanned<Limit<Duration>>;

fn seconds(count: u64) -> Timeout {
    Limit::At(Duration::seconds(count)).into()
}

settings! {
    /// How long each part of an exchange may take. `off` waits without end.
    pub struct Timeouts {
        /// All of a request's header, from its first byte. Then 408.
        pub header: Timeout = seconds(10),
        /// The first byte on a new connection.
        pub first_byte: Timeout = seconds(10),
        /// The TLS handshake.
        pub tls_handshake: Timeout = seconds(5),
        /// The header of the PROXY protocol.
        pub proxy_protocol: Timeout = seconds(3),
        /// Between two parts of a request's body. Then 408.
        pub body_idle: Timeout = seconds(30),
        /// What a body must bring on average once it takes longer than `body-idle`.
        pub body_min_rate: Spanned<Limit<ByteRate>> = Limit::At(ByteRate(ByteSize(240))).into(),
        /// A client that takes nothing of its response.
        pub send_idle: Timeout = seconds(30),
        /// Between two requests on a connection.
        pub keep_alive: Timeout = seconds(60),
        /// Connecting to an endpoint, TLS included. Then 504.
        pub connect: Timeout = seconds(2),
        /// From the end of the request to the first byte of an endpoint's response. Then 504.
        pub response: Timeout = seconds(30),
        /// Between two parts of an endpoint's response.
        pub response_idle: Timeout = seconds(60),
        /// A tunnel (WebSocket) on which neither side says anything.
        pub tunnel_idle: Timeout = Limit::At(Duration::hours(1)).into(),
        /// A whole exchange, from the end of the request's head to the last byte of the response.
        /// Then 504, or 408 where the request's body is late; a response that has begun is cut
        /// off. Tunnels have `tunnel-idle` alone.
        pub request: Timeout = Limit::Unlimited.into(),
    }

    /// Timeouts that a route sets otherwise than its listener and its pool.
    pub struct RouteTimeouts {
        /// Between two parts of a request's body. Then 408.
        pub body_idle: Option<Timeout> = None,
        /// What a body must bring on average once it takes longer than `body-idle`.
        pub body_min_rate: Option<Spanned<Limit<ByteRate>>> = None,
        /// A client that takes nothing of its response.
        pub send_idle: Option<Timeout> = None,
        /// Connecting to an endpoint, TLS included. Then 504.
        pub connect: Option<Timeout> = None,
        /// From the end of the request to the first byte of an endpoint's response. Then 504.
        pub response: Option<Timeout> = None,
        /// Between two parts of an endpoint's response.
        pub response_idle: Option<Timeout> = None,
        /// A tunnel (WebSocket) on which neither side says anything.
        pub tunnel_idle: Option<Timeout> = None,
        /// A whole exchange, from the end of the request's head to the last byte of the response.
        /// Then 504, or 408 where the request's body is late; a response that has begun is cut
        /// off. Tunnels have `tunnel-idle` alone.
        pub request: Option<Timeout> = None,
    }

    /// Timeouts that a pool sets otherwise than the listener.
    pub struct PoolTimeouts {
        /// Connecting to an endpoint, TLS included. Then 504.
        pub connect: Option<Timeout> = None,
        /// From the end of the request to the first byte of an endpoint's response. Then 504.
        pub response: Option<Timeout> = None,
        /// Between two parts of an endpoint's response.
        pub response_idle: Option<Timeout> = None,
    }
}

impl Timeouts {
    /// What holds for a route: its own, else its pool's, else these.
    pub fn with(&self, route: &RouteTimeouts, pool: Option<&PoolTimeouts>) -> Timeouts {
        let none = PoolTimeouts::default();
        let pool = pool.unwrap_or(&none);
        Timeouts {
            body_idle: route.body_idle.unwrap_or(self.body_idle),
            body_min_rate: route.body_min_rate.unwrap_or(self.body_min_rate),
            send_idle: route.send_idle.unwrap_or(self.send_idle),
            connect: route.connect.or(pool.connect).unwrap_or(self.connect),
            response: route.response.or(pool.response).unwrap_or(self.response),
            response_idle: route.response_idle.or(pool.response_idle).unwrap_or(self.response_idle),
            tunnel_idle: route.tunnel_idle.unwrap_or(self.tunnel_idle),
            request: route.request.unwrap_or(self.request),
            ..self.clone()
        }
    }
}
