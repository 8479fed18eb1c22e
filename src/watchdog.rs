//! Looks after what the program itself cannot feel: workers that do not come round (D-15), and a clock
//! of the machine that jumps (D-13).
//!
//! It runs beside the workers, with their beats, and only tells: nothing that is decided about requests
//! goes by it, but for `overload.abort`, which ends the process so that a supervisor starts another.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use transom_net::pressure::Pressure;

use crate::log;
use crate::reload::Running;

/// From how late on a worker is said not to come round.
const STALLED: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);
/// By how much the clock of the machine may differ from what has passed.
const JUMP: Duration = Duration::from_secs(1);

/// What is to be told of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// It has not come round for so long.
    Stalls(Duration),
    /// It does again; for so long it did not.
    Back(Duration),
}

/// How a worker was seen the last time.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The latest that it was, since it does not come round.
    stalled: Option<Duration>,
}

impl Seen {
    /// What follows from how late it is now.
    fn look(&mut self, late: Duration) -> Option<News> {
        match self.stalled {
            None if late > STALLED => {
                self.stalled = Some(late);
                Some(News::Stalls(late))
            }
            Some(longest) if late > STALLED => {
                self.stalled = Some(longest.max(late));
                None
            }
            Some(longest) => {
                self.stalled = None;
                Some(News::Back(longest))
            }
            None => None,
        }
    }
}

/// Looks again and again. Ends with the program.
pub async fn watch(running: Arc<Running>, pressure: Arc<Pressure>) {
    let mut workers: Vec<Seen> = vec![Seen::default(); pressure.lags().count()];
    let mut clock = Clock::at(Instant::now(), SystemTime::now());
    loop {
        let asleep = Instant::now();
        tokio::time::sleep(LOOK).await;
        let now = Instant::now();
        if let Some(jump) = clock.look(now, SystemTime::now()) {
            log::warn(&jump.to_string());
        }
        if now.saturating_duration_since(asleep) > 2 * LOOK {
            // everybody stood still, such as in a machine that was halted (D-14)
            continue;
        }
        let abort = running.config().await.overload.abort.value.get().map(|after| after.get());
        for (id, late) in pressure.lags().enumerate() {
            let late = late.unwrap_or_default();
            match workers[id].look(late) {
                Some(News::Stalls(late)) => {
                    pressure.count_stall(id);
                    let (millis, doing) = (late.as_millis(), doing(id));
                    log::error(&format!("worker {id} has not come round for {millis} ms: {doing}"));
                }
                Some(News::Back(longest)) => {
                    let millis = longest.as_millis();
                    log::info(&format!("worker {id} comes round again, after {millis} ms"));
                }
                None => {}
            }
            if abort.is_some_and(|abort| late > abort) {
                let millis = late.as_millis();
                log::error(&format!(
                    "worker {id} has not come round for {millis} ms: the process ends \
                     (`overload.abort`)"
                ));
                std::process::abort();
            }
        }
    }
}

/// What the system says that the thread of a worker does (proc_pid_stat(5)).
fn doing(worker: usize) -> String {
    let name = crate::workers::thread(worker);
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut folders = tasks.map(|task| task.path());
    let folder = folders.find(|folder| {
        fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    });
    let Some(folder) = folder else { return "its thread is gone".to_owned() };
    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let stat = read("stat");
    // its name stands in brackets and may hold anything
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    let thread = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    describe(state, read("wchan").trim(), &thread)
}

fn describe(state: Option<char>, place: &str, thread: &str) -> String {
    let place = match place {
        "" | "0" => String::new(),
        place => format!(" in {place}"),
    };
    let does = match state {
        Some('R') => "it computes".to_owned(),
        Some('S') => format!("it waits in a system call{place}"),
        Some('D') => format!("it waits for a device{place}"),
        Some('T' | 't') => "it is held, by a debugger or a signal".to_owned(),
        _ => "nobody knows what it does".to_owned(),
    };
    format!("{does} (thread {thread})")
}

