//! The error-ratio breaker: a pool that mostly fails is left alone for a while.
//!
//! Closed: everything passes and is counted. Once `errors` of at least `requests` within `window`
//! have failed it opens: nothing passes for `open`. Then it is half open: `trials` requests pass;
//! if all of them succeed it closes, with the first that fails it opens again, for twice as long
//! each time, [`LONGEST`] at most. A trial that goes on for longer than `open`, such as a WebSocket, is
//! not waited for: another one takes its place.

use std::time::{Duration, Instant};

/// Longest time for which it stays open.
pub const LONGEST: Duration = Duration::from_secs(300);
/// Into how many parts the window is divided.
const SLOTS: u32 = 10;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerRule {
    /// The share of errors, from 0 to 1.
    pub errors: f64,
    /// How many requests there must have been.
    pub requests: u32,
    pub window: Duration,
    pub open: Duration,
    pub trials: u32,
}

impl Default for BreakerRule {
    fn default() -> Self {
        BreakerRule {
            errors: 0.5,
            requests: 20,
            window: Duration::from_secs(10),
            open: Duration::from_secs(5),
            trials: 3,
        }
    }
}

/// What a breaker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Closed,
    Open,
    HalfOpen,
}

impl Position {
    pub fn as_str(self) -> &'static str {
        match self {
            Position::Closed => "closed",
            Position::Open => "open",
            Position::HalfOpen => "half-open",
        }
    }
}

/// Whether a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    Yes,
    /// As a trial; its end is told with this mark.
    Trial,
    /// Not before so long.
    No(Duration),
}

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    rule: BreakerRule,
    state: State,
    /// How often it has opened without closing in between.
    opened: u32,
}

#[derive(Debug)]
enum State {
    Closed(Counts),
    Open {
        until: Instant,
    },
    /// Trials, since the first of those that are waited for.
    HalfOpen {
        started: u32,
        succeeded: u32,
        since: Instant,
    },
}

impl Breaker {
    pub fn new(rule: BreakerRule, now: Instant) -> Self {
        Breaker { rule, state: State::Closed(Counts::new(now)), opened: 0 }
    }

    pub fn position(&self) -> Position {
        match self.state {
            State::Closed(_) => Position::Closed,
            State::Open { .. } => Position::Open,
            State::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    /// For how long it stays open.
    pub fn left(&self, now: Instant) -> Duration {
        match self.state {
            State::Open { until } => until.saturating_duration_since(now),
            State::Closed(_) | State::HalfOpen { .. } => Duration::ZERO,
        }
    }

    /// Whether a request may pass now.
    pub fn pass(&mut self, now: Instant) -> Passing {
        if let State::Open { until } = self.state {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                return Passing::No(left);
            }
            self.state = State::HalfOpen { started: 0, succeeded: 0, since: now };
        }
        match &mut self.state {
            State::HalfOpen { started, succeeded, since } => {
                let trials = self.rule.trials.max(1);
                if *started >= trials && now.saturating_duration_since(*since) >= self.rule.open {
                    (*started, *since) = (*succeeded, now);
                }
                if *started >= trials {
                    return Passing::No(Duration::from_millis(1));
                }
                *started += 1;
                Passing::Trial
            }
            State::Closed(_) | State::Open { .. } => Passing::Yes,
        }
    }

    /// How a request that passed has ended; `None` where that says nothing. Gives the new position
    /// where that changes it.
    pub fn ended(&mut self, trial: bool, failed: Option<bool>, now: Instant) -> Option<Position> {
        match (&mut self.state, failed) {
            // What began before it opened says nothing about now.
            (State::Open { .. }, _) => None,
            (State::HalfOpen { .. }, _) if !trial => None,
            (State::HalfOpen { started, .. }, None) => {
                *started = started.saturating_sub(1);
                None
            }
            (State::HalfOpen { .. }, Some(true)) => Some(self.open(now)),
            (State::HalfOpen { succeeded, .. }, Some(false)) => {
                *succeeded += 1;
                if *succeeded < self.rule.trials.max(1) {
                    return None;
                }
                self.opened = 0;
                self.state = State::Closed(Counts::new(now));
                Some(Position::Closed)
            }
            (State::Closed(_), None) => None,
            (State::Closed(counts), Some(failed)) => {
                let (all, errors) = counts.count(failed, self.rule.window, now);
                let opens = failed
                    && all >= self.rule.requests.max(1)
                    && f64::from(errors) >= self.rule.errors * f64::from(all);
                opens.then(|| self.open(now))
            }
        }
    }

    fn open(&mut self, now: Instant) -> Position {
        let times = 1u32 << self.opened.min(16);
        self.opened += 1;
        let open = self.rule.open.saturating_mul(times).min(LONGEST.max(self.rule.open));
        self.state = State::Open { until: now + open };
        Position::Open
    }
}

/// Requests and errors of the window, a tenth of it in each slot.
#[derive(Debug)]
struct Counts {
    slots: [(u32, u32); SLOTS as usize],
    /// Slots since `origin`, the last of them being filled.
    slot: u64,
    origin: Instant,
}

impl Counts {
    fn new(now: Instant) -> Self {
        Counts { slots: [(0, 0); SLOTS as usize], slot: 0, origin: now }
    }

