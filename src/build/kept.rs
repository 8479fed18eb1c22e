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
            Action::Forward(forward) => texts.extend(self.key(forward)),
            Action::Compose(compose) => texts.extend(compose.templates()),
            _ => {}
        }
    }

    /// The text by which requests of a forward are hashed, where it has to be put together.
    fn key(&self, forward: &'a config::Forward) -> Option<&'a Template> {
        let pool = match &forward.to.value {
            Target::Pool(name) => self.config.pools.get(&**name),
            Target::Address { .. } => None,
        };
        let own = forward.algorithm.as_ref().map(|own| &own.value);
        let key = own.or(pool.map(|pool| &pool.algorithm))?.key()?;
        matches!(Key::of(key), Key::Text(_)).then_some(&key.value)
    }
}

fn texts_of(changes: &HeaderChanges) -> impl Iterator<Item = &Template> {
    changes.set.values().chain(changes.append.values().flatten())
}
