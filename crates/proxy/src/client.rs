//! The upstream side: connections to endpoints and exchanges over them.
//!
//! [`Call`] is what the rest sees of it. Which version an endpoint speaks is decided once per
//! attempt; from then on nobody asks.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use transom_net::{Address, DialError};

use crate::body::Body;
use crate::codec::head::ResponseHead;
use crate::destination::{Endpoint, Lease};
use crate::fault::{Code, Fault};
use crate::message::Method;
use crate::upgrade::Far;

pub mod h1;
pub mod h2;
pub mod places;
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
pub enum Call {
    H1(Box<h1::Call>),
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

    /// Gives the endpoint's place to others while it is not known whether anybody wants the response,
    /// which may still be had.
    pub fn give_place(&mut self) {
        match self {
            Call::H1(call) => call.give_place(),
            Call::H2(call) => call.give_place(),
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
        DialError::Connect(to, e) if is_our_shortage(to, e) => {
            Fault::new(Code::Overloaded, detail).retry_after(Duration::from_secs(1))
        }
        DialError::Connect(..) => Fault::new(Code::ConnectFailed, detail),
        DialError::Tls(..) => Fault::new(Code::TlsFailed, detail),
    }
}

/// Whether this machine has run out of something, for which no endpoint is to blame, and which no
/// other attempt would make better: descriptors, memory, or ports (U-18). Over IPv6 the same error
/// mostly means that there is none here.
fn is_our_shortage(to: &Address, error: &std::io::Error) -> bool {
    let Some(errno) = Errno::from_io_error(error) else { return false };
    match errno {
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => true,
        Errno::ADDRNOTAVAIL => matches!(to, Address::Tcp(SocketAddr::V4(_))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn u_18_what_this_machine_lacks_is_no_endpoint_s_fault() {
        let (v4, v6) = ("10.0.0.1:80", "[2001:db8::1]:80");
        for (to, errno, code) in [
            (v4, Errno::ADDRNOTAVAIL, Code::Overloaded),
            (v6, Errno::ADDRNOTAVAIL, Code::ConnectFailed),
            (v4, Errno::MFILE, Code::Overloaded),
            (v6, Errno::NOBUFS, Code::Overloaded),
            (v4, Errno::CONNREFUSED, Code::ConnectRefused),
            (v4, Errno::TIMEDOUT, Code::ConnectTimeout),
            (v4, Errno::HOSTUNREACH, Code::ConnectFailed),
        ] {
            let error = DialError::Connect(Address::Tcp(to.parse().unwrap()), errno.into());
            assert_eq!(dial_fault(&error).code(), code, "{to} {errno}");
        }
        // said by ourselves: an address in the configuration that does not fit
        let error = io::Error::new(io::ErrorKind::AddrNotAvailable, "it cannot be reached");
        let error = DialError::Connect(Address::Tcp(v4.parse().unwrap()), error);
        assert_eq!(dial_fault(&error).code(), Code::ConnectFailed);
    }
}
