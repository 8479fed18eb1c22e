//! One exchange with an endpoint over a stream of HTTP/2.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, StatusCode};

use super::error;
use super::line::Slot;
use crate::body::{Body, Source};
use crate::client::{Failure, Heard, INTERIM, Upload, Waits};
use crate::codec::framing;
use crate::codec::h2::{BlockError, TRAILERS, received, sent};
use crate::codec::head::{HeadLimits, ResponseHead};
use crate::codec::trailers;
use crate::destination::{AttemptResult, Endpoint, Lease};
use crate::fault::{Code, Fault};
use crate::fields::{Fields, Known, Values};
use crate::local::Local;
use crate::message::{Method, Response, Version};
use crate::patience::Patience;
use crate::upgrade::{Far, Side, send_some};

/// Most bytes of a request body that are given to the library at once.
const PIECE: usize = 64 << 10;

/// A request being sent and its response being received.
pub struct Call {
    /// Gone once all has come: then the stream counts no more.
    slot: Option<Slot>,
    lease: Option<Lease>,
    /// The lease was given back before the end.
    place_given: bool,
    request_body: Body,
    upload: Upload,
    send: SendStream<Bytes>,
    /// Bytes of the request body that were given to the library.
    sent: u64,
    /// The endpoint took nothing the last time it was tried.
    blocked: bool,
    receiving: Receiving,
    /// Received and not yet consumed.
    chunk: Bytes,
    /// Bytes of body that were announced and not yet received.
    awaited: Option<u64>,
    /// Whatever the head says, there is no body.
    bodyless: bool,
    /// It is to become a tunnel (RFC 8441), and a 2xx says that it has.
    tunnel: bool,
    trailers: Option<Fields>,
    status: u16,
    heard: bool,
    /// The stream has failed without the endpoint having answered wrongly or late.
    broken: bool,
    interim: usize,
    patience: Patience,
    waits: Waits,
    limits: HeadLimits,
}

enum Receiving {
    Head(ResponseFuture),
    Body(RecvStream),
    Over,
}

impl Call {
    /// Sends `head` with its body over the stream that `slot` stands for.
    ///
    /// # Errors
    /// When the connection takes no more streams.
    pub fn new(
        slot: Slot,
        head: http::Request<()>,
        lease: Lease,
        local: &Local,
        request_body: Body,
        waits: Waits,
        limits: HeadLimits,
    ) -> Result<Self, Failure> {
        let tunnel = head.method() == http::Method::CONNECT;
        let last = request_body.is_empty() && !tunnel;
        let begun = match slot.line.sender() {
            Some(mut sender) => sender.send_request(head, last).map_err(|e| error::unsent(&e)),
            None => Err(Fault::new(Code::ConnectFailed, "the connection ended before the request")),
        };
        let (response, send) = match begun {
            Ok(begun) => begun,
            Err(fault) => {
                slot.line.retire();
                let lease = Some(lease);
                let (untouched, broken) = (true, true);
                return Err(Failure { fault, untouched, broken, body: request_body, lease });
            }
        };
        let patience = Patience::new(&local.worker);
        Ok(Call {
            slot: Some(slot),
            lease: Some(lease),
            place_given: false,
            upload: if request_body.is_empty() { Upload::Done } else { Upload::Going },
            request_body,
            send,
            sent: 0,
            blocked: false,
            receiving: Receiving::Head(response),
            chunk: Bytes::new(),
            awaited: None,
            bodyless: false,
            tunnel,
            trailers: None,
            status: 0,
            heard: false,
            broken: false,
            interim: 0,
            patience,
            waits,
            limits,
        })
    }

