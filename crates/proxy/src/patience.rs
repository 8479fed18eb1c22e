//! Gives up after so long without progress.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use transom_net::{Deadline, Worker};

/// A deadline that moves on whenever there was progress. Reads no clock while things flow.
#[derive(Debug)]
pub struct Patience {
    worker: Worker,
    deadline: Deadline,
    waiting: bool,
    /// Apart, since progress must not move it.
    whole: Option<Deadline>,
}

impl Patience {
    pub fn new(worker: &Worker) -> Self {
        Patience {
            worker: worker.clone(),
            deadline: worker.deadline(),
            waiting: false,
            whole: None,
        }
    }

    /// There was progress: the next wait starts anew.
    pub fn progress(&mut self) {
        self.waiting = false;
    }

    /// Whether the wait may be cut short when room is needed.
    pub fn set_spare(&self, spare: bool) {
        self.deadline.set_spare(spare);
    }

    /// Ready when nothing has moved for `limit`; never where there is no limit.
    pub fn poll_over(&mut self, limit: Option<Duration>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over_or_by(limit, None, cx)
    }

    /// Ready when nothing has moved for `limit`, or at `by`, whatever moves meanwhile. What `by` is
    /// at first holds.
    pub fn poll_over_or_by(
        &mut self,
        limit: Option<Duration>,
        by: Option<Instant>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if let Some(by) = by {
            let whole = self.whole.get_or_insert_with(|| {
                let mut whole = self.worker.deadline();
                whole.set(by);
                whole
            });
            if whole.poll_passed(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        let Some(limit) = limit else { return Poll::Pending };
        if !self.waiting {
            self.waiting = true;
            self.deadline.set(self.worker.now() + limit);
        }
        self.deadline.poll_passed(cx)
    }
}

/// What `future` gives, or nothing once `limit` has passed.
pub async fn within<F: Future>(worker: &Worker, limit: Duration, future: F) -> Option<F::Output> {
    let mut patience = Patience::new(worker);
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        patience.poll_over(Some(limit), cx).map(|()| None)
    })
    .await
}
