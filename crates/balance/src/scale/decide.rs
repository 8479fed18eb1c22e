//! How many servers there should be: arithmetic on what is seen, and a memory of the last while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When there shall be how many.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub min: usize,
    pub max: usize,
    /// Requests at once that one server is meant to have.
    pub target: f64,
    /// How busy one server is meant to be, by its own report: 1 is what it can do.
    pub target_load: Option<f64>,
    /// For how long fewer must have been enough before one goes.
    pub cool_down: Duration,
}

/// What is seen at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    pub in_flight: usize,
    /// Requests that are held until a server is there.
    pub waiting: usize,
    /// Servers that are there or on their way, and that shall stay.
    pub servers: usize,
    /// How busy servers say they are, all together.
    pub load: f64,
}

/// How much busier servers may be than they are meant to be before more are started, so that a
/// report that is a little higher starts none (Kubernetes has the same).
const TOLERANCE: f64 = 1.1;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Stay,
    /// So many more, and why.
    Up(usize, String),
    /// So many fewer, and why.
    Down(usize, String),
}

/// Decides, and remembers what was needed lately.
#[derive(Debug, Default)]
pub struct Decider {
    /// Needs of the last while, each larger than all that came after it.
    needs: VecDeque<(Instant, usize)>,
}

impl Decider {
    pub fn decide(&mut self, rules: &Rules, seen: Seen, now: Instant) -> Decision {
        let work = seen.in_flight + seen.waiting;
        let by_work = (work as f64 / rules.target).ceil() as usize;
        // what was reported with the last response says nothing once there is nothing to do
        let target_load = rules.target_load.filter(|_| work > 0);
        let by_load = target_load.map_or(0, |target| match seen.load / target {
            enough if enough <= seen.servers as f64 * TOLERANCE => {
                seen.servers.min(enough.ceil() as usize)
            }
            more => more.ceil() as usize,
        });
        let needed = by_work.max(by_load).clamp(rules.min, rules.max);
        while self.needs.back().is_some_and(|(_, other)| *other <= needed) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, needed));
        while self.needs.front().is_some_and(|(at, _)| now.duration_since(*at) > rules.cool_down) {
            self.needs.pop_front();
        }
        if needed > seen.servers {
            let why = match (work, seen.waiting) {
                _ if by_load > by_work && by_load > rules.min => {
                    let (load, each) = (seen.load * 100.0, target_load.unwrap_or(1.0) * 100.0);
                    format!("they report {load:.0} % of load together, {each:.0} % for each")
                }
                (0, _) => format!("there shall be at least {}", rules.min),
                (_, 0) => format!("{work} requests are under way, {} for each", rules.target),
                (_, held) => {
                    format!("{work} requests, {held} of them held, {} for each", rules.target)
                }
            };
            return Decision::Up(needed - seen.servers, why);
        }
        let most = self.needs.front().map_or(needed, |(_, most)| *most);
        // before a whole while has been seen, nothing is known of it
        if most < seen.servers {
            let while_ = rules.cool_down.as_secs_f64();
            let why = match seen.servers > rules.max {
                true => format!("there shall be at most {}", rules.max),
                false => format!("for {while_} s no more than {most} were needed"),
            };
            return Decision::Down(seen.servers - most, why);
        }
        Decision::Stay
    }

    /// Something has begun: the last while counts from here.
    pub fn begin(&mut self, servers: usize, now: Instant) {
        self.needs.clear();
        self.needs.push_back((now, servers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { min: 0, max: 9, target: 10.0, target_load: None, cool_down: Duration::ZERO };

    #[test]
    fn what_is_seen_and_what_is_decided() {
        let rules = Rules { min: 0, max: 4, cool_down: Duration::from_secs(30), ..RULES };
        let start = Instant::now();
        let mut decider = Decider::default();
        for (second, in_flight, waiting, servers, expected) in [
            (0, 0, 0, 0, 0),
            (1, 0, 1, 0, 1),    // one is held
            (2, 0, 1, 1, 0),    // it is on its way
            (3, 10, 0, 1, 0),   // just enough
            (4, 11, 0, 1, 1),   // one more
            (5, 20, 900, 2, 2), // a spike, and there shall be four at most
            (6, 500, 0, 4, 0),
            (7, 0, 0, 4, 0), // quiet: not at once
            (30, 5, 0, 4, 0),
            (36, 5, 0, 4, 0), // thirty seconds after the last time all four were needed
            (37, 5, 0, 4, -3),
            (38, 0, 0, 1, 0),
            (60, 0, 0, 1, 0),
            (69, 0, 0, 1, -1), // and to zero
            (70, 0, 0, 0, 0),
        ] {
            let seen = Seen { in_flight, waiting, servers, load: 0.0 };
            let now = start + Duration::from_secs(second);
            let decided = match decider.decide(&rules, seen, now) {
                Decision::Stay => 0,
                Decision::Up(n, _) => n as i64,
                Decision::Down(n, _) => -(n as i64),
            };
            assert_eq!(decided, expected, "at {second} s: {seen:?}");
        }
    }

    #[test]
    fn there_are_never_fewer_or_more_than_there_shall_be() {
        let rules = Rules { min: 2, max: 3, target: 1.0, ..RULES };
        let mut decider = Decider::default();
        let now = Instant::now();
        let mut decide = |in_flight, servers| {
            decider.decide(&rules, Seen { in_flight, servers, ..Seen::default() }, now)
        };
        assert_eq!(decide(0, 0), Decision::Up(2, "there shall be at least 2".into()));
        assert!(matches!(decide(99, 2), Decision::Up(1, _)));
        assert!(matches!(decide(99, 5), Decision::Down(2, _)));
    }

    #[test]
    fn who_reports_to_be_busy_gets_help() {
        let rules = Rules { target_load: Some(0.5), ..RULES };
        for (in_flight, servers, load, expected) in [
            (5, 1, 0.0, 1),  // nothing was reported
            (5, 1, 0.5, 1),  // just as meant
            (5, 1, 0.54, 1), // a little more starts none
            (5, 1, 0.6, 2),
            (5, 2, 1.9, 4),
            (5, 4, 1.1, 3),
            (35, 2, 0.4, 4), // requests alone ask for more
            (0, 4, 2.0, 0),  // nothing to do: what was reported is over
            (5, 3, 40.0, 9),
        ] {
            let seen = Seen { in_flight, waiting: 0, servers, load };
            let servers = match Decider::default().decide(&rules, seen, Instant::now()) {
                Decision::Stay => servers,
                Decision::Up(n, _) => servers + n,
                Decision::Down(n, _) => servers - n,
            };
            assert_eq!(servers, expected, "{seen:?}");
        }
        let seen = Seen { in_flight: 3, servers: 1, load: 0.9, ..Seen::default() };
        let decision = Decider::default().decide(&rules, seen, Instant::now());
        let why = "they report 90 % of load together, 50 % for each".to_owned();
        assert_eq!(decision, Decision::Up(1, why));
    }
}
