//! Whether members are well: asked by probes, said by themselves, seen in their traffic.

pub mod agent;
pub mod machine;
pub mod passive;
pub mod probe;
pub mod slow_start;
pub mod statistics;
mod talk;
pub mod watch;

pub use watch::{Care, Station, watch};
