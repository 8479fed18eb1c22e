//! Redis and Valkey, as policies speak to them: over one connection, from the background thread.
//!
//! [`resp`] is the words, [`link`] a connection, [`asking`] brings the commands of requests to it and
//! the replies back.

pub mod asking;
pub mod link;
pub mod resp;
