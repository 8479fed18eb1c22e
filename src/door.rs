//! From a listening socket to HTTP: who may come in, what they say about themselves, TLS.
//!
//! One [`Door`] per listening address, shared by all workers; each worker accepts on a socket of
//! its own and serves what it accepted.

mod clients;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transom_net::blocks;
use transom_net::listen::{Accepted, Listener};
use transom_net::peer::PeerAddr;
use transom_net::proxy_protocol::{self, Parsed};
use transom_net::tasks::Tasks;
use transom_net::tls::server::{self, HandshakeError, ServerTls, Turns};
use transom_net::{Stream, Worker};
use transom_proxy::patience::within;
use transom_proxy::peer::Peer;
use transom_proxy::serve::{self, Serving};
use transom_proxy::site::Site;

use clients::Clients;

use crate::build::{Listening, ProxyRule};
use crate::observe::metrics::{ListenerMetrics, Refusal};

/// A listening address and what is served on it now.
pub struct Door {
    /// As the file writes it.
    pub address: String,
    /// What it is bound to.
    pub local: PeerAddr,
    pub site: Arc<ArcSwap<Site>>,
    rules: ArcSwap<Rules>,
    clients: Clients,
    /// Open connections over all workers.
    pub open: AtomicUsize,
    metrics: ListenerMetrics,
}

/// What a connection passes before HTTP.
struct Rules {
    clients: Option<blocks::Rule>,
    tls: Option<Arc<ServerTls>>,
    proxy_protocol: Option<ProxyRule>,
    handshake_timeout: Option<Duration>,
    /// That wait for their turn on one worker.
    handshakes: usize,
    proxy_timeout: Option<Duration>,
}

impl Rules {
    fn of(listening: &Listening) -> Arc<Self> {
        Arc::new(Rules {
            clients: listening.clients.clone(),
            tls: listening.tls.clone(),
            proxy_protocol: listening.proxy_protocol.clone(),
            handshake_timeout: listening.handshake_timeout,
            handshakes: listening.handshakes,
            proxy_timeout: listening.proxy_timeout,
        })
    }
}

impl Rules {
    /// Whether the listener is for this address. What comes over a Unix socket has none.
    fn let_pass(&self, address: SocketAddr) -> bool {
        address == Peer::NOWHERE
            || self.clients.as_ref().is_none_or(|rule| rule.lets_pass(address.ip()))
    }
}

