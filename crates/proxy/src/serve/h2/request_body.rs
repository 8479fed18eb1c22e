//! The body of an HTTP/2 request. Its window is opened again only for bytes that have been passed
//! on, so that a slow endpoint holds up the client and no memory is filled.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::RecvStream;
use transom_net::Worker;

use super::side::Side;
use crate::body::Source;
use crate::codec::h2::{TRAILERS, received};
use crate::exchange::ClientSide;
use crate::fault::{Code, Fault};
use crate::fields::Fields;
use crate::serve::body_clock::{BodyClock, BodyRules};

/// The request body as the chain sees it.
pub(super) struct RequestBody {
    side: Rc<Side>,
    stream: RecvStream,
    /// What came last, as far as it was not passed on.
    data: Bytes,
    /// What Content-Length announces and is still to come.
    left: Option<u64>,
    ended: bool,
    trailers: Option<Fields>,
    clock: BodyClock,
}

impl RequestBody {
    pub(super) fn new(
        side: Rc<Side>,
        stream: RecvStream,
        length: Option<u64>,
        rules: BodyRules,
        worker: &Worker,
    ) -> Self {
        RequestBody {
            side,
            stream,
            data: Bytes::new(),
            left: length,
            ended: false,
            trailers: None,
            clock: BodyClock::new(rules, worker),
        }
    }

    fn received(&mut self, data: Bytes) -> Result<(), Fault> {
        let n = data.len() as u64;
        // H2-19: the library counts as well, but what an endpoint takes for whole hangs on this.
        if self.left.is_some_and(|left| n > left) {
            return Err(Fault::new(Code::BadRequest, "the body is longer than Content-Length"));
        }
        self.clock.check_size(self.side.body_in.get() + n)?;
        self.clock.came(self.side.body_in.get())?;
        self.data = data;
        Ok(())
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if self.left.is_some_and(|left| left > 0) {
            let fault = Fault::new(Code::BadRequest, "the body is shorter than Content-Length");
            return Poll::Ready(Err(fault));
        }
        let trailers = match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(map)) => received(&map, &TRAILERS),
            Ok(None) => Ok(Fields::new()),
            Err(e) => return Poll::Ready(Err(broken(&e))),
        };
        self.ended = true;
        match trailers {
            Ok(trailers) => self.trailers = Some(trailers).filter(|fields| !fields.is_empty()),
            Err(e) => {
                let fault = Fault::new(Code::BadRequest, format!("the trailers: {e}"));
                return Poll::Ready(Err(fault));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl Source for RequestBody {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        if self.side.expects.take() {
            self.side.send_interim(100, &Fields::new());
        }
        loop {
            if !self.data.is_empty() {
                return Poll::Ready(Ok(self.data.len()));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => self.received(data)?,
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(broken(&e))),
                Poll::Ready(None) => return self.poll_end(cx),
                Poll::Pending => {
                    let fault = ready!(self.clock.poll_late(cx));
                    return Poll::Ready(Err(fault));
                }
            }
        }
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        see(&self.data);
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.data.len());
        self.data.advance(n);
        self.side.body_in.set(self.side.body_in.get() + n as u64);
        if let Some(left) = &mut self.left {
            *left -= (n as u64).min(*left);
        }
        // Fails only where more is given back than was taken.
        let _ = self.stream.flow_control().release_capacity(n);
    }

    fn length(&self) -> Option<u64> {
        self.left
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }
}

fn broken(error: &h2::Error) -> Fault {
    if error.is_library() && !error.is_io() {
        return Fault::new(Code::BadRequest, format!("the request body: {error}"));
    }
    Fault::new(Code::ClientClosed, format!("reading the request body: {error}"))
}
