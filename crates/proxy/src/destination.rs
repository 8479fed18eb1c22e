//! The seam between an action that sends and whoever knows the endpoints.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use transom_net::{Ceiling, Source, Target};

use crate::announce::Announce;
use crate::exchange::Exchange;
use crate::fault::{Code, Fault};
use crate::fields::Fields;
use crate::message::Request;

/// One address that requests may be sent to.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique for address, TLS settings and everything else that a connection to it is bound to:
    /// only connections with the same key are ever shared (RS-19).
    pub key: u64,
    pub target: Target,
    /// As the file names it; for logs, never for clients.
    pub name: String,
    /// `Host` for this endpoint where the route does not keep the client's.
    pub authority: String,
    /// The name of the pool it belongs to, or of the address that stands in its place.
    pub pool: Arc<str>,
    pub keep_alive: KeepAlive,
    /// What it is told of the client before anything else.
    pub announce: Option<Announce>,
    /// Nothing where it is spoken to in HTTP/1.1 alone.
    pub http2: Option<Box<Http2>>,
    /// Below which its open connections stay: its own ceiling and its pool's. Mostly empty.
    pub ceilings: Vec<Arc<Ceiling>>,
}

impl Endpoint {
    /// How many more connections may be opened to it.
    pub fn connections_left(&self) -> usize {
        self.ceilings.iter().map(|ceiling| ceiling.left()).min().unwrap_or(usize::MAX)
    }

    /// Whether it hears for whom a connection is, so that nobody else may use it.
    pub fn is_told_of_clients(&self) -> bool {
        self.announce.is_some() || self.target.source == Source::Client
    }
}

/// How HTTP/2 is spoken to an endpoint.
#[derive(Clone, Debug)]
pub struct Http2 {
    /// As the endpoint's own target, which offers HTTP/1.1 alone; here HTTP/2 is offered (ALPN).
    pub target: Target,
    /// Whether an endpoint that does not choose it is of no use.
    pub required: bool,
    pub rules: Http2Rules,
}

/// What a connection that carries many exchanges may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Rules {
    /// Exchanges at once, where the endpoint allows as many. Default 100.
    pub streams: usize,
    /// How often the endpoint is asked whether it is still there. Default: only after it was late.
    pub ping: Option<Duration>,
    /// How long its answer may take before the connection is given up. Default 10 s.
    pub ping_timeout: Duration,
}

impl Default for Http2Rules {
    fn default() -> Self {
        Http2Rules { streams: 100, ping: None, ping_timeout: Duration::from_secs(10) }
    }
}

/// How idle connections to an endpoint are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long a connection may lie idle. Default 30 s.
    pub idle: Duration,
    /// How many lie idle at most, per worker. Default 64.
    pub most: usize,
    /// How old a connection may become. Default 10 min; each gets up to 10 % less.
    pub age: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        KeepAlive { idle: Duration::from_secs(30), most: 64, age: Duration::from_secs(600) }
    }
}

/// What a destination may look at to choose.
pub struct Ask<'a> {
    pub client: IpAddr,
    /// The request that is to be sent; none where bytes are relayed.
    pub http: Option<Http<'a>>,
    /// Keys of the endpoints that have been tried already.
    pub tried: &'a [u64],
    pub now: Instant,
}

/// An exchange whose request is to be sent: as it came, and as the policies have left it.
#[derive(Clone, Copy)]
pub struct Http<'a> {
    pub exchange: &'a Exchange,
    pub request: &'a Request,
}

/// Answers which endpoint to use now.
pub trait Destination: Send + Sync {
    /// The name of the pool or the address, for logs and metrics.
    fn name(&self) -> &str;

