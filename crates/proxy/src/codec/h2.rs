//! Header blocks of HTTP/2: between our flat fields and the map of the `http` crate, which the
//! library that speaks the frames deals in.
//!
//! What HTTP/2 could carry and HTTP/1 would read as something else is refused on the way in, so
//! that it never reaches an endpoint, whatever its version (RFC 9113 §8.2.1, §10.3). The library
//! refuses part of this as well; relying on that would make a safety of ours its detail.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request;
use transom_settings::is_token_byte;

use super::head::{self, HeadError, HeadLimits, RequestHead, is_clean};
use crate::fields::{Fields, Known, Values};
use crate::message::Version;

/// What RFC 9113 §6.5.2 counts for a field beside its bytes.
const OVERHEAD: usize = 32;

/// Its name within TLS (RFC 7301).
pub const ALPN: &[u8] = b"h2";

/// Trailers: 8 KiB, 32 lines.
pub const TRAILERS: HeadLimits =
    HeadLimits { start_line: 0, line: 8 << 10, fields: 8 << 10, count: 32 };

/// What is wrong with a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("a field value holds a control character, or white space around it")]
    BadValue,
    #[error("a field name is not a lower-case token")]
    BadName,
    #[error("a field that is meant for one HTTP/1 connection")]
    ConnectionField,
    #[error("TE is not exactly `trailers`")]
    BadTe,
    #[error(":authority and Host name different hosts")]
    OtherHost,
    #[error("Host stands twice")]
    SecondHost,
    #[error("neither :authority nor Host")]
    NoHost,
    #[error(":path is missing, or no path")]
    BadPath,
    #[error(":path is too long")]
    LongPath,
    #[error(":scheme is neither http nor https")]
    BadScheme,
    #[error("Content-Length is not one decimal number")]
    BadLength,
    #[error("the fields are too long")]
    LongFields,
    #[error("there are too many fields")]
    ManyFields,
    #[error(transparent)]
    Method(HeadError),
}

impl BlockError {
    /// RFC 9113 §8.1.1: the stream is reset, and nobody is answered. What is merely too much, or
    /// about the host, gets an answer.
    pub fn is_malformed(self) -> bool {
        matches!(
            self,
            BlockError::BadValue
                | BlockError::BadName
                | BlockError::ConnectionField
                | BlockError::BadTe
                | BlockError::BadPath
                | BlockError::BadScheme
                | BlockError::BadLength
        )
    }
}

/// The fields of a received block, cookies joined to one line. Limits hold before they are joined
/// (H2-04), and for sizes as RFC 9113 §6.5.2 counts them: 32 bytes more for each field.
///
/// # Errors
/// [`BlockError`].
pub fn received(map: &HeaderMap, limits: &HeadLimits) -> Result<Fields, BlockError> {
    received_beside(map, limits, 0)
}

fn received_beside(
    map: &HeaderMap,
    limits: &HeadLimits,
    room: usize,
) -> Result<Fields, BlockError> {
    if map.len() > limits.count {
        return Err(BlockError::ManyFields);
    }
    let mut size = 0;
    let mut cookies = 0;
    for (name, value) in map {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        size += name.len() + value.len() + OVERHEAD;
        if value.len() > limits.line {
            return Err(BlockError::LongFields);
        }
        check_value(value)?;
        cookies += usize::from(name == b"cookie");
    }
    if size > limits.fields + limits.count * OVERHEAD {
        return Err(BlockError::LongFields);
    }
    let mut fields = Fields::with_room_for(size + room, map.len());
    for (name, value) in map {
        let text = name.as_str().as_bytes();
        match Known::of(text) {
            Some(Known::Cookie) if cookies > 1 => {}
            Some(Known::Te) if value != "trailers" => return Err(BlockError::BadTe),
            Some(known) if is_for_one_connection(known) => return Err(BlockError::ConnectionField),
            Some(known) => fields.append(known, value.as_bytes()),
            None if text.iter().all(|b| is_token_byte(*b) && !b.is_ascii_uppercase()) => {
                fields.append_other(text, value.as_bytes());
            }
            None => return Err(BlockError::BadName),
        }
    }
    if cookies > 1 {
        // RFC 9113 §8.2.3 (H2-25).
        let crumbs: Vec<&[u8]> =
            map.get_all(http::header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        fields.append(Known::Cookie, &crumbs.join(&b"; "[..]));
    }
    Ok(fields)
}

/// RFC 9113 §8.2.1: no control characters, no white space at either end (H2-21).
fn check_value(value: &[u8]) -> Result<(), BlockError> {
    let padded = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if padded(value.first()) || padded(value.last()) || !is_clean(value) {
        return Err(BlockError::BadValue);
    }
    Ok(())
}

/// RFC 9113 §8.2.2 (H2-20).
fn is_for_one_connection(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
    )
}

