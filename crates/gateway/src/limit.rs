//! How much: what policies that limit have in common.
//!
//! [`counting`] is the arithmetic, on one word for each key; [`table`] keeps those words for many keys
//! in memory of a fixed size; [`by`] says whose request it is; [`told`] tells clients how they stand.
//! Of quotas [`calendar`] knows the periods, [`ledger`] keeps what was used in them, and [`meter`] says
//! to an operator who has used what.

pub mod by;
pub mod calendar;
pub mod cost;
pub mod counting;
pub mod flight;
pub mod ledger;
pub mod meter;
pub mod shared;
pub mod table;
pub mod told;
