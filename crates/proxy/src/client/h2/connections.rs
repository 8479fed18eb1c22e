//! Who gets which stream: the connections of one worker by endpoint, and those that wait for one.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use transom_net::tasks::Tasks;
use transom_net::{Ceiling, Place, Worker, dial};

use super::line::{self, Line, Slot};
use crate::client::dial_fault;
use crate::client::places::{self, none_left};
use crate::client::pool::Connection;
use crate::codec::h2::ALPN;
use crate::destination::Endpoint;
use crate::fault::{Code, Fault};
use crate::local::Local;
use crate::patience::within;

/// How long a goodbye may take to be sent.
const GOODBYE: Duration = Duration::from_millis(200);

/// The connections of one worker that carry many streams.
#[derive(Default)]
pub struct Connections {
    groups: RefCell<HashMap<u64, Group, foldhash::fast::RandomState>>,
    tasks: Tasks,
}

/// Those to one endpoint.
#[derive(Default)]
struct Group {
    lines: Vec<Rc<Line>>,
    opening: usize,
    waiting: VecDeque<Rc<Waiter>>,
    /// Streams at once that it last allowed on a connection.
    allowed: Option<usize>,
    /// It chose HTTP/1.1 when it was last asked: nobody waits for the connection of another.
    speaks_http1: bool,
}

/// What a request that wanted a stream got.
pub enum Obtained {
    Stream(Slot),
    /// The endpoint chose HTTP/1.1.
    Http1(Box<Connection>),
}

/// A request that waits for a stream.
struct Waiter {
    /// How long the opening of a connection may take.
    limit: Duration,
    given: RefCell<Option<Given>>,
    waker: Cell<Option<Waker>>,
}

enum Given {
    Obtained(Obtained),
    /// The endpoint speaks HTTP/1.1: open a connection of your own.
    Alone,
    Failed(Code, Rc<str>),
}

