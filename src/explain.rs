//! `transom explain`: what would become of a request, told without sending it.
//!
//! The request is written as bytes and goes through the same parsing, the same admission and the
//! same router as a real one, so what is told here cannot differ from what is done.

mod pools;
mod relay;
mod words;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use transom_net::Worker;
use transom_net::tls::server::Facts;
use transom_proxy::codec::framing::Framing;
use transom_proxy::codec::head;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::local::Local;
use transom_proxy::peer::Peer;
use transom_proxy::policy;
use transom_proxy::route::{Captures, Failure, Step, Verdict};
use transom_proxy::serve::admit::{self, Admitted};
use transom_proxy::site;
use transom_settings::{Diagnostics, FromText, ListenAddress, quote};

use crate::build::{Snapshot, rewrite};
use crate::config::{Action, Forward, HostRewrite, OverLimit, Placed, Target};
use crate::door::Listening;

pub use relay::{Connecting, explain_tcp};
pub use words::{fault, faults, policies, policy};

/// A request to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub method: String,
    /// The whole URL, with scheme and host.
    pub url: String,
    /// Header fields as they are written: `name: value`.
    pub headers: Vec<String>,
    /// Who connects.
    pub from: IpAddr,
}

impl Question {
    /// A request without header fields, from this machine.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        let (method, url) = (method.into(), url.into());
        Question { method, url, headers: Vec::new(), from: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }
}

/// What would become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The name of the listener.
    pub listener: String,
    pub outcome: Outcome,
    /// All of it, for people.
    pub text: String,
}

/// Where a request would end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Transom refuses it.
    Refused(Code),
    /// The route with this name takes it.
    Route(String),
}

/// Tells what would become of a request. `sources` are the texts of the configuration, for places.
///
/// # Errors
/// One sentence about what in the question is no request.
pub fn explain(
    snapshot: &Snapshot,
    sources: &Diagnostics,
    question: &Question,
) -> Result<Explanation, String> {
    let url = Url::parse(&question.url)?;
    let (listening, address, why) = pick(snapshot, &url)?;
    let mut told = String::new();
    let addresses: Vec<String> = listening.addresses.iter().map(ToString::to_string).collect();
    let _ = writeln!(told, "listener {} ({}): {why}", listening.name, addresses.join(", "));
    let tls = listening.tls.as_ref().map(|tls| {
        let name = url.name();
        if !tls.serves(name) {
            let shown = name.map_or("a client that names no host".to_owned(), quote);
            let _ = writeln!(told, "  note: no certificate is for {shown}, so TLS is refused");
        }
        Facts::imagined(name, tls)
    });
    let client = SocketAddr::new(question.from, 0);
    if let Some(rule) = &listening.clients {
        let passes = if rule.lets_pass(question.from) { "may" } else { "may not" };
        let rule = policy::address::describe(rule);
        let _ = writeln!(told, "clients: the listener {rule}; {} {passes} connect", question.from);
    }
    if let Some(limits) = limits(snapshot, listening) {
        let _ = writeln!(told, "limits: {limits}");
    }
    let peer = Peer::new(client, address, tls);
    let local = Local::new(Worker::new(0));
    let bytes = request(question, &url)?;
    let site = &listening.site;
    let admitted = match head::request(&bytes, &site.limits.head) {
        Ok(Some(head)) => admit::admit(head, site, &peer, &local),
        Ok(None) => return Err("the request has no end".to_owned()),
        Err(error) => Err(admit::head_fault(error)),
    };
    let outcome = match admitted {
        Ok(admitted) => {
            let client = admitted.client;
            Telling { snapshot, client, sources, listening, told: &mut told }.admitted(&admitted)
        }
        Err(fault) => Err(fault),
    };
    let outcome = outcome.map(Outcome::Route).unwrap_or_else(|fault| {
        refused(&fault, &mut told);
        Outcome::Refused(fault.code())
    });
    Ok(Explanation { listener: listening.name.to_string(), outcome, text: told })
}

