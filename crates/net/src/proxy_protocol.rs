//! The PROXY protocol, versions 1 and 2: what a load balancer before us says of its client.
//!
//! Only bytes in and bytes out. Who is trusted to send a header, and how long is waited for it, is
//! decided by the listener. Written to `doc/proxy-protocol.txt` of HAProxy, cited as PP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::peer::unmapped;

mod write;

pub use write::encode;

/// PP §2.1: the longest line of version 1, with its CR LF.
const LINE: usize = 107;

/// The longest header of version 2 that is accepted; the format would allow 64 KiB.
const LARGEST: usize = 4 * 1024;

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
        self.tlv(kind::SSL).and_then(|value| ssl(value).ok())
    }
}

/// Reads a header from the first bytes of a connection.
///
/// Never asks for more than 107 bytes of a version 1 line or 4 KiB in all: what is larger is an
/// error as soon as that is known.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    if starts_like(bytes, &SIGNATURE) {
        two(bytes)
    } else if starts_like(bytes, b"PROXY ") {
        one(bytes)
    } else {
        Err(Error::NotProxy)
    }
}

fn starts_like(bytes: &[u8], start: &[u8]) -> bool {
    let len = bytes.len().min(start.len());
    bytes[..len] == start[..len]
}

fn one(bytes: &[u8]) -> Result<Parsed, Error> {
    let window = &bytes[..bytes.len().min(LINE)];
    let Some(end) = window.windows(2).position(|two| two == b"\r\n") else {
        return if window.len() == LINE { Err(Error::LineTooLong) } else { Ok(Parsed::Incomplete) };
    };
    let line = std::str::from_utf8(&window[..end]).map_err(|_| Error::BadLine)?;
    let mut words = line.split(' ').skip(1);
    let addresses = match words.next() {
        // PP §2.1: whatever stands behind it is ignored.
        Some("UNKNOWN") => Addresses::Unspecified,
        Some(family @ ("TCP4" | "TCP6")) => {
            let (Some(source), Some(destination), Some(from), Some(to), None) =
                (words.next(), words.next(), words.next(), words.next(), words.next())
            else {
                return Err(Error::BadLine);
            };
            let ip = |text: &str| -> Result<IpAddr, Error> {
                // The standard parser takes neither leading zeros nor zones.
                let ip = match family {
                    "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from),
                    _ => text.parse::<Ipv6Addr>().map(IpAddr::from),
                };
                ip.map_err(|_| Error::BadLine)
            };
            Addresses::Stream {
                source: unmapped((ip(source)?, port(from)?).into()),
                destination: unmapped((ip(destination)?, port(to)?).into()),
            }
        }
        _ => return Err(Error::BadLine),
    };
    let header = Header { version: Version::One, addresses, tlvs: Vec::new() };
    Ok(Parsed::Header { header, consumed: end + 2 })
}

fn port(text: &str) -> Result<u16, Error> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().map_err(|_| Error::BadLine) } else { Err(Error::BadLine) }
}

fn two(bytes: &[u8]) -> Result<Parsed, Error> {
    let Some((head, rest)) = bytes.split_at_checked(16) else { return Ok(Parsed::Incomplete) };
    let (command, family) = (head[12], head[13]);
    let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Error::BadCommand),
    };
    if 16 + len > LARGEST {
        return Err(Error::TooLarge);
    }
    let Some(body) = rest.get(..len) else { return Ok(Parsed::Incomplete) };
    let consumed = 16 + len;
    if local {
        // PP §2.2: whatever the block holds, family and all, is not looked at.
        let header =
            Header { version: Version::Two, addresses: Addresses::Local, tlvs: Vec::new() };
        return Ok(Parsed::Header { header, consumed });
    }
    let ends = |body: &[u8]| -> Option<(SocketAddr, SocketAddr)> {
        let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
        let (source, destination) = if family >> 4 == 1 {
            let ip = |at: usize| body.get(at..at + 4).and_then(super::tls::certificates::address);
            ((ip(0)?, port(8)?), (ip(4)?, port(10)?))
        } else {
            let ip = |at: usize| body.get(at..at + 16).and_then(super::tls::certificates::address);
            ((ip(0)?, port(32)?), (ip(16)?, port(34)?))
        };
        Some((unmapped(source.into()), unmapped(destination.into())))
    };
    let (addresses, skip) = match family {
        // PP §2.2: of AF_UNSPEC nothing is known, not even where its addresses would end.
        0x00 => (Addresses::Unspecified, 0),
        0x11 | 0x21 => {
            let (source, destination) = ends(body).ok_or(Error::TooShort)?;
            (Addresses::Stream { source, destination }, if family == 0x11 { 12 } else { 36 })
        }
        0x12 | 0x22 => {
            let (source, destination) = ends(body).ok_or(Error::TooShort)?;
            (Addresses::Datagram { source, destination }, if family == 0x12 { 12 } else { 36 })
        }
        0x31 | 0x32 if body.len() >= 216 => (Addresses::Unix, 216),
        0x31 | 0x32 => return Err(Error::TooShort),
        _ => return Err(Error::BadFamily),
    };
    let tlvs = tlvs(body.get(skip..).unwrap_or_default())?;
    for tlv in &tlvs {
        if tlv.kind == kind::CRC32C {
            checksum(&bytes[..consumed], &tlv.value)?;
        }
        if tlv.kind == kind::SSL {
            ssl(&tlv.value)?;
        }
    }
    let header = Header { version: Version::Two, addresses, tlvs };
    Ok(Parsed::Header { header, consumed })
}

