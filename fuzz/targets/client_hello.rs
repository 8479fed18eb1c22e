//! The first bytes on a TLS port: told apart the same however they are cut, and answered only by
//! what TLS allows. The handshake ends where the bytes do.
#![no_main]

use std::io;
use std::pin::{Pin, pin};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use transom_net::tls::server::{
    HandshakeError, Pem, Policy, ServerTls, Settings, TicketKeys, UnknownNames, accept,
};

static TLS: LazyLock<ServerTls> = LazyLock::new(|| {
    let names = ["shop.example".to_owned(), "*.shop.example".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(names).unwrap();
    let settings = Settings {
        certificates: vec![Pem {
            label: "fuzz".into(),
            certificate: cert.pem().into_bytes(),
            key: signing_key.serialize_pem().into_bytes(),
        }],
        policy: Policy { alpn: vec![b"http/1.1".to_vec()], ..Policy::default() },
        policies: Vec::new(),
        unknown_names: UnknownNames::Refuse,
        tickets: TicketKeys::new(),
    };
    ServerTls::build(&settings).unwrap()
});

fuzz_target!(|bytes: &[u8]| {
    let whole = meet(bytes, usize::MAX);
    for step in [1, 3, 100] {
        assert_eq!(meet(bytes, step), whole, "cut by {step}");
    }
    match whole {
        Met::Tls(..) | Met::Unknown(..) => assert_eq!(bytes[0], 22),
        Met::Http => assert!(bytes[0].is_ascii_uppercase()),
        Met::NotTls => assert_ne!(bytes[0], 22),
        Met::Closed => {}
    }
});

/// What became of the connection.
#[derive(Debug, PartialEq)]
enum Met {
    Closed,
    Http,
    NotTls,
    /// What is wrong, and whether anything was answered.
    Tls(String, bool),
    Unknown(Option<String>),
}

fn meet(bytes: &[u8], step: usize) -> Met {
    let mut peer = Peer { left: bytes, step, written: Vec::new() };
    let outcome = {
        let mut accepting = pin!(accept(&mut peer, &TLS));
        match accepting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("waits for a peer that never keeps anyone waiting"),
        }
    };
    let Err(error) = outcome else { panic!("a handshake cannot be guessed") };
    // RFC 8446 §5.1: nothing but alerts, handshake and its disguise.
    assert!(peer.written.first().is_none_or(|kind| matches!(kind, 20..=22)));
    match error {
        HandshakeError::Closed { .. } => Met::Closed,
        // The end of the bytes in the middle of the handshake.
        HandshakeError::Io(_) => Met::Closed,
        HandshakeError::PlainHttp => Met::Http,
        HandshakeError::NotTls => Met::NotTls,
        HandshakeError::UnknownName(name) => Met::Unknown(name),
        HandshakeError::TooMany => panic!("it is the only one"),
        HandshakeError::HelloTooLarge => Met::Tls("too large".into(), false),
        HandshakeError::Tls(error) => {
            let kind = format!("{error:?}");
            let kind = match kind.split(['(', ' ', '{']).next().unwrap_or_default() {
                // Of two things wrong behind a hello, TLS names the one that it comes to first, and
                // it looks ahead in what is there.
                "DecryptError" => "InvalidMessage",
                kind => kind,
            };
            Met::Tls(kind.into(), !peer.written.is_empty())
        }
    }
}

struct Peer<'a> {
    left: &'a [u8],
    step: usize,
    written: Vec<u8>,
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.left.len().min(self.step).min(out.remaining());
        let (now, later) = self.left.split_at(n);
        out.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
