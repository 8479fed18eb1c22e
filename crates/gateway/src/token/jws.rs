//! A signed token taken apart: JWS in its compact form (RFC 7515 §7.1).
//!
//! Of the header, only `alg`, `kid`, `typ` and `crit` are looked at. What says where keys are to be
//! had (`jku`, `x5u`) or brings one along (`jwk`, `x5c`) is never followed: whoever signs with a key
//! of their own could write that (RFC 8725 §3.10). Encrypted tokens (five parts) and compressed ones
//! are none.

use data_encoding::BASE64URL_NOPAD;
use transom_settings::json::{Map, Value as Json};

use super::Refused;
use super::algorithm::Algorithm;
use crate::content::strict;

/// A token of which nothing is believed yet.
#[derive(Debug)]
pub struct Jws<'t> {
    /// What the signature covers: header and payload as they stand.
    pub signed: &'t [u8],
    /// The algorithm that it names. It is only ever compared.
    pub algorithm: Algorithm,
    pub key: Option<String>,
    /// `typ` in lower case, without `application/` (RFC 7515 §4.1.9).
    pub kind: Option<String>,
    payload: &'t [u8],
    pub signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// # Errors
    /// What a token must not look like.
    pub fn parse(token: &'t [u8]) -> Result<Self, Refused> {
        let mut dots = token.iter().enumerate().filter(|(_, b)| **b == b'.').map(|(at, _)| at);
        let (first, second) = match (dots.next(), dots.next(), dots.next()) {
            (Some(first), Some(second), None) => (first, second),
            _ => return Err(Refused::Malformed("it does not have three parts")),
        };
        let header = strict::parse(&decoded(&token[..first])?);
        let Ok(Json::Object(header)) = header else {
            return Err(Refused::Malformed("its header is no JSON object, or has a name twice"));
        };
        // RFC 7515 §4.1.11: nobody may go on who does not know what stands there, and none is known
        if header.contains_key("crit") {
            return Err(Refused::Malformed("it has critical parameters"));
        }
        if header.contains_key("zip") || header.contains_key("enc") {
            return Err(Refused::Malformed("it is compressed or encrypted"));
        }
        let algorithm = text(&header, "alg")?.as_deref().and_then(Algorithm::named);
        let kind = text(&header, "typ")?.map(|kind| {
            let kind = kind.to_ascii_lowercase();
            kind.strip_prefix("application/").map_or(kind.clone(), str::to_owned)
        });
        Ok(Jws {
            signed: &token[..second],
            algorithm: algorithm
                .ok_or(Refused::Malformed("its algorithm is none that is known"))?,
            key: text(&header, "kid")?,
            kind,
            payload: &token[first + 1..second],
            signature: decoded(&token[second + 1..])?,
        })
    }

    /// What it says. To be asked only once its signature was found right.
    ///
    /// # Errors
    /// When it says nothing that can be read in one way.
    pub fn claims(&self) -> Result<Map<String, Json>, Refused> {
        match strict::parse(&decoded(self.payload)?) {
            Ok(Json::Object(claims)) => Ok(claims),
            _ => Err(Refused::Malformed("its payload is no JSON object, or has a name twice")),
        }
    }
}

/// RFC 7515 §2: without padding, spaces or line ends, and in the one form that encodes these bytes.
fn decoded(text: &[u8]) -> Result<Vec<u8>, Refused> {
    BASE64URL_NOPAD.decode(text).map_err(|_| Refused::Malformed("a part is not base64url"))
}

fn text(header: &Map<String, Json>, name: &str) -> Result<Option<String>, Refused> {
    match header.get(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refused::Malformed("a parameter of its header is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!("{}.{}.{}", encode(header), encode(payload), encode("signature"))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let token = token(
            r#"{"alg":"ES256","kid":"1","typ":"application/AT+JWT","jku":"http://169.254.169.254/"}"#,
            r#"{"sub":"ada"}"#,
        );
        let jws = Jws::parse(token.as_bytes()).unwrap();
        assert_eq!(jws.algorithm, Algorithm::Es256);
        assert_eq!((jws.key.as_deref(), jws.kind.as_deref()), (Some("1"), Some("at+jwt")));
        assert_eq!(jws.signature, b"signature");
        assert!(token.as_bytes().starts_with(jws.signed) && jws.signed.len() + 13 == token.len());
        assert_eq!(jws.claims().unwrap()["sub"], "ada");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = token(r#"{"alg":"HS256"}"#, "{}");
        let with = |header: &str| token(header, "{}");
        for (bad, why) in [
            (String::new(), "it does not have three parts"),
            ("a.b".to_owned(), "it does not have three parts"),
            (format!("{good}.x.y"), "it does not have three parts"),
            (good.replacen('.', "=.", 1), "a part is not base64url"),
            (format!("{good}\n"), "a part is not base64url"),
            (format!(" {good}"), "a part is not base64url"),
            (with("[]"), "its header is no JSON object, or has a name twice"),
            (
                with(r#"{"alg":"HS256","alg":"none"}"#),
                "its header is no JSON object, or has a name twice",
            ),
            (with(r#"{}"#), "its algorithm is none that is known"),
            (with(r#"{"alg":"none"}"#), "its algorithm is none that is known"),
            (with(r#"{"alg":"nOnE"}"#), "its algorithm is none that is known"),
            (with(r#"{"alg":1}"#), "a parameter of its header is no text"),
            (with(r#"{"alg":"HS256","kid":["a"]}"#), "a parameter of its header is no text"),
            (with(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#), "it has critical parameters"),
            (with(r#"{"alg":"HS256","zip":"DEF"}"#), "it is compressed or encrypted"),
        ] {
            let found = Jws::parse(bad.as_bytes()).map(|_| ());
            assert_eq!(found, Err(Refused::Malformed(why)), "{bad}");
        }
        for payload in ["[]", "x", r#"{"sub":"a","sub":"b"}"#, r#"{"exp":1e999}"#] {
            let token = token(r#"{"alg":"HS256"}"#, payload);
            assert!(Jws::parse(token.as_bytes()).unwrap().claims().is_err(), "{payload}");
        }
    }
}
