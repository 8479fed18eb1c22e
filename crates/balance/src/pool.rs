//! A named set of interchangeable endpoints.

mod plan;
mod question;
mod set;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use smallvec::SmallVec;
use tokio::sync::Notify;
use transom_proxy::destination::{Ask, Destination, Endpoint, Lease, Leasing, Permit};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known};

pub use self::plan::{Locality, Preference};
pub(crate) use self::question::{Question, Wish};
pub use self::set::Chance;
use self::set::Set;
use crate::affinity::Affinity;
use crate::algorithm::Kind;
use crate::budget::{Allowance, Budget};
use crate::guard::Guard;
use crate::guard::queue::Lane;
use crate::health::Care;
use crate::members::{Hooks, MemberSpec, MemberView, Passive, PoolMember};

/// What holds for a pool as a whole.
#[derive(Clone)]
pub struct Settings {
    pub algorithm: Kind,
    /// Where a smaller part of the members is usable, all are used, as the fault is then more
    /// likely in what judges them (Envoy's panic threshold). Default 0.5; 0 never does so.
    pub panic_threshold: f64,
    /// Whether members near us are preferred. Default: no.
    pub locality: Option<Locality>,
    /// How clients stick to members. Default: not at all.
    pub affinity: Option<Affinity>,
    /// The field of responses that tells a member's load. Default: none is looked for.
    pub load_field: Option<Box<str>>,
    /// Told of every attempt that ends.
    pub passive: Option<Arc<dyn Passive>>,
    /// How its members are looked after.
    pub care: Care,
    /// What keeps it from being asked for too much.
    pub guard: Option<Arc<Guard>>,
    /// How many attempts there may be beyond those that clients ask for.
    pub allowance: Allowance,
    /// How many of them at once. Default: any number.
    pub retries: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            algorithm: Kind::default(),
            panic_threshold: 0.5,
            locality: None,
            affinity: None,
            load_field: None,
            passive: None,
            care: Care::default(),
            guard: None,
            allowance: Allowance::default(),
            retries: None,
        }
    }
}

impl Settings {
    /// How much each member may have to do at once.
    fn ceiling(&self) -> usize {
        self.guard.as_ref().and_then(|guard| guard.per_member()).unwrap_or(usize::MAX)
    }
}

/// By which somebody picks from a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Only members with all of these labels.
    pub subset: BTreeMap<String, String>,
    pub algorithm: Kind,
}

impl Rule {
    fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.subset.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

/// A pool: `impl Destination`, so a load balancer is a reverse proxy whose destination is a pool.
pub struct Pool {
    name: String,
    settings: Settings,
    /// What every member needs of the pool.
    hooks: Arc<Hooks>,
    /// Members and picking tables in one value, so that no reader sees half an update.
    set: ArcSwap<Set>,
    /// The rules, the first of which is the pool's own. Held by whoever makes the next set; never by
    /// who picks.
    rules: Mutex<Vec<Arc<Rule>>>,
    /// Its members are others than before, or stand otherwise.
    replaced: Notify,
    budget: Mutex<Budget>,
    /// Attempts beyond the first that run.
    retrying: Arc<AtomicUsize>,
    /// It is used. Until then it leaves alone what its members have in common with an earlier one.
    runs: AtomicBool,
    this: Weak<Pool>,
}

impl Pool {
    /// A pool of these members. Those that were in `previous` go on with their state, and turns go
    /// on where those stand.
    pub fn new(
        name: impl Into<String>,
        specs: Vec<MemberSpec>,
        settings: Settings,
        previous: Option<&Pool>,
    ) -> Arc<Self> {
        let mut settings = settings;
        if let (Some(Affinity::Remembered(mine)), Some(previous)) = (&settings.affinity, previous)
            && let Some(Affinity::Remembered(theirs)) = &previous.settings.affinity
            && mine.is_like(theirs)
        {
            // a reload forgets nobody
            settings.affinity = previous.settings.affinity.clone();
        }
        let counted = settings.algorithm.hashing().is_some_and(|hashing| hashing.bound.is_some());
        let in_flight = counted.then(|| {
            let earlier = previous.and_then(|previous| previous.hooks.in_flight.clone());
            earlier.unwrap_or_else(|| Arc::new(CachePadded::new(AtomicUsize::new(0))))
        });
        let hooks = Arc::new(Hooks {
            passive: settings.passive.clone(),
            load_field: settings.load_field.clone(),
            drains: settings.care.drain.is_some(),
            in_flight,
        });
        let earlier = previous.map(|previous| previous.set.load_full());
        let rule = Rule { subset: BTreeMap::new(), algorithm: settings.algorithm.clone() };
        let name = name.into();
        let rules = vec![Arc::new(rule)];
        let runs = previous.is_none();
        let members = members(specs, earlier.as_deref(), &hooks, &settings, runs);
        let set = Set::new(&name, members, &rules, &settings, earlier.as_deref());
        let budget = previous.map_or_else(Budget::new, |previous| *locked(&previous.budget));
        let retrying = previous.map_or_else(Arc::default, |previous| previous.retrying.clone());
        Arc::new_cyclic(|this| Pool {
            name,
            settings,
            hooks,
            set: ArcSwap::from_pointee(set),
            rules: Mutex::new(rules),
            replaced: Notify::new(),
            budget: Mutex::new(budget),
            retrying,
            runs: AtomicBool::new(runs),
            this: this.clone(),
        })
    }

