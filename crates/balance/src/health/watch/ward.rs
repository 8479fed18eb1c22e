//! Those who are watched over: who joins is taken up, who leaves is forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{LONG, MANY, SPREAD, Watch};
use crate::health::machine::Machine;
use crate::health::slow_start::SlowStart;
use crate::members::PoolMember;
use crate::state::{Health, Own, State, WHOLE};

/// What is known of one member beyond its state.
pub(super) struct Ward {
    pub(super) member: Arc<PoolMember>,
    pub(super) machine: Machine,
    /// When it is probed next.
    pub(super) due: Instant,
    pub(super) probing: bool,
    /// When its agent is asked next.
    pub(super) ask: Instant,
    pub(super) asking: bool,
    /// Its agent did not answer, and the log was told.
    pub(super) mute: bool,
    /// Probes in a row that have passed since it was ejected.
    pub(super) passed: u32,
    /// Since when it is drained.
    pub(super) leaving: Option<Instant>,
    /// Since when it starts slowly.
    pub(super) starting: Option<Instant>,
}

impl Ward {
    fn new(member: Arc<PoolMember>, due: Instant, ask: Instant) -> Self {
        Ward {
            machine: Machine::new(member.state.health()),
            member,
            due,
            probing: false,
            ask,
            asking: false,
            mute: false,
            passed: 0,
            leaving: None,
            starting: None,
        }
    }

    /// Begins to start slowly, where the pool wants that. Whether the share has changed.
    pub(super) fn start(&mut self, rule: Option<&SlowStart>, now: Instant) -> bool {
        let Some(rule) = rule else { return false };
        self.starting = Some(now);
        self.member.state.set_share(rule.share(Duration::ZERO))
    }
}

impl Watch {
    /// Takes up who has joined and forgets who has left.
    pub(super) fn muster(&mut self, known: Option<&HashSet<u64>>, now: Instant) {
        let members = self.pool.members();
        let at_first = self.wards.is_empty();
        let many = members.len() > MANY;
        let states: HashMap<u64, *const State> =
            members.iter().map(|m| (m.spec.endpoint.key, std::ptr::from_ref(&**m.state))).collect();
        // One that left and came back before it was looked for has another state, of which nothing is
        // known.
        let removed = self.wards.extract_if(|key, ward| {
            states.get(key) != Some(&std::ptr::from_ref(&**ward.member.state))
        });
        let until = self.care.drain.map(|drain| now + drain);
        self.gone.extend(removed.filter_map(|(_, ward)| Some((until?, ward.member))));
        for member in members {
            let key = member.spec.endpoint.key;
            if let Some(ward) = self.wards.get_mut(&key) {
                ward.member = member;
                continue;
            }
            self.forget(&member);
            let due = now + self.until_probed(member.state.health(), many);
            let first = match many {
                true => SPREAD.mul_f64(self.random.unit()),
                false => Duration::ZERO,
            };
            let joins = match known {
                Some(known) => !known.contains(&key),
                None => !at_first,
            };
            let mut ward = Ward::new(member, due, now + first);
            // Half way of a slow start when the watch began: it goes on from there.
            if joins || ward.member.state.share() < WHOLE {
                self.changed |= ward.start(self.care.slow_start.as_ref(), now);
            }
            self.wards.insert(key, ward);
        }
    }

    /// What was found of a member by what nobody does any more is not true for ever.
    fn forget(&mut self, member: &PoolMember) {
        if self.care.probing.is_none() {
            self.changed |= member.state.set_health(Health::Unchecked, "it is not probed");
        }
        if self.care.agent.is_none() {
            self.changed |= member.state.set_own(Own::Ready, "nobody asks it");
            self.changed |= member.state.set_own_share(WHOLE);
            member.state.set_own_ceiling(usize::MAX);
        }
        if self.care.drain.is_none() {
            member.state.keep();
        }
        if self.care.outliers.is_none() {
            self.changed |= member.state.readmit();
        }
        if self.care.slow_start.is_none() {
            self.changed |= member.state.set_share(WHOLE);
        }
    }

    /// How long a member is not probed that has just been taken up.
    fn until_probed(&self, health: Health, many: bool) -> Duration {
        let Some(probing) = &self.care.probing else { return LONG };
        let every = probing.rhythm.every;
        match health {
            Health::Unchecked if !many => Duration::ZERO,
            Health::Unchecked => SPREAD.min(every).mul_f64(self.random.unit()),
            // Known from before a reload: probes go on in their rhythm.
            Health::Up | Health::Down => every.mul_f64(self.random.unit()),
        }
    }
}
