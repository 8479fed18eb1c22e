//! A waker that only takes note while its task is running.
//!
//! Everything on a connection runs in one task: its streams wake the connection when they have
//! something to send, the connection wakes its streams when something came for them. Through the
//! runtime each of these would be one turn of the loop more; here the task goes round once more.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The task waits: whoever wakes it does so through the runtime.
const RESTING: u8 = 0;
const RUNNING: u8 = 1;
/// It was woken while it was running, or is about to run.
const NUDGED: u8 = 2;

/// The waker of one task.
#[derive(Debug, Default)]
pub(super) struct Nudge {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Nudge {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The task, which `waker` wakes, runs now.
    pub(super) fn start(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
        drop(task);
        self.state.store(RUNNING, Ordering::Release);
    }

    /// Whether the task was woken since it last asked.
    pub(super) fn take(&self) -> bool {
        self.state.swap(RUNNING, Ordering::AcqRel) == NUDGED
    }

    /// From now on the task waits. False when it was woken meanwhile, and has to go on.
    pub(super) fn rest(&self) -> bool {
        let rested =
            self.state.compare_exchange(RUNNING, RESTING, Ordering::AcqRel, Ordering::Acquire);
        rested.is_ok()
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(NUDGED, Ordering::AcqRel) == RESTING
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicU8);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_is_woken_only_while_it_rests() {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let nudge = Nudge::new();
        let waker = Waker::from(nudge.clone());
        let woken = || count.0.load(Ordering::Relaxed);
        nudge.start(&task);
        waker.wake_by_ref();
        assert!(!nudge.rest(), "woken while it was running");
        assert!(nudge.take() && !nudge.take());
        assert!(nudge.rest());
        assert_eq!(woken(), 0);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(woken(), 1);
        nudge.start(&task);
        assert!(nudge.rest());
    }
}
