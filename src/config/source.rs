//! Settings of where endpoints come from besides the file, and of how names are looked up.

use std::fmt;
use std::path::PathBuf;

use transom_settings::{
    Cidr, Duration, EndpointAddress, EndpointHost, FromText, ListenAddress, OneOrMany, Refusal,
    Secret, Spanned,
    json::{Value as Json, json},
    quote, settings,
};

settings! {
    /// Where endpoints come from while Transom runs.
    pub choice Source {
        /// A file with a list of endpoints, read again when it has changed: `file: orders.yaml`.
        "file" => File(FileSource),
        /// Hosts, ports, weights and priorities from DNS: `srv: _http._tcp.orders.example`.
        "srv" => Srv(SrvSource),
        /// Containers with a label: `docker: { label: transom.pool=orders }`.
        "docker" => Docker(DockerSource),
        /// Keys below a prefix of etcd, each of which is an endpoint.
        "etcd" => Etcd(EtcdSource),
        /// Instances of a service in Consul's catalogue: `consul: orders`.
        "consul" => Consul(ConsulSource),
        /// Endpoints that register themselves at the admin interface.
        "registration" => Registration(RegistrationSource),
    }

    /// A file with a list of endpoints, in YAML or JSON.
    pub struct FileSource short(path) {
        /// The file. It need not be there yet.
        pub path: Spanned<PathBuf>,
        /// How often it is looked at.
        pub every: Spanned<Duration> = Duration::milliseconds(500).into(),
    }

    /// Services by SRV records (RFC 2782).
    pub struct SrvSource short(name) {
        /// The name of the service, such as `_http._tcp.orders.example`.
        pub name: Spanned<String>,
    }

    /// Containers of Docker, or of Podman.
    pub struct DockerSource short(label) {
        /// The label that containers of this pool have: `name` or `name=value`.
        pub label: Spanned<String>,
        /// Where Docker answers: `unix:/path`, or an address.
        pub server: Spanned<RegistryServer> = RegistryServer::docker().into(),
        /// The port inside containers that have no label `transom.port`. By default the only one
        /// that they expose.
        pub port: Option<u16> = None,
        /// The network whose addresses are used, where containers are in several.
        pub network: Option<String> = None,
        /// Use the ports that are published on this machine instead of the containers' own.
        pub published: bool = false,
    }

    /// etcd, version 3.4 or newer.
    pub struct EtcdSource short(prefix) {
        /// The prefix of the keys. Each value is an address, or a map as in a file.
        pub prefix: Spanned<String>,
        /// The members of etcd; the next is asked when one fails.
        pub servers: OneOrMany<Spanned<RegistryServer>> = RegistryServer::local(2379).into(),
        /// Whom to be for etcd.
        pub user: Option<String> = None,
        /// What proves it.
        pub password: Option<Secret> = None,
        /// The PEM file of the authorities that are trusted. By default those of the system.
        pub ca: Option<Spanned<PathBuf>> = None,
    }

    /// Consul.
    pub struct ConsulSource short(service) {
        /// The name of the service.
        pub service: Spanned<String>,
        /// An agent.
        pub server: Spanned<RegistryServer> = RegistryServer::local(8500).value.into(),
        /// Only instances that have all of these tags.
        pub tags: Vec<String> = Vec::new(),
        /// The data centre, where it is not the agent's own.
        pub datacenter: Option<String> = None,
        /// Only instances all of whose checks pass.
        pub passing: bool = true,
        /// The token of an access list.
        pub token: Option<Secret> = None,
        /// The PEM file of the authorities that are trusted. By default those of the system.
        pub ca: Option<Spanned<PathBuf>> = None,
    }

    /// Registration by the endpoints themselves.
    pub struct RegistrationSource {
        /// How long one that does not say otherwise stays without registering again.
        pub ttl: Duration = Duration::seconds(15),
        /// How many may be registered at once.
        pub most: u32 = 1000,
        /// With what an endpoint proves at the admin address that it may register for this pool, of at
        /// least 16 characters. It opens nothing else there.
        pub token: Option<Spanned<Secret>> = None,
    }

    /// How names of endpoints are looked up.
    pub struct Resolver {
        /// DNS servers, such as `10.0.0.2:53`. By default those of the system.
        pub servers: Vec<Spanned<ListenAddress>> = Vec::new(),
        /// Which addresses of a name are used.
        pub family: Family = Family::PreferIpv4,
        /// The least that an answer is kept, whatever its TTL; never less than 20 ms.
        pub min_ttl: Duration = Duration::seconds(5),
        /// The most that an answer is kept, whatever its TTL.
        pub max_ttl: Duration = Duration::minutes(5),
        /// Until a server that does not answer is asked again.
        pub timeout: Spanned<Duration> = Duration::seconds(2).into(),
        /// Whether the names in the system's hosts file come first.
        pub hosts: bool = true,
        /// Addresses that are never taken from an answer: by default this machine's own, those of
        /// its link, multicast and what is nobody's.
        pub refuse: Option<Vec<Cidr>> = None,
    }

    /// Which addresses of a name are used.
    pub enum Family {
        /// IPv4; IPv6 where there is no IPv4.
        PreferIpv4 = "prefer-ipv4",
        /// IPv6; IPv4 where there is no IPv6.
        PreferIpv6 = "prefer-ipv6",
        /// IPv4 alone.
        Ipv4 = "ipv4",
        /// IPv6 alone.
        Ipv6 = "ipv6",
        /// All.
        Both = "both",
    }
}

