//! The hash behind the consistent hashes: the same on every machine and in every version, so that
//! several Transoms in front of the same members agree.

use super::{Candidate, Choice, cheapest, draw};

/// Scatters a number (the end of SplitMix64).
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Of some bytes: eight at a time are folded by a multiplication of 128 bits. It withstands no
/// attacker who wants collisions; who can choose keys can choose their member anyway.
pub fn of(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * 0xa076_1d64_78bd_642f_u128;
        (product as u64) ^ ((product >> 64) as u64)
    };
    let mut hash = mix(bytes.len() as u64);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        hash = fold(hash, word);
    }
    let mut rest = [0; 8];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    mix(fold(hash, u64::from_le_bytes(rest)))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_for_ever() {
        // changing these moves the keys of everybody who upgrades one machine after the other
        for (bytes, expected) in PINNED {
            assert_eq!(of(bytes), *expected, "{}: {:#x}", bytes.escape_ascii(), of(bytes));
        }
    }

    const PINNED: &[(&[u8], u64)] = &[
        (b"", 0xd569_0d42_4e83_b014),
        (b"a", 0x9627_f567_74fc_7510),
        (b"12345678", 0x17f0_235b_3e9e_9fff),
        (b"a longer key", 0xd318_a9a0_210c_0a2d),
    ];

    #[test]
    fn similar_keys_are_scattered() {
        let mut buckets = [0u32; 64];
        for n in 0..64_000 {
            buckets[(of(format!("user-{n}").as_bytes()) >> 58) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (850..1150).contains(count)), "{buckets:?}");
        assert_ne!(of(b"a\0"), of(b"a"), "a zero byte counts");
    }
}
