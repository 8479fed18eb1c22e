//! HTTP/2: one connection, its exchanges beside each other.
//!
//! The library speaks the frames; each stream is a future of its own in the connection's task, so
//! that dropping the connection drops all that is done for it. What a client may do how often is
//! [`guard`]'s to say.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::{Ping, PingPong, Reason, server};
use transom_net::{Deadline, Duplex, Stream, Worker};

use super::Serving;
use crate::patience::{Patience, within};
use crate::peer::Peer;
use crate::record::Http2Tally;
use crate::site::{Http2, Site};

mod carry;
mod guard;
mod nudge;
mod request_body;
mod send;
mod side;
mod tunnel;
mod watched;

use carry::Line;
use guard::{Guard, Rules};
use nudge::Nudge;
use watched::Watched;

pub(super) use guard::PREFACE;

/// How long a client has to acknowledge our settings, or a PING.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// How long an idle connection may stay after it was told to go.
const LAST_CALL: Duration = Duration::from_secs(5);
/// After the last frame, so long the client may take to read it before the connection goes.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;
/// How often the connection and its streams are gone round before others have their turn.
const ROUNDS: usize = 64;
/// Most bytes of one response in the library's hands.
const SEND_BUFFER: usize = 32 * 1024;
/// Errors of the client that cost a stream, over the life of a connection; those of ten seconds
/// are the guard's.
const ERRORS: usize = 1024;
/// Streams reset before they were looked at, which cost nothing yet.
const PENDING_RESETS: usize = 20;

type Wire = server::Connection<Watched, Bytes>;
type Carrying = Pin<Box<dyn Future<Output = ()>>>;

/// Serves one connection until it ends.
pub async fn serve(stream: Stream, peer: Rc<Peer>, serving: Rc<Serving>) {
    let worker = serving.local.worker.clone();
    let site = serving.sites.current();
    let rules = site.http2.unwrap_or_default();
    let guard = Rc::new(RefCell::new(Guard::new(
        Rules { resets: rules.resets, control_frames: rules.control_frames },
        worker.now(),
    )));
    let duplex = Duplex::new(stream);
    let watched = Watched::new(duplex.clone(), guard.clone(), worker.clone());
    let limit = site.timeouts.first_byte;
    // Boxed, so that what only the handshake needs is not carried along.
    let shaken = Box::pin(handshake(watched, &duplex, &site, &rules));
    let shaken = within(&worker, limit, shaken).await;
    let _open = Open::begin(&serving);
    let Some(Some(wire)) = shaken else {
        return tell(&serving, guard.borrow_mut().take_tally());
    };
    let line = Rc::new(Line { peer, serving, guard });
    let mut connection = Connection::new(wire, duplex, line.clone(), rules);
    drop(site);
    let end = poll_fn(|cx| connection.poll(cx)).await;
    let duplex = connection.close();
    tell(&line.serving, line.guard.borrow_mut().take_tally());
    let Some(stream) = duplex.into_stream() else { return };
    match end {
        End::Closed => linger(stream, &worker).await,
        End::Stalled => stream.abort(),
    }
}

