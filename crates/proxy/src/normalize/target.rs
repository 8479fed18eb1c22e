//! Which form a request-target has, and what it consists of.

use memchr::{memchr, memchr2};

use super::{Host, host};

/// The four forms of a request-target (RFC 9112 §3.2). Paths are raw: [`super::path`] comes next.
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
