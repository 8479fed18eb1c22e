//! Sockets that accept: bound before anything else starts, used by the workers.
//!
//! [`bind`] makes one socket per worker for the same address (SO_REUSEPORT), so the kernel spreads
//! connections and no worker waits for another. A [`Bound`] belongs to no runtime; each worker makes
//! its own into a [`Listener`].

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::setsockopt;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};

use crate::peer::PeerAddr;

/// Connections the kernel may hold for us; it takes the lower of this and `somaxconn`.
const BACKLOG: i32 = 4096;

/// How long nothing is accepted when descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Silence after which the kernel asks whether the other end is still there.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);

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

    /// Takes over a listening socket that was handed to us.
    pub fn adopt(socket: OwnedFd) -> Result<Self, ListenError> {
        let socket = Socket::from(socket);
        let failed = |error| ListenError::new(Place::Inherited, error);
        let check = || -> io::Result<()> {
            if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
                return Err(io::Error::new(ErrorKind::InvalidInput, "not a listening socket"));
            }
            socket.set_nonblocking(true)?;
            if socket.local_addr()?.as_socket().is_some() {
                socket.set_tcp_nodelay(true)?;
                socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
            }
            Ok(())
        };
        check().map_err(failed)?;
        Self::of(socket).map_err(failed)
    }

    /// Takes over a listening socket by its number, as systemd's LISTEN_FDS gives it.
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
        let socket = OwnedFd::from(self.socket);
        let inner = match self.local {
            PeerAddr::Ip(_) => Inner::Tcp(watch(socket)?),
            PeerAddr::Unix => Inner::Unix(UnixListener::from_std(socket.into())?),
        };
        Ok(Listener { inner, local: self.local })
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

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    place: Place,
    error: io::Error,
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    Inherited,
}

impl ListenError {
    fn new(place: Place, error: io::Error) -> Self {
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::tls::testing::block_on;

    fn port(bound: &Bound) -> u16 {
        let PeerAddr::Ip(address) = bound.local() else { panic!("is TCP") };
        address.port()
    }

    #[test]
    fn workers_share_a_port_and_nobody_else_does() {
        block_on(async {
            let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
            let port = port(&sockets[0]);
            assert!(sockets.iter().all(|socket| self::port(socket) == port));
            let error = bind(([127, 0, 0, 1], port).into(), 1).unwrap_err();
            assert_eq!(error.to_string(), format!("address 127.0.0.1:{port} is already in use"));
            assert!(error.hint().unwrap().contains("ss -ltnp"));

            let listeners: Vec<_> =
                sockets.into_iter().map(|socket| socket.listen().unwrap()).collect();
            let _client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (accepted, ..) = tokio::select! {
                a = listeners[0].accept(|_| ()) => (a,),
                a = listeners[1].accept(|_| ()) => (a,),
                a = listeners[2].accept(|_| ()) => (a,),
            };
            let Accepted::Tcp(stream, from) = accepted else { panic!("is TCP") };
            assert_eq!(from.ip(), Some([127, 0, 0, 1].into()));
            assert!(stream.nodelay().unwrap(), "inherited from the listener");
        });
    }

    #[test]
    fn a_connection_comes_with_its_first_word_or_after_a_while_without() {
        use std::io::Read;
        block_on(async {
            let bound = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
            bound.await_first_word().unwrap();
            let address = ("127.0.0.1", port(&bound));
            let listener = bound.listen().unwrap();
            let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut talker = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut talker, b"hello").await.unwrap();
            // The one that came later is there first, and can be read from at once.
            let Accepted::Tcp(mut stream, from) = listener.accept(|_| ()).await else {
                panic!("is TCP")
            };
            assert_eq!(from, PeerAddr::from(talker.local_addr().unwrap()));
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), 5);
            let Accepted::Tcp(mut stream, _) = listener.accept(|_| ()).await else {
                panic!("is TCP")
            };
            assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
    }

    #[test]
    fn who_is_in_the_queue_is_served_and_who_comes_later_turned_away() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            block_on(async {
                let bound = bind(address.parse().unwrap(), 1).unwrap().remove(0);
                let PeerAddr::Ip(local) = bound.local() else { panic!("is TCP") };
                let listener = bound.listen().unwrap();
                let connect = || tokio::net::TcpStream::connect(local.socket());
                let mut early = connect().await.unwrap();
                listener.turn_away().unwrap();
                let soon = std::time::Duration::from_millis(200);
                tokio::time::timeout(soon, connect()).await.unwrap_err();
                let Accepted::Tcp(mut stream, _) = listener.accept(|_| ()).await else {
                    panic!("is TCP")
                };
                std::io::Write::write_all(&mut stream, b"served").unwrap();
                drop((stream, listener));
                let mut said = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut early, &mut said).await.unwrap();
                assert_eq!(said, "served");
                assert_eq!(connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            });
        }
    }

    #[test]
    fn an_address_of_nobody_is_told() {
        let error = bind("192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "address 192.0.2.1:0 belongs to no interface of this machine"
        );
    }

    #[test]
    fn any_v6_address_serves_v4_too() {
        block_on(async {
            let mut sockets = bind("[::]:0".parse().unwrap(), 1).unwrap();
            let port = port(&sockets[0]);
            let listener = sockets.remove(0).listen().unwrap();
            let _client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let Accepted::Tcp(_, from) = listener.accept(|_| ()).await else { panic!("is TCP") };
            assert_eq!(from.ip(), Some([127, 0, 0, 1].into()), "undressed");
        });
    }

    #[test]
    fn a_unix_socket_left_by_the_dead_is_replaced() {
        block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("socket");
            let first = bind_unix(&path, 0o600).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let error = bind_unix(&path, 0o600).unwrap_err();
            assert!(error.to_string().ends_with("is already in use"), "{error}");
            drop(first);
            let listener = bind_unix(&path, 0o600).unwrap().listen().unwrap();
            let (client, accepted) =
                tokio::join!(UnixStream::connect(&path), listener.accept(|_| ()));
            client.unwrap();
            assert!(matches!(accepted, Accepted::Unix(_)));

            let file = directory.path().join("file");
            std::fs::write(&file, "precious").unwrap();
            bind_unix(&file, 0o600).unwrap_err();
            assert_eq!(std::fs::read(&file).unwrap(), b"precious");
        });
    }

    #[test]
    fn sockets_are_adopted_by_number() {
        block_on(async {
            let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let adopted = Bound::adopt_number(given.as_raw_fd()).unwrap();
            assert_eq!(adopted.local(), given.local_addr().unwrap().into());
            let listener = adopted.listen().unwrap();
            let _client =
                tokio::net::TcpStream::connect(given.local_addr().unwrap()).await.unwrap();
            listener.accept(|_| ()).await;

            let file = tempfile::tempfile().unwrap();
            let error = Bound::adopt_number(file.as_raw_fd()).unwrap_err().to_string();
            assert!(error.starts_with("inherited socket cannot be used"), "{error}");
            assert!(Bound::adopt_number(-1).is_err());
        });
    }
}
