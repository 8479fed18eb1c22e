//! What this process may still spend of each key, of what all processes share.
//!
//! Redis counts what it has given to processes. A process asks it for a slice before the last one is
//! used up, so that requests seldom wait. Before the first answer for a key in a window it spends up to
//! `ahead` that it has not been given; it says so with its next question. So in one window at most
//! `most + processes * ahead` pass.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::ledger::Key;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// `left` is what all processes together have, as far as is known.
    Passes {
        left: u64,
        reset: Duration,
    },
    Refused {
        wait: Duration,
    },
    /// Redis has been asked; it takes a moment.
    Asked,
}

/// What Redis is to be asked for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) key: Key,
    /// What was spent without having been given; negative for what is given back.
    pub(super) debt: i64,
    pub(super) want: u64,
}

/// What Redis says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) given: u64,
    /// What it has left for everybody.
    pub(super) left: u64,
    /// Until the window ends.
    pub(super) ends: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    /// What may be spent; less than nothing for what was not given yet.
    balance: i64,
    /// Redis has been heard in this window.
    heard: bool,
    /// Redis has nothing left, until then.
    none_until: Option<Instant>,
    ends: Instant,
    left: u64,
    /// Since the last grant.
    spent: u64,
    /// A question has to be asked, or is on its way.
    asks: bool,
    last: Instant,
}

impl Slice {
    fn is_idle(&self, now: Instant) -> bool {
        let unused = now.saturating_duration_since(self.last) >= IDLE;
        unused && now < self.ends && !self.asks && self.balance > 0
    }
}

/// How much, and how far ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) most: u64,
    pub(super) ahead: u64,
    /// Keys that are remembered.
    pub(super) keys: usize,
    /// When Redis is asked again that has nothing left.
    pub(super) again: Duration,
}

pub(super) struct Slices {
    shards: [Mutex<HashMap<Key, Slice>>; SHARDS],
    /// Keys that Redis has to be asked for.
    asking: Mutex<Vec<Key>>,
    rule: Rule,
}

const SHARDS: usize = 16;

/// A slice that nobody has used for so long is given back.
const IDLE: Duration = Duration::from_secs(1);

impl Slices {
    pub(super) fn new(rule: Rule) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Slices { shards, asking: Mutex::default(), rule }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, HashMap<Key, Slice>> {
        self.shards[key as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spends `cost` of a key, in a window that ends at `ends` unless Redis knows better. The second says
    /// whether Redis has to be asked.
    pub(super) fn take(&self, key: Key, cost: u64, now: Instant, ends: Instant) -> (Taken, bool) {
        let (taken, ask) = self.spend(key, cost, now, ends);
        if ask {
            self.asking.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        }
        (taken, ask)
    }

    fn spend(&self, key: Key, cost: u64, now: Instant, ends: Instant) -> (Taken, bool) {
        let mut shard = self.shard(key);
        if shard.len() > self.rule.keys / SHARDS && !shard.contains_key(&key) {
            make_room(&mut shard, now);
        }
        let slice = shard.entry(key).or_insert(Slice {
            balance: 0,
            heard: false,
            none_until: None,
            ends,
            left: self.rule.most,
            spent: 0,
            asks: false,
            last: now,
        });
        if now >= slice.ends {
            // what was given was for a window that is over
            let asks = slice.asks;
            *slice = Slice {
                balance: 0,
                heard: false,
                none_until: None,
                ends,
                left: self.rule.most,
                asks,
                ..*slice
            };
        }
        slice.last = now;
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        let ahead = if slice.heard { 0 } else { self.rule.ahead as i64 };
        if slice.none_until.is_some_and(|until| now >= until) {
            slice.none_until = None;
        }
        let was_asking = slice.asks;
        if slice.balance.saturating_add(ahead) >= cost {
            slice.balance -= cost;
            slice.spent += cost as u64;
            let low = slice.balance < slice.spent as i64 / 2 + 1;
            slice.asks |= low && slice.none_until.is_none();
            let left = slice.left + slice.balance.max(0) as u64;
            let reset = slice.ends.saturating_duration_since(now);
            return (Taken::Passes { left, reset }, slice.asks && !was_asking);
        }
        if slice.none_until.is_some() {
            return (Taken::Refused { wait: slice.ends.saturating_duration_since(now) }, false);
        }
        slice.spent = slice.spent.saturating_add(cost as u64);
        slice.asks = true;
        (Taken::Asked, !was_asking)
    }

    /// What everybody together has left of a key, where Redis was heard of it in this window.
    pub(super) fn left(&self, key: Key, now: Instant) -> Option<u64> {
        let shard = self.shard(key);
        let slice = shard.get(&key).filter(|slice| slice.heard && now < slice.ends)?;
        Some(slice.left.saturating_add_signed(slice.balance))
    }

    /// Gives back what was taken for a request that does not pass after all.
    pub(super) fn refund(&self, key: Key, cost: u64) {
        if let Some(slice) = self.shard(key).get_mut(&key) {
            slice.balance += cost as i64;
        }
    }

    /// What Redis is to be asked now, at most so many.
    pub(super) fn questions(&self, most: usize) -> Vec<Question> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let first = asking.len().saturating_sub(most);
        let keys = asking.split_off(first);
        drop(asking);
        let question = |key: Key| {
            let shard = self.shard(key);
            let slice = shard.get(&key).filter(|slice| slice.asks)?;
            let want = (2 * slice.spent).max(self.rule.ahead).max(1).min(self.rule.most);
            Some(Question { key, debt: (-slice.balance).max(0), want })
        };
        keys.into_iter().filter_map(question).collect()
    }

    /// What nobody has used for a while, to be given back.
    pub(super) fn idle(&self, most: usize, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, slice) in shard.iter_mut().filter(|(_, slice)| slice.is_idle(now)) {
                if questions.len() >= most {
                    return questions;
                }
                questions.push(Question { key: *key, debt: -slice.balance, want: 0 });
                slice.balance = 0;
            }
        }
        questions
    }

    /// Redis has answered; `asked` is when it was asked.
    pub(super) fn granted(&self, question: Question, grant: Grant, asked: Instant) {
        let mut shard = self.shard(question.key);
        let Some(slice) = shard.get_mut(&question.key) else { return };
        if question.debt < 0 {
            return;
        }
        slice.balance += question.debt + grant.given as i64;
        slice.heard = true;
        slice.asks = false;
        slice.spent = 0;
        slice.left = grant.left;
        slice.ends = asked + grant.ends;
        let none = grant.given == 0;
        slice.none_until = none.then(|| (asked + self.rule.again).min(slice.ends));
    }

    /// The questions were not answered.
    pub(super) fn unanswered(&self) {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values_mut().for_each(|slice| slice.asks = false);
        }
    }
}

