//! Pools: their endpoints, and settings that contradict each other.

use std::collections::HashMap;

use transom_settings::{Limit, Name, Spanned};

use super::Check;
use crate::config::{Pool, UpstreamHttp, UpstreamHttp2, UpstreamTls};

impl<'a> Check<'a> {
    pub(super) fn pool(&mut self, name: &Spanned<Name>, pool: &'a Pool) {
        let path = format!("pools.{name}");
        let all_known = self.decoded(&format!("{path}.endpoints"));
        let dynamic = !pool.sources.is_empty() || pool.scale.is_some();
        self.no_time_of_pool(&pool.timeouts, &format!("{path}.timeouts"));
        match pool.endpoints.first() {
            _ if dynamic || !all_known => {}
            None => {
                self.error(name.span, &path, "the pool has neither endpoints nor sources of them")
                    .hint("add `endpoints:`, such as `[10.0.0.1:8080]`, or `sources:`")
                    .done();
            }
            Some(first) if pool.endpoints.iter().all(|e| e.weight.value == 0) => {
                let place = first.weight.span;
                self.error(place, format!("{path}.endpoints"), "every endpoint has the weight 0")
                    .hint("give at least one a weight")
                    .done();
            }
            Some(_) => {}
        }
        self.bound(pool, &path);
        self.sources(pool, &path);
        self.balancing(name, pool, &path);
        let mut seen = HashMap::new();
        for endpoint in &pool.endpoints {
            let place = endpoint.address.span;
            if let Some(first) = seen.insert(&endpoint.address.value, place) {
                let what = format!("`{}` is given twice", endpoint.address);
                self.error(place, format!("{path}.endpoints"), what)
                    .note(first, "it stands here already")
                    .hint("use `weight: 2` for a double share")
                    .done();
            }
        }
        if let Some(UpstreamTls { ca: Some(ca), insecure_skip_verify, .. }) = pool.tls.on()
            && insecure_skip_verify.value
        {
            let what = "it is not used, `insecure-skip-verify` accepts any certificate";
            self.warning(ca.span, format!("{path}.tls.ca"), what).done();
        }
        if pool.http2.streams.value == 0 {
            self.error(
                pool.http2.streams.span,
                format!("{path}.http2.streams"),
                "no stream at all",
            )
            .hint("allow at least one, or set `http: 1.1`")
            .done();
        }
        if pool.http.value == UpstreamHttp::Http1 && pool.http2 != UpstreamHttp2::default() {
            let what = "nothing of `http2` is used, `http: 1.1` never speaks it";
            self.warning(pool.http.span, format!("{path}.http2"), what).done();
        }
        if let (Limit::At(idle), Limit::At(age)) = (pool.keep_alive.idle, pool.keep_alive.age)
            && idle > age
        {
            let what = format!("`idle` of {idle} is longer than `age` of {age}");
            self.error(name.span, format!("{path}.keep-alive"), what).done();
        }
        self.upkeep(name, pool);
    }
}
