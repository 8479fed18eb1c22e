//! A limit of concurrency that finds itself: Envoy's gradient controller.
//!
//! As long as more concurrency brings more throughput, latency stays what it is without any; beyond
//! that, requests only wait for each other. So the least latency is measured now and then, with
//! hardly any concurrency, and every [`UPDATE`] the median of what was measured since is compared:
//!
//! ```text
//! gradient = (least + buffer) / median             between 0.5 and 2
//! limit    = limit * gradient + sqrt(limit)        the root is the headroom to grow by
//! ```
//!
//! Measuring the least latency ends without all its samples once none comes for [`QUIET`], or after
//! [`LONGEST`]: the few that are let in may be streams that go on for hours.

use std::time::{Duration, Instant};

/// How often the limit is worked out anew.
pub const UPDATE: Duration = Duration::from_millis(100);
/// Concurrency while the least latency is measured.
pub const LEAST_CONCURRENCY: usize = 3;
/// How many samples that takes.
const SAMPLES: usize = 50;
/// How long it goes on without a sample, and altogether; or ten times the least latency, if that is more.
pub const QUIET: Duration = Duration::from_millis(250);
pub const LONGEST: Duration = Duration::from_secs(5);
/// Samples that are kept for one update.
const KEPT: usize = 512;

/// Between which bounds, and how often the least latency is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientRule {
    pub least: usize,
    pub most: usize,
    /// Between two measurements of the least latency; 15 % more or less.
    pub measure: Duration,
    /// Which part of the least latency is allowed on top of it. 0.25.
    pub buffer: f64,
}

