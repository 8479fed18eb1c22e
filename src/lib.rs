//! The parts of Transom that tests and fuzzing reach without starting it.

pub mod build;
pub mod config;
pub mod explain;
pub mod load;
pub mod materials;
