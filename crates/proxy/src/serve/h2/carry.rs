//! One stream: from its request through the route and back.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request;

use super::guard::Guard;
use super::request_body::RequestBody;
use super::send::{Sender, Stop};
use super::side::{Side, gone};
use super::tunnel;
use crate::answer;
use crate::body::Body;
use crate::chain;
use crate::codec::h2::{self as block, BlockError, sent};
use crate::codec::{Framing, framing};
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::fields::Known;
use crate::message::{Method, Response, Upgrade, Version};
use crate::patience::Patience;
use crate::peer::Peer;
use crate::serve::Serving;
use crate::serve::admit::{self, Admitted};
use crate::serve::ceilings;
use crate::serve::steps::{self, From};
use crate::site::Site;

/// What the streams of a connection share.
pub(super) struct Line {
    pub(super) peer: Rc<Peer>,
    pub(super) serving: Rc<Serving>,
    pub(super) guard: Rc<RefCell<Guard>>,
}

/// Carries one request and its response.
pub(super) async fn carry(
    line: Rc<Line>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let Line { peer, serving, .. } = &*line;
    let site = serving.sites.current();
    let (mut parts, stream) = request.into_parts();
    let side = Side::new(respond);
    let from = From { peer, serving, side: side.clone(), version: Version::Http2 };
    let whole = stream.is_end_stream();
    match admitted(&mut parts, whole, &site, peer, serving) {
        Ok(admitted) => exchange(&line, from, site, admitted, stream).await,
        Err(Refused::Malformed(error)) => {
            // RFC 9113 §8.1.1: an error of the stream; nobody behind hears of it.
            let mut exchange = from.begin(site, serving.local.request_id(), None);
            exchange.record.fail(Fault::new(Code::BadRequest, error.to_string()));
            side.reset(Reason::PROTOCOL_ERROR);
            steps::finish(&mut exchange);
        }
        Err(Refused::Fault(fault)) => {
            let id = serving.local.request_id();
            let response = answer::unread(&fault, &id, &site.request_id, &site.pages);
            let mut exchange = from.begin(site, id, None);
            exchange.record.fail(fault);
            respond_to(&line, &side, &mut exchange, response, Plan::default()).await;
            steps::finish(&mut exchange);
        }
    }
}

/// Why a request is not admitted.
enum Refused {
    /// It is no request: its stream is reset.
    Malformed(BlockError),
    Fault(Fault),
}

fn admitted(
    parts: &mut request::Parts,
    whole: bool,
    site: &Site,
    peer: &Peer,
    serving: &Serving,
) -> Result<Admitted, Refused> {
    let protocol = parts.extensions.remove::<h2::ext::Protocol>();
    if let Some(protocol) = &protocol {
        if protocol.as_str() != "websocket" {
            let detail = "an extended CONNECT for another protocol than websocket";
            return Err(Refused::Fault(Fault::new(Code::NotImplemented, detail)));
        }
        // RFC 8441 §5: what is a GET with an upgrade in HTTP/1.1, and is routed as one.
        parts.method = http::Method::GET;
    }
    let mut head = block::request(parts, &site.limits.head).map_err(refused)?;
    let length = match framing::of_request(Version::Http2, &head.fields) {
        Ok(Framing::Length(length)) => Some(length),
        Ok(_) => None,
        Err(_) => return Err(Refused::Malformed(BlockError::BadLength)),
    };
    if whole && length.is_some_and(|length| length > 0) {
        return Err(Refused::Malformed(BlockError::BadLength));
    }
    if protocol.is_some() {
        // The key is what the client's connection to the endpoint would have had.
        head.fields.set(Known::SecWebSocketKey, tunnel::key(&serving.local).as_bytes());
    }
    let mut admitted = admit::admit(head, site, peer, &serving.local).map_err(Refused::Fault)?;
    admitted.framing = match length {
        _ if whole || protocol.is_some() => Framing::None,
        // That it is empty is known only at its end.
        Some(length) if length > 0 => Framing::Length(length),
        _ => Framing::Chunked,
    };
    admitted.upgrade = protocol.map(|_| Upgrade::WebSocket);
    Ok(admitted)
}

fn refused(error: BlockError) -> Refused {
    let code = match error {
        error if error.is_malformed() => return Refused::Malformed(error),
        BlockError::LongFields | BlockError::ManyFields => Code::FieldsTooLarge,
        BlockError::LongPath => Code::UriTooLong,
        BlockError::Method(error) => return Refused::Fault(admit::head_fault(error)),
        _ => Code::BadRequest,
    };
    Refused::Fault(Fault::new(code, error.to_string()))
}

/// How a response is to be sent.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    /// The request was HEAD: no body, whatever the response says.
    head: bool,
    trailers: bool,
}

