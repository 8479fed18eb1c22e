//! From a listening socket to HTTP, or to a relay: who may come in, what they say about themselves, TLS.
//!
//! One [`Door`] per listening address, shared by all workers; each worker accepts on a socket of
//! its own and serves what it accepted.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transom_balance::relay::{self, Relay, udp};
use transom_net::blocks;
use transom_net::clients::Pace;
use transom_net::listen::{Accepted, Listener};
use transom_net::peer::PeerAddr;
use transom_net::pressure::{BEAT, Level, Room};
use transom_net::tasks::Tasks;
use transom_net::tls::server::{self, HandshakeError, ServerTls, Turns};
use transom_net::{Stream, Worker, stream};
use transom_proxy::patience::within;
use transom_proxy::peer::Peer;
use transom_proxy::serve::ceilings::OverLimit;
use transom_proxy::serve::{self, Serving};
use transom_proxy::site::Site;

use crate::observe::metrics::{ListenerMetrics, Refusal, Transport};

mod announced;
mod entry;
mod hatch;
mod listening;

use entry::{Entry, Held};
pub use hatch::Hatch;
pub use listening::{Counts, Listening, ProxyRule};

/// A listening address and what is served on it now.
pub struct Door {
    /// As the file writes it.
    pub address: String,
    /// What it is bound to.
    pub local: PeerAddr,
    pub site: Arc<ArcSwap<Site>>,
    /// In place of the site: connections are carried as they are.
    relay: ArcSwapOption<Relay>,
    /// Or datagrams are.
    flows: ArcSwapOption<udp::Relay>,
    rules: ArcSwap<Rules>,
    /// Open connections over all workers.
    pub open: AtomicUsize,
    metrics: ListenerMetrics,
}

/// What a connection passes before HTTP.
struct Rules {
    clients: Option<blocks::Rule>,
    connection_rate: Option<Pace>,
    over_limit: OverLimit,
    counts: Arc<entry::Counts>,
    tls: Option<Arc<ServerTls>>,
    proxy_protocol: Option<ProxyRule>,
    handshake_timeout: Option<Duration>,
    /// That wait for their turn on one worker.
    handshakes: usize,
    proxy_timeout: Option<Duration>,
}

