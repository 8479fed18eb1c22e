//! Sends the body of a response over one stream, never more than the client's window and a small
//! buffer hold.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::guard::TINY;
use super::side::gone;
use crate::body::Body;
use crate::codec::h2::sent;
use crate::fault::{Code, Fault};
use crate::fields::Fields;

/// Most bytes taken from the body at once.
const AT_ONCE: usize = 32 * 1024;

/// Which side a sender stopped at, and why.
#[derive(Debug)]
pub(super) enum Stop {
    /// The body cannot be completed.
    Source(Fault),
    /// The client takes no more.
    Client(Fault),
}

/// Sends what follows the head.
pub(super) struct Sender {
    stream: SendStream<Bytes>,
    /// Taken from the body, and held until it is known whether it is the last.
    held: Bytes,
    /// What Content-Length announced and is still to be sent.
    left: Option<u64>,
    trailers: bool,
    body_bytes: u64,
    blocked: bool,
    /// Frames cut short by the window.
    tiny: u32,
}

impl Sender {
    /// Trailers are passed on only where `trailers`.
    pub(super) fn new(stream: SendStream<Bytes>, length: Option<u64>, trailers: bool) -> Self {
        Sender {
            stream,
            held: Bytes::new(),
            left: length,
            trailers,
            body_bytes: 0,
            blocked: false,
            tiny: 0,
        }
    }

    /// Bytes of body passed on.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The last wait was for the client, not for the body.
    pub(super) fn waits_for_client(&self) -> bool {
        self.blocked
    }

    /// Frames cut short by the client's window since this was last asked.
    pub(super) fn take_tiny(&mut self) -> u32 {
        std::mem::take(&mut self.tiny)
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Goes on until the end of the stream is with the library.
    ///
    /// # Errors
    /// [`Stop`]. The stream then has to be reset.
    pub(super) fn poll(&mut self, body: &mut Body, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        self.blocked = false;
        if let Poll::Ready(reset) = self.stream.poll_reset(cx) {
            return Poll::Ready(Err(Stop::Client(gone(reset.ok()))));
        }
        loop {
            match body.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(self.end(body)),
                Poll::Ready(Ok(n)) => {
                    self.send_held(false)?;
                    ready!(self.poll_take(n, body, cx))?;
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(Stop::Source(fault))),
                Poll::Pending => {
                    self.send_held(false)?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes of the `n` announced bytes what the window allows.
    fn poll_take(
        &mut self,
        n: usize,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        if self.left.is_some_and(|left| n as u64 > left) {
            let fault = Fault::new(Code::Internal, "a body is longer than its announced length");
            return Poll::Ready(Err(Stop::Source(fault)));
        }
        let wanted = n.min(AT_ONCE);
        self.stream.reserve_capacity(wanted);
        while self.stream.capacity() == 0 {
            let capacity = self.stream.poll_capacity(cx);
            self.blocked = capacity.is_pending();
            match ready!(capacity) {
                Some(Ok(_)) => {}
                Some(Err(e)) => return Poll::Ready(Err(Stop::Client(gone(e.reason())))),
                None => return Poll::Ready(Err(Stop::Client(gone(None)))),
            }
        }
        let taken = wanted.min(self.stream.capacity());
        self.tiny += u32::from(taken < TINY && taken < wanted);
        self.held = body.take(taken);
        self.body_bytes += taken as u64;
        if let Some(left) = &mut self.left {
            *left -= taken as u64;
        }
        Poll::Ready(Ok(()))
    }

    fn send_held(&mut self, last: bool) -> Result<(), Stop> {
        if self.held.is_empty() && !last {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.stream.send_data(held, last).map_err(|e| Stop::Client(gone(e.reason())))
    }

    fn end(&mut self, body: &mut Body) -> Result<(), Stop> {
        if self.left.is_some_and(|left| left > 0) {
            let fault = Fault::new(Code::Internal, "a body is shorter than its announced length");
            return Err(Stop::Source(fault));
        }
        match body.trailers().map(passed).filter(|fields| self.trailers && !fields.is_empty()) {
            Some(trailers) => {
                self.send_held(false)?;
                let sent = self.stream.send_trailers(sent(&trailers));
                sent.map_err(|e| Stop::Client(gone(e.reason())))
            }
            None => self.send_held(true),
        }
    }
}

/// Names that mean something to a recipient before the body are not trailers (RFC 9110 §6.5.1):
/// only names that Transom itself gives no meaning to pass.
pub(super) fn passed(mut trailers: Fields) -> Fields {
    trailers.retain(|field| field.known.is_none());
    trailers
}
