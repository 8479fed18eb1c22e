//! Routes: their chain of policies, their action, their limits and timeouts.

use transom_proxy::site;

use super::Build;
use super::bandwidth::{Shared, bandwidth};
use super::limits::timeouts;
use crate::config::{Action, Listener, Placed, Priority, Target};

impl<'a> Build<'a> {
    /// The routes of a listener in the order of the file, if all of them can run.
    pub(super) fn routes(
        &mut self,
        listener_name: &str,
        listener: &'a Listener,
        written: &[Placed<'a>],
    ) -> Option<Vec<site::Route>> {
        let mut routes = Vec::with_capacity(written.len());
        let shared = Shared::of(&listener.limits.bandwidth);
        for (index, placed) in written.iter().enumerate() {
            let name = match &placed.route.name {
                Some(name) => name.to_string(),
                None => format!("{listener_name}[{index}]"),
            };
            routes.push(self.route(name, listener, &shared, placed));
        }
        routes.into_iter().collect()
    }

    fn route(
        &mut self,
        name: String,
        listener: &Listener,
        shared: &Shared,
        placed: &Placed<'a>,
    ) -> Option<site::Route> {
        let (route, at) = (placed.route, &*placed.path);
        let limits = listener.limits.with(&route.limits);
        let pool = match &route.action {
            Action::Forward(forward) => match &forward.to.value {
                Target::Pool(pool) => self.config.pools.get(&**pool),
                Target::Address { .. } => None,
            },
            _ => None,
        };
        let times = listener.timeouts.with(&route.timeouts, pool.map(|pool| &pool.timeouts));
        let chain = self.chain(&name, placed);
        self.warn_of_futile(listener, route, chain.as_deref().unwrap_or_default(), at);
        let action = self.action(&name, route, &limits, at)?;
        Some(site::Route {
            name: name.into(),
            chain: chain?,
            action,
            keep: self.kept(placed),
            bandwidth: bandwidth(&listener.limits.bandwidth, shared, &route.limits.bandwidth),
            body_limit: limits.body.value.get().map(|size| size.bytes()),
            timeouts: timeouts(&times),
            priority: match route.priority {
                Priority::High => 0,
                Priority::Normal => 1,
                Priority::Low => 2,
            },
            pages: self.pages(&route.error_pages),
        })
    }
}
