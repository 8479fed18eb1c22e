//! How a limit counts: arithmetic on one word of 64 bits, so that a key costs one word and a request
//! one atomic exchange.
//!
//! In nanoseconds since some origin, of a clock that never goes back (L-05):
//!
//! - **even** (the generic cell rate algorithm): the word is the time at which the key will have used
//!   up what it took, if it takes evenly. Each request moves it by `per / count`; it may be ahead of now
//!   by `burst` of those. In any time `t` at most `burst + count * t / per` pass.
//! - **sliding**: `per` is cut into `k` slots. The word is the number of a slot (24 bits), and what
//!   passed in it and in each of the `k` before (40 bits); the oldest counts for as much of it as is
//!   less than `per` ago, taken as spread evenly. The smaller the limit, the more slots fit: 12 up to 7,
//!   4 up to 255, one up to 1,048,575. Who keeps to the rate is never refused; in any time `per - per / k`
//!   at most `count` pass, so that after a burst the next may begin by `per / k` too early.
//! - **fixed**: the same with one slot of `per` and none before it.

use std::time::Duration;

use smallvec::SmallVec;
use transom_settings::{Rate, settings};

settings! {
    /// What stretch of time a limit looks at.
    pub enum Window {
        /// The time that has just passed.
        Sliding = "sliding",
        /// One stretch after the other; each begins with nothing. Around the edge of two, twice as much
        /// may pass.
        Fixed = "fixed",
        /// None: requests pass as evenly as the rate says, `burst` of them at once (GCRA, a token
        /// bucket).
        Even = "even",
    }
}

/// How one limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    window: Window,
    /// What may pass in `per`; what may pass at once where it is even.
    most: u64,
    /// Nanoseconds.
    per: u64,
    /// Nanoseconds of a slot, or for each request where it is even.
    step: u64,
    /// Bits of what passed in one slot.
    bits: u32,
    /// Slots that a word holds.
    slots: u32,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub passes: bool,
    /// What could pass now, after it.
    pub left: u64,
    /// If it passes, the time that what is left is for; otherwise until it would pass. In nanoseconds.
    pub wait: u64,
}

impl Verdict {
    /// The time to wait, in whole seconds, rounded up.
    pub fn seconds(&self) -> u64 {
        self.wait.div_ceil(1_000_000_000)
    }
}

/// What each of several limits says, in their order.
pub type Verdicts = SmallVec<[Verdict; 2]>;

const COUNTS: u32 = 40;
/// More would take longer to add up than they are worth.
const MOST_SLOTS: u32 = 13;
const NUMBER: u64 = (1 << (64 - COUNTS)) - 1;

/// The word of a key that counts slots, taken apart. What owes more is the larger word, which is what
/// [`super::table`] goes by: so the newest slot stands highest.
#[derive(Clone, Copy)]
struct Slots {
    number: u64,
    counts: u64,
}

impl Slots {
    fn of(word: u64) -> Self {
        Slots { number: word >> COUNTS, counts: word & ((1 << COUNTS) - 1) }
    }

    fn word(self) -> u64 {
        self.number << COUNTS | self.counts
    }
}

impl Counting {
    /// The most that a sliding window can count.
    pub const MOST_SLIDING: u64 = (1 << (COUNTS / 2)) - 1;

    /// `burst` is for those that are even: as many as the rate has, where it is not given.
    pub fn new(rate: Rate, window: Window, burst: Option<u64>) -> Self {
        let per = nanos(rate.per.get()).max(1);
        let most = match window {
            Window::Even => burst.unwrap_or(rate.count),
            Window::Sliding => rate.count.min(Self::MOST_SLIDING),
            Window::Fixed => rate.count.min((1 << COUNTS) - 1),
        };
        let (bits, slots, step) = match window {
            Window::Even => (0, 0, per / rate.count.max(1)),
            Window::Fixed => (COUNTS, 1, per),
            Window::Sliding => {
                let bits = (u64::BITS - most.leading_zeros()).max(1);
                let slots = (COUNTS / bits).min(MOST_SLOTS);
                (bits, slots, per.div_ceil(u64::from(slots - 1)))
            }
        };
        Counting { window, most, per, step: step.max(1), bits, slots }
    }

