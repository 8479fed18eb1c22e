//! Which safe defaults a configuration has relaxed.

use std::fmt;

use transom_settings::{Limit, Span, Spanned};

use super::{Action, Config, EncodedSlashes, MemoryBudget, Route, Target, UnknownNames};

/// How much of what is safe by default still is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hardening {
    /// Settings that were looked at.
    pub total: usize,
    pub relaxed: Vec<Relaxed>,
}

/// One safe default that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Relaxed {
    pub place: Span,
    pub path: String,
    /// What is written there: `` `body: unlimited` ``.
    pub what: String,
}

/// Looks at every setting that has a safe default.
pub fn hardening(config: &Config) -> Hardening {
    let mut found = Hardening::default();
    for (name, listener) in config.listeners.iter() {
        let at = format!("listeners.{name}");
        let limits = &listener.limits;
        let path = format!("{at}.limits");
        found.limit(&path, "body", &limits.body);
        found.limit(&path, "requests-per-connection", &limits.requests_per_connection);
        found.limit(&path, "connection-age", &limits.connection_age);
        found.limit(&path, "connections-per-client", &limits.connections_per_client);
        let times = &listener.timeouts;
        let path = format!("{at}.timeouts");
        found.limit(&path, "header", &times.header);
        found.limit(&path, "first-byte", &times.first_byte);
        found.limit(&path, "tls-handshake", &times.tls_handshake);
        found.limit(&path, "proxy-protocol", &times.proxy_protocol);
        found.limit(&path, "body-idle", &times.body_idle);
        found.limit(&path, "body-min-rate", &times.body_min_rate);
        found.limit(&path, "send-idle", &times.send_idle);
        found.limit(&path, "keep-alive", &times.keep_alive);
        found.limit(&path, "connect", &times.connect);
        found.limit(&path, "response", &times.response);
        found.limit(&path, "response-idle", &times.response_idle);
        found.limit(&path, "tunnel-idle", &times.tunnel_idle);
        if let Some(tcp) = &listener.tcp {
            let path = format!("{at}.tcp");
            found.limit(&path, "idle", &tcp.idle);
            found.limit(&path, "half-closed", &tcp.half_closed);
        }
        if let Some(udp) = &listener.udp {
            found.limit(&format!("{at}.udp"), "max-amplification", &udp.max_amplification);
        }
        let slashes = &listener.encoded_slashes;
        let kept = slashes.value == EncodedSlashes::Keep;
        found.setting(kept, slashes.span, &at, "encoded-slashes", &slashes.value);
        let everyone = listener.trusted_proxies.iter().find(|block| block.prefix() == 0);
        let shown = everyone.map(ToString::to_string).unwrap_or_default();
        let place = everyone.map_or(Span::NOWHERE, |block| block.span);
        found.setting(everyone.is_some(), place, &at, "trusted-proxies", &shown);
        if let Some(tls) = &listener.tls {
            let first = tls.unknown_names.value == UnknownNames::First;
            let path = format!("{at}.tls");
            found.setting(first, tls.unknown_names.span, &path, "unknown-names", &"first");
        }
        for (index, route) in listener.routes.numbered() {
            found.route(route, &format!("{at}.routes[{index}]"));
        }
    }
    for (placed, _) in config.written_versions() {
        found.route(placed.route, &placed.path);
    }
    let memory = &config.overload.memory;
    let unwatched = memory.value == MemoryBudget::Off;
    found.setting(unwatched, memory.span, "overload", "memory", &"off");
    found.limit("overload", "lag", &config.overload.lag);
    for (name, pool) in config.pools.iter() {
        let path = format!("pools.{name}");
        if let Some(tls) = pool.tls.on() {
            let skip = &tls.insecure_skip_verify;
            found.setting(
                skip.value,
                skip.span,
                &format!("{path}.tls"),
                "insecure-skip-verify",
                skip,
            );
        }
        let path = format!("{path}.timeouts");
        found.own_limit(&path, "connect", &pool.timeouts.connect);
        found.own_limit(&path, "response", &pool.timeouts.response);
        found.own_limit(&path, "response-idle", &pool.timeouts.response_idle);
    }
    found
}

impl Hardening {
    fn route(&mut self, route: &Route, at: &str) {
        self.own_limit(&format!("{at}.limits"), "body", &route.limits.body);
        let path = format!("{at}.timeouts");
        let times = &route.timeouts;
        self.own_limit(&path, "body-idle", &times.body_idle);
        self.own_limit(&path, "body-min-rate", &times.body_min_rate);
        self.own_limit(&path, "send-idle", &times.send_idle);
        self.own_limit(&path, "connect", &times.connect);
        self.own_limit(&path, "response", &times.response);
        self.own_limit(&path, "response-idle", &times.response_idle);
        self.own_limit(&path, "tunnel-idle", &times.tunnel_idle);
        if let Action::Forward(forward) = &route.action
            && let Target::Address { tls: true, .. } = forward.to.value
        {
            // always verified: there is no setting to relax it
            self.total += 1;
        }
    }

    fn setting(
        &mut self,
        relaxed: bool,
        place: Span,
        path: &str,
        key: &str,
        value: &dyn fmt::Display,
    ) {
        self.total += 1;
        if relaxed {
            let what = format!("`{key}: {value}`");
            self.relaxed.push(Relaxed { place, path: format!("{path}.{key}"), what });
        }
    }

    fn limit<T: fmt::Display>(&mut self, path: &str, key: &str, limit: &Spanned<Limit<T>>) {
        let relaxed = matches!(limit.value, Limit::Unlimited);
        self.setting(relaxed, limit.span, path, key, limit);
    }

    /// A setting that counts only where it is given.
    fn own_limit<T: fmt::Display>(
        &mut self,
        path: &str,
        key: &str,
        limit: &Option<Spanned<Limit<T>>>,
    ) {
        if let Some(limit) = limit {
            self.limit(path, key, limit);
        }
    }
}

impl fmt::Display for Hardening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hardening: {}/{} safe", self.total - self.relaxed.len(), self.total)?;
        for (index, relaxed) in self.relaxed.iter().enumerate() {
            f.write_str(if index == 0 { "; relaxed: " } else { ", " })?;
            let (_, value) = relaxed.what.trim_matches('`').split_once(": ").unwrap_or(("", ""));
            write!(f, "{} = {value}", relaxed.path)?;
        }
        Ok(())
    }
}