impl Default for GradientRule {
    fn default() -> Self {
        GradientRule {
            least: LEAST_CONCURRENCY,
            most: 1000,
            measure: Duration::from_secs(60),
            buffer: 0.25,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Gradient {
    rule: GradientRule,
    limit: f64,
    /// Seconds.
    least: Option<f64>,
    /// Until there are enough samples of the least latency.
    measuring: Option<Measuring>,
    samples: Vec<f64>,
    /// When the limit is worked out, or the least latency measured, next.
    update: Instant,
    measure: Instant,
    /// By how much the next measurement is late or early, from 0 to 1.
    spread: f64,
}

/// The least latency is being measured.
#[derive(Clone, Copy, Debug)]
struct Measuring {
    since: Instant,
    /// When the last sample came.
    heard: Instant,
}

impl Gradient {
    pub fn new(rule: GradientRule, now: Instant) -> Self {
        Gradient {
            limit: rule.least as f64,
            rule,
            least: None,
            measuring: Some(Measuring { since: now, heard: now }),
            samples: Vec::with_capacity(SAMPLES),
            update: now,
            measure: now,
            spread: 0.5,
        }
    }

    /// How many may run at once.
    pub fn limit(&mut self, now: Instant) -> usize {
        self.go_on(now);
        match self.measuring {
            Some(_) => self.few(),
            None => self.limit as usize,
        }
    }

    /// How many run while the least latency is measured.
    fn few(&self) -> usize {
        LEAST_CONCURRENCY.min(self.rule.most).max(1)
    }

    /// The latency of one request that was answered. `random` is from 0 to 1.
    pub fn sample(&mut self, latency: Duration, now: Instant, random: f64) {
        self.spread = random;
        if self.measuring.is_none() && now >= self.measure {
            self.samples.clear();
            self.measuring = Some(Measuring { since: now, heard: now });
            return;
        }
        if let Some(measuring) = &mut self.measuring {
            if self.least.is_none() && self.samples.is_empty() {
                // nothing was asked before
                measuring.since = now;
            }
            measuring.heard = now;
        }
        if self.samples.len() < KEPT {
            self.samples.push(latency.as_secs_f64().max(1e-6));
        }
        self.go_on(now);
    }

    /// Does what it is time for.
    fn go_on(&mut self, now: Instant) {
        if let Some(measuring) = self.measuring {
            let enough = self.samples.len() >= SAMPLES;
            if enough || self.is_in_vain(measuring, now) {
                self.measured(enough, now);
            }
        } else if now >= self.update && !self.samples.is_empty() {
            self.update = now + UPDATE;
            if let (Some(least), Some(median)) = (self.least, self.median()) {
                self.learn(least, median);
            }
        }
    }

    /// Whether there will not be enough samples, as far as can be said.
    fn is_in_vain(&self, Measuring { since, heard }: Measuring, now: Instant) -> bool {
        if self.least.is_none() && self.samples.len() < self.few() {
            // nothing is known yet, so that nothing is better than waiting
            return false;
        }
        let known = self.least.or_else(|| self.samples.iter().copied().reduce(f64::max));
        let slow = Duration::from_secs_f64(known.unwrap_or_default() * 10.0);
        now.saturating_duration_since(heard) >= QUIET.max(slow)
            || now.saturating_duration_since(since) >= LONGEST.max(slow)
    }

    /// Ends measuring with the samples there are; too few of them say nothing.
    fn measured(&mut self, enough: bool, now: Instant) {
        self.measuring = None;
        self.update = now + UPDATE;
        self.measure = now + self.rule.measure.mul_f64(0.85 + 0.3 * self.spread);
        if self.samples.len() >= self.few() {
            self.least = self.median();
        }
        self.samples.clear();
        if let (Some(least), false) = (self.least, enough) {
            // what was let in may go on for so long that nothing else is heard
            self.learn(least, least);
        }
    }

    fn learn(&mut self, least: f64, median: f64) {
        let gradient = ((least * (1.0 + self.rule.buffer)) / median).clamp(0.5, 2.0);
        let limit = self.limit * gradient;
        let (least, most) = (self.rule.least.max(1) as f64, self.rule.most.max(1) as f64);
        self.limit = (limit + limit.sqrt()).min(most).max(least.min(most));
    }

    /// Of the samples since the last one, which are forgotten.
    fn median(&mut self) -> Option<f64> {
        self.samples.sort_unstable_by(f64::total_cmp);
        let median = self.samples.get(self.samples.len() / 2).copied();
        self.samples.clear();
        median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that does `capacity` requests at once in 10 ms; more wait for each other. The limit
    /// after so long under as much load as it lets through.
    fn settled(capacity: usize, rule: GradientRule, time: Duration) -> usize {
        let mut now = Instant::now();
        let mut gradient = Gradient::new(rule, now);
        let end = now + time;
        while now < end {
            let running = gradient.limit(now);
            let latency =
                Duration::from_millis(10).mul_f64((running as f64 / capacity as f64).max(1.0));
            for _ in 0..running {
                gradient.sample(latency, now, 0.5);
            }
            now += latency;
        }
        gradient.limit(now)
    }

    #[test]
    fn the_limit_finds_the_capacity() {
        for capacity in [10, 50, 400] {
            let limit = settled(capacity, GradientRule::default(), Duration::from_secs(30));
            // a quarter of the latency is allowed, and the headroom on top of it
            let most = capacity as f64 * 1.25 + 2.0 * (capacity as f64 * 1.25).sqrt() + 2.0;
            assert!(limit >= capacity && limit as f64 <= most, "{capacity}: {limit}");
        }
    }

    #[test]
    fn l_09_ten_times_the_latency_cuts_it_within_two_updates_and_it_recovers() {
        let rule = GradientRule { measure: Duration::from_secs(3600), ..GradientRule::default() };
        let mut now = Instant::now();
        let mut gradient = Gradient::new(rule, now);
        // so many rounds of as many requests as are let through, to a server that does 100 at once
        let mut rounds = |gradient: &mut Gradient, milliseconds: u64, count: usize| -> Vec<usize> {
            let round = |_| {
                let running = gradient.limit(now);
                let latency =
                    Duration::from_millis(milliseconds).mul_f64((running as f64 / 100.0).max(1.0));
                now += latency.max(UPDATE);
                (0..running).for_each(|_| gradient.sample(latency, now, 0.5));
                gradient.limit(now)
            };
            (0..count).map(round).collect()
        };
        let calm = rounds(&mut gradient, 10, 300).split_off(200);
        let mean = calm.iter().sum::<usize>() / calm.len();
        let swing = calm.iter().map(|limit| limit.abs_diff(mean)).max().unwrap();
        assert!(swing * 5 <= mean, "it swings by {swing} about {mean}");
        let slow = rounds(&mut gradient, 100, 20);
        // the first update still goes by what was measured before
        assert!(slow[2] * 2 <= mean, "{mean} became {slow:?}");
        assert!(slow.iter().rev().take(5).all(|limit| *limit <= 10), "{slow:?}");
        let again = rounds(&mut gradient, 10, 50);
        assert!(*again.last().unwrap() * 5 >= mean * 4, "{mean} became {again:?}");
    }

    #[test]
    fn it_keeps_its_bounds() {
        let rule = GradientRule { most: 20, ..GradientRule::default() };
        assert_eq!(settled(1000, rule, Duration::from_secs(30)), 20);
        let rule = GradientRule { least: 8, ..GradientRule::default() };
        assert!(settled(1, rule, Duration::from_secs(30)) >= 8);
    }

    #[test]
    fn the_least_latency_is_measured_again_with_little_concurrency() {
        let mut now = Instant::now();
        let mut gradient = Gradient::new(GradientRule::default(), now);
        let ms = Duration::from_millis;
        for _ in 0..SAMPLES {
            assert_eq!(gradient.limit(now), LEAST_CONCURRENCY);
            gradient.sample(ms(10), now, 0.5);
        }
        for _ in 0..100 {
            now += ms(100);
            gradient.sample(ms(10), now, 0.5);
        }
        assert_eq!(gradient.limit(now), 1000);
        now += ms(60_000);
        gradient.sample(ms(10), now, 0.5);
        assert_eq!(gradient.limit(now), LEAST_CONCURRENCY);
    }

    /// Streams that were let in while it measured kept everybody else out until they ended.
    #[test]
    fn streams_do_not_keep_it_measuring() {
        let ms = Duration::from_millis;
        let mut now = Instant::now();
        let rule = GradientRule { most: 1_000_000, ..GradientRule::default() };
        let mut gradient = Gradient::new(rule, now);
        let mut running = 0;
        // each is answered within 10 ms and never ends
        let mut pass = |gradient: &mut Gradient, time: Duration| {
            let until = now + time;
            while now < until {
                now += ms(10);
                if running < gradient.limit(now) {
                    running += 1;
                    gradient.sample(ms(10), now, 0.5);
                }
            }
            running
        };
        assert_eq!(pass(&mut gradient, ms(200)), LEAST_CONCURRENCY);
        assert!(pass(&mut gradient, ms(2_000)) > 20);
        let before = pass(&mut gradient, ms(50_000));
        // it is measured again, when far more run than are let in then, and in vain
        assert!(pass(&mut gradient, ms(30_000)) > before);
    }

    #[test]
    fn a_server_that_answers_nothing_gets_no_more() {
        let mut now = Instant::now();
        let mut gradient = Gradient::new(GradientRule::default(), now);
        for _ in 0..100 {
            now += Duration::from_secs(60);
            assert_eq!(gradient.limit(now), LEAST_CONCURRENCY);
        }
    }
}
