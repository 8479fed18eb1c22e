//! Servers on demand: a pool has as many as its requests need, from none on.
//!
//! ```text
//! Scaled::lease ─ nobody there ─▶ hold ─▶ wake ─▶ Scaler ─ decide ─▶ driver starts or stops
//!               ◀──────── ready ◀──────── roster ◀── servers that are there
//! ```
//!
//! A request that finds no server is held, in a bounded queue and with a deadline, while the first
//! one starts. Before a server is stopped it is drained. Every decision has a reason, which is told
//! to the log and kept for operators.

pub mod command;
pub mod decide;
pub mod docker;
mod hold;
mod scaler;
pub mod webhook;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use transom_settings::EndpointAddress;

pub use self::hold::Scaled;
pub use self::scaler::{ScaleView, Scaler};
use crate::discovery::Reach;

/// How requests are held while there is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How many, at most.
    pub most: usize,
    /// And for how long.
    pub timeout: Duration,
}

/// How long a server may take for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// From its start until it accepts connections.
    pub start: Duration,
    /// Until its requests have ended, before it is stopped.
    pub drain: Duration,
    /// Until it has ended by itself, before it is killed.
    pub stop: Duration,
}

pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Starts servers, or asks somebody else to.
pub enum Driver {
    Own(Box<dyn Start>),
    /// Told how many there shall be. Who is there comes from the pool's sources.
    Asked(webhook::Webhook),
}

/// Starts servers.
pub trait Start: Send + Sync {
    /// Starts one. Whether it accepts connections yet is looked for afterwards.
    fn start<'a>(&'a self, reach: &'a Reach) -> Local<'a, Result<Box<dyn Started>, String>>;
}

/// A server that was started. Dropping it ends it at once.
pub trait Started {
    /// What it is to operators: `pid 4711`.
    fn name(&self) -> String;
    fn address(&self) -> EndpointAddress;
    /// Waits until it has ended by itself; how it did.
    fn ended(&mut self) -> Local<'_, String>;
    /// Asks it to end, and ends it after this time.
    fn stop(&mut self, patience: Duration) -> Local<'_, ()>;
}
