//! The upstream side: connections to endpoints and exchanges over them.

pub mod h1;
pub mod pool;
