//! Who belongs to a pool now: what the file lists, what sources tell and what operators have
//! changed, with every name as the addresses it has.

mod lists;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use transom_net::background::Running;
use transom_net::{Address, Background};
use transom_proxy::destination::Endpoint;
use transom_settings::EndpointAddress;

use self::lists::{Lists, Made, named};
use super::manual::{Change, Manual};
use super::names::Names;
use super::news::{Changed, News};
use super::registered::Registrations;
use super::subsetting::Subsetting;
use super::{Listed, Reach, Source, follow};
use crate::Pool;
use crate::members::{MemberSpec, MemberView};
use crate::recent::{Recent, Watch};
use crate::scale::Scaler;
use crate::state::Administrative;

/// Makes what a pool's connections are bound to: TLS, how they are kept, the key.
pub trait Make: Send + Sync {
    /// # Errors
    /// Why nothing can be sent there.
    fn endpoint(&self, place: Place<'_>) -> Result<Endpoint, String>;
}

/// Where an endpoint is, and how it is called.
pub struct Place<'a> {
    pub address: Address,
    /// As it was written, which gives `Host` and the name to verify.
    pub written: &'a EndpointAddress,
    /// For logs, metrics and operators.
    pub name: String,
}

/// What an operator's log is told.
pub enum Remark {
    /// Something came or went as it should.
    Change(String),
    /// Something fails; what was last good goes on.
    Trouble(String),
}

/// Writes remarks to the operator's log.
pub type Tell = Arc<dyn Fn(Remark) + Send + Sync>;

/// How a roster is made.
pub struct Plan {
    /// Of the pool.
    pub name: String,
    /// Makes the pool of its first members.
    pub pool: Box<dyn FnOnce(Vec<MemberSpec>) -> Arc<Pool>>,
    /// What the file lists.
    pub written: Vec<Listed>,
    /// The other sources, each with its name.
    pub sources: Vec<(String, Box<dyn Source>)>,
    /// Where endpoints register themselves, if they do; its source is among the others.
    pub registrations: Option<Arc<Registrations>>,
    /// Who starts servers on demand, if somebody does.
    pub scaler: Option<Arc<Scaler>>,
    /// A source that lists nothing means it.
    pub allow_empty: bool,
    /// Which of all endpoints this Transom uses, where not all.
    pub subsetting: Option<Subsetting>,
    pub make: Arc<dyn Make>,
    pub names: Arc<Names>,
    pub tell: Tell,
}

/// The members of one pool, and where they come from.
pub struct Roster {
    lists: Lists,
    pool: Arc<Pool>,
    /// Where endpoints register themselves, if they may.
    pub registrations: Option<Arc<Registrations>>,
    /// Who starts servers on demand, if somebody does.
    pub scaler: Option<Arc<Scaler>>,
    state: Mutex<State>,
    recent: Mutex<Watch>,
    /// So that names know that somebody listens.
    _heard: watch::Receiver<u64>,
}

#[derive(Default)]
struct State {
    manual: Manual,
    /// Sources that have not been started.
    waiting: Vec<(News, Box<dyn Source>)>,
    running: Vec<Running>,
    made: Made,
    specs: Vec<MemberSpec>,
    /// Troubles that the log has been told of.
    told: HashMap<String, String>,
}

/// How quickly changes follow each other at most.
const APART: Duration = Duration::from_millis(100);

