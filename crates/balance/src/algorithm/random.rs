//! By chance, in proportion to weights: nothing to keep and nothing to agree on. The longest queue
//! is longer than with two choices; what speaks for it is that it cannot be steered.

use super::draw::{Draw, weight_of};
use super::{Algorithm, Candidate, Choice};

#[derive(Debug)]
pub struct Random(Draw);

impl Random {
    pub fn over(candidates: &[Candidate]) -> Self {
        Random(Draw::over(candidates))
    }
}

/// How often chance is asked again for somebody who is open.
const AGAIN: usize = 16;

impl Algorithm for Random {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        let count = choice.candidates.len();
        if count == 0 {
            return None;
        }
        let drawn = self.0.one(choice.draw());
        if choice.is_open(drawn) {
            return Some(drawn);
        }
        // somebody else by chance; one after the other if chance does not help
        let again = (0..AGAIN).map(|_| self.0.one(choice.draw()));
        again.chain((1..count).map(|step| (drawn + step) % count)).find(|one| choice.is_open(*one))
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        weight_of(index, choice)
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithm::Kind;
    use crate::algorithm::testing::{Bench, assert_shares};

    #[test]
    fn lb06_chance_is_in_proportion_to_weights() {
        for weights in [&[1, 1, 1][..], &[3, 1], &[1, 0, 2]] {
            let bench = Bench::new(&Kind::Random, weights);
            assert_shares(&bench.shares(100_000), weights, 0.03);
        }
    }

    #[test]
    fn who_is_tried_or_full_is_left_out() {
        let bench = Bench::new(&Kind::Random, &[8, 1, 1]);
        bench.tried(&[0]);
        assert_shares(&bench.shares(20_000), &[0, 1, 1], 0.05);
        bench.tried(&[0, 1, 2]);
        assert_eq!(bench.pick(), None);
    }
}
