//! Draws candidates at random in proportion to their weights, in constant time.

use super::hash::mix;
use super::{Candidate, Choice, cheapest};

/// Walker's alias method in Vose's form: each candidate has a column of the same height; what it
/// does not fill itself belongs to one other. Where all weights are equal there are no columns.
#[derive(Debug)]
pub struct Draw {
    count: u64,
    /// How much of its column a candidate fills, of 2^32, and who has the rest.
    columns: Box<[(u32, u32)]>,
}

impl Draw {
    pub fn over(candidates: &[Candidate]) -> Self {
        let weights: Vec<u64> = candidates.iter().map(|one| u64::from(one.weight)).collect();
        let count = weights.len() as u64;
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Draw { count, columns: Box::default() };
        }
        let total: u64 = weights.iter().sum();
        // in units in which a full column is `total`
        let mut left: Vec<u64> = weights.iter().map(|weight| weight * count).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..left.len()).partition(|index| left[*index] < total);
        let mut columns = vec![(u32::MAX, 0); left.len()];
        while let (Some(less), Some(&more)) = (small.pop(), large.last()) {
            let filled = (u128::from(left[less]) << 32) / u128::from(total);
            columns[less] = (filled as u32, more as u32);
            left[more] -= total - left[less];
            if left[more] < total {
                large.pop();
                small.push(more);
            }
        }
        for full in small.into_iter().chain(large) {
            columns[full] = (u32::MAX, full as u32);
        }
        Draw { count, columns: columns.into() }
    }

    /// One candidate for 64 random bits. There must be at least one.
    pub fn one(&self, random: u64) -> usize {
        let column = ((random >> 32) * self.count) >> 32;
        match self.columns.get(column as usize) {
            Some((filled, other)) if random as u32 > *filled => *other as usize,
            _ => column as usize,
        }
    }

    /// Two candidates that differ wherever there are two.
    pub fn two(&self, random: u64) -> (usize, usize) {
        let (first, again) = (self.one(random), mix(random));
        let second = self.one(again);
        if second != first || self.count < 2 {
            return (first, second);
        }
        // the upper bits have chosen `second`, so the lower ones choose how far it moves
        let step = 1 + (((again & 0xffff_ffff) * (self.count - 1)) >> 32) as usize;
        (first, (first + step) % self.count as usize)
    }

    /// The better of two at random; where neither is open, of all that are the one with the fewest
    /// attempts in flight.
    pub fn better_of_two(
        &self,
        choice: &Choice<'_>,
        is_better: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Option<usize> {
        if self.count < 2 {
            return (self.count == 1 && choice.is_open(0)).then_some(0);
        }
        let (a, b) = self.two(choice.draw());
        match (choice.is_open(a), choice.is_open(b)) {
            (true, true) => {
                let better = is_better(&choice.candidates[b], &choice.candidates[a]);
                Some(if better { b } else { a })
            }
            (true, false) => Some(a),
            (false, true) => Some(b),
            (false, false) => cheapest(choice, relative_in_flight),
        }
    }
}

/// What each of two would have in flight with one more, as it would be at weight 1: to be compared
/// with each other and with nothing else, as both are multiplied by what saves a division.
pub fn with_one_more(a: &Candidate, b: &Candidate) -> (f64, f64) {
    let (weight, other) = (f64::from(a.weight), f64::from(b.weight));
    let whole = f64::from(crate::state::WHOLE);
    let expected = |one: &Candidate, weight: f64| (one.in_flight() as f64) * whole + weight;
    (expected(a, weight) * other, expected(b, other) * weight)
}

/// Whether `a` has fewer attempts in flight for its weight.
pub fn has_fewer(a: &Candidate, b: &Candidate) -> bool {
    // 32 bits of each, so that no product overflows
    let crossed = |one: &Candidate, other: &Candidate| {
        u64::from(one.in_flight() as u32) * u64::from(other.weight)
    };
    crossed(a, b) < crossed(b, a)
}

/// Attempts in flight as they would be at weight 1.
pub fn relative_in_flight(candidate: &Candidate) -> f64 {
    candidate.in_flight() as f64 * f64::from(crate::state::WHOLE) / f64::from(candidate.weight)
}

/// Shows nothing but the weight.
pub(super) fn weight_of(index: usize, choice: &Choice<'_>) -> String {
    format!("weight {}", super::weight(&choice.candidates[index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::testing::candidates;

    #[test]
    fn draws_are_in_proportion_to_weights() {
        for weights in [&[1, 1, 1, 1][..], &[5, 1, 1], &[1, 99], &[7, 3, 11, 1], &[1]] {
            let draw = Draw::over(&candidates(weights));
            let mut counts = vec![0u32; weights.len()];
            for n in 0..100_000u64 {
                counts[draw.one(mix(n))] += 1;
            }
            let total: u32 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                let expected = 100_000.0 * f64::from(*weight) / f64::from(total);
                // four standard deviations of a binomial are less than this
                let error = (f64::from(*count) - expected).abs();
                assert!(error <= 4.0 * expected.sqrt() + 1.0, "{weights:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn two_differ_wherever_there_are_two() {
        for weights in [&[1, 1][..], &[1, 1000], &[3, 1, 1]] {
            let draw = Draw::over(&candidates(weights));
            for n in 0..10_000u64 {
                let (a, b) = draw.two(mix(n));
                assert!(a != b && a < weights.len() && b < weights.len());
            }
        }
        assert_eq!(Draw::over(&candidates(&[1])).two(7), (0, 0));
    }
}
