//! Which header fields a route has to keep, because a text that is filled in later asks for them.

use transom_balance::algorithm::key::Key;
use transom_proxy::variables::{Template, Variable};
use transom_settings::{FromText, HeaderName};

use super::Build;
use crate::config::{self, Action, HeaderChanges, Placed, Policy, PolicyUse, Route, Target};

impl<'a> Build<'a> {
    /// Header fields that the texts of a route ask for, and those of the version that its callers may be
    /// moved to.
    pub(super) fn kept(&self, placed: &Placed<'a>) -> Vec<HeaderName> {
        let other = placed.version.zip(placed.canary);
        let other = other.and_then(|((api, _), moved)| self.first_of(api, &moved.to));
        let routes = [Some(&placed.route.value), other.map(|other| &other.route.value)];
        let mut texts: Vec<&Template> = Vec::new();
        for route in routes.into_iter().flatten() {
            self.texts(route, &mut texts);
        }
        let mut names: Vec<HeaderName> = texts
            .into_iter()
            .flat_map(Template::variables)
            .filter_map(|variable| match variable {
                Variable::Header(name) => Some(name.clone()),
                Variable::Cookie(_) => HeaderName::from_text("cookie").ok(),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The texts with variables that a route is written with.
    fn texts(&self, route: &'a Route, texts: &mut Vec<&'a Template>) {
        for policy in &route.policies {
            let policy = match policy {
                PolicyUse::Inline(policy) => Some(policy),
                PolicyUse::Named(name) => self.config.policies.get(&***name),
            };
            match policy {
                Some(Policy::Headers(headers)) => {
                    texts.extend(texts_of(&headers.request).chain(texts_of(&headers.response)));
                }
                Some(Policy::Rule(rule)) => texts.extend(rule.templates()),
                _ => {}
            }
        }
        texts.extend(texts_of(&route.request_headers).chain(texts_of(&route.response_headers)));
        match &route.action {
            Action::Redirect(redirect) => texts.push(&redirect.to),
            Action::Forward(forward) => texts.extend(self.keys(forward)),
            Action::Compose(compose) => texts.extend(compose.templates()),
            _ => {}
        }
    }

    /// The texts by which requests of a forward are hashed, where they have to be put together: that of
    /// the route or the pool, or those of the pools of a split.
    fn keys(&self, forward: &'a config::Forward) -> Vec<&'a Template> {
        let own = forward.algorithm.as_ref().map(|own| &own.value);
        let algorithms = match own {
            Some(own) => vec![own],
            None => self.algorithms(&forward.to.value),
        };
        let keys = algorithms.into_iter().filter_map(|algorithm| algorithm.key());
        keys.filter(|key| matches!(Key::of(key), Key::Text(_))).map(|key| &key.value).collect()
    }

    /// Those of the pools that a target stands for.
    fn algorithms(&self, target: &Target) -> Vec<&'a config::Algorithm> {
        let Target::Pool(name) = target else { return Vec::new() };
        let config = self.config;
        let of = |name: &str| config.pools.get(name).map(|pool| &pool.algorithm);
        match config.splits.get(&**name) {
            Some(split) => split.pools.names().filter_map(|name| of(name)).collect(),
            None => of(name).into_iter().collect(),
        }
    }
}

fn texts_of(changes: &HeaderChanges) -> impl Iterator<Item = &Template> {
    changes.set.values().chain(changes.append.values().flatten())
}
