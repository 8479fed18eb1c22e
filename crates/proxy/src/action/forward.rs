//! Sends the request to an endpoint and brings its response back.

mod attempt;
mod head;

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use self::attempt::{remaining, too_long};
use super::Action;
use crate::body::Body;
use crate::body::replay::replayable;
use crate::client::h1::{Call, Failure};
use crate::codec::head::{HeadLimits, ResponseHead};
use crate::destination::{Ask, AttemptResult, Destination, Endpoint, Http, Lease, Leasing};
use crate::exchange::{Exchange, Wants};
use crate::fault::{Blame, Code, Fault, Retry};
use crate::fields::{Known, Values};
use crate::headers::{forwarded, grpc, hide, hop};
use crate::message::{Request, Response};
use crate::patience::within;
use crate::policy::Answering;
use crate::upgrade::Tunnel;

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
        let mut lease = self.lease(exchange, &request, &spent).await?;
        loop {
            let endpoint = lease.endpoint().clone();
            exchange.record.attempts += 1;
            exchange.record.endpoint = Some(endpoint.clone());
            if exchange.asked.wants == Wants::Grpc
                && let Some(by) = exchange.ends_by()
            {
                let left = by.saturating_duration_since(Instant::now());
                grpc::set_timeout(&mut request.fields, left);
            }
            let body = std::mem::take(&mut request.body);
            let tried = self.attempt(exchange, &request, body, lease, spent.stale).await;
            exchange.record.reused = tried.reused;
            exchange.record.connected = tried.connected.or(exchange.record.connected);
            exchange.record.answered = tried.answered.or(exchange.record.answered);
            let answered = tried
                .outcome
                .and_then(|(call, head)| self.response(exchange, &request, &endpoint, call, head));
            let failure = match answered {
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
            failed.end(result_of(&failure.fault));
            let over = remaining(exchange).is_some_and(|time| time.is_zero());
            if over || !can_resend || !self.may_retry(&mut spent, &failure.fault) {
                return Err(failure.fault);
            }
            lease = match self.lease(exchange, &request, &spent).await {
                Ok(lease) => lease,
                // Nowhere else to go: the first failure is the one to tell.
                Err(_) => return Err(failure.fault),
            };
        }
    }

    async fn lease(
        &self,
        exchange: &Exchange,
        request: &Request,
        spent: &Spent,
    ) -> Result<Lease, Fault> {
        let ask = Ask {
            client: exchange.client,
            http: Some(Http { exchange, request }),
            tried: &spent.tried,
            now: exchange.local.worker.now(),
        };
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

    fn response(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        endpoint: &Endpoint,
        call: Call,
        head: ResponseHead,
    ) -> Result<Response, Failure> {
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
                let fault = Fault::new(Code::BadResponse, "a 101 that was not asked for");
                return Err(call.fail(fault));
            }
            let (stream, lease) = call
                .into_tunnel()
                .ok_or_else(|| ended(Fault::new(Code::Internal, "the tunnel has no stream")))?;
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

/// What a fault says about the endpoint: nothing, where it is not to blame.
fn result_of(fault: &Fault) -> AttemptResult {
    match fault.code().row().blame {
        Blame::Upstream => AttemptResult::Failed(fault.code()),
        Blame::Client | Blame::Transom => AttemptResult::Abandoned,
    }
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