fn tlvs(mut rest: &[u8]) -> Result<Vec<Tlv>, Error> {
    let mut tlvs = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, after) = after.split_at_checked(len).ok_or(Error::BadTlv)?;
        tlvs.push(Tlv { kind: head[0], value: value.to_vec() });
        rest = after;
    }
    if rest.is_empty() { Ok(tlvs) } else { Err(Error::BadTlv) }
}

fn ssl(value: &[u8]) -> Result<Ssl, Error> {
    let (head, rest) = value.split_first_chunk::<5>().ok_or(Error::BadTlv)?;
    let tls = head[0] & 1 != 0;
    let certificate = head[0] & 6 != 0;
    let verify = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut ssl = Ssl {
        tls,
        certificate_on_connection: head[0] & 2 != 0,
        certificate_in_session: head[0] & 4 != 0,
        // 0 is also written when there was nothing to verify.
        verified: verify == 0 && certificate,
        ..Ssl::default()
    };
    for tlv in tlvs(rest)? {
        match tlv.kind {
            kind::SSL_VERSION => ssl.version = Some(tlv.value),
            kind::SSL_CN => ssl.common_name = Some(tlv.value),
            kind::SSL_CIPHER => ssl.cipher = Some(tlv.value),
            _ => {}
        }
    }
    Ok(ssl)
}

/// PP §2.2.3: the checksum is that of the header with zeros in the checksum's place.
fn checksum(header: &[u8], value: &[u8]) -> Result<(), Error> {
    let sent: [u8; 4] = value.try_into().map_err(|_| Error::BadTlv)?;
    // `value` was copied; its place is the one where a checksum of this value stands. Zeroing every
    // such place would be wrong, so the TLVs are walked again.
    let at = checksum_place(header).ok_or(Error::BadTlv)?;
    let crc = crc32c(&[&header[..at], &[0; 4], &header[at + 4..]]);
    if crc == u32::from_be_bytes(sent) { Ok(()) } else { Err(Error::BadChecksum) }
}

fn checksum_place(header: &[u8]) -> Option<usize> {
    let mut at = 16
        + match header.get(13)? >> 4 {
            1 => 12,
            2 => 36,
            3 => 216,
            _ => 0,
        };
    loop {
        let head = header.get(at..at + 3)?;
        if head[0] == kind::CRC32C {
            return header.get(at + 3..at + 7).map(|_| at + 3);
        }
        at += 3 + usize::from(u16::from_be_bytes([head[1], head[2]]));
    }
}

