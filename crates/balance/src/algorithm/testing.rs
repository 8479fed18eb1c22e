//! A bench to try algorithms on: candidates with their state, and questions.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use transom_net::{Address, Source, Target};
use transom_proxy::destination::{Endpoint, KeepAlive};

use super::*;
use crate::members::MemberSpec;
use crate::state::WHOLE;

/// Members a, b, c, ... on ports from 1 on.
pub(crate) fn specs(weights: &[u32]) -> Vec<MemberSpec> {
    let spec = |(index, weight): (usize, &u32)| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, index as u16 + 1));
        let name = match index {
            0..26 => char::from(b'a' + index as u8).to_string(),
            _ => format!("member-{index}"),
        };
        let mut spec = MemberSpec::new(Endpoint {
            key: index as u64 + 1,
            target: Target { address: Address::Tcp(address), tls: None, source: Source::Any },
            authority: name.clone(),
            name,
            pool: Arc::from("p"),
            keep_alive: KeepAlive::default(),
            http2: None,
            ceilings: Vec::new(),
            announce: None,
        });
        spec.weight = *weight;
        spec
    };
    weights.iter().enumerate().map(spec).collect()
}

/// Candidates with these weights; those of weight 0 are left out, as a pool does.
pub(crate) fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let candidate = |spec: MemberSpec| {
        let state = Arc::<CachePadded<State>>::default();
        Candidate {
            key: spec.endpoint.key,
            weight: spec.weight * WHOLE,
            identity: hash::of(spec.endpoint.name.as_bytes()),
            state: state.clone(),
            member: PoolMember::new(spec, state, Arc::default()),
        }
    };
    specs(weights).into_iter().filter(|spec| spec.weight > 0).map(candidate).collect()
}

/// A consistent hash on the client's address.
pub(crate) fn hashing(bound: Option<f64>) -> Hashing {
    Hashing { key: Key::Address { ipv4: 32, ipv6: 64 }, bound }
}

/// Members are numbered as the weights were given, whether they are candidates or not.
pub(crate) struct Bench {
    candidates: Vec<Candidate>,
    count: usize,
    algorithm: Box<dyn Algorithm>,
    turn: AtomicU64,
    tried: Mutex<Vec<u64>>,
    now: Instant,
}

