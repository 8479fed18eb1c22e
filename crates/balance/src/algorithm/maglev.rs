//! Consistent hash by a table (Maglev, NSDI 2016, weighted as in Envoy): 65,537 places, filled by
//! the members in turn, each in an order of its own. A key belongs to the place of its hash: one
//! look, and shares that are even within 1 %. When a member goes, a few keys of others move with its
//! own; where none may, use [`ring`](super::ring).

use super::consistent::{self, Bound};
use super::hash::mix;
use super::{Algorithm, Candidate, Choice};

/// Places of the table: a prime, as Envoy has it. More members than this cannot all have one.
pub const PLACES: usize = 65_537;

/// A place that nobody has taken yet.
const FREE: u32 = u32::MAX;

pub struct Maglev {
    places: Box<[u32]>,
    bound: Option<Bound>,
}

/// A member on its way through the table.
struct Turn {
    at: usize,
    skip: usize,
    weight: u64,
    /// What its weight must add up to before it takes another place.
    target: u64,
}

impl Maglev {
    pub fn over(candidates: &[Candidate], bound: Option<f64>) -> Self {
        let bound = Bound::over(candidates, bound);
        let heaviest = candidates.iter().map(|one| u64::from(one.weight)).max();
        let Some(heaviest) = heaviest else {
            return Maglev { places: Box::default(), bound };
        };
        let turn = |candidate: &Candidate| Turn {
            at: (candidate.identity % PLACES as u64) as usize,
            skip: (mix(candidate.identity) % (PLACES as u64 - 1)) as usize + 1,
            weight: u64::from(candidate.weight),
            target: 0,
        };
        let mut turns: Vec<Turn> = candidates.iter().map(turn).collect();
        let mut places = vec![FREE; PLACES];
        let mut free = PLACES;
        for round in 1.. {
            for (index, turn) in turns.iter_mut().enumerate() {
                if free == 0 {
                    return Maglev { places: places.into(), bound };
                }
                if round * turn.weight < turn.target {
                    continue;
                }
                turn.target += heaviest;
                // some place is free, and the order of each goes through all
                while places[turn.at] != FREE {
                    turn.advance();
                }
                places[turn.at] = index as u32;
                turn.advance();
                free -= 1;
            }
        }
        Maglev { places: places.into(), bound }
    }
}

impl Turn {
    fn advance(&mut self) {
        self.at += self.skip;
        if self.at >= PLACES {
            self.at -= PLACES;
        }
    }
}

impl Algorithm for Maglev {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        consistent::pick(choice, self.bound.as_ref(), |hash| {
            // the upper bits of the product are spread evenly, without a division
            let place = (u128::from(hash) * self.places.len() as u128) >> 64;
            self.places.get(place as usize).map(|index| *index as usize)
        })
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        let own = self.places.iter().filter(|owner| **owner as usize == index).count();
        let share = own as f64 / self.places.len().max(1) as f64 * 100.0;
        let in_flight = choice.candidates[index].in_flight();
        format!("{share:.1} % of the keys, {in_flight} in flight")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::testing::{Bench, candidates, hashing, moved};
    use crate::algorithm::{Hashing, Kind};

    fn maglev() -> Kind {
        Kind::Maglev(hashing(None))
    }

    #[test]
    fn lb10_the_owners_of_keys_are_the_same_for_ever() {
        // changing these moves the keys of everybody who upgrades one machine after the other
        for (weights, expected) in [
            (&[1; 5][..], "bbdabceaacbbdeaecbedcceacdbcbecccdccadcd"),
            (&[1, 0, 3, 2, 1], "dccadcecacdddececcedcceacddccecccdccadcd"),
        ] {
            let bench = Bench::new(&maglev(), weights);
            let owner = |key| char::from(b'a' + bench.pick_for(key).unwrap() as u8);
            assert_eq!((0..40).map(owner).collect::<String>(), expected, "{weights:?}");
        }
    }

    #[test]
    fn lb10_shares_are_even_within_a_twentieth() {
        for count in [2, 3, 10, 100] {
            let bench = Bench::new(&maglev(), &vec![1; count]);
            let keys = 20_000 * count;
            for share in bench.shares_of_keys(keys) {
                let off = share as f64 * count as f64 / keys as f64 - 1.0;
                assert!(off.abs() < 0.05, "{count} members: {off:+.3}");
            }
        }
    }

    #[test]
    fn lb10_places_follow_weights() {
        for weights in [&[1, 2, 4][..], &[1, 1, 1, 7], &[5], &[1, 100]] {
            let built = Maglev::over(&candidates(weights), None);
            let total: u32 = weights.iter().sum();
            for (index, weight) in weights.iter().enumerate() {
                let own = built.places.iter().filter(|owner| **owner as usize == index).count();
                let expected = PLACES as f64 * f64::from(*weight) / f64::from(total);
                assert!((own as f64 / expected - 1.0).abs() < 0.05, "{weights:?} {index}: {own}");
            }
        }
    }

    #[test]
    fn lb10_u12_when_one_of_ten_goes_hardly_more_than_its_keys_move() {
        let whole = Bench::new(&maglev(), &[1; 10]);
        for gone in 0..10 {
            let mut weights = [1; 10];
            weights[gone] = 0;
            let moved = moved(&whole, &Bench::new(&maglev(), &weights), 20_000);
            assert!(moved.share() <= 0.15, "{} moved without {gone}", moved.share());
        }
    }

    #[test]
    fn lb11_bounded_load_is_never_over_its_factor() {
        for factor in [1.0, 1.25, 2.0] {
            let kind = Kind::Maglev(Hashing { bound: Some(factor), ..hashing(None) });
            crate::algorithm::testing::assert_bounded(&kind, factor);
        }
    }

    #[test]
    fn nobody_to_choose_from_is_nobody() {
        assert_eq!(Bench::new(&maglev(), &[]).pick_for(1), None);
    }
}
