//! How many connections each client has open.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many connections each client address has open.
pub(super) struct Clients {
    shards: [Mutex<HashMap<IpAddr, u32>>; 16],
    hasher: RandomState,
}

impl Default for Clients {
    fn default() -> Self {
        Clients { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Clients {
    /// IPv6 clients are counted by their /64: that is what one of them is given (SL-08).
    pub(super) fn key(ip: IpAddr) -> IpAddr {
        match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let network = u128::from(ip) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            ip => ip,
        }
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let shard = self.hasher.hash_one(client) as usize % self.shards.len();
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, client: IpAddr, most: usize) -> bool {
        let mut shard = self.shard(client);
        let open = shard.entry(client).or_insert(0);
        if *open as usize >= most {
            return false;
        }
        *open += 1;
        true
    }

    pub(super) fn leave(&self, client: IpAddr) {
        let mut shard = self.shard(client);
        if let Some(open) = shard.get_mut(&client) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sl08_clients_are_counted_by_what_one_of_them_is_given() {
        let clients = Clients::default();
        let key = |text: &str| Clients::key(text.parse().unwrap());
        assert!(clients.enter(key("2001:db8::1"), 2));
        assert!(clients.enter(key("2001:db8::2"), 2));
        assert!(!clients.enter(key("2001:db8::3"), 2));
        assert!(clients.enter(key("2001:db8:0:1::1"), 2));
        clients.leave(key("2001:db8::1"));
        assert!(clients.enter(key("2001:db8::3"), 2));
        assert_eq!(key("::ffff:1.2.3.4"), key("1.2.3.4"));
    }
}
