//! The facts of one exchange, gathered while it runs and given to the sinks at its end.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use crate::destination::Endpoint;
use crate::exchange::Exchange;
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
}

/// What has happened on HTTP/2 connections beside their exchanges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2Tally {
    pub connections: u32,
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
    /// `User-Agent`, where a sink asked for it.
    pub agent: Option<Box<[u8]>>,
}

impl Record {
    /// Remembers a fault, which the first one keeps: what follows from it is not the cause.
    pub fn fail(&mut self, fault: Fault) {
        if self.fault.is_none() {
            self.fault = Some(fault.code());
            self.detail = Some(fault.into_detail());
        }
    }
}
