//! Asks the parts, waits as long as it may, and makes one answer of what has come.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use transom_proxy::action::Action;
use transom_proxy::action::forward::HostRule;
use transom_proxy::answer::with_body;
use transom_proxy::body::Body;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Fields, Known};
use transom_proxy::message::{Method, Request, Response};
use transom_proxy::patience::Patience;
use transom_proxy::policy::Answering;
use transom_settings::StatusPattern;
use transom_settings::json::{self, Map, Value as Json};

use super::caching::Caching;
use super::join::Join;
use super::shape::{Shape, merge};
use super::text::{Asked, BODY, Data, KEYS, Text};
use super::worst::Worst;
use crate::call::{Called, Caller, OF_ITS_OWN};

/// What runs.
pub(super) struct Composition {
    /// In the order of the file, in which their answers are joined.
    pub(super) parts: Vec<Part>,
    /// An order in which no part comes before one that it waits for.
    pub(super) order: Vec<usize>,
    /// Whether a part says what the client's body says.
    pub(super) wants_body: bool,
    pub(super) timeout: Duration,
    /// The field that says whether all parts are there.
    pub(super) completed: String,
    pub(super) host: HostRule,
    pub(super) worst: Worst,
}

pub(super) struct Part {
    pub(super) name: String,
    pub(super) caller: Caller,
    pub(super) method: Method,
    pub(super) target: Text,
    pub(super) headers: Vec<(String, Text)>,
    pub(super) body: Option<Data>,
    /// Numbers of the parts that it waits for.
    pub(super) needs: Vec<usize>,
    pub(super) required: bool,
    pub(super) absent: Vec<StatusPattern>,
    pub(super) fallback: Option<Json>,
    pub(super) shape: Shape,
    pub(super) join: Option<Join>,
}

/// What became of a part.
enum Outcome {
    /// What it answered, or what stands in its place, which is not complete.
    Told {
        value: Json,
        caching: Option<Caching>,
    },
    /// There is nothing to tell, and that is all there is.
    Nothing(Option<Caching>),
    Failed(Failure),
}

/// Why a part is not there.
enum Failure {
    Fault(Fault),
    /// A response that says that the request was wrong: the client's matter, if the part is required.
    Refused(Called),
}

/// The client's request as parts use it.
struct Client {
    fields: Fields,
    scheme: &'static str,
    authority: String,
    body: Option<Json>,
}

/// What a composition waits for.
enum Event {
    Answered(usize, Result<Called, Fault>),
    /// Nothing is under way.
    Idle,
    Late,
    Gone(Fault),
}

impl Action for Composition {
    fn kind(&self) -> &'static str {
        "compose"
    }

    fn describe(&self) -> String {
        let names: Vec<_> = self.parts.iter().map(|part| &*part.name).collect();
        format!("compose {}: {}", names.join(", "), self.worst)
    }

    fn run<'a>(&'a self, exchange: &'a mut Exchange, request: Box<Request>) -> Answering<'a> {
        Box::pin(async move {
            let client = self.client(request).await?;
            let outcomes = self.gather(exchange, &client).await?;
            self.answer(exchange, outcomes)
        })
    }
}

impl Composition {
    /// What of the client's request parts are sent.
    async fn client(&self, mut request: Box<Request>) -> Result<Client, Fault> {
        let bad = |what: String| Fault::new(Code::BadRequest, what);
        let body = match self.wants_body {
            false => None,
            true => {
                let body = request.body.whole(MOST_OF_CLIENT).await?;
                let too_large = || Fault::new(Code::TooLarge, "it is too long to be taken apart");
                let body = body.ok_or_else(too_large)?;
                let read = json::from_slice(&body);
                Some(read.map_err(|error| bad(format!("the body is not JSON: {error}")))?)
            }
        };
        let authority = match &self.host {
            HostRule::Keep => request.authority.to_string(),
            HostRule::Endpoint => String::new(),
            HostRule::Fixed(host) => host.clone(),
        };
        Ok(Client { fields: own_fields(request.fields), scheme: request.scheme, authority, body })
    }

