//! Text that a stranger keeps for us and can neither read nor change: AES-256-GCM with a random nonce.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use data_encoding::BASE64URL_NOPAD;

/// A key for one purpose.
pub struct Seal {
    key: RandomizedNonceKey,
    purpose: &'static str,
}

impl Seal {
    /// From a secret of the operator's. What was sealed for one purpose, and for one use of it, opens for no
    /// other.
    pub fn new(secret: &[u8], purpose: &'static str, uses: &[&str]) -> Option<Self> {
        let mut key = [0; 32];
        let extracted = Salt::new(HKDF_SHA256, b"transom").extract(secret);
        // with its length before each, so that no two lists of them read alike
        let parts = std::iter::once(&purpose).chain(uses);
        let info: String = parts.map(|part| format!("{}:{part}", part.len())).collect();
        extracted.expand(&[info.as_bytes()], HKDF_SHA256).ok()?.fill(&mut key).ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).ok()?;
        Some(Seal { key, purpose })
    }

    /// Letters that may stand in a cookie or a URL.
    pub fn seal(&self, text: &[u8]) -> Option<String> {
        let mut sealed = text.to_vec();
        let aad = Aad::from(self.purpose.as_bytes());
        let nonce = self.key.seal_in_place_append_tag(aad, &mut sealed).ok()?;
        sealed.splice(..0, *nonce.as_ref());
        Some(BASE64URL_NOPAD.encode(&sealed))
    }

    /// What was sealed; nothing where it was not sealed here, or was changed.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = BASE64URL_NOPAD.decode(sealed).ok()?;
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(self.purpose.as_bytes());
        Some(self.key.open_in_place(nonce, aad, text).ok()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_the_same_purpose_and_unchanged() {
        let seal = |secret: &str, purpose| Seal::new(secret.as_bytes(), purpose, &[]).unwrap();
        let ours = seal("secret", "session");
        let sealed = ours.seal(b"hello").unwrap();
        assert_eq!(ours.open(sealed.as_bytes()).as_deref(), Some(&b"hello"[..]));
        assert_eq!(
            seal("secret", "session").open(sealed.as_bytes()).as_deref(),
            Some(&b"hello"[..])
        );
        assert_ne!(ours.seal(b"hello").unwrap(), sealed, "each has a nonce of its own");
        assert_eq!(seal("secret", "login").open(sealed.as_bytes()), None);
        assert_eq!(seal("other", "session").open(sealed.as_bytes()), None);
        let used = |uses: &[&str]| Seal::new(b"secret", "session", uses).unwrap();
        let sealed_for = used(&["a", "bc"]).seal(b"hello").unwrap();
        assert!(used(&["a", "bc"]).open(sealed_for.as_bytes()).is_some());
        for other in [&["ab", "c"][..], &["a"], &["a", "bc", ""], &["1:a2:bc"], &[]] {
            assert_eq!(used(other).open(sealed_for.as_bytes()), None, "{other:?}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.open(&changed), None, "{at}");
        }
        for text in ["", "AAAA", "not base64 !", &sealed[..sealed.len() / 2]] {
            assert_eq!(ours.open(text.as_bytes()), None, "{text}");
        }
    }
}
