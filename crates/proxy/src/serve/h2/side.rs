//! The client's side of one stream.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, StatusCode};

use crate::codec::h2::sent;
use crate::exchange::ClientSide;
use crate::fault::{Code, Fault};
use crate::fields::Fields;

/// Shared by the one who reads the request body and the one who sends the response.
pub(super) struct Side {
    respond: RefCell<SendResponse<Bytes>>,
    /// The head of the response was sent.
    answered: Cell<bool>,
    /// A 100 is owed before the body is read.
    pub(super) expects: Cell<bool>,
    /// Bytes of body received and passed on.
    pub(super) body_in: Cell<u64>,
}

impl Side {
    pub(super) fn new(respond: SendResponse<Bytes>) -> Rc<Self> {
        Rc::new(Side {
            respond: RefCell::new(respond),
            answered: Cell::new(false),
            expects: Cell::new(false),
            body_in: Cell::new(0),
        })
    }

    /// Ready when the client has reset the stream, or its connection is gone. Only until the
    /// response has begun; then the stream that sends it says so.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<Fault> {
        if self.answered.get() {
            return Poll::Pending;
        }
        self.respond.borrow_mut().poll_reset(cx).map(|reset| gone(reset.ok()))
    }

    /// Sends the head of the response.
    ///
    /// # Errors
    /// When the stream is no more.
    pub(super) fn send_head(
        &self,
        status: u16,
        fields: HeaderMap,
        last: bool,
    ) -> Result<SendStream<Bytes>, h2::Error> {
        let head = head(status, fields);
        let stream = self.respond.borrow_mut().send_response(head, last)?;
        self.answered.set(true);
        Ok(stream)
    }

    pub(super) fn reset(&self, reason: Reason) {
        self.respond.borrow_mut().send_reset(reason);
    }
}

impl ClientSide for Side {
    fn send_interim(&self, status: u16, fields: &Fields) {
        // RFC 9113 §8.6: there is no 101. One that cannot be sent is not missed.
        if status != 101 && !self.answered.get() {
            let _ = self.respond.borrow_mut().send_informational(head(status, sent(fields)));
        }
    }

    /// Never: the exchange as a whole ends with its stream, wherever it stands.
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<Fault> {
        Poll::Pending
    }
}

fn head(status: u16, fields: HeaderMap) -> http::Response<()> {
    let mut head = http::Response::new(());
    // Statuses have three digits, whoever made them.
    *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *head.headers_mut() = fields;
    head
}

/// Why nobody waits for the response any more.
pub(super) fn gone(reason: Option<Reason>) -> Fault {
    let detail = match reason {
        Some(reason) => format!("the client reset the stream: {}", reason.description()),
        None => "the client's connection ended".to_owned(),
    };
    Fault::new(Code::ClientClosed, detail)
}
