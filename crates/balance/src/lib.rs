//! Level 2: chooses a healthy endpoint and keeps the set of endpoints true.

pub mod algorithm;
pub mod load;
pub mod members;
pub mod pool;
pub mod state;

pub use pool::Pool;
