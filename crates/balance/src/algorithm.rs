//! How a pool chooses among its members: one file for each kind.
//!
//! | kind | goes by |
//! |---|---|
//! | [`round_robin`] | turns in proportion to weights |
//! | [`least_requests`] | fewest attempts in flight for their weight |
//! | [`random`] | chance in proportion to weights |
//! | [`two_choices`] | the one of two at random that has fewer in flight |
//! | [`peak_ewma`] | the one of two at random that answers sooner |
//! | [`reported_load`] | the one of two at random that says it is less busy |
//! | [`ring`], [`maglev`] | a key of the request: equal keys go to the same member |
//! | [`shards`] | a key of the request: each has a few members of its own |
//! | [`first_available`] | the first that has room |
//!
//! An algorithm knows only who may be picked; who is not usable is not among the candidates. It
//! takes no lock, allocates nothing, and is the same for HTTP, TCP and UDP.

pub mod consistent;
pub mod draw;
pub mod first_available;
pub mod hash;
pub mod key;
pub mod least_requests;
pub mod maglev;
pub mod peak_ewma;
pub mod random;
pub mod reported_load;
pub mod ring;
pub mod round_robin;
pub mod shards;
pub mod two_choices;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;

use self::hash::mix;
use self::key::Key;
use self::shards::Shard;
use crate::members::PoolMember;
use crate::state::State;

/// A kind of algorithm with its settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Kind {
    RoundRobin,
    #[default]
    LeastRequests,
    Random,
    TwoChoices,
    PeakEwma,
    ReportedLoad,
    Ring(Hashing),
    Maglev(Hashing),
    Shards(Sharding),
    FirstAvailable,
}

/// How many members each key has.
#[derive(Clone, Debug, PartialEq)]
pub struct Sharding {
    /// Its bound is of no use.
    pub hashing: Hashing,
    /// At most [`shards::MOST`].
    pub size: usize,
}

/// What holds for both consistent hashes.
#[derive(Clone, Debug, PartialEq)]
pub struct Hashing {
    pub key: Key,
    /// No member gets more than this many times its fair part of what is in flight; what is too
    /// much goes elsewhere. At least 1; typically 1.25 to 2.
    pub bound: Option<f64>,
}

impl Kind {
    pub fn hashing(&self) -> Option<&Hashing> {
        match self {
            Kind::Ring(hashing) | Kind::Maglev(hashing) => Some(hashing),
            Kind::Shards(sharding) => Some(&sharding.hashing),
            _ => None,
        }
    }

    /// The algorithm over these candidates.
    pub fn over(&self, candidates: &[Candidate]) -> Box<dyn Algorithm> {
        match self {
            Kind::RoundRobin => Box::new(round_robin::RoundRobin::over(candidates)),
            Kind::LeastRequests => Box::new(least_requests::LeastRequests::over(candidates)),
            Kind::Random => Box::new(random::Random::over(candidates)),
            Kind::TwoChoices => Box::new(two_choices::TwoChoices::over(candidates)),
            Kind::PeakEwma => Box::new(peak_ewma::PeakEwma::over(candidates)),
            Kind::ReportedLoad => Box::new(reported_load::ReportedLoad::over(candidates)),
            Kind::Ring(hashing) => Box::new(ring::Ring::over(candidates, hashing.bound)),
            Kind::Maglev(hashing) => Box::new(maglev::Maglev::over(candidates, hashing.bound)),
            Kind::Shards(_) => Box::new(shards::Shards::over(candidates)),
            Kind::FirstAvailable => Box::new(first_available::FirstAvailable),
        }
    }
}

/// A member that may be picked.
#[derive(Clone)]
pub struct Candidate {
    /// The key of its endpoint.
    pub key: u64,
    /// In thousandths; never zero.
    pub weight: u32,
    /// The same for the same endpoint on every machine, whatever else is in the pool.
    pub identity: u64,
    pub state: Arc<CachePadded<State>>,
    pub member: Arc<PoolMember>,
}

