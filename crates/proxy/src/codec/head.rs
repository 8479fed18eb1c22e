//! Request and response heads.

mod whole;

use memchr::{memchr, memchr_iter};
use transom_settings::{is_token, is_token_byte};

use super::scan::target_length;
use crate::fields::{Fields, Known, Place};
use crate::message::{Method, Version};

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The request or status line, bytes.
    pub start_line: usize,
    /// One field line, bytes.
    pub line: usize,
    /// All field lines together, bytes.
    pub fields: usize,
    /// How many field lines.
    pub count: usize,
}

impl HeadLimits {
    /// Requests: 8 KiB, 16 KiB, 32 KiB, 100 lines.
    pub const REQUEST: HeadLimits =
        HeadLimits { start_line: 8 << 10, line: 16 << 10, fields: 32 << 10, count: 100 };
    /// Responses: 1 KiB, 64 KiB, 64 KiB in all, 100 lines.
    pub const RESPONSE: HeadLimits =
        HeadLimits { start_line: 1 << 10, line: Self::MOST, fields: Self::MOST, count: 100 };
    /// What may be allowed to a request line and its fields together, and to the fields of a
    /// response: a head is read into one buffer.
    pub const MOST: usize = 64 << 10;
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("a line does not end in CR LF")]
    BareLineEnd,
    #[error("a field line has no colon or no name")]
    FieldWithoutName,
    #[error("a field name is not a token")]
    BadName,
    #[error("a field value holds a control character")]
    BadValue,
    #[error("a field line is folded over several lines")]
    Folded,
    #[error("the request line is malformed")]
    BadRequestLine,
    #[error("the method is a known one in the wrong case")]
    MiscasedMethod,
    #[error("the method is longer than {} bytes", Method::LONGEST)]
    LongMethod,
    #[error("the version is malformed")]
    BadVersion,
    #[error("the major version is not served here")]
    OtherVersion,
    #[error("the status line is malformed")]
    BadStatusLine,
    #[error("the request line is too long")]
    LongStartLine,
    #[error("a field line is too long, or all of them are")]
    LongFields,
    #[error("there are too many field lines")]
    ManyFields,
}

/// A parsed request head. The target is as received.
#[derive(Debug)]
pub struct RequestHead<'a> {
    pub method: Method,
    pub target: &'a [u8],
    pub version: Version,
    pub fields: Fields,
    /// Bytes of the whole head, empty line included.
    pub length: usize,
}

/// A parsed response head.
#[derive(Debug)]
pub struct ResponseHead {
    pub version: Version,
    pub status: u16,
    pub fields: Fields,
    pub length: usize,
}

/// Parses the request head at the front of `bytes`.
///
/// `Ok(None)` while it is incomplete. What can be seen to be wrong with an incomplete head is
/// refused at once, so that nobody waits for the end of something that cannot become a request.
///
/// # Errors
/// [`HeadError`].
pub fn request<'a>(
    bytes: &'a [u8],
    limits: &HeadLimits,
) -> Result<Option<RequestHead<'a>>, HeadError> {
    if let Some((start_line, fields, length)) = whole::head(bytes, limits) {
        let (method, target, version) = request_line(start_line)?;
        return Ok(Some(RequestHead { method, target, version, fields, length }));
    }
    let Some((start_line, fields)) = split(bytes, limits)? else {
        if let Some(end) = memchr(b'\n', bytes) {
            request_line(&bytes[..end.saturating_sub(1)])?;
        }
        return Ok(None);
    };
    let (method, target, version) = request_line(start_line)?;
    let length = start_line.len() + 2 + fields.len() + 2;
    let fields = field_lines(fields, limits)?;
    Ok(Some(RequestHead { method, target, version, fields, length }))
}