/// What the listener asks of clients and requests, where it asks anything.
fn limits(snapshot: &Snapshot, listening: &Listening) -> Option<String> {
    let mut all = snapshot.config.listeners.iter();
    let (_, listener) = all.find(|(name, _)| ***name == *listening.name)?;
    let limits = &listener.limits;
    let told = [
        limits.connections.map(|most| format!("{most} connections")),
        limits.connection_rate.get().map(|rate| format!("new connections at {rate}")),
        limits.requests.get().map(|most| format!("{most} requests under way")),
        limits.requests_per_client.get().map(|most| format!("{most} of one client")),
        limits
            .request_rate_per_client
            .get()
            .map(|rate| format!("requests of one client at {rate}")),
        limits
            .connection_rate_per_client
            .get()
            .map(|rate| format!("new connections of one client at {rate}")),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    let over = match limits.over_limit {
        OverLimit::Refuse => String::new(),
        OverLimit::Tarpit => format!("; a client over its own waits for {}", limits.tarpit),
        OverLimit::Drop => "; a client over its own hears nothing".to_owned(),
    };
    (!told.is_empty()).then(|| told.join(", ") + &over)
}

/// The parts of a URL, as they are written.
struct Url<'a> {
    https: bool,
    authority: &'a str,
    port: u16,
    /// Path and query; empty where there is none.
    path: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("{} is not a URL to explain: {why}", quote(text)));
        let (https, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some(_) => return refuse("only `http://` and `https://` are served"),
            None => return refuse("write all of it, such as `http://shop.example/api`"),
        };
        // RFC 9110 §7.1: a fragment is never sent
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() {
            return refuse("it has no host");
        }
        if authority.contains('@') {
            return refuse("clients do not send the user, write it without");
        }
        let port = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            None => Ok(if https { 443 } else { 80 }),
            Some((_, port)) => port.parse::<u16>(),
        };
        match port {
            Ok(port) => Ok(Url { https, authority, port, path }),
            Err(_) => refuse("its port is not a number up to 65535"),
        }
    }

    fn host(&self) -> &'a str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => self.authority,
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host().trim_matches(['[', ']']).parse().ok()
    }

    /// The name that a client asks for in TLS: none for an address (RFC 6066 §3).
    fn name(&self) -> Option<&'a str> {
        self.ip().is_none().then(|| self.host())
    }
}

/// The request as a client would send it.
fn request(question: &Question, url: &Url<'_>) -> Result<Vec<u8>, String> {
    let broken = |text: &str| text.contains(['\r', '\n']);
    if broken(&question.method) || broken(&question.url) {
        return Err("the method and the URL stand on one line".to_owned());
    }
    let path = match url.path {
        path if path.starts_with('/') => path.to_owned(),
        // RFC 9112 §3.2.1: an empty path is sent as `/`
        path => format!("/{path}"),
    };
    let mut head = format!("{} {path} HTTP/1.1\r\n", question.method);
    let is_host = |header: &String| {
        header.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("host"))
    };
    if !question.headers.iter().any(is_host) {
        let _ = write!(head, "Host: {}\r\n", url.authority);
    }
    for header in &question.headers {
        if broken(header) || !header.contains(':') {
            let what = format!("{} is not a header field", quote(header));
            return Err(format!("{what}: write `-H 'name: value'`"));
        }
        let _ = write!(head, "{header}\r\n");
    }
    head.push_str("\r\n");
    Ok(head.into_bytes())
}

