//! # idempotency
//!
//! **What it does.** Lets a client ask again without a thing being done twice, such as a payment: it
//! sends a key of its choice in `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header). The first
//! request with a key goes to the endpoint, and its answer is kept; whoever asks again with the key gets
//! that answer, with the same status, fields and body, and `Idempotent-Replayed: true`. Whoever asks
//! again while the first is under way waits for its answer. A client that goes away does not break off
//! the first request: its answer is kept for when the client comes back.
//!
//! Kept is whatever the endpoint has answered, but for answers longer than `max-response`, and errors of
//! the server (5xx) unless `server-errors` is set. Where the endpoint was not reached at all, the next
//! request with the key is the first. Where it may have been reached and no answer came, nobody knows
//! whether it has been done: such a key is refused with 409 as long as it is kept, unless `lost: again`
//! lets the next request through, for endpoints that look at the key themselves.
//!
//! Traps. Answers are kept in the memory of this process: they are gone after a restart, and another
//! process knows nothing of them; route by the key (`algorithm: hash`) where there are several. When
//! `memory` is full the oldest answers are forgotten before their time. A body longer than `max-body` is
//! refused: it has to be read whole to know a request again.
//!
//! **When it runs.** Stage `store`, next to the action, so that what others check is checked each time.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   pay-once: { idempotency: { required: true, keep: 24h } }
//! ```
//!
//! **What the client sees.** `bad-request` (400) where the key is missing and `required`, or is no key;
//! `key-reused` (422) where the key was used for another request; `outcome-unknown` (409) as said above;
//! `too-large` (413).

use std::sync::Arc;
use std::time::{Duration as Time, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::oneshot;
use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault, Retry};
use transom_proxy::fields::{Known, Values};
use transom_proxy::message::{Request, Response};
use transom_proxy::patience::within;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::record::Record;
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::{ByteSize, Duration, HeaderName, Method, settings};

use crate::kind::Kind;
use crate::limit::by::By;
use crate::making::Making;

mod joined;
mod store;

use joined::Read;
use store::{Answer, Bounds, Digest, First, Found, Store};

settings! {
    /// Lets a client ask again without a thing being done twice.
    pub struct Idempotency {
        /// The field that the key stands in.
        pub header: HeaderName = HeaderName::known("idempotency-key"),
        /// Methods for which it counts. Others pass.
        pub methods: Vec<Method> = vec![Method::known("POST"), Method::known("PATCH")],
        /// Whether requests without a key are refused; otherwise they pass.
        pub required: bool = false,
        /// Whose the key is: `consumer` (the client's address where it is nobody), `client`, `all`, or a
        /// text with variables. Two may use the same key for different things.
        pub by: By = By::Consumer,
        /// How long an answer is kept.
        pub keep: Duration = Duration::hours(24),
        /// How long one waits that asks again while the first is under way.
        pub wait: Duration = Duration::seconds(30),
        /// The longest body of a request.
        pub max_body: ByteSize = ByteSize::mib(1),
        /// The longest body of an answer that is kept.
        pub max_response: ByteSize = ByteSize::mib(1),
        /// How much all answers together may take.
        pub memory: ByteSize = ByteSize::mib(64),
        /// Whether errors of the endpoint (5xx) are kept as answers.
        pub server_errors: bool = false,
        /// What becomes of a key whose first request may have reached the endpoint, if no answer came.
        pub lost: Lost = Lost::Refuse,
    }

    /// What becomes of a key whose outcome nobody knows.
    pub enum Lost {
        /// Further requests with it are refused.
        Refuse = "refuse",
        /// The next request with it is the first.
        Again = "again",
    }
}

impl Kind for Idempotency {
    const NAME: &'static str = "idempotency";
    const SUMMARY: &'static str = "Lets a client ask again without a thing being done twice.";
    const STAGE: Stage = Stage::Store;

    fn templates(&self) -> Vec<&Template> {
        self.by.template().into_iter().collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let store = making.keep(|_| true, Store::default);
        Some(Arc::new(Once { rule: Arc::new(self.clone()), store }))
    }
}