    /// Takes the place of the earlier pool: its members may have as much to do as this one says.
    pub fn take_over(&self) {
        let changing = self.changing();
        self.runs.store(true, Ordering::Relaxed);
        for member in &self.set.load().members {
            member.state.set_ceiling(self.settings.ceiling());
        }
        drop(changing);
        self.hand_over();
    }

    /// Puts other members in the place of all. Those that stay go on with their state.
    pub fn replace(&self, specs: Vec<MemberSpec>) {
        let rules = self.changing();
        let earlier = self.set.load_full();
        let runs = self.runs.load(Ordering::Relaxed);
        let members = members(specs, Some(&earlier), &self.hooks, &self.settings, runs);
        self.put(members, &rules, &earlier);
        drop(rules);
        self.replaced.notify_one();
        self.hand_over();
    }

    /// Ready once other members have been put in the place of all, or some stand otherwise than
    /// before; for one who waits.
    pub async fn replaced(&self) {
        self.replaced.notified().await;
    }

    /// Takes into account that members have become usable or unusable, or have another weight. To
    /// be called after a change of their state, and when an ejection is over. Costs little where
    /// nothing has changed.
    pub fn refresh(&self) {
        let changing = self.changing();
        if let Some(set) = self.set.load().refreshed(&self.settings) {
            self.set.store(Arc::new(set));
            drop(changing);
            self.replaced.notify_one();
            self.hand_over();
        }
    }

    /// Those who wait may find room with the members there are now.
    pub(crate) fn hand_over(&self) {
        if let Some(guard) = &self.settings.guard {
            guard.hand_over();
        }
    }

    /// How its members are looked after.
    pub fn care(&self) -> &Care {
        &self.settings.care
    }

    /// What keeps it from being asked for too much.
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        self.settings.guard.as_ref()
    }

    /// The pool as seen by one that picks by its own rule.
    pub fn whole(self: &Arc<Self>) -> Scoped {
        Scoped { pool: self.clone(), place: 0 }
    }

    /// The pool as seen by one that picks by another rule.
    pub fn by(self: &Arc<Self>, rule: Rule) -> Scoped {
        let mut rules = self.changing();
        let place = rules.iter().position(|known| **known == rule).unwrap_or_else(|| {
            rules.push(Arc::new(rule));
            let earlier = self.set.load_full();
            let members = earlier.members.clone();
            self.put(members, &rules, &earlier);
            rules.len() - 1
        });
        Scoped { pool: self.clone(), place }
    }

    /// The members, in the order of the file.
    pub fn members(&self) -> Vec<Arc<PoolMember>> {
        self.set.load().members.clone()
    }

    /// What the members are and do, in the order of the file.
    pub fn view(&self) -> Vec<MemberView> {
        let now = Instant::now();
        self.set.load().members.iter().map(|member| member.view(now)).collect()
    }

    /// What each member stands to get by the pool's own rule, in the order of the file; nothing for
    /// those that are not picked.
    pub fn chances(&self) -> Vec<Option<Chance>> {
        self.chances_at(0)
    }

    /// Whether so few members are usable that all are used.
    pub fn panics(&self) -> bool {
        self.set.load().scopes.first().is_some_and(|scope| scope.plan.panics)
    }

    fn chances_at(&self, place: usize) -> Vec<Option<Chance>> {
        let (set, now) = (self.set.load(), Instant::now());
        let Some(scope) = set.scopes.get(place) else { return Vec::new() };
        let chance = |member: &Arc<PoolMember>| scope.chance(member.spec.endpoint.key, now);
        set.members.iter().map(chance).collect()
    }

