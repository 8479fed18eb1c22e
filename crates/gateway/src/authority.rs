//! Asking somebody else whether a request may pass.
//!
//! How a question is put and how an answer is read is the business of each kind; what follows is the
//! same for all and stands here: nothing passes unasked, an answer changes only what it may change,
//! and whoever wants it has answers remembered for a while.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use transom_proxy::body::Body;
use transom_proxy::chain::Next;
use transom_proxy::exchange::{Exchange, Identity, Wants};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known, Name};
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Duration, FromText, HeaderName, settings};

use crate::call::{Called, Caller};
use crate::kind::Kind;
use crate::making::Making;
use crate::token::remembered::Remembered;
use crate::token::seconds;

settings! {
    /// What happens with a request while nobody answers.
    pub enum Unanswered {
        /// It is refused with 503.
        Refuse = "refuse",
        /// It passes as if nobody had been asked, and the log says so.
        Pass = "pass",
    }

    /// For how long answers are remembered.
    pub struct Memory short(time) {
        /// How long; whole seconds. What was decided changes only after that.
        pub time: Duration,
        /// How many.
        pub most: u32 = 10_000,
    }
}

/// Answers to questions of a policy with these settings. They go on over reloads.
struct Answers<K> {
    settings: K,
    answers: Arc<Remembered<Verdict>>,
}

impl Memory {
    /// What was answered before a reload, if the policy is still the same.
    pub fn kept<K: Kind>(&self, settings: &K, making: &mut Making<'_>) -> Kept {
        let kept = making.keep(
            |kept: &Answers<K>| kept.settings == *settings,
            || Answers {
                settings: settings.clone(),
                answers: Arc::new(Remembered::new(self.most as usize)),
            },
        );
        (kept.answers.clone(), self.time)
    }
}

/// Answers, and for how long each is good.
pub type Kept = (Arc<Remembered<Verdict>>, Duration);

/// The longest answer that is read, in bytes.
pub const LONGEST_ANSWER: usize = 64 << 10;

/// Somebody who decides.
pub trait Authority: Send + Sync + 'static {
    /// The name of the kind of policy.
    const KIND: &'static str;

    /// For `transom explain`: who is asked.
    fn describe(&self) -> String;

    /// Fields of requests that only an answer may set: see [`Policy::reserves`].
    fn reserved(&self) -> &[HeaderName] {
        &[]
    }

    /// The longest body of a request that it is told, in bytes; nothing where it is told none.
    fn told(&self) -> Option<usize> {
        None
    }

    /// The question, with everything that the answer may depend on but the client's address. `body` is
    /// that of the request where it is told, and else empty.
    ///
    /// # Errors
    /// When the request cannot be told of, because it may be read in two ways.
    fn question(
        &self,
        exchange: &Exchange,
        request: &Request,
        body: &Bytes,
    ) -> Result<Request, Fault>;

    /// What an answer means.
    ///
    /// # Errors
    /// Why it means nothing.
    fn verdict(&self, answer: Called) -> Result<Verdict, String>;
}

/// What was decided.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Pass(Changes),
    Refuse(Refusal),
}

/// Name and value of a field.
pub type Field = (Box<str>, Box<[u8]>);

/// What a request that passes gets along.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    /// Of the request, in place of what stands there.
    pub set: Vec<Field>,
    /// Of the request, beside what stands there.
    pub append: Vec<Field>,
    /// Of the request.
    pub remove: Vec<Box<str>>,
    /// Of the response to it.
    pub response: Vec<Field>,
    /// Who asks, where nobody has found that out before.
    pub name: Option<Arc<str>>,
}

/// What a request that does not pass is answered with.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub status: u16,
    pub fields: Vec<Field>,
    pub body: Bytes,
    /// For the log.
    pub why: String,
}

