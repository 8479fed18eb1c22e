//! Changes of header fields, and texts with variables.

use std::fmt;

use transom_settings::{
    FromText, HeaderName, HeaderValue, Map, OneOrMany, Refusal, Spanned, closest,
    json::{Value as Json, json},
    list, quote, settings,
};

settings! {
    /// Changes of header fields. What is removed goes first, then what is set, then what is added.
    pub struct HeaderChanges {
        /// Fields with the one value they then have. Values may hold variables such as
        /// `{client.address}`; `{{` stands for `{` itself.
        pub set: Map<HeaderName, Template> = Map::new(),
        /// Fields with values that are added to those already there.
        pub append: Map<HeaderName, OneOrMany<Template>> = Map::new(),
        /// Fields that are removed.
        pub remove: Vec<Spanned<HeaderName>> = Vec::new(),
    }
}

impl HeaderChanges {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.append.is_empty() && self.remove.is_empty()
    }
}

/// A text with variables in it: `{client.address}, {request.id}`.
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
    /// What a named part of the route's path stands for: `{capture.id}`.
    Capture(String),
    /// The client's address, behind trusted proxies.
    ClientAddress,
    ClientPort,
    /// A header field of the request as it came: `{header.user-agent}`.
    Header(HeaderName),
    /// The canonical host.
    Host,
    Listener,
    Method,
    /// The canonical path.
    Path,
    /// The query without its `?`.
    Query,
    RequestId,
    /// The name of the route, or its number.
    Route,
    /// `http` or `https`.
    Scheme,
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
}

/// The variables without a name of their own inside.
const VARIABLES: [(&str, Variable); 15] = [
    ("client.address", Variable::ClientAddress),
    ("client.port", Variable::ClientPort),
    ("host", Variable::Host),
    ("listener", Variable::Listener),
    ("method", Variable::Method),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("request.id", Variable::RequestId),
    ("route", Variable::Route),
    ("scheme", Variable::Scheme),
    ("tls.client.fingerprint", Variable::TlsClientFingerprint),
    ("tls.client.serial", Variable::TlsClientSerial),
    ("tls.client.subject", Variable::TlsClientSubject),
    ("tls.name", Variable::TlsName),
    ("tls.version", Variable::TlsVersion),
];

impl Variable {
    fn from_text(name: &str) -> Result<Self, Refusal> {
        if let Some(header) = name.strip_prefix("header.") {
            return HeaderName::from_text(header).map(Variable::Header);
        }
        if let Some(capture) = name.strip_prefix("capture.").filter(|name| !name.is_empty()) {
            return Ok(Variable::Capture(capture.to_owned()));
        }
        if let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            return Ok(variable.clone());
        }
        let known = || VARIABLES.iter().map(|(known, _)| *known);
        let refusal = Refusal::new(format!("there is no variable {}", quote(name)));
        Err(refusal.hint(match closest(name, known()) {
            Some(meant) => format!("did you mean `{{{meant}}}`?"),
            None => format!(
                "known are {}, `header.NAME` and `capture.NAME`; write `{{{{` for a brace",
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
}

impl FromText for Template {
    const WHAT: &'static str = "a text, which may hold variables such as `{client.address}`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let value = HeaderValue::from_text(text)?;
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut rest: &str = &value;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            let end = after.find('}').filter(|_| brace == "{").ok_or_else(|| {
                Refusal::new(format!("{} has a lone `{brace}`", quote(text)))
                    .hint("write `{{` and `}}` for the braces themselves")
            })?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(Variable::from_text(&after[..end])?));
            rest = &after[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template { parts })
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
}
