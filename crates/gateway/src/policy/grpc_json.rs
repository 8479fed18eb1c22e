//! # grpc-json
//!
//! **What it does.** Lets clients that know only HTTP and JSON call gRPC services: `GET /v1/books/7`
//! becomes a call, and its answer JSON. Which request calls which method is what `google.api.http` in the
//! `.proto` files says: path templates with fields and verbs, `body`, `response_body`, `additional_bindings`,
//! and fields in the query. Every method can also be called as `POST /package.Service/Method` with
//! its message as JSON. What the services look like comes from a set of descriptors, from `.proto` files, or
//! from the server itself (reflection), which is asked at the start and again every `refresh`.
//!
//! JSON is the canonical form of protobuf: 64-bit numbers are texts, bytes base64, enums names. Answers that
//! stream are sent while they come: as a JSON list, or a line for each message, or server-sent events,
//! whichever `Accept` asks for. What a method takes as a stream is a JSON list, or JSON values one after
//! the other. `google.api.HttpBody` passes as it is. Calls in gRPC itself pass untouched.
//!
//! With `streaming: websocket`, a WebSocket for `/package.Service/Method` is a call whose messages go both ways at
//! any time: each text is one message of JSON, and an empty text is the end of what the client sends. The
//! closing frame says how the call ended: 1000, or 4000 and the code of gRPC (NOT_FOUND is 4005) with its
//! message. Origins are for the policy `cors` to look at, since browsers send cookies along.
//!
//! The pool must speak HTTP/2 (`http: 2`). `timeouts.request` of the route becomes the deadline of the call.
//!
//! **When it runs.** Stage `shape`: after it is known who asks and whether they may, and before the
//! rewriting of the route, which should be left out here (`prefix` takes off the beginning of a path).
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   books: { grpc-json: { reflection: 127.0.0.1:50051, services: library.v1.Books } }
//! ```
//!
//! **What the client sees.** The answer with status 200, or what HTTP calls the code of gRPC
//! (NOT_FOUND is 404) with `application/problem+json`: `detail` is the message of the error, `code` its
//! name, `details` what more the service tells (google.rpc.BadRequest and its like). 400 names the field that
//! is wrong. 404 `no-route` and 405 `method-not-allowed` where no rule fits, 413 `too-large`, 502 `bad-response`
//! where the endpoint does not speak gRPC, 503 `no-endpoint` while the server has not yet said what it has.
//! A JSON list that breaks off in the middle is cut off; lines and events end with an `error`.
//!
//! At 3 a.m.: 502 with `ended without grpc-status` is a pool without `http: 2`. 503 with `reflection` in
//! `detail` is a server that does not offer it; give it a file. A field that clients miss in answers has its
//! default value: `defaults: true` writes those, too.

mod conversation;
mod reflection;
mod request;
mod response;
mod rules;
mod stream;
mod template;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration as Time, Instant};

use bytes::BytesMut;
use prost_reflect::{DescriptorPool, SerializeOptions};
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
use transom_settings::{ByteSize, Duration, HeaderName, Setting, Spanned, Target, quote, settings};

use self::conversation::{Conversation, Sending, Types};
use self::reflection::{Asking, Learned};
use self::request::{Asked, Bad, Reading};
use self::response::{Sent, Shape, Writing};
use self::rules::{Found, Table};
use self::stream::{Coming, Form, Messages, Streamed};
use crate::call::{Caller, OF_ITS_OWN};
use crate::grpc::proto::compiled;
use crate::grpc::status::{Code, Status};
use crate::kind::Kind;
use crate::making::Making;

pub use self::template::{Bound, Template, TemplateError};
pub use self::trial::Trial;

