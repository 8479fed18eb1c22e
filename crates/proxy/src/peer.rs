//! The other end of a client's connection.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

/// What is known of a client's connection, once for all its exchanges.
#[derive(Debug)]
pub struct Peer {
    /// Who connected, or whom the PROXY protocol names; IPv4-mapped addresses are unmapped.
    pub address: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
    pub tls: Option<transom_net::tls::server::Facts>,
    /// The address without port, written once for all requests.
    text: String,
    local_port: String,
    /// The authority that it asked for last, in its one form.
    authority: RefCell<Option<Rc<str>>>,
}

impl Peer {
    pub fn new(
        address: SocketAddr,
        local: SocketAddr,
        tls: Option<transom_net::tls::server::Facts>,
    ) -> Self {
        let unmapped = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let (address, local) = (unmapped(address), unmapped(local));
        Peer {
            address,
            local,
            tls,
            text: text_of(address.ip()),
            local_port: itoa::Buffer::new().format(local.port()).to_owned(),
            authority: RefCell::default(),
        }
    }

    /// The address without port, for header fields.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn local_port_text(&self) -> &str {
        &self.local_port
    }

    /// The authority that it asked for last, where `host` is that in its one form already: few
    /// clients ask for more than one over a connection.
    pub fn asked_before(&self, host: &[u8]) -> Option<Rc<str>> {
        self.authority.borrow().as_ref().filter(|known| known.as_bytes() == host).cloned()
    }

    /// Remembers an authority in its one form.
    pub fn remember(&self, authority: &Rc<str>) {
        *self.authority.borrow_mut() = Some(authority.clone());
    }

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

/// As `Display` writes it; IPv4 without the machinery of formatting, as every connection needs it.
fn text_of(ip: IpAddr) -> String {
    let IpAddr::V4(ip) = ip else { return ip.to_string() };
    let mut text = String::with_capacity(15);
    for (i, octet) in ip.octets().into_iter().enumerate() {
        if i > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}
