//! Where a body ends (RFC 9112 §6).

use crate::fields::{Fields, Known, Values, list};
use crate::message::{Method, Response, Version};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    Chunked,
    /// Until the peer closes; responses only.
    UntilClose,
}

/// Why the end of a body cannot be known for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("both Content-Length and Transfer-Encoding are present")]
    LengthAndEncoding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    EncodingInHttp10,
    #[error("Transfer-Encoding is not exactly `chunked`")]
    BadEncoding,
    #[error("a transfer coding other than `chunked` is not implemented")]
    UnknownEncoding,
    #[error("Content-Length is not one decimal number")]
    BadLength,
}

/// The framing of a request (RFC 9112 §6.3). The repairs that the RFC allows are declined: two
/// lengths, even equal ones, and a length beside an encoding are refused.
///
/// # Errors
/// [`FramingError`].
pub fn of_request(version: Version, fields: &Fields) -> Result<Framing, FramingError> {
    match declared(version, fields)? {
        Some(framing) => Ok(framing),
        None => Ok(Framing::None),
    }
}

/// The framing of a final response to a request with `method` (RFC 9112 §6.3).
///
/// # Errors
/// [`FramingError`].
pub fn of_response(
    version: Version,
    status: u16,
    fields: &Fields,
    method: &Method,
) -> Result<Framing, FramingError> {
    let declared = declared(version, fields)?;
    if Response::is_bodyless(status, method) {
        return Ok(Framing::None);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

fn declared(version: Version, fields: &Fields) -> Result<Option<Framing>, FramingError> {
    let length = fields.only(Known::ContentLength);
    let encoding = fields.only(Known::TransferEncoding);
    match (length, encoding) {
        (Values::None, Values::None) => Ok(None),
        (Values::One(value), Values::None) => {
            decimal(value).map(|n| Some(Framing::Length(n))).ok_or(FramingError::BadLength)
        }
        (Values::Many, Values::None) => Err(FramingError::BadLength),
        _ if version == Version::Http10 => Err(FramingError::EncodingInHttp10),
        (Values::None, Values::One(value)) => encoded(value).map(Some),
        (Values::None, Values::Many) => Err(FramingError::BadEncoding),
        _ => Err(FramingError::LengthAndEncoding),
    }
}

fn encoded(value: &[u8]) -> Result<Framing, FramingError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let codings: Vec<&[u8]> = list(value).collect();
    let is_coding = |c: &&[u8]| {
        [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"zstd"]
            .iter()
            .any(|known| c.eq_ignore_ascii_case(known))
    };
    match codings.split_last() {
        Some((last, before))
            if last.eq_ignore_ascii_case(b"chunked")
                && !before.is_empty()
                && before.iter().all(is_coding)
                && value.iter().filter(|b| **b == b',').count() == before.len() =>
        {
            Err(FramingError::UnknownEncoding)
        }
        _ => Err(FramingError::BadEncoding),
    }
}

/// RFC 9110 §8.6: 1*DIGIT, within 63 bits.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => {
            n.checked_mul(10)?.checked_add(u64::from(b - b'0')).filter(|n| *n <= i64::MAX as u64)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use FramingError::*;

    fn check(version: Version, lines: &[(&str, &str)], expected: Result<Framing, FramingError>) {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value.as_bytes());
        }
        assert_eq!(of_request(version, &fields), expected, "{lines:?}");
    }

    const CL: &str = "Content-Length";
    const TE: &str = "Transfer-Encoding";
    const V11: Version = Version::Http11;

    #[test]
    fn h1_01_02_length_beside_encoding_is_refused_in_either_order() {
        check(V11, &[(CL, "6"), (TE, "chunked")], Err(LengthAndEncoding));
        check(V11, &[(TE, "chunked"), (CL, "4")], Err(LengthAndEncoding));
        check(V11, &[(TE, "chunked"), (CL, "x")], Err(LengthAndEncoding));
    }

    #[test]
    fn h1_04_to_06_only_chunked_alone_is_an_encoding() {
        check(V11, &[(TE, "chunked")], Ok(Framing::Chunked));
        check(V11, &[(TE, "Chunked")], Ok(Framing::Chunked));
        check(V11, &[(TE, "chunked"), (TE, "chunked")], Err(BadEncoding));
        check(V11, &[(TE, "identity"), (TE, "chunked")], Err(BadEncoding));
        for value in [
            "chunked, chunked",
            "chunked, gzip",
            "gzip",
            "identity",
            "xchunked",
            "\"chunked\"",
            "chunked;q=1",
            "",
            ",chunked",
            "chunked,",
            "identity, chunked",
            "gzip,,chunked",
        ] {
            check(V11, &[(TE, value)], Err(BadEncoding));
        }
        check(V11, &[(TE, "gzip, chunked")], Err(UnknownEncoding));
    }

    #[test]
    fn h1_07_08_http_1_0() {
        check(Version::Http10, &[(TE, "chunked")], Err(EncodingInHttp10));
        check(Version::Http10, &[(TE, "chunked"), (CL, "3")], Err(EncodingInHttp10));
        check(Version::Http10, &[], Ok(Framing::None));
    }

    #[test]
    fn h1_09_to_13_a_length_is_one_decimal_number() {
        check(V11, &[(CL, "0"), (CL, "31")], Err(BadLength));
        check(V11, &[(CL, "5"), (CL, "5")], Err(BadLength));
        for value in [
            "",
            "+5",
            "-5",
            "0x5",
            "1_0",
            "5 5",
            "5.0",
            "5;",
            "5, 5",
            "5,5,5",
            "\u{ff15}",
            "\u{a0}5",
            "18446744073709551616",
            "9223372036854775808",
        ] {
            check(V11, &[(CL, value)], Err(BadLength));
        }
        check(V11, &[(CL, &"9".repeat(400))], Err(BadLength));
        check(V11, &[(CL, "010")], Ok(Framing::Length(10)));
        check(V11, &[(CL, "0000000005")], Ok(Framing::Length(5)));
    }

    #[test]
    fn rs_01_07_responses() {
        let check = |status, method: Method, lines: &[(&str, &str)], expected| {
            let mut fields = Fields::new();
            for (name, value) in lines {
                fields.append(*name, value.as_bytes());
            }
            assert_eq!(of_response(V11, status, &fields, &method), expected, "{status} {lines:?}");
        };
        check(200, Method::Get, &[], Ok(Framing::UntilClose));
        check(200, Method::Get, &[(CL, "5"), (TE, "chunked")], Err(LengthAndEncoding));
        check(200, Method::Get, &[(CL, "5"), (CL, "5")], Err(BadLength));
        check(200, Method::Get, &[(TE, "gzip")], Err(BadEncoding));
        check(200, Method::Head, &[(CL, "5")], Ok(Framing::None));
        check(304, Method::Get, &[(CL, "5")], Ok(Framing::None));
        check(204, Method::Get, &[(TE, "chunked")], Ok(Framing::None));
    }
}
