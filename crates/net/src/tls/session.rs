//! The TLS half of a connection: it encrypts and decrypts, and somebody else owns the socket.
//!
//! Every method takes the socket as an argument, so one owner can hold both without a lock or a
//! split. Ciphertext is read into the caller's own buffer and decrypted from there, so a session
//! keeps no buffer of its own: an idle one costs what rustls keeps, 4 KiB of record buffer and keys
//! (8.7 KiB in all with its socket's registration, measured as resident memory over 3,000 of them).
//!
//! ```text
//! poll_read    socket ─▶ caller's buffer ─▶ rustls ─▶ caller's buffer       one read, one copy back
//! poll_write   caller's slices ─▶ rustls (≤ 64 KiB of records) ─▶ socket    one writev
//! ```
//!
//! Nothing here keeps time: deadlines are the caller's. Every method may be abandoned between
//! polls without losing a byte.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::{ClientConfig, ClientConnection, Connection, ProtocolVersion, ServerConnection};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::socket::Blocking;

/// Records that may wait for the socket before [`Session::poll_write`] stops accepting.
const QUEUED_RECORDS: usize = 64 * 1024;

/// Below this a caller's buffer is too small to receive ciphertext in, and rustls reads by itself.
const IN_PLACE: usize = 4 * 1024;

/// One TLS connection, client or server side, without its socket.
///
/// It is one pointer wide, so that a connection without TLS does not pay for it.
pub struct Session {
    inner: Box<Inner>,
}

struct Inner {
    conn: Connection,
    /// Found while plaintext was still to be delivered: reported by the next read.
    failed: Option<rustls::Error>,
    /// Only session tickets wait to be sent; they travel with the first response.
    tickets_waiting: bool,
    /// rustls may hold more than its smallest record buffer.
    grown: bool,
}

