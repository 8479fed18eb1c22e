//! The facts of one exchange, gathered while it runs and given to the sinks at its end.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use transom_net::carry::Passed;

use crate::destination::Endpoint;
use crate::exchange::{Exchange, RequestId};
use crate::fault::{Code, Fault};
use crate::fields::Fields;
use crate::message::Version;

/// Where finished exchanges go: the access log, metrics, analytics.
pub trait Sink: Send + Sync {
    /// Called once per exchange before anything is done for it, with the fields of its request:
    /// what a sink wants of them for the record it takes now.
    fn began(&self, _exchange: &mut Exchange, _fields: &Fields) {}

    /// Called when the exchange becomes a tunnel; its record comes when that ends.
    fn tunnelled(&self, _exchange: &Exchange) {}

    /// Called now and then with what has happened on the HTTP/2 connections of one worker.
    fn http2(&self, _worker: usize, _tally: &Http2Tally) {}

    /// Called once per exchange, on the worker that carried it. Must not block or wait.
    fn record(&self, exchange: &Exchange);

    /// Called once per relayed connection or flow, likewise.
    fn relayed(&self, _relayed: &Relayed) {}
}

/// What became of a TCP connection or a UDP flow that was carried without being read.
#[derive(Debug)]
pub struct Relayed {
    pub id: RequestId,
    /// The number of the worker that carried it.
    pub worker: usize,
    pub listener: Arc<str>,
    pub generation: u64,
    pub transport: Transport,
    /// Who connected, or whom the PROXY protocol names.
    pub client: SocketAddr,
    /// The name the client asked for in TLS, which a stranger chose.
    pub name: Option<Box<str>>,
    /// The version of TLS, where it ended here.
    pub tls: Option<&'static str>,
    pub route: Option<Arc<str>>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How often an endpoint was tried.
    pub attempts: u16,
    pub started: Instant,
    /// A connection to the endpoint was there.
    pub connected: Option<Instant>,
    pub passed: Passed,
    /// Of a flow.
    pub datagrams: Passed,
    pub end: RelayEnd,
    pub fault: Option<Code>,
    /// Why, for the log only.
    pub detail: Option<Cow<'static, str>>,
}

/// How bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

/// How a relayed connection or flow ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayEnd {
    /// Both sides closed in order, or a flow had all its replies.
    Closed,
    /// The client broke off.
    Client,
    /// The endpoint broke off, or could not be reached.
    Endpoint,
    /// Nothing moved for too long.
    Idle,
    /// It was refused.
    Refused,
    /// It was open when the grace or the drain of its endpoint ended, or made room for another.
    #[default]
    CutOff,
}

impl RelayEnd {
    pub const ALL: [RelayEnd; 6] = [
        RelayEnd::Closed,
        RelayEnd::Client,
        RelayEnd::Endpoint,
        RelayEnd::Idle,
        RelayEnd::Refused,
        RelayEnd::CutOff,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            RelayEnd::Closed => "closed",
            RelayEnd::Client => "client",
            RelayEnd::Endpoint => "endpoint",
            RelayEnd::Idle => "idle",
            RelayEnd::Refused => "refused",
            RelayEnd::CutOff => "cut-off",
        }
    }
}

/// What has happened on HTTP/2 connections beside their exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Tally {
    /// Connections that have begun, and that have ended.
    pub connections: u32,
    pub ended: u32,
    /// RST_STREAM frames received and sent.
    pub resets_by_client: u32,
    pub resets_by_us: u32,
    /// GOAWAY frames sent, without an error and with one.
    pub goaways: u32,
    pub goaways_for_errors: u32,
}

/// What became of an exchange. Times are instants; a phase that was not reached has none.
#[derive(Debug, Default)]
pub struct Record {
    /// Status sent to the client; 0 when nothing could be sent.
    pub status: u16,
    pub fault: Option<Code>,
    /// Why, for the log only.
    pub detail: Option<Cow<'static, str>>,
    /// How long it waited for members with room, or for a server, where it did.
    pub queued: Option<Duration>,
    /// How often an endpoint was tried.
    pub attempts: u16,
    /// The endpoint of the last attempt.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Whether the last attempt went over a connection that was already open.
    pub reused: bool,
    /// What was spoken to that endpoint, where there was a connection.
    pub upstream: Option<Version>,
    /// Bytes of body received from the client and sent to it.
    pub body_in: u64,
    pub body_out: u64,
    /// A connection to the endpoint was there.
    pub connected: Option<Instant>,
    /// The head of the endpoint's response was there.
    pub answered: Option<Instant>,
    /// The last byte was sent.
    pub ended: Option<Instant>,
    /// The connection became a tunnel.
    pub tunnel: bool,
    /// The first policy that would have refused it, had it been told to do more than try.
    pub dry_run: Option<Arc<str>>,
    /// `User-Agent`, where a sink asked for it.
    pub agent: Option<Box<[u8]>>,
}

impl Record {
    /// Remembers for the log what is no fault, such as what a rule would have refused.
    pub fn remark(&mut self, what: impl Into<Cow<'static, str>>) {
        if self.detail.is_none() {
            self.detail = Some(what.into());
        }
    }

    /// Remembers a fault, which the first one keeps: what follows from it is not the cause.
    pub fn fail(&mut self, fault: Fault) {
        if self.fault.is_none() {
            self.fault = Some(fault.code());
            self.detail = Some(fault.into_detail());
        }
    }

    /// Remembers that a policy of this name would have refused it, and only tried.
    pub fn would_refuse(&mut self, policy: &Arc<str>) {
        self.dry_run.get_or_insert_with(|| policy.clone());
    }
}
