//! Where operators are listened to: a Unix socket, and an address of this machine.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use transom_net::listen::{self, ListenError};

use super::gate::Gate;
use super::limited::Limited;
use super::{Control, router};
use crate::config::SHORTEST_TOKEN;

/// Connections to the Unix socket and to the address, each.
const CONNECTIONS: usize = 64;

/// The Unix socket. Its file goes when this is dropped.
pub struct UnixAdmin {
    listener: tokio::net::UnixListener,
    file: SocketFile,
}

struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a successor's socket is left alone.
    identity: Option<(u64, u64)>,
}

impl UnixAdmin {
    /// Takes the path, for the owner alone (0600). The directory is made for the owner where it is
    /// not there; a socket that a dead process left is replaced. Needs a runtime.
    ///
    /// # Errors
    /// When another process answers there, or the path cannot be used.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |error| BindError::Path(path.to_owned(), error);
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(failed)?;
        }
        let socket = OwnedFd::from(listen::bind_unix(path, 0o600)?);
        let identity = identity(path);
        let file = SocketFile { path: path.to_owned(), identity };
        let listener = tokio::net::UnixListener::from_std(socket.into()).map_err(failed)?;
        Ok(UnixAdmin { listener, file })
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, control: Arc<dyn Control>) {
        // Removed with the future, whenever that ends.
        let _file = self.file;
        let listener = Limited::new(self.listener, CONNECTIONS);
        let router = router(control, Gate::socket());
        // Never ends: the listener retries what fails.
        let _ = axum::serve(listener, router).await;
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // It goes on existing at worst, and the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// An address of this machine.
pub struct TcpAdmin {
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    token: Box<str>,
}

impl TcpAdmin {
    /// Takes the address. Needs a runtime.
    ///
    /// # Errors
    /// When the address is not of this machine alone, is taken, or the token is too short to
    /// protect anything.
    pub fn bind(address: SocketAddr, token: &str) -> Result<Self, BindError> {
        if !address.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback(address));
        }
        if token.len() < SHORTEST_TOKEN {
            return Err(BindError::ShortToken);
        }
        let unusable = |error| BindError::Address(address, error);
        let mut bound = listen::bind(address, 1)?;
        let socket = bound.pop().ok_or_else(|| unusable(io::ErrorKind::Other.into()))?;
        let socket = std::net::TcpListener::from(OwnedFd::from(socket));
        let listener = tokio::net::TcpListener::from_std(socket).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        Ok(TcpAdmin { listener, address, token: token.into() })
    }

    /// With the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, control: Arc<dyn Control>) {
        let listener = Limited::new(self.listener, CONNECTIONS);
        let router = router(control, Gate::address(self.address, self.token));
        let _ = axum::serve(listener, router).await;
    }
}

/// Why operators cannot be answered there.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("address {0} cannot be used for the admin interface")]
    Address(SocketAddr, #[source] io::Error),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("the admin address {0} is reached from other machines; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    #[error("the admin socket `{0}` cannot be used: {1}")]
    Path(PathBuf, #[source] io::Error),
    #[error("the admin token is too short; use at least {n} characters, such as of `openssl rand -hex 16`", n = SHORTEST_TOKEN)]
    ShortToken,
}

impl BindError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            BindError::Listen(error) => error.hint(),
            BindError::Path(..) => Some(
                "`admin.socket` may be any path in a directory that Transom may write to".into(),
            ),
            _ => None,
        }
    }
}
