//! From what is listed to members: what the file says, what sources tell and what was changed by
//! hand, joined, with every name as the addresses it has.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use transom_net::Address;
use transom_proxy::destination::Endpoint;
use transom_settings::{EndpointAddress, EndpointHost, FromText};

use super::super::Listed;
use super::super::manual::Manual;
use super::super::names::{Name, Names};
use super::super::news::{Changed, News, Told};
use super::super::subsetting::Subsetting;
use super::{Make, Place, Remark, Tell};
use crate::members::MemberSpec;

/// Everything that lists endpoints for one pool.
pub(super) struct Lists {
    /// Of the pool.
    pub(super) name: String,
    /// What the file lists.
    pub(super) written: Vec<Listed>,
    pub(super) news: Vec<News>,
    /// What scaling has started.
    pub(super) scaled: News,
    pub(super) allow_empty: bool,
    pub(super) subsetting: Option<Subsetting>,
    pub(super) make: Arc<dyn Make>,
    pub(super) names: Arc<Names>,
    pub(super) tell: Tell,
    pub(super) changed: Changed,
}

/// What has been made of them and is used again as long as it is listed.
#[derive(Default)]
pub(super) struct Made {
    /// Names that are looked up for this pool.
    pub(super) held: HashMap<String, Arc<Name>>,
    endpoints: HashMap<(EndpointAddress, Address), Arc<Endpoint>>,
    /// How many are for other instances.
    pub(super) left_out: usize,
}

impl Lists {
    /// The members that there should be now.
    pub(super) fn specs(&self, manual: &Manual, made: &mut Made) -> Vec<MemberSpec> {
        let listed = self.listed(manual);
        let wanted: HashSet<&str> = listed.iter().filter_map(|one| host_of(&one.address)).collect();
        made.held.retain(|host, _| wanted.contains(host.as_str()));
        for host in wanted {
            if !made.held.contains_key(host) {
                made.held.insert(host.to_owned(), self.names.want(host, &self.changed));
            }
        }
        let mut specs = self.resolved(&listed, manual, made, false);
        if specs.is_empty() && !self.allow_empty {
            // names that are gone are better than nobody
            specs = self.resolved(&listed, manual, made, true);
        }
        let used: HashSet<u64> = specs.iter().map(|spec| spec.endpoint.key).collect();
        made.endpoints.retain(|_, endpoint| used.contains(&endpoint.key));
        let all = specs.len();
        if let Some(subsetting) = &self.subsetting {
            specs = subsetting.of(specs);
        }
        made.left_out = all - specs.len();
        specs
    }

    /// Everything that is listed somewhere and not taken out by hand, each address once: what the
    /// file says comes before what a source says, and by hand before both.
    fn listed(&self, manual: &Manual) -> Vec<Listed> {
        let told: Vec<Told> =
            self.news.iter().chain([&self.scaled]).map(|news| news.told()).collect();
        let lists = told.iter().filter_map(|told| told.list.as_deref()).flatten();
        let added = manual.iter().filter_map(|(_, change)| change.added.as_ref());
        let mut seen = HashSet::new();
        let all = self.written.iter().chain(added).chain(lists);
        let all = all.filter(|one| seen.insert(&one.address));
        let left = all.filter_map(|one| {
            let change = manual.of(&one.address);
            if change.is_some_and(|change| change.removed) {
                return None;
            }
            let weight = change.and_then(|change| change.weight).unwrap_or(one.weight);
            Some(Listed { weight, ..one.clone() })
        });
        left.collect()
    }

    /// What the file says of an address.
    pub(super) fn says(&self, address: &EndpointAddress) -> Option<Listed> {
        self.written.iter().find(|one| one.address == *address).cloned()
    }

    fn resolved(
        &self,
        listed: &[Listed],
        manual: &Manual,
        made: &mut Made,
        gone_too: bool,
    ) -> Vec<MemberSpec> {
        let mut specs: Vec<MemberSpec> = Vec::with_capacity(listed.len());
        let mut keys = HashSet::new();
        for one in listed {
            for address in addresses(made, one, gone_too) {
                let resolved = written(&address);
                let change = manual.of(&resolved).filter(|_| resolved != one.address);
                if change.is_some_and(|change| change.removed) {
                    continue;
                }
                let place = (one.address.clone(), address);
                let endpoint = match made.endpoints.get(&place) {
                    Some(endpoint) => endpoint.clone(),
                    None => match self.make(&place) {
                        Some(endpoint) => made.endpoints.entry(place).or_insert(endpoint).clone(),
                        None => continue,
                    },
                };
                if keys.insert(endpoint.key) {
                    specs.push(MemberSpec {
                        endpoint,
                        weight: change.and_then(|change| change.weight).unwrap_or(one.weight),
                        labels: one.labels.clone(),
                        zone: one.zone.as_deref().map(Arc::from),
                        priority: one.priority,
                    });
                }
            }
        }
        specs
    }

    fn make(&self, (at, address): &(EndpointAddress, Address)) -> Option<Arc<Endpoint>> {
        let name = match host_of(at) {
            Some(_) => format!("{at} ({})", written(address)),
            None => at.to_string(),
        };
        let place = Place { address: address.clone(), written: at, name };
        match self.make.endpoint(place) {
            Ok(endpoint) => Some(Arc::new(endpoint)),
            Err(why) => {
                self.trouble(format!("{at} cannot be used: {why}"));
                None
            }
        }
    }

    pub(super) fn remark(&self, what: String) {
        (self.tell)(Remark::Change(format!("pool `{}`: {what}", self.name)));
    }

    pub(super) fn trouble(&self, what: String) {
        (self.tell)(Remark::Trouble(format!("pool `{}`: {what}", self.name)));
    }
}

fn host_of(address: &EndpointAddress) -> Option<&str> {
    match address {
        EndpointAddress::Tcp { host: EndpointHost::Name(name), .. } => Some(name),
        _ => None,
    }
}

/// The addresses that one listed endpoint stands for.
fn addresses(made: &Made, one: &Listed, gone_too: bool) -> Vec<Address> {
    match &one.address {
        EndpointAddress::Unix(path) => vec![Address::Unix(path.clone())],
        EndpointAddress::Tcp { host: EndpointHost::Ip(ip), port } => {
            vec![Address::Tcp(SocketAddr::new(*ip, *port))]
        }
        EndpointAddress::Tcp { host: EndpointHost::Name(name), port } => {
            let Some(known) = made.held.get(name).map(|name| name.known()) else {
                return Vec::new();
            };
            if known.is_gone() && !gone_too {
                return Vec::new();
            }
            let at = |ip: &std::net::IpAddr| Address::Tcp(SocketAddr::new(*ip, *port));
            known.addresses.iter().map(at).collect()
        }
    }
}

/// An address as one would write it.
fn written(address: &Address) -> EndpointAddress {
    match address {
        Address::Unix(path) => EndpointAddress::Unix(path.clone()),
        Address::Tcp(address) => {
            EndpointAddress::Tcp { host: EndpointHost::Ip(address.ip()), port: address.port() }
        }
    }
}

/// What an operator may call a member: its address, and what it was written as.
pub(super) fn named(spec: &MemberSpec) -> Vec<EndpointAddress> {
    let address = written(&spec.endpoint.target.address);
    let name = spec.endpoint.name.split(" (").next().unwrap_or_default();
    match EndpointAddress::from_text(name) {
        Ok(name) if name != address => vec![address, name],
        _ => vec![address],
    }
}
