//! Datagrams: many with one system call in, and out from the address they were sent to.
//!
//! [`bind`] makes one socket per worker for the same address (SO_REUSEPORT); the kernel gives all
//! datagrams between the same two addresses to the same one. What the system calls need beyond
//! safe ones (the address a datagram was sent to, batches) comes from `quinn-udp`.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::listen::{Bound, ListenError};
use crate::peer::unmapped;

/// Datagrams taken with one system call.
const BATCH: usize = quinn_udp::BATCH_SIZE;
/// The longest datagram there is, or as many short ones as the kernel has put together.
const ROOM: usize = 64 * 1024;
/// What the kernel is asked to hold for us; it grants less unless `net.core.rmem_max` is raised.
const QUEUE: usize = 4 << 20;

/// Binds `workers` sockets to one address, all or none; port 0 takes a free one for all of them.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<Bound>, ListenError> {
    let failed = |error| ListenError::udp(address, error);
    if address.port() != 0 {
        // SO_REUSEPORT would let a second instance of ours share the port in silence.
        drop(one(address, false).map_err(failed)?);
    }
    bind_beside_own(address, workers)
}

/// As [`bind`], where sockets of this process take datagrams at a part of the address already, or at
/// more than it. The kernel gives a datagram to the most specific one. Whoever else of this user has
/// the port and would share it is not noticed.
///
/// # Errors
/// When the address cannot be had.
pub fn bind_beside_own(address: SocketAddr, workers: usize) -> Result<Vec<Bound>, ListenError> {
    let failed = |error| ListenError::udp(address, error);
    let first = one(address, true).map_err(failed)?;
    let port = first.local().port().unwrap_or(address.port());
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(one(SocketAddr::new(address.ip(), port), true).map_err(failed)?);
    }
    Ok(sockets)
}

fn one(address: SocketAddr, shared: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    let _ = socket.set_recv_buffer_size(QUEUE);
    socket.bind(&address.into())?;
    Bound::of(socket)
}

/// Room for a batch of datagrams, lent to whoever receives: one for each worker will do.
pub struct Batch {
    room: Box<[u8]>,
    metas: [RecvMeta; BATCH],
    count: usize,
}

/// A datagram as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub from: SocketAddr,
    /// The address of ours it was sent to.
    pub to: Option<IpAddr>,
    pub bytes: &'a [u8],
}

impl Default for Batch {
    fn default() -> Self {
        // Zeroed, and touched by the system only as far as it is used.
        let room = vec![0; BATCH * ROOM].into_boxed_slice();
        Batch { room, metas: [RecvMeta::default(); BATCH], count: 0 }
    }
}

impl Batch {
    /// What was received last.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let filled = self.metas[..self.count].iter().zip(self.room.chunks(ROOM));
        filled.flat_map(|(meta, room)| {
            let bytes = &room[..meta.len.min(ROOM)];
            // Several of the same length, the last one perhaps shorter, that came together.
            let one = |bytes| Datagram { from: unmapped(meta.addr), to: meta.dst_ip, bytes };
            let empty = bytes.is_empty().then_some(&[][..]);
            empty.into_iter().chain(bytes.chunks(meta.stride.max(1))).map(one)
        })
    }

    /// Takes what lies in `socket`, at most `most`; whether that was all.
    fn receive(
        &mut self,
        socket: &UdpSocket,
        state: &UdpSocketState,
        most: usize,
    ) -> io::Result<bool> {
        self.count = 0;
        let most = most.min(BATCH);
        let mut rooms = self.room.chunks_mut(ROOM).map(IoSliceMut::new);
        let mut rooms: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| rooms.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        self.count =
            state.recv(UdpSockRef::from(socket), &mut rooms[..most], &mut self.metas[..most])?;
        Ok(self.count < most)
    }
}

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    state: Rc<UdpSocketState>,
    local: SocketAddr,
    /// Whether it listens on one address, so that replies need not say where they come from.
    single: bool,
}

