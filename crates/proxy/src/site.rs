//! What one HTTP listener serves: its routes, limits and answer style.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ipnet::IpNet;
use transom_net::tls::server::PolicyId;
use transom_settings::HeaderName;

use crate::action::Action;
use crate::body::bandwidth::Bandwidth;
use crate::codec::head::HeadLimits;
use crate::headers::forwarded::ForwardedStyle;
use crate::normalize::PathRules;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::record::Sink;
use crate::route::Router;
use crate::serve::ceilings::Ceilings;

/// Everything a request needs to be answered on one listener. Never changes: a reload makes
/// another one.
pub struct Site {
    /// The listener's name.
    pub name: Arc<str>,
    /// Counts the configurations since the start.
    pub generation: u64,
    pub router: Router,
    /// In the order of the file; the router gives indices into it.
    pub routes: Vec<Route>,
    pub limits: Limits,
    /// On requests; none where nothing is limited.
    pub ceilings: Option<Ceilings>,
    pub timeouts: Timeouts,
    /// Nothing where HTTP/2 is not spoken.
    pub http2: Option<Http2>,
    /// Which certificates clients are asked for; nothing without TLS.
    pub client_auth: Option<PolicyId>,
    pub paths: PathRules,
    /// Peers that may say for whom they speak.
    pub trusted: Vec<IpNet>,
    pub forwarded: ForwardedStyle,
    pub request_id: RequestIdRule,
    /// Fields in which endpoints are told who asks: whoever sends one lies.
    pub vouched: Arc<[HeaderName]>,
    pub pages: Pages,
    pub sinks: Vec<Arc<dyn Sink>>,
}

impl Site {
    /// One without routes, for exchanges that no client began: their endpoints are told of none.
    pub fn of_nobody() -> Self {
        Site {
            name: Arc::from(""),
            generation: 0,
            router: Router::default(),
            routes: Vec::new(),
            limits: Limits::default(),
            ceilings: None,
            timeouts: Timeouts::default(),
            http2: None,
            client_auth: None,
            paths: PathRules::default(),
            trusted: Vec::new(),
            forwarded: ForwardedStyle { x_forwarded: false, forwarded: false, via: false },
            request_id: RequestIdRule { field: None, trust: false },
            vouched: Arc::default(),
            pages: Pages::default(),
            sinks: Vec::new(),
        }
    }

    /// Whether this connection was made when clients were asked for other certificates than now: what
    /// its client has shown then, or has not, says nothing any more.
    pub fn outdates(&self, peer: &Peer) -> bool {
        match (&peer.tls, self.client_auth) {
            (Some(made), Some(now)) => made.client_auth != now,
            _ => false,
        }
    }
}

/// A match's policies and its one action.
pub struct Route {
    /// As given, or made of its place.
    pub name: Arc<str>,
    /// In running order.
    pub chain: Vec<Arc<dyn Policy>>,
    pub action: Box<dyn Action>,
    /// Header fields that `{header.NAME}` in the route asks for.
    pub keep: Vec<HeaderName>,
    /// Largest request body, bytes; `None` is unlimited.
    pub body_limit: Option<u64>,
    /// How fast bodies may pass; none where they pass as fast as they can.
    pub bandwidth: Option<Arc<Bandwidth>>,
    pub timeouts: Timeouts,
    /// Who goes first where requests wait for a member: the lower before the higher.
    pub priority: u8,
    pub pages: Pages,
}

/// How much one client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub head: HeadLimits,
    /// Requests on one connection; the last response says `Connection: close`.
    pub requests: u64,
    /// How old a connection may become before its next response closes it.
    pub age: Duration,
    /// Open connections of the listener, over all workers.
    pub connections: usize,
    /// Open connections of one client address (IPv6: of its /64).
    pub connections_per_client: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head: HeadLimits::REQUEST,
            requests: 1000,
            age: Duration::from_secs(3600),
            connections: 50_000,
            connections_per_client: 512,
        }
    }
}

