//! Where endpoints come from besides the file, and how names are looked up.

use std::collections::HashMap;

use transom_settings::{Setting, Span};

use super::Check;
use crate::config::{Driver, Pool, SHORTEST_TOKEN, Scale, Source};

impl Check<'_> {
    pub(super) fn sources(&mut self, pool: &Pool, path: &str) {
        if let Some(scale) = &pool.scale {
            self.scale(scale, path);
        }
        let mut seen = HashMap::new();
        for (index, source) in pool.sources.iter().enumerate() {
            let path = format!("{path}.sources[{index}]");
            let text = Setting::to_json(&source.value).to_string();
            if let Some(first) = seen.insert(text, source.span) {
                self.error(source.span, &path, "the same source is given twice")
                    .note(first, "it stands here already")
                    .done();
            }
            let has_secret = matches!(&source.value,
                Source::Etcd(etcd) if etcd.user.is_some() != etcd.password.is_some());
            if let Source::File(file) = &source.value {
                self.positive(file.every.span, file.every.is_zero(), &path, "every");
            }
            if has_secret {
                self.error(source.span, &path, "`user` and `password` need each other").done();
            }
        }
        let lapsing = pool.sources.iter().find_map(|source| match &source.value {
            Source::Registration(registration) => Some((source.span, registration)),
            _ => None,
        });
        if let Some((_, registration)) = lapsing
            && let Some(token) = &registration.token
            && token.expose().len() < SHORTEST_TOKEN
        {
            let what = format!("a token of less than {SHORTEST_TOKEN} characters can be tried out");
            self.error(token.span, format!("{path}.sources"), what)
                .hint("make one with `openssl rand -hex 32`")
                .done();
        }
        if let Some((place, registration)) = lapsing
            && registration.ttl.get().is_zero()
        {
            self.error(place, format!("{path}.sources"), "a `ttl` of zero lets nobody register")
                .done();
        }
    }

    pub(super) fn scale(&mut self, scale: &Scale, path: &str) {
        let path = format!("{path}.scale");
        if scale.max.value == 0 || scale.max.value < scale.min {
            let what = format!("there shall be {} to {} servers", scale.min, scale.max);
            self.error(scale.max.span, format!("{path}.max"), what)
                .hint("make `max` at least 1, and no less than `min`")
                .done();
        }
        if scale.target.value == 0 {
            let what = "no server could have no request at all";
            self.error(scale.target.span, format!("{path}.target"), what)
                .hint("write how many requests at once one server is meant to have")
                .done();
        }
        match &scale.driver {
            Driver::Command(command) if command.run.is_empty() => {
                self.error(command.run.span, format!("{path}.command.run"), "there is no program")
                    .hint("write it and its arguments: `[./server, --port, \"{port}\"]`")
                    .done();
            }
            Driver::Docker(docker) if docker.port.value == 0 => {
                let path = format!("{path}.docker.port");
                self.error(docker.port.span, path, "the port is zero").done();
            }
            _ => {}
        }
    }

    pub(super) fn resolver(&mut self) {
        let resolver = &self.config.resolver;
        for server in &resolver.servers {
            if server.socket_address().is_none_or(|at| at.ip().is_unspecified()) {
                let what = format!("`{}` is no DNS server", server.value);
                self.error(server.span, "resolver.servers", what)
                    .hint("write an IP address and a port, such as `10.0.0.2:53`")
                    .done();
            }
        }
        let timeout = resolver.timeout;
        self.positive(timeout.span, timeout.is_zero(), "resolver", "timeout");
        if resolver.min_ttl > resolver.max_ttl {
            let (min, max) = (resolver.min_ttl, resolver.max_ttl);
            let what = format!("`min-ttl` of {min} is longer than `max-ttl` of {max}");
            self.error(Span::NOWHERE, "resolver", what).done();
        }
    }
}
