//! What is served at the addresses of one listener, but for their sockets.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use transom_balance::relay::{Relay, udp};
use transom_net::blocks::Rule;
use transom_net::clients::Pace;
use transom_net::tls::server::ServerTls;
use transom_proxy::serve::ceilings::{self, OverLimit};
use transom_proxy::site::Site;
use transom_settings::ListenAddress;

use super::entry;

/// See the module.
pub struct Listening {
    pub name: Arc<str>,
    pub addresses: Vec<ListenAddress>,
    /// Who may connect; none where everybody may.
    pub clients: Option<Rule>,
    /// New connections of one client.
    pub connection_rate: Option<Pace>,
    /// New connections in all: so many in a time.
    pub turnstile: Option<(u64, Duration)>,
    pub over_limit: OverLimit,
    /// What is open and under way; goes on from one configuration to the next.
    pub counts: Counts,
    /// What is served; its limits and timeouts are there too.
    pub site: Arc<Site>,
    /// In place of HTTP: connections are carried as they are.
    pub relay: Option<Arc<Relay>>,
    /// In place of connections: datagrams are carried.
    pub flows: Option<Arc<udp::Relay>>,
    pub tls: Option<Arc<ServerTls>>,
    pub proxy_protocol: Option<ProxyRule>,
    /// For the TLS handshake.
    pub handshake_timeout: Option<Duration>,
    /// TLS handshakes that wait for their turn on one worker.
    pub handshakes: usize,
    /// For the header of the PROXY protocol.
    pub proxy_timeout: Option<Duration>,
}

impl Listening {
    /// What tells an address apart from others: a port of UDP is not one of TCP, and a socket for
    /// HTTP lets connections wait for their first word.
    pub fn key(&self, address: &ListenAddress) -> String {
        match (&self.relay, &self.flows) {
            (None, None) => address.to_string(),
            (Some(_), _) => format!("tcp://{address}"),
            (_, Some(_)) => format!("udp://{address}"),
        }
    }
}

/// Who may say with the PROXY protocol for whom they speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRule {
    pub from: Vec<IpNet>,
    /// Whether those may leave it out.
    pub optional: bool,
}

/// What is counted of a listener, over all its addresses.
#[derive(Clone, Default)]
pub struct Counts {
    pub connections: Arc<entry::Counts>,
    pub requests: Arc<ceilings::Counts>,
}