impl Bench {
    pub(crate) fn new(kind: &Kind, weights: &[u32]) -> Self {
        let candidates = candidates(weights);
        Bench {
            algorithm: kind.over(&candidates),
            candidates,
            count: weights.len(),
            turn: AtomicU64::new(0),
            tried: Mutex::default(),
            now: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    pub(crate) fn state(&self, member: usize) -> &State {
        &self.candidate(member).state
    }

    fn candidate(&self, member: usize) -> &Candidate {
        let key = member as u64 + 1;
        self.candidates.iter().find(|candidate| candidate.key == key).unwrap()
    }

    /// How many questions there were.
    pub(crate) fn set_turn(&self, turn: u64) {
        self.turn.store(turn, Ordering::Relaxed);
    }

    pub(crate) fn in_flight(&self, in_flight: &[usize]) {
        for (member, count) in in_flight.iter().enumerate() {
            self.state(member).in_flight.store(*count, Ordering::Relaxed);
        }
    }

    pub(crate) fn ceiling(&self, most: usize) {
        for candidate in &self.candidates {
            candidate.state.set_ceiling(most);
        }
    }

    pub(crate) fn tried(&self, members: &[usize]) {
        *self.tried.lock().unwrap() = members.iter().map(|member| *member as u64 + 1).collect();
    }

    pub(crate) fn pick(&self) -> Option<usize> {
        self.pick_for(0)
    }

    fn choice<'a>(&'a self, key: u64, tried: &'a [u64]) -> Choice<'a> {
        Choice {
            candidates: &self.candidates,
            tried,
            hash: mix(key),
            shard: None,
            now: self.now,
            turn: &self.turn,
            in_flight: None,
        }
    }

    /// The member for a key.
    pub(crate) fn pick_for(&self, key: u64) -> Option<usize> {
        let tried = self.tried.lock().unwrap().clone();
        let picked = self.algorithm.pick(&self.choice(key, &tried))?;
        Some(self.candidates[picked].key as usize - 1)
    }

    /// What the algorithm goes by at a member.
    pub(crate) fn score(&self, member: usize) -> String {
        let candidates = &self.candidates;
        let place = candidates.iter().position(|one| one.key == member as u64 + 1).unwrap();
        self.algorithm.score(place, &self.choice(0, &[]))
    }

    /// The names of those picked one after the other.
    pub(crate) fn picks(&self, count: usize) -> String {
        let name = |member: usize| char::from(b'a' + member as u8);
        (0..count).filter_map(|_| self.pick()).map(name).collect()
    }

    /// How often each is picked, nothing ever being in flight.
    pub(crate) fn shares(&self, count: usize) -> Vec<usize> {
        self.count((0..count).filter_map(|_| self.pick()))
    }

    pub(crate) fn shares_of_keys(&self, count: usize) -> Vec<usize> {
        self.count((0..count).filter_map(|key| self.pick_for(key as u64)))
    }

    fn count(&self, picked: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut counts = vec![0; self.count];
        picked.for_each(|member| counts[member] += 1);
        counts
    }

    /// What each has in flight after so many that do not end.
    pub(crate) fn hold(&self, count: usize) -> Vec<usize> {
        let held = (0..count).filter_map(|key| self.pick_for(key as u64)).inspect(|member| {
            self.state(*member).in_flight.fetch_add(1, Ordering::Relaxed);
        });
        self.count(held)
    }

    /// How many each has served, if a request comes each millisecond and takes so long.
    pub(crate) fn simulate(
        &mut self,
        requests: usize,
        takes: impl Fn(usize) -> Duration,
    ) -> Vec<usize> {
        let mut served = vec![0; self.count];
        let open: RefCell<Vec<(Instant, usize)>> = RefCell::default();
        for _ in 0..requests {
            self.now += Duration::from_millis(1);
            open.borrow_mut().retain(|(end, member)| {
                if *end > self.now {
                    return true;
                }
                let state = self.state(*member);
                state.in_flight.fetch_sub(1, Ordering::Relaxed);
                state.measure(takes(*member), *end);
                false
            });
            let Some(member) = self.pick() else { continue };
            self.state(member).in_flight.fetch_add(1, Ordering::Relaxed);
            open.borrow_mut().push((self.now + takes(member), member));
            served[member] += 1;
        }
        served
    }
}

/// Shares are in proportion to weights, each off by at most this part of its own.
#[track_caller]
pub(crate) fn assert_shares(shares: &[usize], weights: &[u32], off: f64) {
    let (all, total) = (shares.iter().sum::<usize>() as f64, weights.iter().sum::<u32>());
    for (share, weight) in shares.iter().zip(weights) {
        let expected = all * f64::from(*weight) / f64::from(total);
        assert!((*share as f64 - expected).abs() <= expected * off, "{weights:?}: {shares:?}");
    }
}

/// While requests come and go, nobody ever has more than its bound.
#[track_caller]
pub(crate) fn assert_bounded(kind: &Kind, factor: f64) {
    for weights in [&[1; 10][..], &[1, 2, 3, 4], &[1; 100]] {
        let bench = Bench::new(kind, weights);
        let total: u32 = weights.iter().sum();
        let mut open = Vec::new();
        for n in 0..20_000u64 {
            // a third of the requests are for one key
            let key = if n % 3 == 0 { 7 } else { mix(n) };
            let member = bench.pick_for(key).unwrap();
            let state = bench.state(member);
            let now = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
            open.push(member);
            let part = f64::from(weights[member]) / f64::from(total);
            let bound = (factor * open.len() as f64 * part).ceil();
            assert!(now as f64 <= bound, "{now} of {} in flight, bound {bound}", open.len());
            if open.len() > 300 {
                // any of them ends
                let ended = open.swap_remove((mix(n) % 300) as usize);
                bench.state(ended).in_flight.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Where keys were and are.
pub(crate) struct Moved(Vec<(Option<usize>, Option<usize>)>);

pub(crate) fn moved(before: &Bench, after: &Bench, keys: u64) -> Moved {
    Moved((0..keys).map(|key| (before.pick_for(key), after.pick_for(key))).collect())
}

impl Moved {
    fn all(&self) -> impl Iterator<Item = &(Option<usize>, Option<usize>)> {
        self.0.iter().filter(|(before, after)| before != after)
    }

    /// The part of the keys that moved.
    pub(crate) fn share(&self) -> f64 {
        self.all().count() as f64 / self.0.len() as f64
    }

    /// How many of them were not with this one.
    pub(crate) fn not_from(&self, gone: usize) -> usize {
        self.all().filter(|(before, _)| *before != Some(gone)).count()
    }

    /// To how many members they moved.
    pub(crate) fn targets(&self) -> usize {
        let mut targets: Vec<_> = self.all().map(|(_, after)| *after).collect();
        targets.sort_unstable();
        targets.dedup();
        targets.len()
    }
}
