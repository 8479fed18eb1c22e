//! A site, an exchange and a body for tests.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use transom_net::Worker;

use crate::body::Source;
use crate::exchange::{Asked, Exchange, RequestId};
use crate::fault::Fault;
use crate::local::Local;
use crate::site::{RequestIdRule, Route, Site};

/// A site of these routes, none of which is ever matched by its rule.
pub(crate) fn site(routes: Vec<Route>) -> Site {
    Site {
        name: "web".into(),
        generation: 1,
        routes,
        forwarded: Default::default(),
        request_id: RequestIdRule::default(),
        ..Site::of_nobody()
    }
}

/// One of a client from nowhere, with no route yet.
pub(crate) fn exchange(asked: Asked, site: Site) -> Exchange {
    Exchange {
        id: RequestId::Own(0, 1),
        asked,
        site: Rc::new(Arc::new(site)),
        ..Exchange::alone(&Rc::new(Local::new(Worker::new(0))))
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
