//! Version 2 of the PROXY protocol: bytes, with extensions and perhaps a checksum over all of it.

use std::net::{IpAddr, SocketAddr};

use super::{Addresses, Error, Header, Parsed, Ssl, Tlv, Version, kind};
use crate::peer::unmapped;
use crate::tls::certificates;

/// The longest header that is accepted; the format would allow 64 KiB.
pub(super) const LARGEST: usize = 4 * 1024;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
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
    let (addresses, skip) = addresses(family, body)?;
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

/// The two ends, and how many bytes of the body they take.
fn addresses(family: u8, body: &[u8]) -> Result<(Addresses, usize), Error> {
    match family {
        // PP §2.2: of AF_UNSPEC nothing is known, not even where its addresses would end.
        0x00 => Ok((Addresses::Unspecified, 0)),
        0x11 | 0x21 => {
            let ((source, destination), len) = ends(family, body).ok_or(Error::TooShort)?;
            Ok((Addresses::Stream { source, destination }, len))
        }
        0x12 | 0x22 => {
            let ((source, destination), len) = ends(family, body).ok_or(Error::TooShort)?;
            Ok((Addresses::Datagram { source, destination }, len))
        }
        0x31 | 0x32 if body.len() >= 216 => Ok((Addresses::Unix, 216)),
        0x31 | 0x32 => Err(Error::TooShort),
        _ => Err(Error::BadFamily),
    }
}

/// Both addresses, then both ports.
fn ends(family: u8, body: &[u8]) -> Option<((SocketAddr, SocketAddr), usize)> {
    let ip_len = if family >> 4 == 1 { 4 } else { 16 };
    let ip = |at: usize| body.get(at..at + ip_len).and_then(certificates::address);
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let end = |ip: IpAddr, port: u16| unmapped((ip, port).into());
    let source = end(ip(0)?, port(2 * ip_len)?);
    let destination = end(ip(ip_len)?, port(2 * ip_len + 2)?);
    Some(((source, destination), 2 * ip_len + 4))
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

pub(super) fn ssl(value: &[u8]) -> Result<Ssl, Error> {
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
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = !0_u32;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
