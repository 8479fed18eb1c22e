//! Level 2: chooses a healthy endpoint and keeps the set of endpoints true.

pub mod affinity;
pub mod algorithm;
pub mod budget;
pub mod discovery;
pub mod guard;
pub mod health;
pub mod histogram;
pub mod load;
pub mod log;
pub mod members;
pub mod pool;
pub mod random;
pub mod recent;
pub mod relay;
pub mod scale;
pub mod split;
pub mod state;

pub use pool::Pool;
pub use split::Split;
