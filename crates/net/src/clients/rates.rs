//! How fast each client goes, in memory of a fixed size.
//!
//! Of each client one time is kept: when it would have used up what it took if it took it evenly
//! (the generic cell rate algorithm). A time that has passed says nothing any more, so its place is
//! free; if none is free, the client that is nearest to having nothing owed gives way, and begins
//! anew when it comes again. So a flood from more addresses than there are places loosens the limit
//! and takes no memory.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::key;

/// Clients that are remembered at once. 16 bytes each.
const PLACES: usize = 1 << 17;
/// Places among which one client's is looked for.
const WAYS: usize = 8;
const SHARDS: usize = 64;

/// So many at once, and evenly so many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Nanoseconds for each.
    every: u64,
    /// How far ahead of that a client may be.
    ahead: u64,
}

impl Pace {
    /// `count` in `per`, of which all may come at once.
    pub fn new(count: u64, per: Duration) -> Self {
        let per = nanos(per).max(1);
        let every = (per / count.max(1)).max(1);
        Pace { every, ahead: per.max(every) }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// The clients and their times. Takes 2 MiB once it is first used.
pub struct Rates {
    shards: OnceLock<Box<[Shard]>>,
    hasher: RandomState,
    origin: Instant,
}

type Shard = Mutex<Box<[[Place; WAYS]]>>;

#[derive(Clone, Copy, Default)]
struct Place {
    /// Of the client's address; 0 is nobody.
    hash: u64,
    /// When it owes nothing any more, in nanoseconds since the origin.
    even: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Rates { shards: OnceLock::new(), hasher: RandomState::new(), origin: Instant::now() }
    }
}

impl Rates {
    /// One more of this client's. Where that is too fast it counts for nothing, and says how long
    /// to wait.
    ///
    /// # Errors
    /// How long until one more passes.
    pub fn take(&self, client: IpAddr, now: Instant, pace: Pace) -> Result<(), Duration> {
        let hash = self.hasher.hash_one(key(client)).max(1);
        let now = nanos(now.saturating_duration_since(self.origin));
        let shards = self.shards.get_or_init(|| {
            let shard = || Mutex::new(vec![Default::default(); PLACES / SHARDS / WAYS].into());
            (0..SHARDS).map(|_| shard()).collect()
        });
        // A keyed hash of 64 bits: that two clients share one is not to be expected, nor to be had.
        let (shard, set) = (hash as usize % SHARDS, (hash >> 8) as usize);
        let mut sets = shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let count = sets.len();
        let places = &mut sets[set % count];
        let place = match places.iter().position(|place| place.hash == hash) {
            Some(at) => &mut places[at],
            None => {
                // One that owes nothing, or else the least.
                let Some(place) = places.iter_mut().min_by_key(|place| place.even) else {
                    return Ok(());
                };
                *place = Place { hash, even: 0 };
                place
            }
        };
        let even = place.even.max(now) + pace.every;
        if even - now > pace.ahead {
            return Err(Duration::from_nanos(even - now - pace.ahead));
        }
        place.even = even;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn client(n: u32) -> IpAddr {
        Ipv4Addr::from(n).into()
    }

    #[test]
    fn l_03_so_many_at_once_and_then_evenly() {
        let rates = Rates::default();
        let (start, pace) = (Instant::now(), Pace::new(10, Duration::from_secs(1)));
        let at = |ms: u64| start + Duration::from_millis(ms);
        for n in 0..10 {
            assert_eq!(rates.take(client(1), at(0), pace), Ok(()), "{n}");
        }
        assert_eq!(rates.take(client(1), at(0), pace), Err(Duration::from_millis(100)));
        assert_eq!(rates.take(client(2), at(0), pace), Ok(()), "another one's is another matter");
        assert_eq!(rates.take(client(1), at(99), pace), Err(Duration::from_millis(1)));
        assert_eq!(rates.take(client(1), at(100), pace), Ok(()));
        assert!(rates.take(client(1), at(100), pace).is_err());
        // Nothing is saved up beyond the one burst, and a clock that stood still gives nothing.
        let passed =
            (0..100).filter(|_| rates.take(client(1), at(1_000_000), pace).is_ok()).count();
        assert_eq!(passed, 10);
        assert!(rates.take(client(1), at(0), pace).is_err());
    }

    #[test]
    fn l_03_over_a_minute_the_rate_is_exact() {
        for (count, per, tries) in [(7, 1, 3), (100, 1, 1), (1000, 60, 11)] {
            let (rates, start) = (Rates::default(), Instant::now());
            let pace = Pace::new(count, Duration::from_secs(per));
            let passed = (0..60_000u64)
                .map(|ms| start + Duration::from_millis(ms))
                .flat_map(|now| (0..tries).map(move |_| now))
                .filter(|now| rates.take(client(1), *now, pace).is_ok())
                .count() as u64;
            let even = 60 * count / per;
            assert!((even..=even + count).contains(&passed), "{passed} of {even}");
        }
    }

    #[test]
    fn l_06_a_million_clients_take_no_more_memory_and_hide_none_that_owes() {
        let rates = Rates::default();
        let (now, pace) = (Instant::now(), Pace::new(100, Duration::from_secs(1)));
        while rates.take(client(0), now, pace).is_ok() {}
        for n in 1..=1_000_000 {
            assert!(rates.take(client(n), now, pace).is_ok());
        }
        let places: usize =
            rates.shards.get().unwrap().iter().map(|s| s.lock().unwrap().len()).sum();
        assert_eq!(places * WAYS, PLACES);
        assert!(rates.take(client(0), now, pace).is_err(), "who owes most is kept");
    }

    #[test]
    fn over_all_threads_no_more_passes_than_may() {
        let (rates, passed) = (Arc::new(Rates::default()), Arc::new(AtomicU64::new(0)));
        let (now, pace) = (Instant::now(), Pace::new(1000, Duration::from_secs(1)));
        let work = || {
            let (rates, passed) = (rates.clone(), passed.clone());
            move || {
                for _ in 0..5000 {
                    let ok = rates.take(client(1), now, pace).is_ok();
                    passed.fetch_add(ok.into(), Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(work());
            }
        });
        assert_eq!(passed.load(Ordering::Relaxed), 1000);
    }
}
