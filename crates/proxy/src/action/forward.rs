//! Sends the request to an endpoint and brings its response back.

mod attempt;
pub mod backoff;
mod head;
mod head_h2;
mod hedge;
pub mod mirror;
pub mod retry;

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use self::attempt::{Tried, remaining, result_of, too_long};
use self::mirror::Mirror;
use self::retry::Retrying;
use super::Action;
use crate::body::Body;
use crate::body::replay::replayable;
use crate::client::{Call, Failure};
use crate::codec::head::{HeadLimits, ResponseHead};
use crate::destination::{Ask, Destination, Endpoint, Http, Lease, Leasing, Permit, Waiting};
use crate::exchange::{Exchange, Wants};
use crate::fault::{Code, Fault, Retry};
use crate::fields::{Fields, Known, Values};
use crate::headers::{forwarded, grpc, hide, hop, websocket};
use crate::message::{Request, Response};
use crate::patience::Patience;
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
    /// When a request is tried again.
    pub retry: Retrying,
    /// Sends copies of requests elsewhere. Default: none.
    pub mirror: Option<Mirror>,
    /// After how long without a response another attempt is made beside the first. Default: none.
    pub hedge: Option<Duration>,
    /// The field that tells the endpoint how many milliseconds are left of the time of the whole
    /// exchange. Default: none.
    pub deadline: Option<String>,
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

    fn run<'a>(&'a self, exchange: &'a mut Exchange, request: Box<Request>) -> Answering<'a> {
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
    /// The pool's leave for the retry that runs.
    permit: Option<Permit>,
}

/// Why another attempt is wanted.
enum Why<'a> {
    Fault(&'a Fault),
    /// An answer with these fields.
    Answer(&'a Fields, &'a mut Call),
}

