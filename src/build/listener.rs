//! Listeners: what is served there, and the rules for who comes.

use std::sync::Arc;

use transom_gateway::identify;
use transom_net::clients::Pace;
use transom_proxy::fields::Known;
use transom_proxy::headers::forwarded::ForwardedStyle;
use transom_proxy::normalize::{self, PathRules};
use transom_proxy::serve::ceilings::{self, Ceilings, OverLimit};
use transom_proxy::site::{RequestIdRule, Site};
use transom_proxy::stage::Stage;
use transom_settings::{HeaderName, Limit, Name, Rate, Spanned};

use super::limits::{http2, limits, optional, timeouts};
use super::{Build, Sinks, relays, tls};
use crate::config::{self, Config, EncodedSlashes, Listener, Policy, PolicyUse};
use crate::door::{Counts, Listening, ProxyRule};

impl<'a> Build<'a> {
    /// A listener, if all of it can run.
    pub(super) fn listener(
        &mut self,
        name: &Spanned<Name>,
        listener: &'a Listener,
        generation: u64,
        sinks: &Sinks<'_>,
    ) -> Option<Listening> {
        let at = format!("listeners.{name}");
        let tls = listener.tls.as_ref().map(|tls| {
            let alpn = match &listener.tcp {
                None => tls::http(listener.http2.on().is_some()),
                Some(tcp) => relays::alpn(tcp),
            };
            self.server_tls(name, tls, alpn, &format!("{at}.tls"))
        });
        let placed = self.config.routes_of(name);
        let router = self.router(&placed);
        let routes = self.routes(name, listener, &placed)?;
        let counts = self.counts(name);
        let tls = match tls {
            Some(built) => Some(built?),
            None => None,
        };
        let site = Site {
            // what is in a log was counted before
            sinks: self.tally(&placed).into_iter().chain(sinks(name, &routes)).collect(),
            router: router?,
            routes,
            client_auth: tls.as_ref().map(|tls| tls.client_auth()),
            ..self.site(name, listener, generation, &counts)
        };
        let relay = match &listener.tcp {
            Some(tcp) => Some(Arc::new(self.relay(listener, tcp, &site, &at)?)),
            None => None,
        };
        let flows = match &listener.udp {
            Some(udp) => Some(Arc::new(self.flows(listener, udp, &site, &at)?)),
            None => None,
        };
        Some(Listening {
            name: site.name.clone(),
            relay,
            flows,
            addresses: listener.address.iter().map(|address| address.value.clone()).collect(),
            turnstile: {
                let rate = listener.limits.connection_rate.value.get();
                rate.map(|rate| (rate.count, rate.per.get()))
            },
            connection_rate: pace(&listener.limits.connection_rate_per_client),
            over_limit: over_limit(&listener.limits),
            counts,
            clients: (!listener.clients.is_empty()).then(|| self.addresses(&listener.clients)),
            site: Arc::new(site),
            tls,
            proxy_protocol: listener.proxy_protocol.as_ref().map(|rule| ProxyRule {
                from: rule.from.iter().map(|block| block.net()).collect(),
                optional: rule.optional,
            }),
            handshake_timeout: optional(&listener.timeouts.tls_handshake),
            handshakes: listener.limits.handshakes as usize,
            proxy_timeout: optional(&listener.timeouts.proxy_protocol),
        })
    }

    /// What a site is before it has routes.
    fn site(
        &mut self,
        name: &Spanned<Name>,
        listener: &Listener,
        generation: u64,
        counts: &Counts,
    ) -> Site {
        Site {
            ceilings: ceilings(&listener.limits, &counts.requests),
            name: Arc::from(&***name),
            generation,
            limits: limits(&listener.limits),
            timeouts: timeouts(&listener.timeouts),
            http2: listener.http2.on().map(http2),
            paths: PathRules {
                merge_slashes: listener.merge_slashes,
                encoded_slashes: match listener.encoded_slashes.value {
                    EncodedSlashes::Keep => normalize::EncodedSlashes::Keep,
                    EncodedSlashes::Refuse => normalize::EncodedSlashes::Refuse,
                },
                ..PathRules::default()
            },
            trusted: listener.trusted_proxies.iter().map(|block| block.net()).collect(),
            forwarded: ForwardedStyle {
                x_forwarded: listener.forwarded.x_forwarded,
                forwarded: listener.forwarded.forwarded,
                via: listener.forwarded.via,
            },
            request_id: request_id(&listener.request_id),
            vouched: self.vouched(),
            pages: self.pages(&listener.error_pages),
            ..Site::of_nobody()
        }
    }

    /// Those that the listener has already, if it ran before.
    fn counts(&self, name: &str) -> Counts {
        let mut before = self.previous.iter().flat_map(|previous| &previous.listeners);
        before
            .find(|listener| *listener.name == *name)
            .map_or_else(Counts::default, |listener| listener.counts.clone())
    }

    /// Fields in which any policy of the file tells endpoints who asks.
    pub(super) fn vouched(&mut self) -> Arc<[HeaderName]> {
        let config = self.config;
        self.vouched.get_or_insert_with(|| told_by(config).into()).clone()
    }
}

fn told_by(config: &Config) -> Vec<HeaderName> {
    let routes = config.written_routes();
    let uses = routes.iter().flat_map(|placed| placed.route.policies.iter());
    let inline = uses.filter_map(|policy| match policy {
        PolicyUse::Inline(policy) => Some(policy),
        PolicyUse::Named(_) => None,
    });
    let rules = config.policies.values().chain(inline).filter_map(|policy| match policy {
        Policy::Rule(rule) => Some(rule),
        _ => None,
    });
    let mut names = Vec::new();
    for rule in rules {
        if rule.stage() == Stage::Identify {
            names.extend(identify::USUAL_HEADERS.map(HeaderName::known));
        }
        names.extend(rule.vouched().into_iter().cloned());
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn pace(rate: &Limit<Rate>) -> Option<Pace> {
    rate.get().map(|rate| Pace::new(rate.count, rate.per.get()))
}

fn over_limit(limits: &config::Limits) -> OverLimit {
    match limits.over_limit {
        config::OverLimit::Refuse => OverLimit::Refuse,
        config::OverLimit::Tarpit => OverLimit::Tarpit(limits.tarpit.get()),
        config::OverLimit::Drop => OverLimit::Drop,
    }
}

fn ceilings(limits: &config::Limits, counts: &Arc<ceilings::Counts>) -> Option<Ceilings> {
    let count = |limit: &Limit<u32>| limit.get().map(|count| count as usize);
    let (requests, per_client) = (count(&limits.requests), count(&limits.requests_per_client));
    let rate = pace(&limits.request_rate_per_client);
    let any = requests.is_some() || per_client.is_some() || rate.is_some();
    let (over, counts) = (over_limit(limits), counts.clone());
    any.then_some(Ceilings { requests, per_client, rate, over, counts })
}

fn request_id(written: &config::RequestId) -> RequestIdRule {
    let header = &*written.header;
    // known names are written as people know them
    let known = Known::of(header.as_bytes());
    let field = known.map_or_else(|| header.to_owned(), |known| known.text().to_owned());
    RequestIdRule { field: Some(field), trust: written.trust }
}
