//! Portals: the APIs that they show, and where keys are made.

use std::sync::Arc;

use transom_gateway::portal::{KeyDesk, Portal, Showing};
use transom_proxy::action::Action;
use transom_settings::Spanned;

use super::Build;
use crate::config::Route;
use crate::store::Desk;

impl Build<'_> {
    /// A portal for its route. What is wrong with it was found before.
    pub(super) fn portal(
        &self,
        portal: &Spanned<Portal>,
        route: &Route,
    ) -> Option<Box<dyn Action>> {
        let named = |name: &str| portal.apis.iter().any(|one| ***one == *name);
        let apis = self.apis.iter().filter(|api| match portal.apis.is_empty() {
            true => api.listed,
            false => named(&api.name),
        });
        let apis = apis.cloned().collect();
        let desk: Arc<dyn KeyDesk> = Arc::new(Desk(self.shared.opened()));
        let consumers = self.consumers.clone();
        let base = route.r#match.below()?;
        // those of routes that are built after this one come to it, too
        let meters = self.meters.clone();
        Some(Box::new(Showing::new(portal, base, apis, consumers, meters, desk)))
    }
}
