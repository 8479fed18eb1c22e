//! `transom explain tcp`: where a connection would be carried.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use transom_balance::relay::{Match, Relay};
use transom_net::tls::sniff::Hello;
use transom_settings::{Setting, closest, quote};

use super::Outcome;
use crate::build::Snapshot;
use transom_proxy::fault::Code;

/// A connection to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connecting {
    /// The name of the listener.
    pub listener: String,
    /// What the client asks for in TLS; nothing where it speaks something else.
    pub sni: Option<String>,
    pub alpn: Vec<String>,
    /// Who connects.
    pub from: IpAddr,
}

impl Connecting {
    /// A connection from this machine that does not speak TLS.
    pub fn new(listener: impl Into<String>) -> Self {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Connecting { listener: listener.into(), sni: None, alpn: Vec::new(), from }
    }

    fn hello(&self) -> Option<Hello> {
        (self.sni.is_some() || !self.alpn.is_empty()).then(|| Hello {
            name: self.sni.as_ref().map(|name| name.to_ascii_lowercase().into()),
            alpn: self.alpn.iter().map(|one| one.as_bytes().into()).collect(),
        })
    }
}

/// Tells where a connection would be carried, without opening one.
///
/// # Errors
/// One sentence about what in the question is no connection.
pub fn explain_tcp(
    snapshot: &Snapshot,
    question: &Connecting,
) -> Result<(Outcome, String), String> {
    let mut relays = snapshot.listeners.iter().filter_map(|one| Some((one, one.relay.as_ref()?)));
    let found = relays.clone().find(|(listening, _)| *listening.name == *question.listener);
    let Some((listening, relay)) = found else {
        let what = format!("no listener named {} carries TCP", quote(&question.listener));
        let names: Vec<&str> = relays.by_ref().map(|(listening, _)| &*listening.name).collect();
        return Err(match closest(&question.listener, names) {
            Some(meant) => format!("{what}: did you mean `{meant}`?"),
            None => what,
        });
    };
    let hello = question.hello();
    let mut told = String::new();
    let addresses: Vec<String> = listening.addresses.iter().map(ToString::to_string).collect();
    let _ = writeln!(told, "listener {} ({})", listening.name, addresses.join(", "));
    let tls = match (&listening.tls, relay.looks_at_tls()) {
        (Some(_), _) => "TLS ends here",
        (None, true) => "TLS passes through, its first message is looked at",
        (None, false) => "bytes pass through unread",
    };
    let _ = writeln!(told, "  {tls}");
    let _ = writeln!(told, "client {}", question.from);
    if listening.clients.as_ref().is_some_and(|rule| !rule.lets_pass(question.from)) {
        let _ = writeln!(told, "refused: the listener's `clients` do not let it in");
        return Ok((Outcome::Refused(Code::Forbidden), told));
    }
    Ok((routes(snapshot, relay, question.from, hello.as_ref(), &mut told), told))
}

fn routes(
    snapshot: &Snapshot,
    relay: &Relay,
    client: IpAddr,
    hello: Option<&Hello>,
    told: &mut String,
) -> Outcome {
    let _ = writeln!(told, "routes, in the order they are tried");
    for route in &relay.routes {
        let misfit = route.matches.misfit(client, hello);
        let verdict = misfit.map_or("matched".to_owned(), |what| format!("another {what}"));
        let _ = writeln!(told, "  {}{}: {verdict}", route.name, shown(&route.matches));
        if misfit.is_some() {
            continue;
        }
        let to = route.destination.name();
        let algorithm = snapshot.config.pools.get(to).map(|pool| pool.algorithm.to_json());
        match algorithm.as_ref().and_then(|one| one.as_str()) {
            Some(algorithm) => drop(writeln!(told, "carried to pool {to} ({algorithm})")),
            None => drop(writeln!(told, "carried to {to}")),
        }
        for endpoint in route.destination.candidates() {
            let tls = if endpoint.target.tls.is_some() { ", tls" } else { "" };
            let _ = writeln!(told, "  candidate {}{tls}", endpoint.name);
        }
        return Outcome::Route(route.name.to_string());
    }
    let _ = writeln!(told, "closed: no route is for it");
    Outcome::Refused(Code::NoRoute)
}

/// ` (sni a or b, alpn h2)`; nothing where anything matches.
fn shown(matches: &Match) -> String {
    let list = |what: &str, all: Vec<String>| {
        (!all.is_empty()).then(|| format!("{what} {}", all.join(" or ")))
    };
    let alpn = matches.alpn.iter().map(|one| one.escape_ascii().to_string()).collect();
    let parts = [
        list("sni", matches.names.iter().map(ToString::to_string).collect()),
        list("alpn", alpn),
        matches.tls.map(|tls| if tls { "tls" } else { "no tls" }.to_owned()),
        list("client", matches.clients.iter().map(ToString::to_string).collect()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}
