//! How often something happened: tokens that come back, and counts of lately.

use std::time::{Duration, Instant};

/// Over so long resets are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Tokens that come back with time.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) tokens: u32,
    most: u32,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(most: u32, now: Instant) -> Self {
        Bucket { tokens: most, most, at: now }
    }

    /// Takes so many, of which `rate` come back in a second. False when there were not enough.
    pub(super) fn take(&mut self, cost: u32, rate: u32, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.at);
        let back = (elapsed.as_millis() * u128::from(rate) / 1000).min(u128::from(self.most));
        if back > 0 {
            self.tokens = self.tokens.saturating_add(back as u32).min(self.most);
            self.at = now;
        }
        let enough = self.tokens >= cost;
        self.tokens = self.tokens.saturating_sub(cost);
        enough
    }
}

/// How many there were lately: within [`WINDOW`], up to twice that where they are few.
#[derive(Debug)]
pub(super) struct Recent {
    since: Instant,
    now: u32,
    before: u32,
}

impl Recent {
    pub(super) fn new(now: Instant) -> Self {
        Recent { since: now, now: 0, before: 0 }
    }

    fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            self.before = if elapsed < WINDOW * 2 { self.now } else { 0 };
            self.now = 0;
            self.since = now;
        }
    }

    pub(super) fn add(&mut self, n: u32, now: Instant) -> u32 {
        self.turn(now);
        self.now = self.now.saturating_add(n);
        self.count(now)
    }

    /// Those of the window before count for what is left of it.
    pub(super) fn count(&mut self, now: Instant) -> u32 {
        self.turn(now);
        let elapsed = now.saturating_duration_since(self.since).min(WINDOW);
        let left = (WINDOW - elapsed).as_millis() * u128::from(self.before) / WINDOW.as_millis();
        self.now.saturating_add(left as u32)
    }
}
