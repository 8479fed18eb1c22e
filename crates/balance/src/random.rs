//! Numbers that spread things; never for secrets.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// A sequence of its own for whoever holds it (SplitMix64).
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Default for Random {
    fn default() -> Self {
        Random(AtomicU64::new(RandomState::new().build_hasher().finish()))
    }
}

impl Random {
    /// From 0 up to 1.
    pub fn unit(&self) -> f64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
