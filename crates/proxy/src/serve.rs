//! From a client's connection to exchanges: one way in per version of HTTP.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use transom_net::Stream;

use crate::local::Local;
use crate::peer::Peer;
use crate::site::Sites;

pub mod admit;
mod body_clock;
pub mod ceilings;
pub mod h1;
mod h1_request_body;
pub mod h2;
mod steps;

/// Serves one connection until it ends: HTTP/2 where TLS has agreed on that, else HTTP/1, which
/// gives way to HTTP/2 when the client begins with its preface.
pub async fn serve(stream: Stream, peer: Rc<Peer>, serving: Rc<Serving>) {
    let agreed = peer.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
    if agreed == Some(ALPN_H2) {
        Box::pin(h2::serve(stream, peer, serving)).await;
    } else {
        h1::serve(stream, peer, serving).await;
    }
}

/// The name of HTTP/2 in TLS (RFC 9113 §3.2).
pub const ALPN_H2: &[u8] = crate::codec::h2::ALPN;

/// What the connections of one listener on one worker share.
pub struct Serving {
    pub sites: Sites,
    pub local: Rc<Local>,
    /// Accept nothing new, finish what is open, then go.
    pub draining: Cell<bool>,
    /// What is open is cut off in a moment.
    pub leaving: Cell<bool>,
    no_room_until: Cell<Option<Instant>>,
}

/// After no idle connection was found, until it is looked for again.
const REST: Duration = Duration::from_millis(100);

impl Serving {
    pub fn new(sites: Sites, local: Rc<Local>) -> Rc<Self> {
        Rc::new(Serving {
            sites,
            local,
            draining: Cell::new(false),
            leaving: Cell::new(false),
            no_room_until: Cell::new(None),
        })
    }

    /// Closes connections that lie idle, the one longest idle first; at most so many. Looks at all
    /// of them, so it rests for a moment when there was none.
    pub fn make_room(&self, most: usize) {
        let now = self.local.worker.now();
        if self.no_room_until.get().is_some_and(|until| now < until) {
            return;
        }
        if self.local.worker.wheel().fire_spare(most) == 0 {
            self.no_room_until.set(Some(now + REST));
        }
    }

    /// Every response from now on closes its connection, and those that lie idle are told.
    pub fn drain(&self) {
        self.draining.set(true);
        self.local.worker.wheel().wake_all();
    }

    /// What is open is cut off in a moment: whoever has a word for that says it.
    pub fn leave(&self) {
        self.leaving.set(true);
        self.local.worker.wheel().wake_all();
    }
}
