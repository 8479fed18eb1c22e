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

/// A socket as rustls wants it: what would wait is `WouldBlock`, with the waker registered.
pub(super) struct Blocking<'a, 'c, T> {
    pub(super) io: &'a mut T,
    pub(super) cx: &'a mut Context<'c>,
}

impl<T: AsyncRead + Unpin> Read for Blocking<'_, '_, T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut out = ReadBuf::new(out);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut out) {
            Poll::Ready(result) => result.map(|()| out.filled().len()),
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl<T: AsyncWrite + Unpin> Write for Blocking<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write(self.cx, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct NothingYet;

impl Read for NothingYet {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::tls::testing::{Authority, block_on, client_config, server_config};

    struct End {
        io: DuplexStream,
        session: Session,
    }

    impl End {
        async fn handshake(&mut self) -> io::Result<()> {
            poll_fn(|cx| self.session.poll_handshake(&mut self.io, cx)).await
        }

        async fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            poll_fn(|cx| self.session.poll_read(&mut self.io, cx, out)).await
        }

        async fn read_to_end(&mut self, buffer: usize) -> io::Result<Vec<u8>> {
            let (mut all, mut out) = (Vec::new(), vec![0; buffer]);
            loop {
                match self.read(&mut out).await? {
                    0 => return Ok(all),
                    n => all.extend_from_slice(&out[..n]),
                }
            }
        }

        async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let bufs = [IoSlice::new(bytes)];
            poll_fn(|cx| self.session.poll_write(&mut self.io, cx, &bufs)).await
        }

        async fn write_all(&mut self, mut bytes: &[u8], step: usize) -> io::Result<()> {
            while !bytes.is_empty() {
                let taken = self.write(&bytes[..step.min(bytes.len())]).await?;
                bytes = &bytes[taken..];
            }
            self.flush().await
        }

        async fn flush(&mut self) -> io::Result<()> {
            poll_fn(|cx| self.session.poll_flush(&mut self.io, cx)).await
        }

        async fn shutdown(&mut self) -> io::Result<()> {
            poll_fn(|cx| self.session.poll_shutdown(&mut self.io, cx)).await
        }
    }

    fn ends(version: &'static rustls::SupportedProtocolVersion, pipe: usize) -> (End, End) {
        let authority = Authority::new();
        let (a, b) = duplex(pipe);
        let config = client_config(&authority, &[version]);
        let name = "shop.example".try_into().unwrap();
        let client = End { io: a, session: Session::client(config, name).unwrap() };
        let config = server_config(&authority.issue(&["shop.example"]));
        let conn = ServerConnection::new(config).unwrap();
        (client, End { io: b, session: Session::server(conn) })
    }

    async fn connected(
        version: &'static rustls::SupportedProtocolVersion,
        pipe: usize,
    ) -> (End, End) {
        let (mut client, mut server) = ends(version, pipe);
        let (a, b) = tokio::join!(client.handshake(), server.handshake());
        a.unwrap();
        b.unwrap();
        (client, server)
    }

    const BOTH: [&rustls::SupportedProtocolVersion; 2] =
        [&rustls::version::TLS12, &rustls::version::TLS13];

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn facts_are_known_after_the_handshake() {
        block_on(async {
            let (client, server) = connected(&rustls::version::TLS13, 64 * 1024).await;
            assert_eq!(server.session.version(), "TLSv1.3");
            assert_eq!(server.session.sni(), Some("shop.example"));
            assert!(server.session.cipher().starts_with("TLS13_"));
            assert_eq!(server.session.group(), "X25519MLKEM768");
            assert_eq!(client.session.peer_certificates().len(), 1);
            assert_eq!(client.session.alpn(), None);

            let (client, _) = connected(&rustls::version::TLS12, 64 * 1024).await;
            assert_eq!(client.session.version(), "TLSv1.2");
        });
    }

    #[test]
    fn any_buffer_and_any_step_carries_the_same_bytes() {
        for version in BOTH {
            for (pipe, step, buffer) in
                [(1, 700, 100), (100, 1, 1), (5000, 17_000, 4096), (1 << 20, 70_000, 64 * 1024)]
            {
                block_on(async {
                    let sent = noise(if pipe == 1 { 5_000 } else { 40_000 });
                    let (mut client, mut server) = connected(version, pipe).await;
                    let write = async {
                        client.write_all(&sent, step).await?;
                        client.shutdown().await
                    };
                    let done = tokio::try_join!(write, server.read_to_end(buffer));
                    assert!(done.unwrap().1 == sent, "{pipe} {step} {buffer}");
                });
            }
        }
    }

    #[test]
    fn a_large_transfer_passes_a_slow_reader_both_ways() {
        block_on(async {
            let (mut client, mut server) = connected(&rustls::version::TLS13, 3000).await;
            let sent = noise(2_000_000);
            for _ in 0..2 {
                let (written, received) = tokio::join!(client.write_all(&sent, 50_000), async {
                    let (mut all, mut out) = (Vec::new(), vec![0; 9000]);
                    while all.len() < sent.len() {
                        tokio::task::yield_now().await;
                        let n = server.read(&mut out).await.unwrap();
                        all.extend_from_slice(&out[..n]);
                    }
                    all
                });
                written.unwrap();
                assert!(received == sent);
                std::mem::swap(&mut client, &mut server);
            }
        });
    }