    /// Asks all parts, each as soon as what it waits for is there.
    ///
    /// # Errors
    /// When the client has gone.
    async fn gather(
        &self,
        exchange: &mut Exchange,
        client: &Client,
    ) -> Result<Vec<Outcome>, Fault> {
        let by = self.ends_by(exchange);
        let mut patience = Patience::new(&exchange.local.worker);
        let mut outcomes: Vec<Option<Outcome>> = self.parts.iter().map(|_| None).collect();
        let mut begun = vec![false; self.parts.len()];
        let mut asked = 0;
        {
            let exchange = &*exchange;
            let mut calls = FuturesUnordered::new();
            loop {
                for &number in &self.order {
                    let part = &self.parts[number];
                    let ready = part.needs.iter().all(|need| outcomes[*need].is_some());
                    if begun[number] || !ready {
                        continue;
                    }
                    begun[number] = true;
                    match self.request(number, exchange, client, &outcomes) {
                        Ok(Some(request)) => {
                            asked += 1;
                            let call = part.caller.call_for(exchange, request);
                            calls.push(async move { (number, call.await) });
                        }
                        Ok(None) => outcomes[number] = Some(Outcome::Nothing(None)),
                        Err(fault) => {
                            outcomes[number] = Some(part.failed(Failure::Fault(fault)));
                        }
                    }
                }
                let hopeless = |(part, outcome): (&Part, &Option<Outcome>)| {
                    part.required && matches!(outcome, Some(Outcome::Failed(_)))
                };
                if self.parts.iter().zip(&outcomes).any(hopeless) {
                    break;
                }
                let event = poll_fn(|cx| {
                    if let Some(side) = &exchange.client_side
                        && let Poll::Ready(fault) = side.poll_gone(cx)
                    {
                        return Poll::Ready(Event::Gone(fault));
                    }
                    match calls.poll_next_unpin(cx) {
                        Poll::Ready(Some((number, called))) => {
                            Poll::Ready(Event::Answered(number, called))
                        }
                        Poll::Ready(None) => Poll::Ready(Event::Idle),
                        Poll::Pending => {
                            patience.poll_over_or_by(None, Some(by), cx).map(|()| Event::Late)
                        }
                    }
                });
                match event.await {
                    Event::Answered(number, called) => {
                        outcomes[number] = Some(self.parts[number].outcome(called));
                    }
                    Event::Idle | Event::Late => break,
                    Event::Gone(fault) => return Err(fault),
                }
            }
        }
        exchange.record.attempts += asked;
        let late = || Failure::Fault(Fault::new(Code::ResponseTimeout, "it took too long"));
        let outcomes = self.parts.iter().zip(outcomes);
        Ok(outcomes.map(|(part, known)| known.unwrap_or_else(|| part.failed(late()))).collect())
    }

    /// When no part is waited for any more.
    fn ends_by(&self, exchange: &Exchange) -> Instant {
        let own = exchange.local.worker.now() + self.timeout;
        exchange.ends_by().map_or(own, |by| own.min(by))
    }

