//! # authorize
//!
//! **What it does.** Lets requests pass for which a condition over the request, its path and who asks is
//! true: "may this user see this order". `allow` has conditions of which one must be true, `deny` some
//! of which none may be. They are written in the grammar of CEL, and checked when the configuration is
//! read: a name that does not exist, or a text compared with a number, is an error with its place.
//!
//! What a condition may ask for: `request.method`, `.path`, `.host`, `.scheme`, `.size`, `.headers`,
//! `.query`, `.cookies`; `client.address`; `identity.name`, `.groups`, `.scopes`, `.plan`, `.by`,
//! `.claims`; `path.NAME` for a variable of the route's path; `now`. It may compare, count (`size`), look
//! for parts (`contains`, `startsWith`, `endsWith`, `matches`, `in`), go over lists (`exists`, `all`), and
//! ask whether something is there (`has`). All of it stands [here](../../limits.md#conditions).
//!
//! Traps. What is not there comes to nothing, and nothing is not true: without `has`, a condition that
//! asks for a missing header field allows nobody; one in `deny` that comes to nothing denies. Where
//! nobody has been found to ask, `identity` is missing. Try with `dry-run` first.
//!
//! **When it runs.** Stage `authorize`, after it is known who asks.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   own-orders:
//!     authorize:
//!       allow:
//!         - identity.claims.sub == path.id
//!         - "'support' in identity.groups && request.method == 'GET'"
//!       deny: client.address in ['192.0.2.0/24']
//! ```
//!
//! **What the client sees.** The fault `forbidden` (403), or `unauthenticated` (401) where nobody was
//! found to ask and a condition wanted to know. Which condition it was stands in the access log only.

use std::sync::Arc;

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;
use transom_proxy::policy::{Ahead, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{OneOrMany, settings};

use crate::expression::{Condition, Expression, Facts, Trouble};
use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Lets requests pass by conditions.
    pub struct Authorize short(allow) {
        /// Conditions of which one must be true. Where there are none, all pass that are not denied.
        pub allow: OneOrMany<Expression<Condition>> = OneOrMany(Vec::new()),
        /// Conditions of which none may be true, or come to nothing.
        pub deny: OneOrMany<Expression<Condition>> = OneOrMany(Vec::new()),
        /// Whether requests that are refused pass nevertheless: they are marked in the access log
        /// (`dry_run`) and counted in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }
}

impl Kind for Authorize {
    const NAME: &'static str = "authorize";
    const SUMMARY: &'static str = "Lets requests pass by conditions over the request and who asks.";
    const STAGE: Stage = Stage::Authorize;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if self.allow.0.is_empty() && self.deny.0.is_empty() {
            let hint = "write a condition, such as `allow: identity.claims.sub == path.id`";
            making.error(making.place, "", "it has neither `allow` nor `deny`", hint);
            return None;
        }
        Some(Arc::new(Judge { name: making.name.into(), rule: self.clone() }))
    }
}

struct Judge {
    name: Arc<str>,
    rule: Authorize,
}

impl Judge {
    fn judge(&self, facts: &Facts<'_>, known: bool) -> Result<(), Fault> {
        let refuse = |trouble: Option<Trouble>, detail: String| {
            let unknown = !known && trouble == Some(Trouble::Missing);
            Fault::new(if unknown { Code::Unauthenticated } else { Code::Forbidden }, detail)
        };
        for condition in &self.rule.deny.0 {
            let text = condition.as_str();
            match condition.program().is_true(facts) {
                Ok(false) => {}
                Ok(true) => return Err(refuse(None, format!("`{}` denies: {text}", self.name))),
                Err(trouble) => {
                    let detail = format!("`{}` denies, {}: {text}", self.name, trouble.as_str());
                    return Err(refuse(Some(trouble), detail));
                }
            }
        }
        let mut first = None;
        for condition in &self.rule.allow.0 {
            match condition.program().is_true(facts) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(trouble) => first = first.or(Some((trouble, condition.as_str()))),
            }
        }
        match first {
            _ if self.rule.allow.0.is_empty() => Ok(()),
            None => Err(refuse(None, format!("`{}`: nothing allows it", self.name))),
            Some((trouble, text)) => {
                let why = trouble.as_str();
                let detail = format!("`{}`: nothing allows it, and {why}: {text}", self.name);
                Err(refuse(Some(trouble), detail))
            }
        }
    }
}

impl Policy for Judge {
    fn kind(&self) -> &'static str {
        Authorize::NAME
    }

    fn stage(&self) -> Stage {
        Authorize::STAGE
    }

    fn describe(&self) -> String {
        let all = |conditions: &OneOrMany<Expression<Condition>>| {
            let texts: Vec<_> = conditions.0.iter().map(Expression::as_str).collect();
            texts.join(" or ")
        };
        let parts = [("allows", all(&self.rule.allow)), ("denies", all(&self.rule.deny))];
        let parts = parts.iter().filter(|(_, text)| !text.is_empty());
        let said: Vec<_> = parts.map(|(what, text)| format!("{what} {text}")).collect();
        let dry_run = if self.rule.dry_run { ", only told in the log" } else { "" };
        format!("{}{dry_run}", said.join("; "))
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        let known = exchange.identity.is_some();
        match self.judge(&Facts::new(exchange, request), known) {
            Err(_) if self.rule.dry_run => exchange.record.would_refuse(&self.name),
            judged => judged?,
        }
        Ok(Ahead::Done)
    }
}
