//! Watches what the process holds and how late its workers are, and says what is given up.
//!
//! Memory and file descriptors go up a ladder: idle connections first, then new requests, then new
//! connections. A step is gone up at once, and down one at a time, a little below where it begins,
//! so that it is not gone up again by what going down lets in. How late the workers are sets a
//! share of requests that is not taken, which grows while they are late and shrinks when they are
//! not: to turn everybody away would leave them idle the next moment.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use transom_net::pressure::{Level, Pressure};

use crate::config::{self, MemoryBudget};
use crate::log;
use crate::reload::Running;

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(250);
/// A step is left so far below where it begins.
const BELOW: f64 = 0.05;
/// Most of the requests that are turned away because workers are late: some tell whether they still
/// are.
const MOST: f64 = 0.95;

/// What was seen: parts of what there may be, 1 being all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    pub memory: Option<f64>,
    pub descriptors: Option<f64>,
    /// Of the worker that is latest.
    pub lag: Duration,
}

/// From where on each step of the ladder is gone up.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Steps {
    tight: f64,
    shed: f64,
    close: f64,
    lag: Option<Duration>,
}

/// What is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    pub level: Level,
    /// Of requests, because workers are late.
    pub share: f64,
    pub seen: Seen,
}

impl Steps {
    fn of(written: &config::Overload) -> Self {
        Steps {
            tight: written.tight.ratio(),
            shed: written.shed.ratio(),
            close: written.close.ratio(),
            lag: written.lag.get().map(|lag| lag.get()),
        }
    }

    fn begins(&self, level: Level) -> f64 {
        match level {
            Level::Calm => 0.0,
            Level::Tight => self.tight,
            Level::Shedding => self.shed,
            Level::Closed => self.close,
        }
    }
}

impl State {
    /// What follows from what is seen now.
    fn next(self, seen: Seen, steps: &Steps) -> State {
        let fullest = [seen.memory, seen.descriptors].into_iter().flatten().fold(0.0, f64::max);
        let reached = Level::ALL.into_iter().rev().find(|level| fullest >= steps.begins(*level));
        let reached = reached.unwrap_or_default();
        let level = match self.level {
            now if reached >= now => reached,
            now if fullest < steps.begins(now) - BELOW => {
                Level::ALL[(now as usize).saturating_sub(1)].max(reached)
            }
            now => now,
        };
        let share = match steps.lag {
            // Late for the first time is a standstill of the machine: it is over when it is seen (D-14).
            Some(most) if seen.lag > most && self.seen.lag <= most / 2 => self.share,
            Some(most) if seen.lag > most => (self.share + 0.1).min(MOST),
            Some(most) if seen.lag > most / 2 => self.share,
            _ if self.share < 0.02 => 0.0,
            _ => self.share * 0.5,
        };
        State { level, share, seen }
    }

    /// Of 10,000 requests so many are not taken.
    fn turned_away(&self) -> u32 {
        match self.level >= Level::Shedding {
            true => 10_000,
            false => (self.share * 10_000.0) as u32,
        }
    }

    /// Whether anything is given up.
    pub fn is_pressed(&self) -> bool {
        self.level > Level::Calm || self.share > 0.0
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: f64| (part * 100.0).round() as u64;
        let Seen { memory, descriptors, lag } = self.seen;
        let given_up = match self.level {
            Level::Calm if self.share > 0.0 => {
                return write!(
                    f,
                    "workers are {} ms late: {} % of requests are answered with 503",
                    lag.as_millis(),
                    percent(self.share)
                );
            }
            Level::Calm => return f.write_str("there is room again: nothing is given up"),
            Level::Tight => "idle connections are closed",
            Level::Shedding => "requests are answered with 503",
            Level::Closed => "nothing is accepted",
        };
        let memory = memory.map(|part| ("memory", part));
        let descriptors = descriptors.map(|part| ("file descriptors", part));
        let used = [memory, descriptors].into_iter().flatten().max_by(|a, b| a.1.total_cmp(&b.1));
        let (what, part) = used.unwrap_or(("memory", 0.0));
        write!(f, "{} % of the {what} is in use: {given_up}", percent(part))
    }
}

/// Looks again and again, and tells the workers. Ends with the program.
pub async fn watch(running: Arc<Running>, pressure: Arc<Pressure>) {
    let mut state = State::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let written = running.config().await.overload.clone();
        let ceiling = |limit: transom_settings::Limit<u32>| limit.get().map(|most| most as usize);
        pressure.connections.limit(ceiling(written.connections));
        let rate = written.connection_rate.value.get();
        pressure.turnstile.set(rate.map(|rate| (rate.count, rate.per.get())));
        pressure.requests.limit(ceiling(written.requests));
        let seen = Seen {
            memory: memory(written.memory.value),
            descriptors: descriptors(),
            lag: pressure.lags().flatten().max().unwrap_or_default(),
        };
        let next = state.next(seen, &Steps::of(&written));
        pressure.set(next.level, next.turned_away());
        // On change only, and a share is one change however it grows.
        let changed = (next.level, next.share > 0.0) != (state.level, state.share > 0.0);
        if changed {
            match next.is_pressed() {
                true if next.level >= state.level => log::warn(&next.to_string()),
                true => log::info(&format!("less is given up: {next}")),
                false => log::info(&next.to_string()),
            }
        }
        state = next;
        running.set_overload(state);
    }
}

