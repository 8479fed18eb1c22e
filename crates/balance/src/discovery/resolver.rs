//! Asks DNS: addresses of names, and services by SRV (RFC 2782).
//!
//! The servers are those of the system, or those of the configuration. Nothing is kept here: who
//! asks keeps an answer as long as its TTL says. Names of the system's hosts file come first.
//! Addresses to which nothing may be sent because a stranger's DNS says so (this machine, its link,
//! nobody) are taken out of answers from the network (U-09).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver as Hickory, TokioResolver};
use ipnet::IpNet;

/// Most addresses or services that are taken of one answer.
pub const MOST: usize = 1000;

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

/// This machine, its link, many at once, and nobody: nowhere that DNS could rightly send a request.
pub const REFUSED: [&str; 10] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "fe80::/10",
    "ff00::/8",
];

/// An answer, and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    pub found: Vec<T>,
    /// Within the least and the most of the settings.
    pub ttl: Duration,
}

/// One service of an SRV answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub host: String,
    pub port: u16,
    pub priority: u16,
    pub weight: u16,
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

/// Asks DNS. To be used on one runtime.
pub struct Resolver {
    settings: Settings,
    inner: Mutex<Option<Inner>>,
}

/// Made of what the system says, and made again when that has changed.
struct Inner {
    resolver: Arc<TokioResolver>,
    stamps: [Option<SystemTime>; 2],
}

impl Resolver {
    pub fn new(settings: Settings) -> Self {
        Resolver { settings, inner: Mutex::new(None) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn addresses(&self, name: &str) -> Result<Found<IpAddr>, NoAnswer> {
        let resolver = self.resolver()?;
        let asked = resolver.lookup_ip(name);
        let answer = match tokio::time::timeout(self.patience(), asked).await {
            Err(_) => return Err(NoAnswer::Failed("DNS does not answer".into())),
            Ok(answer) => answer.map_err(|error| why(&error))?,
        };
        let mut found: Vec<IpAddr> = answer.iter().map(|ip| ip.to_canonical()).collect();
        // DNS gives them in any order: what is the same must look the same
        found.sort_unstable();
        found.dedup();
        found.truncate(MOST);
        if found.is_empty() {
            return Err(NoAnswer::Nothing("DNS knows no address that may be used".into()));
        }
        Ok(Found { found, ttl: self.ttl(answer.valid_until()) })
    }

    /// The services behind a name such as `_http._tcp.shop.example`.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn services(&self, name: &str) -> Result<Found<Service>, NoAnswer> {
        let resolver = self.resolver()?;
        let asked = resolver.srv_lookup(name);
        let answer = match tokio::time::timeout(self.patience(), asked).await {
            Err(_) => return Err(NoAnswer::Failed("DNS does not answer".into())),
            Ok(answer) => answer.map_err(|error| why(&error))?,
        };
        let services = answer.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Service {
                host: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        });
        // a target of `.` says that the service is decidedly not there
        let mut found: Vec<Service> =
            services.filter(|one| !one.host.is_empty() && one.port != 0).take(MOST).collect();
        found.sort_by(|a, b| (a.priority, &a.host, a.port).cmp(&(b.priority, &b.host, b.port)));
        if found.is_empty() {
            return Err(NoAnswer::Nothing("DNS knows no such service".into()));
        }
        Ok(Found { found, ttl: self.ttl(answer.valid_until()) })
    }

    /// All tries of all servers together.
    fn patience(&self) -> Duration {
        self.settings.timeout * 3
    }

    fn ttl(&self, valid_until: Instant) -> Duration {
        let left = valid_until.saturating_duration_since(Instant::now());
        left.max(self.settings.min_ttl).min(self.settings.max_ttl.max(self.settings.min_ttl))
    }

    fn resolver(&self) -> Result<Arc<TokioResolver>, NoAnswer> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = ["/etc/resolv.conf", "/etc/hosts"].map(modified);
        if let Some(inner) = inner.as_ref().filter(|inner| inner.stamps == stamps) {
            return Ok(inner.resolver.clone());
        }
        let made = self.make().map_err(|e| NoAnswer::Failed(format!("no DNS server: {e}")))?;
        let resolver = Arc::new(made);
        *inner = Some(Inner { resolver: resolver.clone(), stamps });
        Ok(resolver)
    }

    fn make(&self) -> Result<TokioResolver, NetError> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match &*self.settings.servers {
            [] => Hickory::builder(provider)?,
            servers => {
                let servers = servers.iter().map(server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                Hickory::builder_with_config(config, provider)
            }
        };
        let options = builder.options_mut();
        options.timeout = self.settings.timeout;
        options.attempts = 1;
        options.cache_size = 0;
        options.case_randomization = false;
        options.use_hosts_file =
            if self.settings.hosts { ResolveHosts::Always } else { ResolveHosts::Never };
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
