//! APIs: where they are served, and what their versions become.

use std::collections::HashMap;

use transom_gateway::portal::Portal;
use transom_settings::{HostPattern, Name, OneOrMany, Span, Spanned, closest, quote};

use super::super::{Api, Placed, Route};
use super::Check;

impl<'a> Check<'a> {
    pub(super) fn apis(&mut self) {
        for (name, api) in self.config.apis.iter() {
            self.served_on(name, api);
            self.same_place(name, api);
        }
        // each version once, whichever of its routes a request takes
        let named = self.config.listeners.values().flat_map(|listener| listener.routes.iter());
        let named = named.filter_map(|route| route.name.as_ref());
        let named: HashMap<&str, Span> = named.map(|name| (&***name, name.span)).collect();
        for (placed, listener) in self.config.written_versions() {
            let listener = listener.and_then(|name| self.config.listeners.get(&**name));
            if let Some(listener) = listener {
                self.same_name(&placed, &named);
                self.route(placed, listener);
            }
        }
    }

    fn served_on(&mut self, name: &Spanned<Name>, api: &'a Api) {
        let path = format!("apis.{name}.listeners");
        let listeners = &self.config.listeners;
        let http = listeners.values().filter(|one| one.tcp.is_none() && one.udp.is_none());
        if api.settings.listeners.is_empty() && http.count() > 1 {
            // one of them may be there only to send clients to the other
            let what = "several listeners serve HTTP: which of them serve the API?";
            let hint = "add `listeners:` with their names";
            self.error(name.span, &path, what).hint(hint).done();
        }
        for named in &api.settings.listeners {
            match listeners.get(&**named) {
                Some(listener) if listener.tcp.is_none() && listener.udp.is_none() => {}
                Some(_) => {
                    let what = format!("the listener {} does not serve HTTP", quote(named));
                    self.error(named.span, &path, what).hint("name one with routes").done();
                }
                None if listeners.mentions(&**named) => {}
                None => {
                    let meant = closest(named, listeners.names().map(|name| &***name));
                    let what = format!("no listener named {}", quote(named));
                    self.error(named.span, &path, what).suggest(meant).done();
                }
            }
        }
    }

    /// Two APIs at one place would take each other's requests.
    fn same_place(&mut self, name: &Spanned<Name>, api: &'a Api) {
        for (other_name, other) in self.config.apis.iter() {
            if other_name.value == name.value {
                return;
            }
            let places = |api: &'a Api| api.versions.iter().flat_map(|version| &version.places);
            let shared = places(api).find(|place| places(other).any(|other| other == *place));
            let Some(shared) = shared else { continue };
            let mut listeners = self.config.listeners.names();
            if listeners.any(|listener| api.is_on(listener) && other.is_on(listener))
                && hosts_meet(&api.settings.host, &other.settings.host)
            {
                let shared = if shared.is_empty() { "/" } else { shared };
                let what = format!("the API {} is at {shared} too", quote(other_name));
                let place = other.settings.path.span;
                self.error(api.settings.path.span, format!("apis.{name}.path"), what)
                    .note(place, "it stands here")
                    .hint("give each a path or a host of its own")
                    .done();
            }
        }
    }

    pub(super) fn portal(&mut self, portal: &Spanned<Portal>, route: &Route, path: &str) {
        let apis = &self.config.apis;
        for named in portal.apis.iter().filter(|named| !apis.mentions(&***named)) {
            let meant = closest(named, apis.names().map(|name| &***name));
            let what = format!("no API named {}", quote(named));
            self.error(named.span, format!("{path}.portal.apis"), what).suggest(meant).done();
        }
        if apis.is_empty() && self.decoded("apis") {
            let what = "there is no API to show";
            self.warning(portal.span, format!("{path}.portal"), what)
                .hint("write one below `apis:`")
                .done();
        }
        if route.r#match.below().is_none() {
            let what = "a portal stands below one path";
            self.error(portal.span, format!("{path}.match.path"), what)
                .hint("write one that ends in `/**`, such as `/portal/**`")
                .done();
        }
        if portal.keys && self.config.data.is_none() && self.decoded("data") {
            let what = "keys that are made here would be lost at the end of the program";
            self.error(portal.span, format!("{path}.portal.keys"), what)
                .hint("add `data: DIRECTORY` at the top of the file")
                .done();
        }
    }

    /// The routes of a version have a name, by which they are logged and counted.
    fn same_name(&mut self, placed: &Placed<'a>, named: &HashMap<&str, Span>) {
        let Some(name) = &placed.route.name else { return };
        if let Some(other) = named.get(&***name) {
            let what = format!("the routes of a version are named {} too", quote(name));
            self.error(*other, "listeners", what)
                .note(name.span, "the version stands here")
                .hint("give the route another name")
                .done();
        }
    }
}

/// Whether requests for some host are for both; one that is for more hosts gives way to the other.
fn hosts_meet(one: &Hosts, other: &Hosts) -> bool {
    let all = |hosts: &Hosts| -> Vec<HostPattern> {
        match hosts {
            None => vec![HostPattern::Any],
            Some(hosts) => hosts.iter().map(|host| host.value.clone()).collect(),
        }
    };
    let (one, other) = (all(one), all(other));
    one.iter().any(|host| other.contains(host))
}

type Hosts = Option<OneOrMany<Spanned<HostPattern>>>;