impl Door {
    pub fn new(
        address: String,
        local: PeerAddr,
        listening: &Listening,
        metrics: ListenerMetrics,
    ) -> Arc<Self> {
        Arc::new(Door {
            address,
            local,
            site: Arc::new(ArcSwap::new(listening.site.clone())),
            rules: ArcSwap::new(Rules::of(listening)),
            clients: Clients::default(),
            open: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Serves this from the next connection and the next request on.
    pub fn update(&self, listening: &Listening) {
        self.site.store(listening.site.clone());
        self.rules.store(Rules::of(listening));
    }

    fn local_address(&self) -> SocketAddr {
        match self.local {
            PeerAddr::Ip(address) => address.socket(),
            PeerAddr::Unix => Peer::NOWHERE,
        }
    }
}

/// A connection that the kernel has begun to make is complete after one round trip; so long after
/// the last one there are no more.
const LAST_ROUND_TRIP: Duration = Duration::from_millis(200);
/// And so long it may take altogether.
const CLOSING: Duration = Duration::from_secs(2);

/// Accepts on one worker until told to stop; what waits in the queue then is still taken. What came
/// with the order is dropped when the socket is closed.
pub async fn accept<T>(
    door: Arc<Door>,
    listener: Listener,
    serving: Rc<Serving>,
    turns: Rc<Turns>,
    connections: Tasks,
    mut stop: tokio::sync::oneshot::Receiver<T>,
) {
    let worker = &serving.local.worker;
    let note = |error: &io::Error| {
        door.metrics.refused(worker.id(), Refusal::Exhausted);
        crate::log::warn(&format!("cannot accept on {}: {error}", door.address));
    };
    let _order = loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept(note) => accepted,
            order = &mut stop => break order,
        };
        take_in(&door, accepted, &serving, &turns, &connections);
    };
    // Connections the kernel has queued are ours: closing now would reset them.
    if let Err(error) = listener.turn_away() {
        crate::log::debug(&format!(
            "new connections to {} are not turned away: {error}",
            door.address
        ));
    }
    let rest = async {
        while let Some(accepted) = within(worker, LAST_ROUND_TRIP, listener.accept(note)).await {
            take_in(&door, accepted, &serving, &turns, &connections);
        }
    };
    within(worker, CLOSING, rest).await;
    drop(listener);
}

fn take_in(
    door: &Arc<Door>,
    accepted: Accepted,
    serving: &Rc<Serving>,
    turns: &Rc<Turns>,
    connections: &Tasks,
) {
    let worker = serving.local.worker.id();
    let address = match &accepted {
        Accepted::Tcp(_, PeerAddr::Ip(address)) => address.socket(),
        _ => Peer::NOWHERE,
    };
    let limits = serving.sites.current().limits;
    let open = door.open.fetch_add(1, Ordering::Relaxed);
    let mut entry = Entry { door: door.clone(), client: None, counted: None };
    // From nine tenths on, those that lie idle make room, a hundredth of all at a time (SL-07).
    if open >= limits.connections - limits.connections / 10 {
        serving.make_room(limits.connections / 100 + 1);
    }
    if open >= limits.connections {
        door.metrics.refused(worker, Refusal::Connections);
        return;
    }
    // Behind a balancer it is not the peer who is asked for.
    let rules = door.rules.load();
    if rules.proxy_protocol.is_none() && !rules.let_pass(address) {
        door.metrics.refused(worker, Refusal::Address);
        return;
    }
    drop(rules);
    let client = Clients::key(address.ip());
    if address != Peer::NOWHERE && !door.clients.enter(client, limits.connections_per_client) {
        door.metrics.refused(worker, Refusal::ConnectionsPerClient);
        return;
    }
    entry.client = (address != Peer::NOWHERE).then_some(client);
    entry.counted = Some(door.metrics.accepted(worker));
    let (serving, turns) = (serving.clone(), turns.clone());
    let door = door.clone();
    connections.start("connection", async move {
        let _entry = entry;
        match accepted {
            Accepted::Tcp(socket, _) => tcp(&door, socket, address, serving, &turns).await,
            Accepted::Unix(socket) => {
                let stream = Stream::unix(socket, serving.local.worker.clone());
                let peer = Rc::new(Peer::new(Peer::NOWHERE, Peer::NOWHERE, None));
                serve::serve(stream, peer, serving).await;
            }
        }
    });
}

async fn tcp(
    door: &Door,
    socket: std::net::TcpStream,
    mut address: SocketAddr,
    serving: Rc<Serving>,
    turns: &Turns,
) {
    let worker = serving.local.worker.clone();
    let rules = door.rules.load_full();
    if rules.tls.is_none() && rules.proxy_protocol.is_none() {
        drop(rules);
        let peer = Rc::new(Peer::new(address, door.local_address(), None));
        return serve::serve(Stream::fresh(socket, worker), peer, serving).await;
    }
    let Ok(mut socket) = TcpStream::from_std(socket) else {
        return door.metrics.refused(worker.id(), Refusal::Exhausted);
    };
    let mut local = door.local_address();
    if let Some(rule) = &rules.proxy_protocol {
        // Boxed, so that its buffer is not carried along by every connection.
        let header = proxied(&mut socket, address, rule, rules.proxy_timeout, &worker);
        match Box::pin(header).await {
            Ok(Some((source, destination))) => (address, local) = (source, destination),
            Ok(None) => {}
            Err(Refused) => return door.metrics.refused(worker.id(), Refusal::ProxyHeader),
        }
    }
    if rules.proxy_protocol.is_some() && !rules.let_pass(address) {
        return door.metrics.refused(worker.id(), Refusal::Address);
    }
    let Some(tls) = &rules.tls else {
        let peer = Rc::new(Peer::new(address, local, None));
        drop(rules);
        return serve::serve(Stream::tcp(socket, worker), peer, serving).await;
    };
    let limit = rules.handshake_timeout.unwrap_or(Duration::MAX / 4);
    let accepting = server::accept_in_turn(&mut socket, tls, turns, rules.handshakes);
    match Box::pin(within(&worker, limit, accepting)).await {
        Some(Ok((session, facts))) => {
            let peer = Rc::new(Peer::new(address, local, Some(facts)));
            drop(rules);
            serve::serve(Stream::tls(socket, session, worker), peer, serving).await;
        }
        Some(Err(HandshakeError::PlainHttp)) => {
            door.metrics.refused(worker.id(), Refusal::Tls);
            Box::pin(answer_in_clear(&mut socket, &worker)).await;
        }
        Some(Err(HandshakeError::TooMany)) => {
            door.metrics.refused(worker.id(), Refusal::Handshakes);
        }
        Some(Err(_)) | None => door.metrics.refused(worker.id(), Refusal::Tls),
    }
}

/// H1-51: plain HTTP on a TLS port gets one answer in clear, which says so.
async fn answer_in_clear(socket: &mut TcpStream, worker: &Worker) {
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Length: 48\r\nConnection: close\r\n\r\nPlain HTTP was sent to a port that speaks TLS.\r\n";
    let answer = async {
        socket.write_all(ANSWER).await?;
        socket.shutdown().await?;
        // Read what is there, so that closing does not reset the answer away.
        socket.read(&mut [0; 4096]).await
    };
    let _ = within(worker, Duration::from_secs(2), answer).await;
}

/// The PROXY header was missing, malformed, too slow or sent by someone who may not.
struct Refused;

/// Reads the PROXY header: source and destination, or nothing where it names none.
async fn proxied(
    socket: &mut TcpStream,
    from: SocketAddr,
    rule: &ProxyRule,
    limit: Option<Duration>,
    worker: &Worker,
) -> Result<Option<(SocketAddr, SocketAddr)>, Refused> {
    let from = from.ip().to_canonical();
    if !rule.from.iter().any(|net| net.contains(&from)) {
        // Nobody else is believed; whether they send one is seen when HTTP is read.
        return if rule.optional { Ok(None) } else { Err(Refused) };
    }
    let limit = limit.unwrap_or(Duration::MAX / 4);
    let header = within(worker, limit, read_proxy_header(socket)).await.ok_or(Refused)?;
    match header {
        Ok(Some(header)) => Ok(header.source().zip(header.destination())),
        Ok(None) if rule.optional => Ok(None),
        _ => Err(Refused),
    }
}

/// Takes exactly the header off the socket: what follows belongs to TLS or HTTP. `None` when what
/// comes is no header at all; it is left there then.
async fn read_proxy_header(socket: &mut TcpStream) -> io::Result<Option<proxy_protocol::Header>> {
    let mut seen: Vec<u8> = Vec::new();
    let mut room = [0; 4096];
    loop {
        let n = socket.peek(&mut room).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = seen.len();
        seen.extend_from_slice(&room[..n]);
        match proxy_protocol::parse(&seen) {
            Ok(Parsed::Header { header, consumed }) => {
                socket.read_exact(&mut room[..consumed - before]).await?;
                return Ok(Some(header));
            }
            Ok(Parsed::Incomplete) => {
                socket.read_exact(&mut room[..n]).await?;
            }
            Err(_) if before == 0 => return Ok(None),
            Err(e) => return Err(io::Error::other(e)),
        }
    }
}

/// A connection while it is open.
struct Entry {
    door: Arc<Door>,
    client: Option<IpAddr>,
    counted: Option<crate::observe::metrics::Open>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(client) = self.client {
            self.door.clients.leave(client);
        }
    }
}
