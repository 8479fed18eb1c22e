//! UDP: datagrams between clients and endpoints, as flows.
//!
//! A flow is what passes between one address of a client and one of ours. It has one endpoint, and
//! a socket of its own that hears nobody else, so that only replies of that endpoint reach the
//! client. It ends when nothing has passed for a while, or when it has had the replies it is due.
//!
//! Everything of a flow happens on the worker whose socket the kernel gives its datagrams to.
//! Nothing waits for room: a datagram that cannot be sent at once is lost, as anywhere on its way.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::oneshot;
use transom_net::dial::connect_udp;
use transom_net::proxy_protocol::{self, Parsed};
use transom_net::tasks::Tasks;
use transom_net::udp::{Batch, Conversation, Datagrams, send_first};
use transom_net::{Address, Deadline};
use transom_proxy::announce::Client;
use transom_proxy::destination::{Ask, AttemptResult, Destination, Endpoint, Lease, Leasing};
use transom_proxy::exchange::RequestId;
use transom_proxy::fault::Code;
use transom_proxy::local::Local;
use transom_proxy::record::{Passed, RelayEnd, Transport};

use super::Listener;
use super::flows::{Flows, Key};
use super::story::Story;

/// What a UDP listener does with datagrams.
pub struct Relay {
    pub listener: Listener,
    pub destination: Arc<dyn Destination>,
    /// Whether each datagram is balanced by itself, so that one client may have several endpoints.
    pub per_datagram: bool,
    /// How long a flow lasts on which nothing passes. Default 30 s.
    pub idle: Duration,
    /// Replies due for each datagram of a client, after which the flow ends. Default: unknown.
    pub replies: Option<u32>,
    /// Flows at once, over all workers; one that was quiet for long makes room.
    pub most: usize,
    /// Flows of one client at once, on each worker: one IPv4 address or one IPv6 /64.
    pub most_per_client: usize,
    /// How many times the bytes of its datagrams a client is sent at most, as its address may be
    /// somebody else's. Default 100.
    pub amplification: Option<u32>,
    /// Who may say before each datagram for whom it speaks.
    pub proxies: Option<Proxies>,
}

/// Who may send the header of the PROXY protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    pub from: Vec<IpNet>,
    /// Whether those may leave it out.
    pub optional: bool,
}

/// Why a datagram went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its client may not send here.
    Address,
    /// Its client has all the flows it may have.
    FlowsPerClient,
    /// No endpoint is there, or no socket could be had.
    NoEndpoint,
    /// The header of the PROXY protocol was missing, malformed or sent by someone who may not.
    ProxyHeader,
}

/// The owner of the socket: is asked for the relay, and told what becomes of flows.
pub trait Owner: 'static {
    /// Held as long as a flow is open.
    type Open: 'static;

    /// Whether this client may send.
    fn lets_pass(&self, client: SocketAddr) -> bool;
    /// What runs now; nothing where the listener is for something else meanwhile.
    fn relay(&self) -> Option<Arc<Relay>>;
    fn opened(&self) -> Self::Open;
    /// How many flows are open, over all workers.
    fn open(&self) -> usize;
    fn refused(&self, why: Refused);
}

/// While the listener drains, flows end after so much silence.
const DRAIN: Duration = Duration::from_secs(2);

/// The order to begin no flow any more.
pub struct Stop<T> {
    /// Kept until the socket is closed.
    pub held: T,
    /// Other sockets of ours take what is sent to this address from now on.
    pub replaced: bool,
}

/// How long after the order there may be datagrams that came before it.
const UNHEARD: Duration = Duration::from_millis(50);

