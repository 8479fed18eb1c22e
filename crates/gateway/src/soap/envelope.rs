//! Envelopes: what is around arguments and results, and faults (SOAP 1.1 §4, SOAP 1.2 part 1 §5).

use transom_settings::json::{Map, Value as Json};

use super::read::plain;
use super::{Version, XSI};
use crate::content::xml::element::{Element, parse};

const ONE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const TWO: &str = "http://www.w3.org/2003/05/soap-envelope";

impl Version {
    pub(crate) fn space(self) -> &'static str {
        match self {
            Version::One => ONE,
            Version::Two => TWO,
        }
    }

    /// The `Content-Type` of a request.
    pub(crate) fn content_type(self, action: &str) -> String {
        match self {
            Version::One => "text/xml; charset=utf-8".to_owned(),
            Version::Two if action.is_empty() => "application/soap+xml; charset=utf-8".to_owned(),
            Version::Two => format!("application/soap+xml; charset=utf-8; action=\"{action}\""),
        }
    }
}

/// An envelope with these contents, which are XML; `prefixes` are declarations.
pub fn wrap(version: Version, prefixes: &str, header: Option<&str>, body: &str) -> String {
    let space = version.space();
    let header = header.map(|header| format!("<soap:Header>{header}</soap:Header>"));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <soap:Envelope xmlns:soap=\"{space}\" xmlns:xsi=\"{XSI}\"{prefixes}>{}\
         <soap:Body>{body}</soap:Body></soap:Envelope>",
        header.unwrap_or_default(),
    )
}

/// What is in the body of an envelope.
#[derive(Debug)]
pub enum Opened {
    Nothing,
    Result(Element),
    Fault(SoapFault),
}

/// Why a service has not done what it was asked for.
#[derive(Debug, PartialEq)]
pub struct SoapFault {
    /// Without its prefix: `Client`, `Sender`, or what the service calls it.
    pub code: String,
    /// What the service calls it more exactly (SOAP 1.2).
    pub subcode: Option<String>,
    pub reason: String,
    /// The elements of the detail.
    pub detail: Option<Map<String, Json>>,
}

impl SoapFault {
    /// Whether the request was at fault, as the standard has it.
    pub fn blames_client(&self) -> bool {
        // SOAP 1.1 §4.4.1: `Client.Authentication` is a kind of `Client`
        let first = self.code.split('.').next();
        matches!(first, Some("Client" | "Sender"))
    }

    /// Its names, from the most exact to the least.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let detail = self.detail.iter().flat_map(Map::keys).map(String::as_str);
        let subcode = self.subcode.as_deref();
        detail.filter(|key| !key.starts_with(['@', '#'])).chain(subcode).chain([&*self.code])
    }
}

/// Takes an envelope of either version apart.
///
/// # Errors
/// Why it is none.
pub fn open(text: &str) -> Result<Opened, String> {
    let root = parse(text).map_err(|error| error.to_string())?;
    let space = match &*root.name.space {
        space @ (ONE | TWO) if root.name.local == "Envelope" => space.to_owned(),
        _ => return Err("it is no envelope of SOAP".to_owned()),
    };
    let body = root.children.into_iter().find(|child| child.name.is(&space, "Body"));
    let body = body.ok_or("the envelope has no body")?;
    let Some(first) = body.children.into_iter().next() else { return Ok(Opened::Nothing) };
    if !first.name.is(&space, "Fault") {
        return Ok(Opened::Result(first));
    }
    Ok(Opened::Fault(if space == ONE { first_version(&first) } else { second_version(&first) }))
}

fn local(text: &str) -> String {
    let text = text.trim();
    text.rsplit_once(':').map_or(text, |(_, local)| local).to_owned()
}

fn detail(element: Option<&Element>) -> Option<Map<String, Json>> {
    match plain(element?) {
        Json::Object(map) => Some(map),
        Json::String(text) if !text.is_empty() => {
            Some(Map::from_iter([("#text".to_owned(), text.into())]))
        }
        _ => None,
    }
}

/// SOAP 1.1 §4.4. The parts of a fault have no namespace; some give them that of the envelope.
fn first_version(fault: &Element) -> SoapFault {
    let part = |name| fault.children.iter().find(|part| part.name.local == name);
    let text = |name| part(name).map_or("", |part| part.text.trim());
    SoapFault {
        code: local(text("faultcode")),
        subcode: None,
        reason: text("faultstring").to_owned(),
        detail: detail(part("detail")),
    }
}

/// SOAP 1.2 part 1 §5.4.
fn second_version(fault: &Element) -> SoapFault {
    let code = fault.child(TWO, "Code");
    let value = |of: Option<&Element>| Some(local(&of?.child(TWO, "Value")?.text));
    let reason = fault.child(TWO, "Reason").and_then(|reason| reason.child(TWO, "Text"));
    SoapFault {
        code: value(code).unwrap_or_default(),
        subcode: value(code.and_then(|code| code.child(TWO, "Subcode"))),
        reason: reason.map_or("", |reason| reason.text.trim()).to_owned(),
        detail: detail(fault.child(TWO, "Detail")),
    }
}
