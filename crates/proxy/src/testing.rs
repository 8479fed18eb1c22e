//! A site, an exchange and a body for tests.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use transom_net::Worker;

use crate::body::Source;
use crate::exchange::{Asked, Exchange, Extensions, RequestId};
use crate::fault::Fault;
use crate::local::Local;
use crate::peer::Peer;
use crate::record::Record;
use crate::route::Router;
use crate::site::{Limits, Pages, RequestIdRule, Route, Site, Timeouts};

/// A site of these routes, none of which is ever matched by its rule.
pub(crate) fn site(routes: Vec<Route>) -> Site {
    Site {
        name: "web".into(),
        generation: 1,
        router: Router::build(Vec::new()).expect("no rule is wrong"),
        routes,
        limits: Limits::default(),
        ceilings: None,
        timeouts: Timeouts::default(),
        http2: None,
        paths: Default::default(),
        trusted: Vec::new(),
        forwarded: Default::default(),
        request_id: RequestIdRule::default(),
        vouched: Arc::default(),
        pages: Pages::default(),
        sinks: Vec::new(),
    }
}

/// One of a client from nowhere, with no route yet.
pub(crate) fn exchange(asked: Asked, site: Site) -> Exchange {
    let peer = Peer::new(Peer::NOWHERE, Peer::NOWHERE, None);
    Exchange {
        id: RequestId::Own(0, 1),
        started: Instant::now(),
        local: Rc::new(Local::new(Worker::new(0))),
        client: peer.ip(),
        peer: Rc::new(peer),
        asked,
        site: Rc::new(Arc::new(site)),
        route: None,
        captures: None,
        identity: None,
        extensions: Extensions::default(),
        record: Record::default(),
        client_side: None,
        tunnel: None,
    }
}

/// A body whose bytes come three at a time.
pub(crate) struct Parts(pub(crate) &'static [u8]);

impl Source for Parts {
    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        Poll::Ready(Ok(self.0.len().min(3)))
    }

    fn look(&self, see: &mut dyn FnMut(&[u8])) {
        see(&self.0[..self.0.len().min(3)]);
    }

    fn consume(&mut self, n: usize) {
        self.0 = &self.0[n..];
    }

    fn length(&self) -> Option<u64> {
        None
    }
}
