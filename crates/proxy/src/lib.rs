//! Level 1: carries one HTTP exchange from a connection through a route to an action and back.
//!
//! Read in the order of a request: [`serve`] takes it from the connection, [`normalize`] gives
//! path and host their one form, [`route`] finds what serves it, [`chain`] runs the policies
//! around the [`action`], which may ask a [`destination`] and a [`client`]; the response comes back
//! the same way, and [`record`] tells what became of it.

pub mod action;
pub mod announce;
pub mod answer;
pub mod body;
pub mod chain;
pub mod client;
pub mod codec;
pub mod destination;
pub mod exchange;
pub mod fault;
pub mod fields;
pub mod headers;
pub mod local;
pub mod message;
pub mod normalize;
pub mod patience;
pub mod peer;
pub mod policy;
pub mod record;
pub mod route;
pub mod serve;
pub mod site;
pub mod stage;
pub mod upgrade;
pub mod variables;
pub mod writer;

#[cfg(test)]
mod testing;
