//! The PROXY protocol, versions 1 and 2: what a load balancer before us says of its client.
//!
//! Only bytes in and bytes out. Who is trusted to send a header, and how long is waited for it, is
//! decided by the listener. Written to `doc/proxy-protocol.txt` of HAProxy, cited as PP.

use std::net::SocketAddr;

mod v1;
mod v2;
mod write;

pub use write::encode;

/// With which a header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A header that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: Version,
    pub addresses: Addresses,
    /// Version 2 only: validated, in the order received.
    pub tlvs: Vec<Tlv>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    One,
    Two,
}

/// What the header says of the two ends of the proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The proxy speaks for itself, as in a health check: the socket's own addresses count.
    Local,
    /// Proxied, but not from a place with an address: `UNKNOWN`, AF_UNSPEC. As for `Local`.
    Unspecified,
    Stream {
        source: SocketAddr,
        destination: SocketAddr,
    },
    Datagram {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// Proxied from a Unix socket; its path tells nothing about the client.
    Unix,
}

/// An extension of version 2: type and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlv {
    pub kind: u8,
    pub value: Vec<u8>,
}

/// PP §2.2: types of [`Tlv`].
pub mod kind {
    pub const ALPN: u8 = 0x01;
    pub const AUTHORITY: u8 = 0x02;
    pub const CRC32C: u8 = 0x03;
    pub const NOOP: u8 = 0x04;
    pub const UNIQUE_ID: u8 = 0x05;
    pub const SSL: u8 = 0x20;
    pub const SSL_VERSION: u8 = 0x21;
    pub const SSL_CN: u8 = 0x22;
    pub const SSL_CIPHER: u8 = 0x23;
    pub const SSL_SIG_ALG: u8 = 0x24;
    pub const SSL_KEY_ALG: u8 = 0x25;
    pub const NETNS: u8 = 0x30;
}

/// What the proxy says of the client's TLS (PP §2.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ssl {
    /// The client connected by TLS.
    pub tls: bool,
    /// The client showed a certificate over this connection.
    pub certificate_on_connection: bool,
    /// The client showed a certificate at least once over the TLS session.
    pub certificate_in_session: bool,
    /// A certificate was shown and verified.
    pub verified: bool,
    pub version: Option<Vec<u8>>,
    pub common_name: Option<Vec<u8>>,
    pub cipher: Option<Vec<u8>>,
}

/// How far the bytes at hand lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So far right, but not whole.
    Incomplete,
    /// The header takes the first `consumed` bytes.
    Header { header: Header, consumed: usize },
}

/// Why this is not a header. The connection must be closed: nothing in it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("does not begin with a PROXY protocol header")]
    NotProxy,
    #[error("PROXY header without an end in its first 107 bytes")]
    LineTooLong,
    #[error("malformed PROXY version 1 line")]
    BadLine,
    #[error("PROXY header larger than 4096 bytes")]
    TooLarge,
    #[error("unknown version or command in a PROXY version 2 header")]
    BadCommand,
    #[error("unknown address family or protocol in a PROXY version 2 header")]
    BadFamily,
    #[error("PROXY version 2 header too short for its addresses")]
    TooShort,
    #[error("an extension exceeds the PROXY version 2 header")]
    BadTlv,
    #[error("the checksum of the PROXY version 2 header is wrong")]
    BadChecksum,
}

impl Header {
    /// The client's address, if there is one.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.addresses {
            Addresses::Stream { source, .. } | Addresses::Datagram { source, .. } => Some(source),
            Addresses::Local | Addresses::Unspecified | Addresses::Unix => None,
        }
    }

    /// The address the client connected to, if there is one.
    pub fn destination(&self) -> Option<SocketAddr> {
        match self.addresses {
            Addresses::Stream { destination, .. } | Addresses::Datagram { destination, .. } => {
                Some(destination)
            }
            Addresses::Local | Addresses::Unspecified | Addresses::Unix => None,
        }
    }

    /// The first extension of this [`kind`].
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs.iter().find(|tlv| tlv.kind == kind).map(|tlv| tlv.value.as_slice())
    }

    /// What it says of the client's TLS, if anything.
    pub fn ssl(&self) -> Option<Ssl> {
        // Checked when it was parsed.
        self.tlv(kind::SSL).and_then(|value| v2::ssl(value).ok())
    }
}

/// Reads a header from the first bytes of a connection.
///
/// Never asks for more than 107 bytes of a version 1 line or 4 KiB in all: what is larger is an
/// error as soon as that is known.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    if starts_like(bytes, &SIGNATURE) {
        v2::parse(bytes)
    } else if starts_like(bytes, b"PROXY ") {
        v1::parse(bytes)
    } else {
        Err(Error::NotProxy)
    }
}

fn starts_like(bytes: &[u8], start: &[u8]) -> bool {
    let len = bytes.len().min(start.len());
    bytes[..len] == start[..len]
}

#[cfg(test)]
mod tests;