    /// What may pass in a window, or at once.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Charges `cost` to a key, if it may pass: the verdict, and the word of the key from now on.
    pub fn charge(&self, word: u64, now: u64, cost: u64) -> (Verdict, u64) {
        match self.window {
            Window::Even => self.charge_even(word, now, cost),
            Window::Sliding | Window::Fixed => self.charge_slot(word, now, cost),
        }
    }

    /// Takes back what was charged at `now`.
    pub fn refund(&self, word: u64, now: u64, cost: u64) -> u64 {
        if self.window == Window::Even {
            return word.saturating_sub(cost.saturating_mul(self.step));
        }
        let mut slots = Slots::of(word);
        let age = slots.number.wrapping_sub(self.number(now)) & NUMBER;
        if age < u64::from(self.slots) {
            let age = age as u32;
            let back = self.count(slots.counts, age).min(cost);
            slots.counts -= back << self.place(age);
        }
        slots.word()
    }

    fn charge_even(&self, word: u64, now: u64, cost: u64) -> (Verdict, u64) {
        let ahead = self.most.saturating_mul(self.step);
        let owed = word.saturating_sub(now);
        let after = owed.saturating_add(cost.saturating_mul(self.step));
        if after <= ahead {
            let verdict = Verdict { passes: true, left: (ahead - after) / self.step, wait: after };
            return (verdict, now + after);
        }
        let left = ahead.saturating_sub(owed) / self.step;
        (Verdict { passes: false, left, wait: (after - ahead).min(self.per) }, word)
    }

    fn number(&self, now: u64) -> u64 {
        (now / self.step) & NUMBER
    }

    /// Where in the counts the slot lies that is so many before the newest.
    fn place(&self, age: u32) -> u32 {
        COUNTS - self.bits * (age + 1)
    }

    fn count(&self, counts: u64, age: u32) -> u64 {
        counts >> self.place(age) & ((1 << self.bits) - 1)
    }

    fn charge_slot(&self, word: u64, now: u64, cost: u64) -> (Verdict, u64) {
        let mut into = now % self.step;
        let mut slots = Slots::of(word);
        let passed = self.number(now).wrapping_sub(slots.number) & NUMBER;
        if passed <= NUMBER / 2 {
            slots = Slots { number: self.number(now), counts: self.later(slots.counts, passed) };
        } else {
            // another worker is a moment ahead, and its slot is the one that counts
            into = 0;
        }
        let used = self.used(slots.counts, into);
        if used.saturating_add(cost) <= self.most {
            slots.counts += cost << self.place(0);
            let wait = match self.window {
                Window::Fixed => self.step - into,
                _ => self.per,
            };
            let left = self.most - used - cost;
            return (Verdict { passes: true, left, wait }, slots.word());
        }
        let left = self.most.saturating_sub(used);
        (Verdict { passes: false, left, wait: self.until(slots.counts, into, cost) }, word)
    }

    /// The counts when so many slots have passed.
    fn later(&self, counts: u64, passed: u64) -> u64 {
        if passed >= u64::from(self.slots) {
            return 0;
        }
        // what does not fill a slot at the low end is none
        let unused = COUNTS - self.bits * self.slots;
        (counts >> (passed as u32 * self.bits)) >> unused << unused
    }

    /// What counts so far into a slot.
    fn used(&self, counts: u64, into: u64) -> u64 {
        let oldest = self.slots - 1;
        let whole: u64 = (0..oldest.max(1)).map(|age| self.count(counts, age)).sum();
        if oldest == 0 {
            return whole;
        }
        let part = u128::from(self.count(counts, oldest)) * u128::from(self.step - into);
        let step = u128::from(self.step);
        whole + ((2 * part + step) / (2 * step)) as u64
    }

