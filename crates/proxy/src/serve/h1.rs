//! HTTP/1.0 and 1.1: one connection, its exchanges one after the other.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use transom_net::pressure::Level;
use transom_net::{Size, Stream};

use super::admit::{self, Admitted};
use super::h1_request_body::{RequestBody, Wire};
use super::steps::{self, From};
use super::{Serving, ceilings, h2};
use crate::answer;
use crate::body::Body;
use crate::chain;
use crate::codec::{Decoder, Piece, head};
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::fields::Known;
use crate::message::{Method, Request, Response, Version, reason};
use crate::patience::Patience;
use crate::peer::Peer;
use crate::site::Site;
use crate::writer::{Ending, Stop, Writer};

/// Of a request body that nobody wanted, so much is read to keep the connection, for so long.
const DRAIN_BYTES: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// After a last response, so long the client may take to read it before the connection goes.
const LINGER: Duration = Duration::from_secs(2);
/// How long an idle connection waits for one more request while its listener drains.
const LAST_CALL: Duration = Duration::from_secs(5);

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    /// Everything was read and written.
    Close,
    /// The client may still be sending: let it read our last words first.
    Linger,
    /// The response is cut off: the client must see that.
    Abort,
    /// The client is not to see anything.
    Vanish,
}

/// Serves one connection until it ends.
pub async fn serve(stream: Stream, peer: Rc<Peer>, serving: Rc<Serving>) {
    let wire = Wire::new(stream);
    let opened = serving.local.worker.now();
    let mut patience = Patience::new(&serving.local.worker);
    let mut served = 0;
    loop {
        if !wait_for_request(&wire, &serving, &mut patience, served == 0).await {
            break;
        }
        let site = serving.sites.current();
        if served == 0 && begins_as_h2(&wire, &site, &mut patience).await {
            // Boxed, so that a connection of HTTP/1 is not the larger for it.
            if let Some(stream) = wire.into_stream() {
                Box::pin(h2::serve(stream, peer, serving)).await;
            }
            return;
        }
        served += 1;
        let age = serving.local.worker.now().saturating_duration_since(opened);
        let last = served >= site.limits.requests || age >= site.limits.age;
        // Boxed, so that an idle connection costs no more than this loop.
        let fate = match Box::pin(one(&wire, &peer, &serving, &site, last)).await {
            Ok(fate) => fate,
            Err(unread) => Box::pin(refuse(&wire, &peer, &serving, site, unread)).await,
        };
        match fate {
            Fate::Keep => {}
            Fate::Close => {
                close(&wire, &mut patience).await;
                return;
            }
            Fate::Linger => {
                linger(&wire, &mut patience).await;
                return;
            }
            fate @ (Fate::Abort | Fate::Vanish) => {
                match (wire.into_stream(), fate) {
                    (Some(stream), Fate::Vanish) => stream.vanish(),
                    (Some(stream), _) => stream.abort(),
                    (None, _) => {}
                }
                return;
            }
        }
    }
    close(&wire, &mut patience).await;
}

/// Waits for the first bytes of a request, holding nothing. False when there will be none.
async fn wait_for_request(
    wire: &Wire,
    serving: &Serving,
    patience: &mut Patience,
    first: bool,
) -> bool {
    if !wire.state().stream.filled().is_empty() {
        return true;
    }
    patience.progress();
    let mut last_call = false;
    let limit = {
        let timeouts = &serving.sites.current().timeouts;
        if first { timeouts.first_byte } else { timeouts.keep_alive }
    };
    let there_is_one = poll_fn(|cx| {
        if let Poll::Ready(filled) = wire.state().stream.poll_fill(Size::Small, cx) {
            return Poll::Ready(filled.is_ok_and(|n| n > 0));
        }
        if serving.draining.get() && !last_call {
            last_call = true;
            patience.progress();
        }
        let limit = if last_call { LAST_CALL } else { limit };
        let over = patience.poll_over(Some(limit), cx);
        // A connection that lies idle is the first to go when others need its place (SL-07).
        patience.set_spare(!first);
        over.map(|()| false)
    })
    .await;
    patience.set_spare(false);
    there_is_one
}

