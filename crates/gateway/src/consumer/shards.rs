//! A map that is read without a lock, and of which a change copies a small part.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

/// A part of the map.
type Shard<K, V> = ArcSwap<HashMap<K, V, RandomState>>;

/// The map. With a million entries a part has a thousand, so that a change copies some 100 KiB.
///
/// Readers never wait. Two who change it at once would lose one change: there is one writer.
pub struct Shards<K, V> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
}

const SHARDS: usize = 1024;

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let hasher = RandomState::default();
        let empty = || ArcSwap::from_pointee(HashMap::with_hasher(hasher.clone()));
        Shards { shards: (0..SHARDS).map(|_| empty()).collect(), hasher: hasher.clone() }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.shard(key).load().get(key).cloned()
    }

    /// Puts it there, in the place of what was there.
    pub fn insert(&self, key: K, value: V) {
        self.change(&key.clone(), |map| drop(map.insert(key, value)));
    }

    /// Puts many there at once.
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) {
        let mut places: HashMap<usize, Vec<(K, V)>> = HashMap::new();
        for entry in entries {
            places.entry(self.place(&entry.0)).or_default().push(entry);
        }
        for (place, entries) in places {
            let mut map = HashMap::clone(&self.shards[place].load());
            map.extend(entries);
            self.shards[place].store(Arc::new(map));
        }
    }

    pub fn remove<Q: Hash + Eq + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.change(key, |map| drop(map.remove(key)));
    }

    /// Holds these and nothing else.
    pub fn replace(&self, entries: impl IntoIterator<Item = (K, V)>) {
        let empty = || HashMap::with_hasher(self.hasher.clone());
        let mut maps: Vec<_> = (0..SHARDS).map(|_| empty()).collect();
        for (key, value) in entries {
            maps[self.place(&key)].insert(key, value);
        }
        for (shard, map) in self.shards.iter().zip(maps) {
            shard.store(Arc::new(map));
        }
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn change<Q: Hash + ?Sized>(&self, key: &Q, f: impl FnOnce(&mut HashMap<K, V, RandomState>)) {
        let shard = self.shard(key);
        let mut map = HashMap::clone(&shard.load());
        f(&mut map);
        shard.store(Arc::new(map));
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> &Shard<K, V> {
        &self.shards[self.place(key)]
    }

    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // the map itself looks at the upper and the lowest bits
        (self.hasher.hash_one(key) >> 24) as usize % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_put_there_last() {
        let shards = Shards::<String, u32>::default();
        for n in 0..5000 {
            shards.insert(n.to_string(), n);
        }
        shards.insert("7".to_owned(), 70);
        shards.remove("8");
        assert_eq!(shards.len(), 4999);
        assert_eq!(
            (shards.get("7"), shards.get("8"), shards.get("4999")),
            (Some(70), None, Some(4999))
        );
        shards.replace([("a".to_owned(), 1)]);
        assert_eq!((shards.get("a"), shards.get("7"), shards.len()), (Some(1), None, 1));
        shards.extend((0..3000).map(|n| (n.to_string(), n)));
        assert_eq!((shards.get("2999"), shards.len()), (Some(2999), 3001));
        shards.replace([]);
        assert!(shards.is_empty());
    }
}
