//! Verifies passwords beside the workers, a few at once, and remembers for a while what came of it.
//!
//! What is remembered is a keyed hash of user, password and the hash it was held against: neither a
//! password nor anything to try them out on lies in memory, another password of the same user is
//! another entry, and one that was changed is not remembered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::Semaphore;
use transom_proxy::fault::{Code, Fault};

use crate::consumer::password::Hashed;

/// The passwords that are verified for the whole program.
pub(super) struct Verifier {
    key: hmac::Key,
    remembered: Mutex<Remembered>,
    /// How many are verified at once: they take a core each.
    turns: Semaphore,
    waiting: AtomicUsize,
}

/// More than so many do not wait for their turn.
const MOST_WAITING: usize = 256;
/// What a client is told to wait that finds all of them waiting.
const LATER: Duration = Duration::from_secs(1);

type Mark = [u8; 32];

/// Two generations: when one is full, the one before it is forgotten.
#[derive(Default)]
struct Remembered {
    young: HashMap<Mark, (Instant, bool)>,
    old: HashMap<Mark, (Instant, bool)>,
}

/// Entries of one generation.
const MOST: usize = 16 * 1024;

impl Remembered {
    fn get(&self, mark: &Mark, now: Instant, within: Duration) -> Option<bool> {
        let (at, right) = self.young.get(mark).or_else(|| self.old.get(mark))?;
        (now.saturating_duration_since(*at) < within).then_some(*right)
    }

    fn insert(&mut self, mark: Mark, now: Instant, right: bool) {
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(mark, (now, right));
    }
}

impl Verifier {
    /// For a machine with so many cores: half of them may verify at once.
    pub(super) fn new(cores: usize) -> Option<Self> {
        Some(Verifier {
            key: hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok()?,
            remembered: Mutex::default(),
            turns: Semaphore::new((cores / 2).max(1)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Whether the hash is that of this user's password.
    ///
    /// # Errors
    /// 503 where too many wait to be verified.
    pub(super) async fn is_right(
        &self,
        user: &[u8],
        password: &[u8],
        hash: &Arc<Hashed>,
        remember: Duration,
    ) -> Result<bool, Fault> {
        let mark = self.mark(user, password, hash);
        if let Some(right) = self.recall(&mark, remember) {
            return Ok(right);
        }
        let busy = || {
            let why = "too many passwords wait to be verified";
            Fault::new(Code::Overloaded, why).retry_after(LATER)
        };
        let waiting = Waiting::begin(&self.waiting).ok_or_else(busy)?;
        let turn = self.turns.acquire().await.map_err(|_| busy())?;
        // another request of the same client may have been before
        if let Some(right) = self.recall(&mark, remember) {
            return Ok(right);
        }
        let (hash, password) = (hash.clone(), password.to_owned());
        let verified = tokio::task::spawn_blocking(move || hash.is_of(&password)).await;
        drop((turn, waiting));
        let right = verified.map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        self.remembered().insert(mark, Instant::now(), right);
        Ok(right)
    }

    /// A number below `count`, always the same one for a name, that nobody outside can foretell.
    pub(super) fn draw(&self, name: &str, count: usize) -> usize {
        let sum = hmac::sign(&self.key, name.as_bytes());
        let number = sum.as_ref().iter().take(4).fold(0, |n, byte| n << 8 | usize::from(*byte));
        number % count.max(1)
    }

    fn mark(&self, user: &[u8], password: &[u8], hash: &Hashed) -> Mark {
        let mut sum = hmac::Context::with_key(&self.key);
        for part in [user, password, hash.text().as_bytes()] {
            sum.update(&(part.len() as u64).to_le_bytes());
            sum.update(part);
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(sum.sign().as_ref());
        mark
    }

    fn recall(&self, mark: &Mark, within: Duration) -> Option<bool> {
        self.remembered().get(mark, Instant::now(), within)
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more that waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let one = Waiting(waiting);
        (before < MOST_WAITING).then_some(one)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> Arc<Hashed> {
        Arc::new(Hashed::read("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=").unwrap())
    }

    #[tokio::test]
    async fn a_13_what_is_remembered_is_of_one_user_password_and_hash() {
        let verifier = Verifier::new(2).unwrap();
        let (minute, hash) = (Duration::from_secs(60), hash());
        assert!(verifier.is_right(b"ann", b"secret", &hash, minute).await.unwrap());
        assert!(!verifier.is_right(b"ann", b"wrong", &hash, minute).await.unwrap());
        assert!(verifier.recall(&verifier.mark(b"ann", b"secret", &hash), minute).unwrap());
        for (user, password) in [("annsecret", ""), ("an", "nsecret"), ("bob", "secret")] {
            let mark = verifier.mark(user.as_bytes(), password.as_bytes(), &hash);
            assert_eq!(verifier.recall(&mark, minute), None, "{user} {password}");
        }
        let other = Hashed::read("$apr1$a$lsAcX0kKaMIVmrCtUuk5b0").unwrap();
        let changed = verifier.mark(b"ann", b"secret", &other);
        assert_eq!(verifier.recall(&changed, minute), None);
        let mark = verifier.mark(b"ann", b"secret", &hash);
        assert_eq!(verifier.recall(&mark, Duration::ZERO), None, "not for longer than it may be");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut remembered, now) = (Remembered::default(), Instant::now());
        for n in 0..3 * MOST as u64 {
            let mut mark = [0; 32];
            mark[..8].copy_from_slice(&n.to_le_bytes());
            remembered.insert(mark, now, true);
        }
        assert!(remembered.young.len() + remembered.old.len() <= 2 * MOST);
        assert_eq!(remembered.get(&[0; 32], now, Duration::MAX), None);
    }

    #[tokio::test]
    async fn a_13_when_too_many_wait_one_more_is_told_to_come_later() {
        let verifier = Verifier::new(2).unwrap();
        verifier.waiting.store(MOST_WAITING, Ordering::Relaxed);
        let refused = verifier.is_right(b"a", b"b", &hash(), Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded);
        assert_eq!(verifier.waiting.load(Ordering::Relaxed), MOST_WAITING);
    }
}
