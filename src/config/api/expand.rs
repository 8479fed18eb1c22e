//! From an API to the routes of its versions.

use std::collections::HashMap;
use std::path::Path;

use transom_gateway::Rule;
use transom_gateway::openapi::Document;
use transom_gateway::policy::lifecycle::Lifecycle;
use transom_proxy::normalize::{self, PathRules};
use transom_proxy::stage::Stage;
use transom_settings::{
    Diagnostic, Diagnostics, FromText, List, Map, Method, Name, OneOrMany, PathPattern, Span,
    Spanned, closest, quote,
};

use super::ways::{Asking, Way};
use super::{ApiSettings, Served, Version, VersionRoutes, described, link};
use crate::config::{
    Action, Config, Match, PathPrefix, Policy, PolicyUse, Priority, ReplacePrefix, Rewrite, Route,
};

/// Reads a document that the file names, or says why it cannot be.
pub type Reading<'a> = dyn Fn(&Path) -> Result<Vec<u8>, String> + 'a;

/// Makes the routes of every API. What is wrong becomes a finding, and has no route.
pub fn expand(config: &mut Config, read: &Reading<'_>, findings: &mut Diagnostics) {
    let Config { apis, policies: named, .. } = config;
    for (name, api) in apis.iter_mut() {
        let path = format!("apis.{name}");
        let settings = &api.settings;
        let versions = Expanding { name, api: settings, named, path, read, findings }.versions();
        api.versions = versions.unwrap_or_default();
    }
}

pub(super) struct Expanding<'a> {
    name: &'a Spanned<Name>,
    pub(super) api: &'a ApiSettings,
    /// Policies that have names.
    pub(super) named: &'a Map<Name, Policy>,
    path: String,
    read: &'a Reading<'a>,
    findings: &'a mut Diagnostics,
}

/// The path of an API, around the place of the version.
pub(super) struct Base {
    before: String,
    after: String,
    /// Without any version.
    pub(super) bare: String,
}

impl Base {
    fn of(written: &str) -> Result<Self, String> {
        let trimmed = written.trim_end_matches('/');
        let Some((before, after)) = trimmed.split_once("{version}") else {
            PathPrefix::from_text(written).map_err(|refusal| refusal.to_string())?;
            return Ok(Base {
                before: format!("{trimmed}/"),
                after: String::new(),
                bare: trimmed.to_owned(),
            });
        };
        let ends = after.is_empty() || after.starts_with('/');
        let start = before.rfind('/').ok_or("it does not begin with `/`")?;
        if !ends {
            return Err("`{version}` stands at the end of a segment".to_owned());
        }
        PathPrefix::from_text(&format!("{before}1{after}")).map_err(|why| why.to_string())?;
        let bare = format!("{}{after}", &before[..start]);
        Ok(Base { before: before.to_owned(), after: after.to_owned(), bare })
    }

    /// The path that names a version.
    pub(super) fn naming(&self, version: &str) -> String {
        format!("{}{version}{}", self.before, self.after)
    }
}

/// One way in which requests come to a version.
struct Form {
    prefix: String,
    conditions: Match,
}

impl<'a> Expanding<'a> {
    pub(super) fn error(&mut self, place: Span, key: &str, what: String, hint: &str) {
        let path = format!("{}.{key}", self.path);
        self.findings.push(Diagnostic::error(place, path, what).hint(hint));
    }

    pub(super) fn warning(&mut self, place: Span, key: &str, what: &str, hint: &str) {
        let path = format!("{}.{key}", self.path);
        self.findings.push(Diagnostic::warning(place, path, what).hint(hint));
    }

    fn versions(&mut self) -> Option<Vec<VersionRoutes>> {
        let api = self.api;
        let base = match Base::of(&api.path) {
            Ok(base) => base,
            Err(why) => {
                let what = format!("{} is no path of an API: {why}", quote(&api.path));
                let hint = "write `/orders`, or `/api/{version}/orders`";
                self.error(api.path.span, "path", what, hint);
                return None;
            }
        };
        if api.versions.is_empty() {
            if !self.findings.has_errors() {
                let what = "the API has no version".to_owned();
                let hint = "add one, such as `v1: { forward: orders }`";
                self.error(self.name.span, "versions", what, hint);
            }
            return None;
        }
        self.names()?;
        let by_path = api.by.iter().any(|way| way.value == Way::Path);
        if api.path.contains("{version}") && !by_path {
            let what = "no path names a version here".to_owned();
            self.error(api.path.span, "path", what, "add `path` to `by`, or leave `{version}` out");
            return None;
        }
        let asking = Asking::all(&api.by);
        if let Some(fallback) = api.fallback.as_ref().filter(|_| asking.is_empty()) {
            let what = "a path that names no known version is any other path";
            let hint = "let a `header`, a `query` or a `media-type` name it too, or use `default`";
            self.error(fallback.span, "fallback", what.to_owned(), hint);
            return None;
        }
        let canary = self.canary(&base);
        let versions: Vec<_> = api.versions.iter().collect();
        let made = versions
            .into_iter()
            .map(|(name, version)| self.version(name, version, &base, by_path, &asking));
        let mut made: Vec<_> = made.collect::<Vec<_>>().into_iter().flatten().collect();
        if let Some(default) = made.iter_mut().find(|made| api.is_default(&made.version)) {
            default.canary = canary;
        }
        Some(made)
    }

