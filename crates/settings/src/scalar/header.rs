//! Names and values of header fields.

use std::fmt;
use std::ops::Deref;

use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// The name of a header field, in lower case (RFC 9110 §5.1: case does not matter).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(String);

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
#[inline]
pub const fn is_token_byte(b: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut b = 0;
        while b < 256 {
            table[b] = (b as u8).is_ascii_alphanumeric();
            b += 1;
        }
        let others = b"!#$%&'*+-.^_`|~";
        let mut i = 0;
        while i < others.len() {
            table[others[i] as usize] = true;
            i += 1;
        }
        table
    };
    TABLE[b as usize]
}

/// Whether this is a token (RFC 9110 §5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| is_token_byte(*b))
}

impl HeaderName {
    /// A name known to be one, in lower case.
    pub fn known(name: &'static str) -> Self {
        debug_assert!(name.bytes().all(|c| is_token_byte(c) && !c.is_ascii_uppercase()), "{name}");
        HeaderName(name.to_owned())
    }
}

impl FromText for HeaderName {
    const WHAT: &'static str = "the name of a header";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse =
            |why: String| Refusal::new(format!("{} is not a header name: {why}", quote(text)));
        if text.is_empty() {
            return Err(refuse("it is empty".into()));
        }
        if let Some(c) = text.chars().find(|c| !c.is_ascii() || !is_token_byte(*c as u8)) {
            return Err(refuse(format!("{} cannot stand in it", quote(&c.to_string()))));
        }
        Ok(HeaderName(text.to_ascii_lowercase()))
    }

    fn to_json(&self) -> serde_json::Value {
        self.0.clone().into()
    }
}

impl Deref for HeaderName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for HeaderName {
    fn eq(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a header field: nothing that could end it or begin another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderValue(String);

impl FromText for HeaderValue {
    const WHAT: &'static str = "the value of a header";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let text = text.trim_matches([' ', '\t']);
        // RFC 9110 §5.5: CR, LF and NUL would split the message; other controls have no use
        if let Some(c) = text.chars().find(|&c| c.is_control() && c != '\t') {
            let what = format!(
                "{} is not a header value: it holds the control character U+{:04X}",
                quote(text),
                c as u32
            );
            return Err(Refusal::new(what));
        }
        Ok(HeaderValue(text.to_owned()))
    }

    fn to_json(&self) -> serde_json::Value {
        self.0.clone().into()
    }
}

impl Deref for HeaderValue {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        crate::scalar::check::<HeaderName>(&[
            ("X-Request-ID", Ok("x-request-id")),
            ("a b", Err("`a b` is not a header name: ` ` cannot stand in it")),
            ("a:", Err("`a:` is not a header name: `:` cannot stand in it")),
            ("ü", Err("`ü` is not a header name: `ü` cannot stand in it")),
            ("", Err("`` is not a header name: it is empty")),
        ]);
        crate::scalar::check::<HeaderValue>(&[
            (" max-age=60 ", Ok("max-age=60")),
            ("", Ok("")),
            (
                "a\r\nb: c",
                Err(
                    "`a\u{fffd}\u{fffd}b: c` is not a header value: it holds the control character U+000D",
                ),
            ),
            (
                "a\0",
                Err("`a\u{fffd}` is not a header value: it holds the control character U+0000"),
            ),
        ]);
    }
}
