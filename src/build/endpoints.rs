//! Pools, endpoints and TLS toward them; what of them outlives a reload.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use transom_balance::Pool;
use transom_balance::algorithm::Kind;
use transom_balance::members::{MemberSpec, Passive};
use transom_balance::pool;
use transom_net::tls::client::{ClientTls, Identity, Settings, server_name};
use transom_net::tls::server::TlsError;
use transom_net::tls::tickets::TicketKeys;
use transom_net::{Address, Target};
use transom_proxy::destination::{Destination, Endpoint, Http2, Http2Rules, KeepAlive, Single};
use transom_proxy::serve::ALPN_H2;
use transom_settings::{Diagnostic, EndpointAddress, EndpointHost, Name, Spanned, quote};

use super::tls::{HTTP_1_1, Place};
use super::{Build, always, optional};
use crate::config::{self, Algorithm, UpstreamHttp, UpstreamTls};
use crate::materials::Materials;

/// What goes on over reloads: ticket keys, the keys of endpoints, what names stood for.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// By the name of the listener.
    tickets: BTreeMap<String, Arc<TicketKeys>>,
    keys: HashMap<EndpointIdentity, u64>,
    /// What names stood for when they were last looked up with success.
    addresses: HashMap<String, IpAddr>,
    last_key: u64,
    /// What may be taken over, until the build is done.
    earlier: Option<Arc<Shared>>,
}

/// Everything that a connection is bound to: only connections to the same identity are ever used
/// in each other's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EndpointIdentity {
    address: Address,
    /// How TLS is made, and the name that is asked for.
    tls: Option<(Identity, String)>,
}

impl Shared {
    /// An empty one that takes over from `previous` what is asked for again.
    pub(super) fn following(previous: Option<&Shared>) -> Self {
        let earlier = previous.map(|previous| Arc::new(previous.clone()));
        let last_key = previous.map_or(0, |previous| previous.last_key);
        Shared { last_key, earlier, ..Shared::default() }
    }

    /// Forgets what was not taken over.
    pub(super) fn finished(mut self) -> Self {
        self.earlier = None;
        self
    }

    /// The keys that seal a listener's session tickets.
    pub(super) fn tickets(&mut self, listener: &str) -> Arc<TicketKeys> {
        let earlier = self.earlier.as_ref().and_then(|earlier| earlier.tickets.get(listener));
        let keys = earlier.cloned().unwrap_or_else(TicketKeys::new);
        self.tickets.entry(listener.to_owned()).or_insert(keys).clone()
    }

    /// The number of an endpoint: the same for the same identity, for ever.
    fn key(&mut self, identity: EndpointIdentity) -> u64 {
        if let Some(key) = self.keys.get(&identity) {
            return *key;
        }
        let earlier = self.earlier.as_ref().and_then(|earlier| earlier.keys.get(&identity));
        let key = earlier.copied().unwrap_or_else(|| {
            self.last_key += 1;
            self.last_key
        });
        self.keys.insert(identity, key);
        key
    }

    fn earlier_address(&self, host: &str) -> Option<IpAddr> {
        self.earlier.as_ref()?.addresses.get(host).copied()
    }
}

/// How TLS to endpoints is made.
#[derive(Clone)]
pub(super) struct Upstream {
    tls: Arc<ClientTls>,
    /// The name to ask for, where it is not the endpoint's.
    name: Option<String>,
}

/// What the endpoints of one destination have in common.
struct Common {
    pool: Arc<str>,
    tls: Option<Upstream>,
    http2: Option<Http2Offer>,
    keep_alive: KeepAlive,
}

/// How HTTP/2 is offered to the endpoints of one destination.
struct Http2Offer {
    /// TLS that offers it.
    tls: Option<Arc<ClientTls>>,
    required: bool,
    rules: Http2Rules,
}

impl Http2Offer {
    /// Nothing where it may not be spoken.
    fn new(http: UpstreamHttp, tls: Option<&Upstream>, rules: Http2Rules) -> Option<Self> {
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
        let target = Target { address: target.address.clone(), tls };
        Http2 { target, required: self.required, rules: self.rules }
    }
}

