//! Settings of a listener.

use std::path::PathBuf;

use transom_settings::{
    Cidr, HeaderName, List, ListenAddress, Map, OneOrMany, Spanned, StatusPattern, Switch, settings,
};

use super::{Addresses, Http2, Limits, Route, Tcp, Timeouts, Tls, Udp};

settings! {
    /// An address and protocol on which connections are accepted, and what is done with them:
    /// `routes` for HTTP, `tcp` or `udp`.
    pub struct Listener {
        /// Where to accept: `0.0.0.0:443`, `:443` for every address, `unix:/path`, or several.
        pub address: OneOrMany<Spanned<ListenAddress>>,
        /// Who may connect, by address. Anyone else is turned away before a byte is read.
        pub clients: Addresses = Addresses::default(),
        /// What is spoken.
        pub protocol: Protocol = Protocol::Http,
        /// Encryption. Without it, connections are plain.
        pub tls: Option<Spanned<Tls>> = None,
        /// The PROXY protocol, in which a balancer before this one says who the client is.
        pub proxy_protocol: Option<ProxyProtocol> = None,
        /// Proxies whose word about the client (`X-Forwarded-For` and the like) is believed. From
        /// anyone else such headers are removed.
        pub trusted_proxies: Vec<Spanned<Cidr>> = Vec::new(),
        /// What endpoints are told about the client and the way.
        pub forwarded: ForwardedHeaders = ForwardedHeaders::default(),
        /// The id that each request carries through logs, endpoints and answers.
        pub request_id: RequestId = RequestId::default(),
        /// HTTP/2 toward clients: inside TLS where they ask for it, and in clear where they begin
        /// with it. `off` leaves HTTP/1.1 only.
        pub http2: Switch<Http2> = Switch::On(Http2::default()),
        /// How much a client or an endpoint may send.
        pub limits: Limits = Limits::default(),
        /// How long each part of an exchange may take.
        pub timeouts: Timeouts = Timeouts::default(),
        /// Whether `//` in a path becomes `/` before matching and forwarding.
        pub merge_slashes: bool = true,
        /// What becomes of `%2f` and `%5c` in a path.
        pub encoded_slashes: Spanned<EncodedSlashes> = EncodedSlashes::Refuse.into(),
        /// Files that are sent in place of Transom's own answers, by status: `404` or `5xx`.
        pub error_pages: Map<StatusPattern, Spanned<PathBuf>> = Map::new(),
        /// What is served by HTTP. Among the routes that match, the most specific one wins; see
        /// `transom explain`.
        pub routes: Spanned<List<Spanned<Route>>> = Spanned::default(),
        /// In place of routes: TCP connections are carried as they are.
        pub tcp: Option<Spanned<Tcp>> = None,
        /// In place of routes: UDP is carried.
        pub udp: Option<Spanned<Udp>> = None,
    }

    /// What is spoken on a listener.
    pub enum Protocol {
        /// HTTP.
        Http = "http",
    }

    /// The PROXY protocol, versions 1 and 2.
    pub struct ProxyProtocol {
        /// Who may send it. From anyone else it is refused.
        pub from: OneOrMany<Cidr>,
        /// Whether those may leave it out.
        pub optional: bool = false,
    }

    /// What endpoints are told about the client and the way.
    pub struct ForwardedHeaders {
        /// Send `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
        pub x_forwarded: bool = true,
        /// Send `Forwarded` (RFC 7239).
        pub forwarded: bool = false,
        /// Send `Via` (RFC 9110 §7.6.3), to endpoints and to clients.
        pub via: bool = false,
    }

    /// The id that each request carries.
    pub struct RequestId {
        /// The header that holds it.
        pub header: HeaderName = HeaderName::known("x-request-id"),
        /// Whether an id that any client sends is kept. Trusted proxies' always are.
        pub trust: bool = false,
    }

    /// What becomes of `%2f` and `%5c` in a path.
    pub enum EncodedSlashes {
        /// They are passed on. Programs behind may read them as slashes where routes did not.
        Keep = "keep",
        /// The request is answered with 400.
        Refuse = "refuse",
    }
}
