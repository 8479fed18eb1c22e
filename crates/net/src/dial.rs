//! Opens connections to endpoints.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use nix::sys::socket::{setsockopt, sockopt};
use rustls_pki_types::ServerName;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::stream::Stream;
use crate::tls::client::{self, ClientTls};
use crate::worker::Worker;

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to speak to an endpoint.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: Address,
    /// TLS settings and the name to ask for and verify.
    pub tls: Option<(Arc<ClientTls>, ServerName<'static>)>,
    pub source: Source,
}

/// The address that connections to an endpoint come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// Whichever the system takes for the way there.
    #[default]
    Any,
    /// This one of the machine.
    Address(IpAddr),
    /// The client's own, so that the endpoint sees who asks. Answers must be routed back through
    /// this machine, and it takes CAP_NET_ADMIN.
    Client,
}

/// For whom a connection is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behalf<'a> {
    /// The client's address, for [`Source::Client`].
    pub client: Option<SocketAddr>,
    /// What is sent before anything else, TLS included: a header of the PROXY protocol.
    pub header: &'a [u8],
}

/// Why no connection came to be.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot connect to {0}")]
    Connect(Address, #[source] io::Error),
    #[error("TLS with {0} failed")]
    Tls(Address, #[source] io::Error),
}

/// Connects, and finishes the TLS handshake where the target wants one.
///
/// Takes as long as the peer does: the caller sets the deadline and drops the future.
///
/// # Errors
/// [`DialError`], saying which half failed.
pub async fn dial(target: &Target, worker: &Worker) -> Result<Stream, DialError> {
    dial_for(target, Behalf::default(), worker).await
}

/// As [`dial`], for a certain client.
///
/// # Errors
/// [`DialError`], saying which half failed.
pub async fn dial_for(
    target: &Target,
    behalf: Behalf<'_>,
    worker: &Worker,
) -> Result<Stream, DialError> {
    let connect = |e| DialError::Connect(target.address.clone(), e);
    let mut socket = match &target.address {
        Address::Unix(path) => {
            let mut socket = UnixStream::connect(path).await.map_err(connect)?;
            socket.write_all(behalf.header).await.map_err(connect)?;
            return Ok(Stream::unix(socket, worker.clone()));
        }
        Address::Tcp(address) => {
            connect_tcp(*address, target.source, behalf.client).await.map_err(connect)?
        }
    };
    if !behalf.header.is_empty() {
        socket.write_all(behalf.header).await.map_err(connect)?;
    }
    let Some((tls, name)) = &target.tls else {
        return Ok(Stream::tcp(socket, worker.clone()));
    };
    let session = client::connect(&mut socket, tls, name)
        .await
        .map_err(|e| DialError::Tls(target.address.clone(), io::Error::other(e)))?;
    Ok(Stream::tls(socket, session, worker.clone()))
}

async fn connect_tcp(
    address: SocketAddr,
    source: Source,
    client: Option<SocketAddr>,
) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    source.bind(&SockRef::from(&socket), address, client)?;
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// A datagram socket that only hears from `address`.
///
/// # Errors
/// When the system gives no socket, or `source` cannot be used.
pub fn connect_udp(
    address: SocketAddr,
    source: Source,
    client: Option<SocketAddr>,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    source.bind(&SockRef::from(&socket), address, client)?;
    socket.connect(&address.into())?;
    Ok(socket)
}

impl Source {
    /// Binds `socket`, before it is connected to `to`.
    fn bind(self, socket: &Socket, to: SocketAddr, client: Option<SocketAddr>) -> io::Result<()> {
        let from = match self {
            Source::Any => return Ok(()),
            Source::Address(ip) => {
                // The port is chosen on connecting, when it only has to differ from those of other
                // connections to the same endpoint: 28,000 for each of them, not for all (U-18).
                // Where the system does not know this, there are fewer, and that is all.
                let _ = setsockopt(socket, sockopt::IpBindAddressNoPort, &true);
                SocketAddr::new(ip, 0)
            }
            Source::Client => {
                let Some(client) = client else { return Ok(()) };
                let transparent = match to {
                    SocketAddr::V4(_) => socket.set_ip_transparent_v4(true),
                    SocketAddr::V6(_) => socket.set_ip_transparent_v6(true),
                };
                transparent.map_err(|error| {
                    let what = "the client's address cannot be taken without CAP_NET_ADMIN";
                    io::Error::new(error.kind(), what)
                })?;
                // The client's port is its own: another connection of it may come from there.
                SocketAddr::new(client.ip(), 0)
            }
        };
        if from.is_ipv4() != to.is_ipv4() {
            let what = format!("{to} cannot be reached from {}", from.ip());
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, what));
        }
        socket.bind(&from.into()).map_err(|error| match error.kind() {
            io::ErrorKind::AddrNotAvailable => {
                io::Error::new(error.kind(), format!("{} is no address of this machine", from.ip()))
            }
            _ => error,
        })
    }
}

/// Whether this process may take the addresses of its clients ([`Source::Client`]).
///
/// # Errors
/// What the system says when it may not.
pub fn may_be_transparent() -> io::Result<()> {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?.set_ip_transparent_v4(true)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn u_18_an_address_is_taken_without_a_port() {
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let to = SocketAddr::new(ip, 9);
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
            match Source::Address(ip).bind(&socket, to, None) {
                Ok(()) => {
                    let bound = socket.local_addr().unwrap().as_socket().unwrap();
                    assert_eq!(bound, SocketAddr::new(ip, 0));
                }
                // a machine without IPv6
                Err(_) => assert!(ip.is_ipv6()),
            }
        }
    }
}
