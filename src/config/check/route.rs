//! Routes: what they name, where they lead, and whether that is back to themselves.

use transom_settings::{EndpointAddress, Name, Span, closest, quote};

use super::Check;
use crate::config::{Action, Listener, Placed, Policy, PolicyUse, Pool, Rewrite, Route, Target};

impl<'a> Check<'a> {
    pub(super) fn route(&mut self, placed: Placed<'a>, listener: &Listener) {
        let (route, path) = (&placed.route.value, &*placed.path);
        self.regexes(route, path);
        self.uses(&placed);
        self.headers(&route.request_headers, &format!("{path}.request-headers"), Some(route));
        self.headers(&route.response_headers, &format!("{path}.response-headers"), Some(route));
        let pool = self.action(route, listener, path);
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

    /// The policies of a route, each written there or named.
    fn uses(&mut self, placed: &Placed<'a>) {
        let route = &placed.route.value;
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
    }

    /// What a route does in the end; the one pool that it sends to, where there is one.
    fn action(&mut self, route: &'a Route, listener: &Listener, path: &str) -> Option<&'a Pool> {
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
        pool
    }

    /// P-17: a request that comes back to the route it left goes round until nothing is left. Where
    /// it is rewritten another route may take it, and `Via` ends the round.
    pub(super) fn loops(
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

    pub(super) fn pool_of(&mut self, name: &'a Name, place: Span, path: &str) -> Option<&'a Pool> {
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
                .hint(format!(
                    "add it below `pools:`, or write an address such as `{}`",
                    Target::meant(name)
                ))
                .done(),
        }
        None
    }
}
