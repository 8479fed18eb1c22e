//! # access
//!
//! **What it does.** Lets those pass who are named, or belong to a group, or whose credential has a
//! scope, and nobody else. What is denied is denied whatever allows it. Where there is nothing to
//! allow, everybody passes who is not denied; who was not found to be anybody never does.
//!
//! **When it runs.** Stage `authorize`: once it is known who asks.
//!
//! **Example.**
//!
//! ```yaml
//! consumers:
//!   ann: { groups: [staff], keys: "${KEY_OF_ANN}" }
//! policies:
//!   keys: { api-key: {} }
//!   staff: { access: { allow: { groups: staff }, scopes: orders:read } }
//! ```
//!
//! **What the client sees.** 403 `forbidden`, without the reason, which is `detail` in the access
//! log; 401 where nobody was found to ask.

use std::sync::Arc;

use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;
use transom_proxy::policy::{Ahead, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Name, settings};

use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Lets those pass who may.
    pub struct Access {
        /// Who passes. One of these is enough.
        pub allow: Callers = Callers::default(),
        /// Who does not, whatever allows it.
        pub deny: Callers = Callers::default(),
        /// Scopes that the credential must have besides, all of them.
        pub scopes: Vec<String> = Vec::new(),
        /// Whether everybody passes: who would not have is marked in the access log (`dry_run`, and why in
        /// `detail`) and counted in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }

    /// Who is meant.
    pub struct Callers {
        /// Consumers by their name, or whom tokens speak of.
        pub consumers: Vec<String> = Vec::new(),
        /// Everybody in one of these groups.
        pub groups: Vec<Name> = Vec::new(),
        /// Everybody whose credential has one of these scopes.
        pub scopes: Vec<String> = Vec::new(),
    }
}

impl Kind for Access {
    const NAME: &'static str = "access";
    const SUMMARY: &'static str = "Lets those pass who are named, or have a group or a scope.";
    const STAGE: Stage = Stage::Authorize;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if *self == (Access { dry_run: self.dry_run, ..Access::default() }) {
            let place = making.place;
            let hint = "name somebody in `allow` or `deny`, or `scopes` that must be there";
            making.warning(place, "", "everybody passes who is known", hint);
        }
        Some(Arc::new(Rule { name: making.name.into(), access: self.clone() }))
    }
}

struct Rule {
    name: Arc<str>,
    access: Access,
}

impl Callers {
    fn is_empty(&self) -> bool {
        self.consumers.is_empty() && self.groups.is_empty() && self.scopes.is_empty()
    }

    fn mean(&self, who: &Identity) -> bool {
        self.consumers.iter().any(|name| **name == *who.name)
            || self.groups.iter().any(|group| who.groups.iter().any(|own| **own == **group))
            || self.scopes.iter().any(|scope| who.scopes.contains(scope))
    }
}

impl Access {
    /// Whether somebody may pass; otherwise why not.
    fn judge(&self, who: &Identity) -> Result<(), String> {
        if self.deny.mean(who) {
            return Err(format!("`{}` is denied", who.name));
        }
        if !self.allow.is_empty() && !self.allow.mean(who) {
            return Err(format!("`{}` is not among those who are allowed", who.name));
        }
        match self.scopes.iter().find(|scope| !who.scopes.contains(scope)) {
            Some(scope) => Err(format!("`{}` has not the scope `{scope}`", who.name)),
            None => Ok(()),
        }
    }
}

impl Policy for Rule {
    fn kind(&self) -> &'static str {
        Access::NAME
    }

    fn stage(&self) -> Stage {
        Access::STAGE
    }

    fn describe(&self) -> String {
        let listed = |callers: &Callers| {
            let consumers = callers.consumers.iter().cloned();
            let groups = callers.groups.iter().map(|group| format!("group {group}"));
            let scopes = callers.scopes.iter().map(|scope| format!("scope {scope}"));
            consumers.chain(groups).chain(scopes).collect::<Vec<_>>().join(", ")
        };
        let (allow, deny) = (listed(&self.access.allow), listed(&self.access.deny));
        let needed = self.access.scopes.join(", ");
        let parts = [("allows", allow), ("denies", deny), ("needs scope", needed)];
        let parts = parts.iter().filter(|(_, text)| !text.is_empty());
        let said =
            parts.map(|(what, text)| format!("{what} {text}")).collect::<Vec<_>>().join("; ");
        if self.access.dry_run { format!("dry run: {said}") } else { said }
    }

    fn ahead(&self, exchange: &mut Exchange, _: &mut Request) -> Result<Ahead, Fault> {
        let judged = match &exchange.identity {
            Some(who) => self.access.judge(who).map_err(|why| Fault::new(Code::Forbidden, why)),
            None => {
                let why = "nobody was found to ask: no policy of the route looks for a credential";
                Err(Fault::new(Code::Unauthenticated, why))
            }
        };
        match judged {
            Err(fault) if self.access.dry_run => {
                exchange.record.would_refuse(&self.name);
                exchange.record.remark(format!("dry run: {}", fault.detail()));
            }
            judged => judged?,
        }
        Ok(Ahead::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_12_who_is_denied_is_denied_whatever_allows_it() {
        let name = |text: &str| <Name as transom_settings::FromText>::from_text(text).unwrap();
        let groups = |text: &str| Callers { groups: vec![name(text)], ..Callers::default() };
        let consumers = |text: &str| Callers { consumers: vec![text.into()], ..Callers::default() };
        let scopes = |text: &str| Callers { scopes: vec![text.into()], ..Callers::default() };
        let ann = Identity {
            name: "ann".into(),
            groups: vec!["staff".into(), "night".into()],
            scopes: vec!["orders:read".into()],
            ..Identity::default()
        };
        let none = Callers::default;
        let cases = [
            (none(), none(), vec![], true),
            (groups("staff"), none(), vec![], true),
            (groups("sta"), none(), vec![], false),
            (consumers("ann"), none(), vec![], true),
            (consumers("bob"), none(), vec![], false),
            (scopes("orders:read"), none(), vec![], true),
            (scopes("orders"), none(), vec![], false),
            (groups("staff"), groups("night"), vec![], false),
            (none(), consumers("ann"), vec![], false),
            (none(), consumers("bob"), vec![], true),
            (groups("staff"), none(), vec!["orders:read"], true),
            (groups("staff"), none(), vec!["orders:read", "orders:write"], false),
        ];
        for (allow, deny, needed, expected) in cases {
            let scopes = needed.into_iter().map(str::to_owned).collect();
            let rule = Access { allow, deny, scopes, dry_run: false };
            assert_eq!(rule.judge(&ann).is_ok(), expected, "{rule:?}");
        }
    }
}
