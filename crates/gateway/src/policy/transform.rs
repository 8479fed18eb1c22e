//! # transform
//!
//! **What it does.** Changes requests before endpoints see them, and responses before clients do:
//! method, path, query, header fields, cookies, status, and bodies. A body in JSON, XML or as a form is
//! changed by declared edits, then by a jq program, then by a template, in that order, and written in the form
//! that is wanted.
//!
//! **When it runs.** Stage `shape`: after who asks is known and counted, before the cache.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   orders-as-before:
//!     transform:
//!       request:
//!         path: /v2/orders/{capture.id}
//!         headers: { set: { x-caller: "{client.address}" }, remove: [x-debug] }
//!         query: { rename: { q: search } }
//!         body: { edit: { rename: { customer.fullName: name }, set: { channel: web } } }
//!       response:
//!         body: { edit: { remove: [internal, items.*.cost] }, jq: ".items |= sort_by(.name)" }
//! ```
//!
//! **What the client sees.** `bad-request` for a body that is not what its type says, with the place in
//! `errors`; `too-large` for one over `max-body`, `unsupported-media` for a compressed one. A response
//! that cannot be read or is over `max-body` is a `bad-response`.
//!
//! **Limits and cost.** Without `body` nothing is held back. A body that is changed is read whole, up to
//! `max-body`. Programs run beside the worker, for `timeout` at most, and at most 100 of their parts lie in
//! each other. A run has 250,000 steps, and 8 more for each value of the body: one for each value that `.[]`,
//! `range` or a round of `reduce` gives, one for each value of a list that is made or written, one for 64 bytes
//! of a text. Values in it are nested 200 deep at most, paths have 200 parts, a text times a number 10 MiB,
//! `range` counts 100,000 numbers, and `fromjson` reads 100 levels. Templates have a fixed amount of steps, and 2,000 bytes between two brackets. Length,
//! coding and digests are made right; `ETag` goes, as it was another body's.
//!
//! **Traps.** Where response bodies are changed, endpoints are asked for uncompressed and whole ones
//! (`Accept-Encoding` and `Range` go); one that compresses nevertheless is a `bad-response`.
//! Responses are changed only with the statuses in `response.statuses`, so that errors keep their shape.
//! XML and texts whose `charset` or declaration names another coding than UTF-8 are read as far as they are ASCII,
//! where it extends that, and otherwise not at all. Numbers of JSON beyond 64 bits lose digits. What `template` puts in is written as a value of the form
//! (a text in JSON has its quotes already); `| safe` puts it in as it is.

mod body;
mod cookies;
mod fields;
mod query;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Known;
use transom_proxy::message::{Method, Request, Response};
use transom_proxy::normalize;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::{
    ByteSize, Duration, List, Map, Method as MethodName, Spanned, Status, StatusPattern, settings,
};

use self::body::BodyShape;
use self::body::Shaping;
use self::cookies::CookieEdits;
use self::fields::FieldEdits;
use self::query::QueryEdits;
use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Changes requests and responses.
    pub struct Transform {
        /// Of the request that is sent on.
        pub request: RequestShape = RequestShape::default(),
        /// Of the response.
        pub response: ResponseShape = ResponseShape::default(),
        /// The largest body that is read to be changed.
        pub max_body: ByteSize = ByteSize::mib(1),
        /// How long a jq program may take.
        pub timeout: Duration = Duration::seconds(1),
    }

    /// Changes of a request.
    pub struct RequestShape {
        /// The method that the endpoint sees.
        pub method: Option<MethodName> = None,
        /// The path that the endpoint sees, with variables.
        pub path: Option<Spanned<Template>> = None,
        /// Changes of the query.
        pub query: QueryEdits = QueryEdits::default(),
        /// Changes of header fields.
        pub headers: FieldEdits = FieldEdits::default(),
        /// Changes of cookies.
        pub cookies: CookieEdits = CookieEdits::default(),
        /// Changes of the body.
        pub body: Option<BodyShape> = None,
    }

    /// Changes of a response.
    pub struct ResponseShape {
        /// Statuses that become others: `{ 404: 200, 5xx: 503 }`.
        pub status: Map<StatusPattern, Status> = Map::new(),
        /// Changes of header fields.
        pub headers: FieldEdits = FieldEdits::default(),
        /// Cookies that are not set.
        pub remove_cookies: List<String> = List::default(),
        /// The statuses of responses whose bodies are changed; without them, 2xx.
        pub statuses: Vec<StatusPattern> = Vec::new(),
        /// Changes of the body.
        pub body: Option<BodyShape> = None,
    }
}

