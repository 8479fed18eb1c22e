//! Of two at random the one with fewer attempts in flight for its weight. With n equal members the
//! longest queue is O(log log n) above the mean, and a member that everybody believes to be idle is
//! not run over by all workers at once, as no two draw the same pair.

use super::draw::{Draw, has_fewer};
use super::{Algorithm, Candidate, Choice};

#[derive(Debug)]
pub struct TwoChoices(Draw);

impl TwoChoices {
    pub fn over(candidates: &[Candidate]) -> Self {
        TwoChoices(Draw::over(candidates))
    }
}

impl Algorithm for TwoChoices {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        self.0.better_of_two(choice, has_fewer)
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        super::least_requests::load(&choice.candidates[index])
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithm::Kind;
    use crate::algorithm::testing::{Bench, assert_shares};

    #[test]
    fn lb06_of_two_the_one_with_fewer_in_flight() {
        for (in_flight, picked) in
            [(&[3, 1][..], Some(1)), (&[1, 3], Some(0)), (&[0], Some(0)), (&[], None)]
        {
            let bench = Bench::new(&Kind::TwoChoices, &vec![1; in_flight.len()]);
            bench.in_flight(in_flight);
            for _ in 0..100 {
                assert_eq!(bench.pick(), picked, "{in_flight:?}");
            }
        }
    }

    #[test]
    fn lb06_the_most_loaded_of_many_is_just_above_the_mean() {
        let bench = Bench::new(&Kind::TwoChoices, &[1; 100]);
        let most = bench.hold(1000).into_iter().max().unwrap();
        assert!(most <= 14, "ln ln 100 is 1.5 above a mean of 10, not {most}");
        let random = Bench::new(&Kind::Random, &[1; 100]);
        assert!(random.hold(1000).into_iter().max().unwrap() > 14, "chance alone does worse");
    }

    #[test]
    fn lb06_weights_hold_under_load() {
        for weights in [&[1, 1][..], &[4, 1], &[1, 2, 3, 4, 5]] {
            let bench = Bench::new(&Kind::TwoChoices, weights);
            assert_shares(&bench.hold(3000), weights, 0.05);
        }
    }
}