    pub(in crate::client) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Heard, Fault>> {
        self.poll_upload(cx)?;
        let Receiving::Head(response) = &mut self.receiving else {
            return Poll::Ready(Err(Fault::new(Code::Internal, "a call was used after its end")));
        };
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            return Poll::Ready(self.hear_interim(interim.status(), interim.headers()));
        }
        match Pin::new(response).poll(cx) {
            Poll::Ready(Ok(response)) => {
                let (head, body) = response.into_parts();
                self.receiving = Receiving::Body(body);
                Poll::Ready(self.hear(head.status, &head.headers).map(Heard::Final))
            }
            Poll::Ready(Err(e)) => {
                self.broken = !self.heard && (error::is_refused(&e) || error::is_of_connection(&e));
                let is_closed = self.slot.as_ref().is_some_and(|slot| slot.line.is_closed());
                Poll::Ready(Err(if is_closed { error::closed() } else { error::fault(&e) }))
            }
            Poll::Pending => self.poll_late(cx).map(Err),
        }
    }

    fn hear_interim(&mut self, status: StatusCode, map: &HeaderMap) -> Result<Heard, Fault> {
        let head = self.hear(status, map)?;
        self.interim += 1;
        if self.interim > INTERIM {
            return Err(Fault::new(Code::BadResponse, "more than 32 interim responses"));
        }
        Ok(Heard::Interim(head))
    }

    fn hear(&mut self, status: StatusCode, map: &HeaderMap) -> Result<ResponseHead, Fault> {
        self.heard = true;
        self.patience.progress();
        let status = status.as_u16();
        if status == 101 {
            return Err(Fault::new(Code::BadResponse, "a 101, which HTTP/2 does not know"));
        }
        let mut fields = received(map, &self.limits).map_err(bad_block)?;
        self.status = status;
        if self.tunnel && (200..300).contains(&status) {
            // RFC 8441 §5: what is a 101 in HTTP/1.1
            fields.set(Known::Upgrade, b"websocket");
            return Ok(ResponseHead { version: Version::Http2, status: 101, fields, length: 0 });
        }
        Ok(ResponseHead { version: Version::Http2, status, fields, length: 0 })
    }

    /// Sends on; only a request body that fails ends the call.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.upload != Upload::Going {
            return Ok(());
        }
        self.blocked = false;
        let mut filled = self.request_body.poll_fill(cx);
        loop {
            let n = match filled {
                Poll::Ready(Ok(0)) => {
                    self.end_upload(Bytes::new());
                    return Ok(());
                }
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(fault)) => return Err(fault),
                Poll::Pending => return Ok(()),
            };
            let room = match self.poll_room(n.min(PIECE), cx) {
                Poll::Ready(Some(room)) => room,
                Poll::Ready(None) => {
                    self.upload = Upload::Broken;
                    return Ok(());
                }
                Poll::Pending => {
                    self.blocked = true;
                    return Ok(());
                }
            };
            let piece = self.request_body.take(room);
            self.sent += room as u64;
            self.patience.progress();
            filled = self.request_body.poll_fill(cx);
            // The end goes with the last bytes, where it is known by then.
            if matches!(filled, Poll::Ready(Ok(0))) {
                self.end_upload(piece);
                return Ok(());
            }
            if self.send.send_data(piece, false).is_err() {
                self.upload = Upload::Broken;
                return Ok(());
            }
        }
    }

    /// How many of `n` bytes the endpoint takes now; nothing where it takes no more at all.
    fn poll_room(&mut self, n: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        self.send.reserve_capacity(n);
        loop {
            match self.send.capacity() {
                0 => match ready!(self.send.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    _ => return Poll::Ready(None),
                },
                room => return Poll::Ready(Some(room.min(n))),
            }
        }
    }

    fn end_upload(&mut self, last: Bytes) {
        let trailers = self.request_body.trailers().map(trailers::passed);
        let sent = match trailers.filter(|trailers| !trailers.is_empty()) {
            Some(trailers) => {
                let last = last.is_empty() || self.send.send_data(last, false).is_ok();
                last && self.send.send_trailers(sent(&trailers)).is_ok()
            }
            None => self.send.send_data(last, true).is_ok(),
        };
        self.upload = if sent { Upload::Done } else { Upload::Broken };
        self.patience.progress();
    }

    /// Ready when the endpoint has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let (limit, what) = match self.upload {
            // The client's own patience is over the request body.
            Upload::Going if !self.blocked => return Poll::Pending,
            Upload::Going => (self.waits.send, "it takes nothing of the request"),
            _ => (self.waits.response, "no response within the timeout"),
        };
        ready!(self.patience.poll_over_or_by(limit, self.waits.by, cx));
        self.doubt();
        Poll::Ready(Fault::new(Code::ResponseTimeout, what))
    }

    /// The endpoint has not answered in time: perhaps nobody is there any more.
    fn doubt(&self) {
        if let Some(slot) = &self.slot {
            slot.line.ask();
        }
    }

    /// Takes the final head's framing over; what follows is its body.
    ///
    /// # Errors
    /// When the length of the body is not certain.
    pub(in crate::client) fn accept(
        &mut self,
        head: &ResponseHead,
        method: &Method,
        now: Instant,
    ) -> Result<(), Fault> {
        let length = match head.fields.only(Known::ContentLength) {
            Values::None => None,
            Values::One(text) => Some(framing::decimal(text).ok_or_else(|| {
                Fault::new(Code::BadResponse, "Content-Length is not one decimal number")
            })?),
            Values::Many => {
                return Err(Fault::new(Code::BadResponse, "Content-Length stands twice"));
            }
        };
        self.bodyless = Response::is_bodyless(head.status, method);
        self.awaited = if self.bodyless { Some(0) } else { length };
        if let Some(lease) = &mut self.lease {
            lease.answered(now);
            lease.heard(&head.fields);
        }
        Ok(())
    }

    pub(in crate::client) fn into_body(mut self: Box<Self>) -> Body {
        let over = match &self.receiving {
            Receiving::Body(stream) => self.bodyless || stream.is_end_stream(),
            _ => true,
        };
        if over && self.upload == Upload::Done && self.awaited.unwrap_or(0) == 0 {
            self.finish();
            return Body::Empty;
        }
        Body::Stream(self)
    }

    pub(in crate::client) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.lease.as_ref().map(Lease::endpoint)
    }

    /// The stream itself, once the endpoint has said that it is a tunnel.
    pub(in crate::client) fn into_tunnel(mut self: Box<Self>) -> (Far, Option<Lease>) {
        let lease = self.lease.take();
        (Far::Stream(self), lease)
    }

    pub(in crate::client) fn can_begin_anew(&self) -> bool {
        match self.upload {
            Upload::Done => self.request_body.can_rewind(),
            Upload::Going | Upload::Broken => self.sent == 0,
        }
    }

    pub(in crate::client) fn give_place(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.place_given = true;
            lease.end(AttemptResult::Answered(self.status));
        }
    }

    pub(in crate::client) fn discard(mut self: Box<Self>) -> Body {
        self.request_body.rewind();
        let body = std::mem::take(&mut self.request_body);
        self.finish();
        body
    }

    pub(in crate::client) fn fail(mut self: Box<Self>, fault: Fault) -> Failure {
        let whole = self.sent == 0 || self.request_body.rewind();
        Failure {
            untouched: !self.heard && whole,
            broken: self.broken,
            body: std::mem::take(&mut self.request_body),
            lease: self.lease.take(),
            fault,
        }
    }

    /// The whole response was received.
    fn finish(&mut self) {
        let lease = self.lease.take();
        if lease.is_none() && !std::mem::take(&mut self.place_given) {
            return;
        }
        if self.upload == Upload::Going {
            // RFC 9113 §8.1: a response that needs no more of the request ends both.
            self.upload = Upload::Broken;
            self.send.send_reset(Reason::CANCEL);
        }
        if let (Receiving::Body(stream), Some(slot)) =
            (std::mem::replace(&mut self.receiving, Receiving::Over), &self.slot)
        {
            slot.line.await_end(stream);
        }
        self.slot = None;
        if let Some(lease) = lease {
            lease.end(AttemptResult::Answered(self.status));
        }
    }

    /// Lets the endpoint send as much as was taken.
    fn taken(&mut self, n: usize) {
        if let Receiving::Body(stream) = &mut self.receiving {
            // Only more than was received would be refused.
            let _ = stream.flow_control().release_capacity(n);
        }
        self.finish_early();
    }

    /// Whoever knows the length does not ask again: all that matters may have come.
    fn finish_early(&mut self) {
        let ended = matches!(&self.receiving, Receiving::Body(stream) if stream.is_end_stream());
        if ended && self.chunk.is_empty() && self.awaited == Some(0) {
            self.finish();
        }
    }

    /// The response broke off.
    fn incomplete(&mut self, detail: impl Into<Cow<'static, str>>) -> Fault {
        self.receiving = Receiving::Over;
        self.send.send_reset(Reason::CANCEL);
        self.slot = None;
        if let Some(lease) = self.lease.take() {
            lease.end(AttemptResult::Failed(Code::IncompleteResponse));
        }
        Fault::new(Code::IncompleteResponse, detail)
    }

    /// Counts received bytes against what was announced (H2-19, from the other side).
    fn count(&mut self, n: usize) -> bool {
        match &mut self.awaited {
            Some(awaited) if (*awaited) < n as u64 => false,
            Some(awaited) => {
                *awaited -= n as u64;
                true
            }
            None => true,
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let Receiving::Body(stream) = &mut self.receiving else { return Poll::Ready(Ok(0)) };
        let trailers = match stream.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => trailers,
            Poll::Ready(Err(e)) => {
                return Poll::Ready(Err(self.incomplete(format!("HTTP/2: {e}"))));
            }
            Poll::Pending => return self.poll_stalled(cx).map(Err),
        };
        if self.awaited.is_some_and(|awaited| awaited > 0) {
            let detail = "it ended the body before its announced length";
            return Poll::Ready(Err(self.incomplete(detail)));
        }
        if let Some(map) = trailers {
            match received(&map, &TRAILERS) {
                Ok(trailers) => {
                    if let Some(lease) = &self.lease {
                        lease.heard(&trailers);
                    }
                    self.trailers = Some(trailers);
                }
                Err(e) => return Poll::Ready(Err(self.incomplete(format!("trailers: {e}")))),
            }
        }
        self.finish();
        Poll::Ready(Ok(0))
    }
}

