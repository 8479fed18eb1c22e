//! One try at one endpoint: a connection, the request, and the head of the response.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use transom_net::{Deadline, DialError, dial};

use super::{Forward, poll_gone};
use crate::body::Body;
use crate::client::h1::{Call, Failure, Heard, Waits};
use crate::client::pool::Connection;
use crate::codec::head::ResponseHead;
use crate::destination::{AttemptResult, Endpoint, Lease};
use crate::exchange::Exchange;
use crate::fault::{Blame, Code, Fault};
use crate::fields::Known;
use crate::headers::hop;
use crate::message::Request;
use crate::patience::within;
use crate::writer::Writer;

/// What came of a try, and when.
pub(super) struct Tried {
    pub(super) endpoint: Arc<Endpoint>,
    /// There were two at once.
    pub(super) hedged: bool,
    /// The endpoint of the other one, if that has failed.
    pub(super) also: Option<u64>,
    /// It went over a connection that was already open.
    pub(super) reused: bool,
    /// When a connection was opened for it.
    pub(super) connected: Option<Instant>,
    /// When the head of the response was there.
    pub(super) answered: Option<Instant>,
    pub(super) outcome: Result<(Call, ResponseHead), Failure>,
}

impl Forward {
    /// One try, which changes nothing of the exchange. `fresh` wants a connection of its own.
    pub(super) async fn attempt(
        &self,
        exchange: &Exchange,
        request: &Request,
        body: Body,
        lease: Lease,
        fresh: bool,
    ) -> Tried {
        let endpoint = lease.endpoint().clone();
        let over = self.retry.per_try.map(|time| {
            let mut over = exchange.local.worker.deadline();
            over.set(exchange.local.worker.now() + time);
            over
        });
        let kept = if fresh { None } else { kept(exchange, &endpoint) };
        let reused = kept.is_some();
        let mut connected = None;
        let connection = match kept {
            Some(connection) => connection,
            // Boxed, as it is rare: kept connections are the rule, and their exchanges stay small.
            None => match Box::pin(self.opened(exchange, &endpoint)).await {
                Ok((connection, at)) => {
                    connected = Some(at);
                    connection
                }
                Err(fault) => {
                    let lease = Some(lease);
                    let failure = Failure { fault, untouched: true, broken: false, body, lease };
                    return Tried {
                        endpoint,
                        hedged: false,
                        also: None,
                        reused,
                        connected,
                        answered: None,
                        outcome: Err(failure),
                    };
                }
            },
        };
        let timeouts = exchange.route().map(|r| r.timeouts).unwrap_or_default();
        let waits = Waits {
            response: timeouts.response,
            idle: timeouts.response_idle,
            send: timeouts.send_idle,
            by: exchange.ends_by(),
        };
        let (head, ending) = self.head(exchange, request, &endpoint, &body);
        let writer = Writer::new(head, ending, true);
        let local = exchange.local.clone();
        let mut call =
            Call::new(connection, lease, local, writer, body, waits, self.response_limits);
        let mut answered = None;
        let heard = converse(exchange, request, &mut call, over.as_ref(), &mut answered).await;
        let outcome = match heard {
            Ok(head) => Ok((call, head)),
            Err(fault) => Err(call.fail(fault)),
        };
        Tried { endpoint, hedged: false, also: None, reused, connected, answered, outcome }
    }

    /// A new connection, and since when it is open.
    async fn opened(
        &self,
        exchange: &Exchange,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(Connection, Instant), Fault> {
        let worker = &exchange.local.worker;
        let connect = exchange.route().map(|r| r.timeouts).unwrap_or_default().connect;
        let connect = self.retry.per_try.map_or(connect, |time| time.min(connect));
        let remaining = remaining(exchange).filter(|time| *time < connect);
        let limit = remaining.unwrap_or(connect);
        let stream = match within(worker, limit, dial(&endpoint.target, worker)).await {
            Some(dialed) => dialed.map_err(|e| dial_fault(&e))?,
            None if remaining.is_some() => return Err(too_long("no connection")),
            None => {
                return Err(Fault::new(Code::ConnectTimeout, "no connection within the timeout"));
            }
        };
        let now = Instant::now();
        Ok((Connection::new(stream, &endpoint.keep_alive, now), now))
    }
}

impl Tried {
    /// Ends a try beside which another one goes on. The endpoint that has failed.
    pub(super) fn end(self) -> Option<u64> {
        let failure = self.outcome.err()?;
        if let Some(lease) = failure.lease {
            lease.end(result_of(&failure.fault));
        }
        Some(self.endpoint.key)
    }
}

/// A connection to the endpoint that lies idle on this worker.
fn kept(exchange: &Exchange, endpoint: &Endpoint) -> Option<Connection> {
    exchange.local.idle.borrow_mut().take(endpoint, exchange.local.worker.now())
}

/// Sends the request and waits for the final head; interim ones go to the client at once.
async fn converse(
    exchange: &Exchange,
    request: &Request,
    call: &mut Call,
    over: Option<&Deadline>,
    answered: &mut Option<Instant>,
) -> Result<ResponseHead, Fault> {
    let client = exchange.client_side.as_ref();
    let mut watch = |cx: &mut Context<'_>| {
        if over.is_some_and(|over| over.poll_passed(cx).is_ready()) {
            let detail = "no response within the time of one attempt";
            return Poll::Ready(Fault::new(Code::ResponseTimeout, detail));
        }
        poll_gone(exchange, cx)
    };
    loop {
        match call.head(&mut watch).await? {
            Heard::Interim(mut head) => {
                // RS-09: a 100 that nobody asked for goes no further.
                if head.status != 100
                    && let Some(client) = client
                {
                    hop::take_off_response(&mut head.fields);
                    head.fields.remove(Known::ContentLength);
                    client.send_interim(head.status, &head.fields);
                }
            }
            Heard::Final(head) => {
                *answered = Some(Instant::now());
                call.accept(&head, &request.method)?;
                return Ok(head);
            }
        }
    }
}

/// What a fault says about the endpoint: nothing, where it is not to blame.
pub(super) fn result_of(fault: &Fault) -> AttemptResult {
    match fault.code().row().blame {
        Blame::Upstream => AttemptResult::Failed(fault.code()),
        Blame::Client | Blame::Transom => AttemptResult::Abandoned,
    }
}

/// What is left of the time for the whole exchange, where that is limited.
pub(super) fn remaining(exchange: &Exchange) -> Option<Duration> {
    Some(exchange.ends_by()?.saturating_duration_since(exchange.local.worker.now()))
}

pub(super) fn too_long(what: &str) -> Fault {
    Fault::new(Code::ResponseTimeout, format!("{what} within the time of the exchange"))
}

fn dial_fault(error: &DialError) -> Fault {
    use std::error::Error as _;
    use std::io::ErrorKind;
    let cause = error.source().map(|e| e.to_string()).unwrap_or_default();
    let detail = format!("{error}: {cause}");
    match error {
        DialError::Connect(_, e) if e.kind() == ErrorKind::ConnectionRefused => {
            Fault::new(Code::ConnectRefused, detail)
        }
        DialError::Connect(_, e) if e.kind() == ErrorKind::TimedOut => {
            Fault::new(Code::ConnectTimeout, detail)
        }
        DialError::Connect(..) => Fault::new(Code::ConnectFailed, detail),
        DialError::Tls(..) => Fault::new(Code::TlsFailed, detail),
    }
}
