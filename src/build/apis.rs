//! APIs: what operators and portals see of them, and who calls their versions.

use std::sync::Arc;

use transom_gateway::Lender;
use transom_gateway::catalog::{Api, Callers, Tally, Version};
use transom_gateway::openapi::Document;
use transom_settings::{Name, quote};

use super::Build;
use crate::config::{self, VersionRoutes};

impl Build<'_> {
    /// The APIs of the file, with their documents read.
    pub(super) fn apis(&mut self) {
        let mut apis = Vec::new();
        for (name, api) in self.config.apis.iter() {
            let settings = &api.settings;
            let versions = api.versions.iter().filter_map(|routes| {
                let written = settings.versions.get(&*routes.version)?;
                Some(self.version(name, settings, routes, written))
            });
            apis.push(Api {
                name: name.to_string(),
                title: settings.title(name).to_owned(),
                description: settings.description.clone(),
                listed: settings.listed,
                versions: versions.collect(),
            });
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
        let is = |name: &Name| *name == routes.version;
        Version {
            name: routes.version.to_string(),
            path: if routes.prefix.is_empty() { "/".to_owned() } else { routes.prefix.clone() },
            asked_by: routes.asked_by.clone(),
            is_default: settings.default.as_ref().is_some_and(|name| is(name)),
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

    pub(super) fn tally(&mut self, api: &Name, version: &Name) -> Tally {
        let callers = self.callers(api, version);
        Tally { version: format!("{version} of {api}"), callers }
    }
}