    /// A member for one attempt.
    fn lease(&self, ask: &Ask<'_>) -> Leasing;

    /// A member for an attempt that takes the place of one of which nothing was sent: whoever is
    /// known to work, else anybody, as far as [`Destination::retry`] gives leave. That leave is put
    /// into `permit`, to be kept as long as the attempt lasts.
    fn lease_instead(&self, ask: &Ask<'_>, permit: &mut Option<Permit>) -> Leasing {
        let _ = permit;
        self.lease(ask)
    }

    /// Leave for one attempt more than clients ask for, if there may be one now.
    fn retry(&self, ask: &Ask<'_>) -> Option<Permit> {
        let _ = ask;
        Some(Permit::default())
    }

    /// A response of this endpoint goes to the client: learns from its fields, and adds what the
    /// client must keep to come back.
    fn answered(&self, _: &Ask<'_>, _: &Endpoint, _: &mut Fields) {}

    /// Every endpoint that could be chosen, for `transom explain`.
    fn candidates(&self) -> Vec<Arc<Endpoint>>;
}

/// The outcome of asking for a lease.
pub enum Leasing {
    Ready(Lease),
    /// Every usable member is busy: wait in its queue.
    Wait(Waiting),
    Refused(Fault),
}

/// A place in the queue for a member.
pub type Waiting = Pin<Box<dyn Future<Output = Result<Lease, Fault>>>>;

/// Ready once a member wants back what it has lent.
pub type Recall = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Leave for an attempt beyond the first, given back when dropped.
#[derive(Debug, Default)]
pub struct Permit(Option<Arc<AtomicUsize>>);

impl Permit {
    /// One that is counted as long as it lasts.
    pub fn counted(running: Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Permit(Some(running))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A member of a destination with its live state.
pub trait Member: Send + Sync {
    fn endpoint(&self) -> &Arc<Endpoint>;

    /// The head of a response has come, so long after the lease was given. Once for a lease at most.
    fn answered(&self, _: Duration) {}

    /// The head of a response has come, with these fields.
    fn heard(&self, _: &Fields) {}

    /// Ready once what is still open at this member has to end; nothing where that never happens.
    fn recall(&self) -> Option<Recall> {
        None
    }

    /// One attempt at this member has ended.
    fn ended(&self, outcome: &Outcome);
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub result: AttemptResult,
    /// When the lease was given.
    pub began: Instant,
    /// From the lease to the head of the response, where one came.
    pub latency: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// A whole response with this status.
    Answered(u16),
    /// Bytes were carried until an end that says nothing against the endpoint.
    Carried,
    /// The attempt failed, and the endpoint is to blame.
    Failed(Code),
    /// Given up for a reason that says nothing about the endpoint.
    Abandoned,
}

/// A member held for one attempt. Ending it reports the outcome; dropping it reports
/// [`AttemptResult::Abandoned`].
pub struct Lease {
    member: Option<Arc<dyn Member>>,
    endpoint: Arc<Endpoint>,
    since: Instant,
    answered: Option<Instant>,
}

impl Lease {
    pub fn new(member: Arc<dyn Member>, now: Instant) -> Self {
        let endpoint = member.endpoint().clone();
        Lease { member: Some(member), endpoint, since: now, answered: None }
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The head of the response is there.
    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        if let Some(member) = &self.member {
            member.answered(now.saturating_duration_since(self.since));
        }
    }

    /// What the response's head says of the endpoint, such as how busy it is.
    pub fn heard(&self, fields: &Fields) {
        if let Some(member) = &self.member {
            member.heard(fields);
        }
    }

    /// See [`Member::recall`]; for what may stay open for very long.
    pub fn recall(&self) -> Option<Recall> {
        self.member.as_ref()?.recall()
    }

    /// Ends the lease.
    pub fn end(mut self, result: AttemptResult) {
        self.report(result);
    }

    fn report(&mut self, result: AttemptResult) {
        if let Some(member) = self.member.take() {
            let latency = self.answered.map(|at| at.saturating_duration_since(self.since));
            member.ended(&Outcome { result, began: self.since, latency });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.report(AttemptResult::Abandoned);
    }
}

/// A destination of one endpoint, written where a pool could stand.
pub struct Single {
    member: Arc<dyn Member>,
    name: String,
}

impl Single {
    pub fn new(name: impl Into<String>, endpoint: Endpoint) -> Self {
        Single { member: Arc::new(Only(Arc::new(endpoint))), name: name.into() }
    }
}

impl Destination for Single {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self, ask: &Ask<'_>) -> Leasing {
        if ask.tried.contains(&self.member.endpoint().key) {
            return Leasing::Refused(Fault::new(Code::NoEndpoint, "there is no other endpoint"));
        }
        Leasing::Ready(Lease::new(self.member.clone(), ask.now))
    }

    fn candidates(&self) -> Vec<Arc<Endpoint>> {
        vec![self.member.endpoint().clone()]
    }
}

struct Only(Arc<Endpoint>);

impl Member for Only {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    fn ended(&self, _: &Outcome) {}
}
