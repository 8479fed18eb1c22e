//! What is kept of a key: its SHA-256.
//!
//! Keys are long and random, so that nobody finds one from its digest by trying, and a slow hash
//! such as for passwords would only slow down requests.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER_PERMISSIVE;
use transom_settings::json::{Value as Json, json};
use transom_settings::{FromText, Refusal, quote};

/// The SHA-256 of a key; in the file as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(key: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, key).as_ref());
        Digest(bytes)
    }

    /// One that was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromText for Digest {
    const WHAT: &'static str = "the SHA-256 of a key in hexadecimal";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Digest).ok_or_else(|| {
            Refusal::new(format!("{} is not a SHA-256 in hexadecimal", quote(text)))
                .hint("`printf %s KEY | sha256sum` prints it")
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_prints() {
        let expected = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
        assert_eq!(Digest::of(b"key").to_string(), expected);
        assert_eq!(Digest::from_text(&expected.to_uppercase()), Ok(Digest::of(b"key")));
        for wrong in ["", "2c70", &expected[1..], &expected.replace('2', "x")] {
            assert!(Digest::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
