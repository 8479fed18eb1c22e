//! Deadlines that cost a store to set.
//!
//! Every wait of a connection has a deadline, several a request, and nearly none ever passes. So a
//! [`Deadline`] is one entry per connection in a wheel of the worker; moving it further away only
//! writes a cell, and the wheel finds out when it comes by. Resolution is [`TICK`]: a deadline
//! fires up to two ticks late, never early.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How finely deadlines are told apart.
pub const TICK: Duration = Duration::from_millis(20);
/// How many of them are a second.
const TICKS_PER_SECOND: u64 = 1000 / TICK.as_millis() as u64;
/// How far the coarse clock may lag: one tick of a kernel with 100 of them a second.
const COARSE: Duration = Duration::from_millis(10);
const SLOTS: usize = 256;
const NEVER: u64 = u64::MAX;

/// The deadlines of one worker. [`Wheel::run`] must be running for them to fire.
#[derive(Debug)]
pub struct Wheel {
    origin: Instant,
    coarse_origin: Duration,
    slots: RefCell<Vec<Vec<Rc<Entry>>>>,
    entries: Cell<usize>,
    /// The last tick looked at.
    turned: Cell<u64>,
    started: Notify,
}

#[derive(Debug)]
struct Entry {
    /// Tick at which to fire.
    due: Cell<u64>,
    /// Tick at which the wheel looks at this entry; not later than `due`.
    look: Cell<u64>,
    /// Where in its slot it stands.
    index: Cell<usize>,
    fired: Cell<bool>,
    /// Who waits can be done without, when room is needed.
    spare: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel {
            origin: Instant::now(),
            coarse_origin: coarse(),
            slots: RefCell::new((0..SLOTS).map(|_| Vec::new()).collect()),
            entries: Cell::new(0),
            turned: Cell::new(0),
            started: Notify::new(),
        }
    }
}

impl Wheel {
    /// The time for deadlines: up to [`COARSE`] behind the clock, and several times cheaper to ask.
    pub fn now(&self) -> Instant {
        self.origin + coarse().saturating_sub(self.coarse_origin)
    }

    /// A deadline that is not set.
    pub fn deadline(self: &Rc<Self>) -> Deadline {
        Deadline { wheel: self.clone(), entry: None }
    }

    /// Fires deadlines as they pass. Never returns; rests while no deadline exists.
    pub async fn run(&self) {
        loop {
            if self.entries.get() == 0 {
                self.started.notified().await;
            }
            tokio::time::sleep(TICK).await;
            self.turn(Instant::now());
        }
    }

    /// Wakes everyone who waits with a deadline, so that they look at what has changed.
    pub fn wake_all(&self) {
        for entry in self.slots.borrow().iter().flatten() {
            if let Some(waker) = entry.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }

    /// Fires so many of the deadlines that are marked as spare, those that are due first before
    /// others; how many there were. Looks at every deadline, so call it for many at once.
    pub fn fire_spare(&self, most: usize) -> usize {
        let mut spare: Vec<Rc<Entry>> = self.slots.borrow().iter().flatten().cloned().collect();
        spare.retain(|entry| entry.spare.get() && !entry.fired.get());
        spare.sort_unstable_by_key(|entry| entry.due.get());
        spare.truncate(most);
        for entry in &spare {
            entry.fired.set(true);
            entry.due.set(NEVER);
            if let Some(waker) = entry.waker.borrow_mut().take() {
                waker.wake();
            }
        }
        spare.len()
    }

    /// Fires everything due by `now`.
    fn turn(&self, now: Instant) {
        let now = self.tick_before(now);
        let from = self.turned.get() + 1;
        self.turned.set(now);
        for tick in from..=now.min(from + SLOTS as u64 - 1) {
            let looked_at = std::mem::take(&mut self.slots.borrow_mut()[slot_of(tick)]);
            for entry in looked_at {
                self.look_at(entry, now);
            }
        }
    }

    fn look_at(&self, entry: Rc<Entry>, now: u64) {
        if entry.due.get() <= now {
            entry.fired.set(true);
            entry.due.set(NEVER);
            if let Some(waker) = entry.waker.borrow_mut().take() {
                waker.wake();
            }
        }
        self.place(entry, now);
    }

    /// Puts an entry where it is looked at when due, or at the end of the wheel's span.
    fn place(&self, entry: Rc<Entry>, now: u64) {
        let look = entry.due.get().min(now + SLOTS as u64 - 1).max(self.turned.get() + 1);
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[slot_of(look)];
        entry.look.set(look);
        entry.index.set(slot.len());
        slot.push(entry);
    }

    fn remove(&self, entry: &Entry) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[slot_of(entry.look.get())];
        let index = entry.index.get();
        slot.swap_remove(index);
        if let Some(moved) = slot.get(index) {
            moved.index.set(index);
        }
    }

    fn tick_before(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        since.as_secs() * TICKS_PER_SECOND + u64::from(since.subsec_nanos() / TICK.subsec_nanos())
    }

    fn tick_after(&self, at: Instant) -> u64 {
        self.tick_before(at + COARSE) + 1
    }
}

/// The kernel's clock as of its last tick.
fn coarse() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// When the one who waits gives up. Unset until [`Deadline::set`]; removed when dropped.
#[derive(Debug)]
pub struct Deadline {
    wheel: Rc<Wheel>,
    entry: Option<Rc<Entry>>,
}

