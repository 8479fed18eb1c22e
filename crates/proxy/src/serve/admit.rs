//! Makes a request of a received head: everything that is checked once, before a route is looked
//! for. What is ambiguous is refused here.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;

use transom_settings::HeaderName;

use crate::answer;
use crate::codec::framing::{self, Framing, FramingError};
use crate::codec::head::{HeadError, RequestHead, imitated};
use crate::codec::trailers;
use crate::exchange::{Asked, RequestId, Wants};
use crate::fault::{Code, Fault};
use crate::fields::{Fields, Known, Name, Values};
use crate::headers::{forwarded, grpc, hop};
use crate::local::Local;
use crate::message::{Method, Upgrade, Version};
use crate::normalize::{self, HostError, Target};
use crate::peer::Peer;
use crate::route::{self, Found, HeaderLookup};
use crate::site::Site;

/// A request that may be served, before its body.
pub struct Admitted {
    pub asked: Asked,
    pub client: IpAddr,
    pub id: RequestId,
    pub fields: Fields,
    pub framing: Framing,
    pub upgrade: Option<Upgrade>,
    /// The client takes trailers.
    pub trailers: bool,
    /// The client waits for a 100 before it sends the body.
    pub expects: bool,
    /// The connection ends after this exchange, as far as the client is concerned.
    pub close: bool,
    /// `OPTIONS *`: about the server itself.
    pub asterisk: bool,
}

impl Admitted {
    /// The id, which the exchange takes over.
    pub fn take_id(&mut self) -> RequestId {
        std::mem::replace(&mut self.id, RequestId::Own(0, 0))
    }
}

/// What a head that cannot be parsed is answered with.
pub fn head_fault(error: HeadError) -> Fault {
    let code = match error {
        HeadError::LongStartLine => Code::UriTooLong,
        HeadError::LongFields | HeadError::ManyFields => Code::FieldsTooLarge,
        HeadError::OtherVersion => Code::VersionNotSupported,
        HeadError::MiscasedMethod | HeadError::LongMethod => Code::NotImplemented,
        _ => Code::BadRequest,
    };
    Fault::new(code, error.to_string()).closing()
}

/// Checks a head and takes it apart.
///
/// # Errors
/// The fault to answer with; it closes the connection where what follows cannot be told.
pub fn admit(
    head: RequestHead<'_>,
    site: &Site,
    peer: &Peer,
    local: &Local,
) -> Result<Admitted, Fault> {
    let RequestHead { method, target, version, mut fields, .. } = head;
    let framing = framing::of_request(version, &fields).map_err(framing_fault)?;
    refuse_imitations(&mut fields, &site.vouched)?;
    let has_body = framing != Framing::None && framing != Framing::Length(0);
    if has_body && version == Version::Http10 && !takes_body_in_http_1_0(&method) {
        // H1-08: an old server behind takes such a body for the next request.
        return Err(bad("a body with a method that has none in HTTP/1.0").closing());
    }
    let expects = expects(version, &fields)?;
    if matches!(method, Method::Connect | Method::Trace) {
        let detail = "CONNECT and TRACE are not served";
        return Err(Fault::new(Code::MethodNotAllowed, detail).allow(ALLOWED).closing());
    }
    let target = normalize::target(method.as_str().as_bytes(), target).map_err(bad)?;
    let (authority, path, query, asterisk) = place(target, version, &fields, peer)?;
    let mut room = Vec::new();
    let path = normalize::path(path, site.paths, &mut room).map_err(bad)?.bytes();
    let path = Rc::from(std::str::from_utf8(path).map_err(bad)?);
    let query = match query {
        Some(query) => Some(Rc::from(std::str::from_utf8(query).map_err(bad)?)),
        None => None,
    };
    let wants = answer::wanted(&fields);
    let timeout = match wants {
        Wants::Grpc => grpc::timeout(&fields).map_err(bad)?,
        _ => None,
    };
    let client = forwarded::client(peer.address, &fields, &site.trusted);
    let id = request_id(site, peer, local, &mut fields);
    let hop = hop::take_off_request(&mut fields)?;
    forwarded::scrub(forwarded::speaks_for_others(&site.trusted, peer.ip()), &mut fields);
    // RFC 6455 §4.2.1
    let has_key = matches!(fields.only(Known::SecWebSocketKey), Values::One(_));
    let upgradable = version == Version::Http11 && method == Method::Get && !has_body && has_key;
    Ok(Admitted {
        client,
        id,
        framing,
        upgrade: hop.upgrade.filter(|_| upgradable),
        trailers: hop.trailers,
        expects: expects && has_body,
        close: hop.close || (version == Version::Http10 && !hop.keep_alive),
        asterisk,
        asked: Asked {
            method,
            scheme: peer.scheme(),
            authority,
            path,
            query,
            version,
            wants,
            timeout,
        },
        fields,
    })
}

