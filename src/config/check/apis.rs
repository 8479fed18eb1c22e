//! APIs: where they are served, and what their versions become.

use transom_settings::{Name, OneOrMany, Spanned, closest, quote};

use super::super::{Api, Placed};
use super::Check;

impl<'a> Check<'a> {
    pub(super) fn apis(&mut self) {
        for (name, api) in self.config.apis.iter() {
            self.served_on(name, api);
            self.same_place(name, api);
        }
        // each version once, whichever of its routes a request takes
        for (placed, listener) in self.config.written_versions() {
            let listener = listener.and_then(|name| self.config.listeners.get(&**name));
            if let Some(listener) = listener {
                self.same_name(&placed);
                self.route(placed, listener);
            }
        }
    }

    fn served_on(&mut self, name: &Spanned<Name>, api: &'a Api) {
        let path = format!("apis.{name}.listeners");
        let listeners = &self.config.listeners;
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
            let same_path = other.settings.path.trim_end_matches('/')
                == api.settings.path.trim_end_matches('/');
            let together = self
                .config
                .listeners
                .names()
                .any(|listener| api.is_on(listener) && other.is_on(listener));
            if same_path && together && hosts_meet(&api.settings.host, &other.settings.host) {
                let what = format!("the API {} is at the same path", quote(other_name));
                let place = other.settings.path.span;
                self.error(api.settings.path.span, format!("apis.{name}.path"), what)
                    .note(place, "it stands here")
                    .hint("give each a path or a host of its own")
                    .done();
            }
        }
    }

    /// The routes of a version have a name, by which they are logged and counted.
    fn same_name(&mut self, placed: &Placed<'a>) {
        let Some(name) = &placed.route.name else { return };
        for (_, listener) in self.config.listeners.iter() {
            let named = listener.routes.iter().filter_map(|route| route.name.as_ref());
            for other in named.filter(|other| other.value == name.value) {
                let what = format!("the routes of this version are named {} too", quote(name));
                self.error(other.span, "listeners", what)
                    .note(name.span, "the version stands here")
                    .hint("give the route another name")
                    .done();
            }
        }
    }
}

fn hosts_meet<T: PartialEq>(one: &Option<OneOrMany<T>>, other: &Option<OneOrMany<T>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.iter().any(|host| other.iter().any(|o| o == host)),
        _ => false,
    }
}
