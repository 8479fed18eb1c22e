//! Policies that stand where they can never do what they are for.

use std::sync::Arc;

use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{Diagnostic, Spanned};

use super::Build;
use crate::config::{ClientAuth, Listener, Route};

/// Policies of later stages that may be told by others who asks.
const MAY_FIND: [&str; 3] = ["ext-authz", "forward-auth", "opa"];

impl Build<'_> {
    /// Warns of policies of a route that nothing ever comes to.
    pub(super) fn warn_of_futile(
        &mut self,
        listener: &Listener,
        route: &Spanned<Route>,
        chain: &[Arc<dyn Policy>],
        at: &str,
    ) {
        let has = |kind: &str| chain.iter().any(|policy| policy.kind() == kind);
        let mut warn = |what: &str, hint: &str| {
            let path = format!("{at}.policies");
            self.findings.push(Diagnostic::warning(route.span, path, what).hint(hint));
        };
        if has("client-certificate") && !asks_for_certificates(listener) {
            let what = "`client-certificate` finds nobody: the listener asks for no certificates";
            warn(
                what,
                "write `client-certificates: { mode: optional, ca: FILE }` below `tls:` of the listener",
            );
        }
        let finds = |policy: &Arc<dyn Policy>| {
            policy.stage() == Stage::Identify || MAY_FIND.contains(&policy.kind())
        };
        if !chain.iter().any(finds) {
            let hint = "add one that does, such as `api-key` or `jwt`; the stage is `identify`";
            if has("access") {
                warn("`access` refuses everybody: no policy here finds out who asks", hint);
            }
            if has("identity-headers") {
                warn("`identity-headers` tells nothing: no policy here finds out who asks", hint);
            }
        }
        if has("cors") && !takes_preflights(listener, route) {
            let what = "preflights of browsers (OPTIONS) never come to `cors` here";
            warn(what, "add OPTIONS to `match.method`");
        }
    }

    /// Warns of plans whose quotas nobody counts.
    pub(super) fn warn_of_idle_plans(&mut self) {
        if self.meters.count_plans() {
            return;
        }
        let plans = self.config.plans.iter().filter(|(_, plan)| !plan.quota.is_empty());
        for (name, _) in plans {
            let what = "no policy counts the quota: no route has a `quota` with `plans: true`";
            let hint =
                "write `quota: { plans: true }` below `policies:`, and its name at the routes";
            let path = format!("plans.{name}.quota");
            self.findings.push(Diagnostic::warning(name.span, path, what).hint(hint));
        }
    }
}

fn asks_for_certificates(listener: &Listener) -> bool {
    let asked = listener.tls.as_ref().map(|tls| tls.client_certificates.mode);
    asked.is_some_and(|mode| mode != ClientAuth::Off)
}

/// Whether this route takes them, or another one for the same hosts and paths.
fn takes_preflights(listener: &Listener, route: &Route) -> bool {
    let (hosts, paths) = (&route.r#match.host, &route.r#match.path);
    let same = listener
        .routes
        .iter()
        .filter(|other| other.r#match.host == *hosts && other.r#match.path == *paths);
    let mut methods = same.map(|other| other.r#match.method.as_ref());
    methods.any(|methods| {
        methods.is_none_or(|methods| methods.iter().any(|method| **method == *"OPTIONS"))
    })
}
