//! What runs, as metrics count it.

use std::sync::Arc;

use transom_balance::Pool;
use transom_balance::guard::breaker::Position;
use transom_gateway::catalog;

use super::Running;
use crate::observe::metrics::{GuardRow, MemberRow, OverloadRow, SourceRow, VersionRow};
use crate::overload;

impl Running {
    /// From here on the metrics ask for all of these whenever somebody reads them.
    pub(super) fn tell_metrics(&self) {
        self.metrics.set_guards(self.when_asked(Running::guards));
        self.metrics.set_members(self.when_asked(Running::members));
        self.metrics.set_overload(self.when_asked(Running::overload_row));
        self.metrics.set_sources(self.when_asked(Running::sources));
        self.metrics.set_versions(self.when_asked(Running::versions));
    }

    /// Nothing once the program has ended.
    fn when_asked<T: Default + 'static>(
        &self,
        rows: fn(&Running) -> T,
    ) -> impl Fn() -> T + Send + Sync + use<T> {
        let this = self.this.clone();
        move || this.upgrade().map_or_else(T::default, |running| rows(&running))
    }

    pub(super) fn overload_row(&self) -> OverloadRow {
        let overload::State { level, seen, .. } = self.overload();
        OverloadRow {
            level,
            shed: f64::from(self.pressure.share()) / 10_000.0,
            memory: seen.memory,
            descriptors: seen.descriptors,
            lags: self.pressure.lags().map(Option::unwrap_or_default).collect(),
            stalls: self.pressure.stalls().collect(),
        }
    }

    pub(super) fn members(&self) -> Vec<MemberRow> {
        let snapshot = self.shown().snapshot;
        let rows = snapshot.pools.iter().flat_map(|(name, pool)| {
            pool.view().into_iter().map(|member| MemberRow {
                pool: name.clone(),
                endpoint: member.endpoint.name.clone(),
                in_flight: member.in_flight as u64,
                attempts: member.attempts,
                failures: member.failures,
                state: member.standing.as_str(),
                weight: member.effective_weight,
                ejections: member.ejections,
                probes_passed: member.probes_passed,
                probes_failed: member.probes_failed,
                latency: member.latency,
                load: member.load,
            })
        });
        rows.collect()
    }

    pub(super) fn guards(&self) -> Vec<GuardRow> {
        let snapshot = self.shown().snapshot;
        let row = |(name, pool): (&String, &Arc<Pool>)| {
            let view = pool.guard()?.view();
            let members = pool.members();
            // every member has its own ceiling and that of the pool
            let counted = members.first().and_then(|member| member.spec.endpoint.ceilings.last());
            Some(GuardRow {
                pool: name.clone(),
                connections: counted.map(|ceiling| ceiling.open() as u64),
                waiting: view.waiting as u64,
                limit: view.limit.map(|limit| limit as u64),
                breaker: view.breaker.map(Position::as_str),
                refused: view.refused,
            })
        };
        snapshot.pools.iter().filter_map(row).collect()
    }

    pub(super) fn versions(&self) -> Vec<VersionRow> {
        let (snapshot, now) = (self.shown().snapshot, catalog::now());
        let versions = snapshot.apis.iter().flat_map(|api| {
            api.versions.iter().map(|version| {
                let callers = version.callers.list();
                VersionRow {
                    api: api.name.clone(),
                    version: version.name.clone(),
                    age: version.age(now),
                    calls: callers.iter().map(|caller| caller.calls).sum(),
                    callers: callers.len(),
                }
            })
        });
        versions.collect()
    }

    pub(super) fn sources(&self) -> Vec<SourceRow> {
        let snapshot = self.shown().snapshot;
        let rows = snapshot.rosters.iter().flat_map(|(pool, roster)| {
            roster.sources().into_iter().map(|source| SourceRow {
                pool: pool.clone(),
                source: source.name,
                found: source.found as u64,
                failing: source.failing.is_some(),
                age: source.age.map(|age| age.as_secs_f64()),
            })
        });
        rows.collect()
    }
}
