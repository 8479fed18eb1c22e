//! Sends the request to an endpoint and brings its response back.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use transom_net::{DialError, dial};

use super::Action;
use crate::body::Body;
use crate::body::replay::replayable;
use crate::client::h1::{Call, Failure, Heard, Waits};
use crate::client::pool::Connection;
use crate::codec::head::{HeadLimits, ResponseHead};
use crate::destination::{Ask, AttemptResult, Destination, Endpoint, Lease, Leasing};
use crate::exchange::Exchange;
use crate::fault::{Code, Fault, Retry};
use crate::fields::{Known, Values};
use crate::headers::{forwarded, hide, hop};
use crate::message::{Request, Response};
use crate::patience::within;
use crate::policy::Answering;
use crate::upgrade::Tunnel;
use crate::writer::{Ending, Writer};

/// Which host an endpoint is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostRule {
    /// The one the client asked for.
    #[default]
    Keep,
    /// The endpoint's own name.
    Endpoint,
    Fixed(String),
}

/// Sends requests to a destination.
pub struct Forward {
    pub destination: Arc<dyn Destination>,
    pub host: HostRule,
    /// Attempts after the first for requests that may have reached an endpoint and may be sent
    /// twice. Default 1.
    pub retries: u16,
    /// Attempts after the first where no connection came to be, so nothing was sent. Default 3.
    pub connect_retries: u16,
    pub response_limits: HeadLimits,
    /// WebSocket may pass. Default: yes.
    pub upgrade: bool,
}

impl Action for Forward {
    fn kind(&self) -> &'static str {
        "forward"
    }

    fn describe(&self) -> String {
        let endpoints: Vec<_> =
            self.destination.candidates().iter().map(|e| e.name.clone()).collect();
        format!("forward to {}: {}", self.destination.name(), endpoints.join(", "))
    }

    fn run<'a>(&'a self, exchange: &'a mut Exchange, request: Request) -> Answering<'a> {
        Box::pin(self.forward(exchange, request))
    }
}

/// What the attempts of one exchange have used up.
#[derive(Default)]
struct Spent {
    tried: SmallVec<[u64; 4]>,
    retries: u16,
    connect_retries: u16,
    /// The one free attempt after a kept connection turned out to be closed (RS-13).
    stale: bool,
}

impl Forward {
    async fn forward(
        &self,
        exchange: &mut Exchange,
        mut request: Request,
    ) -> Result<Response, Fault> {
        if !self.upgrade {
            request.upgrade = None;
        }
        if exchange.site.forwarded.via && forwarded::is_loop(&request.fields) {
            return Err(Fault::new(Code::Loop, "Via names us twice"));
        }
        forwarded::apply(exchange, &mut request.fields);
        if request.method.is_idempotent() {
            request.body = replayable(request.body);
        }
        let mut spent = Spent::default();
        let mut lease = self.lease(exchange, &spent).await?;
        loop {
            let failure = match self.attempt(exchange, &mut request, lease, spent.stale).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let fresh_may_help = failure.broken && exchange.record.reused && !spent.stale;
            request.body = failure.body;
            let Some(failed) = failure.lease else { return Err(failure.fault) };
            let can_resend = failure.untouched && is_resendable(&request, &failure.fault);
            if can_resend && fresh_may_help {
                spent.stale = true;
                lease = failed;
                continue;
            }
            spent.stale = false;
            spent.tried.push(failed.endpoint().key);
            failed.end(AttemptResult::Failed(failure.fault.code()));
            let over = remaining(exchange).is_some_and(|time| time.is_zero());
            if over || !can_resend || !self.may_retry(&mut spent, &failure.fault) {
                return Err(failure.fault);
            }
            lease = match self.lease(exchange, &spent).await {
                Ok(lease) => lease,
                // Nowhere else to go: the first failure is the one to tell.
                Err(_) => return Err(failure.fault),
            };
        }
    }

    async fn lease(&self, exchange: &Exchange, spent: &Spent) -> Result<Lease, Fault> {
        let client: IpAddr = exchange.client;
        let ask = Ask { exchange, client, tried: &spent.tried, now: exchange.local.worker.now() };
        match self.destination.lease(&ask) {
            Leasing::Ready(lease) => Ok(lease),
            Leasing::Wait(waiting) => match remaining(exchange) {
                Some(time) => {
                    let waited = within(&exchange.local.worker, time, waiting).await;
                    waited.unwrap_or_else(|| Err(too_long("no endpoint")))
                }
                None => waiting.await,
            },
            Leasing::Refused(fault) => Err(fault),
        }
    }

