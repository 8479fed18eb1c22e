//! Values of fields and redirects that are written with variables: `{client.address}`.

use std::fmt;
use std::io::Write;

use transom_settings::json::{Value as Json, json};
use transom_settings::{FromText, HeaderName, HeaderValue, Refusal, closest, list, quote};

use crate::exchange::Exchange;
use crate::fields::Fields;
use crate::headers::cookie;

/// A text with variables in it: `{client.address}, {request.id}`. Taken apart once, when the
/// configuration is read; `{{` and `}}` are the braces themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub parts: Vec<Part>,
}

/// A stretch of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Variable(Variable),
}

/// A fact of an exchange that a text may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The canonical host with the port, where the client gave one.
    Authority,
    /// What a named part of the route's path stands for: `{capture.id}`.
    Capture(String),
    /// The client's address, behind trusted proxies.
    ClientAddress,
    /// The client's port; empty where a trusted proxy speaks for the client.
    ClientPort,
    /// Who asks, as a policy has found out; empty where none has.
    Consumer,
    /// A cookie of the request: `{cookie.session}`.
    Cookie(String),
    /// A header field of the request as it came: `{header.user-agent}`. Several lines are joined
    /// with commas.
    Header(HeaderName),
    /// The canonical host.
    Host,
    Listener,
    Method,
    /// The canonical path.
    Path,
    /// A segment of the canonical path, counted from 1: `{path.2}` of `/a/b` is `b`.
    PathSegment(u8),
    /// The plan of who asks.
    Plan,
    /// The query without its `?`.
    Query,
    /// A parameter of the query as it was sent: `{query.id}`.
    QueryParameter(String),
    RequestId,
    /// The name of the route, or its place.
    Route,
    /// `http` or `https`.
    Scheme,
    TlsCipher,
    /// SHA-256 of the client's certificate, in hexadecimal.
    TlsClientFingerprint,
    /// The serial number of the client's certificate, in hexadecimal.
    TlsClientSerial,
    /// The subject of the client's certificate.
    TlsClientSubject,
    /// The name that the client asked for.
    TlsName,
    /// `1.2` or `1.3`.
    TlsVersion,
    /// Path and query.
    Uri,
}

/// The variables without a name of their own inside.
const VARIABLES: [(&str, Variable); 20] = [
    ("authority", Variable::Authority),
    ("client.address", Variable::ClientAddress),
    ("client.port", Variable::ClientPort),
    ("consumer", Variable::Consumer),
    ("host", Variable::Host),
    ("listener", Variable::Listener),
    ("method", Variable::Method),
    ("path", Variable::Path),
    ("plan", Variable::Plan),
    ("query", Variable::Query),
    ("request.id", Variable::RequestId),
    ("route", Variable::Route),
    ("scheme", Variable::Scheme),
    ("tls.cipher", Variable::TlsCipher),
    ("tls.client.fingerprint", Variable::TlsClientFingerprint),
    ("tls.client.serial", Variable::TlsClientSerial),
    ("tls.client.subject", Variable::TlsClientSubject),
    ("tls.name", Variable::TlsName),
    ("tls.version", Variable::TlsVersion),
    ("uri", Variable::Uri),
];

impl Variable {
    fn from_text(name: &str) -> Result<Self, Refusal> {
        if let Some(header) = name.strip_prefix("header.") {
            return HeaderName::from_text(header).map(Variable::Header);
        }
        if let Some(capture) = name.strip_prefix("capture.").filter(|name| !name.is_empty()) {
            return Ok(Variable::Capture(capture.to_owned()));
        }
        if let Some(cookie) = name.strip_prefix("cookie.").filter(|name| !name.is_empty()) {
            return Ok(Variable::Cookie(cookie.to_owned()));
        }
        if let Some(parameter) = name.strip_prefix("query.").filter(|name| !name.is_empty()) {
            return Ok(Variable::QueryParameter(parameter.to_owned()));
        }
        if let Some(number) = name.strip_prefix("path.") {
            let number = number.parse().ok().filter(|number| *number > 0);
            return number.map(Variable::PathSegment).ok_or_else(|| {
                Refusal::new(format!("{} counts no segment of the path", quote(name)))
                    .hint("write a number from 1 to 255, such as `{path.1}`")
            });
        }
        if let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            return Ok(variable.clone());
        }
        let known = || VARIABLES.iter().map(|(known, _)| *known);
        let refusal = Refusal::new(format!("there is no variable {}", quote(name)));
        Err(refusal.hint(match closest(name, known()) {
            Some(meant) => format!("did you mean `{{{meant}}}`?"),
            None => format!(
                "known are {}, `header.NAME`, `cookie.NAME`, `query.NAME`, `path.NUMBER` and `capture.NAME`; write `{{{{` for a brace",
                list(known(), "and")
            ),
        }))
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::Header(name) => write!(f, "header.{name}"),
            Variable::Capture(name) => write!(f, "capture.{name}"),
            Variable::Cookie(name) => write!(f, "cookie.{name}"),
            Variable::QueryParameter(name) => write!(f, "query.{name}"),
            Variable::PathSegment(number) => write!(f, "path.{number}"),
            other => {
                let known = VARIABLES.iter().find(|(_, variable)| variable == other);
                f.write_str(known.map_or("", |(name, _)| name))
            }
        }
    }
}

