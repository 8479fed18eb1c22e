//! How many requests of each key are under way. Holds an entry only for who has any, so that there are
//! never more of them than requests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use transom_proxy::exchange::Exchange;

/// The counts, shared by all workers.
pub struct Flights {
    shards: [Mutex<HashMap<u64, u32>>; 16],
    hasher: RandomState,
}

impl Default for Flights {
    fn default() -> Self {
        Flights { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

/// One request that is under way. Dropping it gives its place back.
pub struct Flight {
    flights: Arc<Flights>,
    hash: u64,
}

impl Flights {
    /// One more of this key's, unless it has `most`, and how many there could be beside it.
    pub fn enter(self: &Arc<Self>, key: &[u8], most: u32) -> Option<(Flight, u32)> {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        let count = match shard.entry(hash) {
            Entry::Occupied(entry) if *entry.get() >= most => return None,
            Entry::Vacant(_) if most == 0 => return None,
            entry => entry.or_insert(0),
        };
        *count += 1;
        let left = most - *count;
        drop(shard);
        Some((Flight { flights: self.clone(), hash }, left))
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, HashMap<u64, u32>> {
        let shard = hash as usize % self.shards.len();
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.flights.shard(self.hash).entry(self.hash) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Those of one exchange, of which several policies may hold one each.
#[derive(Default)]
struct Held(RefCell<Vec<Flight>>);

impl Flight {
    /// Keeps the place until the exchange is over: the last byte of the response was sent, or the
    /// client has gone.
    pub fn hold(self, exchange: &mut Exchange) {
        if exchange.extensions.get::<Held>().is_none() {
            exchange.extensions.insert(Held::default());
        }
        if let Some(held) = exchange.extensions.get::<Held>() {
            held.0.borrow_mut().push(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_19_so_many_at_once_and_each_gives_its_place_back() {
        let flights = Arc::new(Flights::default());
        let (one, left) = flights.enter(b"a", 2).unwrap();
        assert_eq!(left, 1);
        let (_two, left) = flights.enter(b"a", 2).unwrap();
        assert_eq!(left, 0);
        assert!(flights.enter(b"a", 2).is_none());
        assert!(flights.enter(b"b", 2).is_some(), "another one's is another matter");
        drop(one);
        assert!(flights.enter(b"a", 2).is_some());
        assert!(flights.enter(b"c", 0).is_none());
        let entries: usize = flights.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(entries, 1, "nothing is kept of who has none");
    }
}
