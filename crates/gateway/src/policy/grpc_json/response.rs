//! Makes JSON of what a call answers, and problems of how it fails.

use bytes::Bytes;
use prost_reflect::prost_types::Any;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage,
    SerializeOptions,
};
use transom_proxy::answer::with_body;
use transom_proxy::exchange::RequestId;
use transom_proxy::fields::Known;
use transom_proxy::message::{Response, reason};
use transom_settings::json::{self, Value as Json, json};

use super::request::{Bad, is_http_body};
use crate::grpc::proto::common;
use crate::grpc::status::Status;

/// How answers are written.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) options: SerializeOptions,
    /// Fields are called as in the `.proto` file.
    pub(super) proto_names: bool,
    /// Errors are google.rpc.Status as JSON, not problems.
    pub(super) google_errors: bool,
}

/// What one message becomes.
pub(super) struct Shape {
    pub(super) output: MessageDescriptor,
    /// The field that is sent alone.
    pub(super) field: Option<FieldDescriptor>,
}

/// What is sent of a message.
pub(super) enum Sent {
    Json(Vec<u8>),
    /// google.api.HttpBody: as it is, with its type.
    Raw(String, Bytes),
}

impl Shape {
    /// # Errors
    /// Why the bytes are no message of this type.
    pub(super) fn of(&self, bytes: Bytes, writing: &Writing) -> Result<Sent, String> {
        let message = DynamicMessage::decode(self.output.clone(), bytes)
            .map_err(|error| format!("it is no {}: {error}", self.output.full_name()))?;
        let raw = match &self.field {
            None if is_http_body(&self.output) => Some(message.clone()),
            None => None,
            Some(field) => message
                .get_field(field)
                .as_message()
                .filter(|m| is_http_body(&m.descriptor()))
                .cloned(),
        };
        if let Some(raw) = raw {
            let text = |name| {
                let value = raw.get_field_by_name(name)?;
                value.as_str().map(str::to_owned)
            };
            let data = raw.get_field_by_name("data").and_then(|data| data.as_bytes().cloned());
            let content_type = text("content_type").filter(|text| !text.is_empty());
            let content_type =
                content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
            return Ok(Sent::Raw(content_type, data.unwrap_or_default()));
        }
        self.json(&message, writing).map(Sent::Json)
    }

    fn json(&self, message: &DynamicMessage, writing: &Writing) -> Result<Vec<u8>, String> {
        let cannot = |error: json::Error| format!("it cannot be written as JSON: {error}");
        let mut out = Vec::with_capacity(256);
        let Some(field) = &self.field else {
            let mut to = json::Serializer::new(&mut out);
            message.serialize_with_options(&mut to, &writing.options).map_err(cannot)?;
            return Ok(out);
        };
        let name = if writing.proto_names { field.name() } else { field.json_name() };
        let options = writing.options.clone();
        // a field that has its default is not written, unless it is asked for
        for options in [options.clone(), options.skip_default_fields(false)] {
            let whole = message.serialize_with_options(json::value::Serializer, &options);
            let mut whole = whole.map_err(cannot)?;
            if let Some(value) = whole.get_mut(name) {
                return json::to_vec(&value.take()).map_err(cannot);
            }
        }
        Ok(b"null".to_vec())
    }
}

/// A response of one piece of JSON.
pub(super) fn json_of(status: u16, body: Vec<u8>) -> Response {
    with_body(status, "application/json", body.into())
}

/// What the client is told of a call that failed.
pub(super) fn failed(
    status: &Status,
    pool: &DescriptorPool,
    id: &RequestId,
    writing: &Writing,
) -> Response {
    let code = status.code();
    let details: Vec<Json> = status.details.iter().map(|any| detail(any, pool)).collect();
    let wait = details.iter().find_map(|detail| seconds(detail.get("retryDelay")?.as_str()?));
    let mut response = match writing.google_errors {
        true => {
            let body = json!({ "code": code.0, "message": status.message, "details": details });
            json_of(code.http(), body.to_string().into_bytes())
        }
        false => {
            let mut body = problem(code.http(), &status.message, code.name(), id);
            body["grpc_code"] = code.0.into();
            if !details.is_empty() {
                body["details"] = details.into();
            }
            with_problem(code.http(), &body)
        }
    };
    if let Some(wait) = wait {
        response.fields.append(Known::RetryAfter, wait.to_string().as_bytes());
    }
    response
}

/// What the client is told of a request that is none of the method's.
pub(super) fn refused(bad: &Bad, id: &RequestId, writing: &Writing) -> Response {
    let told = bad.to_string();
    if writing.google_errors {
        let violation = json!({ "field": bad.field, "description": bad.what });
        let detail = json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [violation],
        });
        let details = if bad.field.is_some() { vec![detail] } else { Vec::new() };
        let body = json!({ "code": 3, "message": told, "details": details });
        return json_of(400, body.to_string().into_bytes());
    }
    let mut body = problem(400, &told, "bad-request", id);
    if let Some(field) = &bad.field {
        body["field"] = field.clone().into();
    }
    with_problem(400, &body)
}

/// RFC 9457.
fn problem(status: u16, detail: &str, code: &str, id: &RequestId) -> Json {
    let title = if status == 499 { "Client Closed Request" } else { reason(status) };
    json!({
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": id.to_string(),
    })
}

fn with_problem(status: u16, body: &Json) -> Response {
    let mut response =
        with_body(status, "application/problem+json", body.to_string().into_bytes().into());
    response.fields.append(Known::CacheControl, b"no-store");
    response
}

/// A detail as JSON; with its bytes, where nobody knows its type.
fn detail(any: &Any, pool: &DescriptorPool) -> Json {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let known = [pool, common()].into_iter().find_map(|pool| {
        let descriptor = pool.get_message_by_name(name)?;
        let message = DynamicMessage::decode(descriptor, &*any.value).ok()?;
        json::to_value(message).ok()
    });
    match known {
        Some(Json::Object(mut fields)) => {
            fields.insert("@type".to_owned(), any.type_url.clone().into());
            Json::Object(fields)
        }
        Some(other) => json!({ "@type": any.type_url, "value": other }),
        None => {
            let value = data_encoding::BASE64.encode(&any.value);
            json!({ "@type": any.type_url, "value": value })
        }
    }
}

/// A duration such as `1.5s` in whole seconds, rounded up.
fn seconds(text: &str) -> Option<u64> {
    let seconds = text.strip_suffix('s')?.parse::<f64>().ok()?;
    (0.0..=86_400.0).contains(&seconds).then(|| seconds.ceil() as u64)
}

/// google.rpc.Status as JSON, for the end of a stream.
pub(super) fn error_line(status: &Status, pool: &DescriptorPool) -> Vec<u8> {
    let details: Vec<Json> = status.details.iter().map(|any| detail(any, pool)).collect();
    let error = json!({ "code": status.code, "message": status.message, "details": details });
    json!({ "error": error }).to_string().into_bytes()
}