impl Deadline {
    /// Passes at `at`; what was set before is forgotten.
    pub fn set(&mut self, at: Instant) {
        let due = self.wheel.tick_after(at);
        match &self.entry {
            Some(entry) => {
                entry.due.set(due);
                entry.fired.set(false);
                if due < entry.look.get() {
                    self.wheel.remove(entry);
                    self.wheel.place(entry.clone(), self.wheel.turned.get());
                }
            }
            None => self.enter(due),
        }
    }

    fn enter(&mut self, due: u64) {
        if self.wheel.entries.replace(self.wheel.entries.get() + 1) == 0 {
            // The wheel stood still: it need not look at the ticks that passed meanwhile.
            self.wheel.turned.set(self.wheel.tick_before(Instant::now()));
            self.wheel.started.notify_one();
        }
        let entry = Rc::new(Entry {
            due: Cell::new(due),
            look: Cell::new(0),
            index: Cell::new(0),
            fired: Cell::new(false),
            spare: Cell::new(false),
            waker: RefCell::new(None),
        });
        self.wheel.place(entry.clone(), self.wheel.turned.get());
        self.entry = Some(entry);
    }

    /// Whether the deadline may be made to pass early, by [`Wheel::fire_spare`].
    pub fn set_spare(&self, spare: bool) {
        if let Some(entry) = &self.entry {
            entry.spare.set(spare);
        }
    }

    /// Never passes until set again.
    pub fn clear(&mut self) {
        if let Some(entry) = &self.entry {
            entry.due.set(NEVER);
            entry.fired.set(false);
        }
    }

    /// Ready once the deadline has passed; the task is woken when it does.
    pub fn poll_passed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(entry) = &self.entry else { return Poll::Pending };
        if entry.fired.get() {
            return Poll::Ready(());
        }
        let mut waker = entry.waker.borrow_mut();
        match waker.as_ref() {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(entry) = &self.entry {
            self.wheel.remove(entry);
            self.wheel.entries.set(self.wheel.entries.get() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn passed(deadline: &Deadline) -> bool {
        deadline.poll_passed(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn wheel() -> (Rc<Wheel>, Instant) {
        let wheel = Rc::new(Wheel::default());
        let origin = wheel.origin;
        (wheel, origin)
    }

    #[test]
    fn fires_at_its_time_and_not_before() {
        let (wheel, t0) = wheel();
        let mut deadline = wheel.deadline();
        deadline.set(t0 + Duration::from_millis(100));
        wheel.turn(t0 + Duration::from_millis(99));
        assert!(!passed(&deadline));
        wheel.turn(t0 + Duration::from_millis(131));
        assert!(passed(&deadline));
    }

    #[test]
    fn moved_later_it_does_not_fire_at_the_old_time() {
        let (wheel, t0) = wheel();
        let mut deadline = wheel.deadline();
        deadline.set(t0 + Duration::from_millis(100));
        deadline.set(t0 + Duration::from_secs(60));
        wheel.turn(t0 + Duration::from_secs(59));
        assert!(!passed(&deadline));
        wheel.turn(t0 + Duration::from_secs(61));
        assert!(passed(&deadline));
    }

    #[test]
    fn moved_earlier_it_fires_at_the_new_time() {
        let (wheel, t0) = wheel();
        let mut deadline = wheel.deadline();
        deadline.set(t0 + Duration::from_secs(60));
        deadline.set(t0 + Duration::from_millis(100));
        wheel.turn(t0 + Duration::from_millis(150));
        assert!(passed(&deadline));
    }

    #[test]
    fn cleared_or_dropped_it_never_fires() {
        let (wheel, t0) = wheel();
        let mut cleared = wheel.deadline();
        let mut dropped = wheel.deadline();
        cleared.set(t0 + Duration::from_millis(50));
        dropped.set(t0 + Duration::from_millis(50));
        cleared.clear();
        drop(dropped);
        wheel.turn(t0 + Duration::from_secs(120));
        assert!(!passed(&cleared));
        drop(cleared);
        assert_eq!(wheel.entries.get(), 0);
        assert!(wheel.slots.borrow().iter().all(Vec::is_empty));
    }

    #[test]
    fn of_the_spare_ones_those_due_first_are_fired() {
        let (wheel, t0) = wheel();
        let mut all: Vec<_> = (0..10u64).map(|_| wheel.deadline()).collect();
        for (i, deadline) in all.iter_mut().enumerate() {
            deadline.set(t0 + Duration::from_secs(100 - i as u64));
            deadline.set_spare(i != 9);
        }
        assert_eq!(wheel.fire_spare(3), 3);
        let fired: Vec<_> = (0..10).filter(|i| passed(&all[*i])).collect();
        assert_eq!(fired, [6, 7, 8]);
        assert_eq!(wheel.fire_spare(100), 6);
    }

    #[test]
    fn many_deadlines_fire_exactly_when_due() {
        let (wheel, t0) = wheel();
        let mut all: Vec<_> = (0..1000u64).map(|_| wheel.deadline()).collect();
        for (i, deadline) in all.iter_mut().enumerate() {
            deadline.set(t0 + Duration::from_millis(i as u64 * 37));
        }
        for step in 0..2000u64 {
            let now = t0 + Duration::from_millis(step * 20);
            wheel.turn(now);
            for (i, deadline) in all.iter().enumerate() {
                let at = i as u64 * 37;
                if at > step * 20 {
                    assert!(!passed(deadline), "{at} fired at {}", step * 20);
                }
                if at + 40 <= step * 20 {
                    assert!(passed(deadline), "{at} not fired at {}", step * 20);
                }
            }
        }
    }
}
