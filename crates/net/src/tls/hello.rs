//! The client's first message: read whole before anything is decided by it.
//!
//! A hello may come in any number of records and segments (RFC 8446 §5.1); it is judged only when
//! it is complete, so a fragmented one gets the same certificate and policy as any other.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::task::{Context, Poll};

use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::server::HandshakeError;
use super::socket::Blocking;

/// How large a hello may be, with what follows it in the same read. Post-quantum ones have 2 KiB.
const LIMIT: usize = 32 * 1024;

/// Reads until the hello is complete. A hello that is none is answered with an alert, if a TLS
/// client may have sent it.
pub(super) async fn read<T>(io: &mut T) -> Result<Accepted, HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut acceptor, mut start, mut received) = (Acceptor::default(), Start::default(), 0);
    loop {
        let read = poll_fn(|cx| {
            let read = acceptor.read_tls(&mut Remembering { io, cx, start: &mut start });
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
                finished => Poll::Ready(finished),
            }
        });
        match read.await {
            Ok(0) => return Err(HandshakeError::Closed { received }),
            Ok(n) => received += n,
            // rustls' own limit.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(HandshakeError::HelloTooLarge);
            }
            Err(error) => return Err(HandshakeError::Io(error)),
        }
        match start.looks() {
            Looks::Tls => {}
            Looks::Undecided => continue,
            Looks::Http => return Err(HandshakeError::PlainHttp),
            Looks::Otherwise => return Err(HandshakeError::NotTls),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) if received >= LIMIT => return Err(HandshakeError::HelloTooLarge),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                let _ = alert.write_all(&mut bytes);
                // Best effort: the client may be gone already.
                let _ = io.write_all(&bytes).await;
                return Err(HandshakeError::Tls(error));
            }
        }
    }
}

/// The first bytes of a connection.
#[derive(Default)]
struct Start {
    bytes: [u8; 8],
    len: usize,
}

#[derive(Debug, PartialEq)]
enum Looks {
    Tls,
    Http,
    Otherwise,
    Undecided,
}

impl Start {
    fn looks(&self) -> Looks {
        const METHODS: [&str; 10] = [
            "GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ",
            "TRACE ", "PRI * HT",
        ];
        let bytes = &self.bytes[..self.len];
        // RFC 8446 §5.1: the first record is of type handshake.
        match bytes.first() {
            None => return Looks::Undecided,
            Some(22) => return Looks::Tls,
            Some(_) => {}
        }
        if METHODS.iter().any(|method| bytes.starts_with(method.as_bytes())) {
            Looks::Http
        } else if METHODS.iter().any(|method| method.as_bytes().starts_with(bytes)) {
            Looks::Undecided
        } else {
            Looks::Otherwise
        }
    }
}

/// Reads for rustls and keeps a copy of how the connection began.
struct Remembering<'a, 'c, T> {
    io: &'a mut T,
    cx: &'a mut Context<'c>,
    start: &'a mut Start,
}

impl<T: AsyncRead + Unpin> Read for Remembering<'_, '_, T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = Blocking { io: self.io, cx: self.cx }.read(out)?;
        let start = &mut self.start;
        for byte in out[..n].iter().take(start.bytes.len() - start.len) {
            start.bytes[start.len] = *byte;
            start.len += 1;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_51_what_is_not_tls_is_told_apart() {
        for (bytes, expect) in [
            (&b""[..], Looks::Undecided),
            (b"\x16", Looks::Tls),
            (b"\x16\x03\x01", Looks::Tls),
            (b"G", Looks::Undecided),
            (b"GET ", Looks::Http),
            (b"GET / HT", Looks::Http),
            (b"PRI * HT", Looks::Http),
            (b"OPTIONS ", Looks::Http),
            (b"GETTY", Looks::Otherwise),
            (b"get ", Looks::Otherwise),
            (b"SSH-2.0-", Looks::Otherwise),
            (b"\x80\x2e\x01", Looks::Otherwise),
        ] {
            let mut start = Start::default();
            start.bytes[..bytes.len()].copy_from_slice(bytes);
            start.len = bytes.len();
            assert_eq!(start.looks(), expect, "{bytes:?}");
        }
    }
}