impl Forward {
    #[allow(clippy::manual_async_fn, reason = "an `async fn` holds what it is given twice")]
    fn forward(
        &self,
        exchange: &mut Exchange,
        mut request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Fault>> {
        async move {
            if !self.upgrade {
                request.upgrade = None;
            }
            if exchange.site.forwarded.via && forwarded::is_loop(&request.fields) {
                return Err(Fault::new(Code::Loop, "Via names us twice"));
            }
            if let Some(mirror) = &self.mirror {
                mirror.copy(exchange, &mut request);
            }
            forwarded::apply(exchange, &mut request.fields);
            if let Some(name) = &self.deadline {
                request.fields.remove(name.as_str());
            }
            if self.retry.is_resendable(&request) {
                request.body = replayable(request.body);
            }
            let mut spent = Spent::default();
            let mut lease = self.lease(exchange, &request, &spent).await?;
            loop {
                exchange.record.attempts += 1;
                exchange.record.endpoint = Some(lease.endpoint().clone());
                if exchange.asked.wants == Wants::Grpc
                    && let Some(by) = exchange.ends_by()
                {
                    let left = by.saturating_duration_since(Instant::now());
                    grpc::set_timeout(&mut request.fields, left);
                }
                let then = {
                    let tried = match self.hedges(&request) {
                        None => {
                            let body = std::mem::take(&mut request.body);
                            self.attempt(exchange, &request, body, lease, spent.stale).await
                        }
                        Some(after) => {
                            let hedged =
                                self.hedged(exchange, &request, lease, after, &spent.tried);
                            Box::pin(hedged).await
                        }
                    };
                    note(exchange, &tried);
                    spent.tried.extend(tried.also);
                    let outcome = match tried.outcome {
                        Ok((call, head)) if !self.retry.asks(head.status) => {
                            match self.response(exchange, &request, &tried.endpoint, call, head) {
                                Ok(response) => return Ok(response),
                                Err(failure) => Err(failure),
                            }
                        }
                        outcome => outcome,
                    };
                    // Boxed, as it is rare: the others stay small.
                    let endpoint = tried.endpoint;
                    Box::pin(self.after(exchange, &mut request, &mut spent, endpoint, outcome))
                };
                lease = match then.await {
                    ControlFlow::Continue(lease) => lease,
                    ControlFlow::Break(outcome) => return outcome,
                };
            }
        }
    }

    /// After an attempt that failed, or whose answer asks for another one: the lease to try again
    /// with, or what is to be said.
    async fn after(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
        spent: &mut Spent,
        endpoint: Arc<Endpoint>,
        outcome: Result<(Call, ResponseHead), Failure>,
    ) -> ControlFlow<Result<Response, Fault>, Lease> {
        let failure = match outcome {
            Ok((mut call, head)) => {
                if let Some(lease) = self.again(exchange, request, spent, &mut call, &head).await {
                    request.body = call.discard();
                    return ControlFlow::Continue(lease);
                }
                match self.response(exchange, request, &endpoint, call, head) {
                    Ok(response) => return ControlFlow::Break(Ok(response)),
                    Err(failure) => failure,
                }
            }
            Err(failure) => failure,
        };
        let fresh_may_help = failure.broken && exchange.record.reused && !spent.stale;
        request.body = failure.body;
        let Some(failed) = failure.lease else { return ControlFlow::Break(Err(failure.fault)) };
        let can_resend = failure.untouched && self.retry.after(request, &failure.fault);
        if can_resend && fresh_may_help {
            spent.stale = true;
            return ControlFlow::Continue(failed);
        }
        spent.stale = false;
        spent.tried.push(failed.endpoint().key);
        failed.end(result_of(&failure.fault));
        if !can_resend {
            return ControlFlow::Break(Err(failure.fault));
        }
        match self.next(exchange, request, spent, Why::Fault(&failure.fault)).await {
            Some(lease) => ControlFlow::Continue(lease),
            // Nowhere else to go: the first failure is the one to tell.
            None => ControlFlow::Break(Err(failure.fault)),
        }
    }

    /// A lease for another attempt after an answer that asks for one, if there may be one.
    async fn again(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
        spent: &mut Spent,
        call: &mut Call,
        head: &ResponseHead,
    ) -> Option<Lease> {
        if !self.retry.is_resendable(request) || !call.can_begin_anew() {
            return None;
        }
        spent.stale = false;
        spent.tried.extend(call.endpoint().map(|endpoint| endpoint.key));
        self.next(exchange, request, spent, Why::Answer(&head.fields, call)).await
    }

    /// A lease for another attempt at another member, if there may be one: within what the route
    /// allows each request, what the pool allows all of them, and the time that is left.
    async fn next(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        spent: &mut Spent,
        why: Why<'_>,
    ) -> Option<Lease> {
        spent.permit = None;
        // Nothing was sent, and the next one is another member: it need not wait.
        let at_once = matches!(&why, Why::Fault(fault) if fault.code().row().retry == Retry::Yes);
        let (used, most) = match at_once {
            true => (&mut spent.connect_retries, self.retry.connect_retries),
            false => (&mut spent.retries, self.retry.retries),
        };
        *used += 1;
        if *used > most {
            return None;
        }
        let wait = match &why {
            _ if at_once => Duration::ZERO,
            Why::Fault(_) => self.retry.backoff.wait(spent.retries, exchange.local.random()),
            Why::Answer(fields, _) => {
                self.retry.wait(spent.retries, fields, exchange.local.random())?
            }
        };
        if remaining(exchange).is_some_and(|time| time <= wait) {
            return None;
        }
        let ask = self.ask(exchange, request, &spent.tried);
        let leasing = match at_once {
            true => self.destination.lease_instead(&ask, &mut spent.permit),
            false => {
                spent.permit = Some(self.destination.retry(&ask)?);
                Box::pin(rest(exchange, wait)).await.ok()?;
                // Others have come and gone meanwhile.
                self.destination.lease(&self.ask(exchange, request, &spent.tried))
            }
        };
        if let (Leasing::Wait(_), Why::Answer(_, call)) = (&leasing, why) {
            // Otherwise those who wait for each other's places would all stand still.
            call.give_place();
        }
        leased(exchange, leasing).await.ok()
    }

    fn ask<'a>(&self, exchange: &'a Exchange, request: &'a Request, tried: &'a [u64]) -> Ask<'a> {
        Ask {
            client: exchange.client,
            http: Some(Http { exchange, request }),
            tried,
            now: exchange.local.worker.now(),
        }
    }

    async fn lease(
        &self,
        exchange: &mut Exchange,
        request: &Request,
        spent: &Spent,
    ) -> Result<Lease, Fault> {
        let ask = self.ask(exchange, request, &spent.tried);
        let leasing = self.destination.lease(&ask);
        leased(exchange, leasing).await
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
        self.destination.answered(&self.ask(exchange, request, &[]), endpoint, &mut fields);
        if exchange.site.forwarded.via {
            forwarded::add_via(head.version, &mut fields);
        }
        if head.status == 101 {
            if request.upgrade.is_none() || !is_websocket {
                let fault = Fault::new(Code::BadResponse, "a 101 that was not asked for");
                return Err(call.fail(fault));
            }
            // RFC 6455 §4.1
            if !websocket::is_accepted(&request.fields, &fields) {
                let fault = Fault::new(Code::BadResponse, "a 101 that does not answer the key");
                return Err(call.fail(fault));
            }
            let (far, lease) = call
                .into_tunnel()
                .ok_or_else(|| ended(Fault::new(Code::Internal, "the tunnel has no stream")))?;
            exchange.tunnel = Some(Box::new(Tunnel::new(far, lease, &exchange.local.worker)));
            return Ok(Response { status: 101, fields, body: Body::Empty });
        }
        if !Response::is_bodyless(head.status, &request.method) || head.status == 204 {
            // The framing of the next hop is its own.
            fields.remove(Known::ContentLength);
        }
        Ok(Response { status: head.status, fields, body: call.into_body() })
    }
}

