//! What is remembered of clients by their address: how much each has open, how fast each goes.
//!
//! Shared by all workers, so that a limit holds exactly however the kernel spreads connections.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

mod rates;

pub use rates::{Pace, Rates};

/// What stands for a client. IPv6 clients are known by their /64: that is what one of them is given
/// (SL-08).
pub fn key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        ip => ip,
    }
}

/// How many things each client has open. Holds an entry only for who has any.
pub struct Open {
    shards: [Mutex<HashMap<IpAddr, u32>>; 16],
    hasher: RandomState,
}

impl Default for Open {
    fn default() -> Self {
        Open { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Open {
    /// One more of this client's, unless it has `most` already. Says whether.
    pub fn enter(&self, client: IpAddr, most: usize) -> bool {
        let client = key(client);
        let mut shard = self.shard(client);
        let open = shard.entry(client).or_insert(0);
        if *open as usize >= most {
            if *open == 0 {
                shard.remove(&client);
            }
            return false;
        }
        *open += 1;
        true
    }

    /// One less.
    pub fn leave(&self, client: IpAddr) {
        let client = key(client);
        let mut shard = self.shard(client);
        if let Some(open) = shard.get_mut(&client) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&client);
            }
        }
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        let shard = self.hasher.hash_one(client) as usize % self.shards.len();
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sl08_clients_are_counted_by_what_one_of_them_is_given() {
        let clients = Open::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(clients.enter(ip("2001:db8::1"), 2));
        assert!(clients.enter(ip("2001:db8::2"), 2));
        assert!(!clients.enter(ip("2001:db8::3"), 2));
        assert!(clients.enter(ip("2001:db8:0:1::1"), 2));
        clients.leave(ip("2001:db8::1"));
        assert!(clients.enter(ip("2001:db8::3"), 2));
        assert_eq!(key(ip("::ffff:1.2.3.4")), key(ip("1.2.3.4")));
        assert!(!clients.enter(ip("1.2.3.4"), 0));
    }
}