    /// Every name of a version is of one version, and those that are mentioned are there.
    fn names(&mut self) -> Option<()> {
        let api = self.api;
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut fine = true;
        for (name, version) in api.versions.iter() {
            for known in [name].into_iter().chain(&version.aliases) {
                if let Some(first) = seen.insert(known, known.span) {
                    let path = format!("{}.versions.{name}", self.path);
                    let what = format!("{} is the name of another version too", quote(known));
                    let finding = Diagnostic::error(known.span, path, what);
                    self.findings.push(finding.note(first, "it stands here"));
                    fine = false;
                }
            }
        }
        let successors = api.versions.iter().filter_map(|(name, version)| {
            Some((format!("versions.{name}.successor"), version.successor.as_ref()?))
        });
        let canary = api.canary.as_ref().map(|canary| ("canary.to".to_owned(), &canary.to));
        let own = [("default", &api.default), ("fallback", &api.fallback)];
        let own = own.into_iter().filter_map(|(key, name)| Some((key.to_owned(), name.as_ref()?)));
        let mentioned: Vec<_> = own.chain(canary).chain(successors).collect();
        for (key, name) in mentioned {
            if api.versions.mentions(&**name) {
                continue;
            }
            let meant = closest(name, api.versions.names().map(|name| &***name));
            let what = format!("there is no version {}", quote(name));
            let finding = Diagnostic::error(name.span, format!("{}.{key}", self.path), what);
            self.findings.push(finding.suggest(meant));
            fine = false;
        }
        fine.then_some(())
    }

