//! The keys of an issuer.

use transom_settings::json::Value as Json;

use super::Refused;
use super::algorithm::Algorithm;
use super::jws::Jws;
use super::key::{Key, Print};
use crate::content::strict;

/// Keys, found by what a token names. Their number is bounded, and so are the attempts at a token
/// that names none.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// How many a set may have.
    pub const MOST: usize = 128;
    /// How many are tried for a token that does not say which.
    const TRIED: usize = 8;

    pub fn of(keys: Vec<Key>) -> Self {
        Keys(keys)
    }

    /// The keys of a JWK set (RFC 7517 §5) that tokens can be checked with, and what is wrong with
    /// others.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of_jwks(text: &[u8], allowed: &[Algorithm]) -> Result<(Self, Vec<String>), String> {
        let set = strict::parse(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let Some(list) = set.get("keys").and_then(Json::as_array) else {
            return Err("it has no list `keys`".to_owned());
        };
        if list.len() > Keys::MOST {
            return Err(format!("it has {} keys, more than {}", list.len(), Keys::MOST));
        }
        let (mut keys, mut wrong) = (Vec::new(), Vec::new());
        for (index, jwk) in list.iter().enumerate() {
            match Key::of_jwk(jwk, allowed) {
                Ok(key) => keys.extend(key),
                Err(why) => wrong.push(format!("keys[{index}]: {why}")),
            }
        }
        if keys.is_empty() {
            let why = wrong.first().map(|why| format!(": {why}")).unwrap_or_default();
            return Err(format!("it has no key that tokens can be checked with{why}"));
        }
        Ok((Keys(keys), wrong))
    }

    /// The key that has signed this token.
    ///
    /// # Errors
    /// Why it is none of them.
    pub fn verify(&self, jws: &Jws<'_>) -> Result<&Key, Refused> {
        let named = |key: &&Key| match (&key.id, &jws.key) {
            (Some(id), Some(asked)) => id == asked,
            _ => true,
        };
        let mut candidates = self.0.iter().filter(named).peekable();
        if candidates.peek().is_none() {
            return Err(Refused::UnknownKey);
        }
        let mut fitting = candidates.filter(|key| key.algorithm == jws.algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(Refused::Algorithm);
        }
        let mut tried = fitting.take(Keys::TRIED);
        tried.find(|key| key.verify(jws.signed, &jws.signature)).ok_or(Refused::Signature)
    }

    /// Whether the key of this token may be one that these lack: none of them has the id that it names.
    pub fn may_lack(&self, jws: &Jws<'_>) -> bool {
        !self.0.iter().any(|key| key.id.is_some() && key.id == jws.key)
    }

    /// Whether this key is one of them.
    pub fn have(&self, print: &Print) -> bool {
        self.0.iter().any(|key| key.print() == *print)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [Algorithm; 2] = [Algorithm::Hs256, Algorithm::Hs512];

    fn set(text: &str) -> Result<(usize, Vec<String>), String> {
        Keys::of_jwks(text.as_bytes(), &Algorithm::ALL).map(|(keys, wrong)| (keys.len(), wrong))
    }

    #[test]
    fn a_set_is_read_as_far_as_it_can_be_used() {
        let ec = r#""crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
        let one = format!(r#"{{"kty":"EC",{ec}}}"#);
        assert_eq!(set(&format!(r#"{{"keys":[{one}]}}"#)), Ok((1, vec![])));
        for (others, wrong) in [
            (r#"{"kty":"EC","use":"enc"}"#.to_owned(), None),
            (r#"{"kty":"RSA","key_ops":["encrypt"]}"#.to_owned(), None),
            (r#"{"kty":"RSA","alg":"RSA-OAEP"}"#.to_owned(), None),
            (r#"{"kty":"new"}"#.to_owned(), None),
            (r#"{}"#.to_owned(), Some("it has no `kty`")),
            (r#"{"kty":"RSA"}"#.to_owned(), Some("it has no `n`")),
            (
                r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(),
                Some("it has less than 2048 bits"),
            ),
            (
                format!(r#"{{"kty":"EC","alg":"RS256",{ec}}}"#),
                Some("it is for RS256, and of another kind"),
            ),
            (
                format!(r#"{{"kty":"EC","alg":"ES384",{ec}}}"#),
                Some("it is for ES384, and of another kind"),
            ),
            (
                format!(r#"{{"kty":"EC",{}}}"#, ec.replace("4Etl", "5Etl")),
                Some("it is no valid key"),
            ),
            (
                r#"{"kty":"oct","k":"c2hvcnQ"}"#.to_owned(),
                Some("it has 5 bytes, and HS256 needs at least 32"),
            ),
        ] {
            let wrong: Vec<_> = wrong.iter().map(|why| format!("keys[1]: {why}")).collect();
            assert_eq!(set(&format!(r#"{{"keys":[{one},{others}]}}"#)), Ok((1, wrong)), "{others}");
        }
        let n = data_encoding::BASE64URL_NOPAD.encode(&[0xff; 256]);
        for e in ["AQ", "Ag", "", "AQABAQABAQ"] {
            let found = set(&format!(r#"{{"keys":[{one},{{"kty":"RSA","n":"{n}","e":"{e}"}}]}}"#));
            assert_eq!(found.unwrap().1, ["keys[1]: its exponent is none that is used"], "{e}");
        }
        for (text, why) in [
            ("<html>", "it is no JSON: expected value at line 1 column 1"),
            ("{}", "it has no list `keys`"),
            (r#"{"keys":[]}"#, "it has no key that tokens can be checked with"),
        ] {
            assert_eq!(set(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn a_key_is_found_by_its_id_and_its_own_algorithm() {
        let secret = |id: &str, algorithm: Algorithm, byte: u8| {
            let mut key = Key::of_secret(algorithm, &[byte; 64]).unwrap();
            key.id = (!id.is_empty()).then(|| id.to_owned());
            key
        };
        let keys = Keys::of(vec![
            secret("a", SECRETS[0], 1),
            secret("b", SECRETS[0], 2),
            secret("c", SECRETS[1], 1),
            secret("", SECRETS[1], 4),
        ]);
        let check = |kid: Option<&str>, algorithm: Algorithm, byte: u8| {
            let kid = kid.map(|kid| format!(r#","kid":"{kid}""#)).unwrap_or_default();
            let header = format!(r#"{{"alg":"{algorithm}"{kid}}}"#);
            let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
            let signed = format!("{}.{}", encode(header.as_bytes()), encode(b"{}"));
            let key = aws_lc_rs::hmac::Key::new(algorithm.hmac().unwrap(), &[byte; 64]);
            let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
            let token = format!("{signed}.{}", encode(tag.as_ref()));
            let jws = Jws::parse(token.as_bytes()).unwrap();
            (keys.verify(&jws).map(|key| key.id.clone()), keys.may_lack(&jws))
        };
        let id = |id: &str| Ok(Some(id.to_owned()));
        for (kid, algorithm, byte, expected, lacks) in [
            (Some("a"), SECRETS[0], 1, id("a"), false),
            (Some("b"), SECRETS[0], 1, Err(Refused::Signature), false),
            (Some("b"), SECRETS[0], 2, id("b"), false),
            // the key's own algorithm, whatever the token says
            (Some("c"), SECRETS[0], 1, Err(Refused::Algorithm), false),
            (None, SECRETS[0], 2, id("b"), true),
            (None, SECRETS[1], 4, Ok(None), true),
            (Some("../../dev/null"), SECRETS[1], 4, Ok(None), true),
            (Some("' or 1=1"), SECRETS[1], 5, Err(Refused::Signature), true),
            (Some("a"), SECRETS[1], 4, Ok(None), false),
        ] {
            assert_eq!(
                check(kid, algorithm, byte),
                (expected, lacks),
                "{kid:?} {algorithm} {byte}"
            );
        }
    }
}
