//! Idle connections to endpoints, per worker: never shared between cores, so never locked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use transom_net::{Ceiling, Size, Stream};

use crate::destination::{Endpoint, KeepAlive};
use crate::local::Local;

/// From how much idle time on the kernel itself is asked before a connection is used again. A
/// younger one is judged by what the kernel has reported: a system call per request would buy a
/// window of less than this, and RS-13 closes what is left of it.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// How often idle connections that have ended or grown old are closed.
const SWEEP: Duration = Duration::from_secs(1);

/// An open connection and its history.
#[derive(Debug)]
pub struct Connection {
    pub stream: Stream,
    /// When it grows too old to be used again.
    pub expires: Instant,
    /// How much to read at first: a response is taken to be as long as the one before it.
    pub size: Size,
    /// For whom it was opened, where the endpoint was told: it is for nobody else then (RS-19).
    pub client: Option<Bound>,
}

/// The two ends of the client's connection that an endpoint was told of.
pub type Bound = (SocketAddr, SocketAddr);

impl Connection {
    /// A connection opened `now`. Its greatest age is up to a tenth less than configured, so that
    /// connections opened together do not all end together. Boxed once for all its exchanges, which
    /// hand it on and on.
    pub fn new(
        stream: Stream,
        keep_alive: &KeepAlive,
        client: Option<Bound>,
        now: Instant,
    ) -> Box<Self> {
        let expires = now + keep_alive.age;
        let mut connection = Box::new(Connection { stream, expires, size: Size::Large, client });
        // Where it lies in memory is as good as any number.
        let spread = (std::ptr::from_ref(&*connection).addr() / 64) as u8;
        connection.expires -= keep_alive.age / 10 * u32::from(spread) / 256;
        connection
    }
}

#[derive(Debug)]
struct Resting {
    connection: Box<Connection>,
    since: Instant,
    idle: Duration,
}

impl Resting {
    fn is_fit(&mut self, now: Instant) -> bool {
        let rested = now.saturating_duration_since(self.since);
        rested < self.idle
            && now < self.connection.expires
            && self.connection.stream.is_quiet(rested > LOOK_AFTER)
    }
}

/// The idle connections of one worker, by endpoint.
#[derive(Debug, Default)]
pub struct Idle(HashMap<Key, Vec<Resting>, foldhash::fast::RandomState>);

/// Endpoint and client: what two connections must have in common to be used in each other's place.
type Key = (u64, Option<Bound>);

impl Idle {
    /// The connection used last that is still fit; unfit ones are closed on the way (RS-05).
    pub fn take(
        &mut self,
        endpoint: &Endpoint,
        client: Option<Bound>,
        now: Instant,
    ) -> Option<Box<Connection>> {
        let resting = self.0.get_mut(&(endpoint.key, client))?;
        while let Some(mut last) = resting.pop() {
            if last.is_fit(now) {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection whose last exchange was perfectly framed; the one idle longest makes room.
    pub fn put(&mut self, endpoint: &Endpoint, connection: Box<Connection>, now: Instant) {
        let keep = &endpoint.keep_alive;
        let places = connection.stream.places();
        let wanted = places.iter().any(|place| place.ceiling().is_wanted());
        if keep.most == 0 || now >= connection.expires || wanted {
            return;
        }
        let resting = self.0.entry((endpoint.key, connection.client)).or_default();
        if resting.len() >= keep.most {
            resting.remove(0);
        }
        resting.push(Resting { connection, since: now, idle: keep.idle });
    }

    /// Closes the connection below this ceiling that has lain idle for longest. Whether there was one.
    pub(super) fn give_up(&mut self, ceiling: &Arc<Ceiling>) -> bool {
        let is_below = |resting: &Resting| {
            let mut places = resting.connection.stream.places().iter();
            places.any(|place| Arc::ptr_eq(place.ceiling(), ceiling))
        };
        let below = self.0.values_mut().filter(|resting| resting.first().is_some_and(is_below));
        let longest = below.min_by_key(|resting| resting.first().map(|first| first.since));
        longest.map(|resting| resting.remove(0)).is_some()
    }

    fn sweep(&mut self, now: Instant) {
        for resting in self.0.values_mut() {
            resting.retain_mut(|r| r.is_fit(now));
        }
        self.0.retain(|_, resting| !resting.is_empty());
    }

    /// How many connections lie idle.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Closes idle connections that have ended, expired or grown old. Never returns.
pub async fn sweep(local: Rc<Local>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let now = Instant::now();
        local.idle.borrow_mut().sweep(now);
        local.http2.sweep(now);
    }
}