/// What HTTP/2 allows a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// A client without TLS may begin with it, knowing that it is spoken (RFC 9113 §3.3).
    pub prior_knowledge: bool,
    /// Streams that one connection has at once.
    pub streams: u32,
    /// Bytes of request bodies that one stream, and one connection, may have on the way to us.
    pub stream_window: u32,
    pub connection_window: u32,
    /// Streams reset in ten seconds, by the client before their response or by us for its faults.
    pub resets: u32,
    /// PING and SETTINGS frames a second; ten times as many at once.
    pub control_frames: u32,
    /// How often a connection with open streams is asked whether it is still there.
    pub ping: Option<Duration>,
}

impl Default for Http2 {
    fn default() -> Self {
        Http2 {
            prior_knowledge: true,
            streams: 100,
            stream_window: 64 << 10,
            connection_window: 1 << 20,
            resets: 100,
            control_frames: 10,
            ping: None,
        }
    }
}

/// How long to wait for what. `None` is for ever, where the file says `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the whole head, from its first byte.
    pub header: Duration,
    /// For the first byte of a new connection.
    pub first_byte: Duration,
    /// For the next request on an open connection.
    pub keep_alive: Duration,
    /// Between two reads of a request body.
    pub body_idle: Option<Duration>,
    /// Slowest request body, bytes a second, after the first `body_idle`; 0 is any.
    pub body_min_rate: u64,
    /// Without progress while sending to the client.
    pub send_idle: Option<Duration>,
    pub connect: Duration,
    /// From the end of the request to the head of the response.
    pub response: Option<Duration>,
    /// Between two reads of a response body.
    pub response_idle: Option<Duration>,
    /// Without a byte in either direction of a tunnel.
    pub tunnel_idle: Option<Duration>,
    /// From the end of the request's head to the last byte of the response. Not for tunnels.
    pub request: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        const fn s(n: u64) -> Duration {
            Duration::from_secs(n)
        }
        Timeouts {
            header: s(10),
            first_byte: s(10),
            keep_alive: s(60),
            body_idle: Some(s(30)),
            body_min_rate: 240,
            send_idle: Some(s(30)),
            connect: s(2),
            response: Some(s(30)),
            response_idle: Some(s(60)),
            tunnel_idle: Some(s(3600)),
            request: None,
        }
    }
}

/// Which field carries the request id, and whether anyone may give one. Trusted peers always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIdRule {
    pub field: Option<String>,
    pub trust: bool,
}

impl Default for RequestIdRule {
    fn default() -> Self {
        RequestIdRule { field: Some("X-Request-Id".into()), trust: false }
    }
}

/// Own pages for answers, by status; 4 and 5 stand for all of their class.
#[derive(Clone, Debug, Default)]
pub struct Pages(pub HashMap<u16, Page>);

#[derive(Clone, Debug)]
pub struct Page {
    pub content_type: String,
    pub body: Bytes,
}

impl Pages {
    /// The page for this status: its own, else that of its class.
    pub fn for_status(&self, status: u16) -> Option<&Page> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&status).or_else(|| self.0.get(&(status / 100)))
    }
}

/// The current site of a listener, as one worker sees it.
///
/// Workers share only the swap; each keeps a pointer of its own to what it last saw there, so a
/// request costs no write to memory that another core reads.
#[derive(Clone)]
pub struct Sites(Rc<Seen>);

struct Seen {
    current: Arc<ArcSwap<Site>>,
    last: RefCell<Rc<Arc<Site>>>,
    address: Cell<*const Site>,
}

impl Sites {
    pub fn new(current: Arc<ArcSwap<Site>>) -> Self {
        let now = current.load_full();
        let address = Cell::new(Arc::as_ptr(&now));
        Sites(Rc::new(Seen { current, last: RefCell::new(Rc::new(now)), address }))
    }

    /// The site to serve the next request with.
    pub fn current(&self) -> Rc<Arc<Site>> {
        let guard = self.0.current.load();
        let address = Arc::as_ptr(&guard);
        // The address of a site that this worker still holds cannot be that of another one.
        if address != self.0.address.get() {
            self.0.address.set(address);
            *self.0.last.borrow_mut() = Rc::new(Arc::clone(&guard));
        }
        self.0.last.borrow().clone()
    }
}