/// Whether the client speaks HTTP/2 without having asked (RFC 9113 §3.3): `PRI` is a method of
/// nothing else.
async fn begins_as_h2(wire: &Wire, site: &Site, patience: &mut Patience) -> bool {
    let may = site.http2.is_some_and(|http2| http2.prior_knowledge);
    if !may || wire.state().stream.session().is_some() {
        return false;
    }
    patience.progress();
    poll_fn(|cx| {
        let mut state = wire.state();
        loop {
            let filled = state.stream.filled();
            let seen = filled.len().min(h2::PREFACE.len());
            if filled[..seen] != h2::PREFACE[..seen] {
                return Poll::Ready(false);
            }
            if seen >= 4 {
                return Poll::Ready(true);
            }
            match state.stream.poll_fill(Size::Small, cx) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => {
                    return patience.poll_over(Some(site.timeouts.header), cx).map(|()| false);
                }
            }
        }
    })
    .await
}

/// Serves one request: reads it, runs it through its route, and sends what comes of it.
///
/// # Errors
/// What is wrong with a request that could not be read.
async fn one(
    wire: &Rc<Wire>,
    peer: &Rc<Peer>,
    serving: &Rc<Serving>,
    site: &Rc<Arc<Site>>,
    last: bool,
) -> Result<Fate, Fault> {
    let admitted = match read_head(wire, peer, serving, site).await {
        Ok(admitted) => admitted,
        Err(None) => return Ok(Fate::Close),
        Err(Some(fault)) => return Err(fault),
    };
    let (mut exchange, plan, request) = begin(wire, peer, serving, site.clone(), admitted, last);
    let Some(response) = routed(&mut exchange, request).await else {
        steps::finish(&mut exchange);
        return Ok(Fate::Vanish);
    };
    let tunnel = exchange.tunnel.take().filter(|_| response.status == 101);
    // A connection that is not kept gives back what it holds. One that has become a tunnel carries no
    // request after this one anyway.
    let tight = serving.local.worker.pressure().level() >= Level::Tight;
    let keep = plan.keep && !tight && !serving.draining.get();
    let plan = Plan { keep: keep || tunnel.is_some(), ..plan };
    let fate = respond(wire, &mut exchange, response, plan).await;
    let fate = match tunnel {
        Some(tunnel) if fate == Fate::Keep => {
            let idle = exchange.route().and_then(|route| route.timeouts.tunnel_idle);
            exchange.record.tunnel = true;
            steps::each_sink(&mut exchange, |sink, exchange| sink.tunnelled(exchange));
            Box::pin(run_tunnel(wire, serving, &mut exchange, tunnel, idle)).await;
            Fate::Close
        }
        _ => fate,
    };
    exchange.record.body_in += wire.state().body_read;
    steps::finish(&mut exchange);
    drop(exchange);
    if fate == Fate::Keep && !wire.state().body.is_done() {
        return Ok(Box::pin(drain_body(wire, serving)).await);
    }
    Ok(fate)
}

/// What the route makes of a request, or the answer in its place; `None` where the client is to hear
/// nothing.
#[allow(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
fn routed(
    exchange: &mut Exchange,
    request: Result<Box<Request>, Response>,
) -> impl Future<Output = Option<Response>> {
    async move {
        match request {
            Ok(request) => Some(chain::run(exchange, request).await),
            Err(answer) => ceilings::hold(exchange).await.then_some(answer),
        }
    }
}

