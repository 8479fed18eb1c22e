//! Members and picking tables in one value.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use transom_proxy::destination::Ask;

use super::plan::{ALL, Fact, Plan, Portion};
use super::question::{self, Question, Wish};
use super::{Rule, Settings};
use crate::affinity::{Affinity, Token};
use crate::algorithm::hash::{self, mix};
use crate::algorithm::shards::{self, Shard};
use crate::algorithm::{Algorithm, Candidate, Choice, Kind};
use crate::members::PoolMember;
use crate::state::Administrative;

/// What a pool is at one moment.
pub(super) struct Set {
    pub(super) members: Vec<Arc<PoolMember>>,
    /// One for each rule by which somebody picks; the first is the pool's own.
    pub(super) scopes: Vec<Scope>,
    stuck: Arc<Stuck>,
}

/// By what clients that stick to members are brought back. Empty where none do.
#[derive(Default)]
struct Stuck {
    /// The places of members by the keys of their endpoints.
    places: HashMap<u64, u32>,
    /// What stands in the cookie for each member, in their order; and the other way round.
    tokens: Vec<Token>,
    by_token: HashMap<Token, u32>,
}

impl Stuck {
    fn new(pool: &str, members: &[Arc<PoolMember>], affinity: Option<&Affinity>) -> Self {
        let Some(affinity) = affinity else { return Stuck::default() };
        let keys = members.iter().map(|member| member.spec.endpoint.key);
        let places = keys.zip(0..).collect();
        let tokens: Vec<Token> = match affinity {
            Affinity::Remembered(_) => Vec::new(),
            Affinity::Cookie(cookie) => {
                names(members).iter().map(|name| cookie.token(pool, name)).collect()
            }
        };
        let by_token = tokens.iter().copied().zip(0..).collect();
        Stuck { places, tokens, by_token }
    }
}

/// What one rule makes of the members.
pub(super) struct Scope {
    pub(super) rule: Arc<Rule>,
    turns: Arc<Turns>,
    pub(super) plan: Plan,
    /// One for each portion of the plan.
    tables: Vec<Table>,
    /// The members of keys, whether they are usable or not. Empty where keys have none of their own.
    shards: Arc<[Shard]>,
}

/// Counts questions, so that turns go on when tables are made anew.
#[derive(Default)]
struct Turns {
    /// Which table is asked.
    draws: CachePadded<AtomicU64>,
    /// The turn of each table, the first eight of which have one of their own.
    tables: [CachePadded<AtomicU64>; 8],
}

impl Turns {
    fn of(&self, table: usize) -> &AtomicU64 {
        &self.tables[table % self.tables.len()]
    }
}

/// Members among which an algorithm chooses.
#[derive(Clone)]
struct Table {
    /// The end of its share, counted on from the tables before.
    until: u32,
    candidates: Arc<[Candidate]>,
    algorithm: Arc<dyn Algorithm>,
}

impl Set {
    /// What these members are by these rules. Turns go on where those of `earlier` stand.
    pub(super) fn new(
        pool: &str,
        members: Vec<Arc<PoolMember>>,
        rules: &[Arc<Rule>],
        settings: &Settings,
        earlier: Option<&Set>,
    ) -> Set {
        let identities = identities(&members);
        let scopes = rules.iter().map(|rule| {
            let earlier = earlier.iter().flat_map(|set| &set.scopes).find(|s| s.rule == *rule);
            let turns = earlier.map(|scope| scope.turns.clone()).unwrap_or_default();
            let plan = plan(&members, rule, settings);
            let table = |portion: &Portion| Table::new(portion, &members, &identities, rule);
            let tables = plan.portions.iter().map(table).collect();
            let shards = shards(&members, &identities, rule);
            Scope { rule: rule.clone(), turns, plan, tables, shards }.numbered()
        });
        let scopes = scopes.collect();
        let stuck = Arc::new(Stuck::new(pool, &members, settings.affinity.as_ref()));
        Set { members, scopes, stuck }
    }

    /// The same members as they stand now; nothing where that makes no difference.
    pub(super) fn refreshed(&self, settings: &Settings) -> Option<Set> {
        let identities = identities(&self.members);
        let mut news = false;
        let scopes = self.scopes.iter().map(|scope| {
            let plan = plan(&self.members, &scope.rule, settings);
            news |= plan != scope.plan;
            let table = |portion: &Portion| {
                // what has not changed need not be worked out again
                let same = scope.plan.portions.iter().position(|it| it.members == portion.members);
                same.map(|place| scope.tables[place].clone())
                    .unwrap_or_else(|| Table::new(portion, &self.members, &identities, &scope.rule))
            };
            let tables = plan.portions.iter().map(table).collect();
            let (rule, turns) = (scope.rule.clone(), scope.turns.clone());
            let shards = scope.shards.clone();
            Scope { rule, turns, plan, tables, shards }.numbered()
        });
        let scopes = scopes.collect();
        let (members, stuck) = (self.members.clone(), self.stuck.clone());
        news.then_some(Set { members, scopes, stuck })
    }

