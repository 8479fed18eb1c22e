//! Consistent hash on a ring: each member has 160 points for its weight (ketama, nginx's `hash …
//! consistent`), and a key belongs to the first point from its hash on. When a member goes, only its
//! keys move, and they spread over all others. Shares are even within some 8 %; where that matters
//! more than who moves, use [`maglev`](super::maglev).

use super::consistent::{self, Bound};
use super::hash::mix;
use super::{Algorithm, Candidate, Choice};
use crate::state::WHOLE;

/// Points for the weight 1.
pub const POINTS: u64 = 160;

/// Points of all members together, beyond which each gets fewer.
const MOST: u64 = 1 << 20;

/// Points for one entry of the index, about: they and their owners fill half a cache line.
const PER_START: usize = 4;

pub struct Ring {
    /// Ascending: where a point lies, in the upper half of a hash, and whose it is.
    points: Box<[(u32, u32)]>,
    /// For the upper bits of a hash the first point that may be meant. Half a cache line of points
    /// is then looked through; a finer index would itself not stay in the cache.
    starts: Box<[u32]>,
    shift: u32,
    bound: Option<Bound>,
}

impl Ring {
    pub fn over(candidates: &[Candidate], bound: Option<f64>) -> Self {
        let wanted =
            |candidate: &Candidate| u64::from(candidate.weight) * POINTS / u64::from(WHOLE);
        let shrink = candidates.iter().map(wanted).sum::<u64>().div_ceil(MOST).max(1);
        let mut points: Vec<(u32, u32)> = Vec::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let count = (wanted(candidate) / shrink).max(1);
            let point = |n: u64| (upper(mix(candidate.identity ^ mix(n))), index as u32);
            points.extend((0..count).map(point));
        }
        points.sort_unstable();
        let bits = (points.len() / PER_START).max(2).next_power_of_two().trailing_zeros();
        let shift = u32::BITS - bits;
        let first = |bucket: u32| points.partition_point(|(at, _)| *at < bucket << shift) as u32;
        let starts = (0..1 << bits).map(first).collect();
        let bound = Bound::over(candidates, bound);
        Ring { points: points.into(), starts, shift, bound }
    }

    fn owner(&self, hash: u64) -> Option<usize> {
        let hash = upper(hash);
        let start = *self.starts.get((hash >> self.shift) as usize)? as usize;
        let from = self.points[start..].iter().find(|(at, _)| *at >= hash);
        from.or(self.points.first()).map(|(_, index)| *index as usize)
    }
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Algorithm for Ring {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        consistent::pick(choice, self.bound.as_ref(), |hash| self.owner(hash))
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        let mut own = 0u64;
        let mut before = self.points.last().map_or(0, |(at, _)| *at);
        for (at, owner) in &self.points {
            if *owner as usize == index {
                own += u64::from(at.wrapping_sub(before));
            }
            before = *at;
        }
        let share = own as f64 / f64::from(u32::MAX) * 100.0;
        let in_flight = choice.candidates[index].in_flight();
        format!("{share:.1} % of the keys, {in_flight} in flight")
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithm::testing::{Bench, hashing, moved};
    use crate::algorithm::{Hashing, Kind};

    fn ring() -> Kind {
        Kind::Ring(hashing(None))
    }

    #[test]
    fn lb10_the_owners_of_keys_are_the_same_for_ever() {
        // changing these moves the keys of everybody who upgrades one machine after the other
        for (weights, expected) in [
            (&[1; 5][..], "bbecaeaeeeaabeabecdbebbcdceebaaeebcbaaad"),
            (&[1, 0, 3, 2, 1], "dcecdcceecdcdeccccddeddcdccedaaeeccdaaad"),
        ] {
            let bench = Bench::new(&ring(), weights);
            let owner = |key| char::from(b'a' + bench.pick_for(key).unwrap() as u8);
            assert_eq!((0..40).map(owner).collect::<String>(), expected, "{weights:?}");
        }
    }

    #[test]
    fn lb10_a_key_stays_where_it_is() {
        let bench = Bench::new(&ring(), &[1; 10]);
        for key in 0..1000 {
            assert_eq!(bench.pick_for(key), bench.pick_for(key));
        }
    }

    #[test]
    fn lb10_u12_when_one_of_ten_goes_only_its_keys_move() {
        let whole = Bench::new(&ring(), &[1; 10]);
        for gone in 0..10 {
            let mut weights = [1; 10];
            weights[gone] = 0;
            let moved = moved(&whole, &Bench::new(&ring(), &weights), 20_000);
            assert!(moved.share() <= 0.12, "{} of the keys of {gone} moved", moved.share());
            assert_eq!(moved.not_from(gone), 0);
            assert!(moved.targets() >= 8, "they spread over the others");
        }
    }

    #[test]
    fn lb10_shares_follow_weights() {
        let bench = Bench::new(&ring(), &[1, 2, 4]);
        let shares = bench.shares_of_keys(70_000);
        for (share, expected) in shares.iter().zip([10_000.0, 20_000.0, 40_000.0]) {
            assert!((*share as f64 / expected - 1.0).abs() < 0.15, "{shares:?}");
        }
    }

    #[test]
    fn lb10_keys_of_one_that_was_tried_spread() {
        let bench = Bench::new(&ring(), &[1; 10]);
        bench.tried(&[3]);
        let shares = bench.shares_of_keys(10_000);
        assert_eq!(shares[3], 0);
        assert!(shares.iter().filter(|share| **share > 700).count() == 9, "{shares:?}");
    }

    #[test]
    fn lb11_bounded_load_is_never_over_its_factor() {
        for factor in [1.0, 1.25, 2.0] {
            let kind = Kind::Ring(Hashing { bound: Some(factor), ..hashing(None) });
            crate::algorithm::testing::assert_bounded(&kind, factor);
        }
    }
}
