//! Smooth weighted round robin.
//!
//! nginx's rule: at every pick each member's credit grows by its weight; the largest credit wins
//! and pays the sum of all weights. 5:1:1 gives a a b a c a a, never five in a row. The sequence
//! repeats after the sum of the weights, so it is worked out once; picking is one atomic addition,
//! and the order is exact over all workers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::draw::weight_of;
use super::{Algorithm, Candidate, Choice};

/// Longest sequence that is worked out; weights are scaled down to fit.
const LONGEST: u64 = 1 << 16;

/// Steps that nginx's rule may take to work it out. What would take more is ordered by deadlines,
/// which is as smooth and differs in who of equals comes first.
const STEPS: u64 = 1 << 22;

#[derive(Debug)]
pub struct RoundRobin(Turns);

impl RoundRobin {
    pub fn over(candidates: &[Candidate]) -> Self {
        RoundRobin(Turns::over(candidates))
    }
}

impl Algorithm for RoundRobin {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        self.0.from(choice.turn()).find(|index| choice.is_open(*index))
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        weight_of(index, choice)
    }
}

/// The order in which candidates take turns, each as often as its weight says.
#[derive(Debug)]
pub struct Turns(Box<[u32]>);

impl Turns {
    pub fn over(candidates: &[Candidate]) -> Self {
        let weights: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
        Turns(sequence(&weights).into())
    }

    /// The candidates from the one whose turn it is on, once through the order.
    pub fn from(&self, turn: u64) -> impl Iterator<Item = usize> {
        let count = self.0.len();
        let start = if count == 0 { 0 } else { (turn % count as u64) as usize };
        let (before, after) = self.0.split_at(start);
        after.iter().chain(before).map(|index| *index as usize)
    }
}

fn sequence(weights: &[u32]) -> Vec<u32> {
    let weights = scaled(weights);
    let total: i64 = weights.iter().sum();
    if weights.iter().all(|weight| *weight == 1) {
        return (0..weights.len() as u32).collect();
    }
    match total as u64 * weights.len() as u64 > STEPS {
        false => by_credit(&weights, total),
        true => by_deadline(&weights, total),
    }
}

fn by_credit(weights: &[i64], total: i64) -> Vec<u32> {
    let mut credits = vec![0i64; weights.len()];
    let mut turns = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    for _ in 0..total {
        for (credit, weight) in credits.iter_mut().zip(weights) {
            *credit += weight;
        }
        // The first of equals, as nginx does.
        let mut best = 0;
        for (i, credit) in credits.iter().enumerate() {
            if *credit > credits[best] {
                best = i;
            }
        }
        credits[best] -= total;
        turns.push(best as u32);
    }
    turns
}

/// The k-th turn of a weight w is due at (k + ½) / w.
fn by_deadline(weights: &[i64], total: i64) -> Vec<u32> {
    // in parts of a round of 2^32 / w, which are whole numbers nearly enough
    let step = |weight: i64| (1u64 << 48) / weight as u64;
    let positive = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
    let mut due: BinaryHeap<Reverse<(u64, u32)>> =
        positive.map(|(index, weight)| Reverse((step(*weight) / 2, index as u32))).collect();
    let mut turns = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    for _ in 0..total {
        let Some(Reverse((at, index))) = due.pop() else { break };
        turns.push(index);
        due.push(Reverse((at + step(weights[index as usize]), index)));
    }
    turns
}

/// The weights divided by what they have in common, then by what makes their sum fit.
fn scaled(weights: &[u32]) -> Vec<i64> {
    let common = weights.iter().fold(0u32, |a, b| gcd(a, *b)).max(1);
    let sum: u64 = weights.iter().map(|w| u64::from(w / common)).sum();
    let shrink = sum.div_ceil(LONGEST).max(1);
    weights
        .iter()
        .map(|w| u64::from(w / common))
        .map(|w| if w == 0 { 0 } else { (w / shrink).max(1) as i64 })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Kind;
    use crate::algorithm::testing::Bench;

    #[test]
    fn lb04_the_order_is_smooth_and_exact() {
        for (weights, expected) in [
            (&[5, 1, 1][..], "aabacaaaabacaa"),
            (&[1, 1, 1, 1], "abcdabcd"),
            (&[10, 10], "abab"),
            (&[3, 2], "ababaaba"),
            (&[0, 1], "bbbb"),
            (&[0], ""),
            (&[], ""),
        ] {
            let bench = Bench::new(&Kind::RoundRobin, weights);
            let picks = if expected.is_empty() { 3 } else { expected.len() };
            assert_eq!(bench.picks(picks), expected, "{weights:?}");
        }
    }

    #[test]
    fn lb04_shares_are_exact_over_a_whole_round() {
        let bench = Bench::new(&Kind::RoundRobin, &[7, 3, 11, 1]);
        assert_eq!(bench.shares(22), [7, 3, 11, 1]);
    }

    #[test]
    fn who_is_tried_or_full_is_passed_over() {
        let bench = Bench::new(&Kind::RoundRobin, &[1, 1, 1]);
        bench.tried(&[1]);
        assert_eq!(bench.picks(6), "accacc");
        bench.tried(&[]);
        bench.ceiling(1);
        bench.in_flight(&[1, 0, 1]);
        assert_eq!(bench.picks(3), "bbb");
    }

    #[test]
    fn huge_weights_are_scaled_and_none_is_lost() {
        let turns = sequence(&[1_000_000_007, 1, 500_000_003]);
        assert!(turns.len() as u64 <= LONGEST + 3);
        assert!((0..3).all(|member| turns.contains(&member)));
    }

    #[test]
    fn many_members_of_odd_weights_are_ordered_in_a_moment() {
        let mut weights = vec![1000; 1000];
        weights[7] = 370;
        let start = std::time::Instant::now();
        let turns = sequence(&weights);
        // where it is not compiled for speed
        assert!(start.elapsed().as_secs() < 5);
        let count = |member| turns.iter().filter(|turn| **turn == member).count();
        assert_eq!((count(6), count(7)), (50, 18));
        let positions: Vec<usize> =
            turns.iter().enumerate().filter(|(_, turn)| **turn == 6).map(|(at, _)| at).collect();
        let gaps = positions.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| (900..1100).contains(&gap)), "it is smooth");
    }

    #[test]
    fn many_threads_together_keep_the_order_exact() {
        let bench = Bench::new(&Kind::RoundRobin, &[1, 1, 1, 1]);
        let counts: Vec<_> = (0..4).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let member = bench.pick().unwrap();
                        counts[member].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        let count =
            |n: &std::sync::atomic::AtomicUsize| n.load(std::sync::atomic::Ordering::Relaxed);
        assert!(counts.iter().all(|n| count(n) == 1000));
    }
}
