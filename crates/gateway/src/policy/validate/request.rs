//! Whether a request is one that is described.

use bytes::Bytes;
use transom_proxy::body::{Body, joined};
use transom_proxy::fault::{Code, Fault, Place, Violation};
use transom_proxy::fields::{Fields, Known, Name, Values};
use transom_proxy::message::Request;
use transom_settings::json::Value as Json;

use super::{Refusal, Unknown, Validate};
use crate::content::form::decoded;
use crate::content::strict;
use crate::content::{Form, multipart};
use crate::openapi::{Content, Document, Found, Operation, Parameter, Schema, Where, parameters};
use crate::{media, pairs};

/// Places that an answer names at most.
const MOST: usize = 16;

pub(super) async fn by_document<'d>(
    settings: &Validate,
    document: &'d Document,
    base: &str,
    request: &mut Request,
) -> Result<Option<&'d Operation>, Fault> {
    let passes = settings.unknown == Unknown::Pass;
    let Some(path) = Document::below(base, &request.path) else {
        return match passes {
            true => Ok(None),
            false => Err(Fault::new(Code::NotFound, "validate: the path is not below the base")),
        };
    };
    let path = path.to_owned();
    let (operation, values) = match document.find(request.method.as_str(), &path) {
        Found::Operation(operation, values) => (operation, values),
        _ if passes => return Ok(None),
        Found::Nothing => {
            return Err(Fault::new(Code::NotFound, "validate: no operation has this path"));
        }
        Found::Methods(methods) => {
            let fault = Fault::new(Code::MethodNotAllowed, "validate: no operation of this method");
            return Err(fault.allow(methods.join(", ")));
        }
    };
    let mut found: Vec<Violation> = Vec::new();
    for parameter in &operation.parameters {
        let sent = sent(parameter, request, &values);
        found.extend(parameter.violations(&sent));
    }
    // RFC 9110 §9.3.1: a body that nothing describes has no meaning, so it does no harm either
    if let Some(content) = &operation.body {
        found.extend(body(settings, content, request).await?);
    }
    refuse(settings, found)?;
    Ok(Some(operation))
}

pub(super) async fn body_by_schema(
    settings: &Validate,
    schema: &Schema,
    request: &mut Request,
) -> Result<(), Fault> {
    if request.body.is_empty() {
        return refuse(settings, vec![missing()]);
    }
    let essence = essence(&request.fields);
    let Some(form @ (Form::Json | Form::Form)) = Form::of(&essence) else {
        let detail = format!("validate: a body of type `{essence}` is not described");
        return Err(Fault::new(Code::UnsupportedMedia, detail));
    };
    refuse(settings, held_against(settings, schema, form, request).await?)
}

/// The texts that were sent under the name of a parameter.
fn sent(parameter: &Parameter, request: &Request, values: &[(&str, String)]) -> Vec<String> {
    let name = parameter.name.as_str();
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    match parameter.place {
        Where::Path => {
            let own = values.iter().filter(|(known, _)| *known == name);
            own.map(|(_, value)| value.clone()).collect()
        }
        Where::Query => {
            let pairs = request.query.as_deref().unwrap_or_default().split('&');
            let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let deep = format!("{name}[");
            let own = pairs.filter(|(key, _)| {
                let key = decoded(key.as_bytes());
                key == name || parameter.opaque && key.starts_with(&deep)
            });
            own.map(|(_, value)| decoded(value.as_bytes())).collect()
        }
        Where::Header => {
            let lines: Vec<&[u8]> = request.fields.all(Name::of(name.as_bytes())).collect();
            match lines.is_empty() {
                true => Vec::new(),
                // RFC 9110 §5.2: several lines are one with commas
                false => vec![text(&lines.join(&b", "[..]))],
            }
        }
        Where::Cookie => {
            // each of them: of two, servers take one or the other
            let cookies = request.fields.all(Known::Cookie).flat_map(pairs::of_cookie);
            let own = cookies.filter(|(known, _)| *known == name.as_bytes());
            own.map(|(_, value)| text(unquoted(value))).filter(|text| !text.is_empty()).collect()
        }
    }
}

