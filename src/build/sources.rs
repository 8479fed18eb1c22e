//! Where the endpoints of a pool come from: what the file lists, and the sources it names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use transom_balance::discovery::call::Server;
use transom_balance::discovery::consul::Consul;
use transom_balance::discovery::docker::Docker;
use transom_balance::discovery::etcd::Etcd;
use transom_balance::discovery::file::File;
use transom_balance::discovery::names::Names;
use transom_balance::discovery::registered::{Registration, Registrations};
use transom_balance::discovery::roster::{Remark, Tell};
use transom_balance::discovery::{self, Listed, Resolver, Roster, resolver, srv};
use transom_net::Background;
use transom_net::tls::client::{ClientTls, Roots, Settings};
use transom_settings::{Diagnostic, EndpointAddress, EndpointHost, Name, Span, Spanned, quote};

use super::{Build, Snapshot};
use crate::config::{self, Family, RegistryServer, Source};
use crate::log;

/// What a source is asked by, before it stands in the roster of a pool.
pub(super) type Named = (String, Box<dyn discovery::Source>);

/// A source or name of a pool, and where the file says so.
#[derive(PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) pool: String,
    pub(super) source: String,
    pub(super) place: Span,
    pub(super) path: String,
}

impl Build<'_> {
    /// An endpoint as the file lists it. What is wrong with it is found.
    pub(super) fn listed(
        &mut self,
        maker: &super::maker::Maker,
        written: &Spanned<EndpointAddress>,
        at: &str,
    ) -> Option<Listed> {
        if let Err(unusable) = maker.names(written) {
            self.error(written.span, at, unusable.what, unusable.hint);
            return None;
        }
        if let EndpointAddress::Tcp { host: EndpointHost::Name(name), .. } = &written.value {
            let source = format!("dns {name}");
            let (pool, path) = (maker.pool.to_string(), at.to_owned());
            let origin = Origin { pool, source, place: written.span, path };
            // the routes of a version have one place
            if !self.origins.contains(&origin) {
                self.origins.push(origin);
            }
        }
        Some(Listed::new(written.value.clone()))
    }

    /// The sources of a pool, and who registers itself for it.
    pub(super) fn sources(
        &mut self,
        pool: &Spanned<Name>,
        written: &config::Pool,
        earlier: Option<&Roster>,
    ) -> (Vec<Named>, Option<Arc<Registrations>>) {
        let mut registrations = None;
        let mut sources: Vec<Named> = Vec::new();
        for (index, source) in written.sources.iter().enumerate() {
            let span = source.span;
            let path = format!("pools.{pool}.sources[{index}]");
            let Some((name, source)) =
                self.source(&source.value, &path, &mut registrations, earlier)
            else {
                continue;
            };
            // By its name it is counted, and goes on over reloads: no two may be called alike.
            let alike = |name: &str| sources.iter().any(|(other, _)| other == name);
            let numbered = (2..).map(|number| format!("{name} ({number})"));
            let name = std::iter::once(name.clone()).chain(numbered).find(|name| !alike(name));
            let name = name.unwrap_or_default();
            self.origins.push(Origin {
                pool: pool.to_string(),
                source: name.clone(),
                place: span,
                path,
            });
            sources.push((name, source));
        }
        (sources, registrations)
    }

    fn source(
        &mut self,
        source: &Source,
        path: &str,
        registrations: &mut Option<Arc<Registrations>>,
        earlier: Option<&Roster>,
    ) -> Option<Named> {
        Some(match source {
            Source::File(file) => {
                let path = self.materials.resolve(&file.path);
                let every = file.every.value.get();
                (format!("file {}", file.path.display()), Box::new(File { path, every }))
            }
            Source::Srv(written) => {
                let name = written.name.value.clone();
                (format!("srv {name}"), Box::new(srv::Srv { name }))
            }
            Source::Docker(docker) => {
                let server = self.registry(&docker.server, None, Vec::new(), path)?;
                let label = docker.label.value.clone();
                let name = format!("docker {label}");
                let (port, network) = (docker.port, docker.network.clone());
                let published = docker.published;
                (name, Box::new(Docker { server, label, port, network, published }))
            }
            Source::Etcd(etcd) => {
                let servers = etcd
                    .servers
                    .iter()
                    .map(|server| self.registry(server, etcd.ca.as_ref(), Vec::new(), path))
                    .collect::<Option<Vec<_>>>()?;
                let password = etcd.password.as_ref().map(|secret| secret.expose().to_owned());
                let user = etcd.user.clone().zip(password);
                let prefix = etcd.prefix.value.clone();
                (format!("etcd {prefix}"), Box::new(Etcd::new(servers, prefix, user)))
            }
            Source::Consul(consul) => {
                let token = consul.token.as_ref();
                let token = token.map(|t| ("x-consul-token".to_owned(), t.expose().to_owned()));
                let fields = token.into_iter().collect();
                let server = self.registry(&consul.server, consul.ca.as_ref(), fields, path)?;
                let consul = Consul {
                    server,
                    service: consul.service.value.clone(),
                    tags: consul.tags.clone(),
                    datacenter: consul.datacenter.clone(),
                    passing: consul.passing,
                };
                (format!("consul {}", consul.service), Box::new(consul))
            }
            Source::Registration(written) => {
                let known = earlier.and_then(|earlier| earlier.registrations.clone());
                let known = known.unwrap_or_else(|| {
                    let fresh = Registrations::new();
                    allow(&fresh, written);
                    fresh
                });
                *registrations = Some(known.clone());
                ("registration".to_owned(), Box::new(Registration(known)))
            }
        })
    }

    pub(super) fn registry(
        &mut self,
        server: &Spanned<RegistryServer>,
        ca: Option<&Spanned<std::path::PathBuf>>,
        fields: Vec<(String, String)>,
        path: &str,
    ) -> Option<Server> {
        let tls = match server.tls {
            false => None,
            true => {
                let roots = match ca {
                    Some(ca) => Roots::Own(self.materials.file(ca)?.to_vec()),
                    None => self.materials.system_roots(),
                };
                match ClientTls::build(&Settings { roots, ..Settings::default() }) {
                    Ok(tls) => Some(Arc::new(tls)),
                    Err(error) => {
                        let hint = "give the file of the authorities that sign its certificate";
                        self.error(server.span, path, error.to_string(), hint);
                        return None;
                    }
                }
            }
        };
        let (address, prefix) = (server.address.clone(), server.prefix.clone());
        Some(Server { address, tls, prefix, fields })
    }
}

