//! What happens to members, in words, for whoever keeps the log.

use std::sync::Arc;

/// How much an operator wants to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warn,
}

/// Takes one line.
pub type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;