    /// What the pool goes by for this request.
    pub(super) fn question<'a>(
        &self,
        place: usize,
        settings: &Settings,
        ask: &Ask<'a>,
    ) -> Question<'a> {
        let mut wish = Wish::default();
        if let Some(scope) = self.scopes.get(place)
            && let Some(hashing) = scope.rule.algorithm.hashing()
        {
            wish.hash = hashing.key.hash(ask);
        }
        match &settings.affinity {
            None => {}
            Some(Affinity::Cookie(cookie)) => {
                let token = cookie.sent(ask);
                let place = token.and_then(|token| self.stuck.by_token.get(&token));
                let member = place.and_then(|place| self.members.get(*place as usize));
                wish.sticks_to = member.map(|member| member.spec.endpoint.key);
            }
            Some(Affinity::Remembered(sessions)) => {
                if let Some((sign, member)) = sessions.find(ask) {
                    (wish.sign, wish.sticks_to) = (Some(sign), member);
                }
            }
        }
        if settings.guard.is_some() {
            wish.class = question::class(ask);
        }
        Question { wish, tried: ask.tried, now: ask.now }
    }

    /// The member of this endpoint, to which somebody sticks, if it still keeps its clients.
    pub(super) fn stuck(
        &self,
        key: u64,
        place: usize,
        question: &Question<'_>,
    ) -> Option<&Arc<PoolMember>> {
        let member = self.members.get(*self.stuck.places.get(&key)? as usize)?;
        let rule = &self.scopes.get(place)?.rule;
        let keeps = member.state.standing(question.now).keeps_clients()
            && !member.state.is_recalled()
            && !question.tried.contains(&key)
            && rule.takes(&member.spec.labels);
        keeps.then_some(member)
    }

    /// What stands in the cookie for the member of this endpoint.
    pub(super) fn token(&self, key: u64) -> Option<&Token> {
        self.stuck.tokens.get(*self.stuck.places.get(&key)? as usize)
    }
}

/// A number for each member that is the same on every machine.
fn identities(members: &[Arc<PoolMember>]) -> Vec<u64> {
    names(members).iter().map(|name| hash::of(name.as_bytes())).collect()
}

/// What members are called, with their address where several share a name.
fn names(members: &[Arc<PoolMember>]) -> Vec<Cow<'_, str>> {
    let mut count: HashMap<&str, u32> = HashMap::new();
    for member in members {
        *count.entry(&member.spec.endpoint.name).or_default() += 1;
    }
    let endpoints = members.iter().map(|member| &*member.spec.endpoint);
    let names = endpoints.map(|endpoint| match count.get(&*endpoint.name) {
        Some(1) => Cow::Borrowed(&*endpoint.name),
        _ => Cow::Owned(format!("{}@{}", endpoint.name, endpoint.target.address)),
    });
    names.collect()
}

/// The members of each key, where the rule wants that.
fn shards(members: &[Arc<PoolMember>], identities: &[u64], rule: &Rule) -> Arc<[Shard]> {
    let Kind::Shards(sharding) = &rule.algorithm else { return Arc::default() };
    let members = members.iter().zip(identities);
    let taken = members.filter(|(it, _)| it.spec.weight > 0 && rule.takes(&it.spec.labels));
    let named: Vec<(u64, u64)> =
        taken.map(|(member, identity)| (member.spec.endpoint.key, *identity)).collect();
    shards::table(sharding.size, &named)
}

fn plan(members: &[Arc<PoolMember>], rule: &Rule, settings: &Settings) -> Plan {
    let now = Instant::now();
    let fact = |member: &Arc<PoolMember>| {
        let spec = &member.spec;
        let ready = member.state.administrative() == Administrative::Ready;
        Fact {
            priority: spec.priority,
            zone: spec.zone.clone(),
            weight: member.effective_weight(),
            wanted: spec.weight > 0 && ready && rule.takes(&spec.labels),
            usable: member.state.standing(now).is_usable(),
        }
    };
    let facts: Vec<Fact> = members.iter().map(fact).collect();
    Plan::of(&facts, settings.panic_threshold, settings.locality.as_ref())
}