/// The head of a received request: exactly one Host among its fields, which is `:authority` where
/// that is given, and the target as received.
///
/// The library has checked that each pseudo field stands at most once and before all others
/// (H2-22). It cuts off a fragment of `:path` without a word.
///
/// # Errors
/// [`BlockError`].
pub fn request<'a>(
    parts: &'a request::Parts,
    limits: &HeadLimits,
) -> Result<RequestHead<'a>, BlockError> {
    let method = head::method_of(parts.method.as_str().as_bytes()).map_err(BlockError::Method)?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
    match target {
        [] if method.is_connect() => {}
        // H2-23: an absolute target has its parts in pseudo fields here.
        [b'/', ..] | b"*" => {}
        _ => return Err(BlockError::BadPath),
    }
    if target.len() > limits.start_line {
        return Err(BlockError::LongPath);
    }
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(BlockError::BadScheme);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let room = authority.map_or(0, <[u8]>::len);
    let mut fields = received_beside(&parts.headers, limits, room)?;
    match (fields.only(Known::Host), authority) {
        (Values::Many, _) => return Err(BlockError::SecondHost),
        (Values::None, None) => return Err(BlockError::NoHost),
        (Values::None, Some(authority)) => fields.append(Known::Host, authority),
        // RFC 9113 §8.3.1: they must say the same (H2-24).
        (Values::One(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            return Err(BlockError::OtherHost);
        }
        (Values::One(_), _) => {}
    }
    if let Values::Many = fields.only(Known::ContentLength) {
        return Err(BlockError::BadLength);
    }
    Ok(RequestHead { method, target, version: Version::Http2, fields, length: 0 })
}

/// Fields to be sent: names in lower case, nothing that is meant for an HTTP/1 connection. A line
/// that HTTP/2 cannot carry is left out; none gets this far.
pub fn sent(fields: &Fields) -> HeaderMap {
    sent_beside(fields, 0)
}