/// Takes datagrams on one worker until told to stop, and then for as long as flows are open.
pub async fn serve<O: Owner, T>(
    socket: Datagrams,
    owner: O,
    local: Rc<Local>,
    tasks: Tasks,
    mut stop: oneshot::Receiver<Stop<T>>,
) {
    let post = Rc::new(Post {
        socket,
        owner,
        local,
        tasks,
        batch: RefCell::default(),
        flows: Flows::default(),
    });
    let order = tokio::select! {
        biased;
        order = &mut stop => order,
        () = post.receive() => return,
    };
    if order.as_ref().is_ok_and(|order| order.replaced) {
        // where that is not allowed, they have what comes when this one is closed
        let _ = post.socket.give_over();
    }
    // what came before the order is served
    let mut receive = pin!(post.receive());
    tokio::select! {
        () = receive.as_mut() => {}
        () = tokio::time::sleep(UNHEARD) => {}
    }
    post.flows.drain();
    post.local.worker.wheel().wake_all();
    tokio::select! {
        () = receive => {}
        () = post.flows.are_over() => {}
    }
    drop(order);
}

/// Batches of one flow, after which others have their turn.
const ROUNDS: usize = 16;

/// What the flows of one socket share.
struct Post<O: Owner> {
    socket: Datagrams,
    owner: O,
    local: Rc<Local>,
    tasks: Tasks,
    /// Lent to whoever receives; never across a wait.
    batch: RefCell<Batch>,
    flows: Flows<Flow>,
}

/// One flow, as the socket's side and its own task see it.
pub(super) struct Flow {
    conversation: Conversation,
    /// Where replies go, and which address of ours they come from.
    from: SocketAddr,
    to: Option<IpAddr>,
    /// Goes before each datagram to the endpoint.
    header: Vec<u8>,
    /// When something passed last.
    last: Cell<Instant>,
    deadline: RefCell<Deadline>,
    bytes: Cell<Passed>,
    datagrams: Cell<Passed>,
    lost: Cell<u64>,
    /// Nobody listens at the endpoint.
    refused: Cell<bool>,
}

impl<O: Owner> Post<O> {
    /// Passes on what clients send. Never returns.
    async fn receive(self: &Rc<Self>) {
        poll_fn(|cx| {
            loop {
                let mut batch = self.batch.borrow_mut();
                if ready!(self.socket.poll_receive(&mut batch, cx)).is_err() {
                    // An ICMP error to a reply, or no memory: the next datagram is another matter.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let Some(relay) = self.owner.relay() else { continue };
                for datagram in batch.datagrams() {
                    let sent = self.take(&relay, datagram.from, datagram.to, datagram.bytes);
                    if let Err(why) = sent {
                        self.owner.refused(why);
                    }
                }
            }
        })
        .await
    }

    fn take(
        self: &Rc<Self>,
        relay: &Arc<Relay>,
        from: SocketAddr,
        to: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Refused> {
        let (client, local, bytes) = self.proxied(relay, from, to, bytes)?;
        let mut key = Key { from, to, client, endpoint: 0 };
        if !relay.per_datagram && self.goes_on(&key, bytes) {
            return Ok(());
        }
        if !self.owner.lets_pass(client) || from.port() == 0 {
            return Err(Refused::Address);
        }
        let lease = self.lease(relay, client)?;
        if relay.per_datagram {
            key.endpoint = lease.endpoint().key;
            if self.goes_on(&key, bytes) {
                return Ok(());
            }
        }
        self.begin(relay, key, local, lease, bytes)
    }

    /// Client, address it has sent to and payload, as a trusted proxy says before the latter.
    fn proxied<'b>(
        &self,
        relay: &Relay,
        from: SocketAddr,
        to: Option<IpAddr>,
        bytes: &'b [u8],
    ) -> Result<(SocketAddr, SocketAddr, &'b [u8]), Refused> {
        let local = self.socket.local();
        let local = SocketAddr::new(to.unwrap_or(local.ip()), local.port());
        let Some(proxies) = &relay.proxies else { return Ok((from, local, bytes)) };
        if proxies.from.iter().any(|block| block.contains(&from.ip()))
            && let Ok(Parsed::Header { header, consumed }) = proxy_protocol::parse(bytes)
        {
            let client = header.source().unwrap_or(from);
            let local = header.destination().unwrap_or(local);
            return Ok((client, local, &bytes[consumed..]));
        }
        match proxies.optional {
            true => Ok((from, local, bytes)),
            false => Err(Refused::ProxyHeader),
        }
    }

    fn lease(&self, relay: &Relay, client: SocketAddr) -> Result<Lease, Refused> {
        let now = self.local.worker.now();
        match relay.destination.lease(&Ask { client: client.ip(), http: None, tried: &[], now }) {
            Leasing::Ready(lease) => Ok(lease),
            // A datagram does not wait.
            Leasing::Wait(_) | Leasing::Refused(_) => Err(Refused::NoEndpoint),
        }
    }

    /// Sends a datagram to the endpoint of the flow it belongs to; whether there is one.
    fn goes_on(&self, key: &Key, bytes: &[u8]) -> bool {
        let Some(flow) = self.flows.get(key) else { return false };
        let sent = flow.conversation.send(&flow.header, bytes);
        if sent.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
            // What came before was not taken: this one may have more luck elsewhere.
            flow.refused.set(true);
            self.flows.end(key);
            return false;
        }
        flow.took(bytes.len(), sent.is_ok(), self.local.worker.now());
        true
    }

