//! How patient we are with the sender of a request body.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use transom_net::Worker;

use crate::fault::{Code, Fault};
use crate::patience::Patience;

/// What is allowed to a request body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyRules {
    pub(super) limit: Option<u64>,
    pub(super) idle: Option<Duration>,
    /// Bytes a second, after the first `idle`.
    pub(super) min_rate: u64,
    /// All of it must be there by then.
    pub(super) by: Option<Instant>,
}

/// Holds one body to its rules.
pub(super) struct BodyClock {
    rules: BodyRules,
    patience: Patience,
    since: Option<Instant>,
}

impl BodyClock {
    pub(super) fn new(rules: BodyRules, worker: &Worker) -> Self {
        BodyClock { rules, patience: Patience::new(worker), since: None }
    }

    /// Whether a body may have so many bytes.
    pub(super) fn check_size(&self, total: u64) -> Result<(), Fault> {
        match self.rules.limit {
            Some(limit) if total > limit => {
                Err(Fault::new(Code::TooLarge, "the body is over the limit"))
            }
            _ => Ok(()),
        }
    }

    /// More has come; `read` bytes were consumed before. SL-05: after the first wait, less than the
    /// least rate is a body that only pretends to come.
    pub(super) fn came(&mut self, read: u64) -> Result<(), Fault> {
        self.patience.progress();
        let (Some(idle), now) = (self.rules.idle, Instant::now()) else { return Ok(()) };
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed > idle && read < self.rules.min_rate.saturating_mul(elapsed.as_secs()) {
            return Err(Fault::new(Code::RequestTimeout, "the body is too slow"));
        }
        Ok(())
    }

    /// Asked while nothing comes: ready when that has lasted too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        self.since.get_or_insert_with(Instant::now);
        let BodyRules { idle, by, .. } = self.rules;
        ready!(self.patience.poll_over_or_by(idle, by, cx));
        Poll::Ready(Fault::new(Code::RequestTimeout, "the body stood still or took too long"))
    }
}