impl Build<'_> {
    pub(super) fn pool(&mut self, name: &Spanned<Name>, written: &config::Pool) {
        let at = format!("pools.{name}");
        let tls = match written.tls.on() {
            None => None,
            Some(settings) => match self.upstream(name, settings, &format!("{at}.tls")) {
                Some(tls) => Some(tls),
                None => return,
            },
        };
        let keep_alive = KeepAlive {
            idle: always(&written.keep_alive.idle),
            most: written.keep_alive.max_idle as usize,
            age: always(&written.keep_alive.age),
        };
        let http2 = Http2Rules {
            streams: usize::from(written.http2.streams.value),
            ping: optional(&written.http2.ping),
            ping_timeout: written.http2.ping_timeout.get(),
        };
        let http2 = Http2Offer::new(written.http.value, tls.as_ref(), http2);
        let common = Common { pool: Arc::from(&***name), tls, http2, keep_alive };
        let mut members = Vec::with_capacity(written.endpoints.len());
        for (index, endpoint) in written.endpoints.iter().enumerate() {
            let at = format!("{at}.endpoints[{index}]");
            if let Some(built) = self.endpoint(&endpoint.address, &common, &at) {
                let label =
                    |(name, value): (&Spanned<Name>, &String)| (name.to_string(), value.clone());
                members.push(MemberSpec {
                    endpoint: Arc::new(built),
                    weight: u32::from(endpoint.weight.value),
                    labels: endpoint.labels.iter().map(label).collect(),
                    zone: endpoint.zone.as_ref().map(|zone| Arc::from(&**zone)),
                    priority: endpoint.priority,
                });
            }
        }
        let earlier = self.previous.and_then(|previous| previous.pools.get(&***name));
        let upkeep = super::upkeep::upkeep(name, written, earlier.map(Arc::as_ref));
        let settings = pool::Settings {
            algorithm: match written.algorithm {
                Algorithm::RoundRobin => Kind::RoundRobin,
            },
            panic_threshold: written.panic_threshold.ratio(),
            passive: upkeep.care.outliers.clone().map(|outliers| outliers as Arc<dyn Passive>),
            care: upkeep.care,
            guard: upkeep.guard,
            allowance: upkeep.allowance,
            retries: upkeep.retries,
            ..pool::Settings::default()
        };
        let pool = Pool::new(&***name, members, settings, earlier.map(Arc::as_ref));
        self.pools.insert(name.to_string(), pool);
    }

    /// A destination of one address that stands where a pool could.
    pub(super) fn single(
        &mut self,
        tls: bool,
        address: &Spanned<EndpointAddress>,
        at: &str,
    ) -> Option<Arc<dyn Destination>> {
        let shown = match tls {
            true => format!("https://{}", address.value),
            false => address.to_string(),
        };
        let tls = match tls {
            true => Some(self.public_tls(address, at)?),
            false => None,
        };
        let http2 = Http2Offer::new(UpstreamHttp::Auto, tls.as_ref(), Http2Rules::default());
        let keep_alive = KeepAlive::default();
        let common = Common { pool: Arc::from(&*shown), tls, http2, keep_alive };
        Some(match self.endpoint(address, &common, at) {
            Some(endpoint) => Arc::new(Single::new(shown, endpoint)),
            // nothing to send to today: requests get `no-endpoint`
            None => Pool::new(shown, Vec::new(), pool::Settings::default(), None),
        })
    }

    /// TLS with the system's authorities and the name of the endpoint.
    fn public_tls(&mut self, address: &Spanned<EndpointAddress>, at: &str) -> Option<Upstream> {
        if self.public_tls.is_none() {
            let settings = Settings {
                roots: self.materials.system_roots(),
                alpn: vec![HTTP_1_1.to_vec()],
                ..Settings::default()
            };
            match ClientTls::build(&settings) {
                Ok(tls) => self.public_tls = Some(Upstream { tls: Arc::new(tls), name: None }),
                Err(error) => {
                    let hint = "make a pool for it, whose `tls` says what to trust";
                    self.error(address.span, at, error.to_string(), hint);
                }
            }
        }
        self.public_tls.clone()
    }

    fn upstream(&mut self, pool: &Spanned<Name>, tls: &UpstreamTls, at: &str) -> Option<Upstream> {
        let own = match &tls.client_certificate {
            Some(files) => Some(self.pem(&files.certificate, &files.key)?),
            None => None,
        };
        let settings = Settings {
            name: tls.name.as_ref().map(|name| name.value.clone()),
            roots: roots(self.materials, tls)?,
            identity: own,
            insecure_skip_verify: tls.insecure_skip_verify.value,
            alpn: vec![HTTP_1_1.to_vec()],
            ..Settings::default()
        };
        let error = match ClientTls::build(&settings) {
            Ok(built) => return Some(Upstream { tls: Arc::new(built), name: settings.name }),
            Err(error) => error,
        };
        match (&error, &tls.ca, &tls.client_certificate, &tls.name) {
            (TlsError::NoAuthority | TlsError::BadAuthority(_), Some(ca), ..) => {
                let hint = "give the file of the authorities that sign the endpoints' certificates";
                self.error(ca.span, format!("{at}.ca"), error.to_string(), hint);
            }
            (TlsError::Certificate(_), _, Some(files), _) => {
                let (certificate, key) = (files.certificate.span, files.key.span);
                let path = format!("{at}.client-certificate");
                self.certificate_error(&error, &Place { certificate, key, path });
            }
            (TlsError::BadName(_), _, _, Some(name)) => {
                let hint = "write the name that stands in the endpoints' certificates";
                self.error(name.span, format!("{at}.name"), error.to_string(), hint);
            }
            _ => self.error(pool.span, at, error.to_string(), "correct the settings of TLS"),
        }
        None
    }

    /// An endpoint; nothing where its name stands for no address, which is a warning: one that is
    /// missing must not keep the others from being served.
    fn endpoint(
        &mut self,
        written: &Spanned<EndpointAddress>,
        common: &Common,
        at: &str,
    ) -> Option<Endpoint> {
        let default_port = if common.tls.is_some() { 443 } else { 80 };
        let (address, authority, host) = match &written.value {
            EndpointAddress::Unix(path) => {
                if common.tls.is_some() {
                    let what = format!("TLS over {} is not supported", quote(&written.to_string()));
                    self.error(
                        written.span,
                        at,
                        what,
                        "use a plain socket, or an address with a port",
                    );
                    return None;
                }
                (Address::Unix(path.clone()), "localhost".to_owned(), String::new())
            }
            EndpointAddress::Tcp { host, port } => {
                let ip = match host {
                    EndpointHost::Ip(ip) => *ip,
                    EndpointHost::Name(name) => self.look_up(name, *port, written, at)?,
                };
                let shown = host.to_string();
                let authority = match *port == default_port {
                    true => shown.clone(),
                    false => format!("{shown}:{port}"),
                };
                (Address::Tcp(SocketAddr::new(ip, *port)), authority, shown)
            }
        };
        let mut identity = EndpointIdentity { address: address.clone(), tls: None };
        let mut tls = None;
        if let Some(upstream) = &common.tls {
            let name = upstream.name.clone().unwrap_or(host);
            match server_name(&name) {
                Ok(verified) => tls = Some((upstream.tls.clone(), verified)),
                Err(error) => {
                    let hint = "set `tls.name` to the name in its certificate";
                    self.error(written.span, at, error.to_string(), hint);
                    return None;
                }
            }
            identity.tls = Some((upstream.tls.identity(), name));
        }
        let target = Target { address, tls };
        Some(Endpoint {
            key: self.shared.key(identity),
            http2: common.http2.as_ref().map(|http2| Box::new(http2.to(&target))),
            target,
            name: written.to_string(),
            authority,
            pool: common.pool.clone(),
            keep_alive: common.keep_alive,
        })
    }

    /// The address a name stands for: the first of IPv4, else the first.
    fn look_up(
        &mut self,
        host: &str,
        port: u16,
        written: &Spanned<EndpointAddress>,
        at: &str,
    ) -> Option<IpAddr> {
        if let Some(known) = self.shared.addresses.get(host) {
            return Some(*known);
        }
        let found: Vec<SocketAddr> =
            (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
        let earlier = self.shared.earlier_address(host);
        if first.is_none() {
            let name = quote(host);
            let (what, hint) = match earlier {
                Some(ip) => (
                    format!("the name {name} is not known any more, it stays at {ip}"),
                    "correct the name, or reload once it can be looked up",
                ),
                None => (
                    format!("the name {name} is not known, nothing is sent there"),
                    "correct the name, write an IP address, or reload once it can be looked up",
                ),
            };
            self.findings.push(Diagnostic::warning(written.span, at, what).hint(hint));
        }
        let ip = first.map(|address| address.ip()).or(earlier)?;
        self.shared.addresses.insert(host.to_owned(), ip);
        Some(ip)
    }
}

fn roots(materials: &Materials, tls: &UpstreamTls) -> Option<transom_net::tls::client::Roots> {
    use transom_net::tls::client::Roots;
    match &tls.ca {
        Some(ca) => Some(Roots::Own(materials.file(ca)?.to_vec())),
        None => Some(materials.system_roots()),
    }
}
