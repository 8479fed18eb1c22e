//! How much a pool may be asked beyond what clients ask of it.
//!
//! Retries help while few members are bad, and make it worse when all are: every request then
//! becomes as many as may be tried. So within the last [`WINDOW`] there are at most a share of
//! retries to requests, whatever each request would be allowed by itself. Envoy counts what runs at
//! one moment instead, which does not bound retries after failures that come at once, such as
//! refused connections; Finagle, Linkerd and the Gateway API (GEP-3388) count over time, as here.
//!
//! Requests are not counted one by one: the attempts of all members are there already, and are
//! looked at when a retry asks. Who never retries pays nothing.

use std::time::{Duration, Instant};

/// Over which time retries are compared with requests; older ones fade away.
pub const WINDOW: Duration = Duration::from_secs(10);

/// What a pool allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// Retries for each request, from 0 to 1. Default 0.2.
    pub share: f64,
    /// Retries a second that are always allowed, so that a pool that is seldom asked has some.
    /// Default 3.
    pub minimum: f64,
}

impl Default for Allowance {
    fn default() -> Self {
        Allowance { share: 0.2, minimum: 3.0 }
    }
}

/// What was spent of it. Both counts fade with the time constant [`WINDOW`].
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    requests: f64,
    retries: f64,
    /// Attempts of all members at the last look.
    seen: u64,
    /// Retries that were granted and have not been seen among the attempts yet.
    owed: u64,
    at: Option<Instant>,
}

impl Budget {
    /// A budget of which nothing was spent.
    pub fn new() -> Self {
        Budget { requests: 0.0, retries: 0.0, seen: 0, owed: 0, at: None }
    }

    /// Whether one more retry is allowed, which is then spent. `attempts` is how many the pool has
    /// made since its start, retries among them.
    pub fn spend(&mut self, allowance: &Allowance, attempts: u64, now: Instant) -> bool {
        let window = WINDOW.as_secs_f64();
        let since = self.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let begun = attempts.saturating_sub(self.seen);
        let retried = begun.min(self.owed);
        let fresh = (begun - retried) as f64;
        let passed = since.as_secs_f64().min(1e9);
        let kept = (-passed / window).exp();
        // As if they had come evenly: what came long ago has faded as well.
        let weight =
            if passed > 0.0 && self.at.is_some() { window / passed * (1.0 - kept) } else { 1.0 };
        self.requests = self.requests * kept + fresh * weight;
        self.retries *= kept;
        self.owed -= retried;
        (self.seen, self.at) = (attempts, Some(now));
        let most = (self.requests * allowance.share).max(allowance.minimum * window);
        let granted = self.retries + 1.0 <= most;
        if granted {
            self.retries += 1.0;
            self.owed += 1;
        }
        granted
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many requests a second for so long, each of which fails and would be tried again three
    /// times; how many attempts there were for each request.
    fn amplification(budget: &mut Budget, rate: u64, start: Instant, time: Duration) -> f64 {
        let requests = rate * time.as_secs();
        let mut attempts = 0;
        for request in 0..requests {
            let now = start + time.mul_f64(request as f64 / requests as f64);
            attempts += 1;
            for _ in 0..3 {
                if !budget.spend(&Allowance::default(), attempts, now) {
                    break;
                }
                attempts += 1;
            }
        }
        attempts as f64 / requests as f64
    }

    #[test]
    fn with_everything_down_there_is_a_fifth_more_and_not_thrice_as_much() {
        for (rate, seconds) in [(2_000, 60), (2_000, 5), (500, 10)] {
            let start = Instant::now();
            let mut budget = Budget::new();
            let times = amplification(&mut budget, rate, start, Duration::from_secs(seconds));
            assert!((1.10..=1.2001).contains(&times), "{rate}/s for {seconds} s: {times}");
        }
    }

    #[test]
    fn who_is_seldom_asked_may_retry_nevertheless() {
        let mut budget = Budget::new();
        let start = Instant::now();
        let granted = (0..100).filter(|n| budget.spend(&Allowance::default(), *n, start)).count();
        assert_eq!(granted, 30, "three a second for ten seconds, at once");
        assert!(!budget.spend(&Allowance::default(), 100, start));
        assert!(budget.spend(&Allowance::default(), 100, start + Duration::from_secs(1)));
        let none = Allowance { share: 0.0, minimum: 0.0 };
        assert!(!budget.spend(&none, 1_000_000, start + Duration::from_secs(60)));
    }

    #[test]
    fn a_member_that_falls_among_healthy_traffic_is_within_the_budget() {
        let mut budget = Budget::new();
        let start = Instant::now();
        budget.spend(&Allowance::default(), 1, start);
        // 2,000 requests a second for ten seconds, and then 300 failures at one blow
        let now = start + WINDOW;
        assert!((0..300).all(|n| budget.spend(&Allowance::default(), 20_000 + n, now)));
    }

    #[test]
    fn a_long_calm_makes_no_large_purse() {
        let mut budget = Budget::new();
        let start = Instant::now();
        budget.spend(&Allowance::default(), 0, start);
        let now = start + Duration::from_secs(36_000);
        // 100 requests a second for ten hours
        let granted = (0..100_000u64)
            .take_while(|n| budget.spend(&Allowance::default(), 3_600_000 + n, now))
            .count();
        assert!((195..=205).contains(&granted), "{granted}");
    }

    #[test]
    fn attempts_that_are_forgotten_with_their_member_do_no_harm() {
        let mut budget = Budget::new();
        let start = Instant::now();
        budget.spend(&Allowance::default(), 1_000_000, start);
        assert!(budget.spend(&Allowance::default(), 10, start + Duration::from_secs(1)));
    }
}
