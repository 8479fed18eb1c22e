//! Keys that session tickets are sealed with, shared by all workers and kept across reloads.
//!
//! One secret is made every 12 hours and two old ones are kept, so a ticket is good for at least 24
//! hours and its key is gone after 36. Each TLS policy seals with a key of its own, derived from
//! the secret: a ticket made under one policy means nothing under another (RFC 8446 §4.6.1).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use super::server::PolicyId;

/// How long one secret seals new tickets.
pub const ROTATION: Duration = Duration::from_secs(12 * 60 * 60);

/// How many earlier secrets still open tickets.
const OLD: usize = 2;

const NAME: usize = 16;

/// The secrets, newest first. Lives as long as the process, not as long as a configuration.
pub struct TicketKeys {
    secrets: ArcSwap<Vec<Arc<Secret>>>,
}

struct Secret {
    /// Sent in clear at the head of a ticket, so that its key is found.
    name: [u8; NAME],
    bytes: [u8; 32],
    born: Instant,
}

impl TicketKeys {
    /// Starts with one random secret.
    pub fn new() -> Arc<Self> {
        let first = Arc::new(Secret::random(Instant::now()));
        Arc::new(Self { secrets: ArcSwap::from_pointee(vec![first]) })
    }

    /// Puts a new secret in front if the newest has served for 12 hours; the oldest is forgotten.
    ///
    /// Sealing does this by itself. A timer may call it too, so that an idle server forgets in time.
    pub fn rotate(&self, now: Instant) {
        if now.saturating_duration_since(self.secrets.load()[0].born) >= ROTATION {
            let next = Arc::new(Secret::random(now));
            self.secrets.rcu(|secrets| {
                // Another worker may have been first.
                if now.saturating_duration_since(secrets[0].born) < ROTATION {
                    return Vec::clone(secrets);
                }
                let old = secrets.iter().take(OLD).filter(|old| now - old.born < ROTATION * 3);
                std::iter::once(&next).chain(old).cloned().collect()
            });
        }
    }

    /// What seals and opens tickets under `policy`.
    pub(super) fn ticketer(self: &Arc<Self>, policy: PolicyId) -> Arc<dyn ProducesTickets> {
        let derived = ArcSwap::from_pointee(Derived::new(&self.secrets.load_full(), policy));
        Arc::new(Ticketer { keys: self.clone(), policy, derived })
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("secrets", &self.secrets.load().len()).finish()
    }
}

impl Secret {
    fn random(now: Instant) -> Self {
        let (mut name, mut bytes) = ([0; NAME], [0; 32]);
        // The system's generator fails only on systems that cannot do TLS at all.
        rand::fill(&mut name).expect("the system's random generator works");
        rand::fill(&mut bytes).expect("the system's random generator works");
        Self { name, bytes, born: now }
    }

    fn derive(&self, policy: PolicyId) -> RandomizedNonceKey {
        struct Len32;
        impl KeyType for Len32 {
            fn len(&self) -> usize {
                32
            }
        }
        let mut key = [0; 32];
        Salt::new(HKDF_SHA256, b"transom session ticket")
            .extract(&self.bytes)
            .expand(&[&policy.bytes()], Len32)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes are within the limit of HKDF");
        RandomizedNonceKey::new(&AES_256_GCM, &key).expect("32 bytes are an AES-256 key")
    }
}

struct Ticketer {
    keys: Arc<TicketKeys>,
    policy: PolicyId,
    derived: ArcSwap<Derived>,
}

/// The keys of one policy, and the secrets that they were derived from.
struct Derived {
    from: Arc<Vec<Arc<Secret>>>,
    keys: Vec<([u8; NAME], RandomizedNonceKey)>,
}

impl Derived {
    fn new(from: &Arc<Vec<Arc<Secret>>>, policy: PolicyId) -> Self {
        let keys = from.iter().map(|secret| (secret.name, secret.derive(policy))).collect();
        Self { from: from.clone(), keys }
    }
}

impl Ticketer {
    fn with_keys<V>(&self, run: impl FnOnce(&[([u8; NAME], RandomizedNonceKey)]) -> V) -> V {
        self.keys.rotate(Instant::now());
        let secrets = self.keys.secrets.load();
        let mut derived = self.derived.load();
        if !Arc::ptr_eq(&derived.from, &secrets) {
            self.derived.store(Arc::new(Derived::new(&secrets, self.policy)));
            derived = self.derived.load();
        }
        run(&derived.keys)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // The newest secret may be replaced the moment after; it is then kept this long.
        (ROTATION * OLD as u32).as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.with_keys(|keys| {
            let (name, key) = keys.first()?;
            let mut sealed = plain.to_vec();
            let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
            let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + sealed.len());
            ticket.extend_from_slice(name);
            ticket.extend_from_slice(nonce.as_ref());
            ticket.extend_from_slice(&sealed);
            Some(ticket)
        })
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        self.with_keys(|keys| {
            let (name, key) = keys.iter().find(|(known, _)| known == name)?;
            let mut opened = sealed.to_vec();
            let len = key.open_in_place(nonce, Aad::from(name), &mut opened).ok()?.len();
            opened.truncate(len);
            Some(opened)
        })
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketer").field("policy", &self.policy).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_for_two_rotations_and_only_under_its_policy() {
        let keys = TicketKeys::new();
        let (a, b) = (keys.ticketer(PolicyId::of(&[b"a"])), keys.ticketer(PolicyId::of(&[b"b"])));
        let ticket = a.encrypt(b"state").unwrap();
        assert_eq!(a.decrypt(&ticket).unwrap(), b"state");
        assert_eq!(b.decrypt(&ticket), None);
        // Another ticketer of the same policy, as after a reload.
        let again = keys.ticketer(PolicyId::of(&[b"a"]));
        assert_eq!(again.decrypt(&ticket).unwrap(), b"state");

        let mut now = Instant::now();
        for rotation in 1..=3 {
            now += ROTATION;
            keys.rotate(now);
            keys.rotate(now);
            assert_eq!(a.decrypt(&ticket).is_some(), rotation <= 2, "{rotation}");
        }
    }

    #[test]
    fn a_ticket_from_elsewhere_is_not_opened() {
        let keys = TicketKeys::new();
        let ticketer = keys.ticketer(PolicyId::of(&[]));
        let mut ticket = ticketer.encrypt(b"state").unwrap();
        for end in 0..ticket.len() {
            assert_eq!(ticketer.decrypt(&ticket[..end]), None);
        }
        for at in 0..ticket.len() {
            ticket[at] ^= 1;
            assert_eq!(ticketer.decrypt(&ticket), None, "{at}");
            ticket[at] ^= 1;
        }
    }
}
