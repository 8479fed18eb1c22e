//! The action `portal`: a page that shows APIs to the people who call them.
//!
//! The page is three files of our own, without anything from elsewhere, under a policy that lets nothing
//! else in. What it shows comes as JSON from beside it, so that others may read the same:
//!
//! | request, below the path of the route | answer |
//! |---|---|
//! | `GET /` | the page, with `portal.css` and `portal.js` |
//! | `GET /apis.json` | the APIs and their versions; who asks, how often they called each, and what they used of quotas |
//! | `GET /documents/API/VERSION.json` | the OpenAPI document of a version |
//! | `GET /keys` | the keys of who asks |
//! | `POST /keys`, `POST /keys/ID/rotate`, `DELETE /keys/ID` | makes one, replaces one, ends one |
//!
//! Who asks is whom the policies of the route have found. What changes something needs the field
//! `X-Portal`, which no form and no page of another origin can send, and comes from no other origin.

mod keys;
mod shown;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use transom_proxy::action::Action;
use transom_proxy::body::Body;
use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known, Values};
use transom_proxy::message::{Method, Request, Response};
use transom_proxy::policy::Answering;
use transom_settings::json::Value as Json;
use transom_settings::{Duration, Limit, Name, Spanned, settings};

pub use keys::{Answer, KeyDesk, NewOwnKey, OwnKey, Refused};
use keys::{Asking, Lifetimes};

use crate::catalog::{Api, now};
use crate::consumer::{Consumer, Consumers};
use crate::limit::meter::Meters;
use crate::origin::origin_of;

settings! {
    /// A page that shows APIs to the people who call them.
    pub struct Portal {
        /// What stands above it.
        pub title: String = "APIs".to_owned(),
        /// The APIs that it shows; those of the file that are `listed`, where none is named.
        pub apis: Vec<Spanned<Name>> = Vec::new(),
        /// Whether consumers may make, rotate and revoke keys of their own. That needs `data`.
        pub keys: bool = false,
        /// How long a key lives that is made here. One that is made with a key never outlives that.
        pub key_lifetime: Limit<Duration> = Limit::Unlimited,
        /// How long one lives that is made with a credential which ends itself, and is no key: a token, or a
        /// login.
        pub key_lifetime_by_token: Limit<Duration> = Limit::At(Duration::hours(90 * 24)),
    }
}

impl Portal {
    /// What it does, in one sentence.
    pub const SUMMARY: &'static str = "A page that shows APIs to the people who call them.";
}

/// What is sent with every answer: nothing runs but what is ours.
const GUARD: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'";

const FILES: [(&str, &str, &[u8]); 3] = [
    ("/", "text/html; charset=utf-8", include_bytes!("portal/index.html")),
    ("/portal.css", "text/css; charset=utf-8", include_bytes!("portal/portal.css")),
    ("/portal.js", "text/javascript; charset=utf-8", include_bytes!("portal/portal.js")),
];

/// A portal as it runs.
pub struct Showing {
    title: String,
    /// The path of the route, without a slash at its end.
    base: String,
    apis: Vec<Arc<Api>>,
    /// By the path below the base.
    documents: HashMap<String, Bytes>,
    guard: String,
    consumers: Consumers,
    meters: Arc<Meters>,
    desk: Option<Arc<dyn KeyDesk>>,
    lifetimes: Lifetimes,
}

impl Showing {
    /// At this path, with these APIs; `desk` is where keys are made.
    pub fn new(
        settings: &Portal,
        base: &str,
        apis: Vec<Arc<Api>>,
        consumers: Consumers,
        meters: Arc<Meters>,
        desk: Arc<dyn KeyDesk>,
    ) -> Self {
        let hosts = apis.iter().flat_map(|api| &api.hosts).filter(|host| *host != "*");
        let hosts: String = hosts.map(|host| format!(" http://{host} https://{host}")).collect();
        Showing {
            title: settings.title.clone(),
            base: base.trim_end_matches('/').to_owned(),
            documents: shown::documents(&apis),
            guard: format!("{GUARD}{hosts}"),
            apis,
            consumers,
            meters,
            desk: settings.keys.then_some(desk),
            lifetimes: Lifetimes {
                all: settings.key_lifetime.get().map(|time| time.get()),
                by_token: settings.key_lifetime_by_token.get().map(|time| time.get()),
            },
        }
    }