/// RFC 1945 §8: GET and HEAD have no body there, and DELETE none that anybody agrees on.
fn takes_body_in_http_1_0(method: &Method) -> bool {
    !matches!(method, Method::Get | Method::Head | Method::Delete)
}

const ALLOWED: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

fn bad(error: impl std::fmt::Display) -> Fault {
    Fault::new(Code::BadRequest, error.to_string())
}

fn framing_fault(error: FramingError) -> Fault {
    let code = match error {
        FramingError::UnknownEncoding => Code::NotImplemented,
        _ => Code::BadRequest,
    };
    Fault::new(code, error.to_string()).closing()
}

/// H1-49: a name that a server behind may fold onto one we rely on is refused; any other name with
/// `_` or `.` in it is taken off, since no two servers read those alike.
fn refuse_imitations(fields: &mut Fields, vouched: &[HeaderName]) -> Result<(), Fault> {
    if !vouched.is_empty() {
        if fields.iter().any(|field| vouched.iter().any(|name| is_folded(field.name, name))) {
            let why = "a field name imitates one in which endpoints are told who asks";
            return Err(Fault::new(Code::BadRequest, why).closing());
        }
        // P-15: whatever finds out who asks, and on routes where nothing does
        fields.retain(|field| !vouched.iter().any(|name| field.is(Name::of(name.as_bytes()))));
    }
    if !fields.iter().any(|field| trailers::is_doubtful(&field)) {
        return Ok(());
    }
    if fields.iter().any(|field| imitated(field.name).is_some()) {
        return Err(Fault::new(Code::BadRequest, "a field name imitates a known one").closing());
    }
    fields.retain(|field| !trailers::is_doubtful(&field));
    Ok(())
}

/// Whether a server behind may take `name` for `known`, which is another.
fn is_folded(name: &[u8], known: &str) -> bool {
    let fold = |b: u8| if matches!(b, b'_' | b'.') { b'-' } else { b.to_ascii_lowercase() };
    name.len() == known.len()
        && !name.eq_ignore_ascii_case(known.as_bytes())
        && name.iter().zip(known.as_bytes()).all(|(a, b)| fold(*a) == fold(*b))
}

/// RFC 9110 §10.1.1: `100-continue` or nothing; HTTP/1.0 knows no expectations.
fn expects(version: Version, fields: &Fields) -> Result<bool, Fault> {
    match fields.only(Known::Expect) {
        Values::None => Ok(false),
        _ if version == Version::Http10 => Ok(false),
        Values::One(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Fault::new(Code::ExpectationFailed, "Expect is not `100-continue`").closing()),
    }
}

type Place<'a> = (Rc<str>, &'a [u8], Option<&'a [u8]>, bool);

