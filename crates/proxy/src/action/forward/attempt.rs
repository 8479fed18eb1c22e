//! One try at one endpoint: a connection, the request, and the head of the response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use transom_net::{Behalf, Deadline, DialError, Stream, dial, dial_for};

use super::{Forward, poll_gone};
use crate::announce::Client;
use crate::body::Body;
use crate::body::replay::replayable;
use crate::client::h2::{self, Obtained, Slot, obtain};
use crate::client::pool::{Bound, Connection};
use crate::client::{Call, Failure, Heard, Waits, dial_fault, h1, places};
use crate::codec::head::ResponseHead;
use crate::destination::{AttemptResult, Endpoint, Lease};
use crate::exchange::Exchange;
use crate::fault::{Blame, Code, Fault};
use crate::fields::Known;
use crate::headers::{hop, websocket};
use crate::message::{Request, Version};
use crate::patience::within;
use crate::peer::Peer;
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
    /// What was spoken, where there was a connection.
    pub(super) version: Option<Version>,
    pub(super) outcome: Result<(Call, ResponseHead), Failure>,
}

impl Forward {
    /// One try, which changes nothing of the exchange. `fresh` wants a connection of its own.
    #[allow(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
    pub(super) fn attempt(
        &self,
        exchange: &Exchange,
        request: &Request,
        body: Body,
        lease: Lease,
        fresh: bool,
    ) -> impl Future<Output = Tried> {
        async move {
            let endpoint = lease.endpoint().clone();
            let over = self.retry.per_try.map(|time| {
                let mut over = exchange.local.worker.deadline();
                over.set(exchange.local.worker.now() + time);
                over
            });
            let kept = kept(exchange, request, &endpoint, fresh);
            let mut reused = kept.is_some();
            let mut connected = None;
            let way = match kept {
                Some(way) => way,
                // Boxed, as it is rare: kept connections are the rule, and their exchanges stay small.
                None => match Box::pin(self.opened(exchange, request, &endpoint)).await {
                    Ok((way, at)) => {
                        connected = Some(at);
                        reused = matches!(&way, Way::Http2(slot) if slot.reused);
                        way
                    }
                    Err(fault) => {
                        let lease = Some(lease);
                        let failure =
                            Failure { fault, untouched: true, broken: false, body, lease };
                        return Tried {
                            endpoint,
                            hedged: false,
                            also: None,
                            reused,
                            connected,
                            answered: None,
                            version: None,
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
            let (version, begun) = match way {
                Way::Http1(connection) => {
                    let (head, ending) = self.head(exchange, request, &endpoint, &body);
                    let writer = Writer::new(head, ending, true);
                    let (local, limits) = (exchange.local.clone(), self.response_limits);
                    let call = h1::Call::new(connection, lease, local, writer, body, waits, limits);
                    // Boxed here, where it is made, as its body is to be in the end: moves are cheap.
                    (Some(Version::Http11), Ok(Call::H1(Box::new(call))))
                }
                Way::Http2(slot) => {
                    (Some(Version::Http2), self.begin(exchange, request, slot, lease, body, waits))
                }
            };
            let mut answered = None;
            let outcome = match begun {
                Ok(mut call) => {
                    let over = over.as_ref();
                    match converse(exchange, request, &mut call, over, &mut answered).await {
                        Ok(mut head) => {
                            if head.status == 101 && version == Some(Version::Http2) {
                                websocket::accept(&request.fields, &mut head.fields);
                            }
                            Ok((call, head))
                        }
                        Err(fault) => Err(call.fail(fault)),
                    }
                }
                Err(failure) => Err(failure),
            };
            Tried {
                endpoint,
                hedged: false,
                also: None,
                reused,
                connected,
                answered,
                version,
                outcome,
            }
        }
    }

    /// Begins a stream of HTTP/2 with the request.
    fn begin(
        &self,
        exchange: &Exchange,
        request: &Request,
        slot: Slot,
        lease: Lease,
        mut body: Body,
        waits: Waits,
    ) -> Result<Call, Failure> {
        let head = match self.head_h2(exchange, request, lease.endpoint(), &body) {
            Ok(head) => head,
            Err(fault) => {
                let lease = Some(lease);
                return Err(Failure { fault, untouched: false, broken: false, body, lease });
            }
        };
        // A stream that is refused may be sent again whatever its method is, if its body is there.
        if !body.can_rewind() {
            body = replayable(body);
        }
        let limits = self.response_limits;
        let call = h2::Call::new(slot, head, lease, &exchange.local, body, waits, limits)?;
        Ok(Call::H2(Box::new(call)))
    }

    /// A new connection, or a place on one that others have opened meanwhile; and since when.
    async fn opened(
        &self,
        exchange: &Exchange,
        request: &Request,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(Way, Instant), Fault> {
        let worker = &exchange.local.worker;
        let connect = exchange.route().map(|r| r.timeouts).unwrap_or_default().connect;
        let connect = self.retry.per_try.map_or(connect, |time| time.min(connect));
        let remaining = remaining(exchange).filter(|time| *time < connect);
        let limit = remaining.unwrap_or(connect);
        if endpoint.http2.is_some() {
            match obtain(&exchange.local, endpoint, limit).await {
                Ok(Obtained::Stream(slot)) => {
                    if request.upgrade.is_none()
                        || within(worker, limit, slot.takes_tunnels()).await == Some(true)
                    {
                        return Ok((Way::Http2(slot), Instant::now()));
                    }
                    // A tunnel that cannot be a stream has a connection for itself.
                }
                Ok(Obtained::Http1(connection)) => {
                    return Ok((Way::Http1(connection), Instant::now()));
                }
                Err(fault) if fault.code() == Code::ConnectTimeout && remaining.is_some() => {
                    return Err(too_long("no connection"));
                }
                Err(fault) => return Err(fault),
            }
        }
        let places = places::take(&exchange.local, endpoint, limit).await?;
        let client = bound(exchange, endpoint);
        let dialing = async {
            match client {
                None => dial(&endpoint.target, worker).await,
                Some(client) => dial_bound(exchange, endpoint, client).await,
            }
        };
        let mut stream = match within(worker, limit, dialing).await {
            Some(dialed) => dialed.map_err(|e| dial_fault(&e))?,
            None if remaining.is_some() => return Err(too_long("no connection")),
            None => {
                return Err(Fault::new(Code::ConnectTimeout, "no connection within the timeout"));
            }
        };
        stream.hold(places);
        let now = Instant::now();
        let connection = Connection::new(stream, &endpoint.keep_alive, client, now);
        Ok((Way::Http1(connection), now))
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

/// What carries one exchange.
enum Way {
    Http1(Box<Connection>),
    Http2(Slot),
}

/// A connection to the endpoint that this worker has: one with room, or one that lies idle.
fn kept(exchange: &Exchange, request: &Request, endpoint: &Endpoint, fresh: bool) -> Option<Way> {
    let local = &exchange.local;
    if endpoint.http2.is_some()
        && let Some(slot) = local.http2.take(local, endpoint)
        && (request.upgrade.is_none() || slot.is_for_tunnels())
    {
        return Some(Way::Http2(slot));
    }
    if fresh {
        return None;
    }
    let client = bound(exchange, endpoint);
    local.idle.borrow_mut().take(endpoint, client, local.worker.now()).map(Way::Http1)
}

/// For whom a connection is, where the endpoint is told: the client that asks, or whom a trusted
/// proxy speaks for, whose port nobody knows.
fn bound(exchange: &Exchange, endpoint: &Endpoint) -> Option<Bound> {
    if !endpoint.is_told_of_clients() {
        return None;
    }
    let peer = &exchange.peer;
    let source = match exchange.client == peer.ip() {
        true => peer.address,
        false => SocketAddr::new(exchange.client, 0),
    };
    Some((source, peer.local))
}

/// A connection of its own for each client, which the endpoint is told of first.
async fn dial_bound(
    exchange: &Exchange,
    endpoint: &Endpoint,
    client: Bound,
) -> Result<Stream, DialError> {
    let id = exchange.id.to_string();
    let header = endpoint.announce.as_ref().map_or(Vec::new(), |announce| {
        let known = Client::of(&exchange.peer, id.as_bytes());
        announce.stream(&Client { source: client.0, destination: client.1, ..known })
    });
    let address = Some(client.0).filter(|address| *address != Peer::NOWHERE);
    let behalf = Behalf { client: address, header: &header };
    dial_for(&endpoint.target, behalf, &exchange.local.worker).await
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
                let now = Instant::now();
                *answered = Some(now);
                call.accept(&head, &request.method, now)?;
                return Ok(head);
            }
        }
    }
}

/// What a fault says about the endpoint: nothing, where it is not to blame.
pub(super) fn result_of(fault: &Fault) -> AttemptResult {
    match fault.code().row().blame {
        // it was not asked: it has all the connections it may have
        _ if fault.code() == Code::QueueTimeout => AttemptResult::Abandoned,
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