    /// The request of a part, or nothing where there is nothing to ask for.
    ///
    /// # Errors
    /// When something that it needs is not there.
    fn request(
        &self,
        number: usize,
        exchange: &Exchange,
        client: &Client,
        outcomes: &[Option<Outcome>],
    ) -> Result<Option<Request>, Fault> {
        let part = &self.parts[number];
        let keys = match &part.join {
            None => None,
            Some(join) => match join.keys(told(outcomes.get(join.part)))? {
                keys if keys.is_empty() => return Ok(None),
                keys => Some(Json::Array(keys)),
            },
        };
        let answers = |name: &str| match name {
            BODY => client.body.as_ref(),
            KEYS => keys.as_ref(),
            name => {
                let number = self.parts.iter().position(|part| part.name == name)?;
                told(outcomes.get(number))
            }
        };
        // a part without which nothing is told waits for one that failed
        for need in &part.needs {
            if let Some(Some(Outcome::Failed(_))) = outcomes.get(*need) {
                let what = format!("it needs `{}`, which failed", self.parts[*need].name);
                return Err(Fault::new(Code::BadResponse, what));
            }
        }
        let asked = Asked { exchange, answers: &answers };
        let missing = |what| Fault::new(Code::BadRequest, format!("{what}"));
        let target = part.target.target(&asked).map_err(missing)?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*target, None),
        };
        let mut request = Request::new(part.method.clone(), &client.authority, path);
        request.query = query.map(Into::into);
        request.scheme = client.scheme;
        request.fields = client.fields.clone();
        if let Some(body) = &part.body {
            let body = body.value(&asked).map_err(missing)?;
            request.body = Body::of(body.to_string().into_bytes());
            request.fields.set(Known::ContentType, b"application/json");
        }
        for (name, text) in &part.headers {
            let line = text.line(&asked).map_err(missing)?;
            request.fields.set(name.as_str(), &line);
        }
        Ok(Some(request))
    }

    /// Makes the answer.
    ///
    /// # Errors
    /// Why a part is not there that is required, or none is there at all.
    fn answer(
        &self,
        exchange: &mut Exchange,
        mut outcomes: Vec<Outcome>,
    ) -> Result<Response, Fault> {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        let lost = (0..self.parts.len())
            .find(|number| self.parts[*number].required && failed(&outcomes[*number]))
            .or_else(|| outcomes.iter().all(failed).then_some(0));
        if let Some(number) = lost {
            return self.refusal(number, outcomes.swap_remove(number));
        }
        let whole = |outcome: &Outcome| match outcome {
            Outcome::Told { caching, .. } => caching.is_some(),
            Outcome::Nothing(_) => true,
            Outcome::Failed(_) => false,
        };
        let complete = outcomes.iter().all(whole);
        if !complete {
            exchange.record.detail = Some(self.left_out(&outcomes).into());
        }
        let cachings = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Told { caching, .. } | Outcome::Nothing(caching) => caching.clone(),
            Outcome::Failed(_) => None,
        });
        let caching = cachings.reduce(Caching::and);
        let body = self.joined(outcomes);
        let mut response = with_body(200, "application/json", body.to_string().into());
        response.fields.set(self.completed.as_str(), if complete { b"true" } else { b"false" });
        match caching {
            Some(caching) if complete => caching.write(&mut response.fields),
            // what is not whole must not be there when all is well again
            _ => response.fields.set(Known::CacheControl, b"no-store"),
        }
        Ok(response)
    }

    /// One value of all that was told.
    fn joined(&self, outcomes: Vec<Outcome>) -> Json {
        let mut values: Vec<Option<Json>> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Told { value, .. } => Some(value),
                Outcome::Nothing(_) | Outcome::Failed(_) => None,
            })
            .collect();
        // the parts that others are joined to come first in this order
        for &number in self.order.iter().rev() {
            let part = &self.parts[number];
            if let Some(join) = &part.join
                && let Some(mut value) = values[number].take()
                && let Some(items) = &mut values[join.part]
            {
                if !value.is_null() {
                    part.shape.trim(&mut value);
                }
                join.put(value, part.fallback.as_ref(), items);
            }
        }
        let mut whole = Json::Object(Map::new());
        for (part, value) in self.parts.iter().zip(values) {
            if let Some(mut value) = value {
                part.shape.trim(&mut value);
                merge(&mut whole, part.shape.grouped(&part.name, value));
            }
        }
        whole
    }

    /// What is told where there is no answer without this part.
    fn refusal(&self, number: usize, outcome: Outcome) -> Result<Response, Fault> {
        let name = &self.parts[number].name;
        match outcome {
            Outcome::Failed(Failure::Refused(called)) => {
                let mut response = Response::new(called.status);
                for name in REFUSAL {
                    for value in called.fields.all(name) {
                        response.fields.append(name, value);
                    }
                }
                response.fields.set(Known::CacheControl, b"no-store");
                response.body = Body::of(called.body);
                Ok(response)
            }
            Outcome::Failed(Failure::Fault(fault)) => {
                let detail = format!("part `{name}`: {}", fault.detail());
                Err(Fault::new(fault.code(), detail))
            }
            Outcome::Told { .. } | Outcome::Nothing(_) => {
                Err(Fault::new(Code::Internal, format!("part `{name}` has not failed")))
            }
        }
    }

    /// For the log.
    fn left_out(&self, outcomes: &[Outcome]) -> String {
        let why = self.parts.iter().zip(outcomes).filter_map(|(part, outcome)| {
            let why = match outcome {
                Outcome::Told { caching: None, .. } => {
                    "in its place stands its fallback".to_owned()
                }
                Outcome::Failed(Failure::Fault(fault)) => fault.to_string(),
                Outcome::Failed(Failure::Refused(called)) => format!("status {}", called.status),
                Outcome::Told { .. } | Outcome::Nothing(_) => return None,
            };
            Some(format!("part `{}`: {why}", part.name))
        });
        why.collect::<Vec<_>>().join("; ")
    }
}

