//! The hash behind the consistent hashes: the same on every machine and in every version, so that
//! several Transoms in front of the same members agree.

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
