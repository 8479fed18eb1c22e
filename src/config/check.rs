//! What no single value can know: whether names resolve, addresses clash, routes are reached and
//! times fit into each other. Everything is reported together.

mod addresses;
mod apis;
mod attempts;
mod balancing;
mod changes;
mod foreign;
mod http2;
mod limits;
mod nothing;
mod policy;
mod pool;
mod reached;
mod regexes;
mod relay;
mod route;
mod sources;
mod splits;
mod tls;
mod unix;
mod upkeep;

use std::collections::{HashMap, HashSet};

use transom_settings::{Diagnostic, Diagnostics, Name, Severity, Span, Spanned, quote};

use super::{Admin, Config, Listener, Placed, Pool, hardening};

/// Finds what is wrong with a configuration as a whole. With `strict`, a safe default that was
/// relaxed is an error.
pub fn check(config: &Config, strict: bool, findings: &mut Diagnostics) {
    // what could not be decoded has its default here, from which nothing may be concluded
    let undecoded: Vec<String> = findings
        .findings()
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| finding.path.clone())
        .collect();
    let broken = !undecoded.is_empty();
    let by_name = config.pools.iter().map(|(name, pool)| (&***name, pool)).collect();
    let (pools, splits, policies) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut check = Check { config, findings, undecoded, by_name, pools, splits, policies };
    if config.listeners.is_empty() && !broken {
        let hint =
            "add one with an address and routes, such as `web: { address: :80, routes: [...] }`";
        check.error(Span::NOWHERE, "listeners", "there is no listener").hint(hint).done();
    }
    check.addresses();
    check.overload();
    check.admin(&config.admin);
    check.resolver();
    for (name, listener) in config.listeners.iter() {
        check.listener(name, listener);
    }
    for (name, pool) in config.pools.iter() {
        check.pool(name, pool);
    }
    for (name, split) in config.splits.iter() {
        check.split(name, split);
    }
    check.apis();
    for (name, policy) in config.policies.iter() {
        check.policy(policy, &format!("policies.{name}"), None);
    }
    if !broken {
        check.unused();
    }
    if strict {
        for relaxed in hardening(config).relaxed {
            let what = format!("strict: {} relaxes a safe default", relaxed.what);
            check.error(relaxed.place, relaxed.path, what).done();
        }
    }
}

struct Check<'a> {
    config: &'a Config,
    findings: &'a mut Diagnostics,
    /// Keys below which decoding has found something.
    undecoded: Vec<String>,
    /// The pools: a file may have thousands, and as many routes that ask for one.
    by_name: HashMap<&'a str, &'a Pool>,
    /// Names that some route uses.
    pools: HashSet<&'a str>,
    splits: HashSet<&'a str>,
    policies: HashSet<&'a str>,
}

/// A finding on its way to the others.
struct Finding<'f>(&'f mut Diagnostics, Diagnostic);

impl Finding<'_> {
    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.1 = self.1.hint(hint);
        self
    }

    fn note(mut self, place: Span, note: impl Into<String>) -> Self {
        self.1 = self.1.note(place, note);
        self
    }

    fn suggest(mut self, suggestion: Option<&str>) -> Self {
        self.1 = self.1.suggest(suggestion);
        self
    }

    fn done(self) {
        self.0.push(self.1);
    }
}

impl<'a> Check<'a> {
    fn error(
        &mut self,
        place: Span,
        path: impl Into<String>,
        what: impl Into<String>,
    ) -> Finding<'_> {
        Finding(self.findings, Diagnostic::error(place, path, what))
    }

    fn warning(
        &mut self,
        place: Span,
        path: impl Into<String>,
        what: impl Into<String>,
    ) -> Finding<'_> {
        Finding(self.findings, Diagnostic::warning(place, path, what))
    }

    /// Whether nothing below a key has been found wrong while it was decoded.
    fn decoded(&self, key: &str) -> bool {
        let below = |path: &String| {
            path.strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        !self.undecoded.iter().any(below)
    }

    fn admin(&mut self, admin: &Admin) {
        let Some(address) = &admin.address else { return };
        if !address.is_local() {
            self.error(
                address.span,
                "admin.address",
                format!("`{address}` can be reached from other machines"),
            )
            .hint("use `127.0.0.1` or `[::1]`, and a tunnel from elsewhere")
            .done();
        }
        if admin.token.is_none() && self.decoded("admin.token") {
            self.error(address.span, "admin.address", "an address needs a token")
                .hint("add `token: ${file:PATH}`, or use only the socket")
                .done();
        }
    }

    fn listener(&mut self, name: &Spanned<Name>, listener: &'a Listener) {
        let path = format!("listeners.{name}");
        if let Some(tls) = &listener.tls {
            let path = format!("{path}.tls");
            if self.decoded(&path) {
                self.tls(tls, &path);
            }
        }
        self.on_unix(listener, &path);
        self.served(name, listener, &path);
        self.no_time(&listener.timeouts, &format!("{path}.timeouts"));
        self.nesting(&listener.timeouts, &format!("{path}.timeouts"));
        self.no_body(&listener.limits, &format!("{path}.limits"));
        self.heads(&listener.limits, &format!("{path}.limits"));
        self.rates(&listener.limits, &format!("{path}.limits"));
        if let Some(http2) = listener.http2.on() {
            self.http2(http2, &format!("{path}.http2"));
        }
        let mut names: HashMap<&str, Span> = HashMap::new();
        for (index, route) in listener.routes.numbered() {
            let path = format!("{path}.routes[{index}]");
            if let Some(name) = &route.name
                && let Some(first) = names.insert(name, name.span)
            {
                let what = format!("another route is named {} too", quote(name));
                self.error(name.span, format!("{path}.name"), what)
                    .note(first, "it stands here")
                    .done();
            }
            self.route(Placed { route, path, version: None, canary: None, except: &[] }, listener);
        }
        self.reached(&listener.routes, &path);
    }

    fn unused(&mut self) {
        let unused = |what: &str, name: &Spanned<Name>| {
            let path = format!("{what}.{name}");
            Diagnostic::warning(name.span, path, "no route uses it")
        };
        let pools = self.config.pools.names().filter(|name| !self.pools.contains(&****name));
        let policies =
            self.config.policies.names().filter(|name| !self.policies.contains(&****name));
        for name in pools {
            self.findings.push(unused("pools", name));
        }
        for name in self.config.splits.names().filter(|name| !self.splits.contains(&****name)) {
            self.findings.push(unused("splits", name));
        }
        for name in policies {
            self.findings.push(unused("policies", name));
        }
    }
}
