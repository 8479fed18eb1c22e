//! What was found out about tokens, until they expire: so that a signature is checked once and not
//! with every request.
//!
//! A token is found by a keyed hash over all of it and then compared with all of it, so that no other
//! token, however it is made, is taken for it. There are as many places as were asked for and no
//! more; only what was believed ever gets one, so a stranger can drive nothing out.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;
use foldhash::fast::RandomState;

/// Places in which one token may stand.
const WAYS: usize = 8;
/// Parts with a lock of their own, so that workers seldom meet.
const PARTS: usize = 64;

/// Values by token. A lookup takes one lock for a few comparisons, never over an await.
pub struct Remembered<V: ?Sized> {
    parts: Box<[CachePadded<Mutex<Part<V>>>]>,
    hasher: RandomState,
}

struct Part<V: ?Sized> {
    places: Box<[Option<Entry<V>>]>,
    /// Counts uses, to know which was used least lately.
    uses: u64,
}

struct Entry<V: ?Sized> {
    hash: u64,
    token: Box<[u8]>,
    until: i64,
    used: u64,
    value: Arc<V>,
}

impl<V: ?Sized> Remembered<V> {
    /// Room for so many, rounded up to whole parts; for none, it remembers nothing.
    pub fn new(most: usize) -> Self {
        let sets = most.div_ceil(PARTS * WAYS);
        let part = || Part { places: (0..sets * WAYS).map(|_| None).collect(), uses: 0 };
        Remembered {
            parts: (0..PARTS).map(|_| CachePadded::new(Mutex::new(part()))).collect(),
            hasher: RandomState::default(),
        }
    }

    /// What is known of a token, if that is still true at the second `now`.
    pub fn get(&self, token: &[u8], now: i64) -> Option<Arc<V>> {
        let hash = self.hasher.hash_one(token);
        self.part(hash, |part, set| {
            part.uses += 1;
            let entry =
                part.places.get_mut(set)?.iter_mut().flatten().find(|entry| {
                    entry.hash == hash && now < entry.until && *entry.token == *token
                })?;
            entry.used = part.uses;
            Some(entry.value.clone())
        })
    }

    /// Remembers it up to the second `until`, in place of what has expired, or else of what was used
    /// least lately.
    pub fn insert(&self, token: &[u8], value: Arc<V>, until: i64, now: i64) {
        let hash = self.hasher.hash_one(token);
        self.part(hash, |part, set| {
            part.uses += 1;
            let Some(places) = part.places.get_mut(set) else { return };
            let entry = Entry { hash, token: token.into(), until, used: part.uses, value };
            let worth = |place: &Option<Entry<V>>| match place {
                Some(entry) if entry.hash == hash => 0,
                Some(entry) if now < entry.until => 1 + entry.used,
                _ => 1,
            };
            if let Some(place) = places.iter_mut().min_by_key(|place| worth(place)) {
                *place = Some(entry);
            }
        });
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for part in &self.parts {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            part.places.iter_mut().for_each(|place| *place = None);
        }
    }

    fn part<R>(
        &self,
        hash: u64,
        with: impl FnOnce(&mut Part<V>, std::ops::Range<usize>) -> R,
    ) -> R {
        let part = &self.parts[hash as usize % PARTS];
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = (part.places.len() / WAYS).max(1);
        let set = (hash >> 32) as usize % sets * WAYS;
        with(&mut part, set..set + WAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_until_it_expires() {
        let remembered = Remembered::new(100);
        assert!(remembered.get(b"a", 0).is_none());
        remembered.insert(b"a", Arc::new(1), 10, 0);
        assert_eq!(remembered.get(b"a", 9).as_deref(), Some(&1));
        assert!(remembered.get(b"a", 10).is_none());
        assert!(remembered.get(b"b", 0).is_none());
        remembered.insert(b"a", Arc::new(2), 20, 10);
        assert_eq!(remembered.get(b"a", 10).as_deref(), Some(&2));
        remembered.clear();
        assert!(remembered.get(b"a", 10).is_none());
    }

    #[test]
    fn there_is_room_for_so_many_and_what_is_used_stays() {
        let remembered = Remembered::new(512);
        remembered.insert(b"regular", Arc::new(0), 10, 0);
        for n in 0..50_000u32 {
            remembered.insert(&n.to_be_bytes(), Arc::new(n), 10, 0);
            assert!(remembered.get(b"regular", 0).is_some(), "{n}");
        }
        let known = (0..50_000u32).filter(|n| remembered.get(&n.to_be_bytes(), 0).is_some());
        let known = known.count();
        assert!((300..=512).contains(&known), "{known}");
    }

    #[test]
    fn who_wants_none_remembered_gets_none() {
        let remembered = Remembered::new(0);
        remembered.insert(b"a", Arc::new(1), 10, 0);
        assert!(remembered.get(b"a", 0).is_none());
    }
}
