//! The one form of a path, a host and a request-target.
//!
//! Every request names what it wants in bytes that can be spelled in many ways: `/a/../b`, `/%62`,
//! `//b`. Routes, policies, the cache key and the endpoint must not each read them their own way, so
//! they are brought into one canonical form here, once, before anything looks at them, and that form
//! is also what is forwarded. A rewrite produces a new path and passes it through [`path`] again.
//!
//! What cannot be read in one way only is refused with an error, never repaired. Nothing here
//! decodes twice, and nothing allocates for a target that is already canonical.
//!
//! Not here: reading the request line (the codec does it), and limits on lengths except that of a
//! host, which a grammar cannot do without.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use memchr::{memchr, memchr2};

/// How much freedom a path has. The default is the strictest reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRules {
    /// `//` becomes `/`. Default: true.
    pub merge_slashes: bool,
    /// What `%2F`, `%5C` and `\` do. Default: refuse.
    pub encoded_slashes: EncodedSlashes,
    /// What `;` and `%3B` do. Default: keep.
    pub parameters: Parameters,
}

impl Default for PathRules {
    fn default() -> Self {
        Self {
            merge_slashes: true,
            encoded_slashes: EncodedSlashes::Refuse,
            parameters: Parameters::Keep,
        }
    }
}

/// A slash in disguise inside a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlashes {
    /// Stays an escape, is matched and forwarded as one, and never separates segments.
    Keep,
    Refuse,
}

/// Path parameters such as `;jsessionid=1` (RFC 3986 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// They are data: part of their segment for matching and forwarding.
    Keep,
    /// For endpoints that cut parameters off before they look at the path.
    Refuse,
}

/// A path in its one form: ASCII, beginning with `/`, without dot segments, escapes in upper case
/// and only where a byte needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canonical<'a> {
    /// The bytes as they came were canonical already; nothing was copied.
    Borrowed(&'a [u8]),
    /// The form differs from what came and stands in the buffer handed in.
    Written(&'a [u8]),
}

impl<'a> Canonical<'a> {
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Canonical::Borrowed(bytes) | Canonical::Written(bytes) => bytes,
        }
    }
}

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path climbs above its root")]
    AboveRoot,
    #[error("the path holds `%` without two hexadecimal digits")]
    BadEscape,
    #[error("the path holds the byte {0:#04x}, which must be written as an escape")]
    Byte(u8),
    #[error("the path holds the control character {0:#04x}")]
    Control(u8),
    #[error("the path hides `.` or `..` beside a parameter or an encoded slash")]
    DisguisedDots,
    #[error("the path holds an encoded slash or a backslash")]
    EncodedSlash,
    #[error("the path holds a fragment")]
    Fragment,
    #[error("the path holds a parameter")]
    Parameter,
    #[error("the path holds `?`, which begins a query")]
    Query,
    #[error("the path does not begin with `/`")]
    Relative,
}

/// Brings a path (no query) into its one form. `out` is only written when the form differs from
/// `raw`; what it held before is discarded then.
///
/// RFC 3986 §6.2.2: escapes of unreserved characters are decoded, the remaining escapes are upper
/// case, and then dot segments go. Reserved characters and their escapes stay what they are, so
/// `/a!` and `/a%21` are two paths. Printable bytes that a path may not hold but that browsers send
/// (`[`, `|`, `^` …) become escapes.
///
/// Stricter than the RFC: a path above its root, an encoded control character, and a dot segment
/// beside a parameter or an encoded slash (`..;`, `..%2F`), which some servers climb by, are errors.
pub fn path<'a>(
    raw: &'a [u8],
    rules: PathRules,
    out: &'a mut Vec<u8>,
) -> Result<Canonical<'a>, PathError> {
    if is_canonical(raw, rules) {
        return Ok(Canonical::Borrowed(raw));
    }
    write_canonical(raw, rules, out)?;
    // `/..a` and `/.b` fail the quick look but are canonical.
    Ok(if *out == raw { Canonical::Borrowed(raw) } else { Canonical::Written(out) })
}

/// The quick look: true only for a path that [`write_canonical`] would leave as it is.
fn is_canonical(raw: &[u8], rules: PathRules) -> bool {
    if raw.first() != Some(&b'/') {
        return false;
    }
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        match CLASS[byte as usize] {
            Class::Unreserved | Class::Reserved => at += 1,
            Class::Slash => {
                // A segment that begins with a dot, or `//`, is for the long way.
                match raw.get(at + 1) {
                    Some(b'.') => return false,
                    Some(b'/') if rules.merge_slashes => return false,
                    _ => at += 1,
                }
            }
            Class::Percent => {
                let [high, low] = match raw.get(at + 1..at + 3) {
                    Some(digits) => [digits[0], digits[1]],
                    None => return false,
                };
                let value = match (hex(high), hex(low)) {
                    (Some(h), Some(l)) if is_upper_hex(high) && is_upper_hex(low) => h << 4 | l,
                    _ => return false,
                };
                // Slashes, semicolons, controls and unreserved bytes are for the long way.
                if !stays_escaped(value) {
                    return false;
                }
                at += 3;
            }
            Class::Semicolon if rules.parameters == Parameters::Keep => at += 1,
            _ => return false,
        }
    }
    true
}

