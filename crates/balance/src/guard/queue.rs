//! Requests that wait until a member has room: first by class, within one in their order.
//!
//! Who leaves is taken out at once, so that nobody works for the dead (U-15).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::oneshot;
use transom_proxy::destination::Lease;
use transom_proxy::fault::{Code, Fault};

use crate::pool::{Pool, Question, Wish};

/// The class of a request, the smaller the sooner; and its number within the class.
type Number = (u8, u64);

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many wait, to be asked without the lock.
    count: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    requests: BTreeMap<Number, Waiter>,
    last: u64,
}

/// One request that waits.
pub(super) struct Waiter {
    pub(super) pool: Arc<Pool>,
    /// By which of the pool's rules a member is picked.
    pub(super) rule: usize,
    pub(super) wish: Wish,
    /// Keys of the endpoints it has tried already.
    pub(super) tried: SmallVec<[u64; 4]>,
    answer: oneshot::Sender<Result<Lease, Fault>>,
}

impl Waiter {
    /// Gives it what it waits for. What is left of that where it has just gone.
    pub(super) fn answer(self, answer: Result<Lease, Fault>) -> Result<(), Result<Lease, Fault>> {
        self.answer.send(answer)
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A place at the end of its class, unless so many wait already.
    pub(super) fn join(
        self: &Arc<Self>,
        pool: Arc<Pool>,
        rule: usize,
        question: &Question<'_>,
        most: usize,
    ) -> Option<Place> {
        let mut waiting = self.waiting();
        if waiting.requests.len() >= most {
            return None;
        }
        let (answer, receive) = oneshot::channel();
        waiting.last += 1;
        let wish = question.wish;
        let number = (wish.class, waiting.last);
        let tried = SmallVec::from_slice(question.tried);
        waiting.requests.insert(number, Waiter { pool, rule, wish, tried, answer });
        self.count.store(waiting.requests.len(), Ordering::Relaxed);
        drop(waiting);
        Some(Place { queue: self.clone(), number, receive })
    }

    /// Takes the first one out if `serve` has something for it.
    pub(super) fn first<T>(&self, serve: impl FnOnce(&Waiter) -> Option<T>) -> Option<(Waiter, T)> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.waiting();
        let served = serve(waiting.requests.first_key_value()?.1)?;
        let (_, waiter) = waiting.requests.pop_first()?;
        self.count.store(waiting.requests.len(), Ordering::Relaxed);
        Some((waiter, served))
    }

    /// Takes everybody out.
    pub(super) fn all(&self) -> Vec<Waiter> {
        let mut waiting = self.waiting();
        self.count.store(0, Ordering::Relaxed);
        std::mem::take(&mut waiting.requests).into_values().collect()
    }

    fn leave(&self, number: Number) {
        let mut waiting = self.waiting();
        let gone = waiting.requests.remove(&number);
        self.count.store(waiting.requests.len(), Ordering::Relaxed);
        drop(waiting);
        // Not under the lock: it may hold the last handle of its pool.
        drop(gone);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue; given up when dropped.
pub(super) struct Place {
    queue: Arc<Queue>,
    number: Number,
    receive: oneshot::Receiver<Result<Lease, Fault>>,
}

impl Place {
    /// Waits for a lease.
    ///
    /// # Errors
    /// When there was none within `limit`, or there will be none.
    pub(super) async fn wait(mut self, limit: Duration) -> Result<Lease, Fault> {
        match tokio::time::timeout(limit, &mut self.receive).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Fault::new(Code::NoEndpoint, "the pool has gone")),
            Err(_) => {
                let detail = format!("no member had room within {} ms", limit.as_millis());
                Err(Fault::new(Code::QueueTimeout, detail).retry_after(Duration::from_secs(1)))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.leave(self.number);
    }
}
