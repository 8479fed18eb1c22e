//! Settings of listeners that carry TCP and UDP without reading it.

use std::fmt;
use std::net::IpAddr;

use transom_settings::{
    Cidr, Duration, FromText, HostPattern, Limit, List, Name, OneOrMany, Refusal, Spanned,
    json::{Value as Json, json},
    quote, settings,
};

use super::{Target, Timeout};

settings! {
    /// Carries TCP connections as they are, whatever is spoken in them: `tcp: POOL`, or routes that
    /// tell them apart by the name and protocol that a TLS client asks for. With `tls` on the
    /// listener, TLS ends here and what is inside is carried; without, it passes through.
    pub struct Tcp short(forward) {
        /// Where every connection goes: the name of a pool, or an address.
        pub forward: Option<Spanned<Target>> = None,
        /// Where connections go, in place of `forward`. The most specific route that matches wins:
        /// a name before a pattern, a pattern before none. Where none matches, the connection is
        /// closed.
        pub routes: List<Spanned<TcpRoute>> = List::default(),
        /// A connection on which nothing moves is closed after this time.
        pub idle: Timeout = Limit::At(Duration::minutes(10)).into(),
        /// The same for one whose client or endpoint has already ended its direction.
        pub half_closed: Timeout = Limit::At(Duration::minutes(1)).into(),
        /// How often another endpoint is tried where one cannot be connected to.
        pub connect_retries: u32 = 3,
    }

    /// Where some of the connections go.
    pub struct TcpRoute {
        /// A name for logs.
        pub name: Option<Spanned<Name>> = None,
        /// The connections this is for. Without it, all that no other route is for.
        pub r#match: TcpMatch = TcpMatch::default(),
        /// Where they go: the name of a pool, or an address.
        pub forward: Spanned<Target>,
    }

    /// The connections a route is for: all that is given must hold, of each list one.
    pub struct TcpMatch {
        /// Names that a TLS client asks for: `shop.example`, `*.shop.example` or `*`.
        pub sni: Option<OneOrMany<Spanned<HostPattern>>> = None,
        /// Protocols that a TLS client offers, such as `h2`.
        pub alpn: Option<OneOrMany<Alpn>> = None,
        /// Whether the client speaks TLS at all.
        pub tls: Option<bool> = None,
        /// Addresses of clients.
        pub client: Option<OneOrMany<Cidr>> = None,
    }

    /// Carries UDP: `udp: POOL`. The datagrams between one address of a client and one of ours are a
    /// flow, which has one endpoint.
    pub struct Udp short(forward) {
        /// Where flows go: the name of a pool, or an address.
        pub forward: Spanned<Target>,
        /// What is balanced.
        pub balance: UdpBalance = UdpBalance::Flow,
        /// How long a flow lasts on which nothing passes.
        pub idle: Duration = Duration::seconds(30),
        /// Replies that are due for each datagram of a client, after which the flow ends: `1` for
        /// DNS. An endpoint that sends none in `idle` has failed. `0` where none ever comes.
        pub replies: Option<u32> = None,
        /// How many times the bytes of its datagrams a client is sent at most in a flow: its
        /// address may be somebody else's, who would be flooded.
        pub max_amplification: Spanned<Limit<u32>> = Limit::At(100).into(),
    }

    /// What is balanced.
    pub enum UdpBalance {
        /// Flows: all datagrams between two addresses go to one endpoint.
        Flow = "flow",
        /// Each datagram by itself, for protocols of one question and one answer.
        Datagram = "datagram",
    }

    /// The header of the PROXY protocol that tells endpoints who the client is.
    pub struct SendProxyProtocol short(version) {
        /// The version, `v1` or `v2`.
        pub version: Spanned<ProxyVersion>,
        /// What `v2` tells beside the addresses.
        pub tlvs: Vec<ProxyFact> = Vec::new(),
    }

    /// A version of the PROXY protocol.
    pub enum ProxyVersion {
        /// One line of text: addresses of TCP only.
        V1 = "v1",
        /// Binary: TCP and UDP, with extensions.
        V2 = "v2",
    }

    /// An extension of version 2 of the PROXY protocol.
    pub enum ProxyFact {
        /// The name that the client asked for in TLS.
        Authority = "authority",
        /// The protocol that was agreed in TLS, or the first one that the client offered.
        Alpn = "alpn",
        /// Where TLS ended here: its version and cipher, and the name in the client's certificate.
        Ssl = "ssl",
        /// The id that stands in the access log.
        UniqueId = "unique-id",
        /// A checksum of the header.
        Checksum = "crc32c",
    }
}

/// The name of a protocol inside TLS (RFC 7301).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alpn(String);

impl Alpn {
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromText for Alpn {
    const WHAT: &'static str = "the name of a protocol such as `h2`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text.len() {
            1..=255 => Ok(Alpn(text.to_owned())),
            _ => {
                let what = format!("{} is not the name of a protocol", quote(text));
                Err(Refusal::new(what).hint("it has 1 to 255 bytes, such as `h2`"))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "examples": ["h2", "http/1.1"] })
    }

    fn to_json(&self) -> Json {
        self.0.clone().into()
    }
}

impl fmt::Display for Alpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address that connections to endpoints come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFrom {
    /// Whichever the system takes.
    Any,
    Ip(IpAddr),
    /// The client's own.
    Client,
}

impl FromText for ConnectFrom {
    const WHAT: &'static str = "`any`, an IP address of this machine or `client`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "any" => Ok(ConnectFrom::Any),
            "client" => Ok(ConnectFrom::Client),
            text => text.parse().map(ConnectFrom::Ip).map_err(|_| {
                let what = format!("{} is not an address to connect from", quote(text));
                Refusal::new(what).hint("write an IP address of this machine, `client` or `any`")
            }),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["any", "10.0.0.5", "client"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for ConnectFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectFrom::Any => f.write_str("any"),
            ConnectFrom::Ip(ip) => ip.fmt(f),
            ConnectFrom::Client => f.write_str("client"),
        }
    }
}
