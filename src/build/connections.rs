//! How many connections may be open to the members of a pool, counted over reloads.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use transom_net::Ceiling;
use transom_settings::Limit;

use crate::config::PoolLimits;

/// The ceilings of one pool.
#[derive(Debug)]
pub(super) struct Connections {
    pool: Arc<Ceiling>,
    per_member: AtomicUsize,
    /// By the key of the endpoint, as long as there is one.
    members: Mutex<HashMap<u64, Weak<Ceiling>>>,
}

/// Those of all pools whose connections are limited, by name.
pub(super) type ByPool = BTreeMap<String, Arc<Connections>>;

impl Connections {
    /// Those that a pool is to have, where it is to have any; what is open goes on being counted in
    /// those it had, and how many there may be changes with [`Connections::allow`].
    pub(super) fn following(earlier: Option<Arc<Self>>, limits: &PoolLimits) -> Option<Arc<Self>> {
        let (pool, each) = (limits.connections.value, limits.connections_per_member.value);
        if (pool, each) == (Limit::Unlimited, Limit::Unlimited) {
            return None;
        }
        Some(earlier.unwrap_or_else(|| {
            let connections = Arc::new(Connections {
                pool: Ceiling::new(usize::MAX),
                per_member: AtomicUsize::new(usize::MAX),
                members: Mutex::default(),
            });
            connections.allow(limits);
            connections
        }))
    }

    /// As many as these limits say, from now on.
    pub(super) fn allow(&self, limits: &PoolLimits) {
        let count = |limit: Limit<u32>| limit.get().map_or(usize::MAX, |count| count as usize);
        let (pool, each) = (limits.connections.value, limits.connections_per_member.value);
        let (pool, each) = (count(pool), count(each));
        self.pool.set_most(pool);
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        self.per_member.store(each, Ordering::Relaxed);
        for member in members.values().filter_map(Weak::upgrade) {
            member.set_most(each);
        }
    }

    /// Of the endpoint with this key: its own, and its pool's.
    pub(super) fn of(&self, key: u64) -> Vec<Arc<Ceiling>> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let own = members.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            members.retain(|_, member| member.strong_count() > 0);
            let own = Ceiling::new(self.per_member.load(Ordering::Relaxed));
            members.insert(key, Arc::downgrade(&own));
            own
        });
        vec![own, self.pool.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: Limit<u32>, each: Limit<u32>) -> PoolLimits {
        PoolLimits {
            connections: connections.into(),
            connections_per_member: each.into(),
            ..PoolLimits::default()
        }
    }

    #[test]
    fn lb_24_what_is_open_counts_on_over_reloads() {
        assert!(Connections::following(None, &PoolLimits::default()).is_none());
        let first = Connections::following(None, &limits(Limit::Unlimited, Limit::At(2))).unwrap();
        let [own, pool] = &first.of(1)[..] else { panic!() };
        let (_one, _two) = (own.try_take().unwrap(), own.try_take().unwrap());
        assert_eq!((own.left(), pool.most()), (0, usize::MAX));
        let wider = limits(Limit::At(9), Limit::At(3));
        let second = Connections::following(Some(first.clone()), &wider).unwrap();
        let again = second.of(1);
        assert!(Arc::ptr_eq(&again[0], own));
        assert_eq!((again[0].left(), again[1].most()), (0, usize::MAX), "nothing runs yet");
        second.allow(&wider);
        assert_eq!((again[0].left(), again[1].most()), (1, 9));
        assert_eq!(first.of(2)[0].left(), 3);
    }
}
