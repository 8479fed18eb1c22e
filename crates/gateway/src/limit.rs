//! How much: what policies that limit have in common.
//!
//! [`counting`] is the arithmetic, on one word for each key; [`table`] keeps those words for many keys
//! in memory of a fixed size; [`by`] says whose request it is; [`told`] tells clients how they stand.

pub mod by;
pub mod counting;
pub mod flight;
pub mod shared;
pub mod table;
pub mod told;
