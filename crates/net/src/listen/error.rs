//! Why an address cannot be listened on, and what can be done about it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    place: Place,
    error: io::Error,
}

#[derive(Debug)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    Inherited,
}

impl ListenError {
    pub(super) fn new(place: Place, error: io::Error) -> Self {
        Self { place, error }
    }

    pub(crate) fn udp(address: SocketAddr, error: io::Error) -> Self {
        Self::new(Place::Udp(address), error)
    }

    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match (&self.place, self.error.kind()) {
            (Place::Tcp(address), ErrorKind::AddrInUse) => Some(format!(
                "`ss -ltnp 'sport = :{}'` shows who has it; stop that or choose another port",
                address.port()
            )),
            (Place::Udp(address), ErrorKind::AddrInUse) => Some(format!(
                "`ss -lunp 'sport = :{}'` shows who has it; stop that or choose another port",
                address.port()
            )),
            (Place::Unix(_), ErrorKind::AddrInUse) => Some(
                "another process answers there, or it is not a socket; remove it or choose another path"
                    .into(),
            ),
            (Place::Tcp(address) | Place::Udp(address), ErrorKind::PermissionDenied)
                if address.port() < 1024 => Some(
                "ports below 1024 need CAP_NET_BIND_SERVICE (`setcap cap_net_bind_service=+ep`, or AmbientCapabilities= in the unit)"
                    .into(),
            ),
            (Place::Tcp(_) | Place::Udp(_), ErrorKind::AddrNotAvailable) => {
                Some("`ip address` lists the addresses of this machine".into())
            }
            _ => None,
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => write!(f, "address {address} ")?,
            Place::Udp(address) => write!(f, "address {address} (UDP) ")?,
            Place::Unix(path) => write!(f, "socket `{}` ", path.display())?,
            Place::Inherited => f.write_str("inherited socket ")?,
        }
        match self.error.kind() {
            ErrorKind::AddrInUse => f.write_str("is already in use"),
            ErrorKind::PermissionDenied => f.write_str("may not be used: permission denied"),
            ErrorKind::AddrNotAvailable => f.write_str("belongs to no interface of this machine"),
            _ => write!(f, "cannot be used: {}", self.error),
        }
    }
}

// Without a source: the sentence says all that the system's error says.
impl std::error::Error for ListenError {}
