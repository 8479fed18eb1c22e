//! Of two at random the one that says it is less busy. Members say so with a field of their
//! responses (ORCA's `endpoint-load-metrics`, or one of their own), see [`crate::load`], or by
//! their [agent](crate::health::agent).
//!
//! What was said long ago says nothing: after 3 minutes (Envoy's `weight_expiration_period`) a
//! report is forgotten. As long as one of the two says nothing, attempts in flight decide. They also
//! weigh in between two reports, so that not everything goes to who was idle a moment ago.

use super::draw::{Draw, has_fewer, with_one_more};
use super::{Algorithm, Candidate, Choice};

#[derive(Debug)]
pub struct ReportedLoad(Draw);

impl ReportedLoad {
    pub fn over(candidates: &[Candidate]) -> Self {
        ReportedLoad(Draw::over(candidates))
    }
}

/// Less than this makes no difference; idle members are not all the same to the last request.
const LEAST: f64 = 0.01;

impl Algorithm for ReportedLoad {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        self.0.better_of_two(choice, |a, b| {
            match (a.state.reported_load(choice.now), b.state.reported_load(choice.now)) {
                (Some(load), Some(than)) => {
                    let (expected, other) = with_one_more(a, b);
                    load.max(LEAST) * expected < than.max(LEAST) * other
                }
                _ => has_fewer(a, b),
            }
        })
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        let candidate = &choice.candidates[index];
        let load = match candidate.state.reported_load(choice.now) {
            Some(load) => format!("load {:.0} %", load * 100.0),
            None => "no load reported".to_owned(),
        };
        format!("{load}, {} in flight", candidate.in_flight())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use crate::algorithm::Kind;
    use crate::algorithm::testing::{Bench, assert_shares};

    /// What two report in percent, and what they have in flight.
    #[test]
    fn lb08_the_less_busy_wins() {
        for (a, b, picked) in [
            ((Some(90), 0), (Some(30), 0), 1),
            ((Some(90), 0), (Some(30), 1), 1), // 0.9 and 0.6
            ((Some(90), 0), (Some(30), 5), 0), // 0.9 and 1.8
            ((None, 1), (Some(30), 3), 0),     // in flight decides
            ((None, 3), (Some(99), 1), 1),
            ((Some(0), 0), (Some(1), 2), 0),
        ] {
            let bench = Bench::new(&Kind::ReportedLoad, &[1, 1]);
            for (index, (load, in_flight)) in [a, b].into_iter().enumerate() {
                if let Some(percent) = load {
                    bench.state(index).report_load(f64::from(percent) / 100.0, bench.now());
                }
                bench.state(index).in_flight.store(in_flight, Ordering::Relaxed);
            }
            for _ in 0..20 {
                assert_eq!(bench.pick(), Some(picked), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn lb08_an_old_report_says_nothing() {
        let mut bench = Bench::new(&Kind::ReportedLoad, &[1, 1]);
        bench.state(0).report_load(0.9, bench.now());
        bench.state(1).report_load(0.1, bench.now());
        bench.in_flight(&[0, 5]);
        assert_eq!(bench.pick(), Some(1), "0.9 and 0.6");
        bench.set_now(bench.now() + Duration::from_secs(181));
        assert_eq!(bench.pick(), Some(0));
    }
    #[test]
    fn lb08_what_is_held_is_in_proportion_to_what_is_free() {
        let bench = Bench::new(&Kind::ReportedLoad, &[1, 1, 1]);
        for (index, load) in [0.1, 0.2, 0.3].into_iter().enumerate() {
            bench.state(index).report_load(load, bench.now());
        }
        // as 1/0.1 to 1/0.2 to 1/0.3
        assert_shares(&bench.hold(3300), &[6, 3, 2], 0.05);
    }
}
