//! Level 1: HTTP exchanges.

pub mod normalize;
pub mod route;
