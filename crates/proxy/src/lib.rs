//! Level 1: HTTP exchanges.

pub mod normalize;
