//! The client's side of a tunnel that is a stream of HTTP/2 (RFC 8441).

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};

use super::Side;

/// Most bytes taken at once from the other side.
const AT_ONCE: usize = 16 * 1024;

/// Sends as many of the bytes as the other end takes now.
pub(crate) fn send_some(
    send: &mut SendStream<Bytes>,
    bytes: &[u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if let Poll::Ready(reset) = send.poll_reset(cx) {
        let reason = reset.map_err(io::Error::other)?;
        return Poll::Ready(Err(io::Error::other(reason.description())));
    }
    let wanted = bytes.len().min(AT_ONCE);
    send.reserve_capacity(wanted);
    while send.capacity() == 0 {
        match ready!(send.poll_capacity(cx)) {
            Some(capacity) => capacity.map_err(io::Error::other)?,
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
    }
    let n = wanted.min(send.capacity());
    let data = Bytes::copy_from_slice(&bytes[..n]);
    send.send_data(data, false).map_err(io::Error::other)?;
    Poll::Ready(Ok(n))
}

/// See the module. Dropped before our direction has ended, it is reset.
pub(crate) struct Streamed {
    receive: RecvStream,
    send: SendStream<Bytes>,
    data: Bytes,
    /// Our direction has ended.
    ended: bool,
}

impl Streamed {
    pub(crate) fn new(receive: RecvStream, send: SendStream<Bytes>) -> Self {
        Streamed { receive, send, data: Bytes::new(), ended: false }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if !self.ended {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

impl Side for Streamed {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while self.data.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(data) => self.data = data.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(0)),
            }
        }
        Poll::Ready(Ok(self.data.len()))
    }

    fn filled(&self) -> &[u8] {
        &self.data
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.data.len());
        self.data.advance(n);
        let _ = self.receive.flow_control().release_capacity(n);
    }

    fn poll_write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        send_some(&mut self.send, bytes, cx)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        Poll::Ready(self.send.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}
