//! The addresses that are listened on: bound, taken over from who started us, opened on the workers.

use std::path::Path;
use std::sync::Arc;

use transom_net::listen::{self, Bound};
use transom_net::peer::PeerAddr;
use transom_net::udp;
use transom_settings::ListenAddress;

use super::StartError;
use crate::build::Snapshot;
use crate::door::{Door, Listening};
use crate::log;
use crate::observe::metrics::Metrics;
use crate::workers::Workers;

/// Every address that is listened on, with what is served there.
pub(super) fn addresses(snapshot: &Snapshot) -> impl Iterator<Item = (&ListenAddress, &Listening)> {
    snapshot.listeners.iter().flat_map(|l| l.addresses.iter().map(move |address| (address, l)))
}

/// An address that is bound, and at which nobody is let in yet.
pub(super) struct Unopened<'s> {
    /// What [`Listening::key`] calls it.
    pub(super) key: String,
    pub(super) listening: &'s Listening,
    pub(super) sockets: Vec<Bound>,
}

impl Unopened<'_> {
    /// Lets in whoever comes, on every worker.
    pub(super) async fn open(
        self,
        workers: &Workers,
        metrics: &Metrics,
    ) -> Result<Arc<Door>, StartError> {
        let local = self.sockets.first().map_or(PeerAddr::Unix, Bound::local);
        let metrics = metrics.listener(&self.listening.name);
        let door = Door::new(self.key, local, self.listening, metrics);
        let opened = workers.open(&door, self.sockets).await;
        opened
            .map_err(|e| StartError::System(format!("cannot listen on {}: {e}", door.address)))?;
        Ok(door)
    }
}

/// Sockets for every address of a program that starts: those it was handed, and its own.
pub(super) fn bind_all(
    snapshot: &Snapshot,
    workers: usize,
) -> Result<Vec<Unopened<'_>>, StartError> {
    let mut inherited = inherited_sockets();
    let mut all = Vec::new();
    for (address, listening) in addresses(snapshot) {
        let datagrams = listening.flows.is_some();
        let sockets = match take_inherited(&mut inherited, address, datagrams) {
            Some(socket) => vec![socket],
            None => bind(address, listening, workers, false)?,
        };
        all.push(Unopened { key: listening.key(address), listening, sockets });
    }
    for unused in inherited {
        let at = match (unused.local(), unused.path()) {
            (PeerAddr::Ip(address), _) if unused.is_datagram() => format!("{address} (UDP)"),
            (PeerAddr::Ip(address), _) => address.to_string(),
            (PeerAddr::Unix, Some(path)) => format!("`{}`", path.display()),
            (PeerAddr::Unix, None) => "no path".to_owned(),
        };
        log::warn(&format!("an inherited socket at {at} is closed: no listener has this address"));
    }
    Ok(all)
}

/// `beside`: a socket of ours that is about to be closed listens at a part of it.
pub(super) fn bind(
    address: &ListenAddress,
    listening: &Listening,
    workers: usize,
    beside: bool,
) -> Result<Vec<Bound>, StartError> {
    let bound = match address {
        address if listening.flows.is_some() => match address.socket_address() {
            Some(address) if beside => udp::bind_beside_own(address, workers),
            Some(address) => udp::bind(address, workers),
            None => return Err(StartError::System(format!("{address} takes no datagrams"))),
        },
        ListenAddress::Unix(path) => listen::bind_unix(path, 0o666).map(|bound| vec![bound]),
        other => match other.socket_address() {
            Some(address) if beside => listen::bind_beside_own(address, workers),
            Some(address) => listen::bind(address, workers),
            None => return Err(StartError::System(format!("{other} is no address"))),
        },
    };
    bound.map_err(|e| {
        let hint = e.hint().map_or(String::new(), |hint| format!("\nhint: {hint}"));
        StartError::System(format!("{}{hint}", log::with_causes(&e)))
    })
}

/// Sockets that systemd opened for us.
fn inherited_sockets() -> Vec<Bound> {
    let numbers = sd_notify::listen_fds().into_iter().flatten();
    let adopted = numbers.filter_map(|number| match Bound::adopt_number(number) {
        Ok(bound) => Some(bound),
        Err(e) => {
            log::warn(&format!("an inherited socket cannot be used: {}", log::with_causes(&e)));
            None
        }
    });
    adopted.collect()
}

/// The one at this address, for connections or for datagrams.
fn take_inherited(
    inherited: &mut Vec<Bound>,
    address: &ListenAddress,
    datagrams: bool,
) -> Option<Bound> {
    let same = |bound: &Bound| match (address, bound.local()) {
        (ListenAddress::Unix(ours), PeerAddr::Unix) => {
            bound.path().is_some_and(|theirs| is_same_file(ours, &theirs))
        }
        (_, PeerAddr::Unix) => false,
        (_, PeerAddr::Ip(local)) => address.socket_address().is_some_and(|address| {
            local.port() == address.port()
                && (local.ip() == address.ip()
                    || local.ip().is_unspecified() && address.ip().is_unspecified())
        }),
    };
    let at = inherited.iter().position(|bound| bound.is_datagram() == datagrams && same(bound))?;
    Some(inherited.remove(at))
}

/// `/var/run` leads to `/run`.
fn is_same_file(ours: &Path, theirs: &Path) -> bool {
    ours == theirs
        || matches!((ours.canonicalize(), theirs.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
