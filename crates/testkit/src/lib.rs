//! What tests over real sockets are made of: a scripted [`Endpoint`], a raw [`Client`], a running
//! [`Transom`] between them, and the questions of [`check`] that hold after every test.
//!
//! Everything here blocks and uses plain threads, and nothing of it shares code with the product:
//! a fault in the product's own reader must not hide itself. ([`http2`] speaks through the library
//! that the product uses as well; [`frames`] does not.) Nothing waits for a time to pass where
//! it can wait for a condition.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

pub mod certificate;
pub mod check;
pub mod client;
pub mod endpoint;
pub mod endpoint_h2;
pub mod frames;
pub mod http2;
pub mod load;
pub mod message;
pub mod server;
pub mod transom;
pub mod unix;

use std::time::{Duration, Instant};

pub use client::Client;
pub use endpoint::{Endpoint, Line};
pub use endpoint_h2::{H2Endpoint, H2Exchange, Manners};
pub use frames::Frames;
pub use http2::Http2;
pub use message::{Received, Response};
pub use transom::{Port, Transom};

/// How long anything that must happen may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