impl Roster {
    /// The roster of a pool and the pool, going on from an earlier one: last good lists of the same
    /// sources, and changes by hand for as long as the file does not say otherwise. The earlier one
    /// notices nothing until this one takes its place ([`Roster::take_over`]).
    pub fn new(plan: Plan, earlier: Option<&Roster>) -> Arc<Self> {
        let changed = Changed::default();
        let heard = changed.subscribe();
        let news = |name: &str| News::new(name, plan.allow_empty, changed.clone());
        let waiting: Vec<_> =
            plan.sources.into_iter().map(|(name, source)| (news(&name), source)).collect();
        let lists = Lists {
            name: plan.name,
            written: plan.written,
            news: waiting.iter().map(|(news, _)| news.clone()).collect(),
            scaled: News::new("scale", true, changed.clone()),
            allow_empty: plan.allow_empty,
            subsetting: plan.subsetting,
            make: plan.make,
            names: plan.names,
            tell: plan.tell,
            changed,
        };
        let mut state = State { waiting, ..State::default() };
        if let Some(earlier) = earlier {
            state.go_on(&lists, earlier);
        }
        state.specs = lists.specs(&state.manual, &mut state.made);
        let pool = (plan.pool)(state.specs.clone());
        let roster = Roster {
            lists,
            pool,
            registrations: plan.registrations,
            scaler: plan.scaler,
            state: Mutex::new(state),
            recent: Mutex::default(),
            _heard: heard,
        };
        roster.apply();
        Arc::new(roster)
    }

    /// Takes the place of the earlier one, of which members may have their state in common with it:
    /// what was changed there by hand until now holds here, or is forgotten, and who starts servers
    /// does so for this one.
    pub fn take_over(self: &Arc<Self>, earlier: Option<&Roster>, background: &Background) {
        if let Some(earlier) = earlier {
            self.follow_hand(&earlier.manual());
        }
        self.pool.take_over();
        if let Some(scaler) = &self.scaler {
            scaler.work_for(self, background);
        }
    }

