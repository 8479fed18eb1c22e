//! APIs: what operators and portals see of them, and who calls their versions.

use std::sync::Arc;

use transom_gateway::Lender;
use transom_gateway::canary::Canary;
use transom_gateway::catalog::{Api, Callers, Tally, Version};
use transom_gateway::openapi::Document;
use transom_proxy::policy::Policy;
use transom_proxy::record::Sink;
use transom_proxy::stage::Stage;
use transom_settings::{Name, quote};

use super::Build;
use crate::config::{self, Moved, Placed, VersionRoutes};

impl<'a> Build<'a> {
    /// The APIs of the file, with their documents read.
    pub(super) fn apis(&mut self) {
        let mut apis = Vec::new();
        for (name, api) in self.config.apis.iter() {
            let settings = &api.settings;
            let versions = api.versions.iter().filter_map(|routes| {
                let written = settings.versions.get(&*routes.version)?;
                Some(self.version(name, settings, routes, written))
            });
            apis.push(Arc::new(Api {
                name: name.to_string(),
                title: settings.title(name).to_owned(),
                description: settings.description.clone(),
                hosts: settings.host.iter().flatten().map(ToString::to_string).collect(),
                listed: settings.listed,
                versions: versions.collect(),
            }));
        }
        self.apis = Arc::new(apis);
    }

    fn version(
        &mut self,
        api: &Name,
        settings: &config::ApiSettings,
        routes: &VersionRoutes,
        written: &config::Version,
    ) -> Version {
        let document = written.openapi.as_ref().and_then(|file| {
            // what could not be read was a finding of the materials
            match Document::read(self.materials.file(file)?) {
                Ok(document) => Some(Arc::new(document)),
                Err(why) => {
                    let shown = quote(&file.display().to_string());
                    let what = format!("{shown} cannot be used: {why}");
                    let path = format!("{}.openapi", routes.path);
                    self.error(file.span, path, what, "correct the document");
                    None
                }
            }
        });
        Version {
            name: routes.version.to_string(),
            path: if routes.prefix.is_empty() { "/".to_owned() } else { routes.prefix.clone() },
            asked_by: routes.asked_by.clone(),
            is_default: settings.is_default(&routes.version),
            successor: written.successor.as_ref().map(ToString::to_string),
            lifecycle: routes.lifecycle.clone(),
            document,
            callers: self.callers(api, &routes.version),
        }
    }

    /// Goes on counting over reloads.
    fn callers(&mut self, api: &Name, version: &Name) -> Arc<Callers> {
        let name = format!("{api} {version}");
        Lender::kept(self).keep(&name, |_| true, Callers::default)
    }

    /// What moves callers of a route, which has these policies, to another version.
    pub(super) fn canary(
        &mut self,
        api: &Name,
        moved: &Moved,
        own: &[Arc<dyn Policy>],
    ) -> Option<Canary> {
        let other = self.first_of(api, &moved.to)?;
        let route = Arc::from(&***other.route.name.as_ref()?);
        let policies = self.policies(&route, &other)?;
        let passed_by = |policy: &&Arc<dyn Policy>| {
            policy.stage() < Stage::Authorize && !own.iter().any(|one| Arc::ptr_eq(one, policy))
        };
        // by its settings it may run sooner than its kind does
        if let Some(policy) = policies.iter().find(passed_by) {
            let what = format!("those who are moved would pass `{}` by", policy.kind());
            let hint = "write it in `policies` of the API, so that it stands around both versions";
            self.error(other.route.span, format!("{}.policies", other.path), what, hint);
            return None;
        }
        Some(Canary {
            api: api.to_string(),
            version: format!("version {}", moved.to),
            share: moved.share,
            by: moved.by,
            naming: moved.naming.clone(),
            route,
            reserves: policies.iter().flat_map(|policy| policy.reserves()).collect(),
        })
    }

    /// A route of this version: they differ in their matches alone.
    pub(super) fn first_of(&self, api: &Name, version: &Name) -> Option<Placed<'a>> {
        let config = self.config;
        let mut placed = config.written_versions().into_iter().map(|(placed, _)| placed);
        placed.find(|one| one.version.is_some_and(|(a, v)| a == api && v.version == *version))
    }

    /// What counts who calls the versions that these routes are of, where one is.
    pub(super) fn tally(&mut self, routes: &[Placed<'_>]) -> Option<Arc<dyn Sink>> {
        let mut versions = Vec::with_capacity(routes.len());
        for placed in routes {
            let of = placed.version.map(|(api, version)| (api, &version.version));
            versions.push(of.map(|(api, version)| self.callers(api, version)));
        }
        versions.iter().any(Option::is_some).then(|| Arc::new(Tally { versions }) as Arc<dyn Sink>)
    }
}
