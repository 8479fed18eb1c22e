//! What consistent hashes have in common: how much a candidate may have, and who comes next where a
//! place is taken.

use super::hash::mix;
use super::{Candidate, Choice, cheapest, draw};

/// How often a place that is taken is answered with another before all are looked at.
const JUMPS: u64 = 32;

/// Up to this many candidates, what they have in flight is added up for each question.
const FEW: usize = 64;

/// Bounded loads: how much a candidate may have in flight.
#[derive(Debug)]
pub struct Bound {
    /// The factor, for each unit of weight.
    by_weight: f64,
}

impl Bound {
    pub fn over(candidates: &[Candidate], factor: Option<f64>) -> Option<Self> {
        let weights: f64 = candidates.iter().map(|one| f64::from(one.weight)).sum();
        factor.map(|factor| Bound { by_weight: factor.max(1.0) / weights })
    }

    /// Whether this candidate may have one more, where `total` is in flight with the one that is
    /// being placed: at most ⌈factor × total × its part of the weights⌉ (arXiv 1608.01350). Below
    /// the bound before it is rounded up is below it afterwards, as what is in flight is a whole
    /// number.
    fn takes(&self, candidate: &Candidate, total: usize) -> bool {
        let most = self.by_weight * f64::from(candidate.weight) * total as f64;
        (candidate.in_flight() as f64) < most
    }
}

/// The candidate that `place` gives for the hash. Where that is not open or has its bound, the hash
/// jumps, so that the keys of one that is gone or busy spread over all others (arXiv 1908.08762).
pub fn pick(
    choice: &Choice<'_>,
    bound: Option<&Bound>,
    place: impl Fn(u64) -> Option<usize>,
) -> Option<usize> {
    let total = bound.map(|_| 1 + total(choice));
    let fits = |index: usize| match (bound, total) {
        (Some(bound), Some(total)) => bound.takes(&choice.candidates[index], total),
        _ => true,
    };
    let mut hash = choice.hash;
    for jump in 0..JUMPS {
        let index = place(hash)?;
        if choice.is_open(index) && fits(index) {
            return Some(index);
        }
        hash = mix(choice.hash ^ jump);
    }
    // somebody is always under the bound, as not all can have more than the mean
    cheapest(choice, draw::relative_in_flight)
}

fn total(choice: &Choice<'_>) -> usize {
    match choice.in_flight {
        Some(counted) if choice.candidates.len() > FEW => counted,
        _ => choice.candidates.iter().map(Candidate::in_flight).sum(),
    }
}