/// As [`sent`], with room for so many fields more.
pub fn sent_beside(fields: &Fields, more: usize) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + more);
    // One block for all values, instead of one for each.
    let block = Bytes::copy_from_slice(fields.block());
    for (field, place) in fields.iter().zip(fields.places()) {
        if field.known.is_some_and(is_for_one_connection) {
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(field.name) else { continue };
        let value = block.slice(place);
        let Ok(value) = HeaderValue::from_maybe_shared(value) else { continue };
        map.append(name, value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Method;

    const LIMITS: HeadLimits = HeadLimits::REQUEST;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(HeaderName::from_static(name), value);
        }
        map
    }

    fn text(fields: &Fields) -> String {
        fields.iter().map(|field| format!("{field:?};")).collect()
    }

    fn check(lines: &[(&'static str, &str)], expected: Result<&str, BlockError>) {
        let got = received(&map(lines), &LIMITS).map(|fields| text(&fields));
        assert_eq!(got, expected.map(str::to_owned), "{lines:?}");
    }

    #[test]
    fn names_that_are_known_get_their_usual_spelling() {
        check(
            &[("accept", "*/*"), ("x-mine", "1"), ("accept", "b")],
            Ok("Accept: */*;Accept: b;x-mine: 1;"),
        );
        check(&[("te", "trailers")], Ok("TE: trailers;"));
    }

    #[test]
    fn h2_20_fields_of_one_connection_are_refused() {
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"]
        {
            check(&[(name, "x")], Err(BlockError::ConnectionField));
        }
        check(&[("te", "gzip")], Err(BlockError::BadTe));
        check(&[("te", "trailers, deflate")], Err(BlockError::BadTe));
    }

    #[test]
    fn h2_21_white_space_around_a_value_is_refused() {
        for value in [" a", "a ", "\ta", "a\t", " "] {
            check(&[("x", value)], Err(BlockError::BadValue));
        }
        check(&[("x", "")], Ok("x: ;"));
        check(&[("x", "a \t b")], Ok("x: a \\t b;"));
        for value in [&b"a\r\nb"[..], b"a\nb", b"a\0b", b"\x7f"] {
            assert!(HeaderValue::from_bytes(value).is_err());
            assert_eq!(check_value(value), Err(BlockError::BadValue));
        }
    }

    #[test]
    fn h2_25_cookie_crumbs_become_one_line() {
        check(
            &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")],
            Ok("x: y;Cookie: a=1; b=2; c=3;"),
        );
        check(&[("cookie", "a=1; b=2")], Ok("Cookie: a=1; b=2;"));
    }

    #[test]
    fn h2_04_fields_are_counted_before_cookies_are_joined() {
        let crumbs = |n| vec![("cookie", "a"); n];
        assert!(received(&map(&crumbs(100)), &LIMITS).is_ok());
        assert_eq!(received(&map(&crumbs(101)), &LIMITS).unwrap_err(), BlockError::ManyFields);
        let long = "v".repeat(12 << 10);
        let lines = |n| vec![("x", long.as_str()); n];
        assert!(received(&map(&lines(2)), &LIMITS).is_ok());
        assert_eq!(received(&map(&lines(3)), &LIMITS).unwrap_err(), BlockError::LongFields);
        let longer = "v".repeat((16 << 10) + 1);
        check(&[("x", &longer)], Err(BlockError::LongFields));
    }

    fn asked(
        method: &str,
        uri: &str,
        lines: &[(&'static str, &str)],
    ) -> Result<(Method, String, String), BlockError> {
        let mut request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        *request.headers_mut() = map(lines);
        let (parts, ()) = request.into_parts();
        let head = self::request(&parts, &LIMITS)?;
        Ok((head.method, String::from_utf8_lossy(head.target).into_owned(), text(&head.fields)))
    }

    #[test]
    fn h2_24_exactly_one_host_comes_of_authority_and_host() {
        for (uri, host, expected) in [
            ("http://a/", None, Ok("Host: a;")),
            ("http://a:8080/", Some("A:8080"), Ok("Host: A:8080;")),
            ("/", Some("b"), Ok("Host: b;")),
            ("http://a/", Some("b"), Err(BlockError::OtherHost)),
            ("http://a/", Some("a:80"), Err(BlockError::OtherHost)),
            ("/", None, Err(BlockError::NoHost)),
        ] {
            let lines: Vec<_> = host.into_iter().map(|host| ("host", host)).collect();
            let got = asked("GET", uri, &lines).map(|(_, _, fields)| fields);
            assert_eq!(got, expected.map(str::to_owned), "{uri} {host:?}");
        }
        let twice = [("host", "a"), ("host", "a")];
        assert_eq!(asked("GET", "http://a/", &twice).unwrap_err(), BlockError::SecondHost);
    }

    #[test]
    fn h2_23_the_target_is_a_path_and_the_method_a_method() {
        assert_eq!(asked("GET", "https://a/b?c", &[]).unwrap().1, "/b?c");
        assert_eq!(asked("OPTIONS", "*", &[("host", "a")]).unwrap().1, "*");
        assert_eq!(asked("GET", "ftp://a/", &[]).unwrap_err(), BlockError::BadScheme);
        assert_eq!(
            asked("get", "http://a/", &[]).unwrap_err(),
            BlockError::Method(HeadError::MiscasedMethod)
        );
        let long = format!("http://a/{}", "x".repeat(8 << 10));
        assert_eq!(asked("GET", &long, &[]).unwrap_err(), BlockError::LongPath);
    }

    #[test]
    fn what_is_sent_is_in_lower_case_and_has_no_connection() {
        let mut fields = Fields::new();
        for (name, value) in [
            ("Content-Type", "text/plain"),
            ("Connection", "close"),
            ("X-Mine", "1"),
            ("Set-Cookie", "a"),
            ("Set-Cookie", "b"),
            ("Upgrade", "x"),
        ] {
            fields.append(name, value.as_bytes());
        }
        fields.set("X-Mine", b"2");
        let lines: Vec<_> = sent(&fields)
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            lines,
            ["content-type: text/plain", "x-mine: 2", "set-cookie: a", "set-cookie: b"]
        );
    }
}