    /// How long until `cost` passes, if nothing else comes.
    fn until(&self, counts: u64, into: u64, cost: u64) -> u64 {
        let Some(allowed) = self.most.checked_sub(cost) else { return self.per };
        for passed in 0..=u64::from(self.slots) {
            let (counts, begin) = match passed {
                0 => (counts, into),
                _ => (self.later(counts, passed), 0),
            };
            let begins = passed * self.step + begin - into;
            if self.used(counts, begin) <= allowed {
                return begins;
            }
            let fading = self.count(counts, self.slots - 1);
            let whole = self.used(counts, 0) - fading;
            if self.slots > 1 && whole <= allowed {
                // until it is rounded to what is allowed
                let kept = (2 * u128::from(allowed - whole) + 1) * u128::from(self.step);
                let kept = kept.div_ceil(2 * u128::from(fading)) - 1;
                return begins + (self.step - kept as u64).saturating_sub(begin);
            }
        }
        self.per
    }
}

/// As far as 64 bits go, which is centuries.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn counting(rate: &str, window: Window, burst: Option<u64>) -> Counting {
        Counting::new(Rate::from_text(rate).unwrap(), window, burst)
    }

    /// How many of `tries` pass at once at `now`.
    fn pass(counting: Counting, word: &mut u64, now: u64, tries: u64) -> u64 {
        (0..tries)
            .filter(|_| {
                let (verdict, after) = counting.charge(*word, now, 1);
                *word = after;
                verdict.passes
            })
            .count() as u64
    }

    #[test]
    fn gw_17_one_hundred_in_a_minute_and_not_one_more() {
        for window in [Window::Sliding, Window::Fixed, Window::Even] {
            let counting = counting("100/min", window, None);
            let mut word = 0;
            // the origin is long ago, and no edge of a window is near
            let now = 3600 * SECOND + 1;
            assert_eq!(pass(counting, &mut word, now, 500), 100, "{window}");
            let (verdict, same) = counting.charge(word, now, 1);
            assert_eq!((verdict.passes, verdict.left, same), (false, 0, word), "{window}");
            let (verdict, _) = counting.charge(word, now + verdict.wait, 1);
            assert!(verdict.passes, "{window}: who waits as long as was said passes");
        }
    }

    #[test]
    fn l_03_around_the_edge_of_a_window_not_twice_as_much_passes() {
        let edge = 60 * SECOND;
        for (window, expected) in
            [(Window::Sliding, 100..=101), (Window::Even, 100..=103), (Window::Fixed, 200..=200)]
        {
            let counting = counting("100/min", window, None);
            let mut word = 0;
            let mut passed = 0;
            // 2 seconds around the edge, ten each 10 ms
            for ms in 0..200 {
                passed += pass(counting, &mut word, edge - SECOND + ms * SECOND / 100, 10);
            }
            assert!(expected.contains(&passed), "{window}: {passed}");
        }
    }

    #[test]
    fn l_03_over_hours_the_rate_is_right_to_a_hundredth() {
        for (rate, per) in [("100/min", 60), ("7/s", 1), ("1000/h", 3600)] {
            for window in [Window::Sliding, Window::Fixed, Window::Even] {
                let counting = counting(rate, window, None);
                let (mut word, mut passed) = (0, 0);
                let count = Rate::from_text(rate).unwrap().count;
                for step in 0..20_000 {
                    passed += pass(counting, &mut word, step * per * SECOND / 200, count / 100 + 1);
                }
                let exact = 100 * count;
                assert!(passed.abs_diff(exact) * 100 <= exact, "{rate} {window}: {passed}");
            }
        }
    }

    #[test]
    fn what_is_left_and_how_long_to_wait() {
        let (m, s, ms) = (60 * SECOND, SECOND, SECOND / 1000);
        // window, what was taken before, when, what is left after one more, and what to wait for
        for (window, taken, now, left, wait) in [
            (Window::Fixed, &[][..], 0, 99, m),
            (Window::Fixed, &[(0, 100)], m - s, 0, s),
            (Window::Fixed, &[(0, 100)], m, 99, m),
            // four slots of 15 seconds
            (Window::Sliding, &[(0, 100)], 0, 0, m + 75 * ms),
            (Window::Sliding, &[(0, 100)], m, 0, 75 * ms),
            (Window::Sliding, &[(0, 100)], m + 7500 * ms, 49, m),
            (Window::Sliding, &[(0, 40), (20 * s, 60)], m, 0, 187 * ms),
            (Window::Sliding, &[(0, 40), (20 * s, 60)], m + 10 * s, 26, m),
            (Window::Sliding, &[(0, 100)], 3 * m, 99, m),
            (Window::Even, &[], 0, 99, 600 * ms),
            (Window::Even, &[(0, 100)], 0, 0, 600 * ms),
            (Window::Even, &[(0, 100)], 600 * ms, 0, m),
        ] {
            let counting = counting("100/min", window, None);
            let mut word = 0;
            for (now, count) in taken {
                assert_eq!(pass(counting, &mut word, *now, *count), *count);
            }
            let (verdict, _) = counting.charge(word, now, 1);
            let found = (verdict.left, verdict.wait / ms * ms);
            assert_eq!(found, (left, wait), "{window} {taken:?} at {now}");
        }
    }

    #[test]
    fn l_03_whatever_the_limit_nothing_passes_more_than_a_slot_too_early() {
        for count in [1, 7, 15, 100, 255, 1500] {
            let counting = counting(&format!("{count}/min"), Window::Sliding, None);
            let within = 60 * SECOND - counting.step;
            let (mut word, mut times) = (0, std::collections::VecDeque::new());
            // all at the end of a slot, then as much as passes
            let start = 600 * SECOND + counting.step - 1;
            for tick in 0..200 {
                let now = start + tick * SECOND * 2 / 3;
                let passed = pass(counting, &mut word, now, count + 1);
                times.push_back((now, passed));
                while times.front().is_some_and(|(then, _)| then + within <= now) {
                    times.pop_front();
                }
                let sum: u64 = times.iter().map(|(_, passed)| passed).sum();
                assert!(sum <= count, "{count}: {sum}");
            }
        }
    }

    #[test]
    fn what_is_taken_back_never_was() {
        for window in [Window::Sliding, Window::Fixed, Window::Even] {
            let counting = counting("10/min", window, None);
            let now = 90 * SECOND;
            let (_, before) = counting.charge(0, now, 3);
            let (_, after) = counting.charge(before, now, 5);
            assert_eq!(counting.refund(after, now, 5), before, "{window}");
        }
        let sliding = counting("100/min", Window::Sliding, None);
        let (_, word) = sliding.charge(0, 0, 5);
        let (_, later) = sliding.charge(word, 20 * SECOND, 1);
        let refunded = Slots::of(sliding.refund(later, 0, 5)).counts;
        assert_eq!((sliding.count(refunded, 0), sliding.count(refunded, 1)), (1, 0));
    }

    #[test]
    fn l_05_a_worker_whose_clock_is_a_moment_behind_gains_nothing() {
        for window in [Window::Sliding, Window::Fixed, Window::Even] {
            let counting = counting("10/s", window, None);
            let mut word = 0;
            assert_eq!(pass(counting, &mut word, 5 * SECOND, 20), 10);
            assert_eq!(pass(counting, &mut word, 5 * SECOND - 1, 20), 0, "{window}");
        }
    }

    #[test]
    fn a_cost_above_the_limit_never_passes_and_nothing_overflows() {
        for window in [Window::Sliding, Window::Fixed, Window::Even] {
            for (rate, cost) in [("10/s", 11), ("1000000/h", u64::MAX), ("0/s", 1)] {
                let counting = counting(rate, window, None);
                let (verdict, word) = counting.charge(0, 5 * SECOND, cost);
                assert!(!verdict.passes && verdict.wait <= 2 * 3600 * SECOND, "{window} {rate}");
                assert_eq!(word, 0);
            }
        }
    }
}
