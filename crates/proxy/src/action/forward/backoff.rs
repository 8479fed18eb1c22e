//! How long to wait before another attempt.

use std::time::Duration;

/// Full jitter: a random time below a bound that doubles with each attempt. Waiting for a fixed
/// time would send everybody who failed together back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound before the first retry. Default 25 ms, as Envoy has it.
    pub base: Duration,
    /// The greatest bound. Default ten times the base.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { base: Duration::from_millis(25), most: Duration::from_millis(250) }
    }
}

impl Backoff {
    /// The wait before retry number `retry`, counted from 1; `random` is from 0 to 1.
    pub fn wait(&self, retry: u16, random: f64) -> Duration {
        let doubled = 1u32.checked_shl(u32::from(retry.saturating_sub(1))).unwrap_or(u32::MAX);
        self.base.saturating_mul(doubled).min(self.most).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_most() {
        let backoff = Backoff::default();
        for (retry, bound) in
            [(1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (40, 250), (u16::MAX, 250)]
        {
            assert_eq!(backoff.wait(retry, 1.0), Duration::from_millis(bound), "{retry}");
            assert_eq!(backoff.wait(retry, 0.0), Duration::ZERO);
            assert_eq!(backoff.wait(retry, 0.5), Duration::from_millis(bound) / 2);
        }
    }
}