async fn exchange(
    line: &Line,
    from: From<'_, Side>,
    site: Rc<Arc<Site>>,
    mut admitted: Admitted,
    stream: RecvStream,
) {
    let side = from.side.clone();
    let worker = &line.serving.local.worker;
    let id = admitted.take_id();
    let mut exchange = from.begin(site, id, Some(&admitted));
    side.expects.set(admitted.expects);
    let plan = Plan { head: admitted.asked.method == Method::Head, trailers: admitted.trailers };
    let length = match admitted.framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    let upgrades = admitted.upgrade.is_some();
    let mut stream = Some(stream);
    let body = |rules| match stream.take() {
        Some(stream) => {
            Body::Stream(Box::new(RequestBody::new(side.clone(), stream, length, rules, worker)))
        }
        None => Body::Empty,
    };
    let response = match steps::route(&mut exchange, admitted, body) {
        Ok(request) => unless_reset(&side, chain::run(&mut exchange, request)).await,
        // A stream among others is not let go of without a word.
        Err(answer) => unless_reset(&side, ceilings::hold(&exchange)).await.map(|_| answer),
    };
    match response {
        Ok(response) if response.status == 101 && exchange.tunnel.is_some() => {
            if let Some(stream) = stream.filter(|_| upgrades) {
                tunnel::run(&side, &line.serving, &mut exchange, response, stream).await;
            }
        }
        Ok(response) => respond_to(line, &side, &mut exchange, response, plan).await,
        Err(fault) => {
            // What was being done for it has been dropped, the attempt at an endpoint too.
            exchange.record.status = fault.code().row().status;
            exchange.record.fail(fault);
            line.guard.borrow_mut().reset_unanswered(worker.now());
        }
    }
    exchange.record.body_in += side.body_in.get();
    steps::finish(&mut exchange);
}

/// What `future` gives, unless the client resets the stream before: then `future` is dropped,
/// wherever it stands (U-16, H2-27).
async fn unless_reset<F: Future>(side: &Side, future: F) -> Result<F::Output, Fault> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(fault) = side.poll_reset(cx) {
            return Poll::Ready(Err(fault));
        }
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// Sends a response.
async fn respond_to(
    line: &Line,
    side: &Side,
    exchange: &mut Exchange,
    mut response: Response,
    plan: Plan,
) {
    if exchange.record.fault == Some(Code::ClientClosed) {
        exchange.record.status = Code::ClientClosed.row().status;
        side.reset(Reason::CANCEL);
        return;
    }
    exchange.record.status = response.status;
    let mut body = std::mem::take(&mut response.body);
    let length = body.length();
    if plan.head || Response::is_bodyless(response.status, &Method::Get) {
        // An upstream connection whose response has no body goes back at once.
        body = Body::Empty;
    }
    // Asked before the head is said: a body that fails at once can still become an answer.
    let last = match poll_fn(|cx| Poll::Ready(body.poll_fill(cx))).await {
        Poll::Ready(Err(fault)) => {
            let answer = answer::to(exchange, fault);
            return Box::pin(respond_to(line, side, exchange, answer, plan)).await;
        }
        Poll::Ready(Ok(0)) if matches!(body, Body::Empty) => true,
        _ => false,
    };
    complete(exchange, &mut response, &body, length, plan);
    let stream = match side.send_head(response.status, sent(&response.fields), last) {
        Ok(_) if last => return,
        Ok(stream) => stream,
        Err(e) => return exchange.record.fail(gone(e.reason())),
    };
    send_body(line, exchange, Sender::new(stream, length, plan.trailers), body).await;
}

/// Adds what each response has.
fn complete(
    exchange: &Exchange,
    response: &mut Response,
    body: &Body,
    length: Option<u64>,
    plan: Plan,
) {
    let fields = &mut response.fields;
    // It would say something about this connection, which HTTP/2 says otherwise.
    fields.remove(Known::Connection);
    // RFC 9110 §6.6.1.
    if !fields.has(Known::Date) {
        exchange.local.with_date(exchange.started, |date| fields.append(Known::Date, date));
    }
    let has_length = fields.has(Known::ContentLength);
    let bodyless = plan.head || Response::is_bodyless(response.status, &Method::Get);
    let announced = match length {
        Some(n) if !bodyless => Some(n),
        Some(n) if plan.head && n > 0 && !has_length => Some(n),
        _ => None,
    };
    debug_assert!(!bodyless || body.is_empty());
    if let Some(n) = announced {
        fields.set(Known::ContentLength, itoa::Buffer::new().format(n).as_bytes());
    }
}

/// Sends the body, and records what becomes of it.
async fn send_body(line: &Line, exchange: &mut Exchange, mut sender: Sender, mut body: Body) {
    let worker = exchange.local.worker.clone();
    let mut patience = Patience::new(&worker);
    let limit = exchange.route().map_or(exchange.site.timeouts.send_idle, |r| r.timeouts.send_idle);
    // An answer of our own says that the time is over, and is not cut off for it.
    let by = exchange.ends_by().filter(|_| exchange.record.fault.is_none());
    let mut seen = 0;
    let sent = poll_fn(|cx| {
        body.poll_beside(cx);
        let sent = sender.poll(&mut body, cx);
        let tiny = sender.take_tiny();
        if tiny > 0 {
            line.guard.borrow_mut().tiny(tiny, worker.now());
        }
        if sent.is_ready() {
            return sent.map_err(Some);
        }
        if sender.body_bytes() > seen || !sender.waits_for_client() {
            seen = sender.body_bytes();
            patience.progress();
        }
        let limit = limit.filter(|_| sender.waits_for_client());
        patience.poll_over_or_by(limit, by, cx).map(|()| Err(None))
    })
    .await;
    drop(body);
    exchange.record.body_out = sender.body_bytes();
    let (fault, reason) = match sent {
        Ok(()) => return,
        Err(Some(Stop::Source(fault))) => (fault, Reason::INTERNAL_ERROR),
        Err(Some(Stop::Client(fault))) => (fault, Reason::CANCEL),
        Err(None) if sender.waits_for_client() => {
            let detail = "the client took nothing of the response for too long, or not all in time";
            (Fault::new(Code::ClientClosed, detail), Reason::CANCEL)
        }
        Err(None) => {
            let detail = "the response was not complete within the time of the exchange";
            (Fault::new(Code::ResponseTimeout, detail), Reason::INTERNAL_ERROR)
        }
    };
    exchange.record.fail(fault);
    sender.reset(reason);
}
