//! The door for datagrams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use transom_balance::relay::udp;

use super::Door;
use crate::observe::metrics::{self, Refusal, Transport};

/// A door for datagrams, as one worker sees it.
pub struct Hatch {
    pub door: Arc<Door>,
    pub worker: usize,
}

/// A flow while it is open.
pub struct Passing {
    door: Arc<Door>,
    _counted: metrics::Open,
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl udp::Owner for Hatch {
    type Open = Passing;

    fn lets_pass(&self, client: SocketAddr) -> bool {
        let rules = self.door.rules.load();
        rules.clients.as_ref().is_none_or(|rule| rule.lets_pass(client.ip()))
    }

    fn relay(&self) -> Option<Arc<udp::Relay>> {
        self.door.flows.load_full()
    }

    fn opened(&self) -> Passing {
        self.door.open.fetch_add(1, Ordering::Relaxed);
        let counted = self.door.metrics.accepted(self.worker, Transport::Udp);
        Passing { door: self.door.clone(), _counted: counted }
    }

    fn open(&self) -> usize {
        self.door.open.load(Ordering::Relaxed)
    }

    fn refused(&self, why: udp::Refused) {
        let why = match why {
            udp::Refused::Address => Refusal::Address,
            udp::Refused::FlowsPerClient => Refusal::ConnectionsPerClient,
            udp::Refused::NoEndpoint => Refusal::NoEndpoint,
            udp::Refused::ProxyHeader => Refusal::ProxyHeader,
        };
        self.door.metrics.refused(self.worker, why);
    }
}
