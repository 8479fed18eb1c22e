//! Who is found by a token, and is called like a consumer.

use std::sync::Arc;

use transom_proxy::exchange::Identity;
use transom_settings::settings;

use super::{Consumer, Consumers};
use crate::identify::{Found, Way};

settings! {
    /// What follows where a consumer has the name that a token says.
    pub enum Joining {
        /// Nothing: who it is, is what the token says.
        Ignore = "ignore",
        /// Its plan holds, its groups hold too, and its scopes where the token has none. Whoever names
        /// people at the issuer can give them these.
        Join = "join",
        /// The same; nobody passes who is no consumer.
        Require = "require",
    }
}

/// Joins who a token speaks of with the consumer of that name.
pub struct Joined {
    pub how: Joining,
    pub consumers: Consumers,
}

impl Joined {
    /// Who it is. Looked up for each request: consumers may change while a token is remembered.
    pub fn found(&self, way: &impl Way, identity: &Arc<Identity>) -> Found {
        if self.how == Joining::Ignore {
            return Found::Known(identity.clone());
        }
        match self.consumers.named(&identity.name) {
            Some(consumer) => Found::Known(Arc::new(join(identity, &consumer))),
            None if self.how == Joining::Join => Found::Known(identity.clone()),
            None => Found::wrong(way, format!("no consumer is called `{}`", identity.name)),
        }
    }
}

fn join(identity: &Identity, consumer: &Consumer) -> Identity {
    let mut joined = identity.clone();
    joined.is_consumer = true;
    joined.plan = consumer.plan.clone().or(joined.plan);
    let further = consumer.groups.iter().filter(|group| !identity.groups.contains(group));
    joined.groups.extend(further.cloned());
    if joined.scopes.is_empty() {
        joined.scopes.clone_from(&consumer.scopes);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn gw_20_the_plan_of_a_consumer_holds_and_a_token_may_say_less() {
        for (plan, scopes, expected) in [
            (None, &[][..], (Some("vip"), &["read", "write"][..])),
            (Some("ordinary"), &["read"][..], (Some("vip"), &["read"][..])),
        ] {
            let identity = Identity {
                name: "ada".into(),
                groups: texts(&["staff", "night"]),
                scopes: texts(scopes),
                plan: plan.map(Arc::from),
                is_consumer: false,
                is_anonymous: false,
                by: "jwt",
                until: None,
                claims: None,
            };
            let consumer = Consumer {
                name: "ada".into(),
                groups: texts(&["staff", "admins"]),
                scopes: texts(&["read", "write"]),
                plan: Some("vip".into()),
                labels: Vec::new(),
            };
            let joined = join(&identity, &consumer);
            let found = (joined.plan.as_deref(), joined.scopes);
            assert_eq!(found, (expected.0, texts(expected.1)));
            assert_eq!(joined.groups, ["staff", "night", "admins"]);
            let bare = Consumer { name: "ada".into(), ..Consumer::default() };
            assert_eq!(join(&identity, &bare).plan.as_deref(), plan);
        }
    }
}
