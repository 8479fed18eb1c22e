//! The address of the other end of an accepted connection, in one form.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The address of a client. IPv4 in IPv6 clothing (`::ffff:1.2.3.4`) is undressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddr(SocketAddr);

macro_rules! address {
    ($name:ident) => {
        impl $name {
            pub fn new(address: SocketAddr) -> Self {
                Self(unmapped(address))
            }

            pub fn ip(self) -> IpAddr {
                self.0.ip()
            }

            pub fn port(self) -> u16 {
                self.0.port()
            }

            pub fn socket(self) -> SocketAddr {
                self.0
            }
        }

        impl From<SocketAddr> for $name {
            fn from(address: SocketAddr) -> Self {
                Self::new(address)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

address!(ClientAddr);

/// `::ffff:1.2.3.4` is `1.2.3.4` (RFC 4291 §2.5.5.2), so that address rules see one form. The flow
/// label and scope of real IPv6 are kept.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => (v4, v6.port()).into(),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// Where a socket ends: on the network, or on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    Ip(ClientAddr),
    Unix,
}

impl PeerAddr {
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            PeerAddr::Ip(address) => Some(address.ip()),
            PeerAddr::Unix => None,
        }
    }
}

impl PeerAddr {
    pub fn port(self) -> Option<u16> {
        match self {
            PeerAddr::Ip(address) => Some(address.port()),
            PeerAddr::Unix => None,
        }
    }
}

impl From<SocketAddr> for PeerAddr {
    fn from(address: SocketAddr) -> Self {
        PeerAddr::Ip(address.into())
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddr::Ip(address) => address.fmt(f),
            PeerAddr::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_13_mapped_addresses_are_undressed() {
        for (written, expect) in [
            ("[::ffff:10.1.1.1]:80", "10.1.1.1:80"),
            ("10.1.1.1:80", "10.1.1.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::10.1.1.1]:80", "[::a01:101]:80"),
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
        ] {
            assert_eq!(ClientAddr::new(written.parse().unwrap()).to_string(), expect);
        }
    }
}