settings! {
    /// Lets clients that know only HTTP and JSON call gRPC services. One of `descriptors`, `proto` and
    /// `reflection` says what these look like.
    pub struct GrpcJson {
        /// A set of descriptors: `protoc --include_imports --descriptor_set_out=FILE`.
        pub descriptors: Option<Spanned<PathBuf>> = None,
        /// `.proto` files, with all that they import but for `google/protobuf`, `google/api` and
        /// `google/rpc`.
        pub proto: Vec<Spanned<PathBuf>> = Vec::new(),
        /// A pool or an address that tells it: gRPC server reflection, v1 or v1alpha.
        pub reflection: Option<Spanned<Target>> = None,
        /// How often it is asked again.
        pub refresh: Duration = Duration::seconds(60),
        /// Full names of the services that may be called, such as `library.v1.Books`; all, where none is
        /// named.
        pub services: Vec<Spanned<String>> = Vec::new(),
        /// What paths begin with before that of a rule: `/api`.
        pub prefix: Option<Spanned<String>> = None,
        /// Whether `POST /package.Service/Method` calls a method, too.
        pub methods: bool = true,
        /// What happens with parameters of the query that are no fields.
        pub unknown_query: Unknown = Unknown::Refuse,
        /// What happens with fields of the body that the message does not have.
        pub unknown_fields: Unknown = Unknown::Refuse,
        /// What happens with requests that call nothing.
        pub unmatched: Unmatched = Unmatched::Refuse,
        /// Whether fields that have their default value are written.
        pub defaults: bool = false,
        /// Whether enums are written as numbers.
        pub enum_numbers: bool = false,
        /// Whether fields are called as in the `.proto` file: `page_size`, not `pageSize`.
        pub proto_names: bool = false,
        /// In which form errors are sent.
        pub errors: Errors = Errors::Problem,
        /// Metadata that clients may give as `Grpc-Metadata-NAME`; what is set already stays.
        pub metadata: Vec<HeaderName> = Vec::new(),
        /// How messages go both ways.
        pub streaming: Streaming = Streaming::Http,
        /// The longest message, and of requests the longest body.
        pub max_message: ByteSize = ByteSize::mib(4),
    }

    /// What happens with what nobody knows.
    pub enum Unknown {
        /// It is an error.
        Refuse = "refuse",
        /// It is left out.
        Ignore = "ignore",
    }

    /// How messages go both ways.
    pub enum Streaming {
        /// All that the client sends stands in the body of its request, then come the answers.
        Http = "http",
        /// Besides, a WebSocket for `/package.Service/Method` carries a message in each text.
        WebSocket = "websocket",
    }

    /// What happens with requests that call nothing.
    pub enum Unmatched {
        /// 404 or 405.
        Refuse = "refuse",
        /// They go to the endpoint as they are.
        Pass = "pass",
    }

    /// In which form errors are sent.
    pub enum Errors {
        /// application/problem+json (RFC 9457).
        Problem = "problem",
        /// google.rpc.Status as JSON, as Google's services do.
        Google = "google",
    }
}

/// How long an answer of reflection may take, and be.
const REFLECTION: (Time, usize) = (Time::from_secs(10), 16 << 20);

impl Kind for GrpcJson {
    const NAME: &'static str = "grpc-json";
    const SUMMARY: &'static str = "Lets clients that know only HTTP and JSON call gRPC services.";
    const STAGE: Stage = Stage::Shape;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        self.descriptors.iter().chain(&self.proto).collect()
    }

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        self.reflection.iter().map(|target| ("reflection", target)).collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let prefix = match &self.prefix {
            None => "",
            Some(prefix) if prefix.starts_with('/') && !prefix.ends_with('/') => &**prefix,
            Some(prefix) => {
                let what = format!("{} is no beginning of a path", quote(prefix));
                making.error(prefix.span, "prefix", what, "begin it with `/`, and end without");
                return None;
            }
        };
        let services = match self.descriptors.is_some() as usize
            + !self.proto.is_empty() as usize
            + self.reflection.is_some() as usize
        {
            1 => self.services(making)?,
            _ => {
                let what = "exactly one of `descriptors`, `proto` and `reflection` must be there";
                let hint = "add `reflection:` with the pool, if its servers offer that";
                making.error(making.place, "", what, hint);
                return None;
            }
        };
        Some(Arc::new(Transcoder {
            services,
            prefix: prefix.to_owned(),
            by_name: self.methods,
            reading: Reading {
                refuse_unknown_fields: self.unknown_fields == Unknown::Refuse,
                refuse_unknown_query: self.unknown_query == Unknown::Refuse,
            },
            writing: Arc::new(Writing {
                options: SerializeOptions::new()
                    .skip_default_fields(!self.defaults)
                    .use_enum_numbers(self.enum_numbers)
                    .use_proto_field_name(self.proto_names),
                proto_names: self.proto_names,
                google_errors: self.errors == Errors::Google,
            }),
            converses: self.streaming == Streaming::WebSocket,
            pass: self.unmatched == Unmatched::Pass,
            metadata: self.metadata.iter().map(|name| name.to_string()).collect(),
            longest: self.max_message.len(),
        }))
    }
}

