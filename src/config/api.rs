//! Settings of APIs: their versions, how a request names one, and what each becomes.
//!
//! An API runs as ordinary routes. [`expand`] makes them, before anything is checked; where in the file
//! each stands is in its [`Placed`], so that whatever is found wrong with one points there.

mod canary;
mod described;
mod expand;
mod ways;

use std::ops::Range;
use std::path::PathBuf;

use transom_gateway::canary::{Naming, Whom};
use transom_gateway::policy::lifecycle::Lifecycle;
use transom_settings::{
    Context, Definitions, HeaderValue, HostPattern, List, Map, Name, Node, OneOrMany, Percent,
    Setting, Spanned, json::Value as Json, settings,
};

use super::{
    Action, Combine, Config, HeaderChanges, HostRewrite, PathPrefix, PolicyUse, Route, RouteLimits,
    RouteTimeouts,
};

pub use expand::{Reading, expand};
pub use ways::Way;

settings! {
    /// What an API says of itself and of its versions.
    pub struct ApiSettings {
        /// What people call it; its name where it is not given.
        pub title: Option<String> = None,
        /// What it is for, in a sentence or two.
        pub description: Option<String> = None,
        /// The listeners that serve it. Where only one serves HTTP, that is the one.
        pub listeners: Vec<Spanned<Name>> = Vec::new(),
        /// Hosts: `api.shop.example`, `*.shop.example` or `*`.
        pub host: Option<OneOrMany<Spanned<HostPattern>>> = None,
        /// The path below which it is: `/orders`. `{version}` in it is where the version stands that a
        /// path names: `/api/{version}/orders`. Without it, that is the next segment.
        pub path: Spanned<String>,
        /// How a request names a version: `path`, `header: NAME`, `query: NAME`, or `media-type` with a
        /// type that holds `{version}`. Of several, the first that names one counts.
        pub by: OneOrMany<Spanned<Way>> = OneOrMany(vec![Way::Path.into()]),
        /// The version for requests that name none. Without it, they are for no version.
        pub default: Option<Spanned<Name>> = None,
        /// The version for requests that name one that is not there. Without it, they are for none.
        pub fallback: Option<Spanned<Name>> = None,
        /// A share of those who get the default version by naming none, and get another one instead.
        pub canary: Option<Spanned<CanarySettings>> = None,
        /// Rules around every version, before its own.
        pub policies: List<PolicyUse> = List::default(),
        /// Whether portals show it.
        pub listed: bool = true,
        /// The versions, by name.
        pub versions: Map<Name, Spanned<Version>>,
    }

    /// A version of an API: rules, a time to live, and exactly one action.
    pub struct Version flatten(action: Action) {
        /// Further names under which it is asked for: `["1", "1.0"]`.
        pub aliases: Vec<Spanned<Name>> = Vec::new(),
        /// Its OpenAPI document, of version 3.0 or 3.1, in YAML or JSON.
        pub openapi: Option<Spanned<PathBuf>> = None,
        /// Which requests it is for.
        pub routes: Spanned<Served> = Served::All.into(),
        /// When it is deprecated, and when it ends.
        pub lifecycle: Option<Spanned<Lifecycle>> = None,
        /// The version that follows it: the link of `lifecycle`, where that has none of its own.
        pub successor: Option<Spanned<Name>> = None,
        /// Rules around the action: names of policies, or policies themselves. `validate` and `mock`
        /// that name no document take the version's.
        pub policies: List<PolicyUse> = List::default(),
        /// Where several of them find out who asks: whether one must succeed, or each.
        pub identify: Combine = Combine::Any,
        /// The path at the endpoint, in place of the API's and the version. Without it, the endpoint sees
        /// the path that names the version.
        pub endpoint_path: Option<Spanned<PathPrefix>> = None,
        /// The host that the endpoint sees: `keep` the client's, `upstream` for the endpoint's own, or
        /// this one.
        pub endpoint_host: HostRewrite = HostRewrite::Keep,
        /// Limits that differ from the listener's.
        pub limits: RouteLimits = RouteLimits::default(),
        /// Timeouts that differ from the listener's.
        pub timeouts: RouteTimeouts = RouteTimeouts::default(),
        /// Changes of the request's header.
        pub request_headers: HeaderChanges = HeaderChanges::default(),
        /// Changes of the response's header.
        pub response_headers: HeaderChanges = HeaderChanges::default(),
    }

    /// Who gets another version than the default one.
    pub struct CanarySettings {
        /// The version that they get.
        pub to: Spanned<Name>,
        /// How many of them.
        pub share: Percent,
        /// Who stays on one side: `consumer` (the client's address where nobody is known), or `client`.
        pub by: Whom = Whom::Consumer,
    }

    /// Which requests a version is for.
    pub enum Served {
        /// Every path below that of the API.
        All = "all",
        /// What its OpenAPI document describes, and nothing else.
        FromDocument = "from-document",
    }
}

/// An API: what the file says, and the routes that [`expand`] has made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    pub settings: Spanned<ApiSettings>,
    /// In the order of the versions.
    pub versions: Vec<VersionRoutes>,
}

