//! A connection that has become a tunnel: bytes both ways until one side has ended.

mod streamed;

use std::io::{self, IoSlice};
use std::task::{Context, Poll};
use std::time::Duration;

use transom_net::{Deadline, Size, Stream, Worker};

use crate::destination::{AttemptResult, Lease, Recall};
use crate::patience::Patience;

pub(crate) use self::streamed::{Streamed, send_some};
pub use transom_net::carry::Passed;

/// One side of a tunnel: a connection, or one stream of it.
pub trait Side {
    /// Ready with how many bytes came; 0 at the end of what this side sends.
    ///
    /// # Errors
    /// When the side is broken.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// Bytes that came and were not consumed.
    fn filled(&self) -> &[u8];

    /// Forgets the first `n` of them.
    fn consume(&mut self, n: usize);

    /// Ready with how many of the bytes were taken.
    ///
    /// # Errors
    /// When the side is broken.
    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// Ready when nothing written is held back here.
    ///
    /// # Errors
    /// When the side is broken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends what is sent to this side.
    ///
    /// # Errors
    /// When the side is broken.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The program, or the listener, is about to cut this off. Who speaks a protocol says so in it; bytes that
    /// are only carried have no word for that.
    fn leave(&mut self) {}
}

impl Side for Stream {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Stream::poll_fill(self, Size::Large, cx)
    }

    fn filled(&self) -> &[u8] {
        Stream::filled(self)
    }

    fn consume(&mut self, n: usize) {
        Stream::consume(self, n);
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Stream::poll_write(self, &[IoSlice::new(bytes)], cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_shutdown(self, cx)
    }
}

/// The endpoint's side of a tunnel: a connection of its own, or a stream among others.
pub enum Far {
    Connection(Stream),
    Stream(Box<dyn Side>),
}

impl Far {
    fn side(&mut self) -> &mut dyn Side {
        match self {
            Far::Connection(stream) => stream,
            Far::Stream(stream) => &mut **stream,
        }
    }
}

impl Side for Far {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.side().poll_fill(cx)
    }

    fn filled(&self) -> &[u8] {
        match self {
            Far::Connection(stream) => stream.filled(),
            Far::Stream(stream) => stream.filled(),
        }
    }

    fn consume(&mut self, n: usize) {
        self.side().consume(n);
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.side().poll_write(bytes, cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.side().poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.side().poll_shutdown(cx)
    }

    fn leave(&mut self) {
        self.side().leave();
    }
}

/// The endpoint's side of a tunnel.
pub struct Tunnel {
    far: Far,
    lease: Option<Lease>,
    recall: Option<Recall>,
    up: Half,
    down: Half,
    patience: Patience,
    /// Heard when all are woken, however long a tunnel may be silent.
    bell: Deadline,
    leaving: bool,
}

/// Nobody waits for that.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl Tunnel {
    pub fn new(far: Far, lease: Option<Lease>, worker: &Worker) -> Self {
        let patience = Patience::new(worker);
        let recall = lease.as_ref().and_then(Lease::recall);
        let mut bell = worker.deadline();
        bell.set(worker.now() + FOR_EVER);
        let (up, down) = (Half::default(), Half::default());
        Tunnel { far, lease, recall, up, down, patience, bell, leaving: false }
    }

    /// It is about to be cut off: what is said of that goes to the client with the next [`Tunnel::poll`].
    pub fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.far.leave();
        }
    }

    /// Carries bytes both ways until both sides have ended, one breaks, nothing has moved for `idle`,
    /// or the endpoint's drain is over. The end of one direction is passed on and the other goes on (RS-16).
    pub fn poll(
        &mut self,
        client: &mut impl Side,
        idle: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<Passed> {
        let moved = self.up.moved + self.down.moved;
        let up = self.up.poll(client, &mut self.far, cx);
        let down = self.down.poll(&mut self.far, client, cx);
        if self.up.moved + self.down.moved > moved {
            self.patience.progress();
        }
        let passed = Passed { to_endpoint: self.up.moved, to_client: self.down.moved };
        match (up, down) {
            (Poll::Ready(Err(_)), _)
            | (_, Poll::Ready(Err(_)))
            | (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {}
            _ => {
                let recalled = |recall: &mut Recall| recall.as_mut().poll(cx).is_ready();
                if !self.recall.as_mut().is_some_and(recalled) {
                    let _ = self.bell.poll_passed(cx);
                    std::task::ready!(self.patience.poll_over(idle, cx));
                }
            }
        }
        if let Some(lease) = self.lease.take() {
            lease.end(AttemptResult::Answered(101));
        }
        Poll::Ready(passed)
    }
}

/// One direction.
#[derive(Default)]
struct Half {
    moved: u64,
    ended: bool,
    shut: bool,
}

impl Half {
    /// Ready when this direction has ended and its end was passed on.
    fn poll(
        &mut self,
        from: &mut impl Side,
        to: &mut impl Side,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.shut {
                return Poll::Ready(Ok(()));
            }
            if !from.filled().is_empty() {
                match to.poll_write(from.filled(), cx) {
                    Poll::Ready(Ok(n)) => {
                        from.consume(n);
                        self.moved += n as u64;
                    }
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                    Poll::Pending => return Poll::Pending,
                }
                continue;
            }
            if self.ended {
                std::task::ready!(to.poll_shutdown(cx))?;
                self.shut = true;
                continue;
            }
            match from.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => {
                    std::task::ready!(to.poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
    }
}
