//! The only place that starts tasks, so that whatever runs can be named and counted.
//!
//! Each worker has a set of its own, and so has the control side. A task that panics ends alone
//! and is counted. Starting one costs little more than the runtime's own part: on a worker every
//! connection is a task.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

/// A set of running tasks. Clones are the same set.
#[derive(Clone, Default)]
pub struct Tasks {
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many run by name; there are a handful of names.
    running: Vec<(&'static str, usize)>,
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
        tokio::task::spawn_local(self.counted(name, future))
    }

    /// Starts `future` on the multi-thread runtime it is called in.
    #[allow(clippy::disallowed_methods, reason = "the one place")]
    pub fn start_shared<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.counted(name, future))
    }

    fn counted<F: Future>(&self, name: &'static str, future: F) -> Counted<F> {
        let mut state = state(&self.shared);
        match state.running.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => state.running.push((name, 1)),
        }
        drop(state);
        Counted { future: Box::pin(future), running: Running { name, shared: self.shared.clone() } }
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
    shared: Arc<Mutex<State>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = state(&self.shared);
        if let Some((_, count)) = state.running.iter_mut().find(|(name, _)| *name == self.name) {
            *count -= 1;
        }
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