/// Reads and checks a head. `Err(None)` when the client ended before it was whole.
async fn read_head(
    wire: &Rc<Wire>,
    peer: &Peer,
    serving: &Serving,
    site: &Site,
) -> Result<Admitted, Option<Fault>> {
    let mut patience = Patience::new(&serving.local.worker);
    let mut skipped_line = false;
    poll_fn(|cx| {
        let mut state = wire.state();
        let state = &mut *state;
        loop {
            // RFC 9112 §2.2: one empty line before the request line is passed over (H1-43).
            if !skipped_line && state.stream.filled().starts_with(b"\r\n") {
                skipped_line = true;
                state.stream.consume(2);
            }
            if !state.stream.filled().is_empty() {
                match head::request(state.stream.filled(), &site.limits.head) {
                    Ok(Some(head)) => {
                        let length = head.length;
                        let admitted = admit::admit(head, site, peer, &serving.local);
                        state.stream.consume(length);
                        return Poll::Ready(admitted.map_err(Some));
                    }
                    Ok(None) => {}
                    Err(e) => return Poll::Ready(Err(Some(admit::head_fault(e)))),
                }
            }
            match state.stream.poll_fill(Size::Small, cx) {
                Poll::Ready(Ok(0)) => {
                    let cut = !state.stream.filled().is_empty();
                    let fault = || Fault::new(Code::BadRequest, "the head is cut off").closing();
                    return Poll::Ready(Err(cut.then(fault)));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(None)),
                Poll::Pending => {
                    // One deadline from the first byte on: bytes do not move it (SL-01).
                    if patience.poll_over(Some(site.timeouts.header), cx).is_pending() {
                        return Poll::Pending;
                    }
                    let detail = "the head was not complete in time";
                    return Poll::Ready(Err(Some(
                        Fault::new(Code::RequestTimeout, detail).closing(),
                    )));
                }
            }
        }
    })
    .await
}

/// Answers a request that could not be read, and records it.
async fn refuse(
    wire: &Rc<Wire>,
    peer: &Rc<Peer>,
    serving: &Rc<Serving>,
    site: Rc<Arc<Site>>,
    fault: Fault,
) -> Fate {
    let id = serving.local.request_id();
    let response = answer::unread(&fault, &id, &site.request_id, &site.pages);
    let from = From { peer, serving, side: wire.clone(), version: Version::Http11 };
    let mut exchange = from.begin(site, id, None);
    exchange.record.fail(fault);
    let plan = Plan {
        version: Version::Http11,
        head: false,
        keep: false,
        announce_keep: false,
        trailers: false,
    };
    let fate = respond(wire, &mut exchange, response, plan).await;
    steps::finish(&mut exchange);
    if fate == Fate::Abort { fate } else { Fate::Linger }
}

/// Begins the exchange of an admitted request: how its response is to be sent, and the request for
/// its route or the answer in its place.
fn begin(
    wire: &Rc<Wire>,
    peer: &Rc<Peer>,
    serving: &Rc<Serving>,
    site: Rc<Arc<Site>>,
    mut admitted: Admitted,
    last: bool,
) -> (Box<Exchange>, Plan, Result<Box<Request>, Response>) {
    let id = admitted.take_id();
    let from = From { peer, serving, side: wire.clone(), version: Version::Http11 };
    let mut exchange = from.begin(site, id, Some(&admitted));
    {
        let mut state = wire.state();
        state.body = Decoder::new(admitted.framing);
        state.body_read = 0;
        state.expects = admitted.expects;
        state.broken = false;
        state.takes_interim = admitted.asked.version >= Version::Http11;
    }
    let plan = Plan {
        version: admitted.asked.version,
        head: admitted.asked.method == Method::Head,
        keep: !admitted.close && !last,
        announce_keep: admitted.asked.version == Version::Http10,
        trailers: admitted.trailers,
    };
    let body = |rules| {
        Body::Stream(Box::new(RequestBody::new(wire.clone(), rules, &serving.local.worker)))
    };
    let request = steps::route(&mut exchange, admitted, body);
    (exchange, plan, request)
}

/// How a response is to be sent.
#[derive(Clone, Copy, Debug)]
struct Plan {
    version: Version,
    /// The request was HEAD: no body, whatever the response says.
    head: bool,
    keep: bool,
    /// HTTP/1.0 keeps a connection only when told.
    announce_keep: bool,
    trailers: bool,
}

