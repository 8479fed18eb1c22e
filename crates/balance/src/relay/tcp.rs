//! One TCP connection, from its client to an endpoint.

use std::future::poll_fn;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use transom_net::carry::{Carry, End};
use transom_net::tls::sniff::{self, Hello, Sniffed};
use transom_net::{Behalf, DialError, Size, Stream, dial_for};
use transom_proxy::announce::Client;
use transom_proxy::client::{dial_fault, places};
use transom_proxy::destination::{AttemptResult, Endpoint, Lease, Recall};
use transom_proxy::fault::{Code, Fault, Retry};
use transom_proxy::local::Local;
use transom_proxy::patience::{Patience, within};
use transom_proxy::peer::Peer;
use transom_proxy::record::{Passed, RelayEnd, Transport};

use super::story::Story;
use super::{Relay, Route};

/// How long the kernel sends again what nobody acknowledges, and asks a silent peer whether it is
/// there, before it gives a connection up (U-19).
const UNANSWERED: Duration = Duration::from_secs(30);

/// Carries a connection to where the relay sends it, and back, until it ends.
pub async fn serve(mut client: Stream, peer: Rc<Peer>, relay: Arc<Relay>, local: Rc<Local>) {
    let mut story = Story::new(Transport::Tcp, peer.address, &relay.listener, &local);
    story.relayed.tls = peer.tls.as_ref().map(|tls| tls.version);
    // Boxed, so that a connection which lies idle keeps no room for how it began.
    let connecting = Box::pin(connect(&mut client, &peer, &relay, &mut story));
    let (mut endpoint, lease) = match connecting.await {
        Ok(connected) => connected,
        Err(fault) => return story.fail(fault),
    };
    client.watch_for_silence(UNANSWERED);
    endpoint.watch_for_silence(UNANSWERED);
    let end = carry(&mut client, &mut endpoint, &lease, &relay, &mut story).await;
    story.relayed.end = end;
    let nothing_came = story.relayed.passed.to_client == 0;
    lease.end(match end {
        // An endpoint that breaks off without a word is one that does not serve.
        RelayEnd::Endpoint if nothing_came => AttemptResult::Failed(Code::IncompleteResponse),
        _ => AttemptResult::Carried,
    });
    if matches!(end, RelayEnd::Client | RelayEnd::Endpoint | RelayEnd::CutOff) {
        // Cut off is not ended: the other side must know that something is missing.
        client.abort();
        endpoint.abort();
    }
}

/// Finds the route and opens a connection to one of its endpoints.
async fn connect(
    client: &mut Stream,
    peer: &Peer,
    relay: &Relay,
    story: &mut Story<'_>,
) -> Result<(Stream, Lease), Fault> {
    client.settle().map_err(|e| Fault::new(Code::Overloaded, e.to_string()))?;
    let hello = match &peer.tls {
        Some(facts) => Some(super::hello_of(facts)),
        None if relay.looks_at_tls() => read_hello(client, relay).await?,
        None => None,
    };
    story.relayed.name = hello.as_ref().and_then(|hello| hello.name.clone());
    let Some(route) = relay.route(peer.ip(), hello.as_ref()) else {
        if hello.is_some() && peer.tls.is_none() {
            refuse_name(client);
        }
        return Err(Fault::new(Code::NoRoute, "no route is for this connection"));
    };
    story.relayed.route = Some(route.name.clone());
    open(route, peer, hello.as_ref(), relay, story).await
}

/// Reads until the hello is whole and leaves it in the stream; none where it is not TLS.
async fn read_hello(client: &mut Stream, relay: &Relay) -> Result<Option<Hello>, Fault> {
    let worker = client.worker().clone();
    let reading = poll_fn(|cx| {
        loop {
            match sniff::sniff(client.filled()) {
                Ok(Sniffed::Hello(hello)) => return Poll::Ready(Ok(Some(hello))),
                Ok(Sniffed::Otherwise) => return Poll::Ready(Ok(None)),
                Ok(Sniffed::Incomplete) => {}
                Err(e) => return Poll::Ready(Err(Fault::new(Code::BadRequest, e.to_string()))),
            }
            match ready!(client.poll_fill(Size::Small, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    let what = "the connection ended before its hello was whole";
                    return Poll::Ready(Err(Fault::new(Code::ClientClosed, what)));
                }
            }
        }
    });
    // SL-03: one deadline over all of it, however slowly bytes drip.
    within(&worker, relay.timeouts.hello, reading).await.unwrap_or_else(|| {
        Err(Fault::new(Code::RequestTimeout, "the hello did not come within the timeout"))
    })
}