impl Session {
    /// The client side of a connection to `name`, before its handshake.
    ///
    /// Fails only if the configuration cannot be used for this name.
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self::new(ClientConnection::new(config, name)?.into()))
    }

    /// The server side, once the client's hello was read and a configuration chosen for it.
    pub fn server(conn: ServerConnection) -> Self {
        Self::new(conn.into())
    }

    fn new(mut conn: Connection) -> Self {
        conn.set_buffer_limit(Some(QUEUED_RECORDS));
        let inner = Inner { conn, failed: None, tickets_waiting: false, grown: true };
        Self { inner: Box::new(inner) }
    }

    /// Completes when the peer is authenticated and data may flow.
    ///
    /// A TLS 1.3 server's session tickets are still queued then: they are sent in the same system
    /// call as the first response. A failure is `InvalidData` around a [`rustls::Error`], after the
    /// alert was sent as far as the socket took it; a peer that leaves is `UnexpectedEof`.
    pub fn poll_handshake<T>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let inner = &mut *self.inner;
        loop {
            // First what came in the same read as the hello.
            inner.process(io, cx)?;
            let done = !inner.conn.is_handshaking();
            if done && inner.is_server_of_tls13() {
                inner.tickets_waiting = inner.conn.wants_write();
                return Poll::Ready(Ok(()));
            }
            // What cannot be sent yet must not keep us from reading: the peer may be in the same
            // place.
            let sent = inner.poll_send(io, cx)?;
            if done {
                return sent.map(Ok);
            }
            if ready!(inner.poll_receive(io, cx))? == 0 {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads plaintext into `out`: some bytes, or 0 after the peer's `close_notify`.
    ///
    /// A peer that closes without one is `UnexpectedEof`, because what came before may have been
    /// cut off by somebody else. At most one system call is made, and none while plaintext waits.
    pub fn poll_read<T>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let inner = &mut *self.inner;
        if out.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match inner.conn.reader().read(out) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // RFC 9112 §9.8: an end without close_notify is `UnexpectedEof`, by rustls.
                finished => return Poll::Ready(finished),
            }
            if let Some(error) = &inner.failed {
                return Poll::Ready(Err(broken(error.clone())));
            }
            // An answer to a key update must not wait for our next write, which may never come.
            if inner.conn.wants_write() && !inner.tickets_waiting {
                let _ = inner.poll_send(io, cx)?;
            }
            inner.grown = true;
            if out.len() < IN_PLACE {
                ready!(inner.poll_receive(io, cx))?;
                inner.process(io, cx)?;
            } else {
                let read = ready!(inner.poll_receive_in_place(io, cx, out))?;
                if read > 0 {
                    return Poll::Ready(Ok(read));
                }
            }
        }
    }

    /// Encrypts from `bufs` and sends; returns how much of `bufs` was taken, at least one byte.
    ///
    /// What the socket did not take stays queued, at most 64 KiB of it: [`Session::poll_flush`]
    /// before waiting for anything else. While the queue is full this is pending.
    pub fn poll_write<T>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>
    where
        T: AsyncWrite + Unpin,
    {
        let inner = &mut *self.inner;
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let taken = match bufs {
                [one] => inner.conn.writer().write(one)?,
                many => inner.conn.writer().write_vectored(many)?,
            };
            if taken > 0 {
                // One system call; what it leaves is for the next call, which knows whether more
                // is to come.
                let _ = inner.poll_send_once(io, cx)?;
                return Poll::Ready(Ok(taken));
            }
            ready!(inner.poll_send_once(io, cx))?;
        }
    }

    /// Completes when everything written has been handed to the socket.
    pub fn poll_flush<T>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: AsyncWrite + Unpin,
    {
        ready!(self.inner.poll_send(io, cx))?;
        Pin::new(io).poll_flush(cx)
    }

    /// Says goodbye with `close_notify` and flushes; the socket itself stays open.
    ///
    /// The peer's own `close_notify` is not waited for (RFC 8446 §6.1 does not ask for it).
    pub fn poll_shutdown<T>(&mut self, io: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        T: AsyncWrite + Unpin,
    {
        // rustls sends it once, however often it is asked.
        self.inner.conn.send_close_notify();
        self.poll_flush(io, cx)
    }

    /// Completes when a read would make progress: plaintext waits, or the socket is readable.
    ///
    /// May be early (half a record, a session ticket): the read is then pending. An idle connection
    /// waits here, holding no buffer of its own; records rustls had grown for are given back.
    pub fn poll_read_ready(
        &mut self,
        io: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_buffered_plaintext() {
            return Poll::Ready(Ok(()));
        }
        let ready = io.poll_read_ready(cx);
        if ready.is_pending() {
            if self.inner.tickets_waiting {
                // A client that collects small writes (Nagle) holds its request back until its
                // last handshake message is acknowledged: what we send now carries that along,
                // where the kernel by itself would wait 40 ms.
                let _ = self.inner.poll_send(io, cx)?;
            }
            self.trim();
        }
        ready
    }

    /// Whether [`Session::poll_read`] would answer without touching the socket.
    ///
    /// True also for an end or an error that has not been reported yet.
    pub fn has_buffered_plaintext(&mut self) -> bool {
        let inner = &mut *self.inner;
        let reader = inner.conn.reader().into_first_chunk();
        inner.failed.is_some()
            || !matches!(reader, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether records wait for the socket, so that [`Session::poll_flush`] has something to do.
    pub fn wants_flush(&self) -> bool {
        self.inner.conn.wants_write() && !self.inner.tickets_waiting
    }

    /// Gives back record memory that a burst had needed; cheap when there is none.
    pub fn trim(&mut self) {
        if std::mem::take(&mut self.inner.grown) {
            // rustls shrinks its record buffer to 4 KiB when it prepares a read into an empty one.
            let _ = self.inner.conn.read_tls(&mut NothingYet);
        }
    }

    /// The protocol agreed by ALPN, if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.inner.conn.alpn_protocol()
    }

    /// `TLSv1.3` or `TLSv1.2`; empty before the handshake.
    pub fn version(&self) -> &'static str {
        match self.inner.conn.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        }
    }

    /// The IANA name of the cipher suite, such as `TLS13_AES_128_GCM_SHA256`; empty before the
    /// handshake.
    pub fn cipher(&self) -> &'static str {
        let suite = self.inner.conn.negotiated_cipher_suite();
        suite.and_then(|suite| suite.suite().as_str()).unwrap_or("")
    }

    /// The key exchange group, such as `X25519MLKEM768`; empty before the handshake.
    pub fn group(&self) -> &'static str {
        let group = self.inner.conn.negotiated_key_exchange_group();
        group.and_then(|group| group.name().as_str()).unwrap_or("")
    }

    /// The name the client asked for; lower case. None on the client side.
    pub fn sni(&self) -> Option<&str> {
        match &self.inner.conn {
            Connection::Server(conn) => conn.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// The peer's verified chain, its own certificate first; empty if it showed none.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.inner.conn.peer_certificates().unwrap_or_default()
    }

    /// Whether an earlier session was taken up again, without a certificate being shown.
    pub fn resumed(&self) -> bool {
        self.inner.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Inner {
    fn is_server_of_tls13(&self) -> bool {
        matches!(self.conn, Connection::Server(_))
            && self.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// One read of the socket by rustls itself, at most 4 KiB of it: 0 at its end.
    fn poll_receive<T: AsyncRead + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        pending(self.conn.read_tls(&mut Blocking { io, cx }))
    }

    /// One read of the socket into `out`, all of it decrypted from there, plaintext back into `out`.
    ///
    /// Returns the plaintext, or 0 if there was none in it. Plaintext is shorter than its records,
    /// so it never overtakes the ciphertext it overwrites; what half a record of an earlier read
    /// adds is at most one record, which rustls holds.
    fn poll_receive_in_place<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut received = ReadBuf::new(out);
        ready!(Pin::new(&mut *io).poll_read(cx, &mut received))?;
        let end = received.filled().len();
        if end == 0 {
            self.conn.read_tls(&mut io::empty())?;
            return Poll::Ready(Ok(0));
        }
        let (mut fed, mut plain) = (0, 0);
        while fed < end {
            match self.conn.read_tls(&mut &out[fed..end])? {
                // Whatever follows a close_notify is ignored.
                0 => fed = end,
                taken => fed += taken,
            }
            let processed = self.process(io, cx);
            plain += self.conn.reader().read(&mut out[plain..fed]).unwrap_or(0);
            if let Err(error) = processed {
                return Poll::Ready(if plain > 0 { Ok(plain) } else { Err(error) });
            }
        }
        plain += self.conn.reader().read(&mut out[plain..]).unwrap_or(0);
        Poll::Ready(Ok(plain))
    }

    /// Decrypts what was received. On failure the alert is sent if the socket takes it at once.
    fn process<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let Err(error) = self.conn.process_new_packets() else { return Ok(()) };
        let _ = self.poll_send_once(io, cx);
        self.failed = Some(error.clone());
        Err(broken(error))
    }

    /// Hands every queued record to the socket.
    fn poll_send<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.conn.wants_write() {
            ready!(self.poll_send_once(io, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands queued records to the socket, in one system call.
    fn poll_send_once<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.conn.wants_write() {
            return Poll::Ready(Ok(()));
        }
        if ready!(pending(self.conn.write_tls(&mut Blocking { io, cx })))? == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        self.tickets_waiting = false;
        Poll::Ready(Ok(()))
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

fn pending<V>(result: io::Result<V>) -> Poll<io::Result<V>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        finished => Poll::Ready(finished),
    }
}

struct NothingYet;

impl Read for NothingYet {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests;