    fn may_retry(&self, spent: &mut Spent, fault: &Fault) -> bool {
        let (used, limit) = match fault.code().row().retry {
            Retry::No => return false,
            Retry::Yes => (&mut spent.connect_retries, self.connect_retries),
            Retry::IfIdempotent => (&mut spent.retries, self.retries),
        };
        *used += 1;
        *used <= limit
    }

    /// One try at one endpoint.
    async fn attempt(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
        lease: Lease,
        fresh: bool,
    ) -> Result<Response, Failure> {
        let endpoint = lease.endpoint().clone();
        exchange.record.attempts += 1;
        exchange.record.endpoint = Some(endpoint.clone());
        let connection = match self.connection(exchange, &endpoint, fresh).await {
            Ok(connection) => connection,
            Err(fault) => {
                let body = std::mem::take(&mut request.body);
                let lease = Some(lease);
                return Err(Failure { fault, untouched: true, broken: false, body, lease });
            }
        };
        let timeouts = exchange.route().map(|r| r.timeouts).unwrap_or_default();
        let waits = Waits {
            response: timeouts.response,
            idle: timeouts.response_idle,
            send: timeouts.send_idle,
            by: exchange.ends_by(),
        };
        let body = std::mem::take(&mut request.body);
        let (head, ending) = self.head(exchange, request, &endpoint, &body);
        let writer = Writer::new(head, ending, false);
        let local = exchange.local.clone();
        let mut call =
            Call::new(connection, lease, local, writer, body, waits, self.response_limits);
        match self.converse(exchange, request, &mut call).await {
            Ok(head) => self.response(exchange, request, &endpoint, call, head).map_err(ended),
            Err(fault) => Err(call.fail(fault)),
        }
    }

    /// A kept connection, else a new one.
    async fn connection(
        &self,
        exchange: &mut Exchange,
        endpoint: &Arc<Endpoint>,
        fresh: bool,
    ) -> Result<Connection, Fault> {
        let local = exchange.local.clone();
        if !fresh {
            let kept = local.idle.borrow_mut().take(endpoint, local.worker.now());
            if let Some(connection) = kept {
                exchange.record.reused = true;
                return Ok(connection);
            }
        }
        exchange.record.reused = false;
        let connect = exchange.route().map(|r| r.timeouts).unwrap_or_default().connect;
        let remaining = remaining(exchange).filter(|time| *time < connect);
        let limit = remaining.unwrap_or(connect);
        // Boxed, as it is rare: kept connections are the rule, and their exchanges stay small.
        let dialing = Box::pin(within(&local.worker, limit, dial(&endpoint.target, &local.worker)));
        let stream = match dialing.await {
            Some(dialed) => dialed.map_err(|e| dial_fault(&e))?,
            None if remaining.is_some() => return Err(too_long("no connection")),
            None => {
                return Err(Fault::new(Code::ConnectTimeout, "no connection within the timeout"));
            }
        };
        let now = Instant::now();
        exchange.record.connected = Some(now);
        Ok(Connection::new(stream, &endpoint.keep_alive, now))
    }

