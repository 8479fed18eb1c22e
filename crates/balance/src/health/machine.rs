//! From single probes to a judgement, and when to ask again.
//!
//! The first verdict counts at once, whichever it is. From then on a member goes down after `fall`
//! failed probes in a row and comes back after `rise` passed ones, so that one probe that is lost,
//! or every other one, changes nothing (U-03). Who has fallen often of late has to pass more:
//! `rise` for each fall within [`MEMORY`], ten times at most.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::state::Health;

/// For how long a fall is held against a member.
pub const MEMORY: Duration = Duration::from_secs(300);
/// How many times `rise` a member may have to pass.
const MOST: u32 = 10;

/// When members are probed, and how often they must pass or fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythm {
    /// Between two probes of a member that is up.
    pub every: Duration,
    /// Between two probes while the last one contradicts what is thought of the member, or nothing
    /// is known of it.
    pub fast: Duration,
    /// Between two probes of a member that is down.
    pub down: Duration,
    /// How long one probe may take, connecting included.
    pub timeout: Duration,
    /// By which share, from 0 to 1, each wait is longer or shorter, so that probes of many members
    /// and of many Transoms do not fall together.
    pub jitter: f64,
    /// Passed probes in a row after which a member is up again.
    pub rise: u32,
    /// Failed probes in a row after which it is down.
    pub fall: u32,
}

impl Default for Rhythm {
    fn default() -> Self {
        Rhythm {
            every: Duration::from_secs(5),
            fast: Duration::from_secs(1),
            down: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            jitter: 0.1,
            rise: 2,
            fall: 3,
        }
    }
}

/// What is made of the probes of one member.
#[derive(Debug)]
pub struct Machine {
    health: Health,
    /// Probes in a row that contradict `health`.
    against: u32,
    falls: VecDeque<Instant>,
}

impl Machine {
    /// Goes on from what was known before.
    pub fn new(health: Health) -> Self {
        Machine { health, against: 0, falls: VecDeque::new() }
    }

    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes the verdict of one probe; gives the new health where that changes it.
    pub fn probed(&mut self, passed: bool, rhythm: &Rhythm, now: Instant) -> Option<Health> {
        let verdict = if passed { Health::Up } else { Health::Down };
        if verdict == self.health {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < self.needed(rhythm, now) {
            return None;
        }
        if verdict == Health::Down {
            if self.falls.len() == MOST as usize {
                self.falls.pop_front();
            }
            self.falls.push_back(now);
        }
        self.against = 0;
        self.health = verdict;
        Some(verdict)
    }

    /// How many probes in a row it takes to change what is thought now.
    fn needed(&mut self, rhythm: &Rhythm, now: Instant) -> u32 {
        match self.health {
            Health::Unchecked => 1,
            Health::Up => rhythm.fall,
            Health::Down => {
                self.falls.retain(|fall| now.saturating_duration_since(*fall) < MEMORY);
                rhythm.rise.saturating_mul((self.falls.len() as u32).clamp(1, MOST))
            }
        }
    }

    /// How long to wait before the next probe; `random` is from 0 to 1.
    pub fn wait(&self, rhythm: &Rhythm, random: f64) -> Duration {
        let wait = match self.health {
            _ if self.against > 0 => rhythm.fast,
            Health::Unchecked => rhythm.fast,
            Health::Up => rhythm.every,
            Health::Down => rhythm.down,
        };
        wait.mul_f64(1.0 + rhythm.jitter * (2.0 * random - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm = Rhythm {
        every: Duration::from_secs(10),
        fast: Duration::from_secs(1),
        down: Duration::from_secs(3),
        timeout: Duration::from_secs(1),
        jitter: 0.1,
        rise: 2,
        fall: 3,
    };

    /// `+` and `-` are probes that pass and fail; `U`, `D` and `?` what is thought after each.
    fn judged(health: Health, probes: &str) -> String {
        let mut machine = Machine::new(health);
        let now = Instant::now();
        let judge = |probe: char| {
            machine.probed(probe == '+', &RHYTHM, now);
            match machine.health() {
                Health::Up => 'U',
                Health::Down => 'D',
                Health::Unchecked => '?',
            }
        };
        probes.chars().map(judge).collect()
    }

    #[test]
    fn probes_make_health() {
        use Health as H;
        for (before, probes, after) in [
            // the first verdict counts at once
            (H::Unchecked, "+", "U"),
            (H::Unchecked, "-", "D"),
            // three down
            (H::Up, "---", "UUD"),
            (H::Up, "--+--+", "UUUUUU"),
            // two up
            (H::Down, "++", "DU"),
            (H::Down, "+-+-", "DDDD"),
            // U-03: every other probe fails, nothing changes
            (H::Up, "-+-+-+-+", "UUUUUUUU"),
            (H::Down, "-+-+-+-+", "DDDDDDDD"),
            // who falls again must pass twice as often
            (H::Up, "---++---++++", "UUDDUUUDDDDU"),
        ] {
            assert_eq!(judged(before, probes), after, "{before:?} {probes}");
        }
    }

    #[test]
    fn old_falls_are_forgotten_and_many_do_not_shut_out_for_ever() {
        let mut machine = Machine::new(Health::Up);
        let start = Instant::now();
        let rules = Rhythm { fall: 1, rise: 1, ..RHYTHM };
        for _ in 0..30 {
            machine.probed(false, &rules, start);
            while machine.health() == Health::Down {
                machine.probed(true, &rules, start);
            }
        }
        machine.probed(false, &rules, start);
        let passes = (1..).find(|_| machine.probed(true, &rules, start).is_some());
        assert_eq!(passes, Some(MOST as usize));
        machine.probed(false, &rules, start + MEMORY);
        assert_eq!(machine.probed(true, &rules, start + MEMORY), Some(Health::Up));
    }

    #[test]
    fn probes_come_faster_when_something_changes() {
        let seconds = |machine: &Machine| machine.wait(&RHYTHM, 0.5).as_secs();
        let now = Instant::now();
        let mut machine = Machine::new(Health::Unchecked);
        assert_eq!(seconds(&machine), 1);
        machine.probed(true, &RHYTHM, now);
        assert_eq!(seconds(&machine), 10);
        machine.probed(false, &RHYTHM, now);
        assert_eq!(seconds(&machine), 1);
        machine.probed(false, &RHYTHM, now);
        machine.probed(false, &RHYTHM, now);
        assert_eq!(seconds(&machine), 3);
        machine.probed(true, &RHYTHM, now);
        assert_eq!(seconds(&machine), 1);
    }

    #[test]
    fn u05_waits_are_spread_by_the_jitter_and_no_more() {
        let machine = Machine::new(Health::Up);
        for (random, ms) in [(0.0, 9_000), (0.5, 10_000), (1.0, 11_000)] {
            let wait = machine.wait(&RHYTHM, random);
            assert!(wait.abs_diff(Duration::from_millis(ms)) < Duration::from_millis(1));
        }
    }
}
