//! One word for each key, in memory of a fixed size, shared by all workers.
//!
//! A key is known by a keyed hash of 64 bits, which lies in one of eight places; whoever finds it there
//! changes its word by one atomic exchange and takes no lock. Where all eight are taken by others, the
//! key that owes least gives way and begins anew when it comes again: a flood of more keys than there
//! are places loosens the limit, and takes no memory (L-06).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::counting::nanos;

/// Places among which one key is looked for.
const WAYS: usize = 8;
const SHARDS: usize = 64;

/// The keys and their words. 16 bytes each, taken when first needed, in 64 parts.
pub struct Table {
    shards: Box<[Shard]>,
    sets: usize,
    hasher: RandomState,
    origin: Instant,
}

#[derive(Default)]
struct Shard {
    sets: OnceLock<Box<[[Place; WAYS]]>>,
    /// Held while a key is given a place.
    placing: Mutex<()>,
}

#[derive(Default)]
struct Place {
    /// Of the key; 0 is nobody.
    hash: AtomicU64,
    /// What owes more is the larger number.
    word: AtomicU64,
}

impl Table {
    /// For at least so many keys.
    pub fn new(keys: usize) -> Self {
        let shards = if keys <= SHARDS * WAYS { 1 } else { SHARDS };
        Table {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            sets: keys.div_ceil(shards * WAYS).max(1),
            hasher: RandomState::new(),
            origin: Instant::now(),
        }
    }

    /// How many keys have a place at most.
    pub fn capacity(&self) -> usize {
        self.shards.len() * self.sets * WAYS
    }

    /// What stands for a key.
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key).max(1)
    }

    /// The time that words are made of.
    pub fn time(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin))
    }

    /// The word of a key, which is 0 if it has none.
    pub fn word(&self, hash: u64) -> u64 {
        let shard = &self.shards[hash as usize % self.shards.len()];
        let found = shard.sets.get().and_then(|sets| found(self.set(sets, hash), hash));
        found.map_or(0, |place| place.word.load(Ordering::Relaxed))
    }

    /// Gives a key the word that `change` makes of the one it has; several workers do so one after the
    /// other. What else `change` says comes back.
    pub fn change<R>(&self, hash: u64, mut change: impl FnMut(u64) -> (R, u64)) -> R {
        let place = self.place(hash);
        let mut word = place.word.load(Ordering::Relaxed);
        loop {
            let (result, after) = change(word);
            if after == word {
                return result;
            }
            let exchanged =
                place.word.compare_exchange_weak(word, after, Ordering::Relaxed, Ordering::Relaxed);
            match exchanged {
                Ok(_) => return result,
                Err(current) => word = current,
            }
        }
    }

    fn place(&self, hash: u64) -> &Place {
        let shard = &self.shards[hash as usize % self.shards.len()];
        let sets = shard.sets.get_or_init(|| (0..self.sets).map(|_| Default::default()).collect());
        let set = self.set(sets, hash);
        if let Some(place) = found(set, hash) {
            return place;
        }
        let _placing = shard.placing.lock().unwrap_or_else(PoisonError::into_inner);
        // another worker may have been here first
        found(set, hash).unwrap_or_else(|| {
            let mut least = &set[0];
            for place in set {
                if place.owed() < least.owed() {
                    least = place;
                }
            }
            // Whoever is changing the word of the key that gives way changes nothing, or its new one
            // a little: that key was in a flood.
            least.word.store(0, Ordering::Relaxed);
            least.hash.store(hash, Ordering::Release);
            least
        })
    }

    fn set<'a>(&self, sets: &'a [[Place; WAYS]], hash: u64) -> &'a [Place; WAYS] {
        &sets[(hash >> 8) as usize % sets.len()]
    }
}

fn found(set: &[Place; WAYS], hash: u64) -> Option<&Place> {
    set.iter().find(|place| place.hash.load(Ordering::Acquire) == hash)
}

impl Place {
    fn owed(&self) -> u64 {
        match self.hash.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.word.load(Ordering::Relaxed).saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use transom_settings::{FromText, Rate};

    use super::*;
    use crate::limit::counting::{Counting, Window};

    #[test]
    fn gw_17_eight_workers_admit_exactly_as_many_as_one() {
        for window in [Window::Sliding, Window::Fixed, Window::Even] {
            let counting = Counting::new(Rate::from_text("100/h").unwrap(), window, None);
            for keys in [1, 100] {
                let (table, passed) = (Table::new(1 << 16), AtomicU64::new(0));
                let now = table.time(Instant::now());
                std::thread::scope(|scope| {
                    for worker in 0..8u64 {
                        let (table, passed) = (&table, &passed);
                        scope.spawn(move || {
                            for n in 0..keys * 25 {
                                let key = (n + worker) % keys;
                                let hash = table.hash(&key.to_le_bytes());
                                for _ in 0..8 {
                                    let verdict =
                                        table.change(hash, |word| counting.charge(word, now, 1));
                                    passed.fetch_add(verdict.passes.into(), Ordering::Relaxed);
                                }
                            }
                        });
                    }
                });
                assert_eq!(passed.into_inner(), 100 * keys, "{window}");
            }
        }
    }

    #[test]
    fn l_06_a_flood_of_keys_takes_no_more_memory_and_hides_none_that_owes() {
        for window in [Window::Sliding, Window::Fixed, Window::Even] {
            let counting = Counting::new(Rate::from_text("100/h").unwrap(), window, None);
            let table = Table::new(10_000);
            assert!((10_000..11_000).contains(&table.capacity()));
            let now = table.time(Instant::now());
            let take = |key: u32| {
                let hash = table.hash(&key.to_le_bytes());
                table.change(hash, |word| counting.charge(word, now, 1)).passes
            };
            while take(0) {}
            assert!((1..200_000).all(take), "{window}: others are another matter");
            assert!(!take(0), "{window}: who owes most is kept");
            let places = table.shards.iter().filter_map(|shard| shard.sets.get());
            let places: usize = places.map(|sets| sets.len() * WAYS).sum();
            assert_eq!(places, table.capacity());
        }
    }

    #[test]
    fn a_key_that_was_never_seen_owes_nothing_and_takes_no_place() {
        let table = Table::new(1);
        assert_eq!(table.word(table.hash(b"a")), 0);
        assert!(table.shards.iter().all(|shard| shard.sets.get().is_none()));
        table.change(table.hash(b"a"), |word| ((), word + 7));
        assert_eq!(table.word(table.hash(b"a")), 7);
        assert_eq!(table.word(table.hash(b"b")), 0);
    }
}