/// CRC-32C (Castagnoli), bit by bit: headers are short and checksums rare.
fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = !0_u32;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::write::push_tlv;
    use super::*;

    fn stream(source: &str, destination: &str) -> Addresses {
        Addresses::Stream {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];

    fn v4_and(tlvs: &[u8]) -> Vec<u8> {
        [&V4[..], tlvs].concat()
    }

    #[test]
    fn sl_04_headers_of_version_1() {
        let known = |line: &str, addresses| {
            let header = Header { version: Version::One, addresses, tlvs: Vec::new() };
            let bytes = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            let expect = Parsed::Header { header, consumed: line.len() };
            assert_eq!(parse(&bytes), Ok(expect), "{line}");
            for end in 0..line.len() {
                assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{end} of {line}");
            }
        };
        known(
            "PROXY TCP4 192.0.2.1 10.0.0.1 12345 443\r\n",
            stream("192.0.2.1:12345", "10.0.0.1:443"),
        );
        known("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", stream("[2001:db8::1]:0", "[::1]:65535"));
        known("PROXY TCP6 ::ffff:10.1.1.1 ::1 1 2\r\n", stream("10.1.1.1:1", "[::1]:2"));
        known("PROXY UNKNOWN\r\n", Addresses::Unspecified);
        known("PROXY UNKNOWN ffff::1 ::1 1 2\r\n", Addresses::Unspecified);

        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        for (bytes, error) in [
            (&long[..], Error::LineTooLong),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Error::BadLine),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", Error::BadLine),
            (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", Error::BadLine),
            (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", Error::BadLine),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n", Error::BadLine),
            (b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", Error::BadLine),
            (b"PROXY TCP6 fe80::1%1 ::1 1 2\r\n", Error::BadLine),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", Error::BadLine),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Error::BadLine),
            (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Error::BadLine),
            (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Error::BadLine),
            (b"PROXY \r\n", Error::BadLine),
            (b"PROXY\r\n", Error::NotProxy),
            (b"proxy TCP4", Error::NotProxy),
            (b"GET / HTTP/1.1\r\n", Error::NotProxy),
        ] {
            assert_eq!(parse(bytes), Err(error), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(parse(&long[..106]), Ok(Parsed::Incomplete));
        assert_eq!(parse(&long[..107]), Err(Error::LineTooLong));
    }

    #[test]
    fn sl_04_headers_of_version_2() {
        let v4 = stream("192.0.2.1:12345", "10.0.0.1:443");
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[26..32].copy_from_slice(&[0xff, 0xff, 10, 1, 1, 1]);
        for (bytes, addresses, tlvs) in [
            (v2(0x21, 0x11, &V4), v4, 0),
            (v2(0x21, 0x21, &v6), stream("[::1]:0", "10.1.1.1:0"), 0),
            (v2(0x21, 0x11, &v4_and(&[5, 0, 1, 7, 4, 0, 0])), v4, 2),
            (v2(0x20, 0x11, &V4), Addresses::Local, 0),
            (v2(0x20, 0x00, &[]), Addresses::Local, 0),
            (v2(0x20, 0x77, &[1, 2]), Addresses::Local, 0),
            // Known families whose block is too short, or holds what is none.
            (v2(0x20, 0x11, &V4[..3]), Addresses::Local, 0),
            (v2(0x20, 0x21, &[]), Addresses::Local, 0),
            (v2(0x20, 0x11, &v4_and(&[1, 0])), Addresses::Local, 0),
            (v2(0x20, 0x31, &V4), Addresses::Local, 0),
            (v2(0x21, 0x00, &[]), Addresses::Unspecified, 0),
            (v2(0x21, 0x00, &[4, 0, 0]), Addresses::Unspecified, 1),
            (v2(0x21, 0x31, &[0; 216]), Addresses::Unix, 0),
        ] {
            let whole = [&bytes[..], b"more"].concat();
            let Ok(Parsed::Header { header, consumed }) = parse(&whole) else {
                panic!("{bytes:?}: {:?}", parse(&whole));
            };
            assert_eq!((header.addresses, header.tlvs.len()), (addresses, tlvs), "{bytes:?}");
            assert_eq!(consumed, bytes.len());
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(Parsed::Incomplete), "{end}");
            }
        }
        for (bytes, error) in [
            (v2(0x21, 0x11, &[0; 0xffff])[..20].to_vec(), Error::TooLarge),
            (v2(0x21, 0x11, &[0; 4081]), Error::TooLarge),
            (v2(0x21, 0x11, &V4[..11]), Error::TooShort),
            (v2(0x21, 0x21, &V4), Error::TooShort),
            (v2(0x21, 0x31, &V4), Error::TooShort),
            (v2(0x21, 0x77, &V4), Error::BadFamily),
            (v2(0x21, 0x13, &V4), Error::BadFamily),
            (v2(0x22, 0x11, &V4), Error::BadCommand),
            (v2(0x11, 0x11, &V4), Error::BadCommand),
            (v2(0x21, 0x11, &v4_and(&[1, 0])), Error::BadTlv),
            (v2(0x21, 0x11, &v4_and(&[1, 0, 2, 9])), Error::BadTlv),
            (v2(0x21, 0x11, &v4_and(&[3, 0, 4, 1, 2, 3, 4])), Error::BadChecksum),
            (v2(0x21, 0x11, &v4_and(&[3, 0, 2, 1, 2])), Error::BadTlv),
            (v2(0x21, 0x11, &v4_and(&[0x20, 0, 1, 1])), Error::BadTlv),
            (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Error::NotProxy),
        ] {
            assert_eq!(parse(&bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn the_client_s_tls_is_read() {
        let mut value = vec![7, 0, 0, 0, 0];
        push_tlv(&mut value, kind::SSL_VERSION, b"TLSv1.3");
        push_tlv(&mut value, kind::SSL_CN, b"alice");
        let mut tlvs = Vec::new();
        push_tlv(&mut tlvs, kind::SSL, &value);
        let Ok(Parsed::Header { header, .. }) = parse(&v2(0x21, 0x11, &v4_and(&tlvs))) else {
            panic!("must parse");
        };
        let ssl = header.ssl().unwrap();
        assert!(ssl.tls && ssl.verified && ssl.certificate_in_session);
        assert_eq!(ssl.common_name.as_deref(), Some(&b"alice"[..]));
        assert_eq!(Tlv::from(&ssl), Tlv::new(kind::SSL, value));
    }

    #[test]
    fn the_checksum_is_castagnoli_s() {
        // RFC 3720 §B.4.
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[b"1234", b"56789"]), 0xe306_9283);
    }

    fn addresses() -> impl Strategy<Value = Addresses> {
        let four = || any::<(Ipv4Addr, u16)>().prop_map(SocketAddr::from);
        // Mapped addresses are undressed, so they would not come back.
        let six = || {
            any::<(Ipv6Addr, u16)>()
                .prop_filter("mapped", |(ip, _)| ip.to_ipv4_mapped().is_none())
                .prop_map(SocketAddr::from)
        };
        let pair = prop_oneof![(four(), four()), (six(), six())];
        let one = |(source, destination)| Addresses::Stream { source, destination };
        prop_oneof![
            pair.prop_map(one),
            (four(), six())
                .prop_map(|(source, destination)| Addresses::Datagram { source, destination }),
            Just(Addresses::Local),
            Just(Addresses::Unspecified),
            Just(Addresses::Unix),
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, command: u8, family: u8) {
            let _ = parse(&bytes);
            let _ = parse(&v2(command, family, &bytes));
            let _ = parse(&v2(0x21, 0x11, &v4_and(&bytes)));
            let _ = parse(&[b"PROXY TCP4 ", &bytes[..]].concat());
        }

        #[test]
        fn what_is_written_is_read_back(
            addresses in addresses(),
            tlvs: Vec<(u8, Vec<u8>)>,
            crc: bool,
        ) {
            // Nested, or counted apart.
            let plain = |kind: &u8| *kind != kind::SSL && *kind != kind::CRC32C;
            let tlvs = tlvs.into_iter().filter(|(kind, _)| plain(kind));
            let tlvs: Vec<_> = tlvs.map(|(kind, value)| Tlv { kind, value }).take(20).collect();
            let header = Header { version: Version::Two, addresses, tlvs };
            let bytes = encode(&header, crc);
            prop_assume!(bytes.len() <= LARGEST);
            let Ok(Parsed::Header { header: mut read, consumed }) = parse(&bytes) else {
                panic!("{:?}", parse(&bytes));
            };
            prop_assert_eq!(consumed, bytes.len());
            if addresses == Addresses::Local {
                prop_assert_eq!(read, Header { tlvs: Vec::new(), ..header });
                return Ok(());
            }
            if crc {
                prop_assert_eq!(read.tlvs.pop().map(|tlv| tlv.kind), Some(kind::CRC32C));
            }
            prop_assert_eq!(&read, &header);

            let one = Header { version: Version::One, addresses, tlvs: Vec::new() };
            let bytes = encode(&one, false);
            prop_assert!(bytes.len() <= LINE);
            let Ok(Parsed::Header { header: read, .. }) = parse(&bytes) else {
                panic!("{:?}", parse(&bytes));
            };
            let expect = match addresses {
                Addresses::Stream { .. } => addresses,
                _ => Addresses::Unspecified,
            };
            prop_assert_eq!(read.addresses, expect);
        }
    }
}
