//! Numbers, words, texts, names, status codes and methods.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::header::is_token;
use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;
use crate::schema::or_interpolated;

impl FromText for bool {
    const WHAT: &'static str = "`true` or `false`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refusal = Refusal::new(format!("expected `true` or `false`, found {}", quote(text)));
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" | "1" => Err(refusal.hint("did you mean `true`?")),
                "no" | "off" | "n" | "false" | "0" => Err(refusal.hint("did you mean `false`?")),
                _ => Err(refusal),
            },
        }
    }

    fn schema() -> Json {
        or_interpolated(json!({ "type": "boolean" }), None)
    }

    fn to_json(&self) -> Json {
        (*self).into()
    }
}

impl FromText for String {
    const WHAT: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        Ok(text.to_owned())
    }

    fn schema() -> Json {
        crate::schema::text("", &[])
    }

    fn to_json(&self) -> Json {
        self.clone().into()
    }
}

/// The path of a file. Relative ones are resolved by whoever opens them.
impl FromText for PathBuf {
    const WHAT: &'static str = "the path of a file";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "" => Err(Refusal::new("the path is empty")),
            text if text.contains('\0') => {
                Err(Refusal::new(format!("the path {} holds a zero byte", quote(text))))
            }
            text => Ok(PathBuf::from(text)),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1 })
    }

    fn to_json(&self) -> Json {
        self.display().to_string().into()
    }
}

macro_rules! whole_numbers {
    ($($T:ident),*) => { $(
        impl FromText for $T {
            const WHAT: &'static str = "a whole number";

            fn from_text(text: &str) -> Result<Self, Refusal> {
                if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
                    let what = format!("expected a whole number, found {}", quote(text));
                    let refusal = Refusal::new(what);
                    let bare = text.strip_suffix('%').map(str::trim_end).unwrap_or_default();
                    return Err(match bare.parse::<$T>() {
                        Ok(_) => refusal.hint(format!("did you mean `{bare}`?")),
                        Err(_) => refusal,
                    });
                }
                text.parse().map_err(|_| {
                    Refusal::new(format!("{} is more than {}", quote(text), $T::MAX))
                })
            }

            fn schema() -> Json {
                or_interpolated(json!({ "type": "integer", "minimum": 0 }), None)
            }

            fn to_json(&self) -> Json {
                (*self).into()
            }
        }
    )* };
}

whole_numbers!(u8, u16, u32, u64, usize);

/// The name of a listener, pool, policy or route: letters, digits, `-`, `_` and `.`, so that it is
/// never mistaken for an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl FromText for Name {
    const WHAT: &'static str = "a name";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not a name: {why}", quote(text)))
                .hint("names are letters, digits, `-`, `_` and `.`, at most 64")
        };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.len() > 64 {
            return Err(refuse("it is too long"));
        }
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        if let Some(c) = text.chars().find(|c| !c.is_ascii() || !plain(*c as u8)) {
            return Err(refuse(&format!("{} cannot stand in it", quote(&c.to_string()))));
        }
        Ok(Name(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" })
    }

    fn to_json(&self) -> Json {
        self.0.clone().into()
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A regular expression as it was written. Whoever uses it compiles it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regex(String);

impl FromText for Regex {
    const WHAT: &'static str = "a regular expression";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "" => Err(Refusal::new("the regular expression is empty")),
            text => Ok(Regex(text.to_owned())),
        }
    }

    fn to_json(&self) -> Json {
        self.0.clone().into()
    }
}

impl Deref for Regex {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The status of an answer: 200 to 599. What is below is interim and never a final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// A status known to be one: panics at compile time or at start otherwise.
    pub const fn of(code: u16) -> Self {
        assert!(code >= 200 && code <= 599, "a final status");
        Status(code)
    }

    pub const fn code(self) -> u16 {
        self.0
    }
}

impl FromText for Status {
    const WHAT: &'static str = "a status such as `404`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text.parse::<u16>() {
            Ok(code @ 200..=599) if text.len() == 3 => Ok(Status(code)),
            _ => Err(Refusal::new(format!("{} is not a status from 200 to 599", quote(text)))),
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 200, "maximum": 599 })
    }

    fn to_json(&self) -> Json {
        self.0.into()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One status, or all of a hundred: `404`, `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusPattern {
    Exact(Status),
    /// The first digit.
    Class(u8),
}

impl StatusPattern {
    pub fn matches(self, code: u16) -> bool {
        match self {
            StatusPattern::Exact(status) => status.0 == code,
            StatusPattern::Class(digit) => code / 100 == u16::from(digit),
        }
    }
}

impl FromText for StatusPattern {
    const WHAT: &'static str = "a status such as `404` or `5xx`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text.as_bytes() {
            [digit @ b'2'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                Ok(StatusPattern::Class(digit - b'0'))
            }
            _ => Status::from_text(text)
                .map(StatusPattern::Exact)
                .map_err(|refusal| refusal.hint("write a status such as `404`, or `5xx` for all")),
        }
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusPattern::Exact(status) => status.fmt(f),
            StatusPattern::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

/// A request method. Case matters (RFC 9110 §9.1): `get` is not `GET`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(String);

impl Method {
    /// A method that stands in the code.
    pub fn known(name: &'static str) -> Self {
        Method(name.to_owned())
    }
}

impl FromText for Method {
    const WHAT: &'static str = "a method such as `GET`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| Refusal::new(format!("{} is not a method{why}", quote(text)));
        if text.len() > 32 || !is_token(text.as_bytes()) {
            return Err(refuse(""));
        }
        if text.bytes().any(|c| c.is_ascii_lowercase()) {
            return Err(refuse(": methods are in upper case")
                .hint(format!("did you mean `{}`?", text.to_ascii_uppercase())));
        }
        // RFC 9110 §9.3.6 and §9.3.8: no route ever sees these
        if matches!(text, "CONNECT" | "TRACE") {
            return Err(
                Refusal::new(format!("{} is always refused", quote(text))).hint("remove it")
            );
        }
        Ok(Method(text.to_owned()))
    }

    fn schema() -> Json {
        json!({
            "type": "string",
            "examples": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        })
    }

    fn to_json(&self) -> Json {
        self.0.clone().into()
    }
}

impl Deref for Method {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn words_and_numbers() {
        check::<bool>(&[
            ("true", Ok("true")),
            ("yes", Err("expected `true` or `false`, found `yes`")),
        ]);
        check::<u16>(&[
            ("80", Ok("80")),
            ("65536", Err("`65536` is more than 65535")),
            ("-1", Err("expected a whole number, found `-1`")),
            ("+1", Err("expected a whole number, found `+1`")),
            ("0x10", Err("expected a whole number, found `0x10`")),
        ]);
        check::<Status>(&[
            ("404", Ok("404")),
            ("100", Err("`100` is not a status from 200 to 599")),
            ("0404", Err("`0404` is not a status from 200 to 599")),
        ]);
        check::<StatusPattern>(&[
            ("404", Ok("404")),
            ("5XX", Ok("5xx")),
            ("1xx", Err("`1xx` is not a status from 200 to 599")),
        ]);
        check::<Method>(&[
            ("GET", Ok("GET")),
            ("get", Err("`get` is not a method: methods are in upper case")),
            ("G T", Err("`G T` is not a method")),
            ("TRACE", Err("`TRACE` is always refused")),
        ]);
        check::<Name>(&[
            ("orders-1", Ok("orders-1")),
            ("a/b", Err("`a/b` is not a name: `/` cannot stand in it")),
            ("", Err("`` is not a name: it is empty")),
        ]);
    }
}