impl Template {
    /// The text, if there is no variable in it.
    pub fn literal(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in it, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    /// What stands between the variables.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Variable(_) => None,
        })
    }

    /// Writes the text with the values of this exchange; a variable without value is empty.
    pub fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => write_value(variable, exchange, out),
            }
        }
    }
}

/// Takes a text apart in what stands there and what its names in braces stand for; `{{` and `}}` are the
/// braces themselves.
///
/// # Errors
/// That a brace is alone, or what is wrong with a name.
pub fn in_braces<P>(
    text: &str,
    literal: impl Fn(String) -> P,
    name: impl Fn(&str) -> Result<P, Refusal>,
) -> Result<Vec<P>, Refusal> {
    let (mut parts, mut read, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        read.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            read.push_str(brace);
            rest = after;
            continue;
        }
        let end = after.find('}').filter(|_| brace == "{").ok_or_else(|| {
            Refusal::new(format!("{} has a lone `{brace}`", quote(text)))
                .hint("write `{{` and `}}` for the braces themselves")
        })?;
        if !read.is_empty() {
            parts.push(literal(std::mem::take(&mut read)));
        }
        parts.push(name(&after[..end])?);
        rest = &after[end + 1..];
    }
    read.push_str(rest);
    if !read.is_empty() {
        parts.push(literal(read));
    }
    Ok(parts)
}

impl FromText for Template {
    const WHAT: &'static str = "a text, which may hold variables such as `{client.address}`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let value = HeaderValue::from_text(text)?;
        let variable = |name: &str| Variable::from_text(name).map(Part::Variable);
        Ok(Template { parts: in_braces(&value, Part::Text, variable)? })
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"], "examples": ["{client.address}"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Part::Variable(variable) => write!(f, "{{{variable}}}")?,
            }
        }
        Ok(())
    }
}

/// Fields of the request as it came, kept for `{header.NAME}`: by the time that is written the
/// request may have been changed or sent on.
pub struct Kept(Vec<(HeaderName, Vec<u8>)>);

impl Kept {
    /// Keeps those of these fields that are there.
    pub fn of(names: &[HeaderName], fields: &Fields) -> Self {
        let value = |name: &HeaderName| {
            let lines: Vec<&[u8]> = fields.all(&**name).collect();
            let between = if **name == *"cookie" { &b"; "[..] } else { b", " };
            (name.clone(), lines.join(between))
        };
        Kept(names.iter().map(value).collect())
    }
}

