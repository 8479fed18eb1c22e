//! One exchange with an endpoint over HTTP/1.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::pool::Connection;
use super::{Failure, Heard, INTERIM, Upload, Waits};
use crate::body::{Body, Kernel, Source};
use crate::codec::head::{self, HeadError, HeadLimits, ResponseHead};
use crate::codec::{Decoder, Piece, framing};
use crate::destination::{AttemptResult, Endpoint, Lease};
use crate::fault::{Code, Fault};
use crate::fields::{Fields, Known, list};
use crate::local::Local;
use crate::message::{Method, Version};
use crate::patience::Patience;
use crate::upgrade::Far;
use crate::writer::{Stop, Writer};

/// A request being sent and its response being received.
pub struct Call {
    /// Gone once the connection was given back or became a tunnel.
    connection: Option<Box<Connection>>,
    lease: Option<Lease>,
    /// Where the connection belongs once the lease was given back before its end.
    home: Option<Arc<Endpoint>>,
    local: Rc<Local>,
    writer: Writer,
    request_body: Body,
    upload: Upload,
    decoder: Decoder,
    status: u16,
    /// Perfectly framed so far, and the endpoint means to keep the connection.
    keep: bool,
    heard: bool,
    interim: usize,
    patience: Patience,
    waits: Waits,
    limits: HeadLimits,
}

