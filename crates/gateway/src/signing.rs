//! Requests that their sender has signed: with whose key, over what, and that they are not sent twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known, Name};
use transom_proxy::message::Request;

pub(crate) mod content;

/// Whose key it is that requests call by an id, and the key.
#[derive(Clone)]
pub struct Signer {
    pub consumer: Arc<str>,
    pub(crate) key: Key,
}

/// What a signature is verified with.
#[derive(Clone)]
pub(crate) enum Key {
    Secret(Arc<[u8]>),
    /// Its sort, and the whole `SubjectPublicKeyInfo`.
    Public(Sort, Arc<[u8]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Key {
    /// A public key in PEM.
    pub(crate) fn read(pem: &str) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
        // the algorithm's identifier stands near the beginning (RFC 5280 §4.1, RFC 5480, RFC 8410)
        let has = |oid: &[u8]| der.as_ref().get(..40)?.windows(oid.len()).position(|w| w == oid);
        let sort = if has(&[0x2b, 0x65, 0x70]).is_some() {
            Sort::Ed25519
        } else if has(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]).is_some() {
            Sort::P256
        } else if has(&[0x2b, 0x81, 0x04, 0x00, 0x22]).is_some() {
            Sort::P384
        } else if has(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01]).is_some() {
            Sort::Rsa
        } else {
            return None;
        };
        Some(Key::Public(sort, der.as_ref().into()))
    }

    /// Whether `signature` is one of `text`, made as `algorithm` says (RFC 9421 §3.3). What the key
    /// is decides which algorithms there are: a public key is never taken for a secret.
    pub(crate) fn verifies(&self, algorithm: Option<&str>, text: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Secret(secret) => {
                let with = match algorithm {
                    None | Some("hmac-sha256") => hmac::HMAC_SHA256,
                    Some("hmac-sha512") => hmac::HMAC_SHA512,
                    Some(_) => return false,
                };
                hmac::verify(&hmac::Key::new(with, secret), text, signature).is_ok()
            }
            Key::Public(sort, key) => {
                let with: &'static dyn VerificationAlgorithm = match (sort, algorithm) {
                    (Sort::Rsa, None | Some("rsa-pss-sha512")) => {
                        &signature::RSA_PSS_2048_8192_SHA512
                    }
                    (Sort::Rsa, Some("rsa-v1_5-sha256")) => &signature::RSA_PKCS1_2048_8192_SHA256,
                    (Sort::P256, None | Some("ecdsa-p256-sha256")) => {
                        &signature::ECDSA_P256_SHA256_FIXED
                    }
                    (Sort::P384, None | Some("ecdsa-p384-sha384")) => {
                        &signature::ECDSA_P384_SHA384_FIXED
                    }
                    (Sort::Ed25519, None | Some("ed25519")) => &signature::ED25519,
                    _ => return false,
                };
                UnparsedPublicKey::new(with, key).verify(text, signature).is_ok()
            }
        }
    }
}

/// What of a request can be signed.
pub(crate) struct Message<'a> {
    pub(crate) method: &'a str,
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) fields: &'a Fields,
    /// Of the body, where it is known.
    pub(crate) length: Option<u64>,
}

impl<'a> Message<'a> {
    /// As it came, in the form in which it is forwarded.
    pub(crate) fn of(request: &'a Request) -> Self {
        Message {
            method: request.method.as_str(),
            scheme: request.scheme,
            authority: &request.authority,
            path: &request.path,
            query: request.query.as_deref(),
            fields: &request.fields,
            length: request.body.length(),
        }
    }

    /// The value of a field: all lines with commas between them (RFC 9421 §2.1).
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let name = Name::of(name.as_bytes());
        // these are written anew for each hop, and are not among the fields
        match name {
            Name::Known(Known::Host) => return Some(self.authority.to_owned()),
            Name::Known(Known::ContentLength) => return Some(self.length?.to_string()),
            _ => {}
        }
        let lines: Vec<&[u8]> = self.fields.all(name).map(<[u8]>::trim_ascii).collect();
        (!lines.is_empty()).then(|| String::from_utf8_lossy(&lines.join(&b", "[..])).into_owned())
    }
}

