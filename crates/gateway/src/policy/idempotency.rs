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
//! process knows nothing of them, unless they are `shared`. When
//! `memory` is full the oldest answers are forgotten before their time. A body longer than `max-body` is
//! refused: it has to be read whole to know a request again.
//!
//! With `shared`, several processes know the keys together through Redis or Valkey: the answer that one
//! has had is given again by another, and a request that is under way at one is waited for at another. An
//! entry is made there before the request goes to the endpoint (a round trip), and the answer is there
//! before the client has it. A process that dies with a request under way leaves a key whose outcome
//! nobody knows; the others notice after five seconds. While Redis is away, requests with a key are refused
//! with 503, unless `away: local` lets each process remember by itself: then a thing may be done once by
//! each. Answers lie in Redis as they are, with all that stands in them: protect it as you protect them. The
//! processes must have the same names of routes.
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
//! `too-large` (413); `authority-unavailable` (503) while Redis is away.

use std::sync::Arc;
use std::time::{Duration as Time, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::oneshot;
use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Known, Values};
use transom_proxy::message::{Request, Response};
use transom_proxy::patience::within;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::record::Record;
use transom_proxy::stage::Stage;
use transom_proxy::variables::Template;
use transom_settings::{ByteSize, Duration, HeaderName, Method, Secret, Spanned, Target, settings};

use crate::kind::Kind;
use crate::limit::by::By;
use crate::making::Making;
use crate::redis::asking::{Asking, Bringing};
use crate::redis::link::Entrance;

mod first;
mod remote;
mod store;

use first::Running;
use remote::Remote;
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
        /// Through which Redis or Valkey several processes know the keys together.
        pub shared: Option<SharedKeys> = None,
    }

    /// Through which Redis or Valkey several processes know the keys together.
    pub struct SharedKeys short(redis) {
        /// Its address, or a pool of which one takes writes. TLS is what the pool says, or
        /// `https://` before an address.
        pub redis: Spanned<Target>,
        /// Who asks (`AUTH`).
        pub user: Option<String> = None,
        /// The password (`AUTH`).
        pub password: Option<Secret> = None,
        /// The number of the database (`SELECT`).
        pub database: u32 = 0,
        /// What stands before each key.
        pub prefix: String = "transom".to_owned(),
        /// How long a request waits for Redis.
        pub patience: Duration = Duration::milliseconds(500),
        /// What holds while Redis is away.
        pub away: Away = Away::Closed,
    }

    /// What holds while Redis is away.
    pub enum Away {
        /// Each process remembers by itself.
        Local = "local",
        /// Requests with a key are refused.
        Closed = "closed",
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

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        self.shared.iter().map(|shared| ("shared.redis", &shared.redis)).collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let store = making.keep(|_| true, Store::default);
        let remote = match &self.shared {
            Some(shared) => Some(self.remote(shared, making)?),
            None => None,
        };
        Some(Arc::new(Once { rule: Arc::new(self.clone()), store, remote }))
    }
}

impl Idempotency {
    fn remote(&self, shared: &SharedKeys, making: &mut Making<'_>) -> Option<Arc<Remote>> {
        if self.max_response.len() > LONGEST_SHARED {
            let what = format!("answers over {LONGEST_SHARED} bytes cannot be shared");
            let hint = "write `max-response: 16MiB` at most";
            making.error(shared.redis.span, "max-response", what, hint);
            return None;
        }
        let destination = making.destination(&shared.redis, "shared.redis")?;
        let asking = making.keep(|_| true, Asking::default);
        let owner = making.keep(|_| true, remote::Owner::default);
        let entrance = Entrance {
            user: shared.user.clone(),
            password: shared.password.clone(),
            database: shared.database,
        };
        let bringing = Bringing { asking: asking.clone(), destination, entrance };
        making.task("shared-keys", Arc::new(bringing));
        Some(Arc::new(Remote {
            asking,
            prefix: shared.prefix.clone(),
            owner,
            keep: self.keep.get(),
            patience: shared.patience.get(),
            again: self.lost == Lost::Again,
        }))
    }

    /// Whether nothing passes while Redis is away.
    fn is_closed(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.away == Away::Closed)
    }
}

/// The longest answer that is shared.
const LONGEST_SHARED: usize = 16 << 20;

struct Once {
    rule: Arc<Idempotency>,
    store: Arc<Store>,
    remote: Option<Arc<Remote>>,
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
        let shared = if self.remote.is_some() { ", shared with other processes" } else { "" };
        format!(
            "once for each {}{required}, kept for {}{shared}",
            &*self.rule.header, self.rule.keep
        )
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
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
                        return self
                            .first(exchange, request, next, (key, fingerprint), first)
                            .await;
                    }
                    Found::Answered(answer) => return Ok(again(&answer)),
                    Found::Another => return Err(another()),
                    Found::Lost => return Err(lost()),
                    Found::UnderWay(mut over) => {
                        let worker = exchange.local.worker.clone();
                        let left = by.saturating_duration_since(now);
                        // it never changes, it only ends
                        if within(&worker, left, over.changed()).await.is_none() {
                            return Err(under_way());
                        }
                    }
                }
            }
        })
    }
}

fn another() -> Fault {
    Fault::new(Code::KeyReused, "the key was used for another request")
}

fn lost() -> Fault {
    let detail = "nobody knows what became of the first request with this key";
    Fault::new(Code::OutcomeUnknown, detail)
}

fn under_way() -> Fault {
    let detail = "the first request with this key is still under way";
    Fault::new(Code::OutcomeUnknown, detail).retry_after(AGAIN)
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
        request: Box<Request>,
        next: Next,
        (key, fingerprint): (Digest, Digest),
        first: First,
    ) -> Result<Response, Fault> {
        let mut aside = exchange.aside();
        aside.identity = exchange.identity.clone();
        aside.captures = exchange.captures.clone();
        // what others hold for the exchange is held as long as the request is under way
        aside.extensions = std::mem::take(&mut exchange.extensions);
        aside.started = exchange.started;
        let (said, heard) = oneshot::channel();
        let running = Running {
            rule: self.rule.clone(),
            remote: self.remote.clone(),
            key,
            fingerprint,
            first,
        };
        exchange.local.aside.start("idempotency", async move {
            let (response, untold) = running.run(&mut aside, request, next).await;
            let worker = aside.local.worker.clone();
            let _ = said.send((response, aside.extensions, aside.record));
            if let Some(untold) = untold {
                untold.tell(&worker).await;
            }
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
    fn no_part_can_be_taken_for_another() {
        assert_ne!(digest(&[b"a", b"bc"]), digest(&[b"ab", b"c"]));
        assert_eq!(digest(&[b"a", b"bc"]), digest(&[b"a", b"bc"]));
    }
}
