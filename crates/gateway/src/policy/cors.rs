//! # cors
//!
//! **What it does.** Lets scripts of other origins read what the route answers (Fetch §3.2). Preflights
//! are answered by Transom and never reach an endpoint. What an endpoint says of this itself is
//! replaced, so that browsers never see two opinions.
//!
//! **When it runs.** Stage `admit`: preflights carry no credentials, and browsers have to be told also
//! with refusals, or scripts would see none of them.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   scripts:
//!     cors:
//!       origins: [https://shop.example, "https://*.shop.example"]
//!       headers: [content-type, authorization]
//!       credentials: true
//! ```
//!
//! **What the client sees.** To a preflight 204 with what is allowed. A preflight of an origin that is
//! not allowed gets 204 without a word, which browsers take as no; a WebSocket handshake of one
//! gets `forbidden` (browsers ask no leave for those, and send cookies along); any other request
//! passes, and the script is not shown the response. That a request is stopped is no work of CORS: for
//! that there is `csrf`.
//!
//! **Limits and cost.** A comparison for each origin in the list; regular expressions are linear in the
//! origin.
//!
//! **Traps.** A route that is for some methods only must be for OPTIONS, too, or the preflight finds
//! none. Credentials are never allowed to every origin. `null` is the origin of any sandboxed
//! frame: it is allowed by `*` alone, or by an expression that says so. Responses differ by origin, so
//! `Vary` has `Origin`: caches between keep one for each.

mod rule;

use std::sync::Arc;

use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Fields;
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Duration, HeaderName, List, Method, OneOrMany, Spanned, settings};

use self::rule::{Asked, Rule};
use crate::kind::Kind;
use crate::making::Making;
use crate::origin::OriginPattern;

settings! {
    /// Lets scripts of other origins read responses.
    pub struct Cors {
        /// The origins: `https://shop.example`, `https://*.shop.example` for hosts below,
        /// `~REGEX` for the whole origin, or `*` for all.
        pub origins: OneOrMany<Spanned<OriginPattern>>,
        /// Methods that a script may use beyond GET, HEAD and POST.
        pub methods: List<Method> = vec![
            Method::known("GET"),
            Method::known("HEAD"),
            Method::known("POST"),
            Method::known("PUT"),
            Method::known("PATCH"),
            Method::known("DELETE"),
        ].into(),
        /// Fields that a script may set beyond those that are harmless; `*` is whichever it asks for.
        pub headers: List<HeaderName> = List::default(),
        /// Fields of the response that a script may read beyond those that are harmless.
        pub expose: List<HeaderName> = List::default(),
        /// Whether requests may carry cookies and other credentials. Not with the origin `*`.
        pub credentials: Spanned<bool> = false.into(),
        /// For how long browsers remember the answer to a preflight. They cap it themselves, at two
        /// hours or a day.
        pub max_age: Duration = Duration::seconds(600),
        /// Whether pages of the public internet may ask here, in a private network
        /// (Private Network Access).
        pub private_network: bool = false,
        /// Whether a WebSocket that a page of another origin opens passes: it is marked in the access
        /// log (`dry_run`) and counted in `transom_dry_run_total`. What scripts may read is not changed
        /// by it.
        pub dry_run: bool = false,
    }
}

impl Kind for Cors {
    const NAME: &'static str = "cors";
    const SUMMARY: &'static str = "Lets scripts of other origins read responses.";
    const STAGE: Stage = Stage::Admit;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let mut right = !self.origins.is_empty();
        if !right {
            let hint = "name the origins of the scripts, such as `https://shop.example`";
            making.error(making.place, "origins", "no origin is allowed", hint);
        }
        for origin in &self.origins {
            let any = origin.value == OriginPattern::Any;
            if any && self.credentials.value {
                let what = "credentials are never allowed to every origin: any page could act as the visitor";
                making.error(
                    self.credentials.span,
                    "credentials",
                    what,
                    "name the origins, or leave `credentials` out",
                );
                right = false;
            } else if origin.value.is_careless() {
                let what = format!("`{}` allows origins of strangers", origin.value);
                let hint = "write the dots as `\\.` and the whole host; `*` is every origin";
                making.error(origin.span, "origins", what, hint);
                right = false;
            }
        }
        let dry_run = self.dry_run.then(|| making.name.into());
        right.then(|| Arc::new(Sharing(Rule::of(self), dry_run)) as Arc<dyn Policy>)
    }
}

/// What it goes by; and its own name, where it only tries.
struct Sharing(Rule, Option<Arc<str>>);

impl Policy for Sharing {
    fn kind(&self) -> &'static str {
        Cors::NAME
    }

    fn stage(&self) -> Stage {
        Cors::STAGE
    }

    fn describe(&self) -> String {
        let origins: Vec<_> = self.0.origins.iter().map(ToString::to_string).collect();
        let with = if self.0.credentials { ", with credentials" } else { "" };
        format!("scripts of {} may read responses{with}", origins.join(", "))
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let asked = Asked::of(&request.method, &request.fields);
            if asked.is_preflight() {
                let mut response = Response::new(204);
                self.0.answer_preflight(&asked, &mut response.fields);
                return Ok(response);
            }
            let origin = asked.origin.filter(|origin| self.0.allows(origin)).map(str::to_owned);
            if request.upgrade.is_some() && asked.origin.is_some() && origin.is_none() {
                let fault = Fault::new(Code::Forbidden, "cors: a WebSocket of another origin");
                let Some(name) = &self.1 else { return Err(fault) };
                exchange.record.would_refuse(name);
                exchange.record.remark(format!("dry run: {}", fault.detail()));
            }
            let mut response = next.run(exchange, request).await;
            share(&self.0, origin.as_deref(), &mut response.fields);
            Ok(response)
        })
    }
}

/// Says in a response who may read it, whatever the endpoint said.
fn share(rule: &Rule, origin: Option<&str>, fields: &mut Fields) {
    rule::forget(fields);
    rule.vary(fields);
    if let Some(origin) = origin {
        rule.share(origin, fields);
    }
}