    fn version(
        &mut self,
        name: &'a Spanned<Name>,
        version: &'a Spanned<Version>,
        base: &Base,
        by_path: bool,
        asking: &[Asking<'_>],
    ) -> Option<VersionRoutes> {
        let key = format!("versions.{name}");
        let route_name = format!("{}-{name}", self.name);
        let route_name = match Name::from_text(&route_name) {
            Ok(route_name) => Spanned::new(route_name, name.span),
            Err(refusal) => {
                self.error(name.span, &key, refusal.what, "choose shorter names");
                return None;
            }
        };
        let document = match version.routes.value {
            Served::All => None,
            Served::FromDocument => Some(self.document(version, &key)?),
        };
        let lifecycle = self.lifecycle(version, &key, base, by_path);
        let forms = self.forms(name, version, base, by_path, asking);
        let own = if by_path { base.naming(name) } else { base.bare.clone() };
        let at_endpoint = match &version.endpoint_path {
            Some(path) => path.as_str().to_owned(),
            None => own.clone(),
        };
        let naming = if by_path { self.naming(base) } else { Vec::new() };
        let places = forms.iter().map(|form| canonical(&form.prefix)).collect();
        let (mut routes, mut stand) = (Vec::new(), Vec::new());
        let (mut bare, mut silent) = (0, 0..0);
        for form in forms {
            let first = routes.len();
            let mut matches = match self.matches(form.conditions, &form.prefix, document.as_ref()) {
                Ok(matches) => matches,
                Err(why) => {
                    let place = version.openapi.as_ref().map_or(name.span, |file| file.span);
                    self.error(place, &format!("{key}.openapi"), why, "correct the document");
                    return None;
                }
            };
            if self.has(version, "cors") {
                // what asks whether a page may ask is no operation, and answered by the policy
                matches.iter_mut().filter_map(|one| one.method.as_mut()).for_each(preflights);
            }
            let policies;
            (policies, stand) =
                self.policies(version, &key, lifecycle.as_ref(), [&form.prefix, &at_endpoint]);
            let answers = matches!(
                version.action,
                Action::Redirect(_) | Action::Respond(_) | Action::Portal(_)
            );
            let replace = replaced(&form.prefix, &at_endpoint).filter(|_| !answers);
            let rewrite = Rewrite {
                replace_prefix: replace,
                host: version.endpoint_host.clone(),
                ..Rewrite::default()
            };
            for matched in matches {
                let route = Route {
                    name: Some(route_name.clone()),
                    r#match: matched,
                    policies: List::from(policies.clone()),
                    identify: version.identify,
                    limits: version.limits.clone(),
                    timeouts: version.timeouts.clone(),
                    priority: Priority::Normal,
                    error_pages: Map::new(),
                    request_headers: version.request_headers.clone(),
                    response_headers: version.response_headers.clone(),
                    rewrite: rewrite.clone().into(),
                    action: version.action.clone(),
                };
                routes.push(Spanned::new(route, name.span));
            }
            if form.prefix != base.bare {
                bare = routes.len();
            }
            // the last form of the default version is that of requests that name none
            silent = if self.api.is_default(name) { first..routes.len() } else { 0..0 };
        }
        let asked_by = match (by_path, asking.first()) {
            (false, Some(first)) => first.shown(name),
            _ => String::new(),
        };
        let path = format!("{}.{key}", self.path);
        let version = name.value.clone();
        let lifecycle = lifecycle.map(|written| written.value);
        let prefix = own;
        Some(VersionRoutes {
            version,
            path,
            prefix,
            asked_by,
            routes,
            policies: stand,
            places,
            lifecycle,
            bare,
            naming,
            silent,
            canary: None,
        })
    }

    /// The paths that name a version, where one is described: what its document does not have below them
    /// must not be for another version that happens to have such a path.
    fn naming(&self, base: &Base) -> Vec<String> {
        let all = || self.api.versions.iter();
        let described = all().any(|(_, version)| version.routes.value == Served::FromDocument);
        let names = all().flat_map(|(name, version)| [name].into_iter().chain(&version.aliases));
        let names = names.filter(|_| described && base.after.is_empty());
        names.map(|name| base.naming(name)).collect()
    }

    /// How requests come to it: those that name it, and those that name none or another.
    fn forms(
        &self,
        name: &Name,
        version: &Version,
        base: &Base,
        by_path: bool,
        asking: &[Asking<'_>],
    ) -> Vec<Form> {
        let names: Vec<&str> = [name]
            .into_iter()
            .chain(version.aliases.iter().map(|n| &n.value))
            .map(|name| &**name)
            .collect();
        let all = self.api.versions.iter();
        let known: Vec<&str> = all
            .flat_map(|(name, version)| [name].into_iter().chain(&version.aliases))
            .map(|name| &***name)
            .collect();
        let is = |wanted: &Option<Spanned<Name>>| {
            wanted.as_ref().is_some_and(|wanted| wanted.value == *name)
        };
        let host = || Match { host: self.api.host.clone(), ..Match::default() };
        let mut forms = Vec::new();
        if by_path {
            let naming = names.iter().map(|name| base.naming(name));
            forms.extend(naming.map(|prefix| Form { prefix, conditions: host() }));
        }
        let mut add = |conditions| forms.push(Form { prefix: base.bare.clone(), conditions });
        let mut silent = host();
        for place in asking {
            let mut named = silent.clone();
            place.names(&names, &mut named);
            add(named);
            if is(&self.api.fallback) {
                let mut other = silent.clone();
                place.names_other(&known, &mut other);
                add(other);
            }
            place.silent(&mut silent);
        }
        if self.api.is_default(name) {
            add(silent);
        }
        forms
    }

    /// One match for each group of paths that a document describes, or one for all below the prefix.
    fn matches(
        &self,
        conditions: Match,
        prefix: &str,
        document: Option<&Document>,
    ) -> Result<Vec<Match>, String> {
        let paths = |paths: Vec<PathPattern>| {
            Some(OneOrMany(paths.into_iter().map(Spanned::from).collect()))
        };
        let Some(document) = document else {
            let below = PathPattern::from_text(&format!("{prefix}/**"));
            let below = below.map_err(|refusal| refusal.to_string())?;
            return Ok(vec![Match { path: paths(vec![below]), ..conditions }]);
        };
        let groups = described::groups(document, prefix)?;
        let groups = groups.into_iter().map(|group| Match {
            path: paths(group.paths),
            method: Some(OneOrMany(group.methods)),
            ..conditions.clone()
        });
        Ok(groups.collect())
    }

    /// Whether requests for a version meet a policy of this kind.
    fn has(&self, version: &Version, kind: &str) -> bool {
        self.api.policies.iter().chain(&version.policies).any(|policy| match policy {
            PolicyUse::Inline(policy) => policy.kind() == kind,
            PolicyUse::Named(name) => {
                self.named.get(&***name).is_some_and(|policy| policy.kind() == kind)
            }
        })
    }

    fn document(&mut self, version: &Version, key: &str) -> Option<Document> {
        let Some(file) = &version.openapi else {
            let what = "there is no document to take them from".to_owned();
            let hint = "add `openapi:` with its file";
            self.error(version.routes.span, &format!("{key}.routes"), what, hint);
            return None;
        };
        let shown = quote(&file.display().to_string());
        let (what, hint) = match (self.read)(file).map(|bytes| Document::read(&bytes)) {
            Ok(Ok(document)) if !document.operations.is_empty() => return Some(document),
            Ok(Ok(_)) => (format!("{shown} describes no operation"), "describe one"),
            Ok(Err(why)) => (format!("{shown} cannot be used: {why}"), "correct the document"),
            Err(why) => {
                (format!("cannot read {shown}: {why}"), "put it there, or correct the path")
            }
        };
        self.error(file.span, &format!("{key}.openapi"), what, hint);
        None
    }

    /// What is written of it, with the link to the version that follows.
    fn lifecycle(
        &mut self,
        version: &Version,
        key: &str,
        base: &Base,
        by_path: bool,
    ) -> Option<Spanned<Lifecycle>> {
        let successor = version.successor.as_ref();
        let Some(written) = &version.lifecycle else {
            if let Some(successor) = successor {
                let what = "it is not used: nothing says when this version is deprecated";
                let hint = "add `lifecycle: { deprecated: DATE }`";
                self.error(successor.span, &format!("{key}.successor"), what.to_owned(), hint);
            }
            return None;
        };
        let mut lifecycle = written.value.clone();
        if let Some(successor) = successor.filter(|_| lifecycle.successor.is_none()) {
            let query = self.api.by.iter().find_map(|way| match &way.value {
                Way::Field(super::ways::VersionField::Query(name)) => Some(name),
                _ => None,
            });
            let url = match (by_path, query) {
                (true, _) => Some(base.naming(successor)),
                (false, Some(name)) => Some(format!("{}?{name}={successor}", base.bare)),
                (false, None) => None,
            };
            lifecycle.successor = url.as_deref().and_then(link);
            if lifecycle.successor.is_none() {
                let what = "no URL tells that version from this one".to_owned();
                let hint = "write `successor: URL` in `lifecycle`, such as that of its manual";
                self.error(successor.span, &format!("{key}.successor"), what, hint);
            }
        }
        Some(Spanned::new(lifecycle, written.span))
    }

    /// The policies of a version, and where each stands.
    fn policies(
        &self,
        version: &Version,
        key: &str,
        lifecycle: Option<&Spanned<Lifecycle>>,
        [asked, at_endpoint]: [&str; 2],
    ) -> (Vec<PolicyUse>, Vec<String>) {
        let path = format!("{}.{key}", self.path);
        let shared = self.api.policies.numbered();
        let shared =
            shared.map(|(index, one)| (one.clone(), format!("{}.policies[{index}]", self.path)));
        let lifecycle = lifecycle.map(|written| {
            let rule = Spanned::new(Rule::of(written.value.clone()), written.span);
            (PolicyUse::Inline(Policy::Rule(rule)), path.clone())
        });
        let own = version.policies.numbered();
        let own = own.map(|(index, one)| (one.clone(), format!("{path}.policies[{index}]")));
        let described = |(mut policy, place): (PolicyUse, String)| {
            if let (PolicyUse::Inline(Policy::Rule(rule)), Some(file)) =
                (&mut policy, &version.openapi)
            {
                // what is innermost sees the path as the endpoint would
                let base = if rule.stage() > Stage::Shape { at_endpoint } else { asked };
                rule.value.described(file, base);
            }
            (policy, place)
        };
        lifecycle.into_iter().chain(shared).chain(own).map(described).unzip()
    }
}

/// The one form that a path has in routes, and in requests that are looked for there.
fn canonical(path: &str) -> String {
    match normalize::path(path.as_bytes(), PathRules::default(), &mut Vec::new()) {
        Ok(canonical) => {
            String::from_utf8_lossy(canonical.bytes()).trim_end_matches('/').to_owned()
        }
        // it is found to be none where its routes are made
        Err(_) => path.to_owned(),
    }
}

/// Adds the method of requests that browsers send before others (Fetch §4.8).
fn preflights(methods: &mut OneOrMany<Method>) {
    if let Ok(options) = Method::from_text("OPTIONS")
        && !methods.contains(&options)
    {
        methods.0.push(options);
    }
}

/// One prefix in the place of another, where they differ.
fn replaced(from: &str, to: &str) -> Option<ReplacePrefix> {
    let prefix = |text: &str| {
        let text = if text.is_empty() { "/" } else { text };
        PathPrefix::from_text(text).ok().map(Spanned::from)
    };
    (from != to).then(|| Some(ReplacePrefix { from: prefix(from)?, to: prefix(to)? }))?
}
