//! What runs: a request becomes a call, and its answer JSON.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use transom_proxy::answer;
use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code as FaultCode, Fault};
use transom_proxy::fields::{Fields, Known, Name, list};
use transom_proxy::headers::{grpc, websocket};
use transom_proxy::message::{Method, Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_proxy::upgrade::{Far, Tunnel};

use super::GrpcJson;
use super::conversation::{self, Conversation, Sending, Types};
use super::request::{self, Asked, Bad, Reading};
use super::response::{self, Sent, Shape, Writing};
use super::rules::{Found, Table};
use super::services::Services;
use super::stream::{Coming, Form, Messages, Streamed};
use crate::call::OF_ITS_OWN;
use crate::grpc::status::{Code, Status};
use crate::kind::Kind;

/// What runs.
pub(super) struct Transcoder {
    pub(super) services: Services,
    pub(super) prefix: String,
    pub(super) by_name: bool,
    pub(super) reading: Reading,
    pub(super) writing: Arc<Writing>,
    /// Calls may be made over WebSocket.
    pub(super) converses: bool,
    /// Requests that call nothing go on.
    pub(super) pass: bool,
    pub(super) metadata: Vec<String>,
    pub(super) longest: usize,
}

/// A call that is about to be made.
struct Call {
    table: Arc<Table>,
    shape: Shape,
    streams: bool,
    form: Form,
}

impl Policy for Transcoder {
    fn kind(&self) -> &'static str {
        GrpcJson::NAME
    }

    fn stage(&self) -> Stage {
        GrpcJson::STAGE
    }

    fn describe(&self) -> String {
        match self.services.table() {
            Ok(table) => {
                let (methods, bindings) = table.size();
                format!("{methods} methods, {bindings} rules")
            }
            Err(why) => format!("by reflection: {why}"),
        }
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            if is_grpc(&request.fields) {
                return Ok(next.run(exchange, request).await);
            }
            if self.converses && request.upgrade.is_some() {
                return self.converse(exchange, request, next);
            }
            let call = match self.call(exchange, &mut request).await? {
                Wanted::Call(call) => call,
                Wanted::Pass => return Ok(next.run(exchange, request).await),
                Wanted::Bad(bad) => {
                    let fault = Fault::new(FaultCode::BadRequest, bad.to_string());
                    exchange.record.fail(fault);
                    return Ok(response::refused(&bad, &exchange.id, &self.writing));
                }
            };
            let response = next.run(exchange, request).await;
            self.answer(exchange, call, response).await
        })
    }
}

/// What becomes of a request.
enum Wanted {
    Call(Call),
    Pass,
    Bad(Bad),
}

