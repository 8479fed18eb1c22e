//! What routes do in the end, and where they send requests.

use std::sync::Arc;

use bytes::Bytes;
use transom_gateway::Making;
use transom_proxy::action::files::{Coding, FilesSettings, Try};
use transom_proxy::action::forward::HostRule;
use transom_proxy::action::forward::backoff::Backoff;
use transom_proxy::action::forward::mirror::Mirror;
use transom_proxy::action::forward::retry::Retrying;
use transom_proxy::action::{self, Files, Forward, Redirect};
use transom_proxy::codec::head::HeadLimits;
use transom_proxy::destination::Destination;
use transom_proxy::fields::{Fields, Known, Name as FieldName};
use transom_settings::{Spanned, StatusPattern, quote};

use super::{Build, balancing};
use crate::config::{self, Action, Encoding, HostRewrite, Route, Target, Upgrade};

impl<'a> Build<'a> {
    pub(super) fn action(
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
        per_try: written.per_attempt.value.get().map(|time| time.get()),
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
