//! Requests that wait until a member has room: first by class, within one in their order. Where those
//! who may have the same members, a [`Lane`], find all of these busy, they do not hold up the others.
//!
//! Who leaves is taken out at once, so that nobody works for the dead (U-15).

use std::collections::{BTreeMap, HashMap};
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

/// Those who may have the same members.
pub(crate) type Lane = (usize, u64);

/// How many lanes are looked at for one that can be served, at most.
const LANES: usize = 32;

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
    /// How many wait in each lane.
    lanes: HashMap<Lane, usize>,
    last: u64,
}

impl Waiting {
    fn take(&mut self, number: Number) -> Option<Waiter> {
        let waiter = self.requests.remove(&number)?;
        if let Some(count) = self.lanes.get_mut(&waiter.lane) {
            *count -= 1;
            if *count == 0 {
                self.lanes.remove(&waiter.lane);
            }
        }
        Some(waiter)
    }
}

/// What there is for one who waits.
pub(super) enum Look<T> {
    Served(T),
    /// The members that it may have are busy; who may have others may be luckier.
    Busy,
    /// Nothing for anybody.
    Full,
}

/// One request that waits.
pub(super) struct Waiter {
    pub(super) pool: Arc<Pool>,
    /// By which of the pool's rules a member is picked.
    pub(super) rule: usize,
    lane: Lane,
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

    /// Whether anybody waits who may have the same members.
    pub(super) fn holds(&self, lane: Lane) -> bool {
        self.waiting().lanes.contains_key(&lane)
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
        let lane = pool.lane(rule, question);
        *waiting.lanes.entry(lane).or_default() += 1;
        waiting.requests.insert(number, Waiter { pool, rule, lane, wish, tried, answer });
        self.count.store(waiting.requests.len(), Ordering::Relaxed);
        drop(waiting);
        Some(Place { queue: self.clone(), number, receive })
    }

    /// Takes the first one out for whom `serve` has something.
    pub(super) fn first<T>(
        &self,
        mut serve: impl FnMut(&Waiter) -> Look<T>,
    ) -> Option<(Waiter, T)> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.waiting();
        let mut busy: SmallVec<[Lane; 4]> = SmallVec::new();
        let mut served = None;
        for (number, waiter) in &waiting.requests {
            if busy.contains(&waiter.lane) {
                continue;
            }
            match serve(waiter) {
                Look::Served(it) => {
                    served = Some((*number, it));
                    break;
                }
                Look::Full => break,
                Look::Busy => busy.push(waiter.lane),
            }
            if busy.len() >= waiting.lanes.len().min(LANES) {
                break;
            }
        }
        let (number, served) = served?;
        let waiter = waiting.take(number)?;
        self.count.store(waiting.requests.len(), Ordering::Relaxed);
        Some((waiter, served))
    }

    /// Takes everybody out.
    pub(super) fn all(&self) -> Vec<Waiter> {
        let mut waiting = self.waiting();
        self.count.store(0, Ordering::Relaxed);
        waiting.lanes.clear();
        std::mem::take(&mut waiting.requests).into_values().collect()
    }

    fn leave(&self, number: Number) {
        let mut waiting = self.waiting();
        let gone = waiting.take(number);
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
