//! The only place that starts tasks, so that whatever runs can be named, counted and ended.
//!
//! Each worker has a set of its own, and so has the control side. A task that panics ends alone
//! and is counted. Starting one costs little more than the runtime's own part: on a worker every
//! connection is a task.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::task::{AbortHandle, JoinHandle};

/// A set of running tasks. Clones are the same set.
#[derive(Clone, Default)]
pub struct Tasks {
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many run by name; there are a handful of names.
    running: Vec<(&'static str, usize)>,
    /// To end each by; places of those that have ended are used again.
    handles: Vec<Option<AbortHandle>>,
    free: Vec<usize>,
    panicked: u64,
}

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` on this thread's local runtime. `name` says of what kind it is.
    ///
    /// Dropping the handle leaves the task running. Panics outside of a local runtime.
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn start<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.run(name, future, tokio::task::spawn_local)
    }

    fn run<F: Future>(
        &self,
        name: &'static str,
        future: F,
        spawn: impl FnOnce(Counted<F>) -> JoinHandle<F::Output>,
    ) -> JoinHandle<F::Output> {
        // Held until the task is entered, so that one which ends at once finds its entry.
        let mut state = state(&self.shared);
        match state.running.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => state.running.push((name, 1)),
        }
        let place = state.free.pop().unwrap_or_else(|| {
            state.handles.push(None);
            state.handles.len() - 1
        });
        let running = Running { name, place, shared: self.shared.clone() };
        let handle = spawn(Counted { future: Box::pin(future), running });
        state.handles[place] = Some(handle.abort_handle());
        handle
    }

    /// Ends every task that runs, at its next await.
    pub fn cancel(&self) {
        // Not under the lock: a task of this thread may be dropped at once and leave the set.
        let handles: Vec<_> = state(&self.shared).handles.iter().flatten().cloned().collect();
        for handle in handles {
            handle.abort();
        }
    }

    /// How many tasks run.
    pub fn count(&self) -> usize {
        state(&self.shared).running.iter().map(|(_, count)| count).sum()
    }

    /// How many tasks run, by name, in alphabetical order.
    pub fn by_name(&self) -> Vec<(&'static str, usize)> {
        let mut counts = state(&self.shared).running.clone();
        counts.retain(|(_, count)| *count > 0);
        counts.sort_unstable();
        counts
    }

    /// How many tasks have ended by a panic.
    pub fn panicked(&self) -> u64 {
        state(&self.shared).panicked
    }
}

fn state(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
            state(&self.running.shared).panicked += 1;
            resume_unwind(panic)
        })
    }
}

struct Running {
    name: &'static str,
    place: usize,
    shared: Arc<Mutex<State>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = state(&self.shared);
        if let Some((_, count)) = state.running.iter_mut().find(|(name, _)| *name == self.name) {
            *count -= 1;
        }
        state.handles[self.place] = None;
        state.free.push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::tls::testing::block_on;

    #[test]
    fn tasks_are_counted_by_name() {
        block_on(async {
            let tasks = Tasks::new();
            let (send, receive) = tokio::sync::oneshot::channel();
            let one = tasks.start("one", async { receive.await.unwrap() });
            let two = tasks.start("two", pending::<()>());
            tasks.start("two", pending::<()>());
            assert_eq!(tasks.by_name(), [("one", 1), ("two", 2)]);
            send.send(7).unwrap();
            assert_eq!(one.await.unwrap(), 7);
            two.abort();
            assert!(two.await.unwrap_err().is_cancelled());
            assert_eq!((tasks.count(), tasks.by_name()), (1, vec![("two", 1)]));
            tasks.cancel();
            tokio::task::yield_now().await;
            assert_eq!(tasks.count(), 0);
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
            assert_eq!((tasks.panicked(), tasks.count()), (1, 0));
        });
    }
}
