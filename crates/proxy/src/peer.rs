//! The other end of a client's connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What is known of a client's connection, once for all its exchanges.
#[derive(Debug)]
pub struct Peer {
    /// Who connected, or whom the PROXY protocol names; IPv4-mapped addresses are unmapped.
    pub address: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
    pub tls: Option<transom_net::tls::server::Facts>,
}

impl Peer {
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// `https` inside TLS.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// A peer without an address, such as one on a Unix socket.
    pub const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
}