struct Once {
    rule: Arc<Idempotency>,
    store: Arc<Store>,
}

/// How long a key may be.
const LONGEST: usize = 255;

impl Once {
    /// The key of a request, if it has one.
    fn key(&self, request: &Request) -> Result<Option<Vec<u8>>, Fault> {
        let bad = |why: String| Fault::new(Code::BadRequest, why);
        let header = &*self.rule.header;
        let value = match request.fields.only(header) {
            Values::None if self.rule.required => {
                return Err(bad(format!("there is no `{header}`, which is required")));
            }
            Values::None => return Ok(None),
            Values::One(value) => value,
            Values::Many => return Err(bad(format!("there are several `{header}`"))),
        };
        // a string of a structured field; many send the bare key
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let key = quoted.unwrap_or(value);
        let fits = (1..=LONGEST).contains(&key.len())
            && key.iter().all(|c| (0x20..0x7f).contains(c) && !matches!(c, b'"' | b'\\'));
        match fits {
            true => Ok(Some(key.to_vec())),
            false => Err(bad(format!("`{header}` is not a key of 1 to {LONGEST} letters"))),
        }
    }

    /// Reads the body, and says by what the request is known again.
    async fn fingerprint(&self, request: &mut Request) -> Result<Digest, Fault> {
        let Some(body) = request.body.whole(self.rule.max_body.len()).await? else {
            return Err(Fault::new(Code::TooLarge, "the body is longer than `max-body`"));
        };
        let query = request.query.as_deref().unwrap_or_default();
        let kind = request.fields.get(Known::ContentType).unwrap_or_default();
        let method = request.method.as_str().as_bytes();
        let parts = [method, request.path.as_bytes(), query.as_bytes(), kind, &body];
        let fingerprint = digest(&parts);
        request.body = Body::of(body);
        Ok(fingerprint)
    }
}

/// Of these parts, none of which can be taken for a part of another.
fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

impl Policy for Once {
    fn kind(&self) -> &'static str {
        Idempotency::NAME
    }

    fn stage(&self) -> Stage {
        Idempotency::STAGE
    }

    fn describe(&self) -> String {
        let required = if self.rule.required { ", which is required" } else { "" };
        format!("once for each {}{required}, kept for {}", &*self.rule.header, self.rule.keep)
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Request,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            if !self.rule.methods.iter().any(|method| **method == *request.method.as_str()) {
                return Ok(next.run(exchange, request).await);
            }
            let Some(key) = self.key(&request)? else {
                return Ok(next.run(exchange, request).await);
            };
            let fingerprint = self.fingerprint(&mut request).await?;
            let mut whose = Vec::new();
            self.by(exchange, &request, &mut whose);
            let route = exchange.route().map_or(&[][..], |route| route.name.as_bytes());
            let key = digest(&[route, &whose, &key]);
            let bounds = Bounds { keep: self.rule.keep.get(), memory: self.rule.memory.len() };
            let by = Instant::now() + self.rule.wait.get();
            loop {
                let now = Instant::now();
                match self.store.ask(key, fingerprint, now, bounds) {
                    Found::Nothing(first) => {
                        return self.first(exchange, request, next, first).await;
                    }
                    Found::Answered(answer) => return Ok(again(&answer)),
                    Found::Another => {
                        let detail = "the key was used for another request";
                        return Err(Fault::new(Code::KeyReused, detail));
                    }
                    Found::Lost => {
                        let detail = "nobody knows what became of the first request with this key";
                        return Err(Fault::new(Code::OutcomeUnknown, detail));
                    }
                    Found::UnderWay(mut over) => {
                        let worker = exchange.local.worker.clone();
                        let left = by.saturating_duration_since(now);
                        // it never changes, it only ends
                        if within(&worker, left, over.changed()).await.is_none() {
                            let detail = "the first request with this key is still under way";
                            let fault = Fault::new(Code::OutcomeUnknown, detail);
                            return Err(fault.retry_after(AGAIN));
                        }
                    }
                }
            }
        })
    }
}

/// When one may come again whose first request is still under way.
const AGAIN: Time = Time::from_secs(1);

