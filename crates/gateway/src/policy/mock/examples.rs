//! Answers made of the examples of a document.

use transom_proxy::body::Body;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known, list};
use transom_proxy::message::{Request, Response};
use transom_settings::json::Value as Json;

use crate::openapi::{Content, Document, Found, Operation, Status};

pub(super) struct Examples {
    pub(super) document: Document,
    pub(super) base: String,
}

impl Examples {
    /// The example that a request asks for.
    pub(super) fn answer(&self, request: &Request) -> Result<Response, Fault> {
        let nothing = || Fault::new(Code::NotFound, "mock: the document does not describe it");
        let path = Document::below(&self.base, &request.path).ok_or_else(nothing)?;
        let operation = match self.document.find(request.method.as_str(), path) {
            Found::Operation(operation, _) => operation,
            Found::Nothing => return Err(nothing()),
            Found::Methods(methods) => {
                let fault = Fault::new(Code::MethodNotAllowed, "mock: no such operation");
                return Err(fault.allow(methods.join(", ")));
            }
        };
        let prefers = Prefers::of(&request.fields);
        let (status, content) = chosen(operation, prefers.code).ok_or_else(nothing)?;
        let mut response = Response::new(status);
        response.fields.append("Transom-Mock", b"example");
        let example = content.media.iter().find_map(|media| {
            let named =
                media.examples.iter().find(|(name, _)| Some(name) == prefers.example.as_ref());
            Some((media, &named.or(media.examples.first())?.1))
        });
        if let Some((media, value)) = example {
            response.fields.append(Known::ContentType, media.range.as_bytes());
            let body = match value {
                Json::String(text) if !crate::media::is_json(&media.range) => text.clone(),
                value => value.to_string(),
            };
            response.body = Body::of(body.into_bytes());
        }
        Ok(response)
    }
}

/// The response with this status, or the one with the lowest.
fn chosen(operation: &Operation, code: Option<u16>) -> Option<(u16, &Content)> {
    if let Some(code) = code {
        return operation.response(code).map(|content| (code, content));
    }
    let status = |status: Status| match status {
        Status::Exact(code) => code,
        Status::Class(digit) => digit * 100,
        Status::Default => 500,
    };
    let described = operation.responses.iter().map(|(of, content)| (status(*of), content));
    described.min_by_key(|(code, _)| *code)
}

/// What a client prefers (RFC 7240).
#[derive(Default)]
struct Prefers {
    code: Option<u16>,
    example: Option<String>,
}

impl Prefers {
    fn of(fields: &Fields) -> Self {
        let mut prefers = Prefers::default();
        for preference in fields.all("Prefer").flat_map(list) {
            let Ok(text) = std::str::from_utf8(preference) else { continue };
            match text.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some(("code", code)) => {
                    prefers.code = code.parse().ok().filter(|code| (200..600).contains(code));
                }
                Some(("example", name)) => {
                    prefers.example = Some(name.trim_matches('"').to_owned())
                }
                _ => {}
            }
        }
        prefers
    }
}
