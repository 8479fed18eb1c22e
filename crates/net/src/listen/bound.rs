//! Addresses that are bound, and the sockets of them that belong to no runtime yet.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::socket::setsockopt;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::error::Place;
use super::{KEEPALIVE, ListenError, Listener};
use crate::peer::PeerAddr;

/// Connections the kernel may hold for us; it takes the lower of this and `somaxconn`.
const BACKLOG: i32 = 4096;

/// A listening socket that belongs to no runtime yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    local: PeerAddr,
}

/// Binds `workers` sockets to one address, all or none; port 0 takes a free one for all of them.
///
/// `[::]` also serves IPv4, and becomes `0.0.0.0` where IPv6 is switched off.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<Bound>, ListenError> {
    if address.port() != 0 {
        // SO_REUSEPORT would let a second instance of ours share the port in silence.
        let alone = one(address, false);
        drop(alone.map_err(|error| ListenError::new(Place::Tcp(address), error))?);
    }
    bind_beside_own(address, workers)
}

/// As [`bind`], where sockets of this process listen at a part of the address already, or at more
/// than it. The kernel gives a new connection to the most specific one, so that an address can be
/// replaced without a moment at which nobody listens. Whoever else of this user has the port and
/// would share it is not noticed.
pub fn bind_beside_own(address: SocketAddr, workers: usize) -> Result<Vec<Bound>, ListenError> {
    let failed = |error| ListenError::new(Place::Tcp(address), error);
    let first = one(address, true).map_err(failed)?;
    let PeerAddr::Ip(bound) = first.local else { return Ok(vec![first]) };
    let mut sockets = vec![first];
    while sockets.len() < workers {
        let next = SocketAddr::new(address.ip(), bound.port());
        sockets.push(one(next, true).map_err(failed)?);
    }
    Ok(sockets)
}

fn one(address: SocketAddr, shared: bool) -> io::Result<Bound> {
    let made = tcp(address, shared);
    let no_ipv6 = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT);
    match made {
        Err(error) if address.ip().is_unspecified() && address.is_ipv6() && no_ipv6(&error) => {
            tcp((Ipv4Addr::UNSPECIFIED, address.port()).into(), shared)
        }
        made => made,
    }
}

fn tcp(address: SocketAddr, shared: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // After a crash, connections in TIME_WAIT must not keep us from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // Accepted sockets inherit both, which saves two system calls for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Bound::of(socket)
}

/// Binds a Unix socket that only `mode` may connect to, such as `0o600`.
///
/// A socket that a dead process left there is replaced; one that is answered, or any other file, is
/// not.
pub fn bind_unix(path: &Path, mode: u32) -> Result<Bound, ListenError> {
    let failed = |error| ListenError::new(Place::Unix(path.to_owned()), error);
    let bind = || -> io::Result<Bound> {
        let address = socket2::SockAddr::unix(path)?;
        if let Ok(found) = std::fs::symlink_metadata(path) {
            let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            let dead = || {
                let refused = probe.connect(&address).err().map(|error| error.kind());
                refused == Some(ErrorKind::ConnectionRefused)
            };
            if !found.file_type().is_socket() || !dead() {
                return Err(ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address)?;
        // Before it listens, nobody can have connected with other rights.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        socket.listen(BACKLOG)?;
        Bound::of(socket)
    };
    bind().map_err(failed)
}

/// The bare socket, for who accepts by other means than a worker.
impl From<Bound> for OwnedFd {
    fn from(bound: Bound) -> Self {
        bound.socket.into()
    }
}

impl Bound {
    pub(crate) fn of(socket: Socket) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket().map_or(PeerAddr::Unix, PeerAddr::from);
        Ok(Self { socket, local })
    }

    /// Takes over a socket that was handed to us: one that listens, or one for datagrams of UDP.
    ///
    /// # Errors
    /// When it is neither.
    pub fn adopt(socket: OwnedFd) -> Result<Self, ListenError> {
        let socket = Socket::from(socket);
        let failed = |error| ListenError::new(Place::Inherited, error);
        let check = || -> io::Result<()> {
            let is_ip = socket.local_addr()?.as_socket().is_some();
            let listens = match socket.r#type()? {
                Type::STREAM => socket.is_listener()?,
                kind => kind == Type::DGRAM && is_ip,
            };
            if !listens {
                return Err(io::Error::new(ErrorKind::InvalidInput, "not a listening socket"));
            }
            socket.set_nonblocking(true)?;
            if is_ip && socket.r#type()? == Type::STREAM {
                socket.set_tcp_nodelay(true)?;
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
            }
            Ok(())
        };
        check().map_err(failed)?;
        Self::of(socket).map_err(failed)
    }

    /// Takes over such a socket by its number, as systemd's LISTEN_FDS gives it.
    ///
    /// It is asked for through a handle on our own process (Linux 5.6), because taking a bare
    /// number for owned cannot be proved sound. The number itself stays open until we exit, as
    /// systemd's own copy does.
    pub fn adopt_number(number: RawFd) -> Result<Self, ListenError> {
        use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
        let failed = |error: Errno| ListenError::new(Place::Inherited, error.into());
        if number < 0 {
            return Err(failed(Errno::BADF));
        }
        let own = pidfd_open(getpid(), PidfdFlags::empty())
            .and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty()))
            .map_err(failed)?;
        Self::adopt(own)
    }

    /// Another handle on the same socket, for a worker that shares it.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, local: self.local })
    }

    /// Where it listens; the port is the real one if 0 was asked for.
    pub fn local(&self) -> PeerAddr {
        self.local
    }

    /// Where a Unix socket listens, as whoever bound it wrote it.
    pub fn path(&self) -> Option<PathBuf> {
        Some(self.socket.local_addr().ok()?.as_pathname()?.to_owned())
    }

    /// Accepts a connection only once its client has said something, or a second has passed: for
    /// protocols in which the client speaks first. One that sends its request right behind the
    /// handshake, as almost all do, then is served without being waited for. Apache's httpd does
    /// so too.
    pub fn await_first_word(&self) -> io::Result<()> {
        match self.local {
            PeerAddr::Ip(_) => Ok(setsockopt(&self.socket, DeferAccept, &1)?),
            PeerAddr::Unix => Ok(()),
        }
    }

    /// Whether it takes datagrams, and not connections.
    pub fn is_datagram(&self) -> bool {
        self.socket.r#type().is_ok_and(|kind| kind == Type::DGRAM)
    }

    /// Joins the runtime of this thread. Panics outside of one.
    pub fn listen(self) -> io::Result<Listener> {
        Listener::of(self.socket.into(), self.local)
    }
}

/// TCP_DEFER_ACCEPT, in seconds. Only this crate makes options that it does not name itself
/// without `unsafe` on our side.
#[derive(Clone, Copy, Debug)]
struct DeferAccept;
nix::setsockopt_impl!(
    DeferAccept,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    usize,
    nix::sys::socket::sockopt::SetUsize
);
