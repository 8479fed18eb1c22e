//! Routes: their chain of policies, their action, their limits and timeouts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use regex::RegexBuilder;
use transom_balance::algorithm::key::Key;
use transom_gateway::{Making, identify};
use transom_net::blocks::Rule;
use transom_proxy::action::files::{Coding, FilesSettings, Try};
use transom_proxy::action::forward::HostRule;
use transom_proxy::action::forward::backoff::Backoff;
use transom_proxy::action::forward::mirror::Mirror;
use transom_proxy::action::forward::retry::Retrying;
use transom_proxy::action::{self, Files, Forward, Redirect};
use transom_proxy::body::bandwidth::{Bandwidth, Rate};
use transom_proxy::codec::head::HeadLimits;
use transom_proxy::destination::Destination;
use transom_proxy::fields::{Fields, Known, Name as FieldName};
use transom_proxy::policy::Policy as Running;
use transom_proxy::policy::address::Address;
use transom_proxy::policy::edit::{Edit, Edits};
use transom_proxy::policy::reserve::Reserve;
use transom_proxy::policy::rewrite::{Change, Rewrite};
use transom_proxy::site;
use transom_proxy::variables::{Template, Variable};
use transom_settings::{
    ByteRate, Cidr, FromText, HeaderName, Limit, Name, Spanned, StatusPattern, quote,
};

use super::{Build, balancing, timeouts};
use crate::config::{
    self, Action, Encoding, HeaderChanges, HostRewrite, Listener, Placed, Policy, PolicyUse,
    Priority, Route, Target, Upgrade,
};

/// Policies with a name, built once for all routes that use them; nothing for one that cannot be.
pub(super) type NamedPolicies<'a> = HashMap<&'a str, Option<Arc<dyn Running>>>;

/// Policies of versions, by their place in the file.
pub(super) type VersionPolicies<'a> = HashMap<String, Vec<(&'a Policy, Option<Arc<dyn Running>>)>>;

