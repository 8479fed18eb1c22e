//! How much a client or an endpoint may send.

use transom_settings::{ByteSize, Duration, Limit, Rate, Spanned, settings};

use super::Bandwidth;

settings! {
    /// How much a client or an endpoint may send.
    pub struct Limits {
        /// Header fields of a request. More are answered with 431.
        pub header_count: u32 = 100,
        /// The request line. A longer one is answered with 414.
        pub request_line: Spanned<ByteSize> = ByteSize::kib(8).into(),
        /// One header field. A longer one is answered with 431.
        pub header_line: ByteSize = ByteSize::kib(16),
        /// All header fields of a request, with `request-line` 64 KiB at most. More is answered
        /// with 431.
        pub headers: Spanned<ByteSize> = ByteSize::kib(32).into(),
        /// The body of a request. A larger one is answered with 413.
        pub body: Spanned<Limit<ByteSize>> = Limit::At(ByteSize::mib(10)).into(),
        /// Requests on one connection, which is closed after the last.
        pub requests_per_connection: Spanned<Limit<u32>> = Limit::At(1000).into(),
        /// Age at which a connection is closed after the exchange it carries. Ten in a hundred
        /// more or less, so that connections opened together do not end together.
        pub connection_age: Spanned<Limit<Duration>> = Limit::At(Duration::hours(1)).into(),
        /// Connections of this listener at once. By default nine tenths of what the limit of open
        /// files allows, two for each connection.
        pub connections: Option<u32> = None,
        /// Connections from one client at once: one IPv4 address or one IPv6 /64.
        pub connections_per_client: Spanned<Limit<u32>> = Limit::At(512).into(),
        /// New connections in a time, let in evenly. Who comes too soon waits in the kernel's queue.
        pub connection_rate: Spanned<Limit<Rate>> = Limit::Unlimited.into(),
        /// New connections of one client: so many at once, and evenly so many in the time.
        pub connection_rate_per_client: Spanned<Limit<Rate>> = Limit::Unlimited.into(),
        /// Requests under way at once. One more is answered with 503.
        pub requests: Limit<u32> = Limit::Unlimited,
        /// Requests of one client under way at once. One more is answered with 429.
        pub requests_per_client: Limit<u32> = Limit::Unlimited,
        /// Requests of one client: so many at once, and evenly so many in the time. One more is
        /// answered with 429.
        pub request_rate_per_client: Spanned<Limit<Rate>> = Limit::Unlimited.into(),
        /// How fast bodies may pass.
        pub bandwidth: Bandwidth = Bandwidth::default(),
        /// What becomes of a client that is over a limit of its own.
        pub over_limit: OverLimit = OverLimit::Refuse,
        /// How long `over-limit: tarpit` holds it.
        pub tarpit: Duration = Duration::seconds(10),
        /// TLS handshakes that wait for their turn on one worker, which computes one at a time and
        /// serves what is open in between. A connection more is closed.
        pub handshakes: u32 = 500,
        /// All header fields of a response from an endpoint, 64 KiB at most. More becomes 502.
        pub response_headers: Spanned<ByteSize> = ByteSize::kib(64).into(),
    }

    /// What becomes of a client that is over a limit of its own.
    pub enum OverLimit {
        /// Its connection is closed, its request answered with 429.
        Refuse = "refuse",
        /// The same, after a while in which it waits.
        Tarpit = "tarpit",
        /// Its connection is let go without a word: it waits for an answer that does not come.
        Drop = "drop",
    }

    /// Limits that a route sets otherwise than its listener.
    pub struct RouteLimits {
        /// How fast bodies may pass, beside what holds for the listener.
        pub bandwidth: Bandwidth = Bandwidth::default(),
        /// The body of a request. A larger one is answered with 413.
        pub body: Option<Spanned<Limit<ByteSize>>> = None,
        /// All header fields of a response from an endpoint, 64 KiB at most. More becomes 502.
        pub response_headers: Option<Spanned<ByteSize>> = None,
    }
}

impl Limits {
    /// These limits with those of a route in their place.
    pub fn with(&self, route: &RouteLimits) -> Limits {
        Limits {
            body: route.body.unwrap_or(self.body),
            response_headers: route.response_headers.unwrap_or(self.response_headers),
            ..self.clone()
        }
    }
}
