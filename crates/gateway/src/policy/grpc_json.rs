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
//! is wrong, such as one that stands twice, also under both of its names (`page_size`, `pageSize`). 404 `no-route`
//! and 405 `method-not-allowed` where no rule fits, 413 `too-large`, 502 `bad-response` where the endpoint does not
//! speak gRPC, 503 `no-endpoint` while the server has not yet said what it has.
//! A JSON list that breaks off in the middle is cut off; lines and events end with an `error`.
//!
//! At 3 a.m.: 502 with `ended without grpc-status` is a pool without `http: 2`. 503 with `reflection` in
//! `detail` is a server that does not offer it; give it a file. A field that clients miss in answers has its
//! default value: `defaults: true` writes those, too.

mod conversation;
mod names;
mod reflection;
mod request;
mod response;
mod rules;
mod services;
mod stream;
mod template;
mod transcoder;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;

use prost_reflect::SerializeOptions;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{ByteSize, Duration, HeaderName, Spanned, Target, quote, settings};

use self::request::Reading;
use self::response::Writing;
use self::transcoder::Transcoder;
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
        /// Metadata that clients may give as `Grpc-Metadata-NAME`; what is set already stays. None in which
        /// a policy tells who asks.
        pub metadata: Vec<Spanned<HeaderName>> = Vec::new(),
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

/// As servers fold it that know no more signs in names (CGI).
fn folded(name: &HeaderName) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

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
        let vouched = making.lender.vouched();
        let imitates =
            |name: &&Spanned<HeaderName>| vouched.iter().any(|known| folded(known) == folded(name));
        if let Some(name) = self.metadata.iter().find(imitates) {
            let what = format!("clients could say in `{}` who they are", name.value);
            let hint = "leave it out, or let `identity-headers` tell it in another field";
            making.error(name.span, "metadata", what, hint);
            return None;
        }
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
            metadata: self.metadata.iter().map(|name| name.value.to_string()).collect(),
            longest: self.max_message.len(),
        }))
    }
}