impl Part {
    /// What became of its call.
    fn outcome(&self, called: Result<Called, Fault>) -> Outcome {
        let called = match called {
            Ok(called) => called,
            Err(fault) => return self.failed(Failure::Fault(fault)),
        };
        let caching = Caching::of(&called.fields);
        if self.absent.iter().any(|pattern| pattern.matches(called.status)) {
            return Outcome::Nothing(Some(caching));
        }
        if (400..500).contains(&called.status) {
            return self.failed(Failure::Refused(called));
        }
        let bad = |what: String| self.failed(Failure::Fault(Fault::new(Code::BadResponse, what)));
        if !(200..300).contains(&called.status) {
            return bad(format!("status {}", called.status));
        }
        let is_plain = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"identity");
        if !called.fields.all(Known::ContentEncoding).all(is_plain) {
            return bad("it is compressed".to_owned());
        }
        let value = match called.body.is_empty() {
            true => Json::Object(Map::new()),
            false => match json::from_slice(&called.body) {
                Ok(value) => value,
                Err(error) => return bad(format!("it is not JSON: {error}")),
            },
        };
        match self.shape.aimed(value) {
            Some(value) => Outcome::Told { value, caching: Some(caching) },
            None => bad("its target is not there".to_owned()),
        }
    }

    /// That it is not there, or what stands in its place.
    fn failed(&self, failure: Failure) -> Outcome {
        match &self.fallback {
            // each item gets that of a join
            Some(_) if self.join.is_some() => Outcome::Told { value: Json::Null, caching: None },
            Some(value) => Outcome::Told { value: value.clone(), caching: None },
            None => Outcome::Failed(failure),
        }
    }
}

/// What a part told, if it did.
fn told(outcome: Option<&Option<Outcome>>) -> Option<&Json> {
    match outcome {
        Some(Some(Outcome::Told { value, .. })) => Some(value),
        _ => None,
    }
}

/// The most of a client's body that is taken apart.
const MOST_OF_CLIENT: usize = 1 << 20;

/// What the client gets of a refusal.
const REFUSAL: [Known; 4] =
    [Known::ContentType, Known::WwwAuthenticate, Known::RetryAfter, Known::Allow];

/// The client's fields that parts are sent: not those that speak of its own body or of one resource,
/// nor those that ask for a form that cannot be taken apart.
fn own_fields(mut fields: Fields) -> Fields {
    fields.retain(|field| field.known.is_none_or(|known| !OF_ITS_OWN.contains(&known)));
    fields.append(Known::Accept, b"application/json");
    fields
}
