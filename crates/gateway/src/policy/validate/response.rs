//! Whether a response is one that is described.

use transom_proxy::body::Body;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Known;
use transom_proxy::message::{Method, Response};

use crate::content::Form;
use crate::media;
use crate::openapi::Operation;

/// What of a response does not fit. Its body is there again afterwards; one that is too long to be
/// looked into is not read.
pub(super) async fn check(
    operation: &Operation,
    response: &mut Response,
    to: &Method,
    most: usize,
) -> Result<Option<String>, Fault> {
    let Some(content) = operation.response(response.status) else {
        return Ok(Some(format!("the status {} is not described", response.status)));
    };
    if Response::is_bodyless(response.status, to) || content.media.is_empty() {
        return Ok(None);
    }
    let content_type = response.fields.get(Known::ContentType).unwrap_or_default();
    let content_type = std::str::from_utf8(content_type).unwrap_or_default();
    let essence = media::essence(content_type);
    let Some(media) = content.media(&essence) else {
        return Ok(Some(format!("a response of type `{essence}` is not described")));
    };
    let plain = response.fields.all(Known::ContentEncoding).all(media::is_identity);
    let (Some(schema), Some(Form::Json), true) = (&media.schema, Form::of(&essence), plain) else {
        return Ok(None);
    };
    // what is not known to be short passes as it comes
    if response.body.length().is_none_or(|length| length > most as u64) {
        return Ok(None);
    }
    let Some(bytes) = response.body.whole(most).await? else { return Ok(None) };
    let value = Form::Json.read(content_type, &bytes);
    response.body = Body::of(bytes);
    Ok(match value {
        Err(why) => Some(why.to_string()),
        Ok(value) => schema.violations(&value, 1).first().map(ToString::to_string),
    })
}

pub(super) fn refused(why: String) -> Fault {
    Fault::new(Code::BadResponse, format!("validate: {why}"))
}