impl Transcoder {
    /// Makes a call of a request.
    async fn call(&self, exchange: &Exchange, request: &mut Request) -> Result<Wanted, Fault> {
        let unknown = |why: String| {
            Fault::new(FaultCode::NoEndpoint, format!("the services are not known: {why}"))
        };
        let table = self.services.table().map_err(unknown)?;
        let path = request.path.strip_prefix(&*self.prefix);
        let path = path.filter(|rest| rest.starts_with('/'));
        let found = match path {
            Some(path) => table.find(&request.method, path, self.by_name),
            None => Found::Nothing,
        };
        let (method, binding, bound) = match found {
            Found::Call { method, binding, bound } => (method, binding, bound),
            Found::OtherMethod(_) | Found::Nothing if self.pass => return Ok(Wanted::Pass),
            Found::OtherMethod(others) => {
                let fault = Fault::new(FaultCode::MethodNotAllowed, "its path has other methods");
                return Err(fault.allow(others.join(", ")));
            }
            Found::Nothing => {
                return Err(Fault::new(FaultCode::NoRoute, "it calls no method of the services"));
            }
        };
        let is_plain = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"identity");
        if !request.fields.all(Known::ContentEncoding).all(is_plain) {
            let what = "it is compressed, which is not understood here".to_owned();
            return Ok(Wanted::Bad(Bad { field: None, what }));
        }
        let body = request.body.whole(self.longest).await?;
        let too_large = || Fault::new(FaultCode::TooLarge, "it is longer than `max-message`");
        let body = body.ok_or_else(too_large)?;
        let content_type = request.fields.get(Known::ContentType).unwrap_or_default();
        let asked = Asked {
            bound,
            query: request.query.as_deref().unwrap_or_default(),
            body: &body,
            content_type: &String::from_utf8_lossy(content_type),
        };
        let framed = match request::messages(method, binding, asked, self.reading) {
            Ok(framed) => framed,
            Err(bad) => return Ok(Wanted::Bad(bad)),
        };
        let call = Call {
            shape: Shape {
                output: method.output.clone(),
                field: binding.and_then(|binding| binding.response_body.clone()),
            },
            streams: method.streams_out,
            form: Form::wanted(&request.fields),
            table: table.clone(),
        };
        request.method = Method::Post;
        request.path = (&*method.path).into();
        request.query = None;
        request.body = Body::of(framed);
        request.takes_trailers = true;
        request.upgrade = None;
        self.fields(exchange, &mut request.fields);
        Ok(Wanted::Call(call))
    }

    /// Makes a tunnel in whose other end a call is made.
    fn converse(
        &self,
        exchange: &mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Result<Response, Fault> {
        if request.fields.get("Sec-WebSocket-Version") != Some(b"13") {
            let mut response = Response::new(426);
            response.fields.append("Sec-WebSocket-Version", b"13");
            return Ok(response);
        }
        let unknown = |why: String| {
            Fault::new(FaultCode::NoEndpoint, format!("the services are not known: {why}"))
        };
        let table = self.services.table().map_err(unknown)?;
        let path = request.path.strip_prefix(&*self.prefix).unwrap_or_default();
        let method = match table.find(&Method::Post, path, true) {
            Found::Call { method, .. } if method.path == path => method,
            _ => return Err(Fault::new(FaultCode::NoRoute, "it is the name of no method")),
        };
        let types = Types {
            input: method.input.clone(),
            streams_in: method.streams_in,
            reading: self.reading,
            shape: Shape { output: method.output.clone(), field: None },
            writing: self.writing.clone(),
        };
        let mut response = Response::new(101);
        websocket::accept(&request.fields, &mut response.fields);
        let sending = Sending::default();
        request.method = Method::Post;
        request.path = (&*method.path).into();
        request.query = None;
        request.body = Body::Stream(Box::new(sending.clone()));
        request.takes_trailers = true;
        request.upgrade = None;
        request.fields.retain(|field| {
            !field.name.get(..14).is_some_and(|name| name.eq_ignore_ascii_case(b"sec-websocket-"))
        });
        self.fields(exchange, &mut request.fields);
        let mut own = exchange.aside();
        own.identity = exchange.identity.clone();
        own.captures = exchange.captures.clone();
        let longest = self.longest;
        let call = Box::pin(async move {
            let response = next.run(&mut own, request).await;
            if let Some(code) = own.record.fault {
                return Err(conversation::of_fault(code));
            }
            if response.status != 200 || !is_grpc(&response.fields) {
                return Err(Status::new(Code::of_http(response.status), ""));
            }
            match Status::of(&response.fields).filter(|status| !status.is_ok()) {
                Some(status) => Err(status),
                None => Ok(Messages::new(response.body, longest)),
            }
        });
        let far = Far::Stream(Box::new(Conversation::new(call, &sending, types, longest)));
        exchange.tunnel = Some(Box::new(Tunnel::new(far, None, &exchange.local.worker)));
        Ok(response)
    }

    /// The fields of a call.
    fn fields(&self, exchange: &Exchange, fields: &mut Fields) {
        for name in &self.metadata {
            let given = fields.get(&*format!("grpc-metadata-{name}")).map(<[u8]>::to_vec);
            if let Some(value) = given.filter(|_| !fields.has(name.as_str())) {
                fields.append(name.as_str(), &value);
            }
        }
        fields.retain(|field| {
            let ours = field.name.len() > 5 && field.name[..5].eq_ignore_ascii_case(b"grpc-");
            !ours && field.known.is_none_or(|known| !OF_ITS_OWN.contains(&known))
        });
        fields.append(Known::ContentType, b"application/grpc");
        if let Some(by) = exchange.ends_by() {
            grpc::set_timeout(fields, by.saturating_duration_since(Instant::now()));
        }
    }

    /// Makes the client's answer of the endpoint's.
    async fn answer(
        &self,
        exchange: &mut Exchange,
        call: Call,
        mut response: Response,
    ) -> Result<Response, Fault> {
        // what we answer ourselves is in the client's form already
        if exchange.record.fault.is_some() {
            return Ok(response);
        }
        let mut fields = std::mem::take(&mut response.fields);
        if response.status != 200 || !is_grpc(&fields) {
            let status = Status::new(Code::of_http(response.status), "");
            exchange.record.detail =
                Some(format!("the endpoint answers {} and no gRPC", response.status).into());
            return Ok(self.failed(exchange, &call, &status));
        }
        let early = Status::of(&fields);
        metadata(&mut fields);
        if let Some(status) = early.filter(|status| !status.is_ok()) {
            return Ok(with(self.failed(exchange, &call, &status), fields));
        }
        let mut messages = Messages::new(response.body, self.longest);
        let bad = |what: String| Fault::new(FaultCode::BadResponse, what);
        if !call.streams {
            let first = messages.next().await?;
            let end = match first {
                Coming::End(_) => None,
                Coming::Message(_) => Some(messages.next().await?),
            };
            return match (first, end) {
                (Coming::Message(_), Some(Coming::Message(_))) => {
                    Err(bad("a second message came, where there is one".to_owned()))
                }
                (Coming::End(status), _) if status.is_ok() => {
                    Err(bad("the call ended well without a message".to_owned()))
                }
                (Coming::Message(bytes), Some(Coming::End(status))) if status.is_ok() => {
                    let sent = call.shape.of(bytes, &self.writing).map_err(bad)?;
                    fields_of_trailers(messages, &mut fields);
                    Ok(with(one(sent), fields))
                }
                (Coming::End(status), _) | (_, Some(Coming::End(status))) => {
                    fields_of_trailers(messages, &mut fields);
                    Ok(with(self.failed(exchange, &call, &status), fields))
                }
                (Coming::Message(_), None) => Err(bad("it has no end".to_owned())),
            };
        }
        // events begin at once; for the others a status is kept open until something is there
        let first = match call.form {
            Form::Events => None,
            Form::List | Form::Lines => Some(messages.next().await?),
        };
        if let Some(Coming::End(status)) = &first
            && !status.is_ok()
        {
            return Ok(with(self.failed(exchange, &call, status), fields));
        }
        let form = call.form;
        let mut streamed = Response::new(200);
        streamed.fields.append(Known::ContentType, form.content_type().as_bytes());
        if form == Form::Events {
            streamed.fields.append(Known::CacheControl, b"no-cache");
        }
        streamed.body = Body::Stream(Box::new(Streamed {
            messages,
            first,
            form,
            shape: call.shape,
            writing: self.writing.clone(),
            table: call.table,
            begun: false,
            ended: false,
            ready: BytesMut::new(),
        }));
        Ok(with(streamed, fields))
    }

    fn failed(&self, exchange: &Exchange, call: &Call, status: &Status) -> Response {
        response::failed(status, &call.table.pool, &exchange.id, &self.writing)
    }
}

