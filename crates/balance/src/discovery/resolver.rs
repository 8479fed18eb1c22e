//! Asks DNS: addresses of names, and services by SRV (RFC 2782).
//!
//! The servers are those of the system, or those of the configuration. Nothing is kept here: who
//! asks keeps an answer as long as its TTL says. Names of the system's hosts file come first, and a
//! name that means this machine is not asked of anybody. Addresses to which nothing may be sent
//! because a stranger's DNS says so (this machine, its link, nobody) are taken out of answers from
//! the network, whichever way they are told ([`super::answer`], U-09).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, Resolver as Hickory};
use ipnet::IpNet;

use super::answer::{self, Found, REFUSED, Service};

/// Questions for the same name are never closer together.
const APART: Duration = Duration::from_millis(20);

/// Which addresses of a name are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// IPv4, or IPv6 where there is no IPv4.
    #[default]
    PreferIpv4,
    /// IPv6, or IPv4 where there is no IPv6.
    PreferIpv6,
    Ipv4,
    Ipv6,
    Both,
}

/// How DNS is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Empty: those of the system.
    pub servers: Vec<SocketAddr>,
    pub family: Family,
    /// The least and the most an answer is kept, whatever its TTL.
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// Until a server is asked again or another one is.
    pub timeout: Duration,
    /// Whether names of the system's hosts file come first.
    pub hosts: bool,
    /// What is not taken from an answer.
    pub refuse: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            servers: Vec::new(),
            family: Family::default(),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
            hosts: true,
            refuse: REFUSED.iter().filter_map(|block| block.parse().ok()).collect(),
        }
    }
}

impl Settings {
    /// How long an answer is kept that says so.
    pub fn kept(&self, ttl: Duration) -> Duration {
        ttl.max(self.least()).min(self.max_ttl.max(self.least()))
    }

    /// The least time between two questions for the same name: a name whose TTL is zero, or that fails at
    /// once, is not asked for without end, whatever the configuration says.
    pub fn least(&self) -> Duration {
        self.min_ttl.max(APART)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// DNS says that there is nothing.
    #[error("{0}")]
    Nothing(String),
    /// Nobody answered, or wrongly.
    #[error("{0}")]
    Failed(String),
}

/// Asks DNS, over the sockets of `P`. To be used on one runtime.
pub struct Resolver<P: RuntimeProvider = TokioRuntimeProvider> {
    settings: Settings,
    sockets: P,
    inner: Mutex<Option<Arc<Inner<P>>>>,
}

/// Made of what the system says, and made again when that has changed.
struct Inner<P: RuntimeProvider> {
    resolver: Hickory<P>,
    hosts: Hosts,
    stamps: [Option<SystemTime>; 2],
}

impl Resolver {
    pub fn new(settings: Settings) -> Self {
        Self::over(settings, TokioRuntimeProvider::default())
    }
}

impl<P: RuntimeProvider> Resolver<P> {
    pub fn over(settings: Settings, sockets: P) -> Self {
        Resolver { settings, sockets, inner: Mutex::new(None) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn addresses(&self, name: &str) -> Result<Found<IpAddr>, NoAnswer> {
        let inner = self.inner()?;
        if let Some(found) = inner.here(name, self.settings.family) {
            let found = answer::addresses(found.into_iter());
            return Ok(Found { found, ttl: self.settings.kept(Duration::MAX) });
        }
        let asked = inner.resolver.lookup_ip(name);
        let told = match tokio::time::timeout(self.patience(), asked).await {
            Err(_) => return Err(NoAnswer::Failed("DNS does not answer".into())),
            Ok(told) => told.map_err(|error| why(&error))?,
        };
        // Not only of records: an alias of `localhost` is followed without anybody being asked.
        let may = |ip: &IpAddr| !answer::is_refused(&self.settings.refuse, *ip);
        let found = answer::addresses(told.iter().filter(may));
        if found.is_empty() {
            return Err(NoAnswer::Nothing("DNS knows no address that may be used".into()));
        }
        Ok(Found { found, ttl: self.ttl(told.valid_until()) })
    }

    /// The services behind a name such as `_http._tcp.shop.example`.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn services(&self, name: &str) -> Result<Found<Service>, NoAnswer> {
        let inner = self.inner()?;
        let asked = inner.resolver.srv_lookup(name);
        let told = match tokio::time::timeout(self.patience(), asked).await {
            Err(_) => return Err(NoAnswer::Failed("DNS does not answer".into())),
            Ok(told) => told.map_err(|error| why(&error))?,
        };
        // What this machine calls its own it does not call so for strangers.
        let may = |host: &str| {
            let here = inner.here(host, Family::Both).unwrap_or_default();
            !here.into_iter().any(|ip| answer::is_refused(&self.settings.refuse, ip))
        };
        let found = answer::services(told.answers(), may);
        if found.is_empty() {
            return Err(NoAnswer::Nothing("DNS knows no such service that may be used".into()));
        }
        Ok(Found { found, ttl: self.ttl(told.valid_until()) })
    }

    /// All tries of all servers together.
    fn patience(&self) -> Duration {
        self.settings.timeout * 3
    }

    fn ttl(&self, valid_until: Instant) -> Duration {
        let left = valid_until.saturating_duration_since(Instant::now());
        self.settings.kept(left)
    }

    fn inner(&self) -> Result<Arc<Inner<P>>, NoAnswer> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = ["/etc/resolv.conf", "/etc/hosts"].map(modified);
        if let Some(inner) = inner.as_ref().filter(|inner| inner.stamps == stamps) {
            return Ok(inner.clone());
        }
        let resolver = self.make().map_err(|e| NoAnswer::Failed(format!("no DNS server: {e}")))?;
        let hosts = match self.settings.hosts {
            true => Hosts::from_system().unwrap_or_default(),
            false => Hosts::default(),
        };
        let made = Arc::new(Inner { resolver, hosts, stamps });
        *inner = Some(made.clone());
        Ok(made)
    }