/// Our settings and the client's preface. Nothing where that is none.
async fn handshake(watched: Watched, duplex: &Duplex, site: &Site, rules: &Http2) -> Option<Wire> {
    let head = &site.limits.head;
    // What RFC 9113 §6.5.2 counts, pseudo fields too; our own limits are within this.
    let list = head.start_line + head.fields + (head.count + 5) * 32;
    let mut handshake = std::pin::pin!(
        server::Builder::new()
            .initial_window_size(rules.stream_window)
            .initial_connection_window_size(rules.connection_window)
            .max_concurrent_streams(rules.streams)
            .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
            .header_table_size(4096)
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(10)
            .reset_stream_duration(Duration::from_secs(1))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(Some(ERRORS))
            .enable_connect_protocol()
            .handshake(watched)
    );
    poll_fn(|cx| {
        let shaken = handshake.as_mut().poll(cx);
        if shaken.is_pending() && matches!(duplex.poll_send(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(None);
        }
        shaken.map(Result::ok)
    })
    .await
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All was said.
    Closed,
    /// The client takes nothing any more.
    Stalled,
}

struct Connection {
    wire: Wire,
    duplex: Duplex,
    line: Rc<Line>,
    rules: Http2,
    carrying: FuturesUnordered<Carrying>,
    nudge: Arc<Nudge>,
    waker: Waker,
    served: u64,
    opened: Instant,
    /// The client was told to open no more streams.
    leaving: bool,
    /// It was told that this is the end.
    ending: bool,
    /// While no stream is open.
    idle: Patience,
    /// While the client takes nothing of what is written.
    stalled: Patience,
    upkeep: Deadline,
    pings: Option<Pings>,
}

/// Asks whether the client is still there.
struct Pings {
    pings: PingPong,
    asked: bool,
}

impl Connection {
    fn new(mut wire: Wire, duplex: Duplex, line: Rc<Line>, rules: Http2) -> Self {
        let worker = &line.serving.local.worker;
        let opened = worker.now();
        let mut upkeep = worker.deadline();
        let age = line.serving.sites.current().limits.age;
        upkeep.set(opened + ACKNOWLEDGE.min(age).min(rules.ping.unwrap_or(age)));
        let nudge = Nudge::new();
        let pings = rules.ping.and_then(|_| wire.ping_pong());
        Connection {
            idle: Patience::new(worker),
            stalled: Patience::new(worker),
            wire,
            duplex,
            rules,
            carrying: FuturesUnordered::new(),
            waker: Waker::from(nudge.clone()),
            nudge,
            served: 0,
            opened,
            leaving: false,
            ending: false,
            upkeep,
            pings: pings.map(|pings| Pings { pings, asked: false }),
            line,
        }
    }

    fn worker(&self) -> &Worker {
        &self.line.serving.local.worker
    }

    /// Goes on until the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.nudge.start(cx.waker());
        let waker = self.waker.clone();
        let inner = &mut Context::from_waker(&waker);
        for _ in 0..ROUNDS {
            while let Poll::Ready(Some(())) = self.carrying.poll_next_unpin(inner) {}
            if self.poll_wire(inner).is_ready() {
                return self.poll_end(inner);
            }
            if self.nudge.take() {
                continue;
            }
            if let Poll::Ready(end) = self.poll_send(inner) {
                return Poll::Ready(end);
            }
            self.look_after(inner);
            if self.nudge.rest() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads, takes in new streams, and writes. Ready when there is nothing more of either.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match std::task::ready!(self.wire.poll_accept(cx)) {
                Some(Ok((request, respond))) => self.take_in(request, respond),
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    }

    fn take_in(
        &mut self,
        request: http::Request<h2::RecvStream>,
        mut respond: server::SendResponse<Bytes>,
    ) {
        // A stream that is over for the client may still be one that we work for (H2-01).
        if self.carrying.len() >= self.rules.streams as usize * 2 {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.served += 1;
        self.idle.progress();
        self.carrying.push(Box::pin(carry::carry(self.line.clone(), request, respond)));
        self.waker.wake_by_ref();
    }

    /// Sends what was gathered. Ready when that cannot be done, or the client takes nothing for too
    /// long.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let before = self.duplex.waiting();
        match self.duplex.poll_send(cx) {
            Poll::Ready(Ok(())) => {
                self.stalled.progress();
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Ready(End::Stalled),
            Poll::Pending => {
                if self.duplex.waiting() < before {
                    self.stalled.progress();
                }
                let limit = self.line.serving.sites.current().timeouts.send_idle;
                self.stalled.poll_over(limit, cx).map(|()| End::Stalled)
            }
        }
    }

    /// Tells the client to go when its time, its requests or our patience are over.
    fn look_after(&mut self, cx: &mut Context<'_>) {
        let site = self.line.serving.sites.current();
        tell(&self.line.serving, self.line.guard.borrow_mut().take_tally());
        if self.ending {
            return;
        }
        if self.line.guard.borrow().abuse().is_some() {
            return self.end(Reason::ENHANCE_YOUR_CALM);
        }
        let age = self.worker().now().saturating_duration_since(self.opened);
        if self.line.serving.draining.get()
            || site.outdates(&self.line.peer)
            || self.served >= site.limits.requests
            || age >= site.limits.age
        {
            self.leave();
        }
        if self.carrying.is_empty() {
            self.wait_for_request(&site, cx);
        }
        self.keep_up(&site, cx);
    }

    /// Counts the time in which no stream is open.
    fn wait_for_request(&mut self, site: &Site, cx: &mut Context<'_>) {
        let timeouts = &site.timeouts;
        let limit = match () {
            () if self.leaving => LAST_CALL,
            // One deadline for a head, however slowly it comes (SL-01).
            () if self.line.guard.borrow().is_mid_head() => timeouts.header,
            () if self.served == 0 => timeouts.first_byte,
            () => timeouts.keep_alive,
        };
        let over = self.idle.poll_over(Some(limit), cx);
        // A connection that lies idle is the first to go when others need its place (SL-07).
        self.idle.set_spare(self.served > 0);
        if over.is_ready() {
            // A stream that is opened at this moment is one that we say we have not seen.
            self.end(Reason::NO_ERROR);
        }
    }

    /// What is due now and then: settings that were never acknowledged, pings, age.
    fn keep_up(&mut self, site: &Site, cx: &mut Context<'_>) {
        if let Some(Pings { pings, asked }) = &mut self.pings
            && *asked
            && pings.poll_pong(cx).is_ready()
        {
            *asked = false;
        }
        if self.upkeep.poll_passed(cx).is_pending() {
            return;
        }
        let now = self.worker().now();
        let mut next = self.opened + site.limits.age;
        if !self.line.guard.borrow().acknowledged {
            if now >= self.opened + ACKNOWLEDGE {
                return self.end(Reason::SETTINGS_TIMEOUT);
            }
            next = next.min(self.opened + ACKNOWLEDGE);
        }
        if let (Some(ping), Some(Pings { pings, asked })) = (self.rules.ping, &mut self.pings) {
            if *asked {
                return self.end(Reason::NO_ERROR);
            }
            if !self.carrying.is_empty() {
                *asked = pings.send_ping(Ping::opaque()).is_ok();
            }
            next = next.min(now + if *asked { ACKNOWLEDGE } else { ping });
        }
        // What is due already was done above, or is done as soon as the streams are over.
        self.upkeep.set(next.max(now + ACKNOWLEDGE / 10));
        let _ = self.upkeep.poll_passed(cx);
    }

    /// RFC 9113 §6.8: first that no more streams are welcome, one round trip later which was the
    /// last. What was opened before is served (H2-28).
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.idle.progress();
            self.wire.graceful_shutdown();
            self.waker.wake_by_ref();
        }
    }

    /// Ends now. The streams are told.
    fn end(&mut self, reason: Reason) {
        self.ending = true;
        self.wire.abrupt_shutdown(reason);
        self.waker.wake_by_ref();
    }

    /// The library is done: what is still gathered is sent, and those who work for open streams
    /// learn that nobody waits for them.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while let Poll::Ready(Some(())) = self.carrying.poll_next_unpin(cx) {}
        let _ = self.duplex.poll_send(cx);
        Poll::Ready(End::Closed)
    }

    /// Drops what is left of the streams, and the library.
    fn close(self) -> Duplex {
        self.duplex
    }
}