    /// The request head for this endpoint, and how its body ends.
    fn head(
        &self,
        exchange: &Exchange,
        request: &Request,
        endpoint: &Endpoint,
        body: &Body,
    ) -> (Vec<u8>, Ending) {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(request.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(request.path.as_bytes());
        if let Some(query) = &request.query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        let host = match &self.host {
            HostRule::Keep if !request.authority.is_empty() => &*request.authority,
            HostRule::Keep | HostRule::Endpoint => &endpoint.authority,
            HostRule::Fixed(host) => host,
        };
        out.extend_from_slice(host.as_bytes());
        out.extend_from_slice(b"\r\n");
        request.fields.write(&mut out);
        if let Some(name) = &exchange.site.request_id.field {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            exchange.id.write(&mut out);
            out.extend_from_slice(b"\r\n");
        }
        if request.upgrade.is_some() {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
        }
        let ending = ending_of(request, body);
        match ending {
            Ending::Length(n) => {
                out.extend_from_slice(b"Content-Length: ");
                out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Ending::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Ending::None | Ending::Close => {}
        }
        out.extend_from_slice(b"\r\n");
        (out, ending)
    }

    /// Sends the request and waits for the final head; interim ones go to the client at once.
    async fn converse(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        call: &mut Call,
    ) -> Result<ResponseHead, Fault> {
        let client = exchange.client_side.clone();
        let mut watch = |cx: &mut std::task::Context<'_>| match &client {
            Some(client) => client.poll_gone(cx),
            None => Poll::Pending,
        };
        loop {
            match call.head(&mut watch).await? {
                Heard::Interim(mut head) => {
                    // RS-09: a 100 that nobody asked for goes no further.
                    if head.status != 100
                        && let Some(client) = &exchange.client_side
                    {
                        hop::take_off_response(&mut head.fields);
                        head.fields.remove(Known::ContentLength);
                        client.send_interim(head.status, &head.fields);
                    }
                }
                Heard::Final(head) => {
                    exchange.record.answered = Some(Instant::now());
                    call.accept(&head, &request.method)?;
                    return Ok(head);
                }
            }
        }
    }

    fn response(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        endpoint: &Endpoint,
        call: Call,
        head: ResponseHead,
    ) -> Result<Response, Fault> {
        let mut fields = head.fields;
        let is_websocket = matches!(
            fields.only(Known::Upgrade),
            Values::One(token) if token.eq_ignore_ascii_case(b"websocket")
        );
        hop::take_off_response(&mut fields);
        hide::addresses(exchange, endpoint, &mut fields);
        if exchange.site.forwarded.via {
            forwarded::add_via(head.version, &mut fields);
        }
        if head.status == 101 {
            if request.upgrade.is_none() || !is_websocket {
                return Err(Fault::new(Code::BadResponse, "a 101 that was not asked for"));
            }
            let (stream, lease) = call
                .into_tunnel()
                .ok_or_else(|| Fault::new(Code::Internal, "the tunnel has no stream"))?;
            exchange.tunnel = Some(Box::new(Tunnel::new(stream, lease)));
            return Ok(Response { status: 101, fields, body: Body::Empty });
        }
        if !Response::is_bodyless(head.status, &request.method) || head.status == 204 {
            // The framing of the next hop is its own.
            fields.remove(Known::ContentLength);
        }
        Ok(Response { status: head.status, fields, body: call.into_body() })
    }
}

/// What is left of the time for the whole exchange, where that is limited.
fn remaining(exchange: &Exchange) -> Option<Duration> {
    Some(exchange.ends_by()?.saturating_duration_since(exchange.local.worker.now()))
}

fn too_long(what: &str) -> Fault {
    Fault::new(Code::ResponseTimeout, format!("{what} within the time of the exchange"))
}

/// A fault after the response had come: nothing to send again.
fn ended(fault: Fault) -> Failure {
    Failure { fault, untouched: false, broken: false, body: Body::Empty, lease: None }
}

/// RFC 9110 §9.2.2: what may have reached the endpoint is sent twice only if that does no harm.
fn is_resendable(request: &Request, fault: &Fault) -> bool {
    match fault.code().row().retry {
        Retry::Yes => true,
        Retry::IfIdempotent => request.method.is_idempotent() && request.upgrade.is_none(),
        Retry::No => false,
    }
}

fn ending_of(request: &Request, body: &Body) -> Ending {
    use crate::message::Method;
    match (body, body.length()) {
        (Body::Empty, _)
            if matches!(request.method, Method::Post | Method::Put | Method::Patch) =>
        {
            Ending::Length(0)
        }
        (Body::Empty, _) => Ending::None,
        (_, Some(n)) => Ending::Length(n),
        (_, None) => Ending::Chunked,
    }
}

fn dial_fault(error: &DialError) -> Fault {
    use std::error::Error as _;
    use std::io::ErrorKind;
    let cause = error.source().map(|e| e.to_string()).unwrap_or_default();
    let detail = format!("{error}: {cause}");
    match error {
        DialError::Connect(_, e) if e.kind() == ErrorKind::ConnectionRefused => {
            Fault::new(Code::ConnectRefused, detail)
        }
        DialError::Connect(_, e) if e.kind() == ErrorKind::TimedOut => {
            Fault::new(Code::ConnectTimeout, detail)
        }
        DialError::Connect(..) => Fault::new(Code::ConnectFailed, detail),
        DialError::Tls(..) => Fault::new(Code::TlsFailed, detail),
    }
}