/// The listener that a URL leads to, the address there, and why it is that one.
fn pick<'s>(
    snapshot: &'s Snapshot,
    url: &Url<'_>,
) -> Result<(&'s Listening, SocketAddr, String), String> {
    let scheme = if url.https { "https" } else { "http" };
    let fitting: Vec<&Listening> = snapshot
        .listeners
        .iter()
        .filter(|one| one.relay.is_none() && one.flows.is_none())
        .filter(|one| one.tls.is_some() == url.https)
        .collect();
    let Some(first) = fitting.first() else {
        let with = if url.https { "with" } else { "without" };
        return Err(format!("no listener takes {scheme}: none is {with} `tls`"));
    };
    let mut on_port = Vec::new();
    for listening in &fitting {
        let ports = listening.addresses.iter().filter(|one| one.port() == Some(url.port));
        on_port.extend(ports.map(|address| (*listening, address)));
    }
    let is_url = |address: &ListenAddress| match (address, url.ip()) {
        (ListenAddress::Ip(address), Some(ip)) => address.ip() == ip,
        _ => false,
    };
    let exact = on_port.iter().find(|(_, address)| is_url(address));
    if let Some((listening, address)) = exact.or(on_port.first()) {
        let why = format!("it takes {scheme} on port {}", url.port);
        return Ok((listening, local(address), why));
    }
    let address = first.addresses.first().map_or(Peer::NOWHERE, local);
    let why = match fitting.len() {
        1 => format!("none takes {scheme} on port {}, this is the only one for {scheme}", url.port),
        _ => format!("none takes {scheme} on port {}, this is the first for {scheme}", url.port),
    };
    Ok((first, address, why))
}

fn local(address: &ListenAddress) -> SocketAddr {
    match address {
        ListenAddress::Any(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port),
        ListenAddress::Ip(address) => *address,
        ListenAddress::Unix(_) => Peer::NOWHERE,
    }
}

/// Lines about routes that do not fit, beyond which they are only counted.
const LINES: usize = 40;

struct Telling<'a> {
    snapshot: &'a Snapshot,
    client: IpAddr,
    sources: &'a Diagnostics,
    listening: &'a Listening,
    told: &'a mut String,
}

impl<'a> Telling<'a> {
    fn line(&mut self, line: impl AsRef<str>) {
        self.told.push_str(line.as_ref());
        self.told.push('\n');
    }

    /// The name of the route that takes the request.
    fn admitted(&mut self, admitted: &Admitted) -> Result<String, Fault> {
        let site = &self.listening.site;
        let asked = &admitted.asked;
        let query = asked.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
        let host = match &*asked.authority {
            "" => "(no host)",
            authority => authority,
        };
        self.line(format!(
            "request {} {}://{host}{}{query}",
            asked.method.as_str(),
            asked.scheme,
            asked.path
        ));
        self.line(format!("  client {}", admitted.client));
        let found = admit::find_route(site, asked, admitted.client, &admitted.fields);
        let steps = admit::explain_route(site, asked, admitted.client, &admitted.fields);
        self.line("routes, in the order they are tried");
        self.steps(&steps);
        let (index, captures) = found?;
        let Some(route) = site.routes.get(index as usize) else {
            return Err(Fault::new(Code::Internal, "the route does not exist"));
        };
        self.matched(index as usize, route, &captures, &asked.path);
        if let (Framing::Length(length), Some(limit)) = (admitted.framing, route.body_limit)
            && length > limit
        {
            return Err(Fault::new(Code::TooLarge, "Content-Length is over the limit"));
        }
        self.chain(route);
        let client = Peer::new(SocketAddr::new(admitted.client, 0), Peer::NOWHERE, None);
        for policy in &route.chain {
            policy.admit(&client)?;
        }
        self.action(index as usize, route, &asked.path)?;
        Ok(route.name.to_string())
    }

    fn steps(&mut self, steps: &[Step<'_>]) {
        let (mut lines, mut left) = (0, 0);
        for step in steps {
            let verdict = match &step.verdict {
                Verdict::Matched => "matched".to_owned(),
                Verdict::Failed(failure) => failure.to_string(),
            };
            let dull = matches!(step.verdict, Verdict::Failed(Failure::Path | Failure::Host));
            if dull && lines >= LINES {
                left += 1;
                continue;
            }
            lines += 1;
            let patterns = match step.tried {
                Some((host, path)) => format!(" (host {host}, path {path})"),
                None => String::new(),
            };
            let name = self.listening.site.routes.get(step.route as usize);
            let name = name.map_or("", |route| &route.name).to_owned();
            if left > 0 && !dull {
                self.line(format!("  {left} more serve another host or path"));
                left = 0;
            }
            self.line(format!("  {name}{patterns}: {verdict}"));
        }
        if left > 0 {
            self.line(format!("  {left} more serve another host or path"));
        }
    }

    fn matched(&mut self, index: usize, route: &site::Route, captures: &Captures, path: &str) {
        let placed = self.placed(index);
        let place = placed.as_ref().and_then(|placed| self.sources.place(placed.route.span));
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        self.line(format!("route {}{place}", route.name));
        if let Some((api, version)) = placed.and_then(|placed| placed.version) {
            self.line(format!("  version {} of {api}; who calls it is counted", version.version));
        }
        let router = &self.listening.site.router;
        let values: Vec<String> = router
            .captures(captures, path.as_bytes())
            .map(|(name, value)| format!("  {{capture.{name}}} is `{}`", value.escape_ascii()))
            .collect();
        for value in values {
            self.line(value);
        }
    }

    /// The route as the file has it, and where.
    fn placed(&self, index: usize) -> Option<Placed<'a>> {
        self.snapshot.config.routes_of(&self.listening.name).into_iter().nth(index)
    }