async fn body(
    settings: &Validate,
    content: &Content,
    request: &mut Request,
) -> Result<Vec<Violation>, Fault> {
    if request.body.is_empty() {
        return Ok(if content.required { vec![missing()] } else { Vec::new() });
    }
    if content.media.is_empty() {
        return Ok(Vec::new());
    }
    let essence = essence(&request.fields);
    let Some(media) = content.media(&essence) else {
        let detail = format!("validate: a body of type `{essence}` is not described");
        return Err(Fault::new(Code::UnsupportedMedia, detail));
    };
    match (&media.schema, Form::of(&essence)) {
        (Some(schema), Some(form @ (Form::Json | Form::Form))) => {
            held_against(settings, schema, form, request).await
        }
        (Some(schema), None) if essence == multipart::TYPE => {
            parts_held_against(settings, schema, &media.encoding, request).await
        }
        _ => Ok(Vec::new()),
    }
}

/// What of a form with files does not fit a schema, or is of a type that a part must not have.
async fn parts_held_against(
    settings: &Validate,
    schema: &Schema,
    encoding: &[(String, Vec<String>)],
    request: &mut Request,
) -> Result<Vec<Violation>, Fault> {
    let bytes = whole_body(settings, request).await?;
    let content_type = request.fields.get(Known::ContentType).unwrap_or_default();
    let parts = multipart::whole(std::str::from_utf8(content_type).unwrap_or_default(), &bytes);
    request.body = Body::of(bytes);
    let parts = match parts {
        Ok(parts) => parts,
        Err(why) => return Ok(vec![Violation { place: whole(), detail: why }]),
    };
    let mut found = parameters::of_other_types(&parts, encoding);
    match parameters::parts(parts, &schema.json) {
        Ok(value) => found.extend(schema.violations(&value, MOST)),
        Err(violation) => found.push(violation),
    }
    Ok(found)
}

/// The whole of a body, which is taken out of the request.
async fn whole_body(settings: &Validate, request: &mut Request) -> Result<Bytes, Fault> {
    if !request.fields.all(Known::ContentEncoding).all(media::is_identity) {
        let detail = "validate: a compressed body cannot be looked into";
        return Err(Fault::new(Code::UnsupportedMedia, detail));
    }
    let read = joined::whole(&mut request.body, settings.max_body.len()).await?;
    read.ok_or_else(|| Fault::new(Code::TooLarge, "validate: the body is over `max-body`"))
}

/// What of a body does not fit a schema. The body is there again afterwards.
async fn held_against(
    settings: &Validate,
    schema: &Schema,
    form: Form,
    request: &mut Request,
) -> Result<Vec<Violation>, Fault> {
    let bytes = whole_body(settings, request).await?;
    let value = match form {
        // a name that stands twice is read in two ways: what fits here may be another there
        Form::Json => strict::parse(&bytes).map_err(|why| format!("it is no JSON: {why}")),
        _ => form.read(content_type(&request.fields), &bytes).map_err(|why| why.to_string()),
    };
    request.body = Body::of(bytes);
    Ok(match value {
        Err(detail) => vec![Violation { place: whole(), detail }],
        Ok(value) => {
            let value: Json = match form {
                Form::Form => parameters::typed_form(value, &schema.json),
                _ => value,
            };
            schema.violations(&value, MOST)
        }
    })
}

fn essence(fields: &Fields) -> String {
    media::essence(content_type(fields))
}

/// Of several types none is believed: servers take one or the other.
fn content_type(fields: &Fields) -> &str {
    let content_type = match fields.only(Known::ContentType) {
        Values::One(content_type) => content_type,
        Values::None | Values::Many => &[],
    };
    std::str::from_utf8(content_type).unwrap_or_default()
}

/// A cookie's value without its quotes (RFC 6265 §4.1.1).
fn unquoted(value: &[u8]) -> &[u8] {
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    quoted.unwrap_or(value)
}

fn missing() -> Violation {
    Violation { place: whole(), detail: "a body is missing".to_owned() }
}

fn whole() -> Place {
    Place::Pointer(String::new())
}

fn refuse(settings: &Validate, mut found: Vec<Violation>) -> Result<(), Fault> {
    let Some(first) = found.first() else { return Ok(()) };
    let code = match settings.status {
        Refusal::Bad => Code::BadRequest,
        Refusal::Unprocessable => Code::Invalid,
    };
    let detail = format!("validate: {first}");
    found.truncate(MOST);
    Err(Fault::new(code, detail).violations(found))
}