impl Source for Call {
    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        if self.poll_upload(cx).is_err() {
            // The client's side of the request failed: no half of a request may look whole.
            self.upload = Upload::Broken;
            self.send.send_reset(Reason::CANCEL);
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        loop {
            if !self.chunk.is_empty() {
                return Poll::Ready(Ok(self.chunk.len()));
            }
            let Receiving::Body(stream) = &mut self.receiving else { return Poll::Ready(Ok(0)) };
            match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.patience.progress();
                    if !self.count(chunk.len()) {
                        let fault = self.incomplete("the body is longer than was announced");
                        return Poll::Ready(Err(fault));
                    }
                    self.chunk = chunk;
                }
                Poll::Ready(Some(Err(e))) => {
                    let fault = self.incomplete(format!("HTTP/2: {e}"));
                    return Poll::Ready(Err(fault));
                }
                Poll::Ready(None) => return self.poll_end(cx),
                Poll::Pending => return self.poll_stalled(cx).map(Err),
            }
        }
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        see(&self.chunk);
    }

    fn consume(&mut self, n: usize) {
        self.chunk.advance(n);
        self.taken(n);
    }

    fn take(&mut self, n: usize) -> Bytes {
        let taken = self.chunk.split_to(n.min(self.chunk.len()));
        self.taken(taken.len());
        taken
    }

    fn length(&self) -> Option<u64> {
        Some(self.awaited? + self.chunk.len() as u64)
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        ready!(self.patience.poll_over_or_by(self.waits.idle, self.waits.by, cx));
        self.doubt();
        let fault = self.incomplete("the body stood still or took too long");
        Poll::Ready(Fault::new(Code::ResponseTimeout, fault.into_detail()))
    }
}

