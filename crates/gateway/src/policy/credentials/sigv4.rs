//! AWS Signature Version 4, as its public documentation describes it ("Create a signed AWS API
//! request").

use std::borrow::Cow;
use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::HEXLOWER;

use crate::escapes::{self, undone, undone_in_form};

/// Who signs, and for what.
pub(super) struct Signer<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// What is signed. Header names are in lower case and sorted, and have no line twice.
pub(super) struct Signed<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    /// The hash of the body in hexadecimal, or what stands in its place.
    pub payload: &'a str,
    /// `20150830T123600Z`.
    pub time: &'a str,
}

/// The hash of a body, as it stands in a signature.
pub(super) fn hash(body: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, body).as_ref())
}

impl Signer<'_> {
    /// The value of `Authorization`.
    pub(super) fn authorization(&self, signed: &Signed<'_>) -> String {
        let day = signed.time.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let canonical = hash(self.canonical(signed).as_bytes());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{canonical}", signed.time);
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [day, self.region, self.service, "aws4_request"] {
            key = sign(&Key::new(HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
        }
        let signature = sign(&Key::new(HMAC_SHA256, &key), text.as_bytes());
        let names: Vec<_> = signed.headers.iter().map(|(name, _)| *name).collect();
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={}",
            self.access_key,
            names.join(";"),
            HEXLOWER.encode(signature.as_ref())
        )
    }

    /// The request in the one form that both sides write.
    fn canonical(&self, signed: &Signed<'_>) -> String {
        let mut out = format!("{}\n", signed.method);
        for (index, segment) in signed.path.split('/').enumerate() {
            if index > 0 {
                out.push('/');
            }
            // S3 takes a path without its escapes and escapes it anew; the others escape it once more
            match self.service {
                "s3" => written_anew(undone(segment.as_bytes()), &mut out),
                _ => written_anew(segment.as_bytes().into(), &mut out),
            }
        }
        out.push('\n');
        // whichever way the client has escaped it
        let anew = |part: &str| {
            let mut out = String::with_capacity(part.len());
            written_anew(undone_in_form(part.as_bytes()), &mut out);
            out
        };
        let pairs = signed.query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut pairs: Vec<_> = pairs.map(|(name, value)| (anew(name), anew(value))).collect();
        pairs.sort_unstable();
        for (index, (name, value)) in pairs.iter().enumerate() {
            let and = if index > 0 { "&" } else { "" };
            // writing to a text cannot fail
            let _ = write!(out, "{and}{name}={value}");
        }
        out.push('\n');
        for (name, value) in signed.headers {
            let words: Vec<_> = value.split_ascii_whitespace().collect();
            let _ = writeln!(out, "{name}:{}", words.join(" "));
        }
        let names: Vec<_> = signed.headers.iter().map(|(name, _)| *name).collect();
        let _ = write!(out, "\n{}\n{}", names.join(";"), signed.payload);
        out
    }
}

/// All but letters, digits and `-._~` is escaped.
fn written_anew(bytes: Cow<'_, [u8]>, out: &mut String) {
    escapes::write(&bytes, escapes::is_unreserved, out);
}

/// A time in seconds since 1970 as signatures have it (Howard Hinnant's `civil_from_days`).
pub(super) fn time(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNER: Signer<'_> = Signer {
        access_key: "AKIDEXAMPLE",
        secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service: "service",
    };
    const TIME: &str = "20150830T123600Z";
    const HEADERS: [(&str, &str); 2] = [("host", "example.amazonaws.com"), ("x-amz-date", TIME)];

    /// The suite that AWS publishes for signers, and the example of its documentation.
    #[test]
    fn published_signatures_come_out_the_same() {
        let list = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let iam = [list, ("host", "iam.amazonaws.com"), ("x-amz-date", TIME)];
        let check = |signer: &Signer<'_>, method, path, query, headers, expected: &str| {
            let payload = hash(b"");
            let signed = Signed { method, path, query, headers, payload: &payload, time: TIME };
            let found = signer.authorization(&signed);
            let (_, signature) = found.split_once("Signature=").unwrap();
            assert_eq!(signature, expected, "{method} {path}?{query}");
            found
        };
        let whole = check(
            &SIGNER,
            "GET",
            "/",
            "",
            &HEADERS,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        );
        assert_eq!(
            whole,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        check(
            &SIGNER,
            "GET",
            "/",
            "Param2=value2&Param1=value1",
            &HEADERS,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        );
        check(
            &SIGNER,
            "POST",
            "/",
            "",
            &HEADERS,
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        );
        check(
            &Signer { service: "iam", ..SIGNER },
            "GET",
            "/",
            "Action=ListUsers&Version=2010-05-08",
            &iam,
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        );
    }

    /// The same request signs the same, whichever way its escapes are written.
    #[test]
    fn what_is_signed_does_not_depend_on_how_the_client_escapes() {
        let canonical = |service, path, query| {
            let signed =
                Signed { method: "GET", path, query, headers: &HEADERS, payload: "", time: TIME };
            let text = Signer { service, ..SIGNER }.canonical(&signed);
            text.lines().skip(1).take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        for (service, path, query, expected) in [
            ("s3", "/a:b/c%20d", "", ["/a%3Ab/c%20d", ""]),
            ("s3", "/a%3ab/%7Ec", "", ["/a%3Ab/~c", ""]),
            ("lambda", "/@me/c%20d", "", ["/%40me/c%2520d", ""]),
            ("s3", "/", "prefix=a/b&list-type=2", ["/", "list-type=2&prefix=a%2Fb"]),
            ("s3", "/", "prefix=a%2fb&list-type=2", ["/", "list-type=2&prefix=a%2Fb"]),
            ("lambda", "/", "q=a+b:c,d&acl&e=%C3%A4~", ["/", "acl=&e=%C3%A4~&q=a%20b%3Ac%2Cd"]),
            ("lambda", "/", "b=2&a=2&a=1", ["/", "a=1&a=2&b=2"]),
        ] {
            assert_eq!(canonical(service, path, query), expected, "{path}?{query}");
        }
    }

    #[test]
    fn times() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (1_440_938_160, TIME),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(time(seconds), expected);
        }
    }
}
