//! Opens connections to endpoints.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::ServerName;
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
    let connect = |e| DialError::Connect(target.address.clone(), e);
    let socket = match &target.address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(connect)?;
            return Ok(Stream::unix(socket, worker.clone()));
        }
        Address::Tcp(address) => connect_tcp(*address).await.map_err(connect)?,
    };
    let Some((tls, name)) = &target.tls else {
        return Ok(Stream::tcp(socket, worker.clone()));
    };
    let mut socket = socket;
    let session = client::connect(&mut socket, tls, name)
        .await
        .map_err(|e| DialError::Tls(target.address.clone(), io::Error::other(e)))?;
    Ok(Stream::tls(socket, session, worker.clone()))
}

async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