/// Writes down how a try went.
fn note(exchange: &mut Exchange, tried: &Tried) {
    let record = &mut exchange.record;
    if tried.hedged {
        record.attempts += 1;
        record.endpoint = Some(tried.endpoint.clone());
    }
    record.reused = tried.reused;
    record.upstream = tried.version.or(record.upstream);
    record.connected = tried.connected.or(record.connected);
    record.answered = tried.answered.or(record.answered);
}

/// The lease that came of asking, now or later.
async fn leased(exchange: &mut Exchange, leasing: Leasing) -> Result<Lease, Fault> {
    match leasing {
        Leasing::Ready(lease) => Ok(lease),
        Leasing::Refused(fault) => Err(fault),
        Leasing::Wait(waiting) => {
            let since = Instant::now();
            // Boxed, as it is rare.
            let lease = Box::pin(waited(exchange, waiting)).await;
            *exchange.record.queued.get_or_insert_default() += since.elapsed();
            lease
        }
    }
}

/// The lease that is waited for, as long as there is time and somebody who wants it.
async fn waited(exchange: &Exchange, mut waiting: Waiting) -> Result<Lease, Fault> {
    let mut patience = Patience::new(&exchange.local.worker);
    let limit = remaining(exchange);
    poll_fn(|cx| {
        if let Poll::Ready(lease) = waiting.as_mut().poll(cx) {
            return Poll::Ready(lease);
        }
        if patience.poll_over(limit, cx).is_ready() {
            return Poll::Ready(Err(too_long("no endpoint")));
        }
        // Nobody waits for the dead (U-15).
        poll_gone(exchange, cx).map(Err)
    })
    .await
}

/// Lets so much time pass.
///
/// # Errors
/// When the client leaves meanwhile.
async fn rest(exchange: &Exchange, time: Duration) -> Result<(), Fault> {
    // More exact than the worker's wheel, and rare.
    let mut over = pin!(tokio::time::sleep(time));
    poll_fn(|cx| match over.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => poll_gone(exchange, cx).map(Err),
    })
    .await
}

/// Ready when the client has gone.
fn poll_gone(exchange: &Exchange, cx: &mut Context<'_>) -> Poll<Fault> {
    match &exchange.client_side {
        Some(client) => client.poll_gone(cx),
        None => Poll::Pending,
    }
}

/// A fault after the response had come: nothing to send again.
fn ended(fault: Fault) -> Failure {
    Failure { fault, untouched: false, broken: false, body: Body::Empty, lease: None }
}