    #[test]
    fn what_waits_for_the_socket_is_bounded() {
        block_on(async {
            let (mut client, _server) = connected(&rustls::version::TLS13, 1000).await;
            let bytes = noise(1 << 20);
            let (mut taken, mut full) = (0, false);
            while !full {
                tokio::select! { biased;
                    n = client.write(&bytes) => taken += n.unwrap(),
                    () = tokio::task::yield_now() => full = true,
                }
            }
            assert!((QUEUED_RECORDS..2 * QUEUED_RECORDS).contains(&taken), "{taken}");
        });
    }

    #[test]
    fn rs_06_an_end_without_close_notify_is_an_error() {
        for version in BOTH {
            for buffer in [10, 8192] {
                block_on(async {
                    let (mut client, mut server) = connected(version, 64 * 1024).await;
                    client.write_all(b"half", 4).await.unwrap();
                    client.io.shutdown().await.unwrap();
                    let mut out = vec![0; buffer];
                    assert_eq!(server.read(&mut out).await.unwrap(), 4);
                    let error = server.read(&mut out).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                });
            }
        }
    }

    #[test]
    fn what_follows_close_notify_is_ignored() {
        block_on(async {
            let (mut client, mut server) = connected(&rustls::version::TLS13, 64 * 1024).await;
            client.write_all(b"all of it", 9).await.unwrap();
            client.shutdown().await.unwrap();
            client.io.write_all(&noise(20_000)).await.unwrap();
            assert_eq!(server.read_to_end(8192).await.unwrap(), b"all of it");
        });
    }

    #[test]
    fn plaintext_before_a_broken_record_is_delivered_first() {
        block_on(async {
            let (mut client, mut server) = connected(&rustls::version::TLS13, 64 * 1024).await;
            client.write_all(b"good", 4).await.unwrap();
            client.io.write_all(&[23, 3, 3, 0, 32]).await.unwrap();
            client.io.write_all(&[9; 32]).await.unwrap();
            let mut out = vec![0; 8192];
            assert_eq!(server.read(&mut out).await.unwrap(), 4);
            for _ in 0..2 {
                let error = server.read(&mut out).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                assert!(server.session.has_buffered_plaintext());
            }
            assert!(client.read(&mut out).await.is_err(), "an alert was sent");
        });
    }

    #[test]
    fn tickets_travel_with_the_first_response() {
        block_on(async {
            let (mut client, mut server) = connected(&rustls::version::TLS13, 64 * 1024).await;
            assert!(server.session.inner.tickets_waiting);
            assert!(!server.session.wants_flush());
            client.write_all(b"GET", 3).await.unwrap();
            let mut out = [0; 16];
            assert_eq!(server.read(&mut out).await.unwrap(), 3);
            assert!(server.session.inner.tickets_waiting);
            server.write_all(b"200", 3).await.unwrap();
            assert!(!server.session.inner.tickets_waiting);
            assert_eq!(client.read(&mut out).await.unwrap(), 3);
        });
    }

    #[test]
    fn tl_02_a_flood_of_key_updates_ends_the_connection() {
        block_on(async {
            let (mut client, mut server) = connected(&rustls::version::TLS13, 1 << 20).await;
            let mut out = [0; 8192];
            for _ in 0..1000 {
                if client.session.inner.conn.refresh_traffic_keys().is_err() {
                    break;
                }
                client.flush().await.unwrap();
            }
            assert_eq!(server.read(&mut out).await.unwrap_err().kind(), ErrorKind::InvalidData);
        });
    }

    #[test]
    fn a_handshake_with_something_else_fails() {
        block_on(async {
            let (mut client, mut server) = ends(&rustls::version::TLS13, 64 * 1024);
            client.io.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert_eq!(server.handshake().await.unwrap_err().kind(), ErrorKind::InvalidData);

            let (mut client, mut server) = ends(&rustls::version::TLS13, 64 * 1024);
            client.io.shutdown().await.unwrap();
            assert_eq!(server.handshake().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        });
    }

    #[test]
    fn an_idle_session_waits_for_the_socket_and_sees_plaintext() {
        block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (a, b) =
                tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
            let (mut a, mut b) = (a.unwrap(), b.unwrap().0);
            let (mut client, mut server) = {
                let (client, server) = ends(&rustls::version::TLS13, 1);
                (client.session, server.session)
            };
            let (one, two) = tokio::join!(
                poll_fn(|cx| client.poll_handshake(&mut a, cx)),
                poll_fn(|cx| server.poll_handshake(&mut b, cx))
            );
            one.unwrap();
            two.unwrap();

            let idle = poll_fn(|cx| Poll::Ready(server.poll_read_ready(&mut b, cx).is_pending()));
            assert!(idle.await);
            let bufs = [IoSlice::new(b"hello "), IoSlice::new(b"world")];
            poll_fn(|cx| client.poll_write(&mut a, cx, &bufs)).await.unwrap();
            poll_fn(|cx| server.poll_read_ready(&mut b, cx)).await.unwrap();
            let mut out = [0; 6];
            assert_eq!(poll_fn(|cx| server.poll_read(&mut b, cx, &mut out)).await.unwrap(), 6);
            assert!(server.has_buffered_plaintext());
            poll_fn(|cx| server.poll_read_ready(&mut b, cx)).await.unwrap();
        });
    }
}
