//! One byte stream with its own read buffer, over TCP, a Unix socket or TLS.
//!
//! Callers ask it to fill and look at the bytes; it takes the buffer from the worker's pool when
//! there is something to read and gives it back when all was consumed.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::buffer::{Buffer, Size};
use crate::ceiling::Place;
use crate::listen::KEEPALIVE;
use crate::tls::session::Session;
use crate::worker::Worker;

/// A connected byte stream.
#[derive(Debug)]
pub struct Stream {
    io: Io,
    buffer: Option<Buffer>,
    ended: bool,
    worker: Worker,
    /// Its places below ceilings, given up with it.
    #[allow(clippy::box_collection, reason = "a word in each of the many that have none")]
    places: Option<Box<Vec<Place>>>,
}

#[derive(Debug)]
enum Io {
    /// Accepted and not yet known to the runtime; see [`Stream::fresh`].
    Fresh(std::net::TcpStream),
    /// Between the two: the runtime would not have it.
    Gone,
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<(TcpStream, Session)>),
}

impl Stream {
    pub fn tcp(socket: TcpStream, worker: Worker) -> Self {
        Stream::over(Io::Tcp(socket), worker)
    }

    /// A connection just accepted. Its first request has usually arrived by then and its response
    /// fits the kernel's buffer, so the socket is made known to the runtime only when something has
    /// to be waited for: a connection of one request then costs two system calls and one turn of
    /// the loop less.
    pub fn fresh(socket: std::net::TcpStream, worker: Worker) -> Self {
        Stream::over(Io::Fresh(socket), worker)
    }

    pub fn unix(socket: UnixStream, worker: Worker) -> Self {
        Stream::over(Io::Unix(socket), worker)
    }

    /// A stream inside TLS, after the handshake.
    pub fn tls(socket: TcpStream, session: Session, worker: Worker) -> Self {
        Stream::over(Io::Tls(Box::new((socket, session))), worker)
    }

    fn over(io: Io, worker: Worker) -> Self {
        Stream { io, buffer: None, ended: false, worker, places: None }
    }

    /// Holds places below ceilings for as long as it is open.
    pub fn hold(&mut self, places: Vec<Place>) {
        self.places = (!places.is_empty()).then(|| Box::new(places));
    }

    /// Its places below ceilings.
    pub fn places(&self) -> &[Place] {
        self.places.as_deref().map_or(&[], Vec::as_slice)
    }

    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Whether the runtime does not know the socket yet, so that nothing would be announced.
    pub fn is_fresh(&self) -> bool {
        matches!(self.io, Io::Fresh(_))
    }