    /// Whom a lease would be for, without giving one.
    pub fn peek(&self, ask: &Ask<'_>) -> Option<Arc<Endpoint>> {
        self.peek_at(0, ask)
    }

    fn peek_at(&self, place: usize, ask: &Ask<'_>) -> Option<Arc<Endpoint>> {
        let set = self.set.load();
        let question = set.question(place, &self.settings, ask);
        let member = set.scopes.get(place)?.pick(&question, self.in_flight())?;
        Some(member.spec.endpoint.clone())
    }

    fn lease_at(&self, place: usize, ask: &Ask<'_>) -> Leasing {
        let set = self.set.load();
        let question = set.question(place, &self.settings, ask);
        self.leasing(&set, place, &question)
    }

    /// A lease for a request that has been asked about before.
    pub(crate) fn lease_for(&self, place: usize, question: &Question<'_>) -> Leasing {
        self.leasing(&self.set.load(), place, question)
    }

    fn leasing(&self, set: &Set, place: usize, question: &Question<'_>) -> Leasing {
        if let Some(guard) = &self.settings.guard
            && let Some(this) = self.this.upgrade()
        {
            return guard.lease(&this, place, question);
        }
        match self.begin(set, place, question) {
            Some(member) => Leasing::Ready(Lease::new(member, question.now)),
            None => Leasing::Refused(self.nobody_left()),
        }
    }

    /// What this request says for or against members.
    pub(crate) fn wish(&self, place: usize, ask: &Ask<'_>) -> Wish {
        self.set.load().question(place, &self.settings, ask).wish
    }

    /// A member of which an attempt has begun.
    pub(crate) fn begin_at(
        &self,
        place: usize,
        question: &Question<'_>,
    ) -> Option<Arc<PoolMember>> {
        self.begin(&self.set.load(), place, question)
    }

    fn begin(&self, set: &Set, place: usize, question: &Question<'_>) -> Option<Arc<PoolMember>> {
        if let Some(key) = question.wish.sticks_to
            && let Some(member) = set.stuck(key, place, question)
            && member.begin()
        {
            return Some(member.clone());
        }
        let scope = set.scopes.get(place)?;
        let in_flight = self.in_flight();
        // another worker may take the last place of the one that was picked
        let mut picks = (0..TRIES).map_while(|_| scope.pick(question, in_flight));
        let member = picks.find(|member| member.begin())?;
        if let (Some(Affinity::Remembered(sessions)), Some(sign)) =
            (&self.settings.affinity, question.wish.sign)
        {
            sessions.put(sign, member.spec.endpoint.key, question.now);
        }
        Some(member.clone())
    }

    /// What all members have in flight, where somebody asks for it.
    fn in_flight(&self) -> Option<usize> {
        self.hooks.in_flight.as_ref().map(|all| all.load(Ordering::Relaxed))
    }

    /// Whether there is a member for this question, if only when it has room.
    pub(crate) fn has_others_at(&self, place: usize, question: &Question<'_>) -> bool {
        self.set.load().scopes.get(place).is_some_and(|scope| scope.has_others(question))
    }

    /// Requests of the same lane may have the same members; those of others may have other ones.
    pub(crate) fn lane(&self, place: usize, question: &Question<'_>) -> Lane {
        let set = self.set.load();
        (place, set.scopes.get(place).map_or(0, |scope| scope.lane(question)))
    }

    pub(crate) fn nobody_left(&self) -> Fault {
        let detail = format!("pool `{}` has no endpoint left to try", self.name);
        Fault::new(Code::NoEndpoint, detail)
    }

    fn lease_instead_at(
        &self,
        place: usize,
        ask: &Ask<'_>,
        permit: &mut Option<Permit>,
    ) -> Leasing {
        let set = self.set.load();
        let failing = set.members.iter().filter(|member| member.state.is_failing());
        let mut excluded: SmallVec<[u64; 8]> = SmallVec::from_slice(ask.tried);
        excluded.extend(failing.map(|member| member.spec.endpoint.key));
        // Nothing was sent, so going to one that works is no more than was asked for.
        let working = self.lease_at(place, &Ask { tried: &excluded, ..*ask });
        if !matches!(working, Leasing::Refused(_)) {
            return working;
        }
        // Trying one after the other of those that do not is.
        *permit = self.retry(ask);
        match permit {
            Some(_) => self.lease_at(place, ask),
            None => working,
        }
    }

    /// Uses these from now on, by these rules.
    fn put(&self, members: Vec<Arc<PoolMember>>, rules: &[Arc<Rule>], earlier: &Set) {
        let set = Set::new(&self.name, members, rules, &self.settings, Some(earlier));
        self.set.store(Arc::new(set));
    }