/// Memory that is really there, as a part of the budget.
fn memory(budget: MemoryBudget) -> Option<f64> {
    let budget = match budget {
        MemoryBudget::Off => return None,
        MemoryBudget::Of(size) => size.bytes(),
        MemoryBudget::Auto => group_limit().or_else(machine_memory)?,
    };
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some((pages * rustix::param::page_size() as u64) as f64 / budget as f64)
}

/// What the control group of this process may have (cgroups(7), version 2, else 1).
fn group_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.trim_start_matches('/');
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        // Inside a container the path is that of the outside, and the group itself is the root.
        let own = Path::new(root).join(path).join(file);
        let text =
            fs::read_to_string(own).or_else(|_| fs::read_to_string(Path::new(root).join(file)));
        text.ok()?.trim().parse::<u64>().ok()
    });
    // Version 1 writes "no limit" as a number beyond any memory.
    limits.min().filter(|limit| machine_memory().is_none_or(|all| *limit < all))
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Open file descriptors, as a part of how many there may be.
fn descriptors() -> Option<f64> {
    let most = getrlimit(Resource::Nofile).current?;
    // Since Linux 6.2 the directory says how many there are without being read.
    let open = match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        open => open,
    };
    Some(open as f64 / most as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps =
        Steps { tight: 0.8, shed: 0.9, close: 0.95, lag: Some(Duration::from_millis(100)) };

    #[test]
    fn d_10_steps_are_gone_up_at_once_and_down_one_by_one() {
        use Level::{Calm, Closed, Shedding, Tight};
        let mut state = State::default();
        for (memory, descriptors, expected) in [
            (0.10, 0.10, Calm),
            (0.79, 0.10, Calm),
            (0.80, 0.10, Tight),
            // A little below: not yet.
            (0.76, 0.10, Tight),
            (0.74, 0.10, Calm),
            (0.10, 0.91, Shedding),
            (0.10, 0.87, Shedding),
            (0.10, 0.84, Tight),
            (0.10, 0.99, Closed),
            (0.96, 0.10, Closed),
            (0.91, 0.10, Closed),
            (0.10, 0.10, Shedding),
            (0.10, 0.10, Tight),
            (0.10, 0.10, Calm),
        ] {
            let seen =
                Seen { memory: Some(memory), descriptors: Some(descriptors), ..Seen::default() };
            state = state.next(seen, &STEPS);
            assert_eq!(state.level, expected, "{memory} {descriptors}");
            assert_eq!(state.turned_away() == 10_000, expected >= Shedding);
        }
    }

    #[test]
    fn l_08_a_share_grows_while_workers_are_late_and_is_soon_gone_when_they_are_not() {
        let mut state = State::default();
        let mut see = |millis| {
            let lag = Duration::from_millis(millis);
            state = state.next(Seen { lag, ..Seen::default() }, &STEPS);
            state.turned_away()
        };
        assert_eq!((see(20), see(1500), see(20)), (0, 0, 0), "a standstill");
        assert_eq!((see(20), see(99)), (0, 0));
        assert_eq!((see(101), see(300)), (1000, 2000));
        assert_eq!(see(70), 2000, "between the two it stays");
        for _ in 0..20 {
            see(500);
        }
        assert_eq!(see(500), 9500, "some go through, to tell whether it is over");
        let looks = (1..).find(|_| see(1) == 0).unwrap();
        assert!(looks <= 8, "gone after two seconds: {looks}");
    }

    #[test]
    fn what_is_given_up_is_told_with_why() {
        let seen =
            Seen { memory: Some(0.914), descriptors: Some(0.2), lag: Duration::from_millis(1500) };
        for (level, share, expected) in [
            (Level::Tight, 0.0, "91 % of the memory is in use: idle connections are closed"),
            (Level::Shedding, 0.0, "91 % of the memory is in use: requests are answered with 503"),
            (Level::Closed, 0.5, "91 % of the memory is in use: nothing is accepted"),
            (Level::Calm, 0.3, "workers are 1500 ms late: 30 % of requests are answered with 503"),
            (Level::Calm, 0.0, "there is room again: nothing is given up"),
        ] {
            assert_eq!(State { level, share, seen }.to_string(), expected);
        }
    }

    #[test]
    fn this_process_uses_something_of_what_there_is() {
        for part in [memory(MemoryBudget::Auto), descriptors()] {
            assert!(part.is_some_and(|part| part > 0.0 && part < 1.0), "{part:?}");
        }
        assert_eq!(memory(MemoryBudget::Off), None);
        let byte = transom_settings::ByteSize(1);
        assert!(memory(MemoryBudget::Of(byte)) > Some(1.0));
    }
}
