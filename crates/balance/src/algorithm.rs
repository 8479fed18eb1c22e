//! How a pool chooses among its members: one file per algorithm.

pub mod round_robin;
