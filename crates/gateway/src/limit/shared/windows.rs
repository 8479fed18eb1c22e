//! The windows in which a shared limit is counted: of a length, or periods of the calendar.

use std::time::{Duration, Instant, SystemTime};

use super::super::calendar::{Calendar, Period, Quota};
use super::super::counting::{Counting, Verdict, Window, nanos};
use super::super::ledger::{Key, Ledger};
use super::super::table::Table;
use crate::token::seconds;
use transom_settings::Rate;

/// See the module; with what a process counts by itself while Redis is away.
pub enum Windows {
    /// From the beginning of 1970 on, by the clock of Redis.
    Every { per: Duration, sliding: bool, alone: Box<(Counting, Table)> },
    /// By the clock of the process.
    Periods { period: Period, calendar: Calendar, alone: Box<(Quota, Ledger)> },
}

/// What Redis has to be told of a window.
pub(super) struct Told {
    /// Behind the key, where the process says which window it is.
    pub(super) suffix: String,
    /// Milliseconds: how long windows are, or until this one ends.
    pub(super) per: u128,
    /// How the script counts.
    pub(super) mode: &'static [u8],
}

impl Windows {
    /// Windows of a rate, for one of so many processes.
    pub fn of_rate(rate: Rate, window: Window, processes: u64, keys: usize) -> Self {
        let part = Rate { count: (rate.count / processes).max(1), per: rate.per };
        let alone = Box::new((Counting::new(part, window, None), Table::new(keys)));
        Windows::Every { per: rate.per.get(), sliding: window == Window::Sliding, alone }
    }

    /// Periods of a quota.
    pub fn of_quota(quota: Quota, calendar: Calendar, processes: u64, keys: usize) -> Self {
        let part = Quota { count: (quota.count / processes).max(1), per: quota.per };
        let alone = Box::new((part, Ledger::new("", keys)));
        Windows::Periods { period: quota.per, calendar, alone }
    }

    /// How long the window lasts at most that begins or goes on now.
    pub(super) fn lasts(&self, now: SystemTime) -> Duration {
        match self {
            Windows::Every { per, .. } => *per,
            Windows::Periods { period, calendar, .. } => {
                let now = seconds(now);
                let left = calendar.ends(*period, now).saturating_sub(now);
                Duration::from_secs(u64::try_from(left).unwrap_or(0))
            }
        }
    }

    pub(super) fn told(&self, now: SystemTime) -> Told {
        match self {
            Windows::Every { per, sliding, .. } => Told {
                suffix: String::new(),
                per: per.as_millis(),
                mode: if *sliding { b"1" } else { b"0" },
            },
            Windows::Periods { period, calendar, .. } => Told {
                suffix: format!(":{}", calendar.ends(*period, seconds(now))),
                per: self.lasts(now).as_millis(),
                mode: b"2",
            },
        }
    }

    /// The part of this process alone.
    pub(super) fn alone(&self, key: Key, cost: u64) -> Verdict {
        match self {
            Windows::Every { alone, .. } => {
                let (counting, table) = &**alone;
                let time = table.time(Instant::now());
                let hash = table.hash(&key.to_le_bytes());
                table.change(hash, |word| counting.charge(word, time, cost))
            }
            Windows::Periods { calendar, alone, .. } => {
                let (quota, ledger) = &**alone;
                let now = seconds(SystemTime::now());
                ledger.charge(key, &[*quota], calendar, cost, now, false)[0]
            }
        }
    }

    /// The time that a verdict speaks of where all pass, or none.
    pub(super) fn whole(&self) -> u64 {
        nanos(self.lasts(SystemTime::now()))
    }
}
