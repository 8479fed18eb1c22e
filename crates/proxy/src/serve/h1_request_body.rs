//! The body of an HTTP/1 request, read from the client as it is wanted.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use transom_net::{Size, Stream, Worker};

use super::body_clock::{BodyClock, BodyRules};
use crate::body::Source;
use crate::codec::{Decoder, Framing, Piece, trailers};
use crate::exchange::ClientSide;
use crate::fault::{Code, Fault};
use crate::fields::Fields;
use crate::message::reason;
use crate::patience::Patience;

/// The client's connection, shared by the one who reads the request body and the one who writes
/// the response. Never borrowed across a wait.
pub(super) struct Wire(RefCell<State>);

pub(super) struct State {
    pub(super) stream: Stream,
    /// The body of the request being served.
    pub(super) body: Decoder,
    pub(super) body_read: u64,
    /// A 100 is owed before the body is read.
    pub(super) expects: bool,
    pub(super) takes_interim: bool,
    /// The body failed: nothing after it can be told apart.
    pub(super) broken: bool,
    /// What is left of interim responses, to be sent before the final one.
    pub(super) interim: Vec<u8>,
    /// Until a fresh connection is watched.
    patience: Patience,
}

/// How long a response may take before a connection that was just accepted is watched for its end.
const WATCH_AFTER: Duration = Duration::from_millis(60);

impl Wire {
    pub(super) fn new(stream: Stream) -> Rc<Self> {
        Rc::new(Wire(RefCell::new(State {
            patience: Patience::new(stream.worker()),
            stream,
            body: Decoder::new(Framing::None),
            body_read: 0,
            expects: false,
            takes_interim: false,
            broken: false,
            interim: Vec::new(),
        })))
    }

    pub(super) fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// The stream, once nobody else holds the wire.
    pub(super) fn into_stream(self: Rc<Self>) -> Option<Stream> {
        Rc::into_inner(self).map(|wire| wire.0.into_inner().stream)
    }
}

impl State {
    /// Nothing of the client's is left to be read, here or in the kernel.
    pub(super) fn is_read_out(&self) -> bool {
        self.body.is_done() && !self.stream.has_unread()
    }

    /// Queues an interim response and sends what the client takes at once.
    fn send_interim(&mut self, status: u16, fields: &Fields) {
        let line = format!("HTTP/1.1 {status} {}\r\n", reason(status));
        self.interim.extend_from_slice(line.as_bytes());
        fields.write(&mut self.interim);
        self.interim.extend_from_slice(b"\r\n");
        // Nobody waits for this write: what does not go now goes before the final head.
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let sent = match self.stream.poll_write(&[std::io::IoSlice::new(&self.interim)], cx) {
            Poll::Ready(Ok(n)) => n,
            _ => 0,
        };
        let _ = self.stream.poll_flush(cx);
        self.interim.drain(..sent);
    }
}

impl ClientSide for Wire {
    fn send_interim(&self, status: u16, fields: &Fields) {
        let mut state = self.state();
        if state.takes_interim {
            state.send_interim(status, fields);
        }
    }

    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Fault> {
        let mut state = self.state();
        let state = &mut *state;
        // Only between the request and its response: what comes then is the next request, or the
        // end. A client that ends its direction may still wait for the response (RS-16).
        if !state.body.is_done() || state.stream.ended() || !state.stream.filled().is_empty() {
            return Poll::Pending;
        }
        if state.stream.is_fresh() {
            // Most responses come before the runtime had to know this socket.
            ready!(state.patience.poll_over(Some(WATCH_AFTER), cx));
        }
        match ready!(state.stream.poll_fill(Size::Small, cx)) {
            Ok(_) => Poll::Pending,
            Err(_) => {
                Poll::Ready(Fault::new(Code::ClientClosed, "the client reset the connection"))
            }
        }
    }
}

/// The request body as the chain sees it.
pub(super) struct RequestBody {
    wire: Rc<Wire>,
    clock: BodyClock,
}

impl RequestBody {
    pub(super) fn new(wire: Rc<Wire>, rules: BodyRules, worker: &Worker) -> Self {
        RequestBody { wire, clock: BodyClock::new(rules, worker) }
    }
}

impl Source for RequestBody {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let wire = self.wire.clone();
        let mut state = wire.state();
        let state = &mut *state;
        if std::mem::take(&mut state.expects) {
            state.send_interim(100, &Fields::new());
        }
        let fault = loop {
            match state.body.front(state.stream.filled()) {
                Ok(Piece::Data(n)) => match self.clock.check_size(state.body_read + n as u64) {
                    Ok(()) => return Poll::Ready(Ok(n)),
                    Err(fault) => break fault,
                },
                Ok(Piece::Skip(n)) => state.stream.consume(n),
                Ok(Piece::End) => return Poll::Ready(Ok(0)),
                Ok(Piece::More) => match state.stream.poll_fill(state.body.size(), cx) {
                    Poll::Ready(Ok(0)) => {
                        let detail = "the client ended the connection before the end of the body";
                        break Fault::new(Code::ClientClosed, detail);
                    }
                    Poll::Ready(Ok(_)) => {
                        if let Err(fault) = self.clock.came(state.body_read) {
                            break fault;
                        }
                    }
                    Poll::Ready(Err(e)) => {
                        let detail = format!("reading the request body: {e}");
                        break Fault::new(Code::ClientClosed, detail);
                    }
                    Poll::Pending => break ready!(self.clock.poll_late(cx)),
                },
                Err(e) => break Fault::new(Code::BadRequest, e.to_string()),
            }
        };
        state.broken = true;
        Poll::Ready(Err(fault.closing()))
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        let state = self.wire.state();
        let filled = state.stream.filled();
        let most = state.body.announced().unwrap_or(0);
        see(&filled[..filled.len().min(most)]);
    }

    fn consume(&mut self, n: usize) {
        let mut state = self.wire.state();
        state.body.took(n);
        state.body_read += n as u64;
        state.stream.consume(n);
    }

    fn length(&self) -> Option<u64> {
        self.wire.state().body.remaining()
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.wire.state().body.trailers().cloned().map(trailers::passed_of_request)
    }
}
