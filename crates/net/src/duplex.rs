//! A [`Stream`] as libraries want it that speak tokio's `AsyncRead` and `AsyncWrite`.
//!
//! Such a library flushes whenever it has a piece ready; one system call for each would cost more
//! than the library itself. So what it writes is gathered here, in a buffer of the worker's pool,
//! and leaves when the owner, who holds another handle, calls [`Duplex::poll_send`] after each
//! round of polling the library. A stream on which nothing moves holds no buffer.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffer::{Buffer, Size};
use crate::stream::Stream;

/// One handle of a shared stream; clones are the same stream. Never borrowed across a wait.
#[derive(Clone, Debug)]
pub struct Duplex(Rc<RefCell<Ends>>);

#[derive(Debug)]
struct Ends {
    stream: Stream,
    /// Written by the library and not yet by us.
    gathered: Option<Buffer>,
    /// The last read filled a small buffer, so that a large one is worth its while.
    flowing: bool,
}

impl Duplex {
    pub fn new(stream: Stream) -> Self {
        Duplex(Rc::new(RefCell::new(Ends { stream, gathered: None, flowing: false })))
    }

    /// Sends what was gathered; ready when all of it is with the kernel.
    ///
    /// # Errors
    /// When the stream cannot be written to.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(cx)
    }

    /// Bytes gathered and not yet sent.
    pub fn waiting(&self) -> usize {
        self.0.borrow().gathered.as_ref().map_or(0, |buffer| buffer.filled().len())
    }

    /// Looks at the stream itself, or does something to it.
    pub fn with<R>(&self, see: impl FnOnce(&mut Stream) -> R) -> R {
        see(&mut self.0.borrow_mut().stream)
    }

    /// The stream, once nobody else holds a handle.
    pub fn into_stream(self) -> Option<Stream> {
        Rc::into_inner(self.0).map(|ends| ends.into_inner().stream)
    }
}

impl Ends {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(gathered) = &mut self.gathered {
            let sent = ready!(self.stream.poll_write(&[IoSlice::new(gathered.filled())], cx))?;
            gathered.consume(sent);
            if gathered.is_empty() {
                self.gathered = None;
            }
        }
        self.stream.poll_flush(cx)
    }

    fn poll_gather(
        &mut self,
        bufs: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.gathered.as_mut().is_some_and(|buffer| buffer.room().is_empty()) {
            ready!(self.poll_send(cx))?;
        }
        let gathered = self.gathered.get_or_insert_with(|| {
            let size = if total > Size::Small.bytes() { Size::Large } else { Size::Small };
            self.stream.worker().buffers().take(size)
        });
        if gathered.size() == Size::Small && gathered.filled().len() + total > Size::Small.bytes() {
            gathered.enlarge();
        }
        let mut taken = 0;
        for buf in bufs {
            let room = gathered.room();
            let n = buf.len().min(room.len());
            room[..n].copy_from_slice(&buf[..n]);
            gathered.advance(n);
            taken += n;
        }
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.0.borrow_mut();
        let Ends { stream, flowing, .. } = &mut *ends;
        if stream.filled().is_empty() {
            let size = if *flowing { Size::Large } else { Size::Small };
            let n = ready!(stream.poll_fill(size, cx))?;
            *flowing = n >= Size::Small.bytes();
            if n == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let filled = stream.filled();
        let n = filled.len().min(buf.remaining());
        buf.put_slice(&filled[..n]);
        stream.consume(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(&[IoSlice::new(buf)], cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_gather(bufs, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Ready at once: the owner sends.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.0.borrow_mut();
        ready!(ends.poll_send(cx))?;
        ends.stream.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::tls::testing::block_on;
    use crate::worker::Worker;

    async fn send(duplex: &Duplex) {
        poll_fn(|cx| duplex.poll_send(cx)).await.unwrap();
    }

    #[test]
    fn what_is_written_leaves_when_the_owner_sends() {
        block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let owner = Duplex::new(Stream::unix(ours, Worker::new(0)));
            let mut library = owner.clone();
            for piece in ["one ", "two ", "three"] {
                library.write_all(piece.as_bytes()).await.unwrap();
                library.flush().await.unwrap();
            }
            assert_eq!(owner.waiting(), 13);
            let mut room = [0; 64];
            assert!(theirs.try_read(&mut room).is_err());
            send(&owner).await;
            assert_eq!((theirs.read(&mut room).await.unwrap(), owner.waiting()), (13, 0));
            assert_eq!(&room[..13], b"one two three");
        });
    }

    #[test]
    fn a_full_buffer_is_sent_on_the_way_and_nothing_is_lost() {
        block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let owner = Duplex::new(Stream::unix(ours, Worker::new(0)));
            let mut library = owner.clone();
            let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| ((i * 7) >> 3) as u8).collect();
            let write = async {
                library.write_all(&bytes).await.unwrap();
                send(&owner).await;
                library.shutdown().await.unwrap();
            };
            let mut read = Vec::new();
            let (_, n) = tokio::join!(write, theirs.read_to_end(&mut read));
            assert_eq!(n.unwrap(), 1 << 20);
            assert!(read == bytes);
        });
    }

    #[test]
    fn what_is_read_comes_in_pieces_of_any_size() {
        block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let owner = Duplex::new(Stream::unix(ours, Worker::new(0)));
            let mut library = owner.clone();
            theirs.write_all(b"preface and more").await.unwrap();
            let mut preface = [0; 7];
            library.read_exact(&mut preface).await.unwrap();
            assert_eq!(&preface, b"preface");
            drop(theirs);
            let mut rest = String::new();
            library.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, " and more");
            drop(library);
            assert!(owner.into_stream().is_some());
        });
    }
}
