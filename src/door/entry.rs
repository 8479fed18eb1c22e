//! Who is in: what is counted of connections while they are open.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use transom_net::clients::{Open, Rates};
use transom_net::{Turnstile, Worker};
use transom_proxy::peer::Peer;

use super::{Door, Rules};
use crate::observe::metrics::{self, Refusal};

/// What is counted of a listener's connections, over all its addresses.
#[derive(Default)]
pub struct Counts {
    pub(super) open: AtomicUsize,
    pub(super) turnstile: Turnstile,
    clients: Open,
    rates: Rates,
    held: AtomicUsize,
}

/// A connection that is held to no purpose but to hold it.
pub(super) struct Held {
    counts: Arc<Counts>,
    pub(super) others: usize,
}

impl Held {
    pub(super) fn begin(counts: Arc<Counts>) -> Self {
        let others = counts.held.fetch_add(1, Ordering::Relaxed);
        Held { counts, others }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counts.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection while it is open.
pub(super) struct Entry {
    door: Arc<Door>,
    counts: Arc<Counts>,
    /// Counted among those of all listeners.
    pub(super) total: Option<Worker>,
    client: Option<IpAddr>,
    pub(super) counted: Option<metrics::Open>,
}

impl Entry {
    /// One that the listener has counted as open.
    pub(super) fn of(door: &Arc<Door>, rules: &Rules) -> Self {
        door.open.fetch_add(1, Ordering::Relaxed);
        let (door, counts) = (door.clone(), rules.counts.clone());
        Entry { door, counts, total: None, client: None, counted: None }
    }

    /// Holds the rules for clients against this one, and counts the connection as its own.
    pub(super) fn let_in(
        &mut self,
        rules: &Rules,
        address: SocketAddr,
        most: usize,
    ) -> Result<(), Refusal> {
        if address == Peer::NOWHERE {
            return Ok(());
        }
        let client = address.ip();
        if rules.clients.as_ref().is_some_and(|rule| !rule.lets_pass(client)) {
            return Err(Refusal::Address);
        }
        if let Some(rate) = rules.connection_rate
            && self.counts.rates.take(client, Instant::now(), rate).is_err()
        {
            return Err(Refusal::ConnectionRate);
        }
        if !self.counts.clients.enter(client, most) {
            return Err(Refusal::ConnectionsPerClient);
        }
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.door.open.fetch_sub(1, Ordering::Relaxed);
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(worker) = &self.total {
            worker.pressure().connections.leave();
        }
        if let Some(client) = self.client {
            self.counts.clients.leave(client);
        }
    }
}
