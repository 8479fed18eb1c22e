//! Fewest attempts in flight for their weight (`least_conn` of nginx, `leastconn` of HAProxy), over
//! HTTP/2 counted in streams. Among equals they take turns as in [`round_robin`](super::round_robin),
//! so that idle members share what comes one at a time.
//!
//! Up to 16 members are all looked at. Of more, two drawn at random are compared, as with
//! [`two_choices`](super::two_choices): that is nearly as even, costs the same for any number, and
//! many workers do not all run to the same member.

use super::draw::{Draw, has_fewer};
use super::round_robin::Turns;
use super::{Algorithm, Candidate, Choice, weight};

/// Up to this many are all looked at.
const EXACT: usize = 16;

/// How many turns are looked through for one of several equals.
const AHEAD: usize = 64;

#[derive(Debug)]
pub enum LeastRequests {
    Exact(Turns),
    OfTwo(Draw),
}

impl LeastRequests {
    pub fn over(candidates: &[Candidate]) -> Self {
        match candidates.len() {
            0..=EXACT => LeastRequests::Exact(Turns::over(candidates)),
            _ => LeastRequests::OfTwo(Draw::over(candidates)),
        }
    }
}

impl Algorithm for LeastRequests {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        match self {
            LeastRequests::Exact(turns) => exact(turns, choice),
            LeastRequests::OfTwo(draw) => draw.better_of_two(choice, has_fewer),
        }
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        load(&choice.candidates[index])
    }
}

/// What candidates are compared by, for people.
pub(super) fn load(candidate: &Candidate) -> String {
    let (in_flight, weight) = (candidate.in_flight(), weight(candidate));
    match weight {
        1.0 => format!("{in_flight} in flight"),
        _ => format!("{in_flight} in flight / weight {weight} = {:.2}", in_flight as f64 / weight),
    }
}

fn exact(turns: &Turns, choice: &Choice<'_>) -> Option<usize> {
    // the least so far, and a bit for each candidate that has it
    let (mut least, mut than, mut equals) = (0u64, 1u64, 0u32);
    let any = choice.tried.is_empty();
    for (index, candidate) in choice.candidates.iter().enumerate().take(EXACT) {
        // as `Choice::is_open`, with one look at what is in flight
        let in_flight = candidate.in_flight();
        let is_full = in_flight >= candidate.state.ceiling();
        if is_full || (!any && choice.tried.contains(&candidate.key)) {
            continue;
        }
        // 32 bits of each, so that no product overflows
        let in_flight = u64::from(in_flight as u32);
        let weight = u64::from(candidate.weight);
        let (mine, theirs) = (in_flight * than, least * weight);
        if equals == 0 || mine < theirs {
            (least, than, equals) = (in_flight, weight, 1 << index);
        } else if mine == theirs {
            equals |= 1 << index;
        }
    }
    if equals.count_ones() < 2 {
        return (equals != 0).then(|| equals.trailing_zeros() as usize);
    }
    let among = |index: &usize| equals & (1 << index) != 0;
    let next = turns.from(choice.turn()).take(AHEAD).find(among);
    next.or_else(|| Some(equals.trailing_zeros() as usize))
}

#[cfg(test)]
mod tests {
    use crate::algorithm::Kind;
    use crate::algorithm::testing::{Bench, assert_shares};

    #[test]
    fn lb05_the_fewest_in_flight_for_their_weight() {
        for (weights, in_flight, picked) in [
            (&[1, 1, 1][..], &[2, 1, 3][..], Some(1)),
            (&[1, 1, 1], &[0, 1, 1], Some(0)),
            (&[2, 1], &[1, 0], Some(1)),   // 0.5 and 0
            (&[2, 1], &[1, 1], Some(0)),   // 0.5 and 1
            (&[10, 1], &[9, 1], Some(0)),  // 0.9 and 1
            (&[10, 1], &[11, 1], Some(1)), // 1.1 and 1
            (&[3, 3], &[usize::MAX, 0], Some(1)),
            (&[1], &[7], Some(0)),
            (&[], &[], None),
        ] {
            let bench = Bench::new(&Kind::LeastRequests, weights);
            bench.in_flight(in_flight);
            assert_eq!(bench.pick(), picked, "{weights:?} {in_flight:?}");
        }
    }

    #[test]
    fn lb05_equals_take_turns() {
        for (weights, in_flight, expected) in [
            (&[1, 1, 1, 1][..], &[0, 0, 0, 0][..], "abcdabcd"),
            (&[5, 1, 1], &[0, 0, 0], "aabacaa"),
            (&[1, 1, 1], &[4, 4, 4], "abcabc"),
            (&[1, 1, 1], &[1, 0, 0], "bbcbbc"),
        ] {
            let bench = Bench::new(&Kind::LeastRequests, weights);
            bench.in_flight(in_flight);
            assert_eq!(bench.picks(expected.len()), expected, "{weights:?} {in_flight:?}");
        }
    }

    #[test]
    fn lb05_held_requests_are_spread_exactly() {
        let bench = Bench::new(&Kind::LeastRequests, &[1; 10]);
        assert_eq!(bench.hold(1000), [100; 10]);
        let bench = Bench::new(&Kind::LeastRequests, &[1, 2, 5]);
        assert_eq!(bench.hold(800), [100, 200, 500]);
    }

    #[test]
    fn lb05_of_many_two_are_compared() {
        let bench = Bench::new(&Kind::LeastRequests, &[1; 200]);
        let most = bench.hold(2000).into_iter().max().unwrap();
        assert!(most <= 14, "{most}");
        let weights: Vec<u32> = (0..40).map(|n| if n % 2 == 0 { 1 } else { 3 }).collect();
        let bench = Bench::new(&Kind::LeastRequests, &weights);
        assert_shares(&bench.hold(8000), &weights, 0.1);
    }

    #[test]
    fn who_is_tried_or_full_is_left_out() {
        for count in [3, 30] {
            let bench = Bench::new(&Kind::LeastRequests, &vec![1; count]);
            bench.tried(&[0]);
            assert!((0..100).all(|_| bench.pick().is_some_and(|index| index != 0)));
            bench.tried(&(0..count).collect::<Vec<_>>());
            assert_eq!(bench.pick(), None);
            bench.tried(&[]);
            bench.ceiling(1);
            assert_eq!(bench.hold(count), vec![1; count]);
            assert_eq!(bench.pick(), None);
        }
    }
}
