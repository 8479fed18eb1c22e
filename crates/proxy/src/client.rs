//! The upstream side: connections to endpoints and exchanges over them.
//!
//! [`Call`] is what the rest sees of it. Which version an endpoint speaks is decided once per
//! attempt; from then on nobody asks.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use transom_net::DialError;

use crate::body::Body;
use crate::codec::head::ResponseHead;
use crate::destination::{Endpoint, Lease};
use crate::fault::{Code, Fault};
use crate::message::Method;
use crate::upgrade::Far;

pub mod h1;
pub mod h2;
pub mod pool;

/// Most responses before the final one (RS-09).
const INTERIM: usize = 32;

/// How long an endpoint may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// From the end of the request to the head of the response.
    pub response: Option<Duration>,
    /// Between two reads of the body.
    pub idle: Option<Duration>,
    /// Without the endpoint taking any of the request.
    pub send: Option<Duration>,
    /// The whole response must be there by then.
    pub by: Option<Instant>,
}

/// A call that brought no response.
pub struct Failure {
    pub fault: Fault,
    /// The endpoint sent nothing, and the request body is there from its first byte on: the
    /// request may be sent again as far as the bytes are concerned.
    pub untouched: bool,
    /// The connection broke, rather than the endpoint answering wrongly or late.
    pub broken: bool,
    pub body: Body,
    pub lease: Option<Lease>,
}

/// A response head: the final one, or one before it.
pub enum Heard {
    Interim(ResponseHead),
    Final(ResponseHead),
}

/// How far the request has got.
#[derive(Debug, PartialEq, Eq)]
enum Upload {
    Going,
    Done,
    /// The endpoint takes no more; its response may still come.
    Broken,
}

/// A request being sent and its response being received.
#[allow(clippy::large_enum_variant, reason = "HTTP/1 pays no allocation for there being HTTP/2")]
pub enum Call {
    H1(h1::Call),
    H2(Box<h2::Call>),
}

impl Call {
    /// The next head. `watch` is asked whenever there is nothing to do, and may give up.
    ///
    /// # Errors
    /// The fault that takes the place of the response; [`Call::fail`] then ends the call.
    pub async fn head(
        &mut self,
        watch: &mut impl FnMut(&mut Context<'_>) -> Poll<Fault>,
    ) -> Result<Heard, Fault> {
        poll_fn(|cx| {
            let heard = match self {
                Call::H1(call) => call.poll_head(cx),
                Call::H2(call) => call.poll_head(cx),
            };
            if heard.is_ready() {
                return heard;
            }
            watch(cx).map(Err)
        })
        .await
    }

    /// Takes the final head's framing over; what follows is its body.
    ///
    /// # Errors
    /// When the end of the body cannot be known for certain (RS-01).
    pub fn accept(
        &mut self,
        head: &ResponseHead,
        method: &Method,
        now: Instant,
    ) -> Result<(), Fault> {
        match self {
            Call::H1(call) => call.accept(head, method, now),
            Call::H2(call) => call.accept(head, method, now),
        }
    }

    /// The response as a body; ends the call at once where there is none.
    pub fn into_body(self) -> Body {
        match self {
            Call::H1(call) => call.into_body(),
            Call::H2(call) => call.into_body(),
        }
    }

    /// The endpoint that is called, as long as it is.
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        match self {
            Call::H1(call) => call.endpoint(),
            Call::H2(call) => call.endpoint(),
        }
    }

    /// Whether the request could be sent once more after its response: it was sent whole or not
    /// begun, and [`Call::discard`] can give its body back.
    pub fn can_begin_anew(&self) -> bool {
        match self {
            Call::H1(call) => call.can_begin_anew(),
            Call::H2(call) => call.can_begin_anew(),
        }
    }

    /// Ends a call whose response nobody wants; the request's body, for another one.
    pub fn discard(self) -> Body {
        match self {
            Call::H1(call) => call.discard(),
            Call::H2(call) => call.discard(),
        }
    }

    /// The connection or the stream itself, after a 101.
    pub fn into_tunnel(self) -> Option<(Far, Option<Lease>)> {
        match self {
            Call::H1(call) => call.into_tunnel(),
            Call::H2(call) => Some(call.into_tunnel()),
        }
    }

    /// Ends a call that brought no response.
    pub fn fail(self, fault: Fault) -> Failure {
        match self {
            Call::H1(call) => call.fail(fault),
            Call::H2(call) => call.fail(fault),
        }
    }
}

/// Why there is no connection, as a fault.
pub fn dial_fault(error: &DialError) -> Fault {
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
