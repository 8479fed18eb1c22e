//! # mock
//!
//! **What it does.** Answers in the place of the endpoint, which is never asked: for what is not built
//! yet, or must not be disturbed. The route and its other policies are those that it will have.
//!
//! **When it runs.** Stage `store`, innermost: all that would refuse, count or change a request does.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   later:
//!     mock:
//!       content-type: application/json
//!       body: '{ "id": 7, "status": "paid" }'
//!       delay: 120ms
//!   from-the-document: { mock: { openapi: orders.yaml, base: /api } }
//! ```
//!
//! With `openapi` the answer is the first example that the document has for the operation, of the
//! lowest status; `Prefer: code=404` or `Prefer: example=NAME` asks for another (RFC 7240). Where there is no
//! example, one is put together of what the schema says. In a version of an API that has a document,
//! `mock: {}` takes that.
//!
//! **What the client sees.** The answer, with the field `Transom-Mock`, so that nobody takes it for the
//! real one; `not-found` for what the document does not describe.

mod examples;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fields::{Fields, Known, Name};
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Duration, HeaderName, HeaderValue, Map, Spanned, Status, settings};

use self::examples::Examples;
use crate::kind::Kind;
use crate::making::Making;
use crate::openapi::Document;

settings! {
    /// Answers in the place of the endpoint.
    pub struct Mock {
        /// An OpenAPI document whose examples are the answers.
        pub openapi: Option<Spanned<PathBuf>> = None,
        /// What stands before the paths of the document; without it, the path of its first server.
        pub base: Option<String> = None,
        /// The status.
        pub status: Status = Status::of(200),
        /// The body.
        pub body: String = String::new(),
        /// The type of the body; plain text where it is not said.
        pub content_type: Option<HeaderValue> = None,
        /// Further header fields.
        pub headers: Map<HeaderName, HeaderValue> = Map::new(),
        /// How long the answer takes.
        pub delay: Duration = Duration::seconds(0),
    }
}

impl Kind for Mock {
    const NAME: &'static str = "mock";
    const SUMMARY: &'static str = "Answers in the place of the endpoint.";
    const STAGE: Stage = Stage::Store;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        self.openapi.iter().collect()
    }

    fn described(&mut self, document: &Spanned<PathBuf>, base: &str) {
        // where an answer is written, that is meant
        if *self == (Mock { delay: self.delay, ..Mock::default() }) {
            self.openapi = Some(document.clone());
            self.base = Some(base.to_owned());
        }
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let examples = match &self.openapi {
            None => None,
            Some(file) => match Document::read(&making.file(file)?) {
                Ok(document) => {
                    let base = self.base.clone().unwrap_or_else(|| document.base.clone());
                    Some(Examples { document, base })
                }
                Err(why) => {
                    let what = format!("`{}` cannot be used: {why}", file.display());
                    making.error(file.span, "openapi", what, "correct the document");
                    return None;
                }
            },
        };
        let mut fields = Fields::new();
        let own = self.content_type.as_deref();
        if own.is_some() || !self.body.is_empty() {
            let own = own.unwrap_or("text/plain; charset=utf-8");
            fields.set(Known::ContentType, own.as_bytes());
        }
        for (name, value) in self.headers.iter() {
            fields.set(Name::of(name.as_bytes()), value.as_bytes());
        }
        Some(Arc::new(Mocking {
            examples,
            status: self.status.code(),
            fields,
            body: Bytes::copy_from_slice(self.body.as_bytes()),
            delay: self.delay.get(),
        }))
    }
}

struct Mocking {
    examples: Option<Examples>,
    status: u16,
    fields: Fields,
    body: Bytes,
    delay: std::time::Duration,
}

impl Policy for Mocking {
    fn kind(&self) -> &'static str {
        Mock::NAME
    }

    fn stage(&self) -> Stage {
        Mock::STAGE
    }

    fn describe(&self) -> String {
        match &self.examples {
            Some(examples) => {
                format!(
                    "answers with examples of `{}`; no endpoint is asked",
                    examples.document.title
                )
            }
            None => {
                let (status, length) = (self.status, self.body.len());
                format!("answers {status} with {length} bytes; no endpoint is asked")
            }
        }
    }

    fn handle<'a>(&'a self, _: &'a mut Exchange, request: Box<Request>, _: Next) -> Answering<'a> {
        Box::pin(async move {
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            if let Some(examples) = &self.examples {
                return examples.answer(&request);
            }
            let mut response = Response::new(self.status);
            response.fields = self.fields.clone();
            response.fields.append("Transom-Mock", b"static");
            response.body = Body::of(self.body.clone());
            Ok(response)
        })
    }
}