    /// Makes a fresh socket known to the runtime.
    ///
    /// # Errors
    /// When the system cannot watch one more socket; the connection is gone then.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.is_fresh()
            && let Io::Fresh(socket) = std::mem::replace(&mut self.io, Io::Gone)
        {
            self.io = Io::Tcp(TcpStream::from_std(socket)?);
        }
        Ok(())
    }

    /// The TLS session, where the stream is inside one.
    pub fn session(&self) -> Option<&Session> {
        match &self.io {
            Io::Tls(tls) => Some(&tls.1),
            _ => None,
        }
    }

    /// The socket whose bytes the kernel may move by itself: plain TCP, nothing buffered here.
    pub fn spliceable(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Tcp(socket) if self.buffer.is_none() => Some(socket),
            _ => None,
        }
    }

    /// The plain TCP socket to write to without copying.
    pub fn plain_socket(&mut self) -> Option<&TcpStream> {
        self.settle().ok()?;
        match &self.io {
            Io::Tcp(socket) => Some(socket),
            _ => None,
        }
    }

    /// Bytes read and not yet consumed.
    pub fn filled(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::filled)
    }

    /// Forgets the first `n` filled bytes.
    pub fn consume(&mut self, n: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(n);
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
    }

    /// Puts bytes that were read elsewhere (sniffing, PROXY protocol) in front of what follows.
    ///
    /// Keeps at most one large buffer of them.
    pub fn unread(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let size = if bytes.len() > Size::Small.bytes() { Size::Large } else { Size::Small };
        let mut buffer = self.worker.buffers().take(size);
        let n = bytes.len().min(size.bytes());
        buffer.room()[..n].copy_from_slice(&bytes[..n]);
        buffer.advance(n);
        self.buffer = Some(buffer);
    }

    /// The peer has ended its direction.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Reads once behind the filled bytes; ready with how many came, 0 at the end of the stream.
    ///
    /// A full buffer grows from small to large; a full larger one is `InvalidInput`, so callers
    /// consume or give up before. `UnexpectedEof` is a TLS stream cut off without `close_notify`.
    pub fn poll_fill(&mut self, size: Size, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.buffer.is_none() {
            if !self.is_fresh() {
                ready!(self.poll_readable(cx))?;
            }
            self.buffer = Some(self.worker.buffers().take(size));
        }
        let Some(buffer) = &mut self.buffer else { return Poll::Pending };
        if buffer.is_full() {
            if buffer.size() != Size::Small {
                return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
            }
            buffer.enlarge();
        }
        let mut read = poll_read(&mut self.io, buffer.room(), cx);
        if read.is_pending() && matches!(self.io, Io::Fresh(_)) {
            self.settle()?;
            let Some(buffer) = &mut self.buffer else { return Poll::Pending };
            read = poll_read(&mut self.io, buffer.room(), cx);
        }
        let Some(buffer) = &mut self.buffer else { return Poll::Pending };
        match read {
            Poll::Ready(Ok(n)) => {
                buffer.advance(n);
                self.ended = n == 0;
            }
            Poll::Ready(Err(_)) => self.ended = true,
            Poll::Pending => {}
        }
        if buffer.is_empty() {
            self.buffer = None;
        }
        read
    }

    /// Ready when there is something to read (bytes, the end or an error); takes no buffer.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_fresh() {
            // Reading is the only way to find out, and the bytes are wanted anyway.
            return self.poll_fill(Size::Small, cx).map_ok(|_| ());
        }
        match &mut self.io {
            Io::Fresh(_) | Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Io::Tcp(socket) => socket.poll_read_ready(cx),
            Io::Unix(socket) => socket.poll_read_ready(cx),
            Io::Tls(tls) => {
                let (socket, session) = &mut **tls;
                session.poll_read_ready(socket, cx)
            }
        }
    }

    /// Writes some of `bufs`; ready with how many bytes were taken.
    pub fn poll_write(
        &mut self,
        bufs: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Io::Fresh(socket) = &mut self.io {
            use std::io::Write;
            match socket.write_vectored(bufs) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.settle()?,
                done => return Poll::Ready(done),
            }
        }
        match &mut self.io {
            Io::Fresh(_) | Io::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Io::Tcp(socket) => write_plain(Pin::new(socket), bufs, cx),
            Io::Unix(socket) => write_plain(Pin::new(socket), bufs, cx),
            Io::Tls(tls) => {
                let (socket, session) = &mut **tls;
                session.poll_write(socket, cx, bufs)
            }
        }
    }

    /// Ready when nothing written is held back here (TLS records).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Fresh(_) | Io::Gone | Io::Tcp(_) | Io::Unix(_) => Poll::Ready(Ok(())),
            Io::Tls(tls) => {
                let (socket, session) = &mut **tls;
                session.poll_flush(socket, cx)
            }
        }
    }

    /// Ends our direction: `close_notify` where there is TLS, then FIN.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Gone => Poll::Ready(Ok(())),
            Io::Fresh(socket) => Poll::Ready(socket.shutdown(std::net::Shutdown::Write)),
            Io::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Io::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Io::Tls(tls) => {
                let (socket, session) = &mut **tls;
                ready!(session.poll_shutdown(socket, cx))?;
                Pin::new(socket).poll_shutdown(cx)
            }
        }
    }

    /// An idle stream on which nothing has arrived: fit to carry another exchange.
    ///
    /// Any byte, end or error that the kernel has reported means no. `look` asks the kernel
    /// itself, at the cost of a system call.
    pub fn is_quiet(&mut self, look: bool) -> bool {
        if self.ended || self.buffer.is_some() {
            return false;
        }
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let socket = match &mut self.io {
            Io::Fresh(_) | Io::Gone => return false,
            Io::Tcp(socket) => socket,
            Io::Tls(tls) => {
                let (socket, session) = &mut **tls;
                if session.has_buffered_plaintext() {
                    return false;
                }
                socket
            }
            Io::Unix(socket) => return socket.poll_read_ready(cx).is_pending(),
        };
        if !look {
            return socket.poll_read_ready(cx).is_pending();
        }
        let mut seen = [std::mem::MaybeUninit::uninit(); 1];
        let seen = socket2::SockRef::from(&*socket).peek(&mut seen);
        matches!(seen, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether bytes have arrived that nobody has read: closing now would reset the connection, and
    /// with it what the peer has not read yet. Asks the kernel.
    pub fn has_unread(&self) -> bool {
        if self.buffer.is_some() {
            return true;
        }
        let socket = match &self.io {
            Io::Gone => return false,
            Io::Fresh(socket) => socket2::SockRef::from(socket),
            Io::Tcp(socket) => socket2::SockRef::from(socket),
            Io::Unix(socket) => socket2::SockRef::from(socket),
            Io::Tls(tls) => socket2::SockRef::from(&tls.0),
        };
        let mut seen = [std::mem::MaybeUninit::uninit(); 1];
        matches!(socket.peek(&mut seen), Ok(1..))
    }

    /// Lets go of the connection so that the peer, if a router lies between, does not hear of it and
    /// goes on waiting: what tells of the end does not live long enough to arrive.
    pub fn vanish(self) {
        match &self.io {
            Io::Fresh(socket) => vanish(socket),
            Io::Tcp(socket) => vanish(socket),
            Io::Tls(tls) => vanish(&tls.0),
            Io::Gone | Io::Unix(_) => {}
        }
    }

    /// Has the kernel ask a silent peer after a minute whether it is there, and give the connection
    /// up when nothing it sent was acknowledged for `unanswered`. Best effort.
    pub fn watch_for_silence(&self, unanswered: std::time::Duration) {
        let socket = match &self.io {
            Io::Fresh(socket) => socket2::SockRef::from(socket),
            Io::Tcp(socket) => socket2::SockRef::from(socket),
            Io::Tls(tls) => socket2::SockRef::from(&tls.0),
            Io::Gone | Io::Unix(_) => return,
        };
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
        let _ = socket.set_tcp_keepalive(&keepalive);
        let _ = socket.set_tcp_user_timeout(Some(unanswered));
    }

    /// Closes with a reset instead of an orderly end, so that the peer knows the data is cut off.
    pub fn abort(self) {
        let socket = match &self.io {
            Io::Fresh(socket) => socket2::SockRef::from(socket),
            Io::Tcp(socket) => socket2::SockRef::from(socket),
            Io::Tls(tls) => socket2::SockRef::from(&tls.0),
            Io::Gone | Io::Unix(_) => return,
        };
        let _ = socket.set_linger(Some(std::time::Duration::ZERO));
    }
}

/// See [`Stream::vanish`]; for a socket that is no stream yet.
pub fn vanish(socket: &impl AsFd) {
    let socket = socket2::SockRef::from(socket);
    // The reset that ends it is given up at the first router.
    let _ = socket.set_ttl_v4(1);
    let _ = socket.set_unicast_hops_v6(1);
    let _ = socket.set_linger(Some(std::time::Duration::ZERO));
}

fn poll_read(io: &mut Io, room: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    if let Io::Fresh(socket) = io {
        use std::io::Read;
        return match socket.read(room) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        };
    }
    let mut read = ReadBuf::new(room);
    match io {
        Io::Fresh(_) | Io::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        Io::Tcp(socket) => ready!(Pin::new(socket).poll_read(cx, &mut read))?,
        Io::Unix(socket) => ready!(Pin::new(socket).poll_read(cx, &mut read))?,
        Io::Tls(tls) => {
            let (socket, session) = &mut **tls;
            return session.poll_read(socket, cx, room);
        }
    }
    Poll::Ready(Ok(read.filled().len()))
}

fn write_plain<S: AsyncWrite>(
    socket: Pin<&mut S>,
    bufs: &[IoSlice<'_>],
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let written = match bufs {
        [one] => ready!(socket.poll_write(cx, one))?,
        many => ready!(socket.poll_write_vectored(cx, many))?,
    };
    if written == 0 && bufs.iter().any(|b| !b.is_empty()) {
        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
    }
    Poll::Ready(Ok(written))
}