/// Where a registry answers: `http://10.0.0.3:2379`, `https://...` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryServer {
    pub tls: bool,
    pub address: EndpointAddress,
    /// In front of every path that is asked for.
    pub prefix: String,
}

impl RegistryServer {
    /// Docker's own socket.
    pub fn docker() -> Self {
        let address = EndpointAddress::Unix("/var/run/docker.sock".into());
        RegistryServer { tls: false, address, prefix: String::new() }
    }

    fn local(port: u16) -> Spanned<Self> {
        let host = EndpointHost::Ip(std::net::Ipv4Addr::LOCALHOST.into());
        let address = EndpointAddress::Tcp { host, port };
        RegistryServer { tls: false, address, prefix: String::new() }.into()
    }
}

impl FromText for RegistryServer {
    const WHAT: &'static str = "a URL such as `http://127.0.0.1:2379`, or `unix:/path`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let plain = |address| RegistryServer { tls: false, address, prefix: String::new() };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme != "unix" => (scheme, rest),
            _ => return EndpointAddress::from_text(text).map(plain),
        };
        let refuse = |why: &str| Refusal::new(format!("{} cannot be asked: {why}", quote(text)));
        let (tls, default) = match scheme {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(refuse("only `http://`, `https://` and `unix:` are known")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(refuse("it has a user").hint("set `user` and `password`, or `token`"));
        }
        if rest.contains(['?', '#']) || path.bytes().any(|c| c <= b' ' || c == 0x7f) {
            return Err(refuse("only a path may follow the address"));
        }
        let bare = !authority.ends_with(']') && authority.contains(':');
        let address = match bare {
            true => EndpointAddress::from_text(authority)?,
            false => {
                EndpointAddress::Tcp { host: EndpointHost::from_text(authority)?, port: default }
            }
        };
        let path = path.trim_end_matches('/');
        let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(RegistryServer { tls, address, prefix })
    }

    fn schema() -> Json {
        json!({
            "type": "string",
            "examples": ["http://127.0.0.1:2379", "https://etcd.internal:2379", "unix:/run/docker.sock"],
        })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for RegistryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RegistryServer { tls, address, prefix } = self;
        match address {
            EndpointAddress::Unix(_) => address.fmt(f),
            _ => write!(f, "{}://{address}{prefix}", if *tls { "https" } else { "http" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_registry_answers() {
        for (text, expected) in [
            ("http://127.0.0.1:2379", Ok("http://127.0.0.1:2379")),
            ("https://etcd.internal", Ok("https://etcd.internal:443")),
            ("http://gate/consul/", Ok("http://gate:80/consul")),
            ("http://[::1]", Ok("http://[::1]:80")),
            ("10.0.0.1:80", Ok("http://10.0.0.1:80")),
            ("unix:/run/docker.sock", Ok("unix:/run/docker.sock")),
            ("unix:///run/docker.sock", Ok("unix:/run/docker.sock")),
            ("ftp://a", Err("only `http://`")),
            ("file:///etc/passwd", Err("only `http://`")),
            ("http://u@a", Err("it has a user")),
            ("http://a/?x", Err("only a path")),
            ("http://a:0", Err("the port is zero")),
        ] {
            match (RegistryServer::from_text(text), expected) {
                (Ok(server), Ok(shown)) => assert_eq!(server.to_string(), shown),
                (Err(refusal), Err(why)) => assert!(refusal.what.contains(why), "{refusal}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