    /// Counts one more; all and errors of the window.
    fn count(&mut self, failed: bool, window: Duration, now: Instant) -> (u32, u32) {
        let width = (window / SLOTS).as_micros().max(1);
        let slot = (now.saturating_duration_since(self.origin).as_micros() / width) as u64;
        for passed in (self.slot + 1..=slot).rev().take(SLOTS as usize) {
            self.slots[(passed % u64::from(SLOTS)) as usize] = (0, 0);
        }
        self.slot = self.slot.max(slot);
        let current = &mut self.slots[(self.slot % u64::from(SLOTS)) as usize];
        current.0 = current.0.saturating_add(1);
        current.1 = current.1.saturating_add(u32::from(failed));
        let sum = |(all, errors): (u32, u32), slot: &(u32, u32)| {
            (all.saturating_add(slot.0), errors.saturating_add(slot.1))
        };
        self.slots.iter().fold((0, 0), sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule = BreakerRule {
        errors: 0.5,
        requests: 4,
        window: Duration::from_secs(10),
        open: Duration::from_secs(5),
        trials: 2,
    };

    /// Each event at a second: `+` and `-` are requests that succeed and fail, `o` one that says
    /// nothing, `b` one that fails but began before. What each met: passed, trial, refused; and how
    /// the breaker stands after it: Closed, Open, Half-open.
    fn run(events: &[(u64, char)]) -> String {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULE, start);
        let mut out = String::new();
        for (second, event) in events {
            let now = start + Duration::from_secs(*second);
            let failed = match event {
                '+' => Some(false),
                '-' | 'b' => Some(true),
                _ => None,
            };
            if *event == 'b' {
                breaker.ended(false, failed, now);
                out.push('b');
            } else {
                match breaker.pass(now) {
                    Passing::No(_) => out.push('r'),
                    passing => {
                        breaker.ended(passing == Passing::Trial, failed, now);
                        out.push(if passing == Passing::Trial { 't' } else { 'p' });
                    }
                }
            }
            out.push(match breaker.position() {
                Position::Closed => 'C',
                Position::Open => 'O',
                Position::HalfOpen => 'H',
            });
        }
        out
    }

    #[test]
    fn it_opens_tries_and_closes() {
        for (what, events, expected) in [
            ("few requests open nothing", &[(0, '-'), (0, '-'), (0, '-')][..], "pCpCpC"),
            ("half of enough does", &[(0, '+'), (0, '+'), (0, '-'), (0, '-')], "pCpCpCpO"),
            ("it opens only with an error", &[(0, '-'), (0, '-'), (0, '-'), (0, '+')], "pCpCpCpC"),
            (
                "errors that are long ago do not count",
                &[(0, '-'), (0, '-'), (0, '-'), (11, '-'), (11, '+')],
                "pCpCpCpCpC",
            ),
            (
                "nothing passes until the time is over, then trials that close it",
                &[(0, '-'), (0, '-'), (0, '-'), (0, '-'), (4, '+'), (5, '+'), (5, '+'), (5, '+')],
                "pCpCpCpOrOtHtCpC",
            ),
            (
                "a trial that fails opens it for twice as long",
                &[(0, '-'), (0, '-'), (0, '-'), (0, '-'), (5, '-'), (14, '+'), (15, '+')],
                "pCpCpCpOtOrOtH",
            ),
            (
                "who began before says nothing, and who was abandoned gives its trial back",
                &[(0, '-'), (0, '-'), (0, '-'), (0, '-'), (5, 'o'), (5, 'b'), (5, '+'), (5, '+')],
                "pCpCpCpOtHbHtHtC",
            ),
        ] {
            assert_eq!(run(events), expected, "{what}");
        }
    }

    #[test]
    fn no_more_than_the_trials_pass_at_once() {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULE, start);
        for _ in 0..4 {
            breaker.ended(false, Some(true), start);
        }
        let now = start + RULE.open;
        let passing: Vec<_> = (0..4).map(|_| breaker.pass(now)).collect();
        assert_eq!(passing[..2], [Passing::Trial, Passing::Trial]);
        assert!(passing[2..].iter().all(|passing| matches!(passing, Passing::No(_))));
    }

    /// Three WebSockets that were its trials kept everybody else away for as long as they lasted.
    #[test]
    fn trials_that_go_on_for_long_are_not_waited_for() {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULE, start);
        for _ in 0..4 {
            breaker.ended(false, Some(true), start);
        }
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!([breaker.pass(at(5)), breaker.pass(at(6))], [Passing::Trial; 2]);
        assert!(matches!(breaker.pass(at(9)), Passing::No(_)));
        // Another two, of which one succeeds and one goes on; and one more in its place.
        assert_eq!([breaker.pass(at(10)), breaker.pass(at(10))], [Passing::Trial; 2]);
        assert_eq!(breaker.ended(true, Some(false), at(11)), None);
        assert!(matches!(breaker.pass(at(14)), Passing::No(_)));
        assert_eq!(breaker.pass(at(15)), Passing::Trial);
        assert!(matches!(breaker.pass(at(15)), Passing::No(_)));
        assert_eq!(breaker.ended(true, Some(false), at(15)), Some(Position::Closed));
        // The first ones end at last, and say something about now.
        assert_eq!(breaker.ended(true, Some(false), at(3600)), None);
        assert_eq!(breaker.position(), Position::Closed);
    }

    #[test]
    fn it_stays_open_for_five_minutes_at_most() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(RULE, now);
        for _ in 0..4 {
            breaker.ended(false, Some(true), now);
        }
        for _ in 0..40 {
            let Passing::No(left) = breaker.pass(now) else { panic!("it is open") };
            assert!(left <= LONGEST);
            now += left;
            assert_eq!(breaker.pass(now), Passing::Trial);
            breaker.ended(true, Some(true), now);
        }
        assert_eq!(breaker.pass(now), Passing::No(LONGEST));
    }
}
