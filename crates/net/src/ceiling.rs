//! So many connections may be open at once, whichever worker opens them, idle ones among them.
//!
//! Who finds no place asks the workers that hold idle connections to give one up; each hears of it by
//! an [`Ear`]. So a limit of ten means ten, and nobody waits for a
//! connection that carries nothing.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

/// How often who waits asks again: a connection that carried something may be idle by now.
const AGAIN: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub struct Ceiling {
    most: AtomicUsize,
    open: AtomicUsize,
    waiting: AtomicUsize,
    /// Connections that others are asked to give up, and have not.
    asked: AtomicUsize,
    /// How often somebody has asked.
    calls: AtomicU64,
    freed: Notify,
    wanted: Arc<Notify>,
}

/// The right to have one connection open.
#[derive(Debug)]
pub struct Place(Arc<Ceiling>);

impl Ceiling {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Ceiling {
            most: AtomicUsize::new(most),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            freed: Notify::new(),
            wanted: Arc::default(),
        })
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// From now on so many. What is open beyond that ends as it would have.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::SeqCst);
        self.freed.notify_waiters();
    }

    /// How many more may be opened.
    pub fn left(&self) -> usize {
        self.most().saturating_sub(self.open())
    }

    /// Whether somebody waits for a place, so that a connection which has done its work is not kept.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// A place, where there is one.
    pub fn try_take(self: &Arc<Self>) -> Option<Place> {
        let more = |open| (open < self.most()).then_some(open + 1);
        let taken = self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// A place, once there is one. The caller sets the limit and drops the future.
    pub async fn take(self: &Arc<Self>) -> Place {
        if let Some(place) = self.try_take() {
            return place;
        }
        let _waiting = Waiting::new(self);
        loop {
            let mut freed = pin!(self.freed.notified());
            // heard from here on, so that nothing is missed between the look and the wait
            freed.as_mut().enable();
            if let Some(place) = self.try_take() {
                return place;
            }
            self.ask();
            let _ = tokio::time::timeout(AGAIN, freed).await;
        }
    }

    fn ask(&self) {
        self.asked.store(self.waiting.load(Ordering::SeqCst), Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.wanted.notify_waiters();
    }

    /// Gives up connections, one by one, as long as any are asked for and `give` has one.
    pub fn give_up(&self, mut give: impl FnMut() -> bool) {
        let fewer = |asked: usize| asked.checked_sub(1);
        while self.asked.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok() {
            if !give() {
                // others may have one
                self.asked.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }

    /// To hear from when connections are wanted back.
    pub fn ear(self: &Arc<Self>) -> Ear {
        let heard = self.calls.load(Ordering::SeqCst);
        Ear { ceiling: Arc::downgrade(self), wanted: self.wanted.clone(), heard }
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        // those who listen learn that there is nothing to hear any more
        self.wanted.notify_waiters();
    }
}

impl Place {
    pub fn ceiling(&self) -> &Arc<Ceiling> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        if self.0.is_wanted() {
            self.0.freed.notify_one();
        }
    }
}

/// One who waits.
struct Waiting<'a>(&'a Ceiling);

impl<'a> Waiting<'a> {
    fn new(ceiling: &'a Ceiling) -> Self {
        ceiling.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(ceiling)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.asked.store(0, Ordering::SeqCst);
        }
    }
}

/// Hears when connections below a ceiling are wanted back, for as long as it exists.
#[derive(Debug)]
pub struct Ear {
    ceiling: Weak<Ceiling>,
    wanted: Arc<Notify>,
    /// The calls that it has heard.
    heard: u64,
}

impl Ear {
    /// The ceiling, once somebody has asked for a place below it; nothing once it is gone.
    pub async fn wanted(&mut self) -> Option<Arc<Ceiling>> {
        loop {
            let mut wanted = pin!(self.wanted.notified());
            wanted.as_mut().enable();
            let ceiling = self.ceiling.upgrade()?;
            let calls = ceiling.calls.load(Ordering::SeqCst);
            if std::mem::replace(&mut self.heard, calls) != calls {
                return Some(ceiling);
            }
            drop(ceiling);
            wanted.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn lb_24_so_many_are_open_and_no_more() {
        let ceiling = Ceiling::new(2);
        let (first, _second) = (ceiling.try_take().unwrap(), ceiling.try_take().unwrap());
        assert!(ceiling.try_take().is_none());
        let mut third = pin!(ceiling.take());
        assert!(poll(third.as_mut()).is_pending() && ceiling.is_wanted());
        drop(first);
        assert_eq!(ceiling.open(), 1);
        let Poll::Ready(place) = poll(third.as_mut()) else { panic!("it still waits") };
        assert_eq!(ceiling.open(), 2);
        ceiling.set_most(1);
        drop(place);
        assert!(ceiling.try_take().is_none(), "what is open counts below the new one");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_wants_nothing_and_takes_no_place() {
        let ceiling = Ceiling::new(1);
        let held = ceiling.try_take().unwrap();
        {
            let mut gone = pin!(ceiling.take());
            assert!(poll(gone.as_mut()).is_pending());
            let mut next = pin!(ceiling.take());
            assert!(poll(next.as_mut()).is_pending());
            drop(held);
        }
        assert!(!ceiling.is_wanted());
        assert!(ceiling.try_take().is_some());
    }

    #[tokio::test]
    async fn as_many_are_given_up_as_are_asked_for_and_by_those_who_have_them() {
        let ceiling = Ceiling::new(1);
        let (mut poor, mut rich) = (ceiling.ear(), ceiling.ear());
        let mut idle = vec![ceiling.try_take().unwrap()];
        let mut waiting = pin!(ceiling.take());
        assert!(poll(waiting.as_mut()).is_pending());
        poor.wanted().await.unwrap().give_up(|| false);
        assert!(poll(pin!(poor.wanted())).is_pending(), "it is told once for each call");
        rich.wanted().await.unwrap().give_up(|| idle.pop().is_some());
        assert!(poll(waiting.as_mut()).is_ready());
        assert!(poll(pin!(rich.wanted())).is_pending());
    }

    #[tokio::test]
    async fn who_listens_learns_that_the_ceiling_is_gone() {
        let ceiling = Ceiling::new(1);
        let mut ear = ceiling.ear();
        assert!(poll(pin!(ear.wanted())).is_pending());
        drop(ceiling);
        assert!(ear.wanted().await.is_none());
    }
}
