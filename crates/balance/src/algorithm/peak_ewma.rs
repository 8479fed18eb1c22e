//! Of two at random the one that is expected to answer sooner: its mean latency, in which peaks
//! count at once and fade with 10 s (Finagle's and Linkerd's peak-EWMA; `ewma` of APISIX, `latency`
//! of Kong), times what it has in flight and the request that is to come.
//!
//! A latency that was measured long ago fades too, so that who was slow once is tried again. Who
//! was never measured gets one request at a time until it is. An attempt that failed counts as slow:
//! otherwise who refuses everything at once would look like the fastest.

use std::time::Instant;

use super::draw::{Draw, relative_in_flight, with_one_more};
use super::{Algorithm, Candidate, Choice};

#[derive(Debug)]
pub struct PeakEwma(Draw);

impl PeakEwma {
    pub fn over(candidates: &[Candidate]) -> Self {
        PeakEwma(Draw::over(candidates))
    }
}

/// Nanoseconds that one who was never measured is believed to take if it has something already.
const UNKNOWN: f64 = 60e9;

/// In nanoseconds.
fn cost(candidate: &Candidate, now: Instant) -> f64 {
    match candidate.state.fading_latency(now) {
        None if candidate.in_flight() == 0 => 0.0,
        None => UNKNOWN * relative_in_flight(candidate),
        Some(mean) => mean.left() * (relative_in_flight(candidate) + 1.0),
    }
}

/// Whether the cost of `a` is lower.
fn is_cheaper(a: &Candidate, b: &Candidate, now: Instant) -> bool {
    match (a.state.fading_latency(now), b.state.fading_latency(now)) {
        (Some(mean), Some(than)) => {
            let (expected, other) = with_one_more(a, b);
            mean.beside(than) * expected < than.nanos * other
        }
        _ => cost(a, now) < cost(b, now),
    }
}

impl Algorithm for PeakEwma {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        self.0.better_of_two(choice, |a, b| is_cheaper(a, b, choice.now))
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        let candidate = &choice.candidates[index];
        match candidate.state.fading_latency(choice.now) {
            None => "not measured yet".to_owned(),
            Some(mean) => format!(
                "cost {:.2} ms: mean latency {:.2} ms, {} in flight",
                cost(candidate, choice.now) / 1e6,
                mean.left() / 1e6,
                candidate.in_flight()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use crate::algorithm::Kind;
    use crate::algorithm::testing::Bench;

    /// Latency in milliseconds (none: never measured) and attempts in flight of two.
    #[test]
    fn lb07_the_lower_cost_wins() {
        for (a, b, picked) in [
            ((Some(10), 0), (Some(20), 0), 0),
            ((Some(10), 1), (Some(20), 0), 0), // 20 and 20: the first drawn; see below
            ((Some(10), 2), (Some(20), 0), 1), // 30 and 20
            ((Some(10), 9), (Some(200), 0), 0), // 100 and 200
            ((None, 0), (Some(1), 0), 0),      // who is not known is tried
            ((None, 1), (Some(1), 20), 1),     // once at a time
        ] {
            let bench = Bench::new(&Kind::PeakEwma, &[1, 1]);
            let now = bench.now();
            for (index, (latency, in_flight)) in [a, b].into_iter().enumerate() {
                if let Some(latency) = latency {
                    bench.state(index).measure(Duration::from_millis(latency), now);
                }
                bench.state(index).in_flight.store(in_flight, Ordering::Relaxed);
            }
            if a == (Some(10), 1) {
                assert!((0..50).any(|_| bench.pick() == Some(0)));
                assert!((0..50).any(|_| bench.pick() == Some(1)));
                continue;
            }
            for _ in 0..20 {
                assert_eq!(bench.pick(), Some(picked), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn lb07_who_was_slow_once_is_tried_again() {
        let mut bench = Bench::new(&Kind::PeakEwma, &[1, 1]);
        let start = bench.now();
        bench.state(0).measure(Duration::from_secs(1), start);
        let at = |bench: &mut Bench, seconds| {
            let now = start + Duration::from_secs(seconds);
            bench.set_now(now);
            bench.state(1).measure(Duration::from_millis(10), now);
            bench.pick()
        };
        assert_eq!(at(&mut bench, 1), Some(1));
        assert_eq!(at(&mut bench, 40), Some(1), "1 s has faded to 18 ms");
        assert_eq!(at(&mut bench, 50), Some(0), "and to 7 ms");
    }

    #[test]
    fn lb07_the_faster_gets_more() {
        let mut bench = Bench::new(&Kind::PeakEwma, &[1, 1, 1]);
        let served = bench.simulate(20_000, |member| Duration::from_millis([5, 10, 40][member]));
        assert!(served[0] > served[1] && served[1] > served[2], "{served:?}");
        assert!(served[2] < 20_000 / 8, "the slow one gets little: {served:?}");
    }
}
