//! One connection to an endpoint that carries many streams, and the task that keeps it going.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong, RecvStream};
use transom_net::{Deadline, Duplex, Worker};

use crate::client::pool::Connection as Opened;
use crate::codec::head::HeadLimits;
use crate::destination::{Endpoint, Http2Rules};
use crate::local::Local;

/// What one stream may have on its way to us. The connection may have as much for every stream, so
/// that none that stands still stops the others (H2-31).
const WINDOW: u32 = 256 << 10;
/// What of a request may wait to be sent, per stream.
const SEND_BUFFER: usize = 64 << 10;
/// RFC 9113 §6.5.2 counts 32 bytes beside each field.
const HEADER_LIST: u32 = (HeadLimits::MOST + HeadLimits::RESPONSE.count * 32) as u32;
/// Streams that were given up and whose last frames may still come, and for how long: frames of one
/// that is forgotten would be taken for a fault of the endpoint.
const GIVEN_UP: usize = 1000;
const GIVEN_UP_FOR: Duration = Duration::from_secs(10);
/// Streams that may begin before the endpoint has said how many it allows: it resets those that are
/// too many, whereas to wait for the first one would cost a round trip.
const UNTIL_SETTLED: usize = 1;
/// Streams of which all has come but their end; more are reset.
const ENDING: usize = 64;

/// A connection to an endpoint.
pub(super) struct Line {
    pub(super) endpoint: Arc<Endpoint>,
    rules: Http2Rules,
    /// Gone when no further stream may begin; the connection ends with its last stream.
    send: RefCell<Option<SendRequest<Bytes>>>,
    pings: RefCell<Option<PingPong>>,
    /// A ping is on its way.
    pinged: Cell<bool>,
    /// The endpoint's settings are known.
    settled: Cell<bool>,
    /// They allow no stream at all.
    closed: Cell<bool>,
    /// Who waits for them.
    unsettled: RefCell<Vec<Waker>>,
    in_use: Cell<usize>,
    /// It ends with the streams that it has, as another worker needs a connection.
    leaving: Cell<bool>,
    /// Streams so far.
    begun: Cell<u64>,
    idle_since: Cell<Instant>,
    expires: Instant,
    /// Streams whose body was whole before their end had come.
    ending: RefCell<Vec<RecvStream>>,
    /// The task that keeps it going.
    driver: RefCell<Option<Waker>>,
}

/// What the task of a line holds.
pub(super) struct Driven {
    connection: Connection<Duplex, Bytes>,
    duplex: Duplex,
}

impl Line {
    /// Begins to speak HTTP/2 over `stream`.
    pub(super) async fn begin(
        opened: Opened,
        endpoint: &Arc<Endpoint>,
        rules: Http2Rules,
        now: Instant,
    ) -> Result<(Rc<Line>, Box<Driven>), h2::Error> {
        let duplex = Duplex::new(opened.stream);
        let streams = u32::try_from(rules.streams).unwrap_or(u32::MAX);
        let (send, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW.saturating_mul(streams).min(i32::MAX as u32))
            .initial_max_send_streams(UNTIL_SETTLED)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST)
            .max_concurrent_reset_streams(GIVEN_UP)
            .reset_stream_duration(GIVEN_UP_FOR)
            // A limit over the life of the connection, at which all its exchanges end: clients that
            // give up their downloads must not be able to end those of others.
            .max_local_error_reset_streams(None)
            .handshake(duplex.clone())
            .await?;
        let line = Line {
            endpoint: endpoint.clone(),
            rules,
            send: RefCell::new(Some(send)),
            pings: RefCell::new(connection.ping_pong()),
            pinged: Cell::new(false),
            settled: Cell::new(false),
            closed: Cell::new(false),
            unsettled: RefCell::default(),
            in_use: Cell::new(0),
            leaving: Cell::new(false),
            begun: Cell::new(0),
            idle_since: Cell::new(now),
            expires: opened.expires,
            ending: RefCell::default(),
            driver: RefCell::default(),
        };
        // Its answer comes after the settings, if those say nothing about streams.
        line.ask();
        Ok((Rc::new(line), Box::new(Driven { connection, duplex })))
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// How many streams the endpoint allows, once its settings have come.
    pub(super) fn settle(&self) -> Option<usize> {
        if self.is_settled() {
            return None;
        }
        let allowed = self.send.borrow().as_ref()?.current_max_send_streams();
        self.settled.set(allowed != UNTIL_SETTLED || !self.pinged.get());
        self.closed.set(self.is_settled() && allowed == 0);
        if !self.is_settled() {
            return None;
        }
        self.unsettled.take().into_iter().for_each(Waker::wake);
        Some(allowed)
    }

    /// Whether the endpoint lets streams become tunnels; unknown until its settings have come.
    fn takes_tunnels(&self) -> Option<bool> {
        match &*self.send.borrow() {
            Some(send) => self.is_settled().then(|| send.is_extended_connect_protocol_enabled()),
            None => Some(false),
        }
    }

