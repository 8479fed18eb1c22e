//! Headers of the PROXY protocol as bytes.

use std::net::{IpAddr, Ipv6Addr};

use super::v2::crc32c;
use super::{Addresses, Header, SIGNATURE, Ssl, Tlv, Version, kind};

/// Writes a header; with version 2 its extensions and, if asked for, a checksum.
///
/// LOCAL is written bare. Version 1 knows no datagrams, Unix sockets or LOCAL: it says UNKNOWN of them. Extensions that
/// do not fit into 64 KiB are left out.
pub fn encode(header: &Header, with_checksum: bool) -> Vec<u8> {
    match header.version {
        Version::One => encode_one(header).into_bytes(),
        Version::Two => encode_two(header, with_checksum),
    }
}

fn encode_one(header: &Header) -> String {
    let Addresses::Stream { source, destination } = header.addresses else {
        return "PROXY UNKNOWN\r\n".into();
    };
    let (from, to) = (source.port(), destination.port());
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            format!("PROXY TCP4 {source} {destination} {from} {to}\r\n")
        }
        (source, destination) => {
            let (source, destination) = (six(source), six(destination));
            format!("PROXY TCP6 {source} {destination} {from} {to}\r\n")
        }
    }
}

fn encode_two(header: &Header, with_checksum: bool) -> Vec<u8> {
    let (command, transport) = match header.addresses {
        Addresses::Local => (0x20, 0),
        Addresses::Datagram { .. } => (0x21, 2),
        _ => (0x21, 1),
    };
    let mut out = SIGNATURE.to_vec();
    out.extend_from_slice(&[command, 0, 0, 0]);
    if header.addresses == Addresses::Local {
        // PP §2.2: nobody would look at it.
        return out;
    }
    match header.addresses {
        Addresses::Local | Addresses::Unspecified => {}
        Addresses::Stream { source, destination } | Addresses::Datagram { source, destination } => {
            match (source.ip(), destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    out[13] = 0x10 | transport;
                    out.extend_from_slice(&source.octets());
                    out.extend_from_slice(&destination.octets());
                }
                (source, destination) => {
                    out[13] = 0x20 | transport;
                    out.extend_from_slice(&six(source).octets());
                    out.extend_from_slice(&six(destination).octets());
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
        Addresses::Unix => {
            out[13] = 0x31;
            out.extend_from_slice(&[0; 216]);
        }
    }
    let limit = 16 + usize::from(u16::MAX) - 7;
    for tlv in header.tlvs.iter().filter(|tlv| tlv.kind != kind::CRC32C) {
        if out.len() + 3 + tlv.value.len() <= limit {
            push_tlv(&mut out, tlv.kind, &tlv.value);
        }
    }
    let place = out.len() + 3;
    if with_checksum {
        push_tlv(&mut out, kind::CRC32C, &[0; 4]);
    }
    let len = (out.len() - 16) as u16;
    out[14..16].copy_from_slice(&len.to_be_bytes());
    if with_checksum {
        let crc = crc32c(&[&out]);
        out[place..].copy_from_slice(&crc.to_be_bytes());
    }
    out
}

pub(super) fn push_tlv(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}

fn six(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

impl Tlv {
    pub fn new(kind: u8, value: impl Into<Vec<u8>>) -> Self {
        Tlv { kind, value: value.into() }
    }
}

impl From<&Ssl> for Tlv {
    /// PP §2.2.5: `client` as bits, `verify` as zero for success, and what else is known.
    fn from(ssl: &Ssl) -> Self {
        let client = u8::from(ssl.tls)
            | u8::from(ssl.certificate_on_connection) << 1
            | u8::from(ssl.certificate_in_session) << 2;
        let shown = ssl.certificate_on_connection || ssl.certificate_in_session;
        let verify = u32::from(shown && !ssl.verified);
        let mut value = vec![client];
        value.extend_from_slice(&verify.to_be_bytes());
        let parts = [
            (kind::SSL_VERSION, &ssl.version),
            (kind::SSL_CN, &ssl.common_name),
            (kind::SSL_CIPHER, &ssl.cipher),
        ];
        for (kind, part) in parts {
            if let Some(part) = part {
                push_tlv(&mut value, kind, part);
            }
        }
        Tlv { kind: kind::SSL, value }
    }
}
