//! The parts of Transom that tests and fuzzing reach without starting it.

pub mod admin;
pub mod observe;
