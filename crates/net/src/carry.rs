//! Bytes both ways between two streams, unread, until both directions have ended.
//!
//! Each message is one read and one write: small ones are copied through a buffer of the worker,
//! and where a direction has more than a buffer at once and both ends are plain sockets, its bytes
//! stay in the kernel ([`crate::splice`]).

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use crate::buffer::Size;
use crate::splice::Pipe;
use crate::stream::Stream;

/// What is taken at once while bytes stay in the kernel; as much as a pipe may hold.
const AT_ONCE: usize = 1 << 20;
/// Below this much at once, copying costs less than two calls and a pipe.
const WORTH: usize = 16 * 1024;

/// Two directions between a client and an endpoint.
#[derive(Debug, Default)]
pub struct Carry {
    up: Half,
    down: Half,
}

/// How many bytes went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub to_endpoint: u64,
    pub to_client: u64,
}

impl Passed {
    pub fn total(self) -> u64 {
        self.to_endpoint + self.to_client
    }
}

/// Which end broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Client,
    Endpoint,
}

impl Carry {
    pub fn passed(&self) -> Passed {
        Passed { to_endpoint: self.up.moved, to_client: self.down.moved }
    }

    /// Whether one direction has ended and the other has not.
    pub fn is_half_closed(&self) -> bool {
        self.up.shut != self.down.shut
    }

    /// Ready when both directions have ended, or one end broke. The end of one direction is passed
    /// on and the other goes on (RS-16).
    pub fn poll(
        &mut self,
        client: &mut Stream,
        endpoint: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), (End, io::Error)>> {
        let up = self.up.poll(client, endpoint, cx);
        let up = up.map_err(|broken| broken.of(End::Client, End::Endpoint))?;
        let down = self.down.poll(endpoint, client, cx);
        let down = down.map_err(|broken| broken.of(End::Endpoint, End::Client))?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// A failure of the side that is read, or of the one that is written.
enum Broken {
    From(io::Error),
    To(io::Error),
}

impl Broken {
    fn of(self, from: End, to: End) -> (End, io::Error) {
        match self {
            Broken::From(error) => (from, error),
            Broken::To(error) => (to, error),
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    moved: u64,
    /// More than a buffer came at once.
    bulk: bool,
    pipe: Option<Pipe>,
    ended: bool,
    shut: bool,
}

impl Half {
    /// Ready when this direction has ended and its end was passed on.
    fn poll(
        &mut self,
        from: &mut Stream,
        to: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.shut {
                return Poll::Ready(Ok(()));
            }
            if self.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0) {
                ready!(self.poll_give(to, cx)).map_err(Broken::To)?;
                continue;
            }
            if !from.filled().is_empty() {
                let bytes = [IoSlice::new(from.filled())];
                let n = ready!(to.poll_write(&bytes, cx)).map_err(Broken::To)?;
                from.consume(n);
                self.moved += n as u64;
                continue;
            }
            if self.ended {
                ready!(to.poll_shutdown(cx)).map_err(Broken::To)?;
                self.shut = true;
                continue;
            }
            if self.bulk && from.spliceable().is_some() && to.plain_socket().is_some() {
                ready!(self.poll_take(from, cx)).map_err(Broken::From)?;
                continue;
            }
            let size = if self.bulk { Size::Large } else { Size::Small };
            match from.poll_fill(size, cx) {
                Poll::Ready(Ok(n)) => {
                    self.ended = n == 0;
                    self.bulk = n >= Size::Small.bytes();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::From(error))),
                Poll::Pending => {
                    ready!(to.poll_flush(cx)).map_err(Broken::To)?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// From the socket into the pipe; back to copying where that does not pay or cannot be done.
    fn poll_take(&mut self, from: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pipe.is_none() {
            match from.worker().pipes().take() {
                Ok(pipe) => self.pipe = Some(pipe),
                Err(_) => {
                    self.bulk = false;
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let (Some(pipe), Some(socket)) = (&mut self.pipe, from.spliceable()) else {
            return Poll::Ready(Ok(()));
        };
        match pipe.poll_take(socket, AT_ONCE, cx) {
            Poll::Ready(Ok(n)) => {
                self.ended = n == 0;
                self.bulk = n >= WORTH;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                // An idle connection keeps no descriptors that others can use.
                self.pipe = None;
                Poll::Pending
            }
        }
    }

    fn poll_give(&mut self, to: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Some(pipe), Some(socket)) = (&mut self.pipe, to.plain_socket()) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let n = ready!(pipe.poll_give(socket, false, cx))?;
        self.moved += n as u64;
        Poll::Ready(Ok(()))
    }
}