/// Nonces that were used, for as long as the signatures with them could be.
#[derive(Default)]
pub(crate) struct Replays(Mutex<Used>);

#[derive(Default)]
struct Used {
    young: HashSet<Mark>,
    old: HashSet<Mark>,
    /// How many of the young ones are whose.
    by_signer: HashMap<Box<str>, usize>,
    /// When the young ones began, in seconds since 1970.
    since: u64,
}

/// The SHA-256 of a signer and its nonce: of one length, however long the nonce is.
type Mark = [u8; 32];

/// Nonces in one generation, after which only signers go on who have used few.
const MOST: usize = 256 * 1024;
/// Nonces of a signer that are few: whoever signs very much does not keep out all others.
const FEW: usize = 1024;
/// Nonces in one generation, whoever signs.
const ALL: usize = 2 * MOST;

impl Replays {
    /// Remembers a nonce of a signer for at least `window`.
    ///
    /// # Errors
    /// It was used already; or so many were used that they cannot all be remembered.
    pub(crate) fn take(
        &self,
        signer: &str,
        nonce: &str,
        now: u64,
        window: Duration,
    ) -> Result<(), &'static str> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(used.since) > window.as_secs() {
            used.old = std::mem::take(&mut used.young);
            used.by_signer.clear();
            used.since = now;
        }
        let own = used.by_signer.get(signer).copied().unwrap_or(0);
        if used.young.len() >= if own < FEW { ALL } else { MOST } {
            return Err("more nonces were used within the window than are remembered");
        }
        let mut mark = Mark::default();
        let text = format!("{}:{signer}{nonce}", signer.len());
        mark.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        if used.old.contains(&mark) || !used.young.insert(mark) {
            return Err("the nonce was used already");
        }
        match used.by_signer.get_mut(signer) {
            Some(count) => *count += 1,
            None => drop(used.by_signer.insert(signer.into(), 1)),
        }
        Ok(())
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A body that is longer than is read to verify it.
pub(crate) fn too_long() -> Fault {
    Fault::new(Code::TooLarge, "the body is longer than is read to verify its digest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_09_a_nonce_is_taken_once_and_forgotten_after_its_window() {
        let (replays, window) = (Replays::default(), Duration::from_secs(60));
        assert!(replays.take("ann", "1", 1000, window).is_ok());
        assert!(replays.take("ann", "1", 1030, window).is_err());
        assert!(replays.take("bob", "1", 1030, window).is_ok());
        assert!(replays.take("an", "n1", 1030, window).is_ok());
        assert!(replays.take("ann", "2", 1065, window).is_ok());
        assert!(
            replays.take("ann", "1", 1070, window).is_err(),
            "remembered for longer than it must"
        );
        assert!(replays.take("ann", "1", 1200, window).is_ok());
    }

    #[test]
    fn gw_09_who_signs_very_much_keeps_out_nobody_else() {
        let (replays, window) = (Replays::default(), Duration::from_secs(60));
        for nonce in 0..MOST {
            assert!(replays.take("ann", &nonce.to_string(), 1000, window).is_ok());
        }
        let why = replays.take("ann", "one more", 1000, window).unwrap_err();
        assert!(why.contains("than are remembered"), "{why}");
        for nonce in 0..FEW {
            assert!(replays.take("bob", &nonce.to_string(), 1000, window).is_ok());
        }
        assert!(replays.take("bob", "one more", 1000, window).is_err());
        assert!(replays.take("eve", "1", 1000, window).is_ok());
        assert!(replays.take("ann", "one more", 1061, window).is_ok());
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for pem in ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(Key::read(pem).is_none(), "{pem}");
        }
    }
}