impl Once {
    fn by(&self, exchange: &Exchange, request: &Request, out: &mut Vec<u8>) {
        self.rule.by.write(exchange, request, out);
    }

    /// Sends the request on, beside the exchange: it goes on when the client has gone.
    async fn first(
        &self,
        exchange: &mut Exchange,
        request: Request,
        next: Next,
        first: First,
    ) -> Result<Response, Fault> {
        let mut aside = exchange.aside();
        aside.identity = exchange.identity.clone();
        aside.captures = exchange.captures.clone();
        // what others hold for the exchange is held as long as the request is under way
        aside.extensions = std::mem::take(&mut exchange.extensions);
        aside.started = exchange.started;
        let (said, heard) = oneshot::channel();
        let rule = self.rule.clone();
        exchange.local.aside.start("idempotency", async move {
            let response = next.run(&mut aside, request).await;
            let response = keep(&rule, first, &aside.record, response).await;
            let _ = said.send((response, aside.extensions, aside.record));
        });
        let Ok((response, extensions, record)) = heard.await else {
            return Err(Fault::new(Code::Internal, "the request was broken off"));
        };
        exchange.extensions = extensions;
        follow(&mut exchange.record, record);
        response
    }
}

/// What happened beside belongs to the exchange.
fn follow(record: &mut Record, aside: Record) {
    record.fault = aside.fault;
    record.detail = aside.detail;
    record.attempts = aside.attempts;
    record.endpoint = aside.endpoint;
    record.reused = aside.reused;
    record.upstream = aside.upstream;
    record.connected = aside.connected;
    record.answered = aside.answered;
    record.dry_run = record.dry_run.take().or(aside.dry_run);
}

/// Keeps the answer to the first request, if it is one that is kept.
async fn keep(
    rule: &Idempotency,
    first: First,
    record: &Record,
    mut response: Response,
) -> Result<Response, Fault> {
    match record.fault {
        Some(code) if untouched(code) || rule.lost == Lost::Again => {
            first.forget();
            return Ok(response);
        }
        // dropping it without a word says that it is lost
        Some(_) => return Ok(response),
        None => {}
    }
    if response.status >= 500 && !rule.server_errors {
        first.forget();
        return Ok(response);
    }
    match joined::read(std::mem::take(&mut response.body), rule.max_response.len()).await? {
        Read::Whole(body) => {
            response.body = Body::of(body.clone());
            let (status, fields) = (response.status, response.fields.clone());
            first.answered(Arc::new(Answer { status, fields, body }), Instant::now());
        }
        // it was done, and cannot be said again: dropping it without a word says so
        Read::Longer(body) => response.body = body,
    }
    Ok(response)
}

/// Whether nothing of the request has been done where this was the fault.
fn untouched(code: Code) -> bool {
    let maybe = matches!(
        code,
        Code::BadResponse
            | Code::IncompleteResponse
            | Code::LargeResponseFields
            | Code::ResponseTimeout
    );
    !maybe && (code.row().retry != Retry::IfIdempotent) && code != Code::Internal
}

/// What was answered before.
fn again(answer: &Answer) -> Response {
    let mut response = Response::new(answer.status);
    response.fields = answer.fields.clone();
    response.fields.set("Idempotent-Replayed", b"true");
    response.body = Body::of(answer.body.clone());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_have_been_done_may_be_done_again() {
        for (code, expected) in [
            (Code::ConnectRefused, true),
            (Code::ConnectTimeout, true),
            (Code::StreamRefused, true),
            (Code::NoEndpoint, true),
            (Code::PoolFull, true),
            (Code::TooLarge, true),
            (Code::BadResponse, false),
            (Code::ResponseTimeout, false),
            (Code::IncompleteResponse, false),
            (Code::Internal, false),
        ] {
            assert_eq!(untouched(code), expected, "{code:?}");
        }
    }

    #[test]
    fn no_part_can_be_taken_for_another() {
        assert_ne!(digest(&[b"a", b"bc"]), digest(&[b"ab", b"c"]));
        assert_eq!(digest(&[b"a", b"bc"]), digest(&[b"a", b"bc"]));
    }
}