fn write_value(variable: &Variable, exchange: &Exchange, out: &mut Vec<u8>) {
    let asked = &exchange.asked;
    let tls = exchange.peer.tls.as_ref();
    let shown = || tls.and_then(|tls| tls.client_certificate());
    let text = match variable {
        Variable::ClientAddress => {
            let _ = write!(out, "{}", exchange.client);
            return;
        }
        Variable::ClientPort => {
            let address = exchange.peer.address;
            if address.ip().to_canonical() == exchange.client && address.port() != 0 {
                let _ = write!(out, "{}", address.port());
            }
            return;
        }
        Variable::Header(name) => {
            out.extend_from_slice(kept(exchange, name));
            return;
        }
        Variable::Cookie(name) => {
            let value = cookie::value(kept(exchange, "cookie"), name);
            out.extend_from_slice(value.unwrap_or_default());
            return;
        }
        Variable::QueryParameter(name) => {
            out.extend_from_slice(parameter(asked.query.as_deref().unwrap_or_default(), name));
            return;
        }
        Variable::RequestId => return exchange.id.write(out),
        Variable::Uri => {
            out.extend_from_slice(asked.path.as_bytes());
            if let Some(query) = &asked.query {
                out.push(b'?');
                out.extend_from_slice(query.as_bytes());
            }
            return;
        }
        Variable::Consumer => exchange.identity.as_ref().map_or("", |who| &*who.name),
        Variable::Plan => {
            exchange.identity.as_ref().and_then(|who| who.plan.as_deref()).unwrap_or_default()
        }
        Variable::Host => host_of(&asked.authority),
        Variable::Authority => &asked.authority,
        Variable::Scheme => asked.scheme,
        Variable::Path => &asked.path,
        Variable::PathSegment(number) => {
            asked.path.split('/').nth(usize::from(*number)).unwrap_or_default()
        }
        Variable::Query => asked.query.as_deref().unwrap_or_default(),
        Variable::Method => asked.method.as_str(),
        Variable::Route => exchange.route().map_or("", |route| &*route.name),
        Variable::Listener => &exchange.site.name,
        Variable::Capture(name) => exchange.capture(name).unwrap_or_default(),
        Variable::TlsCipher => tls.map_or("", |tls| tls.cipher),
        Variable::TlsName => tls.and_then(|tls| tls.sni.as_deref()).unwrap_or_default(),
        Variable::TlsVersion => tls.map_or("", |tls| tls.version),
        Variable::TlsClientFingerprint => shown().map_or("", |client| &*client.fingerprint),
        Variable::TlsClientSerial => shown().map_or("", |client| &*client.serial),
        Variable::TlsClientSubject => shown().map_or("", |client| &*client.subject),
    };
    out.extend_from_slice(text.as_bytes());
}

/// A field of the request as it came; empty where it was not there or not kept.
fn kept<'a>(exchange: &'a Exchange, name: &str) -> &'a [u8] {
    let kept = exchange.extensions.get::<Kept>().map_or(&[][..], |kept| &kept.0);
    kept.iter().find(|(kept, _)| **kept == *name).map_or(&[], |(_, value)| value)
}

/// The value of the first parameter of this name, as it was sent.
fn parameter<'a>(query: &'a str, name: &str) -> &'a [u8] {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut named = pairs.filter(|(key, _)| *key == name);
    named.next().map_or(&[], |(_, value)| value.as_bytes())
}

/// An authority without its port.
pub fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => &authority[..at],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (text, expected) in [
            ("plain", Ok(1)),
            ("", Ok(0)),
            ("a {client.address} b", Ok(3)),
            ("{request.id}{header.X-A}", Ok(2)),
            ("{{literal}}", Ok(1)),
            ("{capture.id}", Ok(1)),
            ("{cookie.session}{query.id}{path.2}", Ok(3)),
            ("{path.0}", Err("`path.0` counts no segment of the path")),
            ("{cookie.}", Err("there is no variable `cookie.`")),
            ("{clientaddress}", Err("there is no variable `clientaddress`")),
            ("a { b", Err("`a { b` has a lone `{`")),
            ("a } b", Err("`a } b` has a lone `}`")),
            (
                "a\r\nb",
                Err(
                    "`a\u{fffd}\u{fffd}b` is not a header value: it holds the control character U+000D",
                ),
            ),
        ] {
            let found = Template::from_text(text);
            let counted = found.as_ref().map(|t| t.parts.len()).map_err(|r| r.what.as_str());
            assert_eq!(counted, expected, "{text}");
            if let Ok(template) = found {
                assert_eq!(Template::from_text(&template.to_string()), Ok(template));
            }
        }
    }

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        for (query, expected) in
            [("id=1", "1"), ("a=2&id=x=y&id=3", "x=y"), ("id", ""), ("xid=1", ""), ("", "")]
        {
            assert_eq!(parameter(query, "id"), expected.as_bytes(), "{query}");
        }
    }

    #[test]
    fn hosts_lose_their_port() {
        for (authority, host) in
            [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")]
        {
            assert_eq!(host_of(authority), host);
        }
    }
}
