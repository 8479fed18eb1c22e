//! APIs and documents, as the page and others read them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use transom_settings::json::{Value as Json, json};

use super::Showing;
use crate::catalog::{Api, Version, now};
use crate::consumer::Consumer;
use crate::limit::meter::Usage;

impl Showing {
    /// All APIs, for this consumer, and what it has used of quotas.
    pub(super) fn catalog(&self, consumer: Option<&Consumer>) -> Json {
        let now = now();
        let name = consumer.map(|consumer| &*consumer.name);
        let api = |api: &Arc<Api>| {
            let versions = api.versions.iter().map(|one| version(api, one, name, now));
            json!({
                "name": api.name,
                "title": api.title,
                "description": api.description,
                "versions": versions.collect::<Vec<_>>(),
            })
        };
        let usage = consumer.map(|consumer| self.meters.usage(consumer, now));
        json!({
            "title": self.title,
            "consumer": name,
            "keys": self.desk.is_some() && consumer.is_some(),
            "quotas": usage.map(|all| all.iter().map(Usage::to_json).collect::<Vec<_>>()),
            "apis": self.apis.iter().map(api).collect::<Vec<_>>(),
        })
    }
}

fn version(api: &Api, version: &Version, consumer: Option<&str>, now: i64) -> Json {
    let lifecycle = version.lifecycle.as_ref();
    json!({
        "name": version.name,
        "url": url(api, version),
        "asked-by": version.asked_by,
        "default": version.is_default,
        "age": version.age(now),
        "deprecated": lifecycle.map(|it| it.deprecated.to_string()),
        "sunset": lifecycle.and_then(|it| it.sunset.as_ref()).map(ToString::to_string),
        "successor": version.successor,
        "documentation": lifecycle.and_then(|it| it.documentation.as_deref()).filter(|url| is_link(url)),
        "document": version.document.as_ref().map(|_| path(api, version)),
        "calls": consumer.map(|name| version.callers.calls_of(name)),
    })
}

/// A page that a link may lead to: no `javascript:`.
fn is_link(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://") || url.starts_with('/')
}

/// Where it is: on the host of the page, unless it has one of its own.
fn url(api: &Api, version: &Version) -> String {
    match api.hosts.iter().find(|host| !host.starts_with('*')) {
        Some(host) => format!("//{host}{}", version.path),
        None => version.path.clone(),
    }
}

/// The path of a document, from the page.
fn path(api: &Api, version: &Version) -> String {
    format!("documents/{}/{}.json", api.name, version.name)
}

/// The documents of all versions by their path, as 3.1 and with the server that clients ask.
pub(super) fn documents(apis: &[Arc<Api>]) -> HashMap<String, Bytes> {
    let mut all = HashMap::new();
    for (api, version) in apis.iter().flat_map(|api| api.versions.iter().map(move |one| (api, one)))
    {
        let Some(document) = &version.document else { continue };
        let mut shown = document.json.clone();
        shown["openapi"] = "3.1.0".into();
        shown["servers"] = json!([{ "url": url(api, version) }]);
        all.insert(format!("/{}", path(api, version)), shown.to_string().into_bytes().into());
    }
    all
}