/// The clock of the machine beside the time that has passed.
struct Clock {
    passed: Instant,
    shown: SystemTime,
}

/// A clock that was set, or a machine that slept.
#[derive(Debug, PartialEq, Eq)]
struct Jump {
    forward: bool,
    by: Duration,
}

impl Clock {
    fn at(passed: Instant, shown: SystemTime) -> Self {
        Clock { passed, shown }
    }

    /// How far the clock has jumped since the last look, if it has.
    fn look(&mut self, now: Instant, shown: SystemTime) -> Option<Jump> {
        let expected = self.shown + now.saturating_duration_since(self.passed);
        *self = Clock { passed: now, shown };
        let (forward, by) = match shown.duration_since(expected) {
            Ok(ahead) => (true, ahead),
            Err(behind) => (false, behind.duration()),
        };
        (by > JUMP).then_some(Jump { forward, by })
    }
}

impl std::fmt::Display for Jump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (way, seconds) = (if self.forward { "forward" } else { "back" }, self.by.as_secs_f64());
        write!(
            f,
            "the clock of the machine has jumped {way} by {seconds:.1} s: timeouts, limits and idle \
             times do not go by it; certificates, tokens, periods of the calendar and logs do"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_15_a_worker_that_stalls_is_told_of_once_and_when_it_is_back() {
        let ms = Duration::from_millis;
        let mut seen = Seen::default();
        let looks = [0, 300, 1000, 1250, 1500, 4000, 4000, 20, 0, 1001, 0];
        let told: Vec<Option<News>> = looks.into_iter().map(|late| seen.look(ms(late))).collect();
        let expected = [
            None,
            None,
            None,
            Some(News::Stalls(ms(1250))),
            None,
            None,
            None,
            Some(News::Back(ms(4000))),
            None,
            Some(News::Stalls(ms(1001))),
            Some(News::Back(ms(1001))),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn d_15_what_a_thread_does_is_said() {
        for (state, place, said) in [
            (Some('R'), "0", "it computes (thread 7)"),
            (
                Some('S'),
                "futex_wait_queue",
                "it waits in a system call in futex_wait_queue (thread 7)",
            ),
            (Some('D'), "", "it waits for a device (thread 7)"),
            (Some('t'), "ptrace_stop", "it is held, by a debugger or a signal (thread 7)"),
            (None, "", "nobody knows what it does (thread 7)"),
        ] {
            assert_eq!(describe(state, place, "7"), said);
        }
    }

    #[test]
    fn d_13_a_clock_that_jumps_is_told_and_one_that_is_put_right_slowly_is_not() {
        let (start, shown) = (Instant::now(), SystemTime::now());
        let day = 24 * 3600;
        for (passed, by, expected) in [
            (250, 0, None),
            (250, 900, None),
            (250, -900, None),
            // the machine slept, or the process did: what has passed is not a jump
            (3_600_000, 0, None),
            (250, 3_600_000, Some((true, 3600))),
            (250, -3_600_000, Some((false, 3600))),
            (250, i64::from(day) * 1000, Some((true, day as u64))),
            // it stands still for a minute
            (60_000, -60_000, Some((false, 60))),
        ] {
            let mut clock = Clock::at(start, shown);
            let millis = u64::try_from(passed + by).map(Duration::from_millis);
            let after = match millis {
                Ok(forward) => shown + forward,
                Err(_) => shown - Duration::from_millis((passed + by).unsigned_abs()),
            };
            let now = start + Duration::from_millis(passed as u64);
            let jump = clock.look(now, after);
            let expected =
                expected.map(|(forward, by)| Jump { forward, by: Duration::from_secs(by) });
            assert_eq!(jump, expected, "{passed} {by}");
            // it is told once
            let next = clock.look(now + LOOK, after + LOOK);
            assert_eq!(next, None);
        }
    }
}
