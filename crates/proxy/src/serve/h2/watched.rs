//! The client's stream as the library sees it, with the guard looking on.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transom_net::{Duplex, Worker};

use super::guard::Guard;

/// A stream whose frames are counted. Once something was too much, nothing more is read of it.
pub(super) struct Watched {
    duplex: Duplex,
    guard: Rc<RefCell<Guard>>,
    worker: Worker,
}

impl Watched {
    pub(super) fn new(duplex: Duplex, guard: Rc<RefCell<Guard>>, worker: Worker) -> Self {
        Watched { duplex, guard, worker }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.guard.borrow().abuse().is_some() {
            // Nobody has to be woken: the connection asks the guard after each round.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.duplex).poll_read(cx, buf))?;
        this.guard.borrow_mut().received(&buf.filled()[before..], || this.worker.now());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.duplex).poll_write_vectored(cx, bufs))?;
        let mut guard = this.guard.borrow_mut();
        let mut left = written;
        for buf in bufs {
            let n = buf.len().min(left);
            guard.sent(&buf[..n], || this.worker.now());
            left -= n;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex).poll_shutdown(cx)
    }
}
