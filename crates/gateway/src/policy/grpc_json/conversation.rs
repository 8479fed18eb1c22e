//! A call whose messages go both ways, over WebSocket: each message of JSON is a text, an empty text is
//! the end of what the client sends, and the closing frame says how the call ended.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use prost_reflect::MessageDescriptor;
use transom_proxy::body::Source;
use transom_proxy::fault::Fault;
use transom_proxy::upgrade::Side;

use super::request::{self, Reading};
use super::response::{Sent, Shape, Writing};
use super::stream::{Coming, Messages};
use crate::grpc::status::{Code, Status};
use crate::websocket::{self, Listening, Said, Wrong};

/// The call until its response has begun.
pub(super) type Calling = Pin<Box<dyn Future<Output = Result<Messages, Status>>>>;

/// Bytes that wait in one direction before the other side has to.
const WAITING: usize = 64 << 10;

/// The client's side of the call.
pub(super) struct Conversation {
    call: Call,
    sent: Rc<RefCell<Pipe>>,
    listening: Listening,
    types: Types,
    /// Frames for the client.
    out: BytesMut,
    /// Whoever has more for us.
    waits: Option<Waker>,
    /// The closing frame is written.
    closing: bool,
    /// The client has sent its own, and so has got whatever it wanted to have.
    closed: bool,
    /// The end was told to whoever carries our bytes.
    ended: bool,
}

/// What the messages of a method are.
pub(super) struct Types {
    pub(super) input: MessageDescriptor,
    pub(super) streams_in: bool,
    pub(super) reading: Reading,
    pub(super) shape: Shape,
    pub(super) writing: Arc<Writing>,
}

enum Call {
    Calling(Calling),
    Answering(Box<Messages>),
    Over,
}

impl Conversation {
    /// The messages that the client sends are read from the other end of `sent`.
    pub(super) fn new(call: Calling, sent: &Sending, types: Types, longest: usize) -> Self {
        Conversation {
            call: Call::Calling(call),
            sent: sent.0.clone(),
            listening: Listening::to(longest),
            types,
            out: BytesMut::new(),
            waits: None,
            closing: false,
            closed: false,
            ended: false,
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        if !std::mem::replace(&mut self.closing, true) {
            websocket::close(code, reason, &mut self.out);
            // a call that goes on is reset
            self.call = Call::Over;
        }
    }

    fn end(&mut self, status: &Status) {
        match status.code {
            0 => self.close(1000, ""),
            code => {
                let name = status.code().name();
                let reason = match &*status.message {
                    "" => name.to_owned(),
                    message => format!("{name}: {message}"),
                };
                self.close(4000 + u16::try_from(code).unwrap_or(2).min(99), &reason);
            }
        }
    }

    fn hear(&mut self) -> Result<(), Wrong> {
        while !self.closing
            && let Some(said) = self.listening.hear()?
        {
            match said {
                Said::Ping(payload) => websocket::pong(&payload, &mut self.out),
                Said::Close(code) => {
                    self.closed = true;
                    // RFC 6455 §5.5.1: its own code comes back
                    self.close(code.unwrap_or(1000), "");
                }
                Said::Text(text) if text.is_empty() => self.sent.borrow_mut().end(),
                Said::Text(_) if self.sent.borrow().ended => {
                    let why = "a message after the last";
                    self.end(&Status::new(INVALID_ARGUMENT, why));
                }
                Said::Text(text) => {
                    let types = &self.types;
                    match request::message(&types.input, text.as_bytes(), types.reading) {
                        Ok(message) => {
                            let mut sent = self.sent.borrow_mut();
                            sent.push(&message);
                            if !types.streams_in {
                                sent.end();
                            }
                        }
                        Err(bad) => self.end(&Status::new(INVALID_ARGUMENT, bad.what)),
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, coming: Result<Coming, Fault>) {
        match coming {
            Ok(Coming::Message(bytes)) => match self.types.shape.of(bytes, &self.types.writing) {
                Ok(Sent::Json(json)) => websocket::text(&json, &mut self.out),
                Ok(Sent::Raw(_, bytes)) => {
                    let text = data_encoding::BASE64.encode(&bytes);
                    websocket::text(format!("\"{text}\"").as_bytes(), &mut self.out);
                }
                Err(why) => self.end(&Status::new(INTERNAL, why)),
            },
            Ok(Coming::End(status)) => self.end(&status),
            Err(fault) => self.end(&of_fault(fault.code())),
        }
    }
}

const INVALID_ARGUMENT: Code = Code(3);
const INTERNAL: Code = Code(13);

/// What clients of gRPC are told of a fault.
pub(super) fn of_fault(code: transom_proxy::fault::Code) -> Status {
    Status::new(Code(u32::from(code.row().grpc.0)), code.row().sentence)
}

impl Side for Conversation {
    fn leave(&mut self) {
        self.close(1001, "going away");
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if !self.out.is_empty() {
                return Poll::Ready(Ok(self.out.len()));
            }
            if self.closing {
                self.ended = true;
                cx.waker().wake_by_ref();
                return Poll::Ready(Ok(0));
            }
            match &mut self.call {
                Call::Calling(call) => match ready!(call.as_mut().poll(cx)) {
                    Ok(messages) => self.call = Call::Answering(Box::new(messages)),
                    Err(status) => self.end(&status),
                },
                Call::Answering(messages) => {
                    let coming = ready!(messages.poll_with_request(cx));
                    self.answer(coming);
                }
                Call::Over => self.close(1000, ""),
            }
        }
    }

    fn filled(&self) -> &[u8] {
        &self.out
    }

    fn consume(&mut self, n: usize) {
        self.out.advance(n);
        if let Some(waits) = self.waits.take() {
            waits.wake();
        }
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.closing {
            // nothing is listened to any more but that the client closes, too
            self.listening.push(bytes);
            while let Some(said) = self.listening.hear().unwrap_or(Some(Said::Close(None))) {
                self.closed |= matches!(said, Said::Close(_));
                if self.closed {
                    break;
                }
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        let mut sent = self.sent.borrow_mut();
        if sent.ready.len() > WAITING || self.out.len() > WAITING {
            sent.writer = Some(cx.waker().clone());
            self.waits = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(sent);
        self.listening.push(bytes);
        if let Err(Wrong(code, why)) = self.hear() {
            self.close(code, why);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// RFC 6455 §7.1.1: once both have closed, it is the server who ends the connection.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.closed && self.ended {
            true => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            false => Poll::Ready(Ok(())),
        }
    }

    /// A client that is gone without a word takes no answer.
    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(1001, "");
        Poll::Ready(Ok(()))
    }
}

/// The messages of the client on their way to the endpoint: the body of the call.
#[derive(Clone, Default)]
pub(super) struct Sending(Rc<RefCell<Pipe>>);

#[derive(Default)]
struct Pipe {
    ready: BytesMut,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn push(&mut self, message: &Bytes) {
        self.ready.extend_from_slice(message);
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    fn end(&mut self) {
        self.ended = true;
        self.reader.take().into_iter().for_each(Waker::wake);
    }
}

impl Source for Sending {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        let mut pipe = self.0.borrow_mut();
        if pipe.ready.is_empty() && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(pipe.ready.len()))
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        see(&self.0.borrow().ready);
    }

    fn consume(&mut self, n: usize) {
        let mut pipe = self.0.borrow_mut();
        let n = n.min(pipe.ready.len());
        pipe.ready.advance(n);
        pipe.writer.take().into_iter().for_each(Waker::wake);
    }

    fn length(&self) -> Option<u64> {
        None
    }
}