/// Parses the response head at the front of `bytes`; `Ok(None)` while it is incomplete.
///
/// # Errors
/// [`HeadError`].
pub fn response(bytes: &[u8], limits: &HeadLimits) -> Result<Option<ResponseHead>, HeadError> {
    if let Some((start_line, fields, length)) = whole::head(bytes, limits) {
        let (version, status) = status_line(start_line)?;
        return Ok(Some(ResponseHead { version, status, fields, length }));
    }
    let Some((start_line, fields)) = split(bytes, limits)? else { return Ok(None) };
    let (version, status) = status_line(start_line)?;
    let length = start_line.len() + 2 + fields.len() + 2;
    let fields = field_lines(fields, limits)?;
    Ok(Some(ResponseHead { version, status, fields, length }))
}

/// The start line and the block of field lines (each with its CR LF), once the empty line is there.
#[allow(clippy::type_complexity)] // A pair of slices needs no name.
fn split<'a>(
    bytes: &'a [u8],
    limits: &HeadLimits,
) -> Result<Option<(&'a [u8], &'a [u8])>, HeadError> {
    let end = end_of(bytes);
    let seen = &bytes[..end.unwrap_or(bytes.len())];
    let line_end = memchr(b'\n', seen);
    if line_end.unwrap_or(seen.len()) > limits.start_line + 1 {
        return Err(HeadError::LongStartLine);
    }
    let fields_start = line_end.map_or(seen.len(), |end| end + 1);
    // The CR of an empty line whose LF has not come is none of the fields.
    let end_began = end.is_none() && seen.ends_with(b"\n\r");
    if seen.len() - fields_start - usize::from(end_began) > limits.fields {
        return Err(HeadError::LongFields);
    }
    if end.is_none() {
        return refuse_bare_line_ends(seen).map(|()| None);
    }
    let Some(line_end) = line_end else { return Ok(None) };
    let start_line = seen[..line_end].strip_suffix(b"\r").ok_or(HeadError::BareLineEnd)?;
    Ok(Some((start_line, &seen[fields_start..])))
}

/// Where the empty line begins. Whether the line before it ends in CR LF is seen to later.
fn end_of(bytes: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', bytes).map(|at| at + 1).find(|next| bytes[*next..].starts_with(b"\r\n"))
}

/// A bare LF, or a CR that is neither followed by LF nor last, in an incomplete head.
fn refuse_bare_line_ends(bytes: &[u8]) -> Result<(), HeadError> {
    let bare_lf = memchr_iter(b'\n', bytes).any(|at| at == 0 || bytes[at - 1] != b'\r');
    let bare_cr =
        memchr_iter(b'\r', bytes).any(|at| bytes.get(at + 1).is_some_and(|b| *b != b'\n'));
    if bare_lf || bare_cr { Err(HeadError::BareLineEnd) } else { Ok(()) }
}

/// RFC 9112 §3: method SP request-target SP HTTP-version, single spaces, nothing else.
fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), HeadError> {
    let bad = HeadError::BadRequestLine;
    let first = line.iter().position(|b| *b == b' ').ok_or(bad)?;
    let (method, rest) = (&line[..first], &line[first + 1..]);
    let last = rest.iter().rposition(|b| *b == b' ').ok_or(bad)?;
    let (target, version) = (&rest[..last], &rest[last + 1..]);
    if target.is_empty() || target_length(target) < target.len() {
        return Err(bad);
    }
    let method = method_of(method)?;
    Ok((method, target, request_version(version)?))
}

pub(super) fn method_of(name: &[u8]) -> Result<Method, HeadError> {
    if !is_token(name) {
        return Err(HeadError::BadRequestLine);
    }
    if name.len() > Method::LONGEST {
        return Err(HeadError::LongMethod);
    }
    match name {
        b"GET" => return Ok(Method::Get),
        b"POST" => return Ok(Method::Post),
        _ => {}
    }
    let name = std::str::from_utf8(name).map_err(|_| HeadError::BadRequestLine)?;
    if Method::is_miscased(name) {
        return Err(HeadError::MiscasedMethod);
    }
    Ok(Method::of(name))
}