impl<'a> Build<'a> {
    /// The routes of a listener in the order of the file, if all of them can run.
    pub(super) fn routes(
        &mut self,
        listener_name: &str,
        listener: &'a Listener,
        written: &[Placed<'a>],
    ) -> Option<Vec<site::Route>> {
        let mut routes = Vec::with_capacity(written.len());
        let shared = Shared::of(&listener.limits.bandwidth);
        for (index, placed) in written.iter().enumerate() {
            let name = match &placed.route.name {
                Some(name) => name.to_string(),
                None => format!("{listener_name}[{index}]"),
            };
            routes.push(self.route(name, listener, &shared, placed));
        }
        routes.into_iter().collect()
    }

    fn route(
        &mut self,
        name: String,
        listener: &Listener,
        shared: &Shared,
        placed: &Placed<'a>,
    ) -> Option<site::Route> {
        let (route, at) = (placed.route, &*placed.path);
        let limits = listener.limits.with(&route.limits);
        let pool = match &route.action {
            Action::Forward(forward) => match &forward.to.value {
                Target::Pool(pool) => self.config.pools.get(&**pool),
                Target::Address { .. } => None,
            },
            _ => None,
        };
        let times = listener.timeouts.with(&route.timeouts, pool.map(|pool| &pool.timeouts));
        let chain = self.chain(&name, placed);
        self.warn_of_futile(listener, route, chain.as_deref().unwrap_or_default(), at);
        let action = self.action(&name, route, &limits, at)?;
        Some(site::Route {
            name: name.into(),
            chain: chain?,
            action,
            keep: self.kept(placed),
            bandwidth: bandwidth(&listener.limits.bandwidth, shared, &route.limits.bandwidth),
            body_limit: limits.body.value.get().map(|size| size.bytes()),
            timeouts: timeouts(&times),
            priority: match route.priority {
                Priority::High => 0,
                Priority::Normal => 1,
                Priority::Low => 2,
            },
            pages: self.pages(&route.error_pages),
        })
    }

    /// The route's policies in running order: by stage, and within one as they are written, before
    /// the route's own rewrite and header changes.
    fn chain(&mut self, route_name: &str, placed: &Placed<'a>) -> Option<Vec<Arc<dyn Running>>> {
        let (route, at) = (placed.route, &*placed.path);
        let mut chain = self.policies(route_name, placed)?;
        if let (Some((api, _)), Some(moved)) = (placed.version, placed.canary) {
            // before all others of its stage
            let canary = self.canary(api, moved, &chain)?;
            chain.insert(0, Arc::new(canary));
        }
        match rewrite(&route.rewrite) {
            Ok(None) => {}
            Ok(Some(rewrite)) => chain.push(Arc::new(rewrite)),
            Err(why) => {
                let place = route.rewrite.regex.as_ref().map(|regex| regex.r#match.span);
                let hint = "correct the expression";
                self.error(
                    place.unwrap_or_default(),
                    format!("{at}.rewrite.regex.match"),
                    why,
                    hint,
                );
                return None;
            }
        }
        let own = Edit {
            request: edits(&route.request_headers),
            response: edits(&route.response_headers),
        };
        if !own.request.is_empty() || !own.response.is_empty() {
            chain.push(Arc::new(own));
        }
        identify::complete(&mut chain, route.identify);
        chain.sort_by_key(|policy| policy.stage());
        if let Some(reserve) = Reserve::of(chain.iter().map(|policy| &**policy)) {
            chain.insert(0, Arc::new(reserve));
        }
        Some(chain)
    }

    /// The policies of a route as they are written.
    pub(super) fn policies(
        &mut self,
        route_name: &str,
        placed: &Placed<'a>,
    ) -> Option<Vec<Arc<dyn Running>>> {
        let built = placed.route.policies.numbered().map(|(index, policy)| match policy {
            PolicyUse::Inline(policy) => {
                let name = format!("{route_name} {} {index}", policy.kind());
                let at = placed.policy(index);
                match placed.version {
                    None => self.running(policy, &name, &at),
                    Some(_) => self.together(policy, &name, &at),
                }
            }
            PolicyUse::Named(name) => self.named(name),
        });
        // each is built, so that all that is wrong is found
        built.collect::<Vec<_>>().into_iter().collect()
    }

    /// A policy of a version, built once for all its routes; and for all versions, where it is one of
    /// their API.
    fn together(&mut self, policy: &'a Policy, name: &str, at: &str) -> Option<Arc<dyn Running>> {
        // those that are told the path of their route may differ from one to the other
        let known = self.versioned.get(at).into_iter().flatten();
        if let Some((_, built)) = known.into_iter().find(|(known, _)| *known == policy) {
            return built.clone();
        }
        let built = self.running(policy, name, at);
        self.versioned.entry(at.to_owned()).or_default().push((policy, built.clone()));
        built
    }

    /// The policy of this name, built once for all routes that use it.
    fn named(&mut self, name: &'a Name) -> Option<Arc<dyn Running>> {
        if let Some(built) = self.named.get(&**name) {
            return built.clone();
        }
        // one that is not there is found already
        let policy = self.config.policies.get(&**name)?;
        let built = self.running(policy, name, &format!("policies.{name}"));
        self.named.insert(name, built.clone());
        built
    }

    fn running(&mut self, policy: &Policy, name: &str, at: &str) -> Option<Arc<dyn Running>> {
        Some(match policy {
            Policy::Address(written) => Arc::new(Address {
                rule: self.addresses(&written.addresses()),
                dry_run: written.dry_run.then(|| name.into()),
            }),
            Policy::Headers(headers) => Arc::new(Edit {
                request: edits(&headers.request),
                response: edits(&headers.response),
            }),
            Policy::Rule(rule) => {
                let path = format!("{at}.{}", rule.kind());
                let place = rule.span;
                return rule.build(&mut Making::new(name, &path, place, self));
            }
        })
    }

    /// Who passes: what stands in the file itself is one list more.
    pub(super) fn addresses(&self, written: &config::Addresses) -> Rule {
        let lists = |blocks: &[Spanned<Cidr>], files: &[Spanned<PathBuf>]| {
            let own = (!blocks.is_empty())
                .then(|| Arc::new(blocks.iter().map(|block| block.value).collect()));
            let files = files.iter().filter_map(|file| self.materials.list(file).cloned());
            own.into_iter().chain(files).collect()
        };
        Rule {
            allow: lists(&written.allow, &written.allow_files),
            deny: lists(&written.deny, &written.deny_files),
        }
    }

    fn action(
        &mut self,
        name: &str,
        route: &Route,
        limits: &config::Limits,
        at: &str,
    ) -> Option<Box<dyn action::Action>> {
        Some(match &route.action {
            Action::Forward(forward) => {
                let destination = self.destination(forward, &format!("{at}.forward"))?;
                let fields = limits.response_headers.len();
                let host = host(route);
                let response_limits = HeadLimits { line: fields, fields, ..HeadLimits::RESPONSE };
                let mirror = match &forward.mirror {
                    Some(mirror) => Some(self.mirror(mirror, &host, response_limits, at)?),
                    None => None,
                };
                Box::new(Forward {
                    destination,
                    host,
                    retry: retrying(&forward.retries),
                    mirror,
                    hedge: forward.hedge.get().map(|time| time.get()),
                    deadline: forward.deadline_header.as_ref().map(ToString::to_string),
                    response_limits,
                    upgrade: forward.upgrade.contains(&Upgrade::WebSocket),
                })
            }
            Action::Files(files) => return self.files(files, at),
            Action::Redirect(redirect) => Box::new(Redirect {
                status: redirect.status.code(),
                to: redirect.to.value.clone(),
                text: redirect.to.to_string(),
            }),
            Action::Respond(answer) => Box::new(respond(&answer.0)),
            Action::Compose(compose) => {
                let (path, place) = (format!("{at}.compose"), compose.span);
                let making = &mut Making::new(name, &path, place, self);
                return compose.build(making, host(route));
            }
            Action::Portal(portal) => return self.portal(portal, route),
        })
    }

    fn mirror(
        &mut self,
        written: &config::Mirror,
        host: &HostRule,
        response_limits: HeadLimits,
        at: &str,
    ) -> Option<Mirror> {
        let destination = self.called(&written.to, &format!("{at}.forward.mirror"))?;
        let mut mirror = Mirror::new(Forward {
            destination,
            host: host.clone(),
            retry: Retrying { retries: 0, connect_retries: 0, ..Retrying::default() },
            mirror: None,
            hedge: None,
            deadline: None,
            response_limits,
            upgrade: false,
        });
        mirror.share = written.share.ratio();
        mirror.body = written.max_body.len();
        mirror.most = written.at_once as usize;
        mirror.credentials = written.credentials;
        Some(mirror)
    }

    /// Where requests of our own go.
    pub(super) fn called(
        &mut self,
        target: &Spanned<Target>,
        at: &str,
    ) -> Option<Arc<dyn Destination>> {
        match &target.value {
            Target::Pool(name) => match (self.splits.get(&**name), self.scaled.get(&**name)) {
                (Some(split), _) => Some(split.clone()),
                (None, Some(scaled)) => Some(scaled.clone()),
                (None, None) => Some(self.pools.get(&**name)?.clone()),
            },
            Target::Address { tls, address } => {
                self.single(*tls, &Spanned::new(address.clone(), target.span), at)
            }
        }
    }

    fn destination(&mut self, forward: &config::Forward, at: &str) -> Option<Arc<dyn Destination>> {
        match &forward.to.value {
            // a pool that is not there could not be built, which is found already
            Target::Pool(name) if self.splits.contains_key(&**name) => {
                let split = self.splits.get(&**name)?;
                Some(split.clone())
            }
            Target::Pool(name) => {
                let pool = self.pools.get(&**name)?;
                let written = self.config.pools.get(&**name)?;
                match (balancing::rule(forward, written), self.scaled.get(&**name)) {
                    (Some(rule), Some(scaled)) => Some(Arc::new(scaled.by(rule))),
                    (Some(rule), None) => Some(Arc::new(pool.by(rule))),
                    (None, Some(scaled)) => Some(scaled.clone()),
                    (None, None) => Some(pool.clone()),
                }
            }
            Target::Address { tls, address } => {
                self.single(*tls, &Spanned::new(address.clone(), forward.to.span), at)
            }
        }
    }

    fn files(&mut self, written: &config::Files, at: &str) -> Option<Box<dyn action::Action>> {
        let mut tries = Vec::new();
        for text in &written.r#try {
            match Try::parse(text) {
                Ok(each) => tries.push(each),
                Err(error) => {
                    let hint = "write what is looked for, such as `{path}` or `/index.html`";
                    self.error(text.span, format!("{at}.files.try"), error.to_string(), hint);
                    return None;
                }
            }
        }
        let mut settings = FilesSettings {
            index: written.index.clone(),
            listing: written.listing,
            precompressed: written.precompressed.iter().map(|each| coding(*each)).collect(),
            cache_control: written.cache_control.as_ref().map(|value| (**value).to_owned()),
            ..FilesSettings::of(self.materials.resolve(&written.root))
        };
        if !tries.is_empty() {
            settings.try_ = tries;
        }
        match Files::new(settings) {
            Ok(files) => Some(Box::new(files)),
            Err(error) => {
                let root = quote(&written.root.display().to_string());
                let what = format!("the directory {root} cannot be served: {error}");
                let hint = "make it readable for the user that Transom runs as";
                self.error(written.root.span, format!("{at}.files.root"), what, hint);
                None
            }
        }
    }

    /// Header fields that the texts of a route ask for, and those of the version that its callers may be
    /// moved to.
    fn kept(&self, placed: &Placed<'a>) -> Vec<HeaderName> {
        let other = placed.version.zip(placed.canary);
        let other = other.and_then(|((api, _), moved)| self.first_of(api, &moved.to));
        let routes = [Some(&placed.route.value), other.map(|other| &other.route.value)];
        let mut texts: Vec<&Template> = Vec::new();
        for route in routes.into_iter().flatten() {
            self.texts(route, &mut texts);
        }
        let mut names: Vec<HeaderName> = texts
            .into_iter()
            .flat_map(Template::variables)
            .filter_map(|variable| match variable {
                Variable::Header(name) => Some(name.clone()),
                Variable::Cookie(_) => HeaderName::from_text("cookie").ok(),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The texts with variables that a route is written with.
    fn texts(&self, route: &'a Route, texts: &mut Vec<&'a Template>) {
        for policy in &route.policies {
            let policy = match policy {
                PolicyUse::Inline(policy) => Some(policy),
                PolicyUse::Named(name) => self.config.policies.get(&***name),
            };
            match policy {
                Some(Policy::Headers(headers)) => {
                    texts.extend(texts_of(&headers.request).chain(texts_of(&headers.response)));
                }
                Some(Policy::Rule(rule)) => texts.extend(rule.templates()),
                _ => {}
            }
        }
        texts.extend(texts_of(&route.request_headers).chain(texts_of(&route.response_headers)));
        match &route.action {
            Action::Redirect(redirect) => texts.push(&redirect.to),
            Action::Forward(forward) => texts.extend(self.key(forward)),
            Action::Compose(compose) => texts.extend(compose.templates()),
            _ => {}
        }
    }
}

/// What the bodies of several routes share.
struct Shared {
    requests: Option<Arc<Rate>>,
    responses: Option<Arc<Rate>>,
}

impl Shared {
    fn of(written: &config::Bandwidth) -> Self {
        let rate =
            |limit: &Limit<ByteRate>| per_second(limit).map(|rate| Arc::new(Rate::new(rate)));
        Shared { requests: rate(&written.requests), responses: rate(&written.responses) }
    }
}

fn per_second(limit: &Limit<ByteRate>) -> Option<u64> {
    limit.get().map(|rate| rate.0.bytes())
}

/// What a route's bodies keep to: the listener's and its own, whichever is less.
fn bandwidth(
    listener: &config::Bandwidth,
    shared: &Shared,
    route: &config::Bandwidth,
) -> Option<Arc<Bandwidth>> {
    let own = Shared::of(route);
    let both = |one: &Option<Arc<Rate>>, other: &Option<Arc<Rate>>| {
        [one, other].into_iter().flatten().cloned().collect()
    };
    let less = |one: &Limit<ByteRate>, other: &Limit<ByteRate>| {
        [per_second(one), per_second(other)].into_iter().flatten().min()
    };
    let bandwidth = Bandwidth {
        requests: both(&shared.requests, &own.requests),
        request: less(&listener.request, &route.request),
        responses: both(&shared.responses, &own.responses),
        response: less(&listener.response, &route.response),
    };
    (!bandwidth.is_unlimited()).then(|| Arc::new(bandwidth))
}

impl<'a> Build<'a> {
    /// The text by which requests of a forward are hashed, where it has to be put together.
    fn key(&self, forward: &'a config::Forward) -> Option<&'a Template> {
        let pool = match &forward.to.value {
            Target::Pool(name) => self.config.pools.get(&**name),
            Target::Address { .. } => None,
        };
        let own = forward.algorithm.as_ref().map(|own| &own.value);
        let key = own.or(pool.map(|pool| &pool.algorithm))?.key()?;
        matches!(Key::of(key), Key::Text(_)).then_some(&key.value)
    }
}

fn texts_of(changes: &HeaderChanges) -> impl Iterator<Item = &Template> {
    changes.set.values().chain(changes.append.values().flatten())
}

fn edits(changes: &HeaderChanges) -> Edits {
    let append = changes
        .append
        .iter()
        .flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.clone())));
    Edits {
        remove: changes.remove.iter().map(|name| name.to_string()).collect(),
        set: changes.set.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        append: append.collect(),
    }
}

/// The changes of the path in their order, or nothing where there is none.
///
/// # Errors
/// Why the regular expression cannot be used.
pub fn rewrite(written: &config::Rewrite) -> Result<Option<Rewrite>, String> {
    let mut changes = Vec::new();
    if let Some(prefix) = &written.strip_prefix {
        changes.push(Change::StripPrefix(prefix.as_str().to_owned()));
    }
    if let Some(prefix) = &written.add_prefix {
        changes.push(Change::AddPrefix(prefix.as_str().to_owned()));
    }
    if let Some(replace) = &written.replace_prefix {
        let (from, to) = (replace.from.as_str().to_owned(), replace.to.as_str().to_owned());
        changes.push(Change::ReplacePrefix { from, to });
    }
    if let Some(regex) = &written.regex {
        let text: &str = &regex.r#match;
        let built = RegexBuilder::new(text).size_limit(1 << 20).build();
        let pattern = built.map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            format!("`{text}` is not a regular expression for a path: {reason}")
        })?;
        changes.push(Change::Regex { pattern, with: regex.replace.value.clone() });
    }
    Ok((!changes.is_empty()).then_some(Rewrite { changes }))
}