    /// A new flow, which begins with these bytes.
    fn begin(
        self: &Rc<Self>,
        relay: &Arc<Relay>,
        key: Key,
        local: SocketAddr,
        lease: Lease,
        bytes: &[u8],
    ) -> Result<(), Refused> {
        if self.flows.is_draining() {
            return Err(Refused::NoEndpoint);
        }
        if self.flows.of(key.client.ip()) >= relay.most_per_client {
            return Err(Refused::FlowsPerClient);
        }
        if self.owner.open() >= relay.most && !self.flows.make_room(|flow| flow.last.get()) {
            return Err(Refused::NoEndpoint);
        }
        let endpoint = lease.endpoint().clone();
        let Address::Tcp(address) = endpoint.target.address else {
            return Err(Refused::NoEndpoint);
        };
        let id = self.local.request_id();
        let header = header(&endpoint, key.client, local, &id);
        let source = endpoint.target.source;
        let opened = connect_udp(address, source, Some(key.client)).and_then(|socket| {
            let sent = send_first(&socket, &header, bytes).is_ok();
            Ok((self.socket.conversation(socket)?, sent))
        });
        let Ok((conversation, sent)) = opened else {
            lease.end(AttemptResult::Failed(Code::ConnectFailed));
            return Err(Refused::NoEndpoint);
        };
        let flow = Rc::new(Flow {
            conversation,
            from: key.from,
            to: key.to,
            header,
            last: Cell::new(self.local.worker.now()),
            deadline: RefCell::new(self.local.worker.deadline()),
            bytes: Cell::default(),
            datagrams: Cell::default(),
            lost: Cell::default(),
            refused: Cell::default(),
        });
        flow.took(bytes.len(), sent, self.local.worker.now());
        let (post, relay, its) = (self.clone(), relay.clone(), flow.clone());
        let open = self.owner.opened();
        let number = self.flows.next_number();
        let task = self.tasks.start("flow", async move {
            let _open = open;
            let _place = Place { post: post.clone(), key, number };
            let mut story = Story::new(Transport::Udp, key.client, &relay.listener, &post.local);
            story.relayed.id = id;
            story.relayed.endpoint = Some(endpoint);
            story.relayed.attempts = 1;
            let mut told = Told { flow: &its, story, lease: Some(lease), relay: &relay };
            told.story.relayed.end = post.converse(&its, &relay).await;
        });
        self.flows.insert(key, number, flow, task.abort_handle());
        Ok(())
    }

    /// Passes on what the endpoint sends, until the flow has ended.
    async fn converse(&self, flow: &Flow, relay: &Relay) -> RelayEnd {
        loop {
            let mut readable = pin!(flow.conversation.readable());
            let is_idle = poll_fn(|cx| {
                if readable.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                let draining = self.flows.is_draining();
                let idle = if draining { relay.idle.min(DRAIN) } else { relay.idle };
                flow.poll_idle(idle, &self.local, cx).map(|()| true)
            });
            if is_idle.await {
                return RelayEnd::Idle;
            }
            for _ in 0..ROUNDS {
                let mut batch = self.batch.borrow_mut();
                match flow.conversation.try_receive(&mut batch) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        flow.refused.set(true);
                        return RelayEnd::Endpoint;
                    }
                    Err(_) => break,
                }
                for datagram in batch.datagrams() {
                    self.reply(flow, relay, datagram.bytes);
                }
                if flow.has_its_replies(relay) {
                    return RelayEnd::Closed;
                }
            }
        }
    }

    fn reply(&self, flow: &Flow, relay: &Relay, bytes: &[u8]) {
        let passed = flow.bytes.get();
        let sent = relay.amplification.is_none_or(|factor| {
            passed.to_client + bytes.len() as u64 <= passed.to_endpoint * u64::from(factor)
        }) && self.socket.send(flow.from, flow.to, bytes).is_ok();
        flow.gave(bytes.len(), sent, self.local.worker.now());
    }
}