/// RFC 9112 §2.3: a higher minor version of 1 is served as 1.1, other majors are refused.
fn request_version(version: &[u8]) -> Result<Version, HeadError> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HeadError::OtherVersion)
        }
        _ => Err(HeadError::BadVersion),
    }
}

/// RFC 9112 §4: HTTP-version SP 3DIGIT [ SP reason ]. A missing reason and its space are accepted.
fn status_line(line: &[u8]) -> Result<(Version, u16), HeadError> {
    let bad = HeadError::BadStatusLine;
    let (version, rest) = line.split_at_checked(8).ok_or(bad)?;
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(bad),
    };
    let (code, reason) = rest.split_at_checked(4).ok_or(bad)?;
    let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *code else { return Err(bad) };
    if !(reason.is_empty() || reason[0] == b' ') || !is_clean(reason) {
        return Err(bad);
    }
    Ok((version, u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')))
}

/// Parses field lines, each ending in CR LF.
///
/// # Errors
/// [`HeadError`].
pub fn field_lines(block: &[u8], limits: &HeadLimits) -> Result<Fields, HeadError> {
    let mut fields = Fields::with_lines(16);
    let mut start = 0;
    while start < block.len() {
        let end = memchr(b'\n', &block[start..]).ok_or(HeadError::BareLineEnd)? + start;
        if end == start || block[end - 1] != b'\r' {
            return Err(HeadError::BareLineEnd);
        }
        if end - start > limits.line {
            return Err(HeadError::LongFields);
        }
        if fields.len() == limits.count {
            return Err(HeadError::ManyFields);
        }
        let (name, value) = field_line(&block[start..end - 1])?;
        let place = Place { line: start, value: start + value.0..start + value.1 };
        let written = block[start + name..].starts_with(b": ")
            && place.value.start == start + name + 2
            && place.value.end + 1 == end;
        let known = Known::of(&block[start..start + name]);
        fields.push_line(name, place, known, written);
        start = end + 1;
    }
    fields.adopt(block);
    Ok(fields)
}

/// Where the name ends and the value lies in one line without its CR LF.
fn field_line(line: &[u8]) -> Result<(usize, (usize, usize)), HeadError> {
    // RFC 9112 §5.1: no white space between name and colon.
    let name = line.iter().position(|b| !is_token_byte(*b)).ok_or(HeadError::FieldWithoutName)?;
    match line[name] {
        b':' if name > 0 => {}
        b':' => return Err(HeadError::FieldWithoutName),
        b' ' | b'\t' if name == 0 => return Err(HeadError::Folded),
        _ => return Err(HeadError::BadName),
    }
    let (mut start, mut end) = (name + 1, line.len());
    while start < end && matches!(line[start], b' ' | b'\t') {
        start += 1;
    }
    while end > start && matches!(line[end - 1], b' ' | b'\t') {
        end -= 1;
    }
    if !is_clean(&line[start..end]) {
        return Err(HeadError::BadValue);
    }
    Ok((name, (start, end)))
}

/// No control characters but HTAB (RFC 9110 §5.5). Written to compile to vector instructions.
pub fn is_clean(value: &[u8]) -> bool {
    value.iter().fold(true, |ok, b| ok & ((*b >= 0x20) & (*b != 0x7f) | (*b == b'\t')))
}

/// A name that, spelled with hyphens, would be one that Transom reads, sets or strips (H1-49).
pub fn imitated(name: &[u8]) -> Option<Known> {
    if !name.iter().any(|b| matches!(b, b'_' | b'.')) {
        return None;
    }
    let folded: Vec<u8> =
        name.iter().map(|b| if matches!(b, b'_' | b'.') { b'-' } else { *b }).collect();
    Known::of(&folded)
}

#[cfg(test)]
mod tests;