/// True for bytes whose escape needs no second look.
fn stays_escaped(value: u8) -> bool {
    match CLASS[value as usize] {
        Class::Reserved | Class::Escaped | Class::Foreign | Class::Percent => true,
        Class::Fragment | Class::Query | Class::Space => true,
        Class::Backslash | Class::Control | Class::Semicolon => false,
        Class::Slash | Class::Unreserved => false,
    }
}

fn write_canonical(raw: &[u8], rules: PathRules, out: &mut Vec<u8>) -> Result<(), PathError> {
    let Some(mut rest) = raw.strip_prefix(b"/") else {
        return Err(PathError::Relative);
    };
    out.clear();
    out.push(b'/');
    loop {
        let (segment, after) = match memchr(b'/', rest) {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        let start = out.len();
        write_segment(segment, rules, out)?;
        let written = &out[start..];
        // RFC 3986 §5.2.4, on what was decoded: `%2e%2e` has become `..` by now.
        let ends_open = match written {
            b"." => {
                out.truncate(start);
                false
            }
            b".." => {
                let Some(parent) = out[..start - 1].iter().rposition(|&b| b == b'/') else {
                    return Err(PathError::AboveRoot);
                };
                out.truncate(parent + 1);
                false
            }
            b"" => !rules.merge_slashes,
            other if hides_dots(other) => return Err(PathError::DisguisedDots),
            _ => true,
        };
        match after {
            None => return Ok(()),
            Some(after) => rest = after,
        }
        if ends_open {
            out.push(b'/');
        }
    }
}

fn write_segment(segment: &[u8], rules: PathRules, out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        at += 1;
        match CLASS[byte as usize] {
            Class::Unreserved | Class::Reserved => out.push(byte),
            Class::Semicolon if rules.parameters == Parameters::Refuse => {
                return Err(PathError::Parameter);
            }
            Class::Semicolon | Class::Slash => out.push(byte),
            Class::Escaped => push_escape(byte, out),
            Class::Backslash if rules.encoded_slashes == EncodedSlashes::Refuse => {
                return Err(PathError::EncodedSlash);
            }
            Class::Backslash => push_escape(byte, out),
            Class::Percent => {
                let value = escape_at(segment, at).ok_or(PathError::BadEscape)?;
                at += 2;
                match CLASS[value as usize] {
                    Class::Unreserved => out.push(value),
                    Class::Control => return Err(PathError::Control(value)),
                    Class::Slash | Class::Backslash
                        if rules.encoded_slashes == EncodedSlashes::Refuse =>
                    {
                        return Err(PathError::EncodedSlash);
                    }
                    Class::Semicolon if rules.parameters == Parameters::Refuse => {
                        return Err(PathError::Parameter);
                    }
                    _ => push_escape(value, out),
                }
            }
            Class::Control => return Err(PathError::Control(byte)),
            Class::Foreign | Class::Space => return Err(PathError::Byte(byte)),
            Class::Fragment => return Err(PathError::Fragment),
            Class::Query => return Err(PathError::Query),
        }
    }
    Ok(())
}

/// True when a server that cuts parameters, or takes an encoded slash for a slash, would see a dot
/// segment in here. `segment` is written already, so its escapes are upper case.
fn hides_dots(segment: &[u8]) -> bool {
    let is_mark =
        |at: usize, marks: [&[u8]; 2]| marks.iter().any(|mark| segment[at..].starts_with(mark));
    let mut start = 0;
    while start <= segment.len() {
        let slash = (start..segment.len()).find(|&at| is_mark(at, [b"%2F", b"%5C"]));
        let end = slash.unwrap_or(segment.len());
        let cut = (start..end).find(|&at| is_mark(at, [b";", b"%3B"])).unwrap_or(end);
        if matches!(&segment[start..cut], b"." | b"..") {
            return true;
        }
        start = end + 3;
    }
    false
}

fn push_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// The byte that the two digits at `at` stand for.
pub(crate) fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digits = bytes.get(at..at + 2)?;
    Some(hex(digits[0])? << 4 | hex(digits[1])?)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_upper_hex(digit: u8) -> bool {
    !digit.is_ascii_lowercase()
}

/// What one byte means in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Backslash,
    Control,
    /// Printable, not of the grammar of a path, harmless: written as an escape.
    Escaped,
    /// 0x80 and above.
    Foreign,
    Fragment,
    Percent,
    Query,
    /// RFC 3986 `sub-delims` without `;`, and `:` and `@`: stays as it is, escaped or not.
    Reserved,
    Semicolon,
    Slash,
    Space,
    /// RFC 3986 §2.3: the only bytes whose escapes are decoded.
    Unreserved,
}

