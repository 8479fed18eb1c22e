//! Values of fields and redirects that are written with variables: `{client.address}`.

use std::io::Write;

use crate::exchange::Exchange;

/// Text with variables, taken apart once when the configuration is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

/// What a variable stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    ClientAddress,
    RequestId,
    Scheme,
    Host,
    Authority,
    Path,
    Query,
    Uri,
    Method,
    Route,
    Listener,
    /// A variable of the path template: `{path.id}`.
    Capture(String),
    TlsVersion,
    TlsCipher,
    TlsName,
    ClientSubject,
    ClientFingerprint,
}

/// Their names, as the file writes them; `path.NAME` besides.
pub const NAMES: &[(&str, Variable)] = &[
    ("client.address", Variable::ClientAddress),
    ("request.id", Variable::RequestId),
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("authority", Variable::Authority),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("uri", Variable::Uri),
    ("method", Variable::Method),
    ("route", Variable::Route),
    ("listener", Variable::Listener),
    ("tls.version", Variable::TlsVersion),
    ("tls.cipher", Variable::TlsCipher),
    ("tls.name", Variable::TlsName),
    ("tls.client.subject", Variable::ClientSubject),
    ("tls.client.fingerprint", Variable::ClientFingerprint),
];

impl Template {
    /// Takes `text` apart. `{{` is a brace.
    ///
    /// # Errors
    /// The name that is no variable, or what is wrong with the braces.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                plain.push('{');
                rest = after;
                continue;
            }
            let end = rest.find('}').ok_or(TemplateError::Unclosed)?;
            let name = &rest[..end];
            rest = &rest[end + 1..];
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Variable(variable(name)?));
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    /// Writes the text with the values of this exchange; a variable without value is empty.
    pub fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Variable(variable) => write_value(variable, exchange, out),
            }
        }
    }

    /// The names of path variables that must be in the route's path.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(Variable::Capture(name)) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`{{` is not closed; a brace that stands for itself is written `{{{{`")]
    Unclosed,
    #[error("no variable named `{0}`")]
    Unknown(String),
}

fn variable(name: &str) -> Result<Variable, TemplateError> {
    if let Some((_, variable)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(variable.clone());
    }
    match name.strip_prefix("path.") {
        Some(capture) if !capture.is_empty() => Ok(Variable::Capture(capture.to_owned())),
        _ => Err(TemplateError::Unknown(name.to_owned())),
    }
}

fn write_value(variable: &Variable, exchange: &Exchange, out: &mut Vec<u8>) {
    let asked = &exchange.asked;
    let tls = exchange.peer.tls.as_ref();
    let text = match variable {
        Variable::ClientAddress => {
            let _ = write!(out, "{}", exchange.client);
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
        Variable::Host => host_of(&asked.authority),
        Variable::Authority => &asked.authority,
        Variable::Scheme => asked.scheme,
        Variable::Path => &asked.path,
        Variable::Query => asked.query.as_deref().unwrap_or_default(),
        Variable::Method => asked.method.as_str(),
        Variable::Route => exchange.route().map_or("", |route| &*route.name),
        Variable::Listener => &exchange.site.name,
        Variable::Capture(name) => exchange.capture(name).unwrap_or_default(),
        Variable::TlsVersion => tls.map_or("", |tls| tls.version),
        Variable::TlsCipher => tls.map_or("", |tls| tls.cipher),
        Variable::TlsName => tls.and_then(|tls| tls.sni.as_deref()).unwrap_or_default(),
        Variable::ClientSubject => tls
            .and_then(|tls| tls.client_certificate())
            .map_or("", |client| &*client.subject),
        Variable::ClientFingerprint => tls
            .and_then(|tls| tls.client_certificate())
            .map_or("", |client| &*client.fingerprint),
    };
    out.extend_from_slice(text.as_bytes());
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
    fn templates_are_taken_apart_once() {
        assert_eq!(
            Template::parse("a {{x} {path.id}b").unwrap().0,
            [
                Part::Text("a {x} ".into()),
                Part::Variable(Variable::Capture("id".into())),
                Part::Text("b".into())
            ]
        );
        assert_eq!(Template::parse("{client.adress}").unwrap_err(), TemplateError::Unknown("client.adress".into()));
        assert_eq!(Template::parse("{a").unwrap_err(), TemplateError::Unclosed);
    }

    #[test]
    fn hosts_lose_their_port() {
        for (authority, host) in [("a.b:80", "a.b"), ("a.b", "a.b"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")] {
            assert_eq!(host_of(authority), host);
        }
    }
}