impl Kind for Transform {
    const NAME: &'static str = "transform";
    const SUMMARY: &'static str = "Changes requests and responses, with their bodies.";
    const STAGE: Stage = Stage::Shape;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        let bodies = [&self.request.body, &self.response.body];
        bodies.into_iter().flatten().flat_map(BodyShape::files).collect()
    }

    fn templates(&self) -> Vec<&Template> {
        let mut all: Vec<&Template> = Vec::new();
        all.extend(self.request.path.iter().map(|path| &path.value));
        self.request.query.templates(&mut all);
        self.request.headers.templates(&mut all);
        self.request.cookies.templates(&mut all);
        self.response.headers.templates(&mut all);
        for body in [&self.request.body, &self.response.body].into_iter().flatten() {
            body.edit.templates(&mut all);
        }
        all
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let mut right = true;
        for (side, headers) in
            [("request", &self.request.headers), ("response", &self.response.headers)]
        {
            right &= headers.check(&format!("{side}.headers"), making);
        }
        if let Some(path) = &self.request.path
            && path.literal().is_some_and(|path| !path.starts_with('/'))
        {
            let what = format!("`{}` is no path", path.value);
            making.error(path.span, "request.path", what, "begin it with `/`");
            right = false;
        }
        let mut made = |side: &str, body: &Option<BodyShape>| match body {
            None => Some(None),
            Some(body) => {
                let key = format!("{side}.body");
                Shaping::new(body, self.max_body.len(), self.timeout.get(), &key, making).map(Some)
            }
        };
        let (request, response) =
            (made("request", &self.request.body), made("response", &self.response.body));
        let (request, response) = (request?, response?);
        right.then(|| {
            Arc::new(Transforming {
                method: self.request.method.as_ref().map(|method| Method::of(method)),
                request,
                response,
                written: self.clone(),
            }) as Arc<dyn Policy>
        })
    }
}

struct Transforming {
    written: Transform,
    method: Option<Method>,
    request: Option<Shaping>,
    response: Option<Shaping>,
}

impl Transforming {
    async fn shape_request(&self, exchange: &Exchange, request: &mut Request) -> Result<(), Fault> {
        let written = &self.written.request;
        if let Some(shaping) = &self.request {
            shaping.request(exchange, request).await?;
        }
        written.headers.apply(exchange, &mut request.fields);
        written.cookies.apply(exchange, &mut request.fields);
        if !written.query.is_empty() {
            let query = written.query.apply(exchange, request.query.as_deref().unwrap_or_default());
            request.query = (!query.is_empty()).then(|| Rc::from(query));
        }
        if let Some(path) = &written.path {
            request.path = canonical(exchange, path)?;
        }
        if let Some(method) = &self.method {
            request.method = method.clone();
        }
        Ok(())
    }

    async fn shape_response(
        &self,
        exchange: &Exchange,
        to: &Method,
        response: &mut Response,
    ) -> Result<(), Fault> {
        let written = &self.written.response;
        if let Some(shaping) = &self.response
            && is_meant(&written.statuses, response.status)
        {
            shaping.response(exchange, to, response).await?;
        }
        written.headers.apply(exchange, &mut response.fields);
        cookies::forget(&written.remove_cookies, &mut response.fields);
        let mut statuses = written.status.iter();
        let changed = statuses.find(|(pattern, _)| pattern.matches(response.status));
        if let Some((_, status)) = changed.filter(|_| response.status != 101) {
            response.status = status.code();
            if Response::is_bodyless(status.code(), to) {
                response.body = Body::Empty;
                response.fields.remove(Known::ContentLength);
            }
        }
        Ok(())
    }
}

/// Whether the bodies of responses with this status are changed.
fn is_meant(statuses: &[StatusPattern], status: u16) -> bool {
    match statuses {
        [] => (200..300).contains(&status),
        statuses => statuses.iter().any(|pattern| pattern.matches(status)),
    }
}

/// What the template makes of this exchange, in the one form that paths have (P-07).
fn canonical(exchange: &Exchange, path: &Template) -> Result<Rc<str>, Fault> {
    let mut made = Vec::new();
    path.write(exchange, &mut made);
    let mut room = Vec::new();
    let canonical = normalize::path(&made, exchange.site.paths, &mut room);
    let canonical = canonical
        .map_err(|error| Fault::new(Code::BadRequest, format!("transform: the path: {error}")))?;
    let text = std::str::from_utf8(canonical.bytes());
    text.map(Rc::from).map_err(|_| Fault::new(Code::BadRequest, "transform: the path is no text"))
}

impl Policy for Transforming {
    fn kind(&self) -> &'static str {
        Transform::NAME
    }

    fn stage(&self) -> Stage {
        Transform::STAGE
    }

    fn describe(&self) -> String {
        let (request, response) = (&self.written.request, &self.written.response);
        let mut told = Vec::new();
        let mut tell = |is: bool, what: &str| {
            if is {
                told.push(what.to_owned())
            }
        };
        tell(request.method.is_some(), "method");
        tell(request.path.is_some(), "path");
        tell(!request.query.is_empty(), "query");
        tell(!request.headers.is_empty(), "header of the request");
        tell(!request.cookies.is_empty(), "cookies");
        tell(request.body.is_some(), "body of the request");
        tell(!response.status.is_empty(), "status");
        tell(!response.headers.is_empty(), "header of the response");
        tell(response.body.is_some(), "body of the response");
        format!("changes {}", told.join(", "))
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            self.shape_request(exchange, &mut request).await?;
            if self.response.is_some() {
                body::ask_for_plain(&mut request.fields);
            }
            let asked = exchange.asked.method.clone();
            let mut response = next.run(exchange, request).await;
            self.shape_response(exchange, &asked, &mut response).await?;
            Ok(response)
        })
    }
}