/// A field that an answer may set: none that frames a message or belongs to one hop.
pub fn may_set(name: &str, value: &[u8]) -> bool {
    let known = Known::of(name.as_bytes());
    let ours = known.is_some_and(|known| {
        matches!(
            known,
            Known::Connection
                | Known::ContentLength
                | Known::Host
                | Known::Http2Settings
                | Known::KeepAlive
                | Known::ProxyConnection
                | Known::Te
                | Known::Trailer
                | Known::TransferEncoding
                | Known::Upgrade
        )
    });
    !ours
        && HeaderName::from_text(name).is_ok()
        && value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// The fields of `from` with one of these names.
pub fn copied(names: &[HeaderName], from: &Fields) -> Vec<Field> {
    let values = |name: &HeaderName| {
        let values = from.all(&**name).filter(|value| may_set(name, value));
        values.map(|value| (Box::from(&**name), Box::from(value))).collect::<Vec<Field>>()
    };
    names.iter().flat_map(values).collect()
}

impl Changes {
    /// Of the fields of the request only these, where any are named.
    #[must_use]
    pub fn only(mut self, names: &[HeaderName]) -> Self {
        if !names.is_empty() {
            let named = |(name, _): &Field| names.iter().any(|one| one.eq_ignore_ascii_case(name));
            self.set.retain(named);
            self.append.retain(named);
        }
        self
    }

    fn apply(&self, by: &'static str, exchange: &mut Exchange, fields: &mut Fields) {
        for name in &self.remove {
            fields.remove(&**name);
        }
        for (index, (name, value)) in self.set.iter().enumerate() {
            // of several values of one name, the first takes the place of what stands there
            let again = self.set[..index].iter().any(|(other, _)| other == name);
            match again {
                true => fields.append(&**name, value),
                false => fields.set(&**name, value),
            }
        }
        for (name, value) in &self.append {
            fields.append(&**name, value);
        }
        if let Some(name) = &self.name
            && exchange.identity.is_none()
        {
            let identity = Identity { name: name.clone(), by, ..Identity::default() };
            exchange.identity = Some(Arc::new(identity));
        }
    }
}

impl Refusal {
    fn fault(&self) -> Fault {
        let code = match self.status {
            401 => Code::Unauthenticated,
            429 => Code::RateLimited,
            500.. => Code::AuthorityUnavailable,
            _ => Code::Forbidden,
        };
        Fault::new(code, self.why.clone())
    }

    fn answer(&self, exchange: &mut Exchange) -> Result<Response, Fault> {
        if exchange.asked.wants == Wants::Grpc {
            return Err(self.fault());
        }
        if self.status >= 400 {
            exchange.record.fail(self.fault());
        }
        let mut response = Response::new(self.status);
        for (name, value) in &self.fields {
            response.fields.append(&**name, value);
        }
        if !response.fields.has(Known::CacheControl) {
            response.fields.append(Known::CacheControl, b"no-store");
        }
        response.body = Body::of(self.body.clone());
        Ok(response)
    }
}

/// The policy that asks.
pub struct Asking<A> {
    pub authority: A,
    pub caller: Caller,
    pub unanswered: Unanswered,
    /// Its own name, where it only tries.
    pub dry_run: Option<Arc<str>>,
    pub remembered: Option<Kept>,
}

impl<A: Authority> Policy for Asking<A> {
    fn kind(&self) -> &'static str {
        A::KIND
    }

    fn stage(&self) -> Stage {
        Stage::Authorize
    }

    fn describe(&self) -> String {
        let dry = if self.dry_run.is_some() { ", without consequences" } else { "" };
        format!("asks {}{dry}", self.authority.describe())
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.authority.reserved().to_vec()
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let body = match self.authority.told() {
                Some(most) => whole(&mut request, most, A::KIND).await?,
                None => Bytes::new(),
            };
            let question = self.authority.question(exchange, &request, &body)?;
            let verdict = match self.ask(exchange, question).await {
                Ok(verdict) => verdict,
                Err(fault) if self.dry_run.is_some() || self.unanswered == Unanswered::Pass => {
                    if self.unanswered == Unanswered::Refuse {
                        self.dry_run.iter().for_each(|name| exchange.record.would_refuse(name));
                    }
                    exchange.record.remark(format!("passes unasked: {}", fault.detail()));
                    return Ok(next.run(exchange, request).await);
                }
                Err(fault) => return Err(fault),
            };
            let changes = match &*verdict {
                Verdict::Pass(changes) => changes,
                Verdict::Refuse(refusal) => {
                    let Some(name) = &self.dry_run else { return refusal.answer(exchange) };
                    exchange.record.would_refuse(name);
                    exchange.record.remark(format!("would be refused: {}", refusal.why));
                    return Ok(next.run(exchange, request).await);
                }
            };
            changes.apply(A::KIND, exchange, &mut request.fields);
            let mut response = next.run(exchange, request).await;
            for (name, value) in &changes.response {
                response.fields.append(&**name, value);
            }
            Ok(response)
        })
    }
}

