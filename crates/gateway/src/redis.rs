//! Redis and Valkey, as policies speak to them: over one connection, from the background thread.
//!
//! [`resp`] is the words, [`link`] a connection, [`lasting`] opens it anew whenever it ends, [`asking`] brings
//! the commands of requests to it and the replies back.

pub mod asking;
pub mod lasting;
pub mod link;
pub mod resp;
