//! Makes endpoints, when a file lists them and when a source tells of them later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use transom_balance::discovery::roster::{Make, Place};
use transom_net::tls::client::{ClientTls, Identity, server_name};
use transom_net::{Address, Source, Target};
use transom_proxy::announce::Announce;
use transom_proxy::destination::{Endpoint, Http2, Http2Rules, KeepAlive};
use transom_proxy::serve::ALPN_H2;
use transom_settings::{EndpointAddress, quote};

use super::connections::Connections;
use super::tls::HTTP_1_1;
use crate::config::UpstreamHttp;

/// Everything that a connection is bound to: only connections to the same identity are ever used
/// in each other's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EndpointIdentity {
    address: Address,
    /// How TLS is made, and the name that is asked for.
    tls: Option<(Identity, String)>,
    source: Source,
    announce: Option<Announce>,
    /// The pool that counts its connections, where one does.
    counted: Option<Arc<str>>,
}

/// The numbers of endpoints: the same for the same identity. Endpoints may come and go without end,
/// so of those that nobody has asked for, most are forgotten.
#[derive(Debug, Default)]
pub(super) struct Keys(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: u64,
    recent: HashMap<EndpointIdentity, u64>,
    /// What was recent before; the next time it is forgotten.
    older: HashMap<EndpointIdentity, u64>,
}

/// Identities that are recent, at most.
const RECENT: usize = 1 << 16;

impl Keys {
    fn of(&self, identity: EndpointIdentity) -> u64 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        if let Some(key) = known.recent.get(&identity) {
            return *key;
        }
        let key = known.older.remove(&identity).unwrap_or_else(|| {
            known.last += 1;
            known.last
        });
        if known.recent.len() == RECENT {
            known.older = std::mem::take(&mut known.recent);
        }
        known.recent.insert(identity, key);
        key
    }
}

/// How TLS to endpoints is made.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) tls: Arc<ClientTls>,
    /// The name to ask for, where it is not the endpoint's.
    pub(super) name: Option<String>,
}

/// How HTTP/2 is offered to the endpoints of one destination.
#[derive(Clone)]
pub(super) struct Http2Offer {
    /// TLS that offers it.
    tls: Option<Arc<ClientTls>>,
    required: bool,
    rules: Http2Rules,
}

impl Http2Offer {
    /// Nothing where it may not be spoken.
    pub(super) fn new(
        http: UpstreamHttp,
        tls: Option<&Upstream>,
        rules: Http2Rules,
    ) -> Option<Self> {
        let required = match (http, tls) {
            (UpstreamHttp::Http1, _) | (UpstreamHttp::Auto, None) => return None,
            (UpstreamHttp::Auto, Some(_)) => false,
            (UpstreamHttp::Http2, _) => true,
        };
        let protocols: &[&[u8]] = if required { &[ALPN_H2] } else { &[ALPN_H2, HTTP_1_1] };
        let tls = tls.map(|upstream| Arc::new(upstream.tls.offering(protocols)));
        Some(Http2Offer { tls, required, rules })
    }

    /// To this endpoint.
    fn to(&self, target: &Target) -> Http2 {
        let name = target.tls.as_ref().map(|(_, name)| name.clone());
        let tls = self.tls.clone().zip(name);
        let target = Target { address: target.address.clone(), tls, source: target.source };
        Http2 { target, required: self.required, rules: self.rules }
    }
}

/// What the endpoints of one destination have in common.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) pool: Arc<str>,
    pub(super) tls: Option<Upstream>,
    pub(super) http2: Option<Http2Offer>,
    pub(super) keep_alive: KeepAlive,
    /// Where connections come from, and what is said first about for whom they are.
    pub(super) source: Source,
    pub(super) announce: Option<Announce>,
    /// Where their number is limited.
    pub(super) connections: Option<Arc<Connections>>,
    pub(super) keys: Arc<Keys>,
}

/// Why nothing can be sent to an endpoint, and what to do about it.
pub(super) struct Unusable {
    pub(super) what: String,
    pub(super) hint: &'static str,
}

impl Maker {
    /// `Host`, and the name to verify where there is TLS.
    ///
    /// # Errors
    /// What is wrong with an address as it is written.
    pub(super) fn names(&self, written: &EndpointAddress) -> Result<(String, String), Unusable> {
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let (authority, host) = match written {
            EndpointAddress::Unix(_) if self.tls.is_some() => {
                let what = format!("TLS over {} is not supported", quote(&written.to_string()));
                let hint = "use a plain socket, or an address with a port";
                return Err(Unusable { what, hint });
            }
            EndpointAddress::Unix(_) => ("localhost".to_owned(), String::new()),
            EndpointAddress::Tcp { host, port } => {
                let shown = host.to_string();
                let authority = match *port == default_port {
                    true => shown.clone(),
                    false => format!("{shown}:{port}"),
                };
                (authority, shown)
            }
        };
        if let Some(upstream) = &self.tls {
            let name = upstream.name.as_ref().unwrap_or(&host);
            server_name(name).map_err(|error| Unusable {
                what: error.to_string(),
                hint: "set `tls.name` to the name in its certificate",
            })?;
        }
        Ok((authority, host))
    }
}

impl Make for Maker {
    fn endpoint(&self, place: Place<'_>) -> Result<Endpoint, String> {
        let (authority, host) = self.names(place.written).map_err(|unusable| unusable.what)?;
        let mut identity = EndpointIdentity {
            address: place.address.clone(),
            tls: None,
            source: self.source,
            announce: self.announce.clone(),
            counted: self.connections.is_some().then(|| self.pool.clone()),
        };
        let mut tls = None;
        if let Some(upstream) = &self.tls {
            let name = upstream.name.clone().unwrap_or(host);
            let verified = server_name(&name).map_err(|error| error.to_string())?;
            tls = Some((upstream.tls.clone(), verified));
            identity.tls = Some((upstream.tls.identity(), name));
        }
        let target = Target { address: place.address, tls, source: self.source };
        let key = self.keys.of(identity);
        Ok(Endpoint {
            key,
            ceilings: self.connections.as_ref().map_or(Vec::new(), |counted| counted.of(key)),
            http2: self.http2.as_ref().map(|http2| Box::new(http2.to(&target))),
            target,
            name: place.name,
            authority,
            pool: self.pool.clone(),
            keep_alive: self.keep_alive,
            announce: self.announce.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_keeps_its_key_however_many_come_and_go() {
        let keys = Keys::default();
        let identity = |n: u32| EndpointIdentity {
            address: Address::Tcp((std::net::Ipv4Addr::from(n), 80).into()),
            tls: None,
            source: Source::Any,
            announce: None,
            counted: None,
        };
        let first = keys.of(identity(0));
        for n in 1..3 * RECENT as u32 {
            assert_ne!(keys.of(identity(n)), first);
            if n % 1000 == 0 {
                assert_eq!(keys.of(identity(0)), first);
            }
        }
        let known = keys.0.lock().unwrap();
        assert!(known.recent.len() + known.older.len() <= 2 * RECENT);
    }
}