    async fn answer(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Response, Fault> {
        let Some(path) = request.path.strip_prefix(&*self.base).map(str::to_owned) else {
            return Err(Fault::new(Code::NotFound, "portal: the path was changed on the way"));
        };
        let reads = matches!(request.method, Method::Get | Method::Head);
        let consumer = self.consumer(exchange);
        if path == "/keys" || path.starts_with("/keys/") {
            let identity = exchange.identity.as_deref();
            let asking = consumer.zip(identity).map(|(consumer, identity)| Asking {
                consumer: consumer.name.clone(),
                whole: is_whole(identity, &consumer),
                until: self.lifetimes.of(identity, now()),
            });
            return self.keys(&path, asking, request).await;
        }
        if !reads {
            return Err(
                Fault::new(Code::MethodNotAllowed, "portal: it is only read").allow("GET, HEAD")
            );
        }
        if path.is_empty() {
            // the names in the page are relative to the directory
            let mut response = Response::new(308);
            response.fields.set(Known::Location, format!("{}/", self.base).as_bytes());
            return Ok(response);
        }
        if let Some((_, kind, bytes)) = FILES.iter().find(|(name, ..)| *name == path) {
            let mut response = answer_with(kind, Bytes::from_static(bytes));
            response.fields.set(Known::CacheControl, b"no-cache");
            return Ok(response);
        }
        if path == "/apis.json" {
            return Ok(json(200, &self.catalog(consumer.as_deref())));
        }
        match self.documents.get(&path) {
            Some(document) => {
                let mut response = answer_with("application/json", document.clone());
                response.fields.set(Known::CacheControl, b"no-cache");
                Ok(response)
            }
            None => Err(Fault::new(Code::NotFound, "portal: there is nothing of this name")),
        }
    }

    /// Who asks, if that is a consumer: whom a token calls like one is none.
    fn consumer(&self, exchange: &Exchange) -> Option<Arc<Consumer>> {
        let identity = exchange.identity.as_ref().filter(|identity| identity.is_consumer)?;
        self.consumers.named(&identity.name)
    }
}

/// Whether an identity may do all that its consumer may: a credential may have been made for less.
fn is_whole(identity: &Identity, consumer: &Consumer) -> bool {
    let all = |of: &[String], has: &[String]| of.iter().all(|one| has.contains(one));
    all(&consumer.scopes, &identity.scopes) && all(&consumer.groups, &identity.groups)
}

impl Action for Showing {
    fn kind(&self) -> &'static str {
        "portal"
    }

    fn describe(&self) -> String {
        let names: Vec<&str> = self.apis.iter().map(|api| &*api.name).collect();
        let keys = if self.desk.is_some() { ", and keys of one's own" } else { "" };
        format!(
            "portal with {}{keys}",
            if names.is_empty() { "no API".to_owned() } else { names.join(", ") }
        )
    }

    fn run<'a>(&'a self, exchange: &'a mut Exchange, mut request: Box<Request>) -> Answering<'a> {
        Box::pin(async move {
            let mut response = self.answer(exchange, &mut request).await?;
            let fields = &mut response.fields;
            fields.set("Content-Security-Policy", self.guard.as_bytes());
            fields.set("X-Content-Type-Options", b"nosniff");
            fields.set("Referrer-Policy", b"no-referrer");
            Ok(response)
        })
    }
}

/// Whether a page of this origin asks, or no page at all, and not by a form.
fn is_own(request: &Request) -> Result<(), &'static str> {
    let own = origin_of(request.scheme, &request.authority);
    if request.fields.get("X-Portal").is_none() {
        return Err("portal: there is no `X-Portal`");
    }
    match request.fields.only("Sec-Fetch-Site") {
        Values::None | Values::One(b"same-origin" | b"none") => {}
        _ => return Err("portal: a page of another site asks"),
    }
    match request.fields.only(Known::Origin) {
        Values::None => Ok(()),
        Values::One(origin) if origin.eq_ignore_ascii_case(own.as_bytes()) => Ok(()),
        _ => Err("portal: a page of another origin asks"),
    }
}

fn answer_with(kind: &str, body: Bytes) -> Response {
    let mut fields = Fields::new();
    fields.set(Known::ContentType, kind.as_bytes());
    Response { status: 200, fields, body: Body::of(body) }
}

/// What is for who asks now, and for nobody's cache.
fn json(status: u16, value: &Json) -> Response {
    let mut response = answer_with("application/json", value.to_string().into_bytes().into());
    response.status = status;
    response.fields.set(Known::CacheControl, b"no-store");
    response
}
