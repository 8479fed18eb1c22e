//! The one form of a host.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use memchr::memchr;

/// A host in its one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// Lower case, without the trailing dot. An IPv6 address keeps its brackets and is written in
    /// its shortest form. Borrowed when it came that way.
    pub name: Cow<'a, str>,
    pub port: Option<u16>,
}

/// Why a `Host` or an authority names no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("the host is not a valid address in brackets")]
    Address,
    #[error("the host holds the byte {0:#04x}, which no host name has")]
    Byte(u8),
    #[error("the host is empty")]
    Empty,
    #[error("the host has an empty label")]
    EmptyLabel,
    #[error("the host ends like an IPv4 address but is none")]
    Ipv4,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the host is longer than 255 bytes")]
    TooLong,
    #[error("the host holds user information")]
    Userinfo,
}

/// Reads a `Host` field value or an authority: RFC 3986 §3.2 without user information, and without
/// escapes, which no host name needs (RFC 9110 §4.2.3 compares hosts without case).
///
/// Whether an empty host is tolerable depends on the request, so it has an error of its own.
pub fn host(raw: &[u8]) -> Result<Host<'_>, HostError> {
    if raw.is_empty() {
        return Err(HostError::Empty);
    }
    // The longest name, its brackets or dot, and a port.
    if raw.len() > 255 + 1 + 6 {
        return Err(HostError::TooLong);
    }
    if raw[0] == b'[' {
        return address_host(raw);
    }
    let (name, port) = match memchr(b':', raw) {
        Some(colon) => (&raw[..colon], port(&raw[colon + 1..])?),
        None => (raw, None),
    };
    let name = host_name(name)?;
    Ok(Host { name, port })
}

fn address_host(raw: &[u8]) -> Result<Host<'_>, HostError> {
    let end = memchr(b']', raw).ok_or(HostError::Address)?;
    let port = match &raw[end + 1..] {
        [] => None,
        [b':', digits @ ..] => port(digits)?,
        _ => return Err(HostError::Address),
    };
    let written = std::str::from_utf8(&raw[..=end]).map_err(|_| HostError::Address)?;
    // Zone ids (`%25eth0`) mean something on one machine only; the parser refuses them.
    let address: Ipv6Addr = written[1..end].parse().map_err(|_| HostError::Address)?;
    let shortest = format!("[{address}]");
    let name = if shortest == written { Cow::Borrowed(written) } else { Cow::Owned(shortest) };
    Ok(Host { name, port })
}

fn host_name(raw: &[u8]) -> Result<Cow<'_, str>, HostError> {
    let mut upper = false;
    let mut label_start = 0;
    for (at, &byte) in raw.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            b'.' if at == label_start => return Err(HostError::EmptyLabel),
            b'.' => label_start = at + 1,
            b'@' => return Err(HostError::Userinfo),
            _ => return Err(HostError::Byte(byte)),
        }
    }
    let raw = raw.strip_suffix(b".").unwrap_or(raw);
    let name = match std::str::from_utf8(raw) {
        Ok("") | Err(_) => return Err(HostError::Empty),
        Ok(name) => name,
    };
    if name.len() > 255 {
        return Err(HostError::TooLong);
    }
    // `127.1`, `0x7f.1` and `010.0.0.1` are addresses to some readers and names to others.
    let last = name.rsplit('.').next().unwrap_or(name);
    if ends_in_number(last) && name.parse::<Ipv4Addr>().is_err() {
        return Err(HostError::Ipv4);
    }
    Ok(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

fn ends_in_number(label: &str) -> bool {
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn port(digits: &[u8]) -> Result<Option<u16>, HostError> {
    match digits {
        // RFC 3986 §3.2.3: `port = *DIGIT`; an empty one is the default port.
        [] => Ok(None),
        [b'1'..=b'9', ..] if digits.len() <= 5 => {
            let value = digits.iter().try_fold(0u32, |value, digit| match digit {
                b'0'..=b'9' => Some(value * 10 + u32::from(digit - b'0')),
                _ => None,
            });
            let port = value.and_then(|value| u16::try_from(value).ok());
            port.map(Some).ok_or(HostError::Port)
        }
        _ => Err(HostError::Port),
    }
}
