//! Pools, endpoints and TLS toward them; what of them outlives a reload.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use transom_balance::affinity::random_secret;
use transom_balance::discovery::roster::{self, Make, Plan};
use transom_balance::discovery::subsetting::Subsetting;
use transom_balance::discovery::{Listed, Roster};
use transom_balance::members::{MemberSpec, Passive};
use transom_balance::scale::Scaled;
use transom_balance::{Pool, pool};
use transom_gateway::Kept;
use transom_gateway::consumer::Stored;
use transom_gateway::limit::ledger::Ledgers;
use transom_gateway::token::revoked::Revoked;
use transom_net::proxy_protocol::Version;
use transom_net::tls::client::{ClientTls, Settings};
use transom_net::tls::server::TlsError;
use transom_net::tls::tickets::TicketKeys;
use transom_net::{Address, Source};
use transom_proxy::announce::{Announce, Fact};
use transom_proxy::destination::{Destination, Http2Rules, KeepAlive, Single};
use transom_settings::{EndpointAddress, EndpointHost, Name, Spanned};

use super::connections::{self, Connections};
use super::limits::{always, optional};
use super::maker::{Http2Offer, Keys, Maker, Upstream};
use super::tls::{HTTP_1_1, Place};
use super::{Build, balancing, sources};
use crate::config::{self, ConnectFrom, UpstreamHttp, UpstreamTls};
use crate::materials::Materials;
use crate::store::Opened;

/// What goes on over reloads: ticket keys, the keys of endpoints, what cookies are signed with.
#[derive(Clone, Default)]
pub struct Shared {
    /// By the name of the listener.
    tickets: BTreeMap<String, Arc<TicketKeys>>,
    keys: Arc<Keys>,
    /// How many connections are open, of pools that limit them.
    connections: connections::ByPool,
    cookie_secret: Option<Arc<[u8; 32]>>,
    /// Consumers and keys that were made while the program runs.
    stored: Arc<Stored>,
    /// The store in which that survives, once it is open.
    opened: Opened,
    /// Tokens that were revoked while the program runs.
    revoked: Arc<Revoked>,
    /// What was used of quotas.
    ledgers: Arc<Ledgers>,
    /// What policies have.
    kept: Kept,
    /// What may be taken over, until the build is done.
    earlier: Option<Arc<Shared>>,
}

impl Shared {
    /// An empty one that takes over from `previous` what is asked for again.
    pub(super) fn following(previous: Option<&Shared>) -> Self {
        let earlier = previous.map(|previous| Arc::new(previous.clone()));
        let keys = previous.map(|previous| previous.keys.clone()).unwrap_or_default();
        let kept = Kept::following(previous.map(|previous| &previous.kept));
        let stored = previous.map(|previous| previous.stored.clone()).unwrap_or_default();
        let revoked = previous.map(|previous| previous.revoked.clone()).unwrap_or_default();
        let opened = previous.map(|previous| previous.opened.clone()).unwrap_or_default();
        let ledgers = previous.map(|previous| previous.ledgers.clone()).unwrap_or_default();
        Shared { keys, kept, stored, opened, revoked, ledgers, earlier, ..Shared::default() }
    }

    /// Forgets what was not taken over.
    pub(super) fn finished(mut self) -> Self {
        self.earlier = None;
        self.kept = self.kept.finished();
        self
    }

    /// Consumers and keys that were made while the program runs.
    pub fn stored(&self) -> Arc<Stored> {
        self.stored.clone()
    }

    /// Where the store will stand, or does.
    pub fn opened(&self) -> Opened {
        self.opened.clone()
    }

    /// Tokens that were revoked while the program runs.
    pub fn revoked(&self) -> Arc<Revoked> {
        self.revoked.clone()
    }

    /// What was used of quotas.
    pub fn ledgers(&self) -> Arc<Ledgers> {
        self.ledgers.clone()
    }

