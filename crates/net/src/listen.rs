//! Sockets that accept: bound before anything else starts, used by the workers.
//!
//! [`bind`] makes one socket per worker for the same address (SO_REUSEPORT), so the kernel spreads
//! connections and no worker waits for another. A [`Bound`] belongs to no runtime; each worker makes
//! its own into a [`Listener`].

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};

use crate::peer::PeerAddr;

mod bound;
mod error;

pub use bound::{Bound, bind, bind_beside_own, bind_unix};
pub use error::ListenError;

/// How long nothing is accepted when descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Silence after which the kernel asks whether the other end is still there.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);

/// Accepts connections on one worker.
#[derive(Debug)]
pub struct Listener {
    inner: Inner,
    local: PeerAddr,
}

#[derive(Debug)]
enum Inner {
    Tcp(AsyncFd<OwnedFd>),
    Unix(UnixListener),
}

/// A connection as it was accepted.
#[derive(Debug)]
pub enum Accepted {
    /// In non-blocking mode, and not yet known to the runtime: a connection that is served at once
    /// never needs to be (see [`crate::stream::Stream::fresh`]).
    Tcp(TcpStream, PeerAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Joins the runtime of this thread. Panics outside of one.
    fn of(socket: OwnedFd, local: PeerAddr) -> io::Result<Self> {
        let inner = match local {
            PeerAddr::Ip(_) => Inner::Tcp(watch(socket)?),
            PeerAddr::Unix => Inner::Unix(UnixListener::from_std(socket.into())?),
        };
        Ok(Self { inner, local })
    }

    /// Where it listens.
    pub fn local(&self) -> PeerAddr {
        self.local
    }

    /// Turns away who asks for a connection from now on, while connections that the kernel has
    /// begun to make are still accepted: closing a socket resets those. Who is turned away hears
    /// nothing and asks again after a second, when nobody listens any more, or a successor does.
    pub fn turn_away(&self) -> io::Result<()> {
        // A classic BPF program over the TCP header: what has SYN set is dropped.
        const FLAGS_AT: u32 = 13;
        const SYN: u32 = 2;
        let program = [
            SockFilter::new(0x30, 0, 0, FLAGS_AT), // ldb [13]
            SockFilter::new(0x45, 0, 1, SYN),      // jset #2, next, after
            SockFilter::new(0x06, 0, 0, 0),        // ret #0
            SockFilter::new(0x06, 0, 0, u32::MAX), // ret #-1
        ];
        match &self.inner {
            Inner::Tcp(tcp) => SockRef::from(tcp).attach_filter(&program),
            Inner::Unix(_) => Ok(()),
        }
    }

    /// The next connection. Never fails: what goes wrong is told to `note` and tried again, after a
    /// pause if it was not the client's doing. May be dropped between two connections.
    pub async fn accept(&self, mut note: impl FnMut(&io::Error)) -> Accepted {
        loop {
            let accepted = match &self.inner {
                Inner::Tcp(tcp) => tcp.async_io(Interest::READABLE, accept_tcp).await,
                Inner::Unix(unix) => unix.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) => {
                    note(&error);
                    if !clients_doing(&error) {
                        // EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection stays in the queue, so
                        // trying at once would spin.
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Its successor asks, with `unsafe`, that the descriptor stays what it is while it is watched:
/// `OwnedFd` is taken by value here, and never given out again.
#[allow(deprecated, reason = "the call that is not deprecated needs `unsafe`")]
fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

fn accept_tcp(listener: &OwnedFd) -> io::Result<Accepted> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, from) = rustix::net::acceptfrom_with(listener, flags)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    let from = from.map_or(PeerAddr::Unix, PeerAddr::from);
    Ok(Accepted::Tcp(socket.into(), from))
}

/// accept(2): errors already pending on the new connection, which is gone.
fn clients_doing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::AGAIN
                | Errno::PERM
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
        )
    )
}

#[cfg(test)]
mod tests;
