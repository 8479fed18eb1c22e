//! By listener: connections, what was refused, faults.

use std::sync::Arc;

use transom_proxy::fault::Code;
use transom_proxy::message::Version;

use super::cells::{Counter, Sharded};
use super::http2::{self, Http2Cells};
use super::registry::Registry;
use super::relays::RelayCells;
use super::text::Text;

/// By the listener's name.
pub(super) type Listeners = Registry<Arc<str>, ListenerCells>;

#[derive(Default)]
pub(super) struct ListenerCells {
    pub(super) begun: Counter,
    pub(super) ended: Counter,
    pub(super) faults: Faults,
    pub(super) tunnels_begun: Counter,
    pub(super) tunnels_ended: Counter,
    /// By [`Version`].
    pub(super) versions: [Counter; Version::ALL.len()],
    pub(super) http2: Http2Cells,
    pub(super) relays: RelayCells,
    accepted: Counter,
    closed: Counter,
    /// By [`Refusal`].
    refused: [Counter; Refusal::ALL.len()],
}

/// By [`Code`].
pub(super) struct Faults(pub(super) [Counter; Code::ALL.len()]);

impl Default for Faults {
    fn default() -> Self {
        Faults(std::array::from_fn(|_| Counter::default()))
    }
}

/// Why a connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A rule about addresses.
    Address,
    /// The listener has all the connections it may have.
    Connections,
    /// This client opens them too fast.
    ConnectionRate,
    /// This client has all the connections it may have.
    ConnectionsPerClient,
    Draining,
    /// No file descriptor or memory for it.
    Exhausted,
    /// So many TLS handshakes wait for their turn already.
    Handshakes,
    /// A datagram for which there is no endpoint, or no socket.
    NoEndpoint,
    ProxyHeader,
    Tls,
}

impl Refusal {
    pub const ALL: [Refusal; 10] = [
        Refusal::Address,
        Refusal::Connections,
        Refusal::ConnectionRate,
        Refusal::ConnectionsPerClient,
        Refusal::Draining,
        Refusal::Exhausted,
        Refusal::Handshakes,
        Refusal::NoEndpoint,
        Refusal::ProxyHeader,
        Refusal::Tls,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Address => "address",
            Refusal::Connections => "connections",
            Refusal::ConnectionRate => "connection-rate",
            Refusal::ConnectionsPerClient => "connections-per-client",
            Refusal::Draining => "draining",
            Refusal::Exhausted => "exhausted",
            Refusal::Handshakes => "handshakes",
            Refusal::NoEndpoint => "no-endpoint",
            Refusal::ProxyHeader => "proxy-header",
            Refusal::Tls => "tls",
        }
    }
}

/// Counts connections of one listener.
#[derive(Clone)]
pub struct ListenerMetrics(pub(super) Arc<Sharded<ListenerCells>>);

impl ListenerMetrics {
    /// A connection was accepted by this worker. It is open until the guard is dropped.
    pub fn accepted(&self, worker: usize) -> Open {
        self.0.at(worker).accepted.add_shared(1);
        Open { cells: self.0.clone(), worker }
    }

    /// A connection, accepted or not, is not served.
    pub fn refused(&self, worker: usize, why: Refusal) {
        self.0.at(worker).refused[why as usize].add_shared(1);
    }

    /// How many are open now, over all workers.
    pub fn open(&self) -> u64 {
        self.0.difference(|c| &c.accepted, |c| &c.closed)
    }
}

/// An open connection. May be dropped on another thread than it was made on.
pub struct Open {
    cells: Arc<Sharded<ListenerCells>>,
    worker: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.cells.at(self.worker).closed.add_shared(1);
    }
}

pub(super) fn render(listeners: &Listeners, text: &mut Text) {
    let listeners = listeners.living();
    text.family("transom_faults_total", "counter", "Exchanges that Transom refused or that failed; `transom explain fault CODE` says what a code means.");
    for (listener, cells) in &listeners {
        for code in Code::ALL {
            let count = cells.sum(|c| &c.faults.0[*code as usize]);
            if count > 0 {
                let blame = code.row().blame.as_str();
                text.sample(
                    &[("listener", listener), ("code", code.as_str()), ("blame", blame)],
                    count,
                );
            }
        }
    }
    text.family(
        "transom_connections_refused_total",
        "counter",
        "Connections of clients that were not served, by reason.",
    );
    for (listener, cells) in &listeners {
        for why in Refusal::ALL {
            let count = cells.sum(|c| &c.refused[why as usize]);
            text.sample(&[("listener", listener), ("reason", why.as_str())], count);
        }
    }
    text.family(
        "transom_connections_accepted_total",
        "counter",
        "Connections of clients that were accepted.",
    );
    for (listener, cells) in &listeners {
        text.sample(&[("listener", listener)], cells.sum(|c| &c.accepted));
    }
    text.family(
        "transom_requests_by_version_total",
        "counter",
        "Exchanges that ended, by the version of HTTP that the client speaks.",
    );
    for (listener, cells) in &listeners {
        for version in Version::ALL {
            let count = cells.sum(|c| &c.versions[version as usize]);
            if count > 0 {
                text.sample(&[("listener", listener), ("version", version.as_str())], count);
            }
        }
    }
    http2::render(&listeners, text);
    type Pick = fn(&ListenerCells) -> &Counter;
    let open: [(&str, &str, Pick, Pick); 3] = [
        (
            "transom_connections_open",
            "Connections of clients that are open.",
            |c| &c.accepted,
            |c| &c.closed,
        ),
        (
            "transom_requests_in_flight",
            "Exchanges that have begun and not ended, tunnels among them.",
            |c| &c.begun,
            |c| &c.ended,
        ),
        (
            "transom_tunnels_open",
            "Connections that became tunnels and are open.",
            |c| &c.tunnels_begun,
            |c| &c.tunnels_ended,
        ),
    ];
    for (name, help, begun, ended) in open {
        text.family(name, "gauge", help);
        for (listener, cells) in &listeners {
            text.sample(&[("listener", listener)], cells.difference(begun, ended));
        }
    }
}