/// Forgets those whose window is over, or else one that was not used for long.
fn make_room(shard: &mut HashMap<Key, Slice>, now: Instant) {
    shard.retain(|_, slice| now < slice.ends);
    if shard.len() > 1 {
        let oldest = shard.iter().min_by_key(|(_, slice)| slice.last).map(|(key, _)| *key);
        oldest.map(|key| shard.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Redis, as its script has it, for one key and one window.
    struct Counter {
        most: i64,
        given: i64,
        processes: i64,
    }

    impl Counter {
        fn answer(&mut self, question: Question) -> Grant {
            let room = self.most - self.given - question.debt;
            let given = match room > 0 && question.want > 0 {
                true => (question.want as i64).min(room / self.processes).max(1),
                false => 0,
            };
            self.given += question.debt + given;
            let left = (room - given).max(0) as u64;
            Grant { given: given as u64, left, ends: 60 * SECOND }
        }
    }

    fn slices(ahead: u64) -> Slices {
        Slices::new(Rule { most: 100, ahead, keys: 1000, again: SECOND })
    }

    #[test]
    fn gw_18_three_processes_admit_within_the_bound_and_use_all_of_it() {
        let now = Instant::now();
        for every in [1, 3, 7, 50] {
            let processes = [slices(4), slices(4), slices(4)];
            let mut counter = Counter { most: 100, given: 0, processes: 3 };
            let mut passed = 0;
            // the third one is nearly idle
            for n in 0..2000 {
                let process = &processes[match n % 20 {
                    0 => 2,
                    n => n % 2,
                }];
                let (taken, _) = process.take(7, 1, now, now + 60 * SECOND);
                passed += u64::from(matches!(taken, Taken::Passes { .. }));
                if n % every == 0 {
                    for process in &processes {
                        for question in process.questions(100) {
                            process.granted(question, counter.answer(question), now);
                        }
                    }
                }
            }
            assert!((97..=112).contains(&passed), "asked each {every}: {passed}");
        }
    }

    #[test]
    fn gw_18_without_an_answer_no_more_passes_than_may_ahead() {
        let (slices, now) = (slices(4), Instant::now());
        let passed = |slices: &Slices, now| {
            (0..50)
                .filter(|_| {
                    matches!(slices.take(1, 1, now, now + 60 * SECOND).0, Taken::Passes { .. })
                })
                .count()
        };
        assert_eq!(passed(&slices, now), 4);
        let questions = slices.questions(10);
        assert_eq!((questions.len(), questions[0].debt), (1, 4));
        assert_eq!(passed(&slices, now), 0, "however often it asks");
        let grant = Grant { given: 0, left: 0, ends: SECOND };
        slices.granted(questions[0], grant, now);
        assert_eq!(slices.take(1, 1, now, now + 60 * SECOND).0, Taken::Refused { wait: SECOND });
        assert_eq!(passed(&slices, now + SECOND), 4, "the next window is another one");
    }

    #[test]
    fn gw_18_what_is_not_used_is_given_back_and_memory_is_bounded() {
        let (slices, now) = (slices(4), Instant::now());
        slices.take(1, 1, now, now + 60 * SECOND);
        let question = slices.questions(10)[0];
        slices.granted(question, Grant { given: 30, left: 60, ends: 60 * SECOND }, now);
        assert_eq!((slices.questions(10), slices.idle(10, now)), (vec![], vec![]));
        let back = slices.idle(10, now + 2 * SECOND);
        assert_eq!(back, [Question { key: 1, debt: -30, want: 0 }]);
        for key in 0..100_000 {
            slices.take(key, 1, now, now + 60 * SECOND);
        }
        let kept: usize = slices.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= 1000 + SHARDS, "{kept}");
    }
}