    fn make(&self) -> Result<Hickory<P>, NetError> {
        let sockets = self.sockets.clone();
        let mut builder = match &*self.settings.servers {
            [] => Hickory::builder(sockets)?,
            servers => {
                let servers = servers.iter().map(server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                Hickory::builder_with_config(config, sockets)
            }
        };
        let options = builder.options_mut();
        options.timeout = self.settings.timeout;
        options.attempts = 1;
        options.cache_size = 0;
        options.case_randomization = false;
        // They are ours to ask: not for what an alias leads to.
        options.use_hosts_file = ResolveHosts::Never;
        options.deny_answers = self.settings.refuse.clone();
        options.ip_strategy = match self.settings.family {
            Family::PreferIpv4 => LookupIpStrategy::Ipv4thenIpv6,
            Family::PreferIpv6 => LookupIpStrategy::Ipv6thenIpv4,
            Family::Ipv4 => LookupIpStrategy::Ipv4Only,
            Family::Ipv6 => LookupIpStrategy::Ipv6Only,
            Family::Both => LookupIpStrategy::Ipv4AndIpv6,
        };
        builder.build()
    }
}

impl<P: RuntimeProvider> Inner<P> {
    /// What a name means without DNS: by the hosts file, or since it is this machine's.
    fn here(&self, name: &str, family: Family) -> Option<Vec<IpAddr>> {
        let mut found = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let Ok(name) = Name::from_utf8(name) else { continue };
            let written = self.hosts.lookup_static_host(&Query::query(name, kind));
            let written = written.iter().flat_map(|lookup| lookup.answers());
            found.extend(written.filter_map(|record| record.data.ip_addr()));
        }
        if found.is_empty() && answer::is_localhost(name) {
            found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let found = answer::of_family(found, family);
        (!found.is_empty()).then_some(found)
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut way| {
        way.port = address.port();
        way
    });
    NameServerConfig::new(address.ip(), true, ways.into())
}

fn modified(path: &str) -> Option<SystemTime> {
    std::fs::metadata(Path::new(path)).and_then(|found| found.modified()).ok()
}

fn why(error: &NetError) -> NoAnswer {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let code = none.response_code;
            NoAnswer::Nothing(format!("DNS answers {code} without an address"))
        }
        other => NoAnswer::Failed(format!("DNS: {other}")),
    }
}