impl Waiter {
    fn give(&self, given: Given) {
        *self.given.borrow_mut() = Some(given);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Connections {
    /// A stream on a connection that is open and has room.
    pub fn take(&self, local: &Rc<Local>, endpoint: &Endpoint) -> Option<Slot> {
        let now = local.worker.now();
        let mut groups = self.groups.borrow_mut();
        let group = groups.get_mut(&endpoint.key)?;
        // Those who wait were here before.
        let line = group.waiting.is_empty().then(|| group.with_room(now))??;
        Some(Slot::new(line, local))
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        self.groups.borrow().values().map(|group| group.lines.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Retires connections that lie idle or have grown old.
    pub fn sweep(&self, now: Instant) {
        self.groups.borrow_mut().retain(|_, group| {
            for line in &group.lines {
                if line.is_spent(now) || line.is_idle() && !line.has_room(now) {
                    line.retire();
                }
            }
            group.lines.retain(|line| !line.is_retired());
            !group.lines.is_empty() || group.opening > 0 || !group.waiting.is_empty()
        });
    }

    /// Says goodbye on every connection, and waits until those have ended that carry nothing, as
    /// long as that takes no longer than a moment.
    pub async fn close(&self, worker: &Worker) {
        for group in self.groups.borrow().values() {
            group.lines.iter().for_each(|line| line.retire());
        }
        let ended = async {
            while self.tasks.count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(worker, GOODBYE, ended).await;
    }

    /// Lets go of a connection below this ceiling: one that carries nothing, else one that then ends
    /// with what it carries. Whether there was one.
    pub(in crate::client) fn give_up(&self, ceiling: &Arc<Ceiling>) -> bool {
        let groups = self.groups.borrow();
        let is_below = |line: &Line| line.endpoint.ceilings.iter().any(|c| Arc::ptr_eq(c, ceiling));
        // One whose settings have not come has not served those yet for whom it was opened.
        let fit = |line: &&Rc<Line>| line.is_settled() && !line.is_retired() && is_below(line);
        let lines = groups.values().flat_map(|group| &group.lines).filter(fit);
        let Some(line) = lines.min_by_key(|line| (!line.is_leaving(), line.in_use())) else {
            return false;
        };
        // One after the other, as what they carry may take its time.
        if line.is_leaving() {
            return false;
        }
        line.leave();
        true
    }

    fn with<R>(&self, endpoint: &Endpoint, see: impl FnOnce(&mut Group) -> R) -> R {
        see(self.groups.borrow_mut().entry(endpoint.key).or_default())
    }
}

impl Group {
    /// The first line with room, so that as few as possible are kept busy.
    fn with_room(&mut self, now: Instant) -> Option<Rc<Line>> {
        let found = self.lines.iter().find(|line| line.has_room(now)).cloned();
        if found.is_none() {
            self.lines.retain(|line| !line.is_retired());
        }
        found
    }

    /// Gives streams to those who wait, as far as there are any; and how many connections are to be
    /// opened for the others, each within so long.
    fn tend(&mut self, local: &Rc<Local>, endpoint: &Endpoint) -> Option<(usize, Duration)> {
        self.serve(local);
        let limit = self.waiting.front()?.limit;
        let most = endpoint.http2.as_ref().map_or(1, |http2| http2.rules.streams);
        let each = self.allowed.unwrap_or(most).min(most);
        let coming = self.opening + self.lines.iter().filter(|line| !line.is_settled()).count();
        if each == 0 && coming == 0 {
            self.fail(Code::StreamRefused, "the endpoint allows no streams");
            self.allowed = None;
            return None;
        }
        let more = self.waiting.len().div_ceil(each.max(1)).saturating_sub(coming);
        // Where no more may be opened, streams of those that are will be free. With none at all, one
        // waits until others have given theirs up.
        let stays = self.lines.iter().any(|line| !line.is_leaving());
        let least = usize::from(!stays && self.opening == 0);
        let more = more.min(endpoint.connections_left().max(least));
        self.opening += more;
        Some((more, limit))
    }

    fn fail(&mut self, code: Code, detail: &str) {
        let detail: Rc<str> = detail.into();
        for waiter in self.waiting.drain(..) {
            waiter.give(Given::Failed(code, detail.clone()));
        }
    }

    fn serve(&mut self, local: &Rc<Local>) {
        let now = local.worker.now();
        while !self.waiting.is_empty()
            && let Some(line) = self.with_room(now)
            && let Some(first) = self.waiting.pop_front()
        {
            first.give(Given::Obtained(Obtained::Stream(Slot::new(line, local))));
        }
    }
}

/// A stream to the endpoint, on a connection that is opened for it where none has room; or a
/// connection of its own, where the endpoint chooses HTTP/1.1. `limit` is for the opening.
///
/// # Errors
/// When no connection came to be within `limit`.
pub async fn obtain(
    local: &Rc<Local>,
    endpoint: &Arc<Endpoint>,
    limit: Duration,
) -> Result<Obtained, Fault> {
    if !local.http2.with(endpoint, |group| group.speaks_http1) {
        match within(&local.worker, limit, wait(local, endpoint, limit)).await {
            None if endpoint.connections_left() == 0 => return Err(none_left(limit)),
            None => return Err(too_late()),
            Some(Given::Obtained(obtained)) => return Ok(obtained),
            Some(Given::Failed(Code::QueueTimeout, _)) => return Err(none_left(limit)),
            Some(Given::Failed(code, detail)) => return Err(Fault::new(code, detail.to_string())),
            Some(Given::Alone) => {}
        }
    }
    let places = places::take(local, endpoint, limit).await?;
    match within(&local.worker, limit, establish(local, endpoint, places)).await {
        None => Err(too_late()),
        Some(Err(fault)) => Err(fault),
        Some(Ok(Established::Http1(connection))) => Ok(Obtained::Http1(connection)),
        Some(Ok(Established::Http2(line, driven))) => {
            let slot = Slot::new(line.clone(), local);
            local.http2.with(endpoint, |group| group.speaks_http1 = false);
            let its = local.clone();
            local.http2.tasks.start(TASK, async move { keep(&its, line, driven).await });
            Ok(Obtained::Stream(slot))
        }
    }
}

const TASK: &str = "upstream HTTP/2 connection";

fn too_late() -> Fault {
    Fault::new(Code::ConnectTimeout, "no connection within the timeout")
}

/// Sees to those who wait: they get what has room, or a connection is opened for them.
fn tend(local: &Rc<Local>, endpoint: &Arc<Endpoint>) {
    let wanted = local.http2.with(endpoint, |group| group.tend(local, endpoint));
    let Some((more, limit)) = wanted else { return };
    for _ in 0..more {
        let (local, endpoint) = (local.clone(), endpoint.clone());
        let tasks = local.http2.tasks.clone();
        tasks.start(TASK, async move { open(&local, &endpoint, limit).await });
    }
}

/// Waits in turn.
async fn wait(local: &Rc<Local>, endpoint: &Arc<Endpoint>, limit: Duration) -> Given {
    let waiter = Rc::new(Waiter { limit, given: RefCell::default(), waker: Cell::default() });
    local.http2.with(endpoint, |group| group.waiting.push_back(waiter.clone()));
    let waiting = Waiting { local, endpoint, waiter };
    tend(local, endpoint);
    poll_fn(|cx| match waiting.waiter.given.borrow_mut().take() {
        Some(given) => Poll::Ready(given),
        None => {
            waiting.waiter.waker.set(Some(cx.waker().clone()));
            Poll::Pending
        }
    })
    .await
}

/// A place in the queue, left when nobody waits there any more.
struct Waiting<'a> {
    local: &'a Local,
    endpoint: &'a Endpoint,
    waiter: Rc<Waiter>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.local.http2.with(self.endpoint, |group| {
            group.waiting.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        });
    }
}

/// Opens a connection for those who wait, and keeps it going where it carries streams. Of nobody's
/// request, so that none who gives up takes it from the others.
async fn open(local: &Rc<Local>, endpoint: &Arc<Endpoint>, limit: Duration) {
    let opened = match places::take(local, endpoint, limit).await {
        Ok(places) => {
            let opened = within(&local.worker, limit, establish(local, endpoint, places)).await;
            opened.unwrap_or_else(|| Err(too_late()))
        }
        Err(fault) => Err(fault),
    };
    local.http2.with(endpoint, |group| group.opening -= 1);
    match opened {
        Ok(Established::Http2(line, driven)) => keep(local, line, driven).await,
        Ok(Established::Http1(connection)) => {
            let mut waiting = local.http2.with(endpoint, |group| {
                group.speaks_http1 = true;
                std::mem::take(&mut group.waiting)
            });
            match waiting.pop_front() {
                Some(first) => first.give(Given::Obtained(Obtained::Http1(connection))),
                None => local.idle.borrow_mut().put(endpoint, connection, local.worker.now()),
            }
            waiting.iter().for_each(|waiter| waiter.give(Given::Alone));
        }
        Err(fault) => {
            local.http2.with(endpoint, |group| group.fail(fault.code(), fault.detail()));
        }
    }
}

/// Adds a connection to those that are there, for as long as it lasts.
async fn keep(local: &Rc<Local>, line: Rc<Line>, driven: Box<line::Driven>) {
    let endpoint = line.endpoint.clone();
    local.http2.with(&endpoint, |group| {
        group.speaks_http1 = false;
        group.lines.push(line.clone());
    });
    tend(local, &endpoint);
    let moved = || {
        if let Some(allowed) = line.settle() {
            local.http2.with(&endpoint, |group| group.allowed = Some(allowed));
        }
        tend(local, &endpoint);
    };
    line::drive(driven, &line, &local.worker, moved).await;
    local.http2.with(&endpoint, |group| {
        group.lines.retain(|other| !Rc::ptr_eq(other, &line));
        if !line.is_settled() && group.lines.is_empty() && group.opening == 0 {
            group.fail(Code::ConnectFailed, "it ended the connection before its settings came");
        }
    });
    tend(local, &endpoint);
}

/// A stream of this line has ended: the next in the queue gets its place.
pub(super) fn freed(local: &Rc<Local>, line: &Line) {
    tend(local, &line.endpoint);
}

enum Established {
    Http1(Box<Connection>),
    Http2(Rc<Line>, Box<line::Driven>),
}

async fn establish(
    local: &Rc<Local>,
    endpoint: &Arc<Endpoint>,
    places: Vec<Place>,
) -> Result<Established, Fault> {
    let Some(http2) = endpoint.http2.as_deref() else {
        return Err(Fault::new(Code::Internal, "HTTP/2 is not spoken to this endpoint"));
    };
    let mut stream = dial(&http2.target, &local.worker).await.map_err(|e| dial_fault(&e))?;
    stream.hold(places);
    let chosen = stream.session().and_then(|session| session.alpn());
    let is_http2 = http2.target.tls.is_none() || chosen == Some(ALPN);
    if !is_http2 && http2.required {
        let detail = "the endpoint did not choose HTTP/2 (ALPN), which the pool asks for";
        return Err(Fault::new(Code::TlsFailed, detail));
    }
    let now = Instant::now();
    let connection = Connection::new(stream, &endpoint.keep_alive, None, now);
    if !is_http2 {
        return Ok(Established::Http1(connection));
    }
    let begun = Line::begin(*connection, endpoint, http2.rules, now).await;
    let (line, driven) =
        begun.map_err(|e| Fault::new(Code::ConnectFailed, format!("HTTP/2: {e}")))?;
    Ok(Established::Http2(line, driven))
}
