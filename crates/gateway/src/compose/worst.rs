//! What one request costs at most.

use std::fmt;
use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Worst {
    pub(super) calls: usize,
    /// Calls of which each waits for the one before.
    pub(super) depth: usize,
    /// Bodies of answers that are held at once.
    pub(super) bytes: u64,
    pub(super) time: Duration,
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Worst { calls, depth, bytes, time } = self;
        let plural = if *calls == 1 { "" } else { "s" };
        write!(f, "at most {calls} call{plural}, {depth} of them one after another, ")?;
        match bytes {
            bytes if bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20)?,
            bytes => write!(f, "{} KiB", bytes.div_ceil(1 << 10))?,
        }
        write!(f, " and {time:?}")
    }
}