/// Sends a response.
#[allow(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
fn respond(
    wire: &Rc<Wire>,
    exchange: &mut Exchange,
    mut response: Response,
    mut plan: Plan,
) -> impl Future<Output = Fate> {
    async move {
        if exchange.record.fault == Some(Code::ClientClosed) {
            exchange.record.status = Code::ClientClosed.row().status;
            return Fate::Abort;
        }
        exchange.record.status = response.status;
        {
            let state = wire.state();
            // A body that the client was never asked for, or that failed, cannot be told from the
            // next request.
            plan.keep &= !state.broken && (state.body.is_done() || !state.expects);
        }
        if response.fields.has(Known::Connection) {
            plan.keep = false;
            response.fields.remove(Known::Connection);
        }
        let ending = ending_of(&response, &plan);
        plan.keep &= ending != Ending::Close;
        let interim = std::mem::take(&mut wire.state().interim);
        let begun = !interim.is_empty();
        let head = head_of(exchange, &response, &plan, ending, interim);
        let mut body = std::mem::take(&mut response.body);
        if plan.head || Response::is_bodyless(response.status, &Method::Get) {
            // An upstream connection whose response has no body goes back at once.
            body = Body::Empty;
        }
        let mut writer = Writer::new(head, ending, plan.trailers);
        let mut patience = Patience::new(&exchange.local.worker);
        let limit =
            exchange.route().map_or(exchange.site.timeouts.send_idle, |r| r.timeouts.send_idle);
        // An answer of our own says that the time is over, and is not cut off for it.
        let by = exchange.ends_by().filter(|_| exchange.record.fault.is_none());
        let mut seen = 0;
        let sent = poll_fn(|cx| {
            body.poll_beside(cx);
            let sent = writer.poll(&mut body, &mut wire.state().stream, cx);
            if sent.is_ready() {
                return sent.map_err(Some);
            }
            if !writer.waits_for_receiver() {
                patience.progress();
                return patience.poll_over_or_by(None, by, cx).map(|()| Err(None));
            }
            if writer.body_bytes() > seen {
                seen = writer.body_bytes();
                patience.progress();
            }
            patience.poll_over_or_by(limit, by, cx).map(|()| Err(None))
        })
        .await;
        drop(body);
        exchange.record.body_out = writer.body_bytes();
        match sent {
            Ok(()) if plan.keep => Fate::Keep,
            Ok(()) if wire.state().is_read_out() => Fate::Close,
            Ok(()) => Fate::Linger,
            Err(Some(Stop::Source(fault))) if !begun && !writer.has_sent() => {
                // Nothing was said yet, so an answer can still be given.
                let answer = answer::to(exchange, fault);
                Box::pin(respond(wire, exchange, answer, plan)).await
            }
            Err(Some(Stop::Source(fault))) => {
                exchange.record.fail(fault);
                Fate::Abort
            }
            Err(Some(Stop::Receiver(e))) => {
                exchange.record.fail(Fault::new(Code::ClientClosed, format!("sending: {e}")));
                Fate::Abort
            }
            Err(None) if !writer.waits_for_receiver() => {
                let detail = "the response was not complete within the time of the exchange";
                exchange.record.fail(Fault::new(Code::ResponseTimeout, detail));
                Fate::Abort
            }
            Err(None) => {
                let detail =
                    "the client took nothing of the response for too long, or not all in time";
                exchange.record.fail(Fault::new(Code::ClientClosed, detail));
                Fate::Abort
            }
        }
    }
}

fn ending_of(response: &Response, plan: &Plan) -> Ending {
    if plan.head || Response::is_bodyless(response.status, &Method::Get) {
        return Ending::None;
    }
    match response.body.length() {
        Some(n) => Ending::Length(n),
        None if plan.version >= Version::Http11 => Ending::Chunked,
        None => Ending::Close,
    }
}

