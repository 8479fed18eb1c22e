//! Passwords as they are kept: hashed, in the forms that `htpasswd` and others write.

use std::fmt;

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;
use md5::{Digest, Md5};
use sha_crypt::ShaCrypt;

/// A hashed password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    text: String,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Argon2,
    Bcrypt,
    /// `$5$` and `$6$`: SHA-256 and SHA-512 many times.
    ShaCrypt,
    /// `$apr1$`: MD5 a thousand times, what `htpasswd` writes unless it is told otherwise.
    Apr1,
    /// `{SHA}`: SHA-1 once, without salt.
    Sha1,
}

impl Hashed {
    /// Takes the text of a hash.
    ///
    /// # Errors
    /// Why it is none, without the text, which may be a password.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let form = match text {
            _ if text.starts_with("$argon2") => Form::Argon2,
            _ if ["$2y$", "$2b$", "$2a$"].iter().any(|form| text.starts_with(form)) => Form::Bcrypt,
            _ if text.starts_with("$5$") || text.starts_with("$6$") => Form::ShaCrypt,
            _ if text.starts_with("$apr1$") => Form::Apr1,
            _ if text.starts_with("{SHA}") => Form::Sha1,
            _ => return Err("the password is not hashed, or in a form that is not known"),
        };
        let whole = match form {
            Form::Argon2 => {
                let parsed = PasswordHash::new(text).ok();
                parsed.is_some_and(|hash| hash.hash.is_some() && Params::try_from(&hash).is_ok())
            }
            Form::Bcrypt => text.parse::<bcrypt::HashParts>().is_ok(),
            Form::ShaCrypt => {
                text.rsplit('$').next().is_some_and(|sum| matches!(sum.len(), 43 | 86))
            }
            Form::Apr1 => apr1_parts(text).is_some(),
            Form::Sha1 => BASE64.decode(&text.as_bytes()[5..]).is_ok_and(|bytes| bytes.len() == 20),
        };
        if !whole {
            return Err("the hash of the password is not whole");
        }
        Ok(Hashed { text: text.to_owned(), form })
    }

    /// Whether the hash can be tried out fast, should it become known.
    pub fn is_weak(&self) -> bool {
        matches!(self.form, Form::Apr1 | Form::Sha1)
    }

    /// Whether it is the hash of this password. Takes from microseconds to a second, and up to the
    /// memory that an argon2 hash names: never on a worker.
    pub fn is_of(&self, password: &[u8]) -> bool {
        match self.form {
            Form::Argon2 => PasswordHash::new(&self.text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
            Form::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Form::ShaCrypt => ShaCrypt::default().verify_password(password, &*self.text).is_ok(),
            Form::Apr1 => apr1_parts(&self.text)
                .is_some_and(|(salt, sum)| equal(apr1(password, salt).as_bytes(), sum)),
            Form::Sha1 => {
                let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
                equal(BASE64.encode(sum.as_ref()).as_bytes(), &self.text.as_bytes()[5..])
            }
        }
    }

    /// The text, to tell one hash from another.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    verify_slices_are_equal(a, b).is_ok()
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}(********)", self.form)
    }
}

/// Salt and checksum of an `$apr1$` hash.
fn apr1_parts(text: &str) -> Option<(&[u8], &[u8])> {
    let (salt, sum) = text.strip_prefix("$apr1$")?.split_once('$')?;
    ((1..=8).contains(&salt.len()) && sum.len() == 22).then_some((salt.as_bytes(), sum.as_bytes()))
}

/// MD5 as Apache iterates it, after Poul-Henning Kamp's crypt of FreeBSD.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let inner = Md5::new().chain_update(password).chain_update(salt).chain_update(password);
    let inner = inner.finalize();
    let mut sum = Md5::new().chain_update(password).chain_update("$apr1$").chain_update(salt);
    for at in (0..password.len()).step_by(16) {
        sum.update(&inner[..(password.len() - at).min(16)]);
    }
    let mut length = password.len();
    while length > 0 {
        sum.update(if length & 1 == 1 { &[0][..] } else { &password[..1] });
        length >>= 1;
    }
    let mut result = sum.finalize();
    for round in 0..1000 {
        let mut sum = Md5::new();
        sum.update(if round % 2 == 1 { password } else { &result[..] });
        if round % 3 != 0 {
            sum.update(salt);
        }
        if round % 7 != 0 {
            sum.update(password);
        }
        sum.update(if round % 2 == 1 { &result[..] } else { password });
        result = sum.finalize();
    }
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(22);
    let mut write = |bytes: [u8; 3], letters: usize| {
        let mut bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for _ in 0..letters {
            text.push(char::from(LETTERS[(bits & 63) as usize]));
            bits >>= 6;
        }
    };
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        write([result[a], result[b], result[c]], 4);
    }
    write([0, 0, result[11]], 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with htpasswd, openssl passwd and argon2 of their own.
    const OF_SECRET: [&str; 6] = [
        "$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHRzYWx0$LEoDiKolAdO6CICRtIsNfS7pzASNysREYbKPF9VwGok",
        "$2y$05$VhOZvODTEQVdECOfl9YxZu8LT/N901hcSF0OQsRXu8SRQrJHYOIE2",
        "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
        "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
        "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    ];

    #[test]
    fn gw_08_what_others_hash_is_recognised() {
        for text in OF_SECRET {
            let hash = Hashed::read(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert!(hash.is_of(b"secret"), "{text}");
            for wrong in ["", "Secret", "secret ", "secre", "secrets"] {
                assert!(!hash.is_of(wrong.as_bytes()), "{text}: {wrong}");
            }
            assert!(!format!("{hash:?}").contains("salt"));
        }
    }

    #[test]
    fn apr1_takes_passwords_of_any_length() {
        for (password, salt, sum) in [
            ("", "a", "lsAcX0kKaMIVmrCtUuk5b0"),
            ("a longer password than sixteen letters", "12345678", "cj7k73FYanCX/CJ/fi2jG1"),
        ] {
            assert_eq!(apr1(password.as_bytes(), salt.as_bytes()), sum);
        }
    }

    #[test]
    fn what_is_no_hash_is_refused_without_being_shown() {
        for text in [
            "",
            "secret",
            "$1$a$b",
            "$2y$05$short",
            "$argon2id$v=19$m=1",
            "{SHA}x",
            "{SSHA}5en6",
            "$apr1$$",
            "$6$a$b",
            "$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHRzYWx0",
        ] {
            let why = Hashed::read(text).expect_err(text);
            assert!(text.is_empty() || !why.contains(text));
        }
    }
}