/// Ends our direction, then reads and forgets for a while, so that a reset does not eat our last
/// words before the client has read them.
async fn linger(mut stream: Stream, worker: &Worker) {
    let mut left = LINGER_BYTES;
    let rest = poll_fn(|cx| {
        if stream.poll_shutdown(cx)?.is_pending() {
            return Poll::Pending;
        }
        loop {
            let waiting = stream.filled().len();
            stream.consume(waiting);
            left = left.saturating_sub(waiting);
            let read = std::task::ready!(stream.poll_fill(transom_net::Size::Small, cx))?;
            if read == 0 || left == 0 {
                return Poll::Ready(Ok::<(), std::io::Error>(()));
            }
        }
    });
    let _ = within(worker, LINGER, rest).await;
}

/// A connection while it speaks HTTP/2, also if it is cut off.
struct Open(Rc<Serving>);

impl Open {
    fn begin(serving: &Rc<Serving>) -> Self {
        tell(serving, Http2Tally { connections: 1, ..Http2Tally::default() });
        Open(serving.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        tell(&self.0, Http2Tally { ended: 1, ..Http2Tally::default() });
    }
}

fn tell(serving: &Serving, tally: Http2Tally) {
    if tally != Http2Tally::default() {
        for sink in &serving.sites.current().sinks {
            sink.http2(serving.local.worker.id(), &tally);
        }
    }
}
