//! How pools are looked after and guarded.

use transom_settings::{Limit, Name, Span, Spanned};

use super::Check;
use crate::config::{Health, Outliers, Pool, Probe, Queue};

impl Check<'_> {
    pub(super) fn upkeep(&mut self, name: &Spanned<Name>, pool: &Pool) {
        let path = format!("pools.{name}");
        if let Some(health) = &pool.health {
            self.health(health, &format!("{path}.health"));
        }
        if let Some(agent) = &pool.agent {
            let path = format!("{path}.agent");
            self.positive(agent.port.span, agent.port.value == 0, &path, "port");
            self.positive(agent.every.span, agent.every.is_zero(), &path, "every");
            self.positive(agent.timeout.span, agent.timeout.is_zero(), &path, "timeout");
        }
        if let Some(outliers) = pool.outliers.on() {
            self.outliers(outliers, &format!("{path}.outliers"));
        }
        if let Some(slow) = &pool.slow_start {
            let path = format!("{path}.slow-start");
            self.positive(slow.window.span, slow.window.is_zero(), &path, "window");
            let nothing = slow.aggression.value.get() == 0.0;
            self.positive(slow.aggression.span, nothing, &path, "aggression");
        }
        let limits = format!("{path}.limits");
        for (key, limit) in [
            ("requests", &pool.limits.requests),
            ("per-member", &pool.limits.per_member),
            ("connections", &pool.limits.connections),
            ("connections-per-member", &pool.limits.connections_per_member),
        ] {
            self.positive(limit.span, limit.value == Limit::At(0), &limits, key);
        }
        if let Some(adaptive) = pool.limits.adaptive.on() {
            let path = format!("{limits}.adaptive");
            self.positive(adaptive.min.span, adaptive.min.value == 0, &path, "min");
            self.positive(adaptive.measure.span, adaptive.measure.is_zero(), &path, "measure");
            if adaptive.min.value > adaptive.max {
                let (min, max) = (adaptive.min, adaptive.max);
                let what = format!("`min` of {min} is more than `max` of {max}");
                self.error(min.span, format!("{path}.min"), what).done();
            }
        }
        if let Some(breaker) = pool.breaker.on() {
            let path = format!("{path}.breaker");
            let never = breaker.errors.value.ratio() == 0.0;
            self.positive(breaker.errors.span, never, &path, "errors");
            self.positive(breaker.window.span, breaker.window.is_zero(), &path, "window");
            self.positive(breaker.open.span, breaker.open.is_zero(), &path, "open");
        }
        let limits = &pool.limits;
        let counts =
            [limits.requests, limits.per_member, limits.connections, limits.connections_per_member];
        let unlimited = counts.iter().all(|limit| limit.value == Limit::Unlimited)
            && limits.adaptive.on().is_none()
            && pool.agent.is_none();
        if unlimited && pool.queue != Queue::default() {
            let what = "nothing waits in the queue, the pool has no limit";
            self.warning(name.span, format!("{path}.queue"), what)
                .hint("set `limits.per-member`, `limits.requests` or `limits.adaptive`")
                .done();
        }
    }

    fn health(&mut self, health: &Health, path: &str) {
        self.positive(health.every.span, health.every.is_zero(), path, "every");
        for (key, every) in [("fast-every", health.fast_every), ("down-every", health.down_every)] {
            if let Some(every) = every {
                self.positive(every.span, every.is_zero(), path, key);
            }
        }
        self.positive(health.timeout.span, health.timeout.is_zero(), path, "timeout");
        self.positive(health.rise.span, health.rise.value == 0, path, "rise");
        self.positive(health.fall.span, health.fall.value == 0, path, "fall");
        match &health.probe {
            Probe::Http(http) => {
                let text = &http.path.value;
                let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
                if !text.starts_with('/') || !plain {
                    let what = format!("`{}` is no path", text.escape_debug());
                    self.error(http.path.span, format!("{path}.http.path"), what)
                        .hint("begin with `/`, and write other characters percent-encoded")
                        .done();
                }
            }
            Probe::Command(words) => {
                if let Some(program) = words.first().filter(|program| program.value.is_empty()) {
                    self.error(program.span, format!("{path}.command"), "the program has no name")
                        .done();
                }
            }
            Probe::Grpc(_) => {}
            Probe::Tcp(tcp) => {
                if tcp.on().is_none() {
                    self.error(Span::NOWHERE, format!("{path}.tcp"), "a probe that is off")
                        .hint("write `on`, or leave `health` out")
                        .done();
                }
            }
        }
    }

    fn outliers(&mut self, outliers: &Outliers, path: &str) {
        self.positive(outliers.every.span, outliers.every.is_zero(), path, "every");
        let ejection = &outliers.ejection;
        self.positive(ejection.span, ejection.is_zero(), path, "ejection");
        if ejection.value > outliers.max_ejection {
            let max = outliers.max_ejection;
            let what = format!("`ejection` of {ejection} is longer than `max-ejection` of {max}");
            self.error(ejection.span, format!("{path}.ejection"), what).done();
        }
    }

    pub(super) fn positive(&mut self, place: Span, nothing: bool, path: &str, key: &str) {
        if nothing {
            let what = format!("`{key}` must be more than nothing");
            self.error(place, format!("{path}.{key}"), what).done();
        }
    }
}