/// The response head, behind what is left of interim responses.
fn head_of(
    exchange: &Exchange,
    response: &Response,
    plan: &Plan,
    ending: Ending,
    interim: Vec<u8>,
) -> Vec<u8> {
    let mut out = match interim.is_empty() {
        true => Writer::head_for(ending),
        false => interim,
    };
    out.extend_from_slice(b"HTTP/1.1 ");
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(number.format(response.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(response.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    // RFC 9110 §6.6.1.
    if !response.fields.has(Known::Date) {
        out.extend_from_slice(b"Date: ");
        exchange.local.with_date(exchange.started, |date| out.extend_from_slice(date));
        out.extend_from_slice(b"\r\n");
    }
    response.fields.write(&mut out);
    match ending {
        Ending::Length(n) => {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(number.format(n).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Ending::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Ending::None if plan.head && !response.fields.has(Known::ContentLength) => {
            if let Some(n) = response.body.length().filter(|n| *n > 0) {
                out.extend_from_slice(b"Content-Length: ");
                out.extend_from_slice(number.format(n).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        Ending::None | Ending::Close => {}
    }
    if response.status == 101 {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if !plan.keep {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if plan.announce_keep {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

async fn run_tunnel(
    wire: &Rc<Wire>,
    serving: &Serving,
    exchange: &mut Exchange,
    mut tunnel: Box<crate::upgrade::Tunnel>,
    idle: Option<Duration>,
) {
    let passed = poll_fn(|cx| {
        if serving.leaving.get() {
            tunnel.leave();
        }
        tunnel.poll(&mut wire.state().stream, idle, cx)
    });
    let passed = passed.await;
    exchange.record.body_in += passed.to_endpoint;
    exchange.record.body_out += passed.to_client;
}

/// Reads the rest of a request body that nobody wanted, if it is short (H1-26).
async fn drain_body(wire: &Rc<Wire>, serving: &Serving) -> Fate {
    let mut patience = Patience::new(&serving.local.worker);
    let mut left = DRAIN_BYTES;
    poll_fn(|cx| {
        let mut state = wire.state();
        let state = &mut *state;
        loop {
            match state.body.front(state.stream.filled()) {
                Ok(Piece::End) => return Poll::Ready(Fate::Keep),
                Ok(Piece::Skip(n)) => state.stream.consume(n),
                Ok(Piece::Data(n)) if n as u64 <= left => {
                    left -= n as u64;
                    state.body.took(n);
                    state.stream.consume(n);
                }
                Ok(Piece::Data(_)) | Err(_) => return Poll::Ready(Fate::Linger),
                Ok(Piece::More) => match state.stream.poll_fill(Size::Large, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Fate::Close),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => {
                        return patience.poll_over(Some(DRAIN_TIME), cx).map(|()| Fate::Linger);
                    }
                },
            }
        }
    })
    .await
}

/// Ends a connection on which nothing is left to be read. Without TLS there is nothing to say:
/// dropping the socket ends it, and saves a system call.
async fn close(wire: &Wire, patience: &mut Patience) {
    if wire.state().stream.session().is_some() {
        end_sending(wire, patience).await;
    }
}

/// Ends our direction; the rest is the kernel's.
async fn end_sending(wire: &Wire, patience: &mut Patience) {
    patience.progress();
    poll_fn(|cx| {
        if wire.state().stream.poll_shutdown(cx).is_ready() {
            return Poll::Ready(());
        }
        patience.poll_over(Some(LINGER), cx)
    })
    .await;
}

/// Ends our direction, then reads and forgets for a while, so that a reset does not eat the
/// response before the client has read it.
async fn linger(wire: &Wire, patience: &mut Patience) {
    end_sending(wire, patience).await;
    patience.progress();
    let mut left = DRAIN_BYTES as usize;
    poll_fn(|cx: &mut Context<'_>| {
        let mut state = wire.state();
        loop {
            let waiting = state.stream.filled().len();
            state.stream.consume(waiting);
            left = left.saturating_sub(waiting);
            let read: Poll<io::Result<usize>> = state.stream.poll_fill(Size::Small, cx);
            match read {
                Poll::Ready(Ok(n)) if n > 0 && left > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return patience.poll_over(Some(LINGER), cx),
            }
        }
    })
    .await;
}
