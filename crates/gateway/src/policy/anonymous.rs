//! # anonymous
//!
//! **What it does.** Gives those a name who show no credential at all, so that they need not have
//! one: with groups that rules allow little to, and a plan with narrow limits. A credential that is
//! wrong is refused nevertheless.
//!
//! **When it runs.** Stage `identify`, after all others of that stage, wherever it stands. It takes
//! another policy of that stage beside it to mean anything.
//!
//! **Example.**
//!
//! ```yaml
//! plans:
//!   visitors: { rate: 10/min }
//! policies:
//!   keys: { api-key: {} }
//!   visitors: { anonymous: { plan: visitors } }
//! ```
//!
//! Limits and quotas by `consumer`, and idempotency keys, tell them apart by their addresses: what one of them does
//! is not another's.
//!
//! **What the client sees.** Nothing; never a fault.

use std::sync::Arc;

use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::Fault;
use transom_proxy::message::Request;
use transom_proxy::policy::{Ahead, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Name, Spanned, quote, settings};

use crate::identify;
use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Gives those a name who show no credential.
    pub struct Anonymous {
        /// What they are called.
        pub name: String = "anonymous".to_owned(),
        /// Groups they belong to.
        pub groups: Vec<Name> = Vec::new(),
        /// What they may do.
        pub scopes: Vec<String> = Vec::new(),
        /// The limits they share.
        pub plan: Option<Spanned<Name>> = None,
    }
}

impl Kind for Anonymous {
    const NAME: &'static str = identify::ANONYMOUS;
    const SUMMARY: &'static str = "Gives those a name who show no credential.";
    const STAGE: Stage = Stage::Identify;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if let Some(plan) = &self.plan
            && making.lender.consumers().plan(plan).is_none()
        {
            let what = format!("there is no plan {}", quote(plan));
            making.error(plan.span, "plan", what, "write it below `plans:`");
            return None;
        }
        let identity = Identity {
            name: Arc::from(&*self.name),
            groups: self.groups.iter().map(ToString::to_string).collect(),
            scopes: self.scopes.clone(),
            plan: self.plan.as_ref().map(|plan| Arc::from(&***plan)),
            is_consumer: false,
            is_anonymous: true,
            by: Anonymous::NAME,
            until: None,
            claims: None,
        };
        Some(Arc::new(Nobody(Arc::new(identity))))
    }
}

struct Nobody(Arc<Identity>);

impl Policy for Nobody {
    fn kind(&self) -> &'static str {
        Anonymous::NAME
    }

    fn stage(&self) -> Stage {
        Anonymous::STAGE
    }

    fn describe(&self) -> String {
        format!("who shows nothing is `{}`", self.0.name)
    }

    fn ahead(&self, exchange: &mut Exchange, _: &mut Request) -> Result<Ahead, Fault> {
        identify::offer_anonymous(exchange, &self.0);
        Ok(Ahead::Done)
    }
}
