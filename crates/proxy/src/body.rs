//! Bodies: where the bytes of a message come from.
//!
//! A body is asked to fill and then looked at, so that bytes go from one socket's buffer to the
//! other socket without being copied, and nothing is read before the last bytes have left: that is
//! the back-pressure.

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;

pub mod bandwidth;
pub mod joined;
pub mod replay;
pub mod unsaid;

use crate::fault::Fault;
use crate::fields::Fields;

/// Something that yields the bytes of a body.
pub trait Source {
    /// Ready with how many bytes can be looked at; 0 is the end. Bytes already there are announced
    /// again until consumed.
    ///
    /// # Errors
    /// When the body cannot be completed; the one who sends it on must not end it cleanly.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>>;

    /// Goes on with what has to go on beside this body: sending the rest of the request that it
    /// answers, which is read from the client. To be called while the client's connection is not
    /// borrowed, so never from [`Source::poll_fill`]; a source around another passes it on.
    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Shows the announced bytes.
    fn look(&self, see: &mut dyn FnMut(&[u8]));

    /// Forgets the first `n` of them.
    fn consume(&mut self, n: usize);

    /// Takes the first `n` announced bytes out, for whoever has to keep them.
    fn take(&mut self, n: usize) -> Bytes {
        let mut taken = Bytes::new();
        self.look(&mut |bytes| taken = Bytes::copy_from_slice(&bytes[..n.min(bytes.len())]));
        self.consume(taken.len());
        taken
    }

    /// How many bytes are still to come, where that is certain.
    fn length(&self) -> Option<u64>;

    /// The trailers, once at the end.
    fn trailers(&mut self) -> Option<Fields> {
        None
    }

    /// Begins anew with the first byte. Says whether it could.
    fn rewind(&mut self) -> bool {
        false
    }

    /// Whether [`Source::rewind`] would succeed.
    fn can_rewind(&self) -> bool {
        false
    }

    /// From where the kernel could move the bytes that are still to come by itself.
    fn kernel(&mut self) -> Option<Kernel<'_>> {
        None
    }

    /// The kernel has moved `n` bytes; 0 when the stream has ended.
    ///
    /// # Errors
    /// When the stream ended before the body did.
    fn kernel_moved(&mut self, n: usize) -> Result<(), Fault> {
        let _ = n;
        Ok(())
    }

    /// Asked while the kernel waits for the source: ready when that has lasted too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let _ = cx;
        Poll::Pending
    }
}

/// A place from which the kernel can move bytes to a socket.
#[derive(Debug)]
pub enum Kernel<'a> {
    /// From this offset of a file.
    File(&'a File, u64),
    /// From a plain TCP socket with nothing buffered.
    Socket(&'a TcpStream),
}

/// The body of a request or a response.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    /// All of it, in memory.
    Bytes(Bytes),
    /// As it comes.
    Stream(Box<dyn Source>),
}

impl Body {
    /// A body of these bytes.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Body::Empty } else { Body::Bytes(bytes) }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Body::Empty)
    }

    /// See [`Source::poll_fill`].
    ///
    /// # Errors
    /// When the body cannot be completed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        match self {
            Body::Empty => Poll::Ready(Ok(0)),
            Body::Bytes(bytes) => Poll::Ready(Ok(bytes.len())),
            Body::Stream(source) => source.poll_fill(cx),
        }
    }

    /// See [`Source::poll_beside`].
    pub fn poll_beside(&mut self, cx: &mut Context<'_>) {
        if let Body::Stream(source) = self {
            source.poll_beside(cx);
        }
    }

    /// Shows the announced bytes.
    pub fn look<R>(&self, see: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Body::Empty => Some(see(&[])),
            Body::Bytes(bytes) => Some(see(bytes)),
            Body::Stream(source) => {
                let (mut see, mut seen) = (Some(see), None);
                source.look(&mut |bytes| {
                    if let Some(see) = see.take() {
                        seen = Some(see(bytes));
                    }
                });
                seen
            }
        }
    }

    /// Forgets the first `n` announced bytes.
    pub fn consume(&mut self, n: usize) {
        match self {
            Body::Empty => {}
            Body::Bytes(bytes) => drop(bytes.split_to(n.min(bytes.len()))),
            Body::Stream(source) => source.consume(n),
        }
    }

    /// See [`Source::take`].
    pub fn take(&mut self, n: usize) -> Bytes {
        match self {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes.split_to(n.min(bytes.len())),
            Body::Stream(source) => source.take(n),
        }
    }

    /// How many bytes are still to come, where that is certain.
    pub fn length(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Stream(source) => source.length(),
        }
    }

    /// See [`Source::rewind`].
    pub fn rewind(&mut self) -> bool {
        match self {
            Body::Empty => true,
            Body::Bytes(_) => false,
            Body::Stream(source) => source.rewind(),
        }
    }

    /// See [`Source::can_rewind`].
    pub fn can_rewind(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Bytes(_) => false,
            Body::Stream(source) => source.can_rewind(),
        }
    }

    /// Reads all of it, or nothing more once it is over `most` bytes, which gives nothing.
    ///
    /// # Errors
    /// When the body cannot be completed.
    pub async fn whole(&mut self, most: usize) -> Result<Option<Bytes>, Fault> {
        if self.length().is_some_and(|length| length > most as u64) {
            return Ok(None);
        }
        let mut kept = match self {
            Body::Empty => return Ok(Some(Bytes::new())),
            Body::Bytes(bytes) => return Ok(Some(std::mem::take(bytes))),
            Body::Stream(source) => Vec::with_capacity(source.length().unwrap_or(0) as usize),
        };
        loop {
            let filled = poll_fn(|cx| {
                self.poll_beside(cx);
                self.poll_fill(cx)
            });
            match filled.await? {
                0 => return Ok(Some(kept.into())),
                n if kept.len() + n > most => return Ok(None),
                n => {
                    self.look(|bytes| kept.extend_from_slice(&bytes[..n]));
                    self.consume(n);
                }
            }
        }
    }

    /// The trailers, once at the end.
    pub fn trailers(&mut self) -> Option<Fields> {
        match self {
            Body::Stream(source) => source.trailers(),
            _ => None,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Body::Stream(source) => write!(f, "Stream({:?})", source.length()),
        }
    }
}
