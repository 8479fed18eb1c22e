//! Shuffle sharding (Route 53): each key has a few members of its own, and no other two keys are
//! likely to have the same ones. Whoever sends what kills a server kills those few, and nearly
//! everybody else has another one left: of 8 members in shards of 2 there are 28.
//!
//! The members of a key are those with the highest scores of key and member together (rendezvous), so
//! that one that joins or leaves moves no more than its part. They are chosen from all members, not
//! from those that are usable: a key that has lost its own gets none of the others'. Among its own the
//! one with the fewest attempts in flight for its weight is picked, in turn among equals.

use std::sync::Arc;

use super::draw::has_fewer;
use super::hash::mix;
use super::{Algorithm, Candidate, Choice, least_requests};

/// The most members that a key has.
pub const MOST: usize = 8;

/// The members of one key, by the keys of their endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    members: [u64; MOST],
    count: usize,
}

impl Shard {
    /// The `size` members, [`MOST`] at most, that belong to a key with this hash. Each is given by the
    /// key of its endpoint and its identity, which is the same on every machine.
    pub fn of(hash: u64, size: usize, members: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut best = [(0, 0); MOST];
        let (size, mut count) = (size.min(MOST), 0);
        for (key, identity) in members {
            let score = mix(hash ^ mix(identity));
            let place = best[..count].partition_point(|(other, _)| *other >= score);
            if place < size {
                count = (count + 1).min(size);
                best[place..count].rotate_right(1);
                best[place] = (score, key);
            }
        }
        Shard { members: best.map(|(_, key)| key), count }
    }

    pub fn members(&self) -> &[u64] {
        &self.members[..self.count]
    }
}

/// Shards that are worked out, of which each key has one by its hash: so many that hardly two keys
/// meet, and few enough to be made anew when members come and go.
const WORKED_OUT: u64 = 1 << 12;

/// The shards of all keys, over these members.
pub fn table(size: usize, members: &[(u64, u64)]) -> Arc<[Shard]> {
    (0..WORKED_OUT).map(|place| Shard::of(mix(place), size, members.iter().copied())).collect()
}

/// The shard of a key with this hash, where there are any.
pub fn of_key(table: &[Shard], hash: u64) -> Option<&Shard> {
    let place = (u128::from(hash) * table.len() as u128) >> 64;
    table.get(place as usize)
}

#[derive(Debug)]
pub struct Shards {
    /// The places of candidates by the keys of their endpoints, which ascend.
    places: Box<[(u64, u32)]>,
}

impl Shards {
    pub fn over(candidates: &[Candidate]) -> Self {
        let mut places: Vec<(u64, u32)> = candidates.iter().map(|one| one.key).zip(0..).collect();
        places.sort_unstable();
        Shards { places: places.into() }
    }

    fn place(&self, key: u64) -> Option<usize> {
        let found = self.places.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(self.places[found].1 as usize)
    }
}

impl Algorithm for Shards {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        let (own, all) = (choice.shard?.members(), choice.candidates);
        let from = choice.turn() as usize % own.len().max(1);
        let (before, after) = own.split_at(from);
        let usable = after.iter().chain(before).filter_map(|key| self.place(*key));
        usable.filter(|index| choice.is_open(*index)).reduce(|best, index| {
            match has_fewer(&all[index], &all[best]) {
                true => index,
                false => best,
            }
        })
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        least_requests::load(&choice.candidates[index])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn shard(key: u64, size: usize, members: u64) -> Shard {
        Shard::of(mix(key), size, (1..=members).map(|member| (member, mix(member))))
    }

    #[test]
    fn u_22_a_key_has_its_few_and_no_more_than_there_are() {
        for (size, members, expected) in
            [(2, 8, 2), (8, 100, 8), (3, 2, 2), (2, 0, 0), (100, 20, 8)]
        {
            let shard = shard(7, size, members);
            assert_eq!(shard.members().len(), expected, "{size} of {members}");
            let different: HashSet<_> = shard.members().iter().collect();
            assert_eq!(different.len(), expected);
            assert!(shard.members().iter().all(|member| (1..=members).contains(member)));
        }
        assert_eq!(shard(7, 2, 8), shard(7, 2, 8));
    }

    #[test]
    fn u_22_few_keys_share_all_of_their_members() {
        let mut shards: HashMap<Vec<u64>, u32> = HashMap::new();
        let mut members = [0u32; 9];
        for key in 0..28_000 {
            let mut own = shard(key, 2, 8).members().to_vec();
            own.sort_unstable();
            own.iter().for_each(|member| members[*member as usize] += 1);
            *shards.entry(own).or_default() += 1;
        }
        assert_eq!(shards.len(), 28, "each pair of eight");
        assert!(shards.values().all(|keys| (850..1150).contains(keys)), "{shards:?}");
        assert!(members[1..].iter().all(|keys| (6700..7300).contains(keys)), "{members:?}");
    }

    #[test]
    fn u_22_one_that_joins_takes_its_part_and_no_more() {
        let moved = |key: &u64| shard(*key, 2, 10).members() != shard(*key, 2, 11).members();
        let moved = (0..10_000).filter(moved).count();
        assert!((1600..2050).contains(&moved), "two of eleven, not {moved} of 10,000");
    }
}
