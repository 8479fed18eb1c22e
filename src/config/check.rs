//! What no single value can know: whether names resolve, addresses clash, routes are reached and
//! times fit into each other. Everything is reported together.

mod addresses;
mod apis;
mod attempts;
mod balancing;
mod foreign;
mod http2;
mod limits;
mod nothing;
mod reached;
mod relay;
mod sources;
mod splits;
mod upkeep;

use std::collections::{HashMap, HashSet};

use transom_settings::{
    Diagnostic, Diagnostics, EndpointAddress, HeaderName, Limit, Name, PathPattern, Segment,
    Severity, Span, Spanned, closest, quote,
};

use super::{
    Action, Admin, ClientAuth, Config, HeaderChanges, Listener, Placed, Policy, PolicyUse, Pool,
    Rewrite, Route, Target, Template, Tls, UpstreamHttp, UpstreamHttp2, UpstreamTls, Variable,
    hardening,
};

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

/// See [`Check::headers`].
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

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

    fn tls(&mut self, tls: &Spanned<Tls>, path: &str) {
        match (&tls.certificate, &tls.key) {
            (Some(certificate), None) => {
                self.error(
                    certificate.span,
                    format!("{path}.certificate"),
                    "a certificate needs its key",
                )
                .hint("add `key:` with the file of the private key")
                .done();
            }
            (None, Some(key)) => {
                self.error(key.span, format!("{path}.key"), "a key needs its certificate")
                    .hint("add `certificate:` with the file of the certificate")
                    .done();
            }
            (None, None) if tls.certificates.is_empty() && tls.self_signed.is_none() => {
                self.error(tls.span, path, "there is no certificate")
                    .hint("add `certificate:` and `key:`, or `self-signed: [localhost]` to try things out")
                    .done();
            }
            _ => {}
        }
        let client = &tls.client_certificates;
        match &client.ca {
            None if client.mode != ClientAuth::Off => {
                let what = "clients' certificates cannot be verified without `ca`";
                self.error(tls.span, format!("{path}.client-certificates"), what)
                    .hint("add `ca:` with the file of the authorities that sign them")
                    .done();
            }
            Some(ca) if client.mode == ClientAuth::Off => {
                let path = format!("{path}.client-certificates.ca");
                self.warning(ca.span, path, "it is not used, the mode is `off`")
                    .hint("add `mode: required` or `mode: optional`")
                    .done();
            }
            _ => {}
        }
    }

    fn route(&mut self, placed: Placed<'a>, listener: &Listener) {
        let (route, path) = (&placed.route.value, &*placed.path);
        self.regexes(route, path);
        for (index, policy) in route.policies.numbered() {
            let path = placed.policy(index);
            match policy {
                PolicyUse::Inline(policy) => self.policy(policy, &path, Some(route)),
                PolicyUse::Named(name) if self.config.policies.mentions(&**name) => {
                    self.policies.insert(name);
                }
                PolicyUse::Named(name) => {
                    let known = self.config.policies.names().map(|name| &***name);
                    let meant = closest(name, known);
                    self.policies.extend(meant);
                    let hint = match Policy::is_kind(name) {
                        true => format!(
                            "it is a kind: write `- {name}: {{ ... }}`, or name one below `policies:`"
                        ),
                        false => "add it below `policies:`".to_owned(),
                    };
                    self.error(name.span, path, format!("no policy named {}", quote(name)))
                        .hint(hint)
                        .suggest(meant)
                        .done();
                }
            }
        }
        self.headers(&route.request_headers, &format!("{path}.request-headers"), Some(route));
        self.headers(&route.response_headers, &format!("{path}.response-headers"), Some(route));
        let mut pool = None;
        match &route.action {
            Action::Forward(forward) => {
                match &forward.to.value {
                    Target::Pool(name) => {
                        let pools = match self.split_of(name) {
                            Some(pools) => pools,
                            None => {
                                let path = format!("{path}.forward");
                                pool = self.pool_of(name, forward.to.span, &path);
                                pool.into_iter().collect()
                            }
                        };
                        for endpoint in pools.iter().flat_map(|pool| &pool.endpoints) {
                            let address = &endpoint.address;
                            self.loops(address, forward.to.span, listener, route, path);
                        }
                    }
                    Target::Address { address, .. } => {
                        self.loops(address, forward.to.span, listener, route, path);
                    }
                };
            }
            Action::Redirect(redirect) => {
                let path = format!("{path}.redirect");
                self.captures(&redirect.to, redirect.to.span, &path, Some(route));
            }
            Action::Respond(respond) => {
                for name in respond.0.headers.names() {
                    self.framing(name, &format!("{path}.respond.headers"));
                }
            }
            Action::Compose(compose) => {
                let path = format!("{path}.compose");
                for (key, target) in compose.targets() {
                    if let Target::Pool(name) = &target.value
                        && self.split_of(name).is_none()
                    {
                        self.pool_of(name, target.span, &format!("{path}.{key}"));
                    }
                }
                for text in compose.templates() {
                    self.captures(text, compose.span, &path, Some(route));
                }
            }
            Action::Portal(portal) => self.portal(portal, route, path),
            Action::Files(_) => {}
        }
        self.rewrite(route, path);
        if let Some(limit) = &route.limits.response_headers {
            self.response_head(limit, &format!("{path}.limits"));
        }
        self.no_time_of_route(&route.timeouts, &format!("{path}.timeouts"));
        let effective = listener.timeouts.with(&route.timeouts, pool.map(|pool| &pool.timeouts));
        if effective != listener.timeouts {
            self.nesting(&effective, &format!("{path}.timeouts"));
        }
        if let Action::Forward(forward) = &route.action {
            self.mirror(forward, listener, route, path);
            self.choosing(forward, pool, route, path);
            self.attempts(forward, &effective, path);
        }
    }

    /// P-17: a request that comes back to the route it left goes round until nothing is left. Where
    /// it is rewritten another route may take it, and `Via` ends the round.
    fn loops(
        &mut self,
        endpoint: &EndpointAddress,
        place: Span,
        listener: &Listener,
        route: &Route,
        path: &str,
    ) {
        let own = listener.address.iter().find(|address| address.is_reached_by(endpoint));
        let Some(address) = own else { return };
        let what = format!("`{endpoint}` is an address of this listener itself, `{address}`");
        let path = format!("{path}.forward");
        let finding = match listener.forwarded.via || route.rewrite.value != Rewrite::default() {
            true => self.warning(place, path, what),
            false => self.error(place, path, format!("{what}: requests would come back for ever")),
        };
        finding
            .note(address.span, "it is listened on here")
            .hint("forward to where the program behind listens")
            .done();
    }

    fn rewrite(&mut self, route: &Route, path: &str) {
        let rewrite = &route.rewrite;
        let path = format!("{path}.rewrite");
        let answers =
            matches!(route.action, Action::Redirect(_) | Action::Respond(_) | Action::Portal(_));
        if answers && rewrite.value != Rewrite::default() {
            let what = "it is not used, the route answers by itself";
            self.warning(rewrite.span, &path, what).done();
        }
        let other = rewrite.strip_prefix.as_ref().or(rewrite.add_prefix.as_ref());
        if let (Some(replace), Some(other)) = (&rewrite.replace_prefix, other) {
            let what = "`replace-prefix` excludes `strip-prefix` and `add-prefix`";
            self.error(replace.from.span, format!("{path}.replace-prefix"), what)
                .note(other.span, "one of them stands here")
                .hint("keep `replace-prefix` alone, it does both")
                .done();
        }
    }

    fn pool_of(&mut self, name: &'a Name, place: Span, path: &str) -> Option<&'a Pool> {
        if let Some(&pool) = self.by_name.get(&**name) {
            self.pools.insert(name);
            return Some(pool);
        }
        let pools = &self.config.pools;
        if pools.mentions(&**name) || self.config.splits.mentions(&**name) {
            return None;
        }
        let splits = self.config.splits.names();
        let meant = closest(name, pools.names().chain(splits).map(|name| &***name));
        // Not also told that nobody uses it.
        self.pools.extend(meant);
        let finding = self.error(place, path, format!("no pool named {}", quote(name)));
        match meant {
            Some(meant) => finding.suggest(Some(meant)).done(),
            None => finding
                .hint(format!("add it below `pools:`, or write an address such as `{name}:80`"))
                .done(),
        }
        None
    }

    fn policy(&mut self, policy: &'a Policy, path: &str, route: Option<&Route>) {
        match policy {
            Policy::Rule(rule) => {
                let path = format!("{path}.{}", rule.kind());
                for (key, target) in rule.targets() {
                    if let Target::Pool(name) = &target.value
                        && self.split_of(name).is_none()
                    {
                        self.pool_of(name, target.span, &format!("{path}.{key}"));
                    }
                }
                for text in rule.templates() {
                    self.captures(text, rule.span, &path, route);
                }
            }
            Policy::Address(rule) => {
                if rule.addresses().is_empty() && self.decoded(path) {
                    let path = format!("{path}.address");
                    self.error(rule.span, path, "it names no addresses")
                        .hint("add `deny: [192.0.2.0/24]` or `deny-files: [blocked.txt]`")
                        .done();
                }
            }
            Policy::Headers(headers) => {
                self.headers(&headers.request, &format!("{path}.headers.request"), route);
                self.headers(&headers.response, &format!("{path}.headers.response"), route);
            }
        }
    }

    /// Fields that frame a message or belong to one connection are not the configuration's to
    /// change (RFC 9110 §7.6.1, RFC 9112 §6): a wrong value would split or join messages.
    fn headers(&mut self, changes: &HeaderChanges, path: &str, route: Option<&Route>) {
        let appended = changes.append.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| ("append", name, Some(value)))
        });
        let set = changes.set.iter().map(|(name, value)| ("set", name, Some(value)));
        let removed = changes.remove.iter().map(|name| ("remove", name, None));
        for (verb, name, value) in set.chain(appended).chain(removed) {
            let path = format!("{path}.{verb}");
            self.framing(name, &path);
            if let Some(value) = value {
                self.captures(value, name.span, &path, route);
            }
        }
    }

    fn framing(&mut self, name: &Spanned<HeaderName>, path: &str) {
        if FRAMING.contains(&&***name) {
            let what = format!("{} is Transom's own to write", quote(name));
            let hint = match &***name {
                "host" => "use `rewrite: { host: ... }`",
                _ => "remove it",
            };
            self.error(name.span, path, what).hint(hint).done();
        }
    }

    /// Whether every `{capture.x}` is a part of each path of the route.
    fn captures(&mut self, text: &Template, place: Span, path: &str, route: Option<&Route>) {
        self.foreign(text, place, path);
        // a policy with a name may stand in routes that have the capture
        let Some(route) = route else { return };
        for variable in text.variables() {
            let Variable::Capture(wanted) = variable else { continue };
            let paths = route.r#match.path.as_ref();
            let missing =
                paths.is_none_or(|paths| !paths.iter().all(|path| captures(path, wanted)));
            if missing {
                let what = format!("the route's path has no part named {}", quote(wanted));
                self.error(place, path, what)
                    .hint(format!("write `{{{wanted}}}` in `match.path`"))
                    .done();
            }
        }
    }

    fn regexes(&mut self, route: &Route, path: &str) {
        let paths = route.r#match.path.iter().flatten();
        for pattern in paths {
            let path = format!("{path}.match.path");
            if let PathPattern::Regex(regex) = &pattern.value {
                self.regex(regex, pattern.span, path);
                continue;
            }
            // as others write a part that has a name
            let text = pattern.value.to_string();
            let named = text.split('/').filter_map(|part| part.strip_prefix(':'));
            for name in named.filter(|name| !name.is_empty()) {
                let what = format!("`:{name}` is text like any other");
                self.warning(pattern.span, path.clone(), what)
                    .hint(format!("write `{{{name}}}` for whatever stands there"))
                    .done();
            }
        }
        let matched = &route.r#match;
        let values = |map: &'static str| format!("{path}.match.{map}");
        let header = matched.header.values().map(|value| (values("header"), value));
        let query = matched.query.values().map(|value| (values("query"), value));
        let cookie = matched.cookie.values().map(|value| (values("cookie"), value));
        for (path, value) in header.chain(query).chain(cookie) {
            for regex in value.regexes() {
                self.regex(regex, regex.span, path.clone());
            }
        }
        if let Some(rewrite) = &route.rewrite.regex {
            self.regex(
                &rewrite.r#match,
                rewrite.r#match.span,
                format!("{path}.rewrite.regex.match"),
            );
        }
    }

    /// Compiled as the router does: over bytes, without Unicode tables.
    fn regex(&mut self, text: &str, place: Span, path: String) {
        let built =
            regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
        let reason = match built {
            Ok(_) => return,
            Err(regex::Error::CompiledTooBig(_)) => "it is too large".to_owned(),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or("").trim();
                reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
            }
        };
        let what = format!("{} is not a regular expression: {reason}", quote(text));
        self.error(place, path, what).done();
    }

    fn pool(&mut self, name: &Spanned<Name>, pool: &'a Pool) {
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

fn captures(path: &PathPattern, wanted: &str) -> bool {
    match path {
        PathPattern::Template { segments, .. } => segments
            .iter()
            .any(|segment| matches!(segment, Segment::Capture(name) if name == wanted)),
        PathPattern::Regex(regex) => {
            regex.contains(&format!("(?P<{wanted}>")) || regex.contains(&format!("(?<{wanted}>"))
        }
        PathPattern::Exact(_) | PathPattern::Prefix(_) => false,
    }
}