/// Who may register, as the file says.
pub(super) fn allow(registrations: &Registrations, written: &config::RegistrationSource) {
    let token = written.token.as_ref().map(|token| token.expose());
    registrations.allow(written.most as usize, written.ttl.get(), token);
}

/// How names are looked up, as the file says.
pub(super) fn names(written: &config::Resolver, earlier: Option<&Arc<Names>>) -> Arc<Names> {
    let defaults = resolver::Settings::default();
    let settings = resolver::Settings {
        servers: written.servers.iter().filter_map(|server| server.socket_address()).collect(),
        family: match written.family {
            Family::PreferIpv4 => resolver::Family::PreferIpv4,
            Family::PreferIpv6 => resolver::Family::PreferIpv6,
            Family::Ipv4 => resolver::Family::Ipv4,
            Family::Ipv6 => resolver::Family::Ipv6,
            Family::Both => resolver::Family::Both,
        },
        min_ttl: written.min_ttl.get(),
        max_ttl: written.max_ttl.get(),
        timeout: written.timeout.value.get(),
        hosts: written.hosts,
        refuse: match &written.refuse {
            Some(blocks) => blocks.iter().map(|block| block.net()).collect(),
            None => defaults.refuse,
        },
    };
    match earlier {
        Some(earlier) if *earlier.resolver().settings() == settings => earlier.clone(),
        _ => Names::new(Arc::new(Resolver::new(settings))),
    }
}

/// Writes what happens to pools into the log.
pub(super) fn tell() -> Tell {
    Arc::new(|remark| match remark {
        Remark::Change(what) => log::info(&what),
        Remark::Trouble(what) => log::warn(&what),
    })
}

impl Snapshot {
    /// Begins to follow sources and to look names up, and waits until each has said something, if
    /// only that it fails; but not longer than this.
    pub async fn settle(&self, background: &Background, patience: Duration) {
        for roster in self.rosters.values() {
            roster.start(background);
        }
        let until = Instant::now() + patience;
        for roster in self.rosters.values() {
            if tokio::time::timeout_at(until.into(), roster.settled()).await.is_err() {
                return;
            }
        }
    }

    /// What sources and names fail now, at their places in the file.
    pub fn troubles(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        for origin in &self.origins {
            let sources = self.rosters.get(&origin.pool).map(|roster| roster.sources());
            let mut sources = sources.into_iter().flatten();
            let Some(source) = sources.find(|one| one.name == origin.source) else { continue };
            let (what, hint) = match (&source.failing, origin.source.strip_prefix("dns ")) {
                (Some((why, _)), Some(name)) => (
                    format!("the name {} has no address now: {why}", quote(name)),
                    "correct the name, or write an IP address; nothing is sent there until it has \
                     one, and it is looked up again while Transom runs",
                ),
                (Some((why, _)), None) => (
                    format!("nothing is known from it now: {why}"),
                    "it is asked again while Transom runs",
                ),
                (None, _) => continue,
            };
            found.push(Diagnostic::warning(origin.place, &*origin.path, what).hint(hint));
        }
        found
    }
}
