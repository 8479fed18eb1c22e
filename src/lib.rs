//! The parts of Transom that tests and fuzzing reach without starting it.

pub mod admin;
pub mod build;
pub mod config;
pub mod load;
pub mod materials;
pub mod observe;
