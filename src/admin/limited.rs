//! A listener that has few connections open, and closes those on which nothing happens.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

use super::client::STEP;

/// How long nothing may be received or sent before a connection is closed. Longer than a client
/// of ours waits for an answer: a reload takes its time, and as much again for each [`STEP`] of a request.
const IDLE: Duration = Duration::from_secs(90);

pub(super) struct Limited<L> {
    listener: L,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl<L> Limited<L> {
    pub(super) fn new(listener: L, connections: usize) -> Self {
        Limited { listener, room: Arc::new(Semaphore::new(connections)), idle: IDLE }
    }

    #[cfg(test)]
    pub(super) fn idle(self, idle: Duration) -> Self {
        Limited { idle, ..self }
    }
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = self.room.clone().acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let (io, address) = self.listener.accept().await;
        let connection = Connection {
            io,
            idle: self.idle,
            received: 0,
            over: Box::pin(sleep(self.idle)),
            _permit: permit,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

pub(super) struct Connection<T> {
    io: T,
    idle: Duration,
    /// Since something was sent, in bytes.
    received: usize,
    over: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl<T> Connection<T> {
    fn progress(&mut self) {
        let times = u32::try_from(1 + self.received / STEP).unwrap_or(u32::MAX);
        let until = Instant::now() + self.idle.saturating_mul(times);
        self.over.as_mut().reset(until);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = pin!(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
            self.received = self.received.saturating_add(buffer.filled().len() - before);
            self.progress();
            return read;
        }
        self.over.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.io).poll_write(cx, bytes);
        if written.is_ready() {
            self.received = 0;
            self.progress();
            return written;
        }
        self.over.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn who_has_sent_much_is_given_longer_for_its_answer() {
        let idle = Duration::from_millis(40);
        for (sent, times) in [(0, 1), (1, 1), (2 * STEP, 3)] {
            let (mut client, io) = duplex(4 * STEP);
            let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
            let over = Box::pin(sleep(idle));
            let mut connection = Connection { io, idle, received: 0, over, _permit: permit };
            client.write_all(&vec![0; sent]).await.unwrap();
            let begun = Instant::now();
            connection.read_exact(&mut vec![0; sent]).await.unwrap();
            let error = connection.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{sent}");
            assert!(begun.elapsed() >= idle * times - Duration::from_millis(5), "{sent}");
        }
    }
}
