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

/// How long nothing may be received or sent before a connection is closed. Longer than a client
/// of ours waits for an answer: a reload takes its time.
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
        let connection =
            Connection { io, idle: self.idle, over: Box::pin(sleep(self.idle)), _permit: permit };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

pub(super) struct Connection<T> {
    io: T,
    idle: Duration,
    over: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl<T> Connection<T> {
    fn progress(&mut self) {
        let until = Instant::now() + self.idle;
        self.over.as_mut().reset(until);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = pin!(&mut self.io).poll_read(cx, buffer);
        if read.is_ready() {
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