/// What stands before each datagram to the endpoint.
fn header(endpoint: &Endpoint, client: SocketAddr, local: SocketAddr, id: &RequestId) -> Vec<u8> {
    let Some(announce) = &endpoint.announce else { return Vec::new() };
    announce.datagram(&Client {
        source: client,
        destination: local,
        name: None,
        alpn: None,
        tls: None,
        id: id.to_string().as_bytes(),
    })
}

impl Flow {
    /// A datagram of the client.
    fn took(&self, bytes: usize, sent: bool, now: Instant) {
        self.last.set(now);
        if !sent {
            return self.lost.set(self.lost.get() + 1);
        }
        let (mut sum, mut count) = (self.bytes.get(), self.datagrams.get());
        sum.to_endpoint += bytes as u64;
        count.to_endpoint += 1;
        self.bytes.set(sum);
        self.datagrams.set(count);
    }

    /// A datagram of the endpoint.
    fn gave(&self, bytes: usize, sent: bool, now: Instant) {
        self.last.set(now);
        if !sent {
            return self.lost.set(self.lost.get() + 1);
        }
        let (mut sum, mut count) = (self.bytes.get(), self.datagrams.get());
        sum.to_client += bytes as u64;
        count.to_client += 1;
        self.bytes.set(sum);
        self.datagrams.set(count);
    }

    fn has_its_replies(&self, relay: &Relay) -> bool {
        let count = self.datagrams.get();
        relay.replies.is_some_and(|due| count.to_client >= u64::from(due) * count.to_endpoint)
    }

    /// Ready when nothing has passed for `idle`.
    fn poll_idle(&self, idle: Duration, local: &Local, cx: &mut Context<'_>) -> Poll<()> {
        let mut deadline = self.deadline.borrow_mut();
        let due = self.last.get() + idle;
        if local.worker.now() >= due {
            return Poll::Ready(());
        }
        // It may fire early, for what has passed since; then it is only set again.
        deadline.set(due);
        deadline.poll_passed(cx)
    }
}

/// The end of a flow, however it comes: the record is told, and the lease ends.
struct Told<'a> {
    flow: &'a Flow,
    story: Story<'a>,
    lease: Option<Lease>,
    relay: &'a Relay,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let relayed = &mut self.story.relayed;
        (relayed.passed, relayed.datagrams) = (self.flow.bytes.get(), self.flow.datagrams.get());
        let answered = relayed.datagrams.to_client > 0;
        let unanswered = self.relay.replies.is_some_and(|due| due > 0) && !answered;
        let fault = match relayed.end {
            _ if self.flow.refused.get() => Some(Code::ConnectRefused),
            RelayEnd::Idle if unanswered => Some(Code::ResponseTimeout),
            _ => None,
        };
        if fault.is_some() {
            relayed.end = RelayEnd::Endpoint;
        }
        relayed.fault = fault;
        if self.flow.lost.get() > 0 {
            relayed.detail = Some(format!("{} datagrams were lost", self.flow.lost.get()).into());
        }
        if let Some(lease) = self.lease.take() {
            lease.end(fault.map_or(AttemptResult::Carried, AttemptResult::Failed));
        }
    }
}

/// A flow's place among the others, which is free when its task ends.
struct Place<O: Owner> {
    post: Rc<Post<O>>,
    key: Key,
    number: u64,
}

impl<O: Owner> Drop for Place<O> {
    fn drop(&mut self) {
        self.post.flows.remove(&self.key, self.number);
    }
}