impl Table {
    fn new(
        portion: &Portion,
        members: &[Arc<PoolMember>],
        identities: &[u64],
        rule: &Rule,
    ) -> Self {
        let candidate = |(index, weight): &(u32, u32)| {
            let member = &members[*index as usize];
            Candidate {
                key: member.spec.endpoint.key,
                weight: *weight,
                identity: identities[*index as usize],
                state: member.state.clone(),
                member: member.clone(),
            }
        };
        let candidates: Arc<[Candidate]> = portion.members.iter().map(candidate).collect();
        let algorithm = Arc::from(rule.algorithm.over(&candidates));
        Table { until: 0, candidates, algorithm }
    }

    fn pick(&self, choice: &Choice<'_>, turn: &AtomicU64) -> Option<&Candidate> {
        let choice = Choice { candidates: &self.candidates, turn, ..*choice };
        // a pool of one has nothing to choose
        let index = match choice.candidates.len() {
            1 if choice.shard.is_none() => choice.is_open(0).then_some(0)?,
            _ => self.algorithm.pick(&choice)?,
        };
        self.candidates.get(index)
    }
}

impl Scope {
    /// With the shares of the plan counted on.
    fn numbered(mut self) -> Self {
        let mut until = 0;
        for (table, portion) in self.tables.iter_mut().zip(&self.plan.portions) {
            until += portion.share;
            table.until = until;
        }
        self
    }

    /// The member for this question, if there is one that may be tried. `in_flight` is what the
    /// whole pool has, where it is counted.
    pub(super) fn pick(
        &self,
        question: &Question<'_>,
        in_flight: Option<usize>,
    ) -> Option<&Arc<PoolMember>> {
        let hash = self.rule.algorithm.hashing().map(|_| question.wish.hash);
        let random = || mix(self.turns.draws.fetch_add(1, Ordering::Relaxed));
        let choice = Choice {
            candidates: &[],
            tried: question.tried,
            // a request without key goes anywhere, not always to the same member
            hash: hash.map_or(0, |hash| hash.unwrap_or_else(random)),
            // requests without a key have a few members together
            shard: shards::of_key(&self.shards, question.wish.hash.unwrap_or_default()),
            now: question.now,
            turn: &self.turns.draws,
            in_flight,
        };
        let pick = |place: usize| self.tables.get(place)?.pick(&choice, self.turns.of(place));
        let picked = match &self.tables[..] {
            [] => None,
            [_] => pick(0),
            tables => {
                let first = match (tables[0].until, hash) {
                    (ALL.., _) => 0,
                    // equal keys must come to the same table too
                    (_, Some(_)) => self.drawn(mix(choice.hash)),
                    (_, None) => self.drawn(random()),
                };
                let others = (0..tables.len()).filter(|place| *place != first);
                std::iter::once(first).chain(others).find_map(pick)
            }
        };
        picked.map(|candidate| &candidate.member)
    }

    /// The place of the table whose share these random bits fall into.
    fn drawn(&self, random: u64) -> usize {
        let point = ((random >> 32) * u64::from(ALL)) >> 32;
        self.tables.iter().position(|table| u64::from(table.until) > point).unwrap_or(0)
    }

    /// Whether there is anybody for this question who was not tried yet, with room or without: what
    /// had none a moment ago may have some by now.
    pub(super) fn has_others(&self, question: &Question<'_>) -> bool {
        let shard = shards::of_key(&self.shards, question.wish.hash.unwrap_or_default());
        let is_own = |key| shard.is_none_or(|shard| shard.members().contains(key));
        let mut candidates = self.tables.iter().flat_map(|table| table.candidates.iter());
        candidates.any(|it| !question.tried.contains(&it.key) && is_own(&it.key))
    }

    /// Tells questions apart that have members of their own: zero where all may have the same.
    pub(super) fn lane(&self, question: &Question<'_>) -> u64 {
        let key = question.wish.hash.filter(|_| !self.shards.is_empty());
        key.unwrap_or_default()
    }

    /// The part of requests that a member stands to get, and what decides in its favour. Nothing
    /// for who is not picked.
    pub(super) fn chance(&self, key: u64, now: Instant) -> Option<Chance> {
        let found = self.tables.iter().zip(&self.plan.portions).find_map(|(table, portion)| {
            let place = table.candidates.iter().position(|candidate| candidate.key == key)?;
            Some((table, portion, place))
        });
        let (table, portion, place) = found?;
        let choice = Choice {
            candidates: &table.candidates,
            tried: &[],
            hash: 0,
            shard: None,
            now,
            turn: &self.turns.draws,
            in_flight: None,
        };
        let portion = f64::from(portion.share) / f64::from(ALL);
        Some(Chance { portion, score: table.algorithm.score(place, &choice) })
    }
}

/// What a member stands to get.
#[derive(Clone, Debug, PartialEq)]
pub struct Chance {
    /// The part of the requests that goes to members of its priority and zone. Zero for those that
    /// stand by.
    pub portion: f64,
    /// What the algorithm goes by.
    pub score: String,
}