impl Candidate {
    pub fn in_flight(&self) -> usize {
        self.state.in_flight.load(Ordering::Relaxed)
    }
}

/// One question: whom, of these?
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    pub candidates: &'a [Candidate],
    /// Keys of endpoints that are not wanted again.
    pub tried: &'a [u64],
    /// Of the key of the request, where the algorithm goes by one.
    pub hash: u64,
    /// The members of that key, where it has a few of its own.
    pub shard: Option<&'a Shard>,
    pub now: Instant,
    /// Counts the questions; it outlives tables and reloads.
    pub turn: &'a AtomicU64,
    /// What all members of the pool have in flight, where somebody counts it.
    pub in_flight: Option<usize>,
}

impl Choice<'_> {
    /// Whether it may be picked: it was not tried yet and has room.
    pub fn is_open(&self, index: usize) -> bool {
        let candidate = &self.candidates[index];
        !self.tried.contains(&candidate.key) && !candidate.state.is_full()
    }

    /// The number of this question.
    pub fn turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// 64 bits that nobody can foretell from outside.
    pub fn draw(&self) -> u64 {
        mix(self.turn())
    }
}

/// Chooses among candidates.
pub trait Algorithm: Send + Sync {
    /// The place of the candidate, if any is open.
    fn pick(&self, choice: &Choice<'_>) -> Option<usize>;

    /// What it goes by at this candidate, for people.
    fn score(&self, index: usize, choice: &Choice<'_>) -> String;
}

/// A weight as people write it.
fn weight(candidate: &Candidate) -> f64 {
    f64::from(candidate.weight) / f64::from(crate::state::WHOLE)
}

/// The open candidate of the least cost, the earliest of equals.
fn cheapest(choice: &Choice<'_>, cost: impl Fn(&Candidate) -> f64) -> Option<usize> {
    let open = (0..choice.candidates.len()).filter(|index| choice.is_open(*index));
    let costs = open.map(|index| (index, cost(&choice.candidates[index])));
    costs.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{Bench, hashing};
    use super::*;

    #[test]
    fn each_says_what_it_goes_by() {
        for (kind, expected) in [
            (Kind::RoundRobin, "weight 2"),
            (Kind::Random, "weight 2"),
            (Kind::LeastRequests, "3 in flight / weight 2 = 1.50"),
            (Kind::TwoChoices, "3 in flight / weight 2 = 1.50"),
            (Kind::PeakEwma, "cost 25.00 ms: mean latency 10.00 ms, 3 in flight"),
            (Kind::ReportedLoad, "load 40 %, 3 in flight"),
            (Kind::Maglev(hashing(None)), "66.7 % of the keys, 3 in flight"),
            (Kind::FirstAvailable, "place 1, 3 in flight"),
        ] {
            let bench = Bench::new(&kind, &[2, 1]);
            bench.in_flight(&[3, 1]);
            bench.state(0).measure(std::time::Duration::from_millis(10), bench.now());
            bench.state(0).report_load(0.4, bench.now());
            assert_eq!(bench.score(0), expected, "{kind:?}");
        }
        let ring = Bench::new(&Kind::Ring(hashing(None)), &[2, 1]).score(0);
        let share: f64 = ring.split(' ').next().unwrap().parse().unwrap();
        assert!((share - 66.7).abs() < 7.0, "{ring}");
    }
    #[test]
    fn d_21_turns_go_on_when_their_number_begins_anew() {
        for kind in [
            Kind::RoundRobin,
            Kind::LeastRequests,
            Kind::Random,
            Kind::TwoChoices,
            Kind::PeakEwma,
            Kind::ReportedLoad,
        ] {
            let bench = Bench::new(&kind, &[1, 1, 1, 1]);
            bench.set_turn(u64::MAX - 5_000);
            testing::assert_shares(&bench.shares(10_000), &[1; 4], 0.1);
        }
    }
}
