//! What the members of a pool did in the last seconds, for whoever looks.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::histogram::{Counts, quantile};
use crate::members::PoolMember;

/// What one member did lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// Attempts a second, over [`WINDOW`].
    pub rate: f64,
    /// Failures a second.
    pub failure_rate: f64,
    /// The latency that half of the attempts stayed below, over one to two windows.
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
}

/// How far back rates look.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Looks at members again and again.
#[derive(Debug, Default)]
pub struct Watch(HashMap<u64, Window>);

#[derive(Debug)]
struct Window {
    /// Attempts and failures at these times.
    seen: VecDeque<(Instant, u64, u64)>,
    /// Latencies at the beginning of this window, and of the one before.
    latencies: [Counts; 2],
    begun: Instant,
    recent: Recent,
}

impl Watch {
    /// Looks once; to be done about every second.
    pub fn look<'a>(&mut self, members: impl IntoIterator<Item = &'a PoolMember>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for member in members {
            let key = member.spec.endpoint.key;
            let mut window = before.remove(&key).unwrap_or_else(|| Window::new(member, now));
            window.look(member, now);
            self.0.insert(key, window);
        }
    }

    /// What the member with this key did lately.
    pub fn recent(&self, key: u64) -> Recent {
        self.0.get(&key).map(|window| window.recent).unwrap_or_default()
    }
}

impl Window {
    fn new(member: &PoolMember, now: Instant) -> Self {
        let counts = member.state.latencies.counts();
        let (seen, recent) = (VecDeque::new(), Recent::default());
        Window { seen, latencies: [counts, counts], begun: now, recent }
    }

    fn look(&mut self, member: &PoolMember, now: Instant) {
        let attempts = member.state.attempts.load(Ordering::Relaxed);
        let failures = member.state.failures.load(Ordering::Relaxed);
        while self.seen.front().is_some_and(|(at, ..)| now.duration_since(*at) > WINDOW) {
            self.seen.pop_front();
        }
        if let Some((at, attempts_then, failures_then)) = self.seen.front() {
            let time = now.duration_since(*at).as_secs_f64().max(0.001);
            self.recent.rate = attempts.saturating_sub(*attempts_then) as f64 / time;
            self.recent.failure_rate = failures.saturating_sub(*failures_then) as f64 / time;
        }
        self.seen.push_back((now, attempts, failures));
        let counts = member.state.latencies.counts();
        self.recent.p50 = quantile(&self.latencies[1], &counts, 0.5);
        self.recent.p99 = quantile(&self.latencies[1], &counts, 0.99);
        if now.duration_since(self.begun) >= WINDOW {
            self.latencies = [counts, self.latencies[0]];
            self.begun = now;
        }
    }
}