impl Rules {
    fn of(listening: &Listening) -> Arc<Self> {
        listening.counts.connections.turnstile.set(listening.turnstile);
        Arc::new(Rules {
            clients: listening.clients.clone(),
            connection_rate: listening.connection_rate,
            over_limit: listening.over_limit,
            counts: listening.counts.connections.clone(),
            tls: listening.tls.clone(),
            proxy_protocol: listening.proxy_protocol.clone(),
            handshake_timeout: listening.handshake_timeout,
            handshakes: listening.handshakes,
            proxy_timeout: listening.proxy_timeout,
        })
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
            relay: ArcSwapOption::new(listening.relay.clone()),
            flows: ArcSwapOption::new(listening.flows.clone()),
            rules: ArcSwap::new(Rules::of(listening)),
            open: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Serves this from the next connection and the next request on.
    pub fn update(&self, listening: &Listening) {
        self.site.store(listening.site.clone());
        self.relay.store(listening.relay.clone());
        self.flows.store(listening.flows.clone());
        self.rules.store(Rules::of(listening));
    }

    /// Whether connections are carried as they are.
    pub fn is_relay(&self) -> bool {
        self.relay.load().is_some()
    }

    /// Whether datagrams to an address are for this door once nobody listens there.
    pub fn takes_what_comes_to(&self, other: &Door) -> bool {
        let datagrams = [self, other].iter().all(|door| door.flows.load().is_some());
        let (PeerAddr::Ip(ours), PeerAddr::Ip(theirs)) = (self.local, other.local) else {
            return false;
        };
        datagrams && ours.ip().is_unspecified() && ours.port() == theirs.port()
    }

    fn local_address(&self) -> SocketAddr {
        match self.local {
            PeerAddr::Ip(address) => address.socket(),
            PeerAddr::Unix => Peer::NOWHERE,
        }
    }
}

/// A connection that the kernel has begun to make is complete after one round trip, and its client's
/// first word, which is waited for, comes soon after; so long after the last one there are no more.
const LAST_ROUND_TRIP: Duration = Duration::from_millis(500);
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
            accepted = accept_while_there_is_room(&door, &listener, worker, note) => accepted,
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

/// Where there is no room, or too many have come just now, who connects waits in the kernel's queue.
async fn accept_while_there_is_room(
    door: &Door,
    listener: &Listener,
    worker: &Worker,
    note: impl FnMut(&io::Error),
) -> Accepted {
    loop {
        let pressure = worker.pressure();
        if pressure.level() == Level::Closed {
            tokio::time::sleep(BEAT).await;
            continue;
        }
        let now = Instant::now();
        let own = door.rules.load().counts.turnstile.closed_for(now);
        match own.max(pressure.turnstile.closed_for(now)) {
            Some(closed) => tokio::time::sleep(closed).await,
            None => break,
        }
    }
    listener.accept(note).await
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
    let rules = door.rules.load_full();
    let now = Instant::now();
    rules.counts.turnstile.passed(now);
    serving.local.worker.pressure().turnstile.passed(now);
    let open = rules.counts.open.fetch_add(1, Ordering::Relaxed);
    let mut entry = Entry::of(door, &rules);
    // From nine tenths on, those that lie idle make room, a hundredth of all at a time (SL-07).
    if open >= limits.connections - limits.connections / 10 {
        serving.make_room(limits.connections / 100 + 1);
    }
    if open >= limits.connections {
        door.metrics.refused(worker, Refusal::Connections);
        return;
    }
    match serving.local.worker.pressure().connections.enter() {
        Room::Unlimited => {}
        Room::Counted => entry.total = Some(serving.local.worker.clone()),
        Room::None => return door.metrics.refused(worker, Refusal::Connections),
    }
    // Behind a balancer the client is whom it names.
    if rules.proxy_protocol.is_none()
        && let Err(why) = entry.let_in(&rules, address, limits.connections_per_client)
    {
        door.metrics.refused(worker, why);
        return turn_off(accepted, entry, &rules, why, serving, connections);
    }
    let transport = if door.is_relay() { Transport::Tcp } else { Transport::Http };
    entry.counted = Some(door.metrics.accepted(worker, transport));
    let (serving, turns) = (serving.clone(), turns.clone());
    let door = door.clone();
    connections.start("connection", async move {
        let mut entry = entry;
        match accepted {
            Accepted::Tcp(socket, _) => {
                tcp(&door, rules, socket, address, serving, &turns, &mut entry).await;
            }
            Accepted::Unix(socket) => {
                let stream = Stream::unix(socket, serving.local.worker.clone());
                let peer = Rc::new(Peer::new(Peer::NOWHERE, Peer::NOWHERE, None));
                speak(&door, stream, peer, serving).await;
            }
        }
    });
}

/// Ends a connection as the listener wants it for those who are over a limit of their own.
fn turn_off(
    accepted: Accepted,
    entry: Entry,
    rules: &Rules,
    why: Refusal,
    serving: &Rc<Serving>,
    connections: &Tasks,
) {
    let Accepted::Tcp(socket, _) = accepted else { return };
    match rules.over_limit {
        _ if why == Refusal::Address => {}
        OverLimit::Refuse => {}
        OverLimit::Drop => stream::vanish(&socket),
        OverLimit::Tarpit(time) => {
            // A tenth of the places at most: they are for clients.
            let most = serving.sites.current().limits.connections / 10;
            let held = Held::begin(rules.counts.clone());
            if held.others < most {
                let worker = serving.local.worker.clone();
                connections.start("tarpit", async move {
                    within(&worker, time, std::future::pending::<()>()).await;
                    drop((socket, held, entry));
                });
            }
        }
    }
}

async fn tcp(
    door: &Door,
    rules: Arc<Rules>,
    socket: std::net::TcpStream,
    mut address: SocketAddr,
    serving: Rc<Serving>,
    turns: &Turns,
    entry: &mut Entry,
) {
    let worker = serving.local.worker.clone();
    if rules.tls.is_none() && rules.proxy_protocol.is_none() {
        drop(rules);
        let peer = Rc::new(Peer::new(address, door.local_address(), None));
        return speak(door, Stream::fresh(socket, worker), peer, serving).await;
    }
    let Ok(mut socket) = TcpStream::from_std(socket) else {
        return door.metrics.refused(worker.id(), Refusal::Exhausted);
    };
    let mut local = door.local_address();
    if let Some(rule) = &rules.proxy_protocol {
        // Boxed, so that its buffer is not carried along by every connection.
        let header = announced::read(&mut socket, address, rule, rules.proxy_timeout, &worker);
        match Box::pin(header).await {
            Ok(Some((source, destination))) => (address, local) = (source, destination),
            Ok(None) => {}
            Err(announced::Refused) => {
                return door.metrics.refused(worker.id(), Refusal::ProxyHeader);
            }
        }
    }
    if rules.proxy_protocol.is_some() {
        let most = serving.sites.current().limits.connections_per_client;
        if let Err(why) = entry.let_in(&rules, address, most) {
            return door.metrics.refused(worker.id(), why);
        }
    }
    let Some(tls) = &rules.tls else {
        let peer = Rc::new(Peer::new(address, local, None));
        drop(rules);
        return speak(door, Stream::tcp(socket, worker), peer, serving).await;
    };
    let limit = rules.handshake_timeout.unwrap_or(Duration::MAX / 4);
    let accepting = server::accept_in_turn(&mut socket, tls, turns, rules.handshakes);
    match Box::pin(within(&worker, limit, accepting)).await {
        Some(Ok((session, facts))) => {
            let peer = Rc::new(Peer::new(address, local, Some(facts)));
            drop(rules);
            speak(door, Stream::tls(socket, session, worker), peer, serving).await;
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

/// What the listener is for.
async fn speak(door: &Door, stream: Stream, peer: Rc<Peer>, serving: Rc<Serving>) {
    let Some(relay) = door.relay.load_full() else {
        return serve::serve(stream, peer, serving).await;
    };
    relay::tcp::serve(stream, peer, relay, serving.local.clone()).await;
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