/// The routes of one version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRoutes {
    pub version: Name,
    /// Where it stands: `apis.orders.versions.v1`.
    pub path: String,
    /// Where clients reach it: the path that names it, or below which its requests say so otherwise.
    pub prefix: String,
    /// What is written there: `Api-Version: v1`; empty where the path says it.
    pub asked_by: String,
    /// They differ in their matches and in the path that is replaced.
    pub routes: Vec<Spanned<Route>>,
    /// Where each policy of the routes stands.
    pub policies: Vec<String>,
    /// As it is written, with the link to the version that follows.
    pub lifecycle: Option<Lifecycle>,
    /// The paths below which it is, as the router sees them.
    pub places: Vec<String>,
    /// From which on the routes are for requests whose path names no version.
    pub bare: usize,
    /// The paths that name one, which these routes leave out.
    pub naming: Vec<String>,
    /// Which of them are for requests that name no version at all.
    pub silent: Range<usize>,
    /// Who of those gets another one.
    pub canary: Option<Moved>,
}

/// Who gets another version, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    pub to: Name,
    pub share: Percent,
    pub by: Whom,
    /// What of a request names that version.
    pub naming: Naming,
}

impl Setting for Api {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        Some(Api { settings: Spanned::decode(node, at)?, versions: Vec::new() })
    }

    fn schema(definitions: &mut Definitions) -> Json {
        ApiSettings::schema(definitions)
    }

    fn to_json(&self) -> Json {
        self.settings.to_json()
    }
}

impl Api {
    /// Whether a listener serves it.
    pub fn is_on(&self, listener: &str) -> bool {
        let listeners = &self.settings.listeners;
        listeners.is_empty() || listeners.iter().any(|name| ***name == *listener)
    }
}

/// A route, and where it stands in the file.
#[derive(Clone)]
pub struct Placed<'a> {
    pub route: &'a Spanned<Route>,
    /// `listeners.web.routes[0]`, or `apis.orders.versions.v1`.
    pub path: String,
    /// The API and the version that it is made of.
    pub version: Option<(&'a Name, &'a VersionRoutes)>,
    /// Who of those that come to it gets another version.
    pub canary: Option<&'a Moved>,
    /// Paths that it does not serve, with all that is below them.
    pub except: &'a [String],
}

impl Placed<'_> {
    /// Where a policy of the route stands.
    pub fn policy(&self, index: usize) -> String {
        let own = self.version.and_then(|(_, version)| version.policies.get(index));
        own.cloned().unwrap_or_else(|| format!("{}.policies[{index}]", self.path))
    }
}

impl Config {
    /// The routes of a listener in their order: its own, then those of the APIs that it serves.
    pub fn routes_of(&self, name: &str) -> Vec<Placed<'_>> {
        let Some(listener) = self.listeners.get(name) else { return Vec::new() };
        let own = listener.routes.numbered().map(|(index, route)| Placed {
            route,
            path: format!("listeners.{name}.routes[{index}]"),
            version: None,
            canary: None,
            except: &[],
        });
        let http = listener.tcp.is_none() && listener.udp.is_none();
        let apis = self.apis.iter().filter(|(_, api)| http && api.is_on(name));
        let versions = apis.flat_map(|(name, api)| api.versions.iter().map(move |v| (name, v)));
        let routes = versions.flat_map(|(name, version)| {
            version.routes.iter().enumerate().map(move |(index, route)| Placed {
                route,
                path: version.path.clone(),
                version: Some((&name.value, version)),
                canary: version.canary.as_ref().filter(|_| version.silent.contains(&index)),
                except: if index < version.bare { &[] } else { &version.naming },
            })
        });
        own.chain(routes).collect()
    }

    /// Every route as it is written: those of listeners, and of each version one.
    pub fn written_routes(&self) -> Vec<Placed<'_>> {
        let own = self.listeners.iter().flat_map(|(name, listener)| {
            listener.routes.numbered().map(move |(index, route)| Placed {
                route,
                path: format!("listeners.{name}.routes[{index}]"),
                version: None,
                canary: None,
                except: &[],
            })
        });
        own.chain(self.written_versions().into_iter().map(|(placed, _)| placed)).collect()
    }

    /// One route of each version, with a listener that serves it.
    pub fn written_versions(&self) -> Vec<(Placed<'_>, Option<&Name>)> {
        let mut all = Vec::new();
        for (name, api) in self.apis.iter() {
            let listener = self.listeners.iter().find(|(listener, one)| {
                one.tcp.is_none() && one.udp.is_none() && api.is_on(listener)
            });
            let listener = listener.map(|(name, _)| &name.value);
            for version in &api.versions {
                let Some(route) = version.routes.first() else { continue };
                let path = version.path.clone();
                all.push((
                    Placed {
                        route,
                        path,
                        version: Some((name, version)),
                        canary: None,
                        except: &[],
                    },
                    listener,
                ));
            }
        }
        all
    }
}

impl ApiSettings {
    /// Whether requests that name no version get this one.
    pub(crate) fn is_default(&self, version: &Name) -> bool {
        self.default.as_ref().is_some_and(|default| default.value == *version)
    }

    /// What people call it.
    pub fn title<'a>(&'a self, name: &'a str) -> &'a str {
        self.title.as_deref().unwrap_or(name)
    }
}

/// A value of `Link` that may be made up of paths.
fn link(text: &str) -> Option<HeaderValue> {
    transom_settings::FromText::from_text(text).ok()
}