static CLASS: [Class; 256] = {
    let mut table = [Class::Escaped; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            0..=0x1f | 0x7f => Class::Control,
            0x80.. => Class::Foreign,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => Class::Unreserved,
            b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' => Class::Reserved,
            b':' | b'@' => Class::Reserved,
            b' ' => Class::Space,
            b'#' => Class::Fragment,
            b'%' => Class::Percent,
            b'/' => Class::Slash,
            b';' => Class::Semicolon,
            b'?' => Class::Query,
            b'\\' => Class::Backslash,
            _ => Class::Escaped,
        };
        byte += 1;
    }
    table
};

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

/// The four forms of a request-target (RFC 9112 §3.2). Paths are raw: [`path`] comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A whole URI. The authority is the host to use, in place of the `Host` field.
    Absolute { scheme: Scheme, authority: &'a [u8], path: &'a [u8], query: Option<&'a [u8]> },
    /// The server itself: `OPTIONS *`, or `OPTIONS http://host` with its authority
    /// (RFC 9112 §3.2.4). Never a path.
    Asterisk { authority: Option<&'a [u8]> },
    /// The host and port of a CONNECT.
    Authority(&'a [u8]),
    /// A path and perhaps a query: the usual form.
    Origin { path: &'a [u8], query: Option<&'a [u8]> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// Why a request-target cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("the target `*` is only for OPTIONS")]
    Asterisk,
    #[error("CONNECT needs a host and a port")]
    Connect,
    #[error("the target is empty")]
    Empty,
    #[error("the target has no host")]
    EmptyAuthority,
    #[error("the target holds a fragment")]
    Fragment,
    #[error("the query holds the byte {0:#04x}, which must be written as an escape")]
    QueryByte(u8),
    #[error("the target begins neither with `/` nor with a scheme")]
    Relative,
    #[error("the scheme is neither http nor https")]
    Scheme,
    #[error("the target holds user information")]
    Userinfo,
}

/// Tells which form a request-target has and takes it apart without changing a byte.
pub fn target<'a>(method: &[u8], raw: &'a [u8]) -> Result<Target<'a>, TargetError> {
    if method == b"CONNECT" {
        return connect_target(raw);
    }
    match raw {
        [] => Err(TargetError::Empty),
        // `//a/` is a path too, never an authority.
        [b'/', ..] => {
            let (path, query) = split(raw)?;
            Ok(Target::Origin { path, query })
        }
        b"*" if method == b"OPTIONS" => Ok(Target::Asterisk { authority: None }),
        b"*" => Err(TargetError::Asterisk),
        _ => absolute_target(method, raw),
    }
}

fn absolute_target<'a>(method: &[u8], raw: &'a [u8]) -> Result<Target<'a>, TargetError> {
    let colon = memchr(b':', raw).ok_or(TargetError::Relative)?;
    let Some(rest) = raw[colon + 1..].strip_prefix(b"//") else {
        return Err(TargetError::Relative);
    };
    let scheme = match &raw[..colon] {
        name if name.eq_ignore_ascii_case(b"http") => Scheme::Http,
        name if name.eq_ignore_ascii_case(b"https") => Scheme::Https,
        _ => return Err(TargetError::Scheme),
    };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if authority.is_empty() {
        return Err(TargetError::EmptyAuthority);
    }
    // RFC 9110 §4.2.4.
    if memchr(b'@', authority).is_some() {
        return Err(TargetError::Userinfo);
    }
    if rest.is_empty() && method == b"OPTIONS" {
        return Ok(Target::Asterisk { authority: Some(authority) });
    }
    let (path, query) = split(rest)?;
    // RFC 9112 §3.2.1: an empty path is sent as `/`.
    let path = if path.is_empty() { b"/" } else { path };
    Ok(Target::Absolute { scheme, authority, path, query })
}

fn connect_target(raw: &[u8]) -> Result<Target<'_>, TargetError> {
    if memchr(b'@', raw).is_some() {
        return Err(TargetError::Userinfo);
    }
    match host(raw) {
        Ok(Host { port: Some(_), .. }) => Ok(Target::Authority(raw)),
        _ => Err(TargetError::Connect),
    }
}

/// A path and its query, without the `?`. A fragment is an error, in either place: it never leaves
/// a client, and readers that cut at `#` see another path than those that do not.
pub fn split(raw: &[u8]) -> Result<(&[u8], Option<&[u8]>), TargetError> {
    let Some(mark) = memchr2(b'?', b'#', raw) else {
        return Ok((raw, None));
    };
    if raw[mark] == b'#' {
        return Err(TargetError::Fragment);
    }
    let (path, query) = (&raw[..mark], &raw[mark + 1..]);
    match query.iter().find(|&&b| !(0x21..=0x7e).contains(&b) || b == b'#') {
        None => Ok((path, Some(query))),
        Some(b'#') => Err(TargetError::Fragment),
        Some(&byte) => Err(TargetError::QueryByte(byte)),
    }
}

#[cfg(test)]
mod tests;
