//! A member that comes back, or comes new, gets its whole share of requests by and by.
//!
//! Envoy's formula: the share of the weight is
//!
//! ```text
//! max(minimum, (time / window) ^ (1 / aggression))
//! ```
//!
//! With the aggression 1 it grows in a straight line; a larger one grows fast at first. Members that
//! are there when the program starts have their whole weight at once: all of them starting slowly
//! would mean nothing.

use std::time::Duration;

use crate::state::WHOLE;

/// How a member starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// How long it takes.
    pub window: Duration,
    /// Default 1.0.
    pub aggression: f64,
    /// The share from which it starts, from 0 to 1. Default 0.1.
    pub minimum: f64,
}

impl SlowStart {
    /// The thousandths of the weight that count after so long.
    pub fn share(&self, after: Duration) -> u32 {
        if after >= self.window {
            return WHOLE;
        }
        let passed = after.as_secs_f64() / self.window.as_secs_f64();
        let share = passed.powf(1.0 / self.aggression).max(self.minimum);
        ((share * f64::from(WHOLE)) as u32).clamp(1, WHOLE)
    }

    /// How often the share is worked out anew: fifty times in the window, ten times a second at
    /// most.
    pub fn step(&self) -> Duration {
        (self.window / 50).max(Duration::from_millis(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lb19_the_share_grows_by_the_formula() {
        let window = Duration::from_secs(10);
        for (aggression, minimum, ms, share) in [
            (1.0, 0.1, 0, 100),
            (1.0, 0.1, 500, 100),
            (1.0, 0.1, 2_500, 250),
            (1.0, 0.1, 5_000, 500),
            (1.0, 0.1, 9_999, 999),
            (1.0, 0.1, 10_000, 1000),
            (1.0, 0.1, 100_000, 1000),
            // (1/4)^(1/2) = 1/2
            (2.0, 0.1, 2_500, 500),
            // (1/4)^2 = 1/16, less than the minimum
            (0.5, 0.1, 2_500, 100),
            (1.0, 0.0, 0, 1),
        ] {
            let rule = SlowStart { window, aggression, minimum };
            assert_eq!(rule.share(Duration::from_millis(ms)), share, "{aggression} {ms}");
        }
    }
}