impl Call {
    /// Sends what `writer` was made for, with its body, over `connection`.
    pub fn new(
        connection: Box<Connection>,
        lease: Lease,
        local: Rc<Local>,
        writer: Writer,
        request_body: Body,
        waits: Waits,
        limits: HeadLimits,
    ) -> Self {
        let patience = Patience::new(&local.worker);
        Call {
            connection: Some(connection),
            lease: Some(lease),
            home: None,
            local,
            writer,
            request_body,
            upload: Upload::Going,
            decoder: Decoder::Length(0),
            status: 0,
            keep: true,
            heard: false,
            interim: 0,
            patience,
            waits,
            limits,
        }
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, Fault>> {
        self.poll_upload(cx)?;
        loop {
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Err(Fault::new(
                    Code::Internal,
                    "a call was used after its end",
                )));
            };
            let stream = &mut connection.stream;
            if !stream.filled().is_empty() {
                match head::response(stream.filled(), &self.limits) {
                    Ok(Some(head)) => {
                        stream.consume(head.length);
                        return Poll::Ready(self.hear(head));
                    }
                    Ok(None) => {}
                    Err(e) => return Poll::Ready(Err(bad_head(e))),
                }
            }
            match stream.poll_fill(connection.size, cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(self.broke("it closed the connection")));
                }
                Poll::Ready(Ok(_)) => self.heard = true,
                Poll::Ready(Err(e)) => {
                    let detail = format!("reading the response: {e}");
                    return Poll::Ready(Err(self.broke(detail)));
                }
                Poll::Pending => return self.poll_late(cx).map(Err),
            }
        }
    }

    fn broke(&self, detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
        Fault::new(Code::BadResponse, detail)
    }

    /// Sends on; only a request body that fails ends the call.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if self.upload != Upload::Going {
            return Ok(());
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let before = self.writer.body_bytes();
        match self.writer.poll(&mut self.request_body, &mut connection.stream, cx) {
            Poll::Ready(Ok(())) => {
                self.upload = Upload::Done;
                self.patience.progress();
            }
            Poll::Ready(Err(Stop::Receiver(_))) => {
                self.upload = Upload::Broken;
                self.keep = false;
                self.patience.progress();
            }
            Poll::Ready(Err(Stop::Source(fault))) => return Err(fault),
            Poll::Pending if self.writer.body_bytes() > before => self.patience.progress(),
            Poll::Pending => {}
        }
        Ok(())
    }

    /// Ready when the endpoint has taken too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let (limit, what) = match self.upload {
            // The client's own patience is over the request body.
            Upload::Going if !self.writer.waits_for_receiver() => return Poll::Pending,
            Upload::Going => (self.waits.send, "it takes nothing of the request"),
            _ => (self.waits.response, "no response within the timeout"),
        };
        ready!(self.patience.poll_over_or_by(limit, self.waits.by, cx));
        Poll::Ready(Fault::new(Code::ResponseTimeout, what))
    }

    fn hear(&mut self, head: ResponseHead) -> Result<Heard, Fault> {
        self.patience.progress();
        if head.status < 200 && head.status != 101 {
            self.interim += 1;
            if self.interim > INTERIM {
                return Err(Fault::new(Code::BadResponse, "more than 32 interim responses"));
            }
            return Ok(Heard::Interim(head));
        }
        self.status = head.status;
        Ok(Heard::Final(head))
    }

    /// Takes the final head's framing over; what follows is its body.
    ///
    /// # Errors
    /// When the end of the body cannot be known for certain (RS-01).
    pub(super) fn accept(
        &mut self,
        head: &ResponseHead,
        method: &Method,
        now: Instant,
    ) -> Result<(), Fault> {
        let framing = framing::of_response(head.version, head.status, &head.fields, method)
            .map_err(|e| Fault::new(Code::BadResponse, e.to_string()))?;
        self.decoder = Decoder::new(framing);
        if let Some(connection) = &mut self.connection {
            connection.size = self.decoder.size();
        }
        self.keep &= keeps(head.version, &head.fields) && framing != framing::Framing::UntilClose;
        if framing == framing::Framing::None && head.fields.has(Known::TransferEncoding) {
            // RS-07: what follows a bodyless response that announces a body is anybody's guess.
            self.keep &= *method == Method::Head || head.status == 304;
        }
        if head.status == 204 && !matches!(head.fields.get(Known::ContentLength), None | Some(b"0"))
        {
            // RFC 9110 §8.6 forbids it, so a body may well follow, late and in place of a response.
            self.keep = false;
        }
        if let Some(lease) = &mut self.lease {
            lease.answered(now);
            lease.heard(&head.fields);
        }
        Ok(())
    }

    /// The response as a body; ends the call at once where there is none.
    pub(super) fn into_body(mut self: Box<Self>) -> Body {
        if self.decoder.is_done() && self.upload == Upload::Done {
            self.finish();
            return Body::Empty;
        }
        Body::Stream(self)
    }

    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.lease.as_ref().map(Lease::endpoint)
    }

    pub(super) fn can_begin_anew(&self) -> bool {
        match self.upload {
            Upload::Done => self.request_body.can_rewind(),
            Upload::Going | Upload::Broken => self.writer.body_bytes() == 0,
        }
    }

    pub(super) fn give_place(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.home = Some(lease.endpoint().clone());
            lease.end(AttemptResult::Answered(self.status));
        }
    }

    /// A response that is there already leaves the connection fit for another exchange.
    pub(super) fn discard(mut self) -> Body {
        self.request_body.rewind();
        let body = std::mem::take(&mut self.request_body);
        while let Some(connection) = &mut self.connection {
            match self.decoder.front(connection.stream.filled()) {
                Ok(Piece::Data(n)) => {
                    self.decoder.took(n);
                    connection.stream.consume(n);
                }
                Ok(Piece::Skip(n)) => connection.stream.consume(n),
                Ok(Piece::End) => self.finish(),
                Ok(Piece::More) | Err(_) => break,
            }
        }
        if let Some(lease) = self.lease.take() {
            lease.end(AttemptResult::Answered(self.status));
        }
        body
    }

    /// The connection itself, after a 101.
    pub(super) fn into_tunnel(mut self) -> Option<(Far, Option<Lease>)> {
        Some((Far::Connection(self.connection.take()?.stream), self.lease.take()))
    }

    /// Ends a call that brought no response.
    pub(super) fn fail(mut self, fault: Fault) -> Failure {
        let broken = fault.code() == Code::BadResponse && !self.heard;
        let whole = self.writer.body_bytes() == 0 || self.request_body.rewind();
        let untouched = !self.heard && whole;
        Failure {
            untouched,
            broken,
            body: std::mem::take(&mut self.request_body),
            lease: self.lease.take(),
            fault,
        }
    }

    /// The whole response was received: the connection goes back if it is fit for another.
    fn finish(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let lease = self.lease.take();
        let Some(home) = lease.as_ref().map(Lease::endpoint).or(self.home.as_ref()) else { return };
        let fit = self.keep
            && self.upload == Upload::Done
            && connection.stream.filled().is_empty()
            && !connection.stream.ended();
        if fit {
            let now = self.local.worker.now();
            self.local.idle.borrow_mut().put(home, connection, now);
        }
        if let Some(lease) = lease {
            lease.end(AttemptResult::Answered(self.status));
        }
    }

    /// The response broke off.
    fn incomplete(&mut self, detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
        self.connection = None;
        if let Some(lease) = self.lease.take() {
            lease.end(AttemptResult::Failed(Code::IncompleteResponse));
        }
        Fault::new(Code::IncompleteResponse, detail)
    }
}

