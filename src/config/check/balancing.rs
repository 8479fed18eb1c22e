//! Algorithms, subsets and zones: whether what they ask for is there.

use transom_balance::algorithm::shards::MOST;
use transom_settings::{Limit, Name, Span, Spanned, closest, list, quote};

use super::super::{Algorithm, AlgorithmKind, Forward, Locality, Pool, Route, Target};
use super::Check;

impl<'a> Check<'a> {
    /// What a pool says of balancing.
    pub(super) fn balancing(&mut self, name: &Spanned<Name>, pool: &'a Pool, path: &str) {
        self.algorithm(&pool.algorithm, &format!("{path}.algorithm"), None);
        if let Some(affinity) = &pool.affinity {
            self.affinity(affinity, &format!("{path}.affinity"));
        }
        self.subsetting(pool, format!("{path}.subsetting"));
        if pool.locality.value == Locality::Ignore {
            return;
        }
        let at = format!("{path}.locality");
        let place = pool.locality.span;
        let zones = || pool.endpoints.iter().filter_map(|one| one.zone.as_deref());
        match &self.config.zone {
            None => self
                .error(place, at, "it is not said which zone this is")
                .hint("add `zone: NAME` to the whole file, such as `zone: ${ZONE}`")
                .done(),
            Some(zone) if self.is_fixed(pool) && !zones().any(|one| one == &***zone) => {
                let what = format!("no endpoint of {} is in the zone {}", quote(name), quote(zone));
                let meant = closest(zone, zones());
                self.warning(place, at, what)
                    .note(zone.span, "which is said here")
                    .hint("give endpoints their `zone`")
                    .suggest(meant)
                    .done();
            }
            Some(_) => {}
        }
    }

    fn subsetting(&mut self, pool: &Pool, at: String) {
        let place = pool.subsetting.span;
        match pool.subsetting.value {
            Limit::Unlimited => {}
            Limit::At(0) => self.error(place, at, "a subset of nothing serves nobody").done(),
            Limit::At(_) if self.config.instance.is_none() => self
                .error(place, at, "it is not said which instance this is")
                .hint("add `instance: NUMBER` to the whole file, such as `instance: ${INSTANCE}`")
                .done(),
            Limit::At(_) if pool.scale.is_some() => self
                .error(place, at, "servers that this Transom starts are its own")
                .hint("remove `subsetting`, or `scale`")
                .done(),
            Limit::At(_) => {}
        }
    }

    /// What a route says of balancing.
    pub(super) fn choosing(
        &mut self,
        forward: &'a Forward,
        pool: Option<&'a Pool>,
        route: &Route,
        path: &str,
    ) {
        let path = format!("{path}.forward");
        if let Some(algorithm) = &forward.algorithm {
            self.algorithm(algorithm, &format!("{path}.algorithm"), Some(route));
        }
        let asks = forward.subset.names().next().map(|name| (name.span, "subset"));
        let asks = asks.or(forward.algorithm.as_ref().map(|one| (one.span, "algorithm")));
        let Some((place, key)) = asks else { return };
        if let Target::Address { .. } = forward.to.value {
            self.error(place, format!("{path}.{key}"), "one address leaves nothing to choose")
                .hint("make a pool of it, or remove this")
                .done();
            return;
        }
        if let Target::Pool(name) = &forward.to.value
            && self.config.splits.mentions(&**name)
        {
            let what = "a split divides between pools, not between endpoints";
            self.error(place, format!("{path}.{key}"), what).hint("set it at its pools").done();
            return;
        }
        let Some(pool) = pool else { return };
        let is_load = |one: &Algorithm| matches!(one.0, AlgorithmKind::ReportedLoad(_));
        if let Some(own) = &forward.algorithm
            && is_load(own)
            && !is_load(&pool.algorithm)
        {
            let place = own.span;
            let what = "the load is read only where it is the pool's own algorithm";
            self.error(place, format!("{path}.algorithm"), what)
                .hint("set `algorithm: reported-load` at the pool")
                .done();
        }
        if self.is_fixed(pool) {
            self.subset(forward, pool, &format!("{path}.subset"));
        }
    }

    /// A subset that no endpoint belongs to answers every request with a fault.
    fn subset(&mut self, forward: &Forward, pool: &Pool, path: &str) {
        let endpoints = || pool.endpoints.iter();
        for (label, value) in forward.subset.iter() {
            let labels = || endpoints().flat_map(|one| one.labels.names()).map(|name| &***name);
            if !labels().any(|known| known == &***label) {
                let what = format!("no endpoint of the pool has the label {}", quote(label));
                let meant = closest(label, labels());
                self.error(label.span, path, what)
                    .hint("give endpoints `labels`")
                    .suggest(meant)
                    .done();
                return;
            }
            let mut values: Vec<&str> =
                endpoints().filter_map(|one| one.labels.get(&***label)).map(|v| &**v).collect();
            values.sort_unstable();
            values.dedup();
            if !values.contains(&&**value) {
                let what = format!("no endpoint has {} as its {}", quote(value), quote(label));
                let known = format!("there are {}", list(values.iter().copied(), "and"));
                let meant = closest(value, values.iter().copied());
                self.error(label.span, path, what).hint(known).suggest(meant).done();
                return;
            }
        }
        let fits = |one: &super::super::Endpoint| {
            forward.subset.iter().all(|(label, value)| one.labels.get(&***label) == Some(value))
        };
        if !forward.subset.is_empty() && !endpoints().any(fits) {
            let place = forward.subset.names().next().map_or(forward.to.span, |name| name.span);
            self.error(place, path, "no endpoint has all of these labels")
                .hint("an endpoint must have each of them to belong to the subset")
                .done();
        }
    }

    fn algorithm(&mut self, algorithm: &Algorithm, path: &str, route: Option<&Route>) {
        if let AlgorithmKind::Source(source) = &algorithm.0 {
            let at = format!("{path}.source");
            self.prefix(&source.ipv4_prefix, 32, "IPv4", &at);
            self.prefix(&source.ipv6_prefix, 128, "IPv6", &at);
        }
        if let AlgorithmKind::Shards(shards) = &algorithm.0
            && !(1..=MOST).contains(&usize::from(shards.size.value))
        {
            let what = format!("a shard has from 1 to {MOST} endpoints, not {}", shards.size);
            self.error(shards.size.span, format!("{path}.shards.size"), what).done();
        }
        let Some(key) = algorithm.key() else { return };
        let at = format!("{path}.{}.key", algorithm.word());
        if key.literal().is_some() {
            self.error(key.span, at, "the key is the same for every request")
                .hint(
                    "write what tells them apart, such as `{client.address}` or `{header.x-user}`",
                )
                .done();
            return;
        }
        match route {
            Some(_) => self.captures(&key.value, key.span, &at, route),
            None => self.no_captures(&key.value, key.span, at),
        }
    }

    /// A pool serves many routes, each with variables of its own.
    fn no_captures(&mut self, key: &super::super::Template, place: Span, at: String) {
        use super::super::Variable;
        let capture = key.variables().find(|one| matches!(one, Variable::Capture(_)));
        if let Some(capture) = capture {
            let what = format!("`{{{capture}}}` belongs to a route, not to a pool");
            self.error(place, at, what)
                .hint("set the algorithm at the route's `forward`, or use `{path.1}`")
                .done();
        }
    }

    /// Whether all endpoints are in the file, so that something may be concluded from them.
    fn is_fixed(&self, pool: &Pool) -> bool {
        !pool.endpoints.is_empty() && pool.sources.is_empty() && pool.scale.is_none()
    }
}
