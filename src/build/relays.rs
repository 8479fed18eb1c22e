//! Listeners that carry what comes without reading it.

use std::sync::Arc;

use transom_balance::relay::{self, Match, Relay, Route, Timeouts, udp};
use transom_proxy::destination::Destination;
use transom_proxy::site::Site;
use transom_settings::Spanned;

use super::Build;
use super::limits::{always, optional};
use crate::config::{Listener, Split, Target, Tcp, TcpMatch, Udp, UdpBalance};

impl Build<'_> {
    /// A TCP listener, if all of its routes can run.
    pub(super) fn relay(
        &mut self,
        listener: &Listener,
        tcp: &Tcp,
        site: &Site,
        at: &str,
    ) -> Option<Relay> {
        let at = format!("{at}.tcp");
        let mut routes = Vec::new();
        if let Some(forward) = &tcp.forward {
            let destination = self.carried_to(forward, &format!("{at}.forward"))?;
            let name = site.name.clone();
            routes.push(Route { name, matches: Match::default(), destination });
        }
        for (index, route) in tcp.routes.numbered() {
            let at = format!("{at}.routes[{index}]");
            let destination = self.carried_to(&route.forward, &format!("{at}.forward"))?;
            let name = match &route.name {
                Some(name) => name.to_string(),
                None => format!("{}[{index}]", site.name),
            };
            routes.push(Route { name: name.into(), matches: matches(&route.r#match), destination });
        }
        Route::sort(&mut routes);
        Some(Relay {
            listener: relay::Listener {
                name: site.name.clone(),
                generation: site.generation,
                sinks: site.sinks.clone(),
            },
            routes,
            timeouts: Timeouts {
                hello: always(&listener.timeouts.tls_handshake),
                connect: always(&listener.timeouts.connect),
                idle: optional(&tcp.idle),
                half_closed: optional(&tcp.half_closed),
            },
            connect_retries: u16::try_from(tcp.connect_retries).unwrap_or(u16::MAX),
        })
    }

    /// A UDP listener, if it can run.
    pub(super) fn flows(
        &mut self,
        listener: &Listener,
        written: &Udp,
        site: &Site,
        at: &str,
    ) -> Option<udp::Relay> {
        let destination = self.carried_to(&written.forward, &format!("{at}.udp.forward"))?;
        Some(udp::Relay {
            listener: relay::Listener {
                name: site.name.clone(),
                generation: site.generation,
                sinks: site.sinks.clone(),
            },
            destination,
            per_datagram: written.balance == UdpBalance::Datagram,
            idle: written.idle.get(),
            replies: written.replies,
            most: site.limits.connections,
            most_per_client: site.limits.connections_per_client,
            amplification: written.max_amplification.value.get(),
            proxies: listener.proxy_protocol.as_ref().map(|rule| udp::Proxies {
                from: rule.from.iter().map(|block| block.net()).collect(),
                optional: rule.optional,
            }),
        })
    }

    /// Where something is carried; the rules of routes for choosing are for requests.
    fn carried_to(&mut self, to: &Spanned<Target>, at: &str) -> Option<Arc<dyn Destination>> {
        match &to.value {
            Target::Pool(name) => {
                if let Some(split) = self.splits.get(&**name) {
                    return Some(split.clone());
                }
                match self.scaled.get(&**name) {
                    Some(scaled) => Some(scaled.clone()),
                    None => Some(self.pools.get(&**name)?.clone()),
                }
            }
            Target::Address { tls, address } => {
                self.single(*tls, &Spanned::new(address.clone(), to.span), at)
            }
        }
    }

    /// Whether a pool is one that TCP is carried to, by itself or as a part of a split: it is not HTTP
    /// then that is spoken inside TLS.
    pub(super) fn is_relayed_to(&self, pool: &str) -> bool {
        let has_it = |split: &Split| split.pools.names().any(|part| ***part == *pool);
        let is_it = |to: &Target| match to {
            Target::Pool(name) => {
                **name == *pool || self.config.splits.get(&**name).is_some_and(has_it)
            }
            Target::Address { .. } => false,
        };
        self.config.listeners.values().filter_map(|listener| listener.tcp.as_ref()).any(|tcp| {
            let routes = tcp.routes.iter().map(|route| &route.forward);
            tcp.forward.iter().chain(routes).any(|to| is_it(to))
        })
    }
}

fn matches(written: &TcpMatch) -> Match {
    Match {
        names: written.sni.iter().flatten().map(|name| name.value.clone()).collect(),
        alpn: written.alpn.iter().flatten().map(|alpn| alpn.as_bytes().into()).collect(),
        tls: written.tls,
        clients: written.client.iter().flatten().map(|block| block.net()).collect(),
    }
}

/// What is offered inside TLS that ends here: what the routes ask for.
pub(super) fn alpn(tcp: &Tcp) -> Vec<Vec<u8>> {
    let asked = tcp.routes.iter().flat_map(|route| route.r#match.alpn.iter().flatten());
    let mut all: Vec<Vec<u8>> = Vec::new();
    for alpn in asked {
        if !all.iter().any(|known| known == alpn.as_bytes()) {
            all.push(alpn.as_bytes().to_vec());
        }
    }
    all
}