impl Source for Call {
    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        if self.poll_upload(cx).is_err() {
            // The client's side of the request failed; the response may still be whole.
            self.upload = Upload::Broken;
            self.keep = false;
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(0)) };
            let stream = &mut connection.stream;
            match self.decoder.front(stream.filled()) {
                Ok(Piece::Data(n)) => return Poll::Ready(Ok(n)),
                Ok(Piece::Skip(n)) => stream.consume(n),
                Ok(Piece::End) => {
                    self.finish();
                    return Poll::Ready(Ok(0));
                }
                Ok(Piece::More) => match stream.poll_fill(self.decoder.size(), cx) {
                    Poll::Ready(Ok(0)) => {
                        if !self.decoder.close() {
                            let fault = self.incomplete("it closed before the end of the body");
                            return Poll::Ready(Err(fault));
                        }
                        self.keep = false;
                    }
                    Poll::Ready(Ok(_)) => self.patience.progress(),
                    Poll::Ready(Err(e)) => {
                        let fault = self.incomplete(format!("reading the body: {e}"));
                        return Poll::Ready(Err(fault));
                    }
                    Poll::Pending => {
                        let fault = ready!(self.poll_stalled(cx));
                        return Poll::Ready(Err(fault));
                    }
                },
                Err(e) => {
                    let fault = self.incomplete(e.to_string());
                    return Poll::Ready(Err(fault));
                }
            }
        }
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        if let Some(connection) = &self.connection {
            let filled = connection.stream.filled();
            let most = self.decoder.announced().unwrap_or(usize::MAX);
            see(&filled[..filled.len().min(most)]);
        }
    }

    fn consume(&mut self, n: usize) {
        self.decoder.took(n);
        if let Some(connection) = &mut self.connection {
            connection.stream.consume(n);
        }
        // Whoever knows the length does not ask again: the connection is free from here on.
        if self.decoder.is_done() {
            self.finish();
        }
    }

    fn length(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.decoder.trailers().cloned()
    }

    fn kernel(&mut self) -> Option<Kernel<'_>> {
        if self.upload != Upload::Done || self.decoder.remaining().is_none() {
            return None;
        }
        self.connection.as_ref()?.stream.spliceable().map(Kernel::Socket)
    }

    fn kernel_moved(&mut self, n: usize) -> Result<(), Fault> {
        if n == 0 {
            return Err(self.incomplete("it closed before the end of the body"));
        }
        self.patience.progress();
        self.decoder.took(n);
        if self.decoder.is_done() {
            self.finish();
        }
        Ok(())
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        ready!(self.patience.poll_over_or_by(self.waits.idle, self.waits.by, cx));
        let fault = self.incomplete("the body stood still or took too long");
        Poll::Ready(Fault::new(Code::ResponseTimeout, fault.into_detail()))
    }
}

/// Whether the endpoint means to keep the connection open (RFC 9112 §9.3).
fn keeps(version: Version, fields: &Fields) -> bool {
    let said = |word: &[u8]| {
        fields.all(Known::Connection).flat_map(list).any(|token| token.eq_ignore_ascii_case(word))
    };
    match version {
        Version::Http10 => said(b"keep-alive") && !said(b"close"),
        _ => !said(b"close"),
    }
}

fn bad_head(error: HeadError) -> Fault {
    let code = match error {
        HeadError::LongStartLine | HeadError::LongFields | HeadError::ManyFields => {
            Code::LargeResponseFields
        }
        _ => Code::BadResponse,
    };
    Fault::new(code, format!("the response head: {error}"))
}
