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
//! ```
//!
//! **What the client sees.** The answer, with the field `Transom-Mock`, so that nobody takes it for the
//! real one.

use std::sync::Arc;

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fields::{Fields, Known, Name};
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Duration, HeaderName, HeaderValue, Map, Status, settings};

use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Answers in the place of the endpoint.
    pub struct Mock {
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

    fn build(&self, _: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
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
            status: self.status.code(),
            fields,
            body: Bytes::copy_from_slice(self.body.as_bytes()),
            delay: self.delay.get(),
        }))
    }
}

struct Mocking {
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
        format!("answers {} with {} bytes; no endpoint is asked", self.status, self.body.len())
    }

    fn handle<'a>(&'a self, _: &'a mut Exchange, _: Request, _: Next) -> Answering<'a> {
        Box::pin(async move {
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            let mut response = Response::new(self.status);
            response.fields = self.fields.clone();
            response.fields.append("Transom-Mock", b"static");
            response.body = Body::of(self.body.clone());
            Ok(response)
        })
    }
}