    fn follow_hand(&self, before: &Manual) {
        let (manual, forgotten) = Manual::following(before, |at| self.lists.says(at));
        for (address, change) in &forgotten {
            let change = change.shown();
            self.lists
                .remark(format!("the file decides about {address} again (was, by hand: {change})"));
        }
        self.state().manual = manual;
        self.apply();
        for (address, _) in forgotten {
            self.stand_again(&address);
        }
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Where scaling tells what it has started.
    pub fn scaled(&self) -> &News {
        &self.lists.scaled
    }

    /// Begins to follow the sources and to look names up, until the roster is dropped.
    pub fn start(self: &Arc<Self>, background: &Background) {
        self.lists.names.start(background);
        let waiting = std::mem::take(&mut self.state().waiting);
        let mut running = Vec::new();
        for (news, source) in waiting {
            let resolver = self.lists.names.resolver().clone();
            running.push(
                background
                    .run("source", move |worker| follow(source, Reach { worker, resolver }, news)),
            );
        }
        let (weak, mut heard) = (Arc::downgrade(self), self.lists.changed.subscribe());
        running.push(background.run("pool", move |_| async move {
            loop {
                let Some(roster) = weak.upgrade() else { return };
                roster.apply();
                drop(roster);
                // a change after a while is taken at once, one soon after another with what gathers
                let soon = tokio::time::Instant::now() + APART;
                if heard.changed().await.is_err() {
                    return;
                }
                tokio::time::sleep_until(soon).await;
                heard.mark_unchanged();
            }
        }));
        self.state().running.extend(running);
        if let Some(scaler) = &self.scaler {
            scaler.begin_for(self, background);
        }
    }

    /// Waits until every source and name has said something, if only that it fails.
    pub async fn settled(&self) {
        let mut heard = self.lists.changed.subscribe();
        while !self.has_settled() {
            if heard.changed().await.is_err() {
                return;
            }
        }
        self.apply();
    }

    fn has_settled(&self) -> bool {
        if !self.lists.news.iter().all(|news| news.told().spoke()) {
            return false;
        }
        // lists may bring new names
        self.apply();
        self.state().made.held.values().all(|name| name.known().spoke())
    }

    /// Makes the members of the pool what they should be now.
    pub fn apply(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let specs = self.lists.specs(&state.manual, &mut state.made);
        if !same(&state.specs, &specs) {
            self.tell_changes(&state.specs, &specs);
            self.pool.replace(specs.clone());
            state.specs = specs;
        }
        self.stand(&state.manual);
        self.tell_troubles(state);
    }

    /// Gives members the standing that was set by hand.
    fn stand(&self, manual: &Manual) {
        let mut news = false;
        for member in self.pool.members() {
            if let Some(wanted) = wanted(manual, &member.spec) {
                news |= member.state.set_administrative(wanted, "by hand");
            }
        }
        if news {
            self.pool.refresh();
        }
    }

    /// Changes something by hand, of an endpoint that is a member or is to become one.
    pub fn change(&self, address: &EndpointAddress, make: impl FnOnce(&mut Change)) {
        let said = self.lists.says(address);
        self.state().manual.change(address, said, make);
        self.apply();
    }

    /// Changes the standing of an endpoint by hand.
    pub fn set_standing(&self, address: &EndpointAddress, standing: Administrative) {
        self.change(address, |change| change.standing = standing);
        if standing == Administrative::Ready {
            // what is as it would be without a change has left no change behind
            self.stand_again(address);
            self.readmit(address);
        }
    }

    /// Ends an ejection: whom an operator lets in, what its traffic did before does not keep out.
    fn readmit(&self, address: &EndpointAddress) {
        let members = self.pool.members();
        let meant = members.iter().filter(|member| named(&member.spec).contains(address));
        let back: Vec<_> = meant.filter(|member| member.state.readmit()).collect();
        if !back.is_empty() {
            self.pool.refresh();
        }
        for member in back {
            self.lists.remark(format!("{} is back: by hand", member.spec.endpoint.name));
        }
    }

    /// Makes a member ready again of which nothing is changed by hand any more.
    ///
    /// By another of its names it may still be: what is set there stays. Held meanwhile, so that of two
    /// who change the same one the later is heard.
    fn stand_again(&self, address: &EndpointAddress) {
        let state = self.state();
        let mut news = false;
        for member in self.pool.members() {
            if named(&member.spec).contains(address) {
                let wanted = wanted(&state.manual, &member.spec).unwrap_or_default();
                news |= member.state.set_administrative(wanted, "by hand");
            }
        }
        if news {
            self.pool.refresh();
        }
    }

    /// Whether a member stands at this address, or has come by this name.
    pub fn has(&self, address: &EndpointAddress) -> bool {
        self.pool.members().iter().any(|member| named(&member.spec).contains(address))
    }

    /// How many endpoints are listed that other instances use.
    pub fn left_out(&self) -> usize {
        self.state().made.left_out
    }

    /// What was changed by hand.
    pub fn manual(&self) -> Manual {
        self.state().manual.clone()
    }

    /// Looks at what the members do; to be done about every second.
    pub fn look(&self, now: Instant) {
        // a limit that finds itself may have changed with time alone
        self.pool.hand_over();
        let members = self.pool.members();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.look(members.iter().map(|member| &**member), now);
    }

    /// What a member did lately.
    pub fn recent(&self, member: &MemberView) -> Recent {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.recent(member.endpoint.key)
    }

    /// Every source with what it has told, the names that are looked up among them.
    pub fn sources(&self) -> Vec<SourceView> {
        let now = Instant::now();
        let view = |news: &News| {
            let told = news.told();
            SourceView {
                name: news.name().to_owned(),
                found: told.list.as_ref().map_or(0, |list| list.len()),
                age: told.good.map(|good| now.saturating_duration_since(good)),
                failing: told.failing.map(|(why, since)| (why, now - since)),
                remarks: told.remarks,
            }
        };
        let mut all: Vec<SourceView> = self.lists.news.iter().map(view).collect();
        let state = self.state();
        let mut names: Vec<_> = state.made.held.values().collect();
        names.sort_by(|a, b| a.host().cmp(b.host()));
        all.extend(names.into_iter().map(|name| {
            let known = name.known();
            SourceView {
                name: format!("dns {}", name.host()),
                found: known.addresses.len(),
                age: known.good.map(|good| now.saturating_duration_since(good)),
                failing: known.failing.map(|(why, since)| (why, now - since)),
                remarks: Vec::new(),
            }
        }));
        all
    }

    fn tell_changes(&self, before: &[MemberSpec], now: &[MemberSpec]) {
        let keys = |specs: &[MemberSpec]| -> HashSet<u64> {
            specs.iter().map(|spec| spec.endpoint.key).collect()
        };
        let (old, new) = (keys(before), keys(now));
        let list = |specs: Vec<&MemberSpec>| {
            let names: Vec<_> = specs.iter().take(10).map(|spec| &*spec.endpoint.name).collect();
            match specs.len() {
                n if n > names.len() => {
                    format!("{} and {} more", names.join(", "), n - names.len())
                }
                _ => names.join(", "),
            }
        };
        let come: Vec<_> = now.iter().filter(|spec| !old.contains(&spec.endpoint.key)).collect();
        let left: Vec<_> = before.iter().filter(|spec| !new.contains(&spec.endpoint.key)).collect();
        if !come.is_empty() {
            self.lists.remark(format!("new: {}", list(come)));
        }
        if !left.is_empty() {
            self.lists.remark(format!("gone: {}", list(left)));
        }
    }

    /// Each trouble is told when it begins or changes, and when it is over.
    fn tell_troubles(&self, state: &mut State) {
        let news = self.lists.news.iter().map(|news| {
            let told = news.told();
            let remarks = told.remarks.first().cloned();
            (news.name().to_owned(), told.failing.map(|(why, _)| why).or(remarks))
        });
        let names =
            state.made.held.values().map(|name| {
                (format!("dns {}", name.host()), name.known().failing.map(|(why, _)| why))
            });
        let now: Vec<_> = news.chain(names).collect();
        for (name, why) in now {
            match (why, state.told.get(&name)) {
                (Some(why), known) if known != Some(&why) => {
                    self.lists.trouble(format!("source {name}: {why}"));
                    state.told.insert(name, why);
                }
                (None, Some(_)) => {
                    self.lists.remark(format!("source {name} is well again"));
                    state.told.remove(&name);
                }
                _ => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be shown of one source.
#[derive(Clone, Debug)]
pub struct SourceView {
    pub name: String,
    /// Endpoints or addresses in its last good list.
    pub found: usize,
    /// How long ago that was told or confirmed.
    pub age: Option<Duration>,
    /// Why there is nothing newer, and for how long.
    pub failing: Option<(String, Duration)>,
    pub remarks: Vec<String>,
}

impl State {
    fn go_on(&mut self, lists: &Lists, earlier: &Roster) {
        let before = earlier.lists.news.iter().chain([&earlier.lists.scaled]);
        for news in lists.news.iter().chain([&lists.scaled]) {
            if let Some(known) = before.clone().find(|known| known.name() == news.name()) {
                news.following(known);
            }
        }
        let before = earlier.state();
        (self.manual, _) = Manual::following(&before.manual, |at| lists.says(at));
        self.told = before.told.clone();
        // so that addresses are known before they have been looked up anew
        for (host, name) in &before.made.held {
            let mine = lists.names.want(host, &lists.changed);
            if !Arc::ptr_eq(&mine, name) {
                mine.following(name);
            }
            self.made.held.insert(host.clone(), mine);
        }
    }
}

/// What operators want of a member, by whichever of its names.
fn wanted(manual: &Manual, spec: &MemberSpec) -> Option<Administrative> {
    let names = named(spec);
    let wanted = names.iter().filter_map(|at| manual.of(at)).map(|change| change.standing);
    wanted.max_by_key(|standing| *standing as u8)
}

fn same(before: &[MemberSpec], now: &[MemberSpec]) -> bool {
    let equal = |(a, b): (&MemberSpec, &MemberSpec)| {
        a.endpoint.key == b.endpoint.key
            && a.endpoint.name == b.endpoint.name
            && (a.weight, a.priority) == (b.weight, b.priority)
            && (&a.zone, &a.labels) == (&b.zone, &b.labels)
    };
    before.len() == now.len() && before.iter().zip(now).all(equal)
}

#[cfg(test)]
mod tests;
