//! Tokens that only we can have made: a random part and its seal, `RANDOM.HMAC` in base64url.

use aws_lc_rs::{constant_time, hmac, rand};
use data_encoding::BASE64URL_NOPAD;

const RANDOM: usize = 16;

pub(super) struct Seal(hmac::Key);

impl Seal {
    pub(super) fn new(secret: &[u8]) -> Self {
        Seal(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A new token, worth something only with what it is bound to.
    pub(super) fn fresh(&self, bound: &[u8]) -> String {
        let mut random = [0; RANDOM];
        // The generator of the library fails only where the system has none at start.
        rand::fill(&mut random).expect("the system has random numbers");
        let seal = hmac::sign(&self.0, &sealed(&random, bound));
        format!("{}.{}", BASE64URL_NOPAD.encode(&random), BASE64URL_NOPAD.encode(seal.as_ref()))
    }

    /// Whether a token is one of ours and bound to this.
    pub(super) fn holds(&self, token: &[u8], bound: &[u8]) -> bool {
        let Some(dot) = token.iter().position(|b| *b == b'.') else { return false };
        let decoded = |part: &[u8]| BASE64URL_NOPAD.decode(part).ok();
        let (Some(random), Some(seal)) = (decoded(&token[..dot]), decoded(&token[dot + 1..]))
        else {
            return false;
        };
        random.len() == RANDOM && hmac::verify(&self.0, &sealed(&random, bound), &seal).is_ok()
    }
}

/// The random part has one length, so no two pairs read alike.
fn sealed(random: &[u8], bound: &[u8]) -> Vec<u8> {
    [random, bound].concat()
}

/// Whether two tokens are the same, in a time that does not tell where they differ.
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_16_only_our_tokens_hold_and_only_with_what_they_are_bound_to() {
        let (ours, other) = (Seal::new(b"one"), Seal::new(b"two"));
        let token = ours.fresh(b"session-1");
        assert_ne!(token, ours.fresh(b"session-1"));
        assert!(ours.holds(token.as_bytes(), b"session-1"));
        assert!(!ours.holds(token.as_bytes(), b"session-2"));
        assert!(!other.holds(token.as_bytes(), b"session-1"));
        for broken in ["", ".", "a.b", &token[1..], &format!("{token}A"), "AAAA.AAAA"] {
            assert!(!ours.holds(broken.as_bytes(), b"session-1"), "{broken}");
        }
    }
}
