//! A named set of interchangeable endpoints.

use std::sync::Arc;

use arc_swap::ArcSwap;
use transom_proxy::destination::{Ask, Destination, Endpoint, Lease, Leasing, Member};
use transom_proxy::fault::{Code, Fault};

use crate::algorithm::round_robin::RoundRobin;
use crate::members::PoolMember;

/// A pool: `impl Destination`, so a load balancer is a reverse proxy whose destination is a pool.
pub struct Pool {
    name: String,
    /// Members and picking order in one value, so that no reader sees half an update.
    set: ArcSwap<Set>,
}

struct Set {
    members: Vec<Arc<PoolMember>>,
    order: RoundRobin,
}

impl Pool {
    /// A pool of these members. Where it replaces `previous`, the order goes on where that stands.
    pub fn new(
        name: impl Into<String>,
        members: Vec<Arc<PoolMember>>,
        previous: Option<&Pool>,
    ) -> Self {
        let weights: Vec<u32> = members.iter().map(|m| m.weight).collect();
        let mut order = RoundRobin::new(&weights);
        if let Some(previous) = previous {
            order = order.following(&previous.set.load().order);
        }
        Pool { name: name.into(), set: ArcSwap::from_pointee(Set { members, order }) }
    }

    /// The members, in the order of the file.
    pub fn members(&self) -> Vec<Arc<PoolMember>> {
        self.set.load().members.clone()
    }
}

impl Destination for Pool {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self, ask: &Ask<'_>) -> Leasing {
        let set = self.set.load();
        let untried = set
            .order
            .pick()
            .find(|member| !ask.tried.contains(&set.members[*member].endpoint().key));
        match untried {
            Some(member) => {
                let member = set.members[member].clone();
                member.begin();
                Leasing::Ready(Lease::new(member, ask.now))
            }
            None => {
                let detail = format!("pool `{}` has no endpoint left to try", self.name);
                Leasing::Refused(Fault::new(Code::NoEndpoint, detail))
            }
        }
    }

    fn candidates(&self) -> Vec<Arc<Endpoint>> {
        self.set.load().members.iter().map(|m| m.endpoint().clone()).collect()
    }
}