    /// The endpoint allows no stream at all, not even the one that may have been begun.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether one more stream may begin now. A line on which none ever may again is retired.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        let Some(most) = self.most_streams(now) else {
            self.retire();
            return false;
        };
        self.in_use.get() < most && !self.is_leaving()
    }

    fn most_streams(&self, now: Instant) -> Option<usize> {
        let mut send = self.send.borrow_mut();
        let send = send.as_mut()?;
        if now >= self.expires {
            return None;
        }
        // Never waits: it tells of a GOAWAY, and of stream numbers that are used up.
        if let Poll::Ready(Err(_)) = send.poll_ready(&mut Context::from_waker(Waker::noop())) {
            return None;
        }
        let most = self.rules.streams.min(send.current_max_send_streams());
        // An endpoint that allows no stream at all gets its connection back.
        (most > 0 || self.in_use.get() > 0).then_some(most)
    }

    /// How many streams it carries.
    pub(super) fn in_use(&self) -> usize {
        self.in_use.get()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_use.get() == 0
    }

    /// Whether it has lain idle for too long.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        let idle = self.endpoint.keep_alive.idle;
        self.is_idle() && now.saturating_duration_since(self.idle_since.get()) >= idle
    }

    /// Takes no further stream, and ends once it has none.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
        if self.is_idle() {
            self.retire();
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Begins no further stream; the connection says GOAWAY and ends once the open ones have ended.
    pub(super) fn retire(&self) {
        drop(self.send.borrow_mut().take());
        // The library wakes it only where nothing else is held of the connection: not for the streams
        // whose end may lie there by now.
        self.driver.take().into_iter().for_each(Waker::wake);
        self.unsettled.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.send.borrow().is_none()
    }

    /// What streams begin with.
    pub(super) fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.send.borrow().clone()
    }

    /// Asks whether the endpoint is still there. The answer has a time limit; without one the
    /// connection is given up.
    pub(super) fn ask(&self) {
        let mut pings = self.pings.borrow_mut();
        if let Some(pings) = pings.as_mut().filter(|_| !self.pinged.get()) {
            self.pinged.set(pings.send_ping(Ping::opaque()).is_ok());
        }
    }

    /// Waits for the end of a stream of which everything else has come, so that it need not be reset.
    pub(super) fn await_end(&self, stream: RecvStream) {
        let mut ending = self.ending.borrow_mut();
        if !stream.is_end_stream() && ending.len() < ENDING {
            ending.push(stream);
        }
    }

    fn driven_by(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    fn poll_endings(&self, cx: &mut Context<'_>) {
        let mut ending = self.ending.borrow_mut();
        // Anything but the end is more than was announced: dropping the stream resets it.
        ending.retain_mut(|stream| stream.poll_data(cx).is_pending());
    }
}

/// Keeps a connection going until it ends.
///
/// Tells after each of its turns, as there may be room that was not there before.
pub(super) async fn drive(driven: Box<Driven>, line: &Line, worker: &Worker, moved: impl Fn()) {
    let Driven { mut connection, duplex } = *driven;
    let mut watch = Watch {
        every: line.rules.ping,
        timeout: line.rules.ping_timeout,
        deadline: worker.deadline(),
        state: State::Resting,
    };
    poll_fn(|cx| {
        line.driven_by(cx.waker());
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !line.ending.borrow().is_empty() {
            line.poll_endings(cx);
        }
        if let Poll::Ready(Err(_)) = duplex.poll_send(cx) {
            return Poll::Ready(());
        }
        let lost = watch.poll(line, worker, cx);
        moved();
        if line.is_closed() { Poll::Ready(()) } else { lost }
    })
    .await;
    line.retire();
}

/// Finds out whether the endpoint is still there.
struct Watch {
    every: Option<Duration>,
    timeout: Duration,
    deadline: Deadline,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Resting,
    /// Until the next ping is due.
    Counting,
    /// Until the answer to a ping is overdue.
    Asking,
}

impl Watch {
    /// Ready when the endpoint has not answered in time.
    fn poll(&mut self, line: &Line, worker: &Worker, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if line.pinged.get() {
                let mut pings = line.pings.borrow_mut();
                let Some(pings) = pings.as_mut() else { return Poll::Pending };
                if let Poll::Ready(answer) = pings.poll_pong(cx) {
                    line.pinged.set(false);
                    self.state = State::Resting;
                    self.deadline.clear();
                    if answer.is_err() {
                        return Poll::Pending;
                    }
                    continue;
                }
                if self.state != State::Asking {
                    self.state = State::Asking;
                    self.deadline.set(worker.now() + self.timeout);
                }
                return self.deadline.poll_passed(cx);
            }
            let Some(every) = self.every else { return Poll::Pending };
            if self.state != State::Counting {
                self.state = State::Counting;
                self.deadline.set(worker.now() + every);
            }
            std::task::ready!(self.deadline.poll_passed(cx));
            line.ask();
            if !line.pinged.get() {
                return Poll::Pending;
            }
        }
    }
}

/// Room for one stream on a line, for as long as it is held.
pub struct Slot {
    pub(super) line: Rc<Line>,
    local: Rc<Local>,
    /// The line has carried streams before.
    pub reused: bool,
}

impl Slot {
    /// Whether the stream may become a tunnel (RFC 8441); known once the endpoint's settings have
    /// come.
    pub async fn takes_tunnels(&self) -> bool {
        poll_fn(|cx| match self.line.takes_tunnels() {
            Some(takes) => Poll::Ready(takes),
            None => {
                self.line.unsettled.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// The same as far as it is known now.
    pub fn is_for_tunnels(&self) -> bool {
        self.line.takes_tunnels().unwrap_or(false)
    }

    pub(super) fn new(line: Rc<Line>, local: &Rc<Local>) -> Self {
        line.in_use.set(line.in_use.get() + 1);
        let reused = line.begun.replace(line.begun.get() + 1) > 0;
        Slot { line, local: local.clone(), reused }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.line.in_use.set(self.line.in_use.get() - 1);
        self.line.idle_since.set(self.local.worker.now());
        if self.line.is_leaving() {
            self.line.leave();
        }
        super::connections::freed(&self.local, &self.line);
    }
}