/// Tells a TLS client that nobody here has the name it asked for (RFC 6066 §3). Best effort.
fn refuse_name(client: &mut Stream) {
    const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    let _ = client.poll_write(&[IoSlice::new(UNRECOGNIZED_NAME)], cx);
    let _ = client.poll_shutdown(cx);
}

/// A connection to an endpoint of the route: where one cannot be had from one member, from another,
/// as nothing of the client's was sent.
async fn open(
    route: &Route,
    peer: &Peer,
    hello: Option<&Hello>,
    relay: &Relay,
    story: &mut Story<'_>,
) -> Result<(Stream, Lease), Fault> {
    let worker = &story.local.worker;
    let limit = relay.timeouts.connect;
    let mut tried = Vec::new();
    let mut failure: Option<Fault> = None;
    loop {
        let lease = super::lease(&*route.destination, peer.ip(), &tried, worker, limit).await;
        let mut lease = match (lease, failure) {
            (Ok(lease), _) => lease,
            // Nowhere else to go: the first failure is the one to tell.
            (Err(_), Some(failure)) => return Err(failure),
            (Err(fault), None) => return Err(fault),
        };
        let endpoint = lease.endpoint().clone();
        story.relayed.attempts += 1;
        story.relayed.endpoint = Some(endpoint.clone());
        let places = match places::take(story.local, &endpoint, limit).await {
            Ok(places) => places,
            Err(fault) => {
                lease.end(AttemptResult::Abandoned);
                return Err(fault);
            }
        };
        let fault = match within(worker, limit, dial(&endpoint, peer, hello, story)).await {
            Some(Ok(mut stream)) => {
                stream.hold(places);
                let now = Instant::now();
                lease.answered(now);
                story.relayed.connected = Some(now);
                return Ok((stream, lease));
            }
            Some(Err(error)) => dial_fault(&error),
            None => Fault::new(Code::ConnectTimeout, "no connection within the timeout"),
        };
        tried.push(endpoint.key);
        lease.end(AttemptResult::Failed(fault.code()));
        let last = tried.len() > usize::from(relay.connect_retries);
        if last || fault.code().row().retry != Retry::Yes {
            return Err(fault);
        }
        failure = Some(fault);
    }
}

async fn dial(
    endpoint: &Endpoint,
    peer: &Peer,
    hello: Option<&Hello>,
    story: &Story<'_>,
) -> Result<Stream, DialError> {
    let header = match &endpoint.announce {
        None => Vec::new(),
        Some(announce) => {
            let id = story.relayed.id.to_string();
            announce.stream(&Client {
                name: hello.and_then(|hello| hello.name.as_deref()),
                alpn: hello.and_then(|hello| hello.alpn.first()).map(|one| &**one),
                ..Client::of(peer, id.as_bytes())
            })
        }
    };
    let client = Some(peer.address).filter(|address| *address != Peer::NOWHERE);
    let behalf = Behalf { client, header: &header };
    dial_for(&endpoint.target, behalf, &story.local.worker).await
}

/// Carries bytes both ways until both sides have ended, one breaks off, nothing moves, or the endpoint
/// has been drained for long enough.
async fn carry(
    client: &mut Stream,
    endpoint: &mut Stream,
    lease: &Lease,
    relay: &Relay,
    story: &mut Story<'_>,
) -> RelayEnd {
    let mut carry = Carry::default();
    let mut recall = lease.recall();
    let mut patience = Patience::new(client.worker());
    let mut before = Passed::default();
    let (idle, half_closed) = (relay.timeouts.idle, relay.timeouts.half_closed);
    poll_fn(|cx| {
        let carried = carry.poll(client, endpoint, cx);
        let passed = carry.passed();
        if passed != before {
            before = passed;
            story.relayed.passed = passed;
            patience.progress();
        }
        let limit = match carry.is_half_closed() {
            false => idle,
            true => [idle, half_closed].into_iter().flatten().min(),
        };
        match carried {
            Poll::Ready(Ok(())) => Poll::Ready(RelayEnd::Closed),
            Poll::Ready(Err((end, error))) => {
                story.relayed.detail = Some(error.to_string().into());
                Poll::Ready(match end {
                    End::Client => RelayEnd::Client,
                    End::Endpoint => RelayEnd::Endpoint,
                })
            }
            Poll::Pending => {
                let recalled = |recall: &mut Recall| recall.as_mut().poll(cx).is_ready();
                if recall.as_mut().is_some_and(recalled) {
                    story.relayed.detail = Some("the drain of its endpoint is over".into());
                    return Poll::Ready(RelayEnd::CutOff);
                }
                patience.poll_over(limit, cx).map(|()| RelayEnd::Idle)
            }
        }
    })
    .await
}
