//! Handshakes one after the other.
//!
//! A handshake takes a worker a fraction of a millisecond in which nothing else moves, and hellos
//! that arrived together would be computed together. Here each waits for its turn behind everything
//! that is ready to go on, so that a flood of them costs what is open one handshake of delay, not
//! hundreds (SL-17). Who has not sent a whole hello waits for nothing and keeps nobody waiting.

use std::cell::Cell;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The turns of one worker.
#[derive(Debug)]
pub struct Turns {
    one: Semaphore,
    waiting: Cell<usize>,
}

impl Default for Turns {
    fn default() -> Self {
        Turns { one: Semaphore::new(1), waiting: Cell::new(0) }
    }
}

impl Turns {
    /// Waits for a turn, which lasts until it is dropped; none where so many wait already.
    pub(super) async fn take(&self, most: usize) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.one.try_acquire() {
            return Some(turn);
        }
        if self.waiting.get() >= most {
            return None;
        }
        let _waits = Waits::begin(&self.waiting);
        // Never closed; and fair, so that nobody is overtaken.
        let turn = self.one.acquire().await.ok();
        // Not before what the kernel has ready meanwhile.
        tokio::task::yield_now().await;
        turn
    }
}

/// Counts one who waits, also where the wait is given up.
struct Waits<'a>(&'a Cell<usize>);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::tasks::Tasks;
    use crate::tls::testing::block_on;

    #[test]
    fn sl_17_turns_are_taken_in_order_and_between_others() {
        block_on(async {
            let (turns, seen) = (Rc::new(Turns::default()), Rc::new(RefCell::new(Vec::new())));
            let held = turns.take(0).await.unwrap();
            let tasks = Tasks::new();
            for name in ["a", "b", "c"] {
                let (turns, seen) = (turns.clone(), seen.clone());
                tasks.start("handshake", async move {
                    let turn = turns.take(2).await.map(drop).is_some();
                    seen.borrow_mut().push(if turn { name } else { "refused" });
                });
            }
            tokio::task::yield_now().await;
            assert_eq!(*seen.borrow(), ["refused"], "two wait, the third does not");
            let other = seen.clone();
            tasks.start("other", async move {
                for _ in 0..5 {
                    other.borrow_mut().push("-");
                    tokio::task::yield_now().await;
                }
            });
            drop(held);
            while tasks.count() > 0 {
                tokio::task::yield_now().await;
            }
            let a = seen.borrow().iter().position(|what| *what == "a").unwrap();
            let b = seen.borrow().iter().position(|what| *what == "b").unwrap();
            assert!(0 < a && seen.borrow()[a..b].contains(&"-"), "{:?}", seen.borrow());
            assert_eq!(turns.waiting.get(), 0);
        });
    }
}
