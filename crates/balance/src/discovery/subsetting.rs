//! Each of many Transoms uses only some endpoints of a large pool, so that not all of them connect to
//! and probe all: deterministic subsetting (Google, Site Reliability Engineering, chapter 20).
//!
//! With `n` endpoints and `size` for each instance there are `n / size` subsets in a round:
//!
//! ```text
//! round  = instance / (n / size)       every round has an order of endpoints of its own
//! subset = instance % (n / size)       its part of that order
//! ```
//!
//! In a round no endpoint is used by two instances, so over k whole rounds none is used by more than
//! k; those that are left over where `size` does not divide `n` are others in each round. The order is
//! by a score of round and address, and not shuffled: where an endpoint joins or leaves, those behind
//! it move up by one place, and each instance changes one of its own, unless the number of subsets
//! changes.

use std::collections::BTreeMap;

use crate::algorithm::hash::{self, mix};
use crate::members::MemberSpec;

/// How many endpoints an instance uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsetting {
    pub size: usize,
    /// Which instance this is, from 0.
    pub instance: u64,
}

impl Subsetting {
    /// The members that this instance uses, in their order: of each priority by itself, so that those
    /// that stand by do so for every instance.
    pub fn of(&self, specs: Vec<MemberSpec>) -> Vec<MemberSpec> {
        let mut priorities: BTreeMap<u8, Vec<(usize, u64)>> = BTreeMap::new();
        for (place, spec) in specs.iter().enumerate() {
            // the same on every machine, whatever it is called there
            let identity = hash::of(spec.endpoint.target.address.to_string().as_bytes());
            priorities.entry(spec.priority).or_default().push((place, identity));
        }
        let mut used = vec![false; specs.len()];
        for members in priorities.values() {
            let identities: Vec<u64> = members.iter().map(|(_, identity)| *identity).collect();
            for place in self.places(&identities) {
                used[members[place].0] = true;
            }
        }
        specs.into_iter().zip(used).filter(|(_, used)| *used).map(|(spec, _)| spec).collect()
    }

    /// The places of those that are used.
    fn places(&self, identities: &[u64]) -> Vec<usize> {
        let count = identities.len();
        let mut order: Vec<usize> = (0..count).collect();
        if self.size >= count {
            return order;
        }
        let subsets = (count / self.size.max(1)).max(1) as u64;
        let (round, subset) = (self.instance / subsets, self.instance % subsets);
        order.sort_by_key(|place| (mix(identities[*place] ^ mix(round)), identities[*place]));
        order.into_iter().skip(subset as usize * self.size).take(self.size).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn places(members: u64, size: usize, instance: u64) -> Vec<usize> {
        let identities: Vec<u64> = (0..members).map(mix).collect();
        Subsetting { size, instance }.places(&identities)
    }

    #[test]
    fn lb_14_each_instance_has_so_many_and_they_are_always_the_same() {
        for (members, size, expected) in
            [(100, 20, 20), (10, 3, 3), (20, 20, 20), (5, 20, 5), (0, 20, 0), (7, 1, 1)]
        {
            for instance in 0..50 {
                let own = places(members, size, instance);
                assert_eq!(own.len(), expected, "{size} of {members}");
                assert_eq!(own.iter().collect::<HashSet<_>>().len(), expected);
                assert_eq!(own, places(members, size, instance));
            }
        }
    }

    /// Of SRE's figures: the load is even where rounds are whole, and nearly so otherwise.
    #[test]
    fn lb_14_all_instances_together_use_all_endpoints_alike() {
        for (members, size, instances, least, most) in [
            (100, 20, 100, 20, 20),
            (100, 20, 5, 1, 1),
            (12, 4, 9, 3, 3),
            (300, 30, 300, 30, 30),
            // one of ten is left over in each of 33 rounds, and 1 instance is the first of another
            (10, 3, 100, 27, 33),
            (10, 3, 10, 2, 4),
        ] {
            let mut used = vec![0; members as usize];
            for instance in 0..instances {
                places(members, size, instance).into_iter().for_each(|place| used[place] += 1);
            }
            let (fewest, many) = (used.iter().min().unwrap(), used.iter().max().unwrap());
            assert!(
                *fewest >= least && *many <= most,
                "{members}/{size} over {instances}: {fewest} to {many}"
            );
        }
    }

    #[test]
    fn lb_14_one_that_leaves_changes_at_most_one_of_each_instance() {
        let identities: Vec<u64> = (0..105).map(mix).collect();
        for gone in [0, 50, 104] {
            let fewer: Vec<u64> =
                identities.iter().copied().filter(|it| *it != identities[gone]).collect();
            for instance in 0..100 {
                let subsetting = Subsetting { size: 20, instance };
                let of = |all: &[u64]| -> HashSet<u64> {
                    subsetting.places(all).into_iter().map(|place| all[place]).collect()
                };
                let (before, after) = (of(&identities), of(&fewer));
                let changed = before.difference(&after).count();
                assert!(changed <= 1, "{changed} of instance {instance}");
            }
        }
    }
}
