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

async fn connected(version: &'static rustls::SupportedProtocolVersion, pipe: usize) -> (End, End) {
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
