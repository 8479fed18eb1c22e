//! The only place that starts tasks, so that whatever runs can be named, counted and drained.
//!
//! Each worker has a set of its own, and so has the control side. A task that panics ends alone
//! and is counted.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// A set of running tasks. Clones are the same set.
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The number of running tasks whenever it has become zero.
    empty: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    next: u64,
    running: HashMap<u64, (&'static str, AbortHandle)>,
    panicked: u64,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::default(), empty: watch::Sender::new(()) };
        Self { shared: Arc::new(shared) }
    }

    /// Starts `future` on this thread's local runtime. `name` says of what kind it is.
    ///
    /// Dropping the handle leaves the task running. Panics outside of a local runtime.
    #[allow(clippy::disallowed_methods)] // The one place.
    pub fn start<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.run(name, future, tokio::task::spawn_local)
    }

    /// Starts `future` on the multi-thread runtime it is called in.
    #[allow(clippy::disallowed_methods)] // The one place.
    pub fn start_shared<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.run(name, future, tokio::spawn)
    }

    fn run<F: Future>(
        &self,
        name: &'static str,
        future: F,
        spawn: impl FnOnce(Counted<F>) -> JoinHandle<F::Output>,
    ) -> JoinHandle<F::Output> {
        // Held until the task is entered, so that one which ends at once finds its entry.
        let mut state = self.shared.state();
        let id = state.next;
        state.next += 1;
        let running = Running { id, shared: self.shared.clone() };
        let handle = spawn(Counted { future: Box::pin(future), running });
        state.running.insert(id, (name, handle.abort_handle()));
        handle
    }

    /// How many tasks run.
    pub fn count(&self) -> usize {
        self.shared.state().running.len()
    }

    /// How many tasks run, by name, in alphabetical order.
    pub fn by_name(&self) -> Vec<(&'static str, usize)> {
        let mut counts = std::collections::BTreeMap::new();
        for (name, _) in self.shared.state().running.values() {
            *counts.entry(*name).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// How many tasks have ended by a panic.
    pub fn panicked(&self) -> u64 {
        self.shared.state().panicked
    }

    /// Completes when no task runs. New ones may be started meanwhile, and are waited for.
    pub async fn drained(&self) {
        let mut empty = self.shared.empty.subscribe();
        while self.count() > 0 {
            // Cannot fail: the sender lives in `self`.
            let _ = empty.changed().await;
        }
    }

    /// Ends every task that runs, at its next await; [`Tasks::drained`] says when they are gone.
    pub fn cancel(&self) {
        // Not under the lock: a task of this thread may be dropped at once and leave the set.
        let state = self.shared.state();
        let handles: Vec<_> = state.running.values().map(|(_, handle)| handle.clone()).collect();
        drop(state);
        for handle in handles {
            handle.abort();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's future, which leaves the set when it is dropped. Boxed, because an `async` block around
/// it would keep room for it twice.
struct Counted<F> {
    future: Pin<Box<F>>,
    running: Running,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| {
            self.running.shared.state().panicked += 1;
            resume_unwind(panic)
        })
    }
}

struct Running {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.running.remove(&self.id);
        if state.running.is_empty() {
            self.shared.empty.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::tls::testing::block_on;

    #[test]
    fn tasks_are_counted_drained_and_cancelled() {
        block_on(async {
            let tasks = Tasks::new();
            tasks.drained().await;
            let (send, receive) = tokio::sync::oneshot::channel();
            let one = tasks.start("one", async { receive.await.unwrap() });
            tasks.start("two", pending::<()>());
            tasks.start("two", pending::<()>());
            assert_eq!(tasks.by_name(), [("one", 1), ("two", 2)]);
            send.send(7).unwrap();
            assert_eq!(one.await.unwrap(), 7);
            assert_eq!(tasks.count(), 2);
            tasks.cancel();
            tasks.drained().await;
            assert_eq!(tasks.by_name(), []);
        });
    }

    #[test]
    fn a_panic_ends_one_task() {
        block_on(async {
            let tasks = Tasks::new();
            let bad = tasks.start("bad", async { panic!("on purpose") });
            let good = tasks.start("good", async { 1 });
            assert!(bad.await.unwrap_err().is_panic());
            assert_eq!(good.await.unwrap(), 1);
            tasks.drained().await;
            assert_eq!((tasks.panicked(), tasks.count()), (1, 0));
        });
    }
}