/// Which host endpoints are asked for.
fn host(route: &Route) -> HostRule {
    match &route.rewrite.host {
        HostRewrite::Keep => HostRule::Keep,
        HostRewrite::Upstream => HostRule::Endpoint,
        HostRewrite::Literal(host) => HostRule::Fixed(host.clone()),
    }
}

fn retrying(written: &config::Retries) -> Retrying {
    Retrying {
        retries: written.count.value,
        connect_retries: written.connect,
        statuses: written.statuses.iter().map(|pattern| bounds(pattern.value)).collect(),
        any_method: written.any_method,
        backoff: Backoff { base: written.backoff.value.get(), most: written.max_backoff.get() },
        per_try: written.per_attempt.get().map(|time| time.get()),
    }
}

/// The first and the last status of a pattern.
pub(super) fn bounds(pattern: StatusPattern) -> (u16, u16) {
    match pattern {
        StatusPattern::Exact(status) => (status.code(), status.code()),
        StatusPattern::Class(digit) => (u16::from(digit) * 100, u16::from(digit) * 100 + 99),
    }
}

fn coding(written: Encoding) -> Coding {
    match written {
        Encoding::Br => Coding::Brotli,
        Encoding::Gzip => Coding::Gzip,
        Encoding::Zstd => Coding::Zstd,
    }
}

fn respond(written: &config::Respond) -> action::Respond {
    let mut fields = Fields::new();
    let body = written.body.as_deref().unwrap_or_default();
    let content_type = match &written.content_type {
        Some(content_type) => &**content_type,
        None => "text/plain; charset=utf-8",
    };
    if !body.is_empty() || written.content_type.is_some() {
        fields.set(Known::ContentType, content_type.as_bytes());
    }
    for (name, value) in written.headers.iter() {
        fields.set(FieldName::of(name.as_bytes()), value.as_bytes());
    }
    action::Respond {
        status: written.status.code(),
        fields,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}
