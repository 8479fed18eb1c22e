//! Smooth weighted round robin.
//!
//! nginx's rule: at every pick each member's credit grows by its weight; the largest credit wins
//! and pays the sum of all weights. 5:1:1 gives a a b a c a a, never five in a row. The sequence
//! repeats after the sum of the weights, so it is worked out once; picking is one atomic addition,
//! and the order is exact over all workers.

use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// Longest sequence that is worked out; weights are scaled down to fit.
const LONGEST: u64 = 1 << 16;

/// The order in which members take turns.
#[derive(Debug)]
pub struct RoundRobin {
    turns: Vec<u32>,
    next: CachePadded<AtomicUsize>,
}

impl RoundRobin {
    /// An order for members with these weights, numbered in their order. Weight 0 is never picked.
    pub fn new(weights: &[u32]) -> Self {
        RoundRobin { turns: sequence(weights), next: CachePadded::default() }
    }

    /// Goes on where another order stands, for a set of members that has changed.
    pub fn following(self, previous: &RoundRobin) -> Self {
        self.next.store(previous.next.load(Ordering::Relaxed), Ordering::Relaxed);
        self
    }

    /// The members from the one whose turn it is on, each as often as it stands in the order.
    /// Nothing where no member has a weight.
    pub fn pick(&self) -> impl Iterator<Item = usize> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let n = self.turns.len();
        (0..n).map(move |i| self.turns[(start.wrapping_add(i)) % n] as usize)
    }
}

fn sequence(weights: &[u32]) -> Vec<u32> {
    let weights = scaled(weights);
    let total: i64 = weights.iter().sum();
    let mut credits = vec![0i64; weights.len()];
    let mut turns = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    for _ in 0..total {
        for (credit, weight) in credits.iter_mut().zip(&weights) {
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

    fn order(weights: &[u32], picks: usize) -> String {
        let robin = RoundRobin::new(weights);
        (0..picks)
            .filter_map(|_| robin.pick().next())
            .map(|member| (b'a' + member as u8) as char)
            .collect()
    }

    #[test]
    fn the_order_is_smooth_and_exact() {
        for (weights, expected) in [
            (&[5, 1, 1][..], "aabacaaaabacaa"),
            (&[1, 1, 1, 1], "abcdabcd"),
            (&[10, 10], "abab"),
            (&[3, 2], "ababaaba"),
            (&[0, 1], "bbbb"),
            (&[0], ""),
            (&[], ""),
        ] {
            let picks = if expected.is_empty() { 3 } else { expected.len() };
            assert_eq!(order(weights, picks), expected, "{weights:?}");
        }
    }

    #[test]
    fn shares_are_exact_over_a_whole_round() {
        let weights = [7, 3, 11, 1];
        let order = order(&weights, 22);
        for (i, weight) in weights.iter().enumerate() {
            let picked = order.bytes().filter(|b| *b == b'a' + i as u8).count();
            assert_eq!(picked, *weight as usize);
        }
    }

    #[test]
    fn huge_weights_are_scaled_and_none_is_lost() {
        let robin = RoundRobin::new(&[1_000_000_007, 1, 500_000_003]);
        assert!(robin.turns.len() as u64 <= LONGEST + 3);
        assert!((0..3).all(|member| robin.turns.contains(&member)));
    }

    #[test]
    fn many_threads_together_keep_the_order_exact() {
        let robin = RoundRobin::new(&[1, 1, 1, 1]);
        let counts: Vec<_> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let member = robin.pick().next().unwrap();
                        counts[member].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1000));
    }
}