impl<A: Authority> Asking<A> {
    async fn ask(&self, exchange: &Exchange, question: Request) -> Result<Arc<Verdict>, Fault> {
        let Some((remembered, time)) = &self.remembered else {
            return self.call(exchange, question).await.map(Arc::new);
        };
        let key = key(exchange, &question);
        let now = seconds(SystemTime::now());
        if let Some(verdict) = remembered.get(&key, now) {
            return Ok(verdict);
        }
        let verdict = Arc::new(self.call(exchange, question).await?);
        let until = now.saturating_add(i64::try_from(time.get().as_secs()).unwrap_or(i64::MAX));
        remembered.insert(&key, verdict.clone(), until, now);
        Ok(verdict)
    }

    async fn call(&self, exchange: &Exchange, question: Request) -> Result<Verdict, Fault> {
        let unavailable = |why: String| {
            let who = self.authority.describe();
            Fault::new(Code::AuthorityUnavailable, format!("{who}: {why}"))
        };
        // Apart, so that a policy that remembers does not carry the size of a call.
        let called = Box::pin(self.caller.call_for(exchange, question)).await;
        let called = called.map_err(|fault| unavailable(fault.to_string()))?;
        self.authority.verdict(called).map_err(unavailable)
    }
}

/// The body of a request, which it keeps.
async fn whole(request: &mut Request, most: usize, kind: &str) -> Result<Bytes, Fault> {
    let Some(body) = request.body.whole(most).await? else {
        let why = format!("{kind}: the body is longer than `body`");
        return Err(Fault::new(Code::TooLarge, why));
    };
    request.body = if body.is_empty() { Body::Empty } else { Body::of(body.clone()) };
    Ok(body)
}

/// Everything that an answer may depend on. Two questions with the same key are the same question.
fn key(exchange: &Exchange, question: &Request) -> Vec<u8> {
    let mut key = exchange.client.to_string().into_bytes();
    let query = question.query.as_deref().unwrap_or_default();
    for part in [exchange.asked.scheme, &exchange.asked.authority, question.method.as_str()] {
        key.push(b'\n');
        key.extend_from_slice(part.as_bytes());
    }
    for part in [&*question.authority, &question.path, query] {
        key.push(b'\n');
        key.extend_from_slice(part.as_bytes());
    }
    key.push(b'\n');
    question.fields.write(&mut key);
    // or the beginning of a body could be taken for a field
    key.extend_from_slice(b"\r\n");
    question.body.look(|bytes| key.extend_from_slice(bytes));
    key
}

/// The value of a field that names somebody.
pub fn name_in(fields: &Fields, field: &HeaderName) -> Option<Arc<str>> {
    let value = fields.get(Name::of(field.as_bytes()))?;
    std::str::from_utf8(value).ok().filter(|name| !name.is_empty()).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use transom_net::Worker;
    use transom_proxy::local::Local;
    use transom_proxy::message::Method;

    use super::*;

    #[test]
    fn gw_11_the_beginning_of_a_body_is_never_taken_for_a_field() {
        let exchange = Exchange::alone(&Rc::new(Local::new(Worker::new(0))));
        let asked = |fields: &[(&str, &str)], body: &'static str| {
            let mut question = Request::new(Method::Post, "a", "/");
            fields.iter().for_each(|(name, value)| question.fields.append(*name, value.as_bytes()));
            question.body = Body::of(body);
            key(&exchange, &question)
        };
        let two = asked(&[("X-A", "1"), ("X-B", "2")], "{}");
        assert_eq!(two, asked(&[("X-A", "1"), ("X-B", "2")], "{}"));
        assert_ne!(two, asked(&[("X-A", "1")], "X-B: 2\r\n{}"));
        assert_ne!(asked(&[], "X-A: 1\r\n"), asked(&[("X-A", "1")], ""));
    }

    #[test]
    fn answers_set_no_field_that_frames_a_message() {
        for (name, value, expected) in [
            ("x-user", "ada", true),
            ("Set-Cookie", "a=b", true),
            ("x-user", "ada\r\nx-admin: 1", false),
            ("x-user", "a\0", false),
            ("x user", "ada", false),
            (":path", "/", false),
            ("", "", false),
            ("Host", "a", false),
            ("transfer-encoding", "chunked", false),
            ("TE", "trailers", false),
            ("connection", "x-user", false),
            ("content-length", "0", false),
            ("upgrade", "h2c", false),
        ] {
            assert_eq!(may_set(name, value.as_bytes()), expected, "{name}: {value:?}");
        }
    }
}
