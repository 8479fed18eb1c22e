//! Version 1 of the PROXY protocol: a line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Addresses, Error, Header, Parsed, Version};
use crate::peer::unmapped;

/// PP §2.1: the longest line, with its CR LF.
pub(super) const LINE: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
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
