//! The swap: what two snapshots have in common follows the newer one once that runs, and no sooner. A
//! configuration that is refused has changed nothing.

use transom_net::Background;

use super::{Snapshot, scaling, sources};
use crate::config::Source;

impl Snapshot {
    /// Takes the place of the earlier one. Nothing can fail from here on.
    pub fn take_over(&self, earlier: &Snapshot, background: &Background) {
        for (name, pool) in self.config.pools.iter() {
            let Some(roster) = self.rosters.get(&***name) else { continue };
            if let Some(connections) = self.shared.connections_of(name) {
                connections.allow(&pool.limits);
            }
            let registered = pool.sources.iter().find_map(|source| match &source.value {
                Source::Registration(registered) => Some(registered),
                _ => None,
            });
            if let (Some(registrations), Some(written)) = (&roster.registrations, registered) {
                sources::allow(registrations, written);
            }
            if let (Some(scaler), Some(written)) = (&roster.scaler, &pool.scale) {
                let (rules, hold, times) = scaling::plan(written);
                scaler.set(rules, hold, times);
            }
        }
        self.meters.take_over();
        for (name, roster) in &self.rosters {
            let earlier = earlier.rosters.get(name);
            roster.take_over(earlier.map(|earlier| &**earlier), background);
        }
    }
}
