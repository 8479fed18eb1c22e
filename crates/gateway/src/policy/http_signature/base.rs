//! What is signed of a request: the signature base (RFC 9421 §2.5).

use std::fmt::Write;

use data_encoding::BASE64;

use super::parse::{Bare, Component, Input};
use crate::escapes::{self, undone_in_form};
use crate::pairs;
use crate::signing::Message;

/// The text that a signature is made over; nothing where it covers what is not there, or what is
/// not known here.
pub(super) fn base(input: &Input<'_>, message: &Message<'_>) -> Option<String> {
    let mut text = String::new();
    for component in &input.components {
        let value = value(component, message)?;
        // a line more would be a component more
        if value.contains(['\n', '\r']) {
            return None;
        }
        writeln!(text, "{}: {value}", component.raw).ok()?;
    }
    write!(text, "\"@signature-params\": {}", input.raw).ok()?;
    Some(text)
}

fn value(component: &Component, message: &Message<'_>) -> Option<String> {
    let query = || message.query.unwrap_or_default();
    let target = || match message.query {
        Some(query) => format!("{}?{query}", message.path),
        None => message.path.to_owned(),
    };
    if component.name == "@query-param" {
        let [(key, Bare::Text(name))] = &component.parameters[..] else { return None };
        let name = (key == "name").then(|| undone_in_form(name.as_bytes()))?;
        let mut found = pairs::of_query(query()).filter(|(known, _)| *known == name);
        // RFC 9421 §2.2.8: one that stands twice cannot be signed
        return match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(escaped(&value)),
            _ => None,
        };
    }
    if let [(key, Bare::Boolean(true))] = &component.parameters[..]
        && key == "bs"
        && !component.name.starts_with('@')
    {
        let name = transom_proxy::fields::Name::of(component.name.as_bytes());
        let lines: Vec<String> = message
            .fields
            .all(name)
            .map(|line| format!(":{}:", BASE64.encode(line.trim_ascii())))
            .collect();
        return (!lines.is_empty()).then(|| lines.join(", "));
    }
    if !component.parameters.is_empty() {
        return None;
    }
    Some(match &*component.name {
        "@method" => message.method.to_owned(),
        "@scheme" => message.scheme.to_owned(),
        "@authority" => authority(message),
        "@path" => message.path.to_owned(),
        "@query" => format!("?{}", query()),
        "@request-target" => target(),
        "@target-uri" => format!("{}://{}{}", message.scheme, authority(message), target()),
        name if name.starts_with('@') => return None,
        name if name.bytes().any(|b| b.is_ascii_uppercase()) => return None,
        name => message.field(name)?,
    })
}

/// Without the port that goes without saying (RFC 9421 §2.2.3).
fn authority(message: &Message<'_>) -> String {
    let usual = if message.scheme == "https" { ":443" } else { ":80" };
    message.authority.strip_suffix(usual).unwrap_or(message.authority).to_owned()
}

/// As in a form of HTML, but for spaces (RFC 9421 §2.2.8).
fn escaped(value: &[u8]) -> String {
    let mut text = String::new();
    escapes::write(value, escapes::is_plain_in_form, &mut text);
    text
}