/// The answer of one message.
fn one(sent: Sent) -> Response {
    match sent {
        Sent::Json(json) => response::json_of(200, json),
        Sent::Raw(content_type, bytes) => answer::with_body(200, &content_type, bytes),
    }
}

/// A response with the metadata of the call beside its own fields.
fn with(mut response: Response, fields: Fields) -> Response {
    // looked up before any is added: a name may stand in several lines
    let own = |name: &[u8]| response.fields.has(Name::of(name));
    let new: Vec<_> = fields.iter().filter(|field| !own(field.name)).collect();
    for field in new {
        response.fields.append(Name::of(field.name), field.value);
    }
    response
}

/// Leaves of the fields of a response only what the service itself has set.
fn metadata(fields: &mut Fields) {
    fields.retain(|field| {
        let ours = field.name.len() > 5 && field.name[..5].eq_ignore_ascii_case(b"grpc-");
        let of_body = field.known.is_some_and(|known| {
            matches!(
                known,
                Known::ContentType | Known::ContentLength | Known::ContentEncoding | Known::Trailer
            )
        });
        !ours && !of_body
    });
}

/// Adds what stands in the trailers.
fn fields_of_trailers(messages: Messages, fields: &mut Fields) {
    let Some(mut trailers) = messages.into_trailers() else { return };
    metadata(&mut trailers);
    // RFC 9110 §6.5.1: a name that means something before the body is no trailer
    trailers.retain(|field| field.known.is_none());
    for field in trailers.iter() {
        fields.append(Name::of(field.name), field.value);
    }
}

/// Whether a message is one of gRPC itself (or gRPC-Web, which is another policy's).
fn is_grpc(fields: &Fields) -> bool {
    fields
        .all(Known::ContentType)
        .flat_map(list)
        .any(|media| media.len() >= 16 && media[..16].eq_ignore_ascii_case(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_all_of_its_lines() {
        let mut metadata = Fields::new();
        for value in [&b"a=1"[..], b"b=2"] {
            metadata.append("Set-Cookie", value);
        }
        metadata.append("Content-Type", b"application/grpc");
        let response = with(response::json_of(200, b"{}".to_vec()), metadata);
        let cookies: Vec<_> = response.fields.all("Set-Cookie").collect();
        assert_eq!(cookies, [b"a=1", b"b=2"]);
        let types: Vec<_> = response.fields.all("Content-Type").collect();
        assert_eq!(types, [b"application/json"]);
    }
}
