//! TLS 1.3 and 1.2 over any byte stream, by rustls with aws-lc-rs.
//!
//! A [`session::Session`] is one established connection, either side of it. [`server`] accepts,
//! [`client`] connects, [`sniff`] only looks; what they are built from is bytes, never files. QUIC has its own
//! handshake and does not pass here.

pub mod certificates;
pub mod client;
mod hello;
pub mod server;
pub mod session;
pub mod sniff;
mod socket;
pub mod tickets;
mod turns;

#[cfg(test)]
pub(crate) mod testing;
