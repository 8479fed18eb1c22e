//! A named set of interchangeable endpoints.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use transom_proxy::destination::{Ask, Destination, Endpoint, Lease, Leasing};
use transom_proxy::fault::{Code, Fault};

use crate::algorithm::round_robin::RoundRobin;
use crate::members::{MemberSpec, MemberView, Passive, PoolMember};
use crate::state::Administrative;

/// What holds for a pool as a whole.
#[derive(Clone)]
pub struct Settings {
    /// Where a smaller part of the members is usable, all are used, as the fault is then more
    /// likely in what judges them (Envoy's panic threshold). Default 0.5; 0 never does so.
    pub panic_threshold: f64,
    /// Told of every attempt that ends.
    pub passive: Option<Arc<dyn Passive>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { panic_threshold: 0.5, passive: None }
    }
}

/// A pool: `impl Destination`, so a load balancer is a reverse proxy whose destination is a pool.
pub struct Pool {
    name: String,
    settings: Settings,
    /// Members and picking table in one value, so that no reader sees half an update.
    set: ArcSwap<Set>,
    /// Held by whoever makes the next set; never by who picks.
    changing: Mutex<()>,
}

/// The members, and who of them is picked in which order.
struct Set {
    members: Vec<Arc<PoolMember>>,
    /// Those that are picked, as indices into `members`.
    usable: Vec<u32>,
    /// What the table was made from: usable members with their weights.
    weights: Vec<u32>,
    panics: bool,
    order: RoundRobin,
}

impl Pool {
    /// A pool of these members. Those that were in `previous` go on with their state, and the order
    /// goes on where that stands.
    pub fn new(
        name: impl Into<String>,
        specs: Vec<MemberSpec>,
        settings: Settings,
        previous: Option<&Pool>,
    ) -> Arc<Self> {
        let earlier = previous.map(|previous| previous.set.load_full());
        let members = members(specs, earlier.as_deref(), &settings);
        let set = Set::new(members, &settings, earlier.as_deref());
        let (set, changing) = (ArcSwap::from_pointee(set), Mutex::new(()));
        Arc::new(Pool { name: name.into(), settings, set, changing })
    }

    /// Puts other members in the place of all. Those that stay go on with their state.
    pub fn replace(&self, specs: Vec<MemberSpec>) {
        let _changing = self.changing();
        let earlier = self.set.load_full();
        let members = members(specs, Some(&earlier), &self.settings);
        self.set.store(Arc::new(Set::new(members, &self.settings, Some(&earlier))));
    }

    /// Takes into account that members have become usable or unusable, or have another weight. To
    /// be called after a change of their state, and when an ejection is over. Costs little where
    /// nothing has changed.
    pub fn refresh(&self) {
        let _changing = self.changing();
        let earlier = self.set.load_full();
        let (usable, weights, panics) = usable(&earlier.members, &self.settings);
        if usable == earlier.usable && weights == earlier.weights && panics == earlier.panics {
            return;
        }
        let members = earlier.members.clone();
        self.set.store(Arc::new(Set::new(members, &self.settings, Some(&earlier))));
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

    /// Whether so few members are usable that all are used.
    pub fn panics(&self) -> bool {
        self.set.load().panics
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Members as they are said to be, with the state of those that were there before.
fn members(
    specs: Vec<MemberSpec>,
    earlier: Option<&Set>,
    settings: &Settings,
) -> Vec<Arc<PoolMember>> {
    let earlier = earlier.map_or(&[][..], |set| &set.members);
    let states: HashMap<u64, _> =
        earlier.iter().map(|member| (member.spec.endpoint.key, &member.state)).collect();
    let member = |spec: MemberSpec| {
        let state = states.get(&spec.endpoint.key).map(|state| Arc::clone(state));
        PoolMember::new(spec, state.unwrap_or_default(), settings.passive.clone())
    };
    specs.into_iter().map(member).collect()
}

/// Who is picked, with which weight, and whether that is all of them for want of usable ones.
fn usable(members: &[Arc<PoolMember>], settings: &Settings) -> (Vec<u32>, Vec<u32>, bool) {
    let now = Instant::now();
    let wanted: Vec<u32> = (0..members.len() as u32)
        .filter(|index| {
            let member = &members[*index as usize];
            member.spec.weight > 0 && member.state.administrative() == Administrative::Ready
        })
        .collect();
    let is_usable = |index: &u32| members[*index as usize].state.standing(now).is_usable();
    let usable: Vec<u32> = wanted.iter().copied().filter(is_usable).collect();
    let panics = usable.len() < wanted.len()
        && (usable.len() as f64) < wanted.len() as f64 * settings.panic_threshold;
    let picked = if panics { wanted } else { usable };
    let weights = picked.iter().map(|index| members[*index as usize].effective_weight()).collect();
    (picked, weights, panics)
}

impl Set {
    fn new(members: Vec<Arc<PoolMember>>, settings: &Settings, earlier: Option<&Set>) -> Self {
        let (usable, weights, panics) = usable(&members, settings);
        let mut order = RoundRobin::new(&weights);
        if let Some(earlier) = earlier {
            order = order.following(&earlier.order);
        }
        Set { members, usable, weights, panics, order }
    }

    /// The member for this ask, if there is one that was not tried yet.
    fn pick(&self, ask: &Ask<'_>) -> Option<&Arc<PoolMember>> {
        let mut order = self.order.pick().map(|turn| &self.members[self.usable[turn] as usize]);
        order.find(|member| !ask.tried.contains(&member.spec.endpoint.key))
    }
}

impl Destination for Pool {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self, ask: &Ask<'_>) -> Leasing {
        match self.set.load().pick(ask) {
            Some(member) => {
                member.begin();
                Leasing::Ready(Lease::new(member.clone(), ask.now))
            }
            None => {
                let detail = format!("pool `{}` has no endpoint left to try", self.name);
                Leasing::Refused(Fault::new(Code::NoEndpoint, detail))
            }
        }
    }

    fn candidates(&self) -> Vec<Arc<Endpoint>> {
        self.set.load().members.iter().map(|member| member.spec.endpoint.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