    fn changing(&self) -> MutexGuard<'_, Vec<Arc<Rule>>> {
        locked(&self.rules)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a member is picked anew when others were faster.
const TRIES: usize = 4;

/// Members as they are said to be, with the state of those that were there before.
fn members(
    specs: Vec<MemberSpec>,
    earlier: Option<&Set>,
    hooks: &Arc<Hooks>,
    settings: &Settings,
    runs: bool,
) -> Vec<Arc<PoolMember>> {
    let ceiling = settings.ceiling();
    let earlier = earlier.map_or(&[][..], |set| &set.members);
    let states: HashMap<u64, _> =
        earlier.iter().map(|member| (member.spec.endpoint.key, &member.state)).collect();
    let member = |spec: MemberSpec| {
        let state = states.get(&spec.endpoint.key).map(|state| Arc::clone(state));
        let is_own = runs || state.is_none();
        let state = state.unwrap_or_default();
        if is_own {
            state.set_ceiling(ceiling);
        }
        PoolMember::new(spec, state, hooks.clone())
    };
    specs.into_iter().map(member).collect()
}

impl Destination for Pool {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self, ask: &Ask<'_>) -> Leasing {
        self.lease_at(0, ask)
    }

    fn lease_instead(&self, ask: &Ask<'_>, permit: &mut Option<Permit>) -> Leasing {
        self.lease_instead_at(0, ask, permit)
    }

    fn retry(&self, ask: &Ask<'_>) -> Option<Permit> {
        let most = self.settings.retries.unwrap_or(usize::MAX);
        if self.retrying.load(Ordering::Relaxed) >= most {
            return None;
        }
        let set = self.set.load();
        let attempts = set.members.iter().map(|m| m.state.attempts.load(Ordering::Relaxed)).sum();
        let granted = locked(&self.budget).spend(&self.settings.allowance, attempts, ask.now);
        granted.then(|| Permit::counted(self.retrying.clone()))
    }

    fn answered(&self, ask: &Ask<'_>, endpoint: &Endpoint, fields: &mut Fields) {
        match &self.settings.affinity {
            None => {}
            Some(Affinity::Cookie(cookie)) => {
                let set = self.set.load();
                if let (Some(token), Some(http)) = (set.token(endpoint.key), ask.http)
                    && cookie.sent(ask) != Some(*token)
                {
                    let https = http.exchange.asked.scheme == "https";
                    fields.append(Known::SetCookie, &cookie.line(token, https));
                }
            }
            Some(Affinity::Remembered(sessions)) => sessions.learn(fields, endpoint.key, ask.now),
        }
    }

    fn candidates(&self) -> Vec<Arc<Endpoint>> {
        self.set.load().members.iter().map(|member| member.spec.endpoint.clone()).collect()
    }
}

/// A pool as one route sees it: some of its members, or another algorithm.
#[derive(Clone)]
pub struct Scoped {
    pub(crate) pool: Arc<Pool>,
    pub(crate) place: usize,
}

impl Scoped {
    /// What each member of the pool stands to get, in the order of the file.
    pub fn chances(&self) -> Vec<Option<Chance>> {
        self.pool.chances_at(self.place)
    }

    /// Whom a lease would be for, without giving one.
    pub fn peek(&self, ask: &Ask<'_>) -> Option<Arc<Endpoint>> {
        self.pool.peek_at(self.place, ask)
    }
}

impl Destination for Scoped {
    fn name(&self) -> &str {
        &self.pool.name
    }

    fn lease(&self, ask: &Ask<'_>) -> Leasing {
        self.pool.lease_at(self.place, ask)
    }

    fn lease_instead(&self, ask: &Ask<'_>, permit: &mut Option<Permit>) -> Leasing {
        self.pool.lease_instead_at(self.place, ask, permit)
    }

    fn retry(&self, ask: &Ask<'_>) -> Option<Permit> {
        self.pool.retry(ask)
    }

    fn answered(&self, ask: &Ask<'_>, endpoint: &Endpoint, fields: &mut Fields) {
        self.pool.answered(ask, endpoint, fields);
    }

    fn candidates(&self) -> Vec<Arc<Endpoint>> {
        let set = self.pool.set.load();
        let rule = set.scopes.get(self.place).map(|scope| &scope.rule);
        let taken =
            set.members.iter().filter(|it| rule.is_some_and(|rule| rule.takes(&it.spec.labels)));
        taken.map(|member| member.spec.endpoint.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