    /// What policies have.
    pub(super) fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }

    /// How many connections the members of a pool may have.
    fn connections(&mut self, pool: &str, limits: &config::PoolLimits) -> Option<Arc<Connections>> {
        let earlier = self.earlier.as_ref().and_then(|earlier| earlier.connections.get(pool));
        let connections = Connections::following(earlier.cloned(), limits)?;
        self.connections.insert(pool.to_owned(), connections.clone());
        Some(connections)
    }

    /// Those that the members of a pool have together.
    pub(super) fn connections_of(&self, pool: &str) -> Option<&Arc<Connections>> {
        self.connections.get(pool)
    }

    /// The keys that seal a listener's session tickets.
    pub(super) fn tickets(&mut self, listener: &str) -> Arc<TicketKeys> {
        let earlier = self.earlier.as_ref().and_then(|earlier| earlier.tickets.get(listener));
        let keys = earlier.cloned().unwrap_or_else(TicketKeys::new);
        self.tickets.entry(listener.to_owned()).or_insert(keys).clone()
    }

    /// What cookies are signed with that have no secret of their own: the same while the program
    /// runs.
    pub(super) fn cookie_secret(&mut self) -> Arc<[u8; 32]> {
        let earlier = self.earlier.as_ref().and_then(|earlier| earlier.cookie_secret.clone());
        let secret = self.cookie_secret.take().or(earlier);
        let secret = secret.unwrap_or_else(|| Arc::new(random_secret()));
        self.cookie_secret.insert(secret).clone()
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
        let http2 = match written.is_bound_to_clients() {
            // Many exchanges share a connection of HTTP/2, and here each client has its own.
            true => None,
            false => Http2Offer::new(written.http.value, tls.as_ref(), http2),
        };
        let maker = Maker {
            pool: Arc::from(&***name),
            tls,
            http2,
            keep_alive,
            source: self.connect_from(&written.connect_from, &at),
            announce: written.proxy_protocol.as_ref().map(announce),
            connections: self.shared.connections(name, &written.limits),
            keys: self.shared.keys.clone(),
        };
        let mut listed = Vec::with_capacity(written.endpoints.len());
        for (index, endpoint) in written.endpoints.iter().enumerate() {
            let at = format!("{at}.endpoints[{index}]");
            if let Some(one) = self.listed(&maker, &endpoint.address, &at) {
                listed.push(Listed {
                    weight: u32::from(endpoint.weight.value),
                    labels: balancing::labels(&endpoint.labels),
                    zone: endpoint.zone.as_ref().map(ToString::to_string),
                    priority: endpoint.priority,
                    ..one
                });
            }
        }
        let earlier = self.earlier_roster(name);
        let before = earlier.as_ref().map(|earlier| &**earlier.pool());
        let upkeep = super::upkeep::upkeep(name, written, before);
        let affinity = written.affinity.as_ref().map(|affinity| self.affinity(affinity));
        let settings = pool::Settings {
            passive: upkeep.care.outliers.clone().map(|outliers| outliers as Arc<dyn Passive>),
            care: upkeep.care,
            guard: upkeep.guard,
            allowance: upkeep.allowance,
            retries: upkeep.retries,
            ..balancing::settings(written, self.config.zone.as_deref(), affinity)
        };
        let (sources, registrations) = self.sources(name, written, earlier.as_deref());
        let plan = Plan {
            name: name.to_string(),
            pool: self.pool_of(name, settings),
            written: listed,
            sources,
            registrations,
            scaler: self.scaler(name, written.scale.as_ref(), earlier.as_deref()),
            allow_empty: written.allow_empty,
            subsetting: self.subsetting(written),
            make: Arc::new(maker),
            names: self.names.clone(),
            tell: sources::tell(),
        };
        let roster = Roster::new(plan, earlier.as_deref());
        if let Some(scaler) = &roster.scaler {
            let scaled = Scaled::new(roster.pool(), scaler.clone());
            self.scaled.insert(name.to_string(), Arc::new(scaled));
        }
        self.pools.insert(name.to_string(), roster.pool().clone());
        self.rosters.insert(name.to_string(), roster);
    }

    /// Makes a pool of its first members, going on where an earlier one stands.
    fn pool_of(
        &self,
        name: &str,
        settings: pool::Settings,
    ) -> Box<dyn FnOnce(Vec<MemberSpec>) -> Arc<Pool>> {
        let name = name.to_owned();
        let earlier = self.earlier_roster(&name).map(|roster| roster.pool().clone());
        Box::new(move |specs| Pool::new(name, specs, settings, earlier.as_deref()))
    }

    fn subsetting(&self, written: &config::Pool) -> Option<Subsetting> {
        let size = written.subsetting.value.get()? as usize;
        Some(Subsetting { size, instance: self.config.instance? })
    }

    fn earlier_roster(&self, name: &str) -> Option<Arc<Roster>> {
        self.previous?.rosters.get(name).cloned()
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
        let (pool, keep_alive) = (Arc::from(&*shown), KeepAlive::default());
        let http2 = Http2Offer::new(UpstreamHttp::Auto, tls.as_ref(), Http2Rules::default());
        let keys = self.shared.keys.clone();
        let (source, announce, connections) = (Source::Any, None, None);
        let maker = Maker { pool, tls, http2, keep_alive, source, announce, connections, keys };
        let listed = self.listed(&maker, address, at)?;
        let fixed = match &address.value {
            EndpointAddress::Unix(path) => Some(Address::Unix(path.clone())),
            EndpointAddress::Tcp { host: EndpointHost::Ip(ip), port } => {
                Some(Address::Tcp(SocketAddr::new(*ip, *port)))
            }
            EndpointAddress::Tcp { host: EndpointHost::Name(_), .. } => None,
        };
        if let Some(fixed) = fixed {
            let name = address.to_string();
            let place = roster::Place { address: fixed, written: &address.value, name };
            return match maker.endpoint(place) {
                Ok(endpoint) => Some(Arc::new(Single::new(shown, endpoint))),
                Err(what) => {
                    self.error(address.span, at, what, "correct the address");
                    None
                }
            };
        }
        // a name is as many endpoints as it has addresses, which may change
        if let Some(roster) = self.rosters.get(&shown) {
            return Some(roster.pool().clone());
        }
        let plan = Plan {
            pool: self.pool_of(&shown, pool::Settings::default()),
            name: shown.clone(),
            written: vec![listed],
            sources: Vec::new(),
            registrations: None,
            scaler: None,
            allow_empty: false,
            subsetting: None,
            make: Arc::new(maker),
            names: self.names.clone(),
            tell: sources::tell(),
        };
        let roster = Roster::new(plan, self.earlier_roster(&shown).as_deref());
        let pool = roster.pool().clone();
        self.rosters.insert(shown, roster);
        Some(pool)
    }

    /// Where connections to the endpoints of a pool come from.
    fn connect_from(&mut self, written: &Spanned<ConnectFrom>, at: &str) -> Source {
        match written.value {
            ConnectFrom::Any => Source::Any,
            ConnectFrom::Ip(ip) => Source::Address(ip),
            ConnectFrom::Client => {
                if let Err(error) = transom_net::dial::may_be_transparent() {
                    let what = format!("`client` cannot be used: {error}");
                    let hint = "give CAP_NET_ADMIN (`setcap cap_net_admin=+ep`, or \
                                AmbientCapabilities= in the unit), or use `proxy-protocol`";
                    self.error(written.span, format!("{at}.connect-from"), what, hint);
                }
                Source::Client
            }
        }
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
            alpn: match self.is_relayed_to(pool) {
                true => Vec::new(),
                false => vec![HTTP_1_1.to_vec()],
            },
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
}

fn announce(written: &config::SendProxyProtocol) -> Announce {
    use config::{ProxyFact, ProxyVersion};
    let fact = |fact: &ProxyFact| match fact {
        ProxyFact::Authority => Fact::Authority,
        ProxyFact::Alpn => Fact::Alpn,
        ProxyFact::Ssl => Fact::Ssl,
        ProxyFact::UniqueId => Fact::UniqueId,
        ProxyFact::Checksum => Fact::Checksum,
    };
    let version = match written.version.value {
        ProxyVersion::V1 => Version::One,
        ProxyVersion::V2 => Version::Two,
    };
    Announce { version, facts: written.tlvs.iter().map(fact).collect() }
}

fn roots(materials: &Materials, tls: &UpstreamTls) -> Option<transom_net::tls::client::Roots> {
    use transom_net::tls::client::Roots;
    match &tls.ca {
        Some(ca) => Some(Roots::Own(materials.file(ca)?.to_vec())),
        None => Some(materials.system_roots()),
    }
}