/// As a tunnel, once the endpoint has said that it is one.
impl Side for Call {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while self.chunk.is_empty() {
            let Receiving::Body(stream) = &mut self.receiving else { return Poll::Ready(Ok(0)) };
            match ready!(stream.poll_data(cx)) {
                Some(data) => self.chunk = data.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(0)),
            }
        }
        Poll::Ready(Ok(self.chunk.len()))
    }

    fn filled(&self) -> &[u8] {
        &self.chunk
    }

    fn consume(&mut self, n: usize) {
        self.chunk.advance(n);
        if let Receiving::Body(stream) = &mut self.receiving {
            let _ = stream.flow_control().release_capacity(n);
        }
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        send_some(&mut self.send, bytes, cx)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}

impl Drop for Call {
    /// A body that was whole for whoever took it ends well, though nobody waited for its end.
    fn drop(&mut self) {
        if matches!(self.receiving, Receiving::Body(_))
            && self.chunk.is_empty()
            && self.awaited == Some(0)
        {
            self.finish();
        }
    }
}

fn bad_block(error: BlockError) -> Fault {
    let code = match error {
        BlockError::LongFields | BlockError::ManyFields => Code::LargeResponseFields,
        _ => Code::BadResponse,
    };
    Fault::new(code, format!("the response head: {error}"))
}