impl Datagrams {
    /// Joins the runtime of this thread. Panics outside of one.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn new(socket: Bound) -> io::Result<Self> {
        let socket = std::net::UdpSocket::from(std::os::fd::OwnedFd::from(socket));
        let local = socket.local_addr()?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // It is not for us to say how long a datagram may be: that is between the two ends. And
        // what routers on the way claim is not believed (RFC 8085 §3.2).
        if local.is_ipv4() {
            sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::OMIT)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Datagrams {
            socket: UdpSocket::from_std(socket)?,
            state: Rc::new(state),
            local,
            single: !local.ip().is_unspecified(),
        })
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// From now on, what comes from clients is for other sockets of ours that listen at more than its
    /// address; what has come is still received, and replies can be sent. As it is the more specific
    /// one, they would have nothing otherwise until it is closed.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn give_over(&self) -> io::Result<()> {
        match self.single {
            // The kernel gives a connected socket what comes from the other end alone: here, itself.
            true => SockRef::from(&self.socket).connect(&self.local.into()),
            false => Ok(()),
        }
    }

    /// Ready when at least one datagram is in `batch`.
    ///
    /// # Errors
    /// What the system says; the socket can be used on.
    pub fn poll_receive(&self, batch: &mut Batch, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            match try_receive(&self.socket, &self.state, batch, BATCH) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Sends to a client, from the address it has sent to. Does not wait: a datagram for which
    /// there is no room is lost, as anywhere on its way.
    ///
    /// # Errors
    /// What the system says, `WouldBlock` among it.
    pub fn send(&self, to: SocketAddr, from: Option<IpAddr>, bytes: &[u8]) -> io::Result<()> {
        let to = self.dressed(to);
        if self.single {
            return SockRef::from(&self.socket).send_to(bytes, &to.into()).map(|_| ());
        }
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: from,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// IPv4 as a socket of both families writes it.
    fn dressed(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            address => address,
        }
    }

    /// A socket that speaks with one endpoint only, watched by this worker.
    ///
    /// # Errors
    /// When the system cannot watch one more.
    pub fn conversation(&self, socket: Socket) -> io::Result<Conversation> {
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Conversation { socket, state: self.state.clone() })
    }
}

/// A connected socket: the kernel lets through what comes from the endpoint, and nothing else.
#[derive(Debug)]
pub struct Conversation {
    socket: UdpSocket,
    state: Rc<UdpSocketState>,
}

impl Conversation {
    /// Datagrams taken with one system call: a conversation has few at once.
    const BATCH: usize = 8;

