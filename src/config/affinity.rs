//! How clients stick to endpoints, and splits between pools.

use transom_settings::{Duration, HeaderName, Map, Name, Secret, Spanned, settings};

settings! {
    /// How a client comes back to the endpoint that served it before. Endpoints that are being
    /// drained keep their clients.
    pub choice Affinity {
        /// By a cookie that Transom sets; it shows nothing of the endpoint and cannot be made up.
        "cookie" => Cookie(AffinityCookie),
        /// By a cookie that the application sets, which is remembered for a while.
        "application-cookie" => ApplicationCookie(ApplicationCookie),
        /// By a header of requests, which is remembered for a while. One that responses give the
        /// client is learnt from them.
        "header" => Header(AffinityHeader),
        /// By the client's address, which is remembered for a while.
        "address" => Address(AffinityAddress),
    }

    /// A cookie that Transom sets: HttpOnly, and Secure over TLS.
    pub struct AffinityCookie short(name) {
        /// Its name.
        pub name: Spanned<Name>,
        /// What its value is signed with; the same on all machines that serve these clients.
        /// Without it, one is made at the start, and a restart forgets who was where.
        pub secret: Option<Spanned<Secret>> = None,
        /// Which requests from other sites carry it.
        pub same_site: SameSite = SameSite::Lax,
        /// How long the client keeps it. Without it, until the browser ends.
        pub max_age: Option<Duration> = None,
    }

    /// Which requests from other sites carry a cookie.
    pub enum SameSite {
        /// None at all.
        Strict = "strict",
        /// Only links that are followed.
        Lax = "lax",
        /// All. Browsers take such a cookie only over TLS.
        None = "none",
    }

    /// A cookie that the application sets.
    pub struct ApplicationCookie short(name) {
        /// Its name.
        pub name: Name,
        /// How long a client is remembered that is not seen.
        pub idle: Duration = Duration::minutes(10),
        /// How many clients are remembered at most.
        pub clients: u32 = 100_000,
    }

    /// A header that tells clients apart.
    pub struct AffinityHeader short(name) {
        /// Its name.
        pub name: HeaderName,
        /// How long a client is remembered that is not seen.
        pub idle: Duration = Duration::minutes(10),
        /// How many clients are remembered at most.
        pub clients: u32 = 100_000,
    }

    /// The client's address.
    pub struct AffinityAddress {
        /// How many bits of an IPv4 address count.
        pub ipv4_prefix: Spanned<u8> = 32.into(),
        /// How many bits of an IPv6 address count.
        pub ipv6_prefix: Spanned<u8> = 64.into(),
        /// How long a client is remembered that is not seen.
        pub idle: Duration = Duration::minutes(10),
        /// How many clients are remembered at most.
        pub clients: u32 = 100_000,
    }

    /// Requests are divided between pools: a canary, or blue and green.
    pub struct Split {
        /// The pools and their shares: `{ stable: 95, canary: 5 }`.
        pub pools: Map<Name, Spanned<u16>>,
        /// A cookie by which a client stays with its pool. Without it, each request is divided anew.
        pub cookie: Option<AffinityCookie> = None,
    }
}
