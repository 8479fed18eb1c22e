//! The first that has room, in the order of the file: as few as possible are busy, and the others
//! may be switched off (`first` of HAProxy). What fills a member is its ceiling of attempts in
//! flight; without ceilings everything goes to the first one.

use super::{Algorithm, Choice};

#[derive(Debug)]
pub struct FirstAvailable;

impl Algorithm for FirstAvailable {
    fn pick(&self, choice: &Choice<'_>) -> Option<usize> {
        (0..choice.candidates.len()).find(|index| choice.is_open(*index))
    }

    fn score(&self, index: usize, choice: &Choice<'_>) -> String {
        let candidate = &choice.candidates[index];
        match candidate.state.ceiling() {
            usize::MAX => format!("place {}, {} in flight", index + 1, candidate.in_flight()),
            most => format!("place {}, {} of {most} in flight", index + 1, candidate.in_flight()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::algorithm::Kind;
    use crate::algorithm::testing::Bench;

    #[test]
    fn lb12_the_first_that_has_room() {
        for (in_flight, tried, picked) in [
            (&[0, 0, 0][..], &[][..], Some(0)),
            (&[1, 0, 0], &[], Some(0)),
            (&[2, 0, 0], &[], Some(1)),
            (&[2, 2, 1], &[], Some(2)),
            (&[2, 0, 0], &[1], Some(2)),
            (&[2, 2, 2], &[], None),
        ] {
            let bench = Bench::new(&Kind::FirstAvailable, &[1, 1, 1]);
            bench.in_flight(in_flight);
            bench.ceiling(2);
            bench.tried(tried);
            assert_eq!(bench.pick(), picked, "{in_flight:?} {tried:?}");
        }
    }
    #[test]
    fn lb12_as_few_as_possible_are_busy() {
        let bench = Bench::new(&Kind::FirstAvailable, &[1, 1, 5, 1]);
        bench.ceiling(10);
        assert_eq!(bench.hold(25), [10, 10, 5, 0]);
        assert_eq!(bench.hold(100), [0, 0, 5, 10], "and nobody has more than it may");
    }
}