impl GrpcJson {
    fn services(&self, making: &mut Making<'_>) -> Option<Services> {
        let names: Vec<String> = self.services.iter().map(|name| name.value.clone()).collect();
        if let Some(target) = &self.reflection {
            let destination = making.destination(target, "reflection")?;
            let from = format!("{} {}", target.to_json(), names.join(" "));
            let learned =
                making.keep(|known: &Learned| known.from == from, || Learned::from(from.clone()));
            making.task(
                "reflection",
                Arc::new(Asking {
                    caller: Caller::new(destination, REFLECTION.0, REFLECTION.1),
                    learned: learned.clone(),
                    services: names,
                    every: self.refresh.get(),
                }),
            );
            return Some(Services::Learned(learned));
        }
        let (pool, place, key) = match &self.descriptors {
            Some(file) => {
                let bytes = making.file(file)?;
                match DescriptorPool::decode(bytes) {
                    Ok(pool) => (pool, file.span, "descriptors"),
                    Err(error) => {
                        let what = format!("it is no whole set of descriptors: {error}");
                        let hint = "make it with `protoc --include_imports --descriptor_set_out`";
                        making.error(file.span, "descriptors", what, hint);
                        return None;
                    }
                }
            }
            None => {
                let place = self.proto.first().map_or(making.place, |file| file.span);
                (self.compiled(making)?, place, "proto")
            }
        };
        let (table, wrong) = Table::of(pool, &names);
        for what in &wrong {
            let place = self.services.first().map_or(place, |name| name.span);
            making.error(place, key, what.clone(), "correct it in the `.proto` file, or here");
        }
        if table.size().0 == 0 {
            making.error(place, key, "it has no services", "name the files with `service` in them");
            return None;
        }
        wrong.is_empty().then(|| Services::Known(Arc::new(table)))
    }

    fn compiled(&self, making: &mut Making<'_>) -> Option<DescriptorPool> {
        let mut texts = Vec::new();
        for file in &self.proto {
            let bytes = making.file(file)?;
            texts.push((file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
        match compiled(&texts) {
            Ok(pool) => Some(pool),
            Err((file, what)) => {
                let at = file.as_ref().and_then(|name| {
                    self.proto.iter().find(|file| file.ends_with(name)).map(|file| file.span)
                });
                let what = match file {
                    Some(file) => format!("{file}: {what}"),
                    None => what,
                };
                let place = at.unwrap_or(making.place);
                making.error(place, "proto", what, "add what it imports, or correct the file");
                None
            }
        }
    }
}

/// What runs.
struct Transcoder {
    services: Services,
    prefix: String,
    by_name: bool,
    reading: Reading,
    writing: Arc<Writing>,
    /// Calls may be made over WebSocket.
    converses: bool,
    /// Requests that call nothing go on.
    pass: bool,
    metadata: Vec<String>,
    longest: usize,
}

/// What is known of the services.
enum Services {
    Known(Arc<Table>),
    Learned(Arc<Learned>),
}

impl Services {
    fn table(&self) -> Result<Arc<Table>, String> {
        match self {
            Services::Known(table) => Ok(table.clone()),
            Services::Learned(learned) => learned.table.load_full().ok_or_else(|| learned.why()),
        }
    }
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
        mut request: Request,
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
        mut request: Request,
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
    for field in fields.iter() {
        if !response.fields.has(Name::of(field.name)) {
            response.fields.append(Name::of(field.name), field.value);
        }
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