/// Authority, path, query, and whether the server itself is meant.
fn place<'a>(
    target: Target<'a>,
    version: Version,
    fields: &Fields,
    peer: &Peer,
) -> Result<Place<'a>, Fault> {
    let field = match fields.only(Known::Host) {
        Values::One(host) => Some(host),
        Values::None if version == Version::Http10 => None,
        Values::None => return Err(bad("Host is missing").closing()),
        Values::Many => return Err(bad("Host stands twice").closing()),
    };
    if let (Target::Origin { path, query }, Some(field)) = (target, field)
        && let Some(authority) = peer.asked_before(field)
    {
        return Ok((authority, path, query, false));
    }
    let host = match field {
        Some(field) => match normalize::host(field) {
            Ok(host) => Some(host),
            // RFC 9110 §4.2.1: an http URI has a host. Only `*` is no URI (H1-44).
            Err(HostError::Empty) if matches!(target, Target::Asterisk { authority: None }) => None,
            Err(e) => return Err(bad(format!("Host: {e}")).closing()),
        },
        None => None,
    };
    let written = |host: Option<&normalize::Host<'_>>, as_received: Option<&[u8]>| -> Rc<str> {
        match host {
            // Canonical as it came, but for what can stand around a port.
            Some(normalize::Host { name: Cow::Borrowed(name), port: None }) => Rc::from(*name),
            Some(normalize::Host { name: Cow::Borrowed(name), port: Some(port) }) => {
                let digits = port.checked_ilog10().unwrap_or(0) as usize + 1;
                match as_received.map(std::str::from_utf8) {
                    Some(Ok(text)) if text.len() == name.len() + 1 + digits => Rc::from(text),
                    _ => Rc::from(format!("{name}:{port}")),
                }
            }
            Some(normalize::Host { name, port: Some(port) }) => Rc::from(format!("{name}:{port}")),
            Some(normalize::Host { name, port: None }) => Rc::from(&**name),
            None => Rc::from(""),
        }
    };
    match target {
        Target::Origin { path, query } => {
            let authority = written(host.as_ref(), field);
            // No host at all, as HTTP/1.0 may have, says nothing of one that is empty.
            if host.is_some() {
                peer.remember(&authority);
            }
            Ok((authority, path, query, false))
        }
        Target::Absolute { scheme, authority, path, query } => {
            let said = match scheme {
                normalize::Scheme::Http => "http",
                normalize::Scheme::Https => "https",
            };
            if said != peer.scheme() {
                return Err(bad("the scheme of the target is not that of the connection").closing());
            }
            let named = normalize::host(authority).map_err(bad)?;
            // RFC 9112 §3.2.2 lets the target win; two different answers are an attack (H1-36).
            if host.as_ref().is_some_and(|host| *host != named) {
                return Err(bad("Host and the target name different hosts").closing());
            }
            Ok((written(Some(&named), None), path, query, false))
        }
        Target::Asterisk { authority: None } => {
            Ok((written(host.as_ref(), field), b"/", None, true))
        }
        Target::Asterisk { authority: Some(authority) } => {
            let named = normalize::host(authority).map_err(bad)?;
            Ok((written(Some(&named), None), b"/", None, true))
        }
        Target::Authority(_) => Err(bad("a target for CONNECT").closing()),
    }
}

/// Ours, or the one given by a trusted peer, or by anyone where that is allowed. The field is written anew.
fn request_id(site: &Site, peer: &Peer, local: &Local, fields: &mut Fields) -> RequestId {
    let Some(name) = &site.request_id.field else { return local.request_id() };
    let name = &**name;
    let given = match fields.only(name) {
        Values::None => return local.request_id(),
        Values::One(value) if is_plain(value) => {
            std::str::from_utf8(value).ok().map(|v| RequestId::Given(v.into()))
        }
        _ => None,
    };
    fields.remove(name);
    let may = site.request_id.trust
        || forwarded::is_trusted(&site.trusted, forwarded::unmapped(peer.ip()));
    given.filter(|_| may).unwrap_or_else(|| local.request_id())
}

/// Fit to stand in logs and JSON as it is.
fn is_plain(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'='))
}

struct Lookup<'a>(&'a Fields);

impl HeaderLookup for Lookup<'_> {
    fn each(&self, name: &str, f: &mut dyn FnMut(&[u8])) {
        self.0.all(name).for_each(f);
    }
}

/// Finds the route of an admitted request: its index and the variables of its path template.
///
/// # Errors
/// The fault of an unknown host, path or method.
pub fn find_route(
    site: &Site,
    asked: &Asked,
    client: IpAddr,
    fields: &Fields,
) -> Result<(u32, route::Captures), Fault> {
    match site.router.find(&question(asked, client, &Lookup(fields))) {
        Found::Route { route, captures } => Ok((route, captures)),
        Found::NoHost => Err(Fault::new(Code::Misdirected, "no route names this host")),
        Found::NoRoute => Err(Fault::new(Code::NoRoute, "no route matches")),
        Found::WrongMethod { allow } => {
            Err(Fault::new(Code::MethodNotAllowed, "no route takes this method").allow(allow))
        }
    }
}

/// The same question for `transom explain`.
pub fn explain_route<'a>(
    site: &'a Site,
    asked: &Asked,
    client: IpAddr,
    fields: &Fields,
) -> Vec<route::Step<'a>> {
    site.router.explain(&question(asked, client, &Lookup(fields)))
}

/// What the router is asked for a request.
fn question<'a>(asked: &'a Asked, client: IpAddr, headers: &'a Lookup<'a>) -> route::Asked<'a> {
    route::Asked {
        host: crate::variables::host_of(&asked.authority),
        path: asked.path.as_bytes(),
        query: asked.query.as_deref().map(str::as_bytes),
        method: asked.method.as_str().as_bytes(),
        client,
        headers,
    }
}