    /// Completes when something can be received, or an error is there.
    ///
    /// # Errors
    /// When the runtime is ending.
    pub async fn readable(&self) -> io::Result<()> {
        // An ICMP error makes a socket neither readable nor writable.
        self.socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Takes what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, and `ConnectionRefused` when nobody listens at the
    /// endpoint.
    pub fn try_receive(&self, batch: &mut Batch) -> io::Result<()> {
        match try_receive(&self.socket, &self.state, batch, Self::BATCH) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        let mut told = None;
        let _ = self.socket.try_io(Interest::ERROR, || {
            told = self.socket.take_error()?;
            // Heard once, so the runtime may forget it.
            Err::<(), _>(ErrorKind::WouldBlock.into())
        });
        Err(told.unwrap_or(ErrorKind::WouldBlock.into()))
    }

    /// Sends `header` and `bytes` as one datagram. Does not wait.
    ///
    /// # Errors
    /// What the system says, `WouldBlock` and an earlier `ConnectionRefused` among it.
    pub fn send(&self, header: &[u8], bytes: &[u8]) -> io::Result<()> {
        send(SockRef::from(&self.socket), header, bytes)
    }
}

/// Sends the first datagram over a connected socket that no runtime knows yet.
///
/// # Errors
/// What the system says.
pub fn send_first(socket: &Socket, header: &[u8], bytes: &[u8]) -> io::Result<()> {
    send(SockRef::from(socket), header, bytes)
}

fn send(socket: SockRef<'_>, header: &[u8], bytes: &[u8]) -> io::Result<()> {
    match header.is_empty() {
        true => socket.send(bytes),
        false => socket.send_vectored(&[io::IoSlice::new(header), io::IoSlice::new(bytes)]),
    }
    .map(|_| ())
}

fn try_receive(
    socket: &UdpSocket,
    state: &UdpSocketState,
    batch: &mut Batch,
    most: usize,
) -> io::Result<()> {
    let mut received = false;
    let tried = socket.try_io(Interest::READABLE, || match batch.receive(socket, state, most) {
        // The kernel has said that there is no more, so the runtime may wait for the next to come;
        // asking once more would cost a system call.
        Ok(true) => {
            received = true;
            Err(ErrorKind::WouldBlock.into())
        }
        other => other.map(drop),
    });
    if received { Ok(()) } else { tried }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::dial::{Source, connect_udp};
    use crate::tls::testing::block_on;

    fn listening(address: &str) -> Datagrams {
        let mut sockets = bind(address.parse().unwrap(), 1).unwrap();
        Datagrams::new(sockets.remove(0)).unwrap()
    }

    fn client(to: SocketAddr) -> std::net::UdpSocket {
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(to).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client
    }

    #[test]
    fn batches_hold_what_came_and_from_whom() {
        block_on(async {
            let datagrams = listening("127.0.0.1:0");
            let (one, other) = (client(datagrams.local()), client(datagrams.local()));
            one.send(b"one").unwrap();
            other.send(b"").unwrap();
            other.send(&[7; 60_000]).unwrap();
            let mut batch = Batch::default();
            let mut seen = Vec::new();
            while seen.len() < 3 {
                poll_fn(|cx| datagrams.poll_receive(&mut batch, cx)).await.unwrap();
                seen.extend(batch.datagrams().map(|d| (d.from, d.bytes.to_vec())));
            }
            let from = |client: &std::net::UdpSocket| client.local_addr().unwrap();
            let expect = [
                (from(&one), b"one".to_vec()),
                (from(&other), Vec::new()),
                (from(&other), vec![7; 60_000]),
            ];
            assert_eq!(seen, expect);
        });
    }

    #[test]
    fn u_20_replies_come_from_the_address_that_was_sent_to() {
        block_on(async {
            for any in ["0.0.0.0:0", "[::]:0"] {
                let datagrams = listening(any);
                let port = datagrams.local().port();
                // The whole of 127/8 is this machine.
                let client = client(([127, 0, 0, 9], port).into());
                client.send(b"question").unwrap();
                let mut batch = Batch::default();
                poll_fn(|cx| datagrams.poll_receive(&mut batch, cx)).await.unwrap();
                let question = batch.datagrams().next().unwrap();
                assert_eq!(question.from, client.local_addr().unwrap());
                datagrams.send(question.from, question.to, b"answer").unwrap();
                let mut room = [0; 16];
                // A connected client hears nobody else.
                assert_eq!(client.recv(&mut room).unwrap(), 6, "{any}");
            }
        });
    }

    #[test]
    fn an_endpoint_where_nobody_listens_is_told() {
        block_on(async {
            let datagrams = listening("127.0.0.1:0");
            let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let socket = connect_udp(gone, Source::Any, None).unwrap();
            let conversation = datagrams.conversation(socket).unwrap();
            conversation.send(b"header", b"bytes").unwrap();
            let mut batch = Batch::default();
            conversation.readable().await.unwrap();
            let told = conversation.try_receive(&mut batch).unwrap_err();
            assert_eq!(told.kind(), ErrorKind::ConnectionRefused);
            let told = conversation.try_receive(&mut batch).unwrap_err();
            assert_eq!(told.kind(), ErrorKind::WouldBlock);
        });
    }

    #[test]
    fn workers_share_a_port_and_nobody_else_does() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let port = sockets[0].local().port().unwrap();
        assert!(sockets.iter().all(|socket| socket.local().port() == Some(port)));
        let error = bind(([127, 0, 0, 1], port).into(), 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.hint().unwrap().contains("ss -lunp"));
    }
}