    fn chain(&mut self, route: &site::Route) {
        if route.chain.is_empty() {
            return self.line("policies: none");
        }
        self.line("policies, in running order");
        for (number, policy) in route.chain.iter().enumerate() {
            let (stage, kind) = (policy.stage().as_str(), policy.kind());
            self.line(format!("  {}. {kind} ({stage}): {}", number + 1, policy.describe()));
        }
    }

    fn action(&mut self, index: usize, route: &site::Route, path: &str) -> Result<(), Fault> {
        let kind = route.action.kind();
        let Some(written) = self.placed(index).map(|placed| &placed.route.value) else {
            return Ok(());
        };
        let changed = match rewrite(&written.rewrite) {
            Ok(Some(rewrite)) => rewrite.rewritten(path, self.listening.site.paths)?,
            _ => None,
        };
        if let Some(changed) = changed.filter(|changed| **changed != *path) {
            self.line(format!("path becomes {changed}"));
        }
        match &written.action {
            Action::Forward(forward) => {
                // a name that could not be looked up leaves nobody to send to
                let described = route.action.describe();
                let lost = described.ends_with(": ");
                self.forward(forward, &written.rewrite.host, lost);
            }
            // as it is written: where that leads is this machine's matter
            Action::Files(files) => self.line(format!("files {}", files.root.display())),
            _ => {
                let described = route.action.describe();
                let described = described.strip_prefix(kind).unwrap_or(&described).trim_start();
                self.line(format!("{kind} {described}"));
            }
        }
        Ok(())
    }

    fn forward(&mut self, forward: &Forward, host: &HostRewrite, lost: bool) {
        match &forward.to.value {
            Target::Address { .. } => self.line(format!("forward to {}", forward.to.value)),
            Target::Pool(name) => self.pool_or_split(name, forward),
        }
        if lost {
            self.line("  no candidates: requests are answered with no-endpoint (503)");
        }
        self.line(match host {
            HostRewrite::Keep => "  host: the client's".to_owned(),
            HostRewrite::Upstream => "  host: the endpoint's own".to_owned(),
            HostRewrite::Literal(host) => format!("  host: {host}"),
        });
    }
}

fn refused(fault: &Fault, told: &mut String) {
    let row = fault.code().row();
    let _ = writeln!(told, "refused {} ({})", row.code, row.status);
    let _ = writeln!(told, "  why: {}", fault.detail());
    let _ = writeln!(told, "  meaning: {}", row.meaning);
    let remedy = match fault.code() {
        // the table's remedy is to ask what is being told
        Code::NoRoute => "mend the first condition that failed of the route that was meant",
        _ => row.remedy,
    };
    let _ = writeln!(told, "  remedy: {remedy}");
}

/// Reads the address of `--from`.
///
/// # Errors
/// Why it is none.
pub fn from(text: &str) -> Result<IpAddr, String> {
    let what = || format!("{} is not an IP address", quote(text));
    // a block of one is read like the addresses of the file
    let block = transom_settings::Cidr::from_text(text).map_err(|_| what())?;
    if text.contains('/') { Err(what()) } else { Ok(block.network()) }
}
