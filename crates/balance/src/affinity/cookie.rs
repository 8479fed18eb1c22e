//! A cookie that we put into responses. Its value is the beginning of an HMAC-SHA256 over the name of
//! the pool and the member, so it can neither be made up nor read: it shows no address, and what
//! was not made with the secret names nobody.

use std::fmt::Write;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use transom_proxy::destination::Ask;
use transom_proxy::fields::Known;
use transom_proxy::headers::cookie;

/// Which requests from other sites carry the cookie (RFC 6265bis).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// None at all.
    Strict,
    /// Only links that are followed.
    #[default]
    Lax,
    /// All; browsers take it only over TLS.
    None,
}

/// See the module.
#[derive(Clone)]
pub struct Cookie {
    name: String,
    /// Everything behind the value, but for `Secure`.
    attributes: String,
    secret: hmac::Key,
}

/// The value of the cookie for one member: 128 bits in hexadecimal.
pub type Token = [u8; 32];

/// Bytes that nobody knows, for cookies that need not outlive the program.
pub fn random_secret() -> [u8; 32] {
    let mut secret = [0; 32];
    // it fails only where the system has no randomness, and then TLS does not work either
    let _ = rand::fill(&mut secret);
    secret
}

impl Cookie {
    /// A cookie for a whole host. Without `age` it ends with the browser's session.
    pub fn new(
        name: impl Into<String>,
        secret: &[u8],
        same_site: SameSite,
        age: Option<Duration>,
    ) -> Self {
        let mut attributes = String::from("; Path=/; HttpOnly; SameSite=");
        attributes.push_str(match same_site {
            SameSite::Strict => "Strict",
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        });
        if let Some(age) = age {
            // writing into memory cannot fail
            let _ = write!(attributes, "; Max-Age={}", age.as_secs());
        }
        Cookie { name: name.into(), attributes, secret: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// What stands for one of a set.
    pub fn token(&self, set: &str, one: &str) -> Token {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(set.as_bytes());
        context.update(b"\0");
        context.update(one.as_bytes());
        let tag = context.sign();
        let mut token = [0; 32];
        for (digits, byte) in token.chunks_exact_mut(2).zip(tag.as_ref()) {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            digits[0] = HEX[usize::from(byte >> 4)];
            digits[1] = HEX[usize::from(byte & 0xf)];
        }
        token
    }

    /// What the client sent, if it has the form of a token.
    pub fn sent(&self, ask: &Ask<'_>) -> Option<Token> {
        let lines = ask.http?.request.fields.all(Known::Cookie);
        let mut values = lines.filter_map(|line| cookie::value(line, &self.name));
        values.next()?.try_into().ok()
    }

    /// The value of a `Set-Cookie` field.
    pub fn line(&self, token: &Token, https: bool) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.name.len() + self.attributes.len() + 48);
        line.extend_from_slice(self.name.as_bytes());
        line.push(b'=');
        line.extend_from_slice(token);
        line.extend_from_slice(self.attributes.as_bytes());
        if https {
            line.extend_from_slice(b"; Secure");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb27_a_token_shows_nothing_and_is_the_same_for_who_has_the_secret() {
        let cookie = |secret: &[u8]| Cookie::new("m", secret, SameSite::Lax, None);
        let token = cookie(b"secret").token("orders", "10.0.0.1:8080");
        assert_eq!(token, cookie(b"secret").token("orders", "10.0.0.1:8080"));
        for (secret, set, one) in [
            (&b"other"[..], "orders", "10.0.0.1:8080"),
            (b"secret", "users", "10.0.0.1:8080"),
            (b"secret", "orders", "10.0.0.2:8080"),
            (b"secret", "orders1", "0.0.0.1:8080"),
        ] {
            assert_ne!(token, cookie(secret).token(set, one));
        }
        assert!(token.iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn lb27_the_cookie_is_kept_from_scripts_and_from_other_sites() {
        let token = [b'a'; 32];
        let value = "a".repeat(32);
        for (same_site, age, https, expected) in [
            (SameSite::Lax, None, false, "; Path=/; HttpOnly; SameSite=Lax"),
            (SameSite::Lax, None, true, "; Path=/; HttpOnly; SameSite=Lax; Secure"),
            (
                SameSite::Strict,
                Some(Duration::from_secs(3600)),
                true,
                "; Path=/; HttpOnly; SameSite=Strict; Max-Age=3600; Secure",
            ),
            (SameSite::None, None, true, "; Path=/; HttpOnly; SameSite=None; Secure"),
        ] {
            let line = Cookie::new("m", b"s", same_site, age).line(&token, https);
            assert_eq!(String::from_utf8(line).unwrap(), format!("m={value}{expected}"));
        }
    }
}
