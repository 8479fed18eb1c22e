//! How a request is found to be somebody's.
//!
//! A policy of the stage `identify` is a [`Way`]: it looks for one sort of credential, and says what
//! it found. What follows from that for the request is decided here, the same for all, so that no
//! way knows of another:
//!
//! - The first that finds a credential it recognises says who asks; those after it are not asked.
//! - A credential that is wrong is refused at once (401), even where another one may be right: what
//!   somebody shows has to be true.
//! - Where nothing was shown that any of them knows, the [`Gate`] at the end of the stage refuses
//!   it, with the challenges of all, or lets it pass as the route's `anonymous`.
//! - Where a route wants `all`, each must find its credential. The first says who asks, and another
//!   may only agree.
//!
//! The root puts the gate into every chain that has such a policy ([`complete`]).

use std::future::Future;
use std::sync::Arc;

use transom_proxy::chain::Next;
use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::{Request, Response};
use transom_proxy::policy::{Ahead, Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{HeaderName, settings};

settings! {
    /// Which of the policies that find out who asks must succeed.
    pub enum Combine {
        /// One of them.
        Any = "any",
        /// Each of them.
        All = "all",
    }
}

/// Header fields in which endpoints are told who asks, unless the file has other names. Nobody
/// outside may send them where anybody is looked for at all.
pub const USUAL_HEADERS: [&str; 3] = ["x-consumer-name", "x-consumer-groups", "x-consumer-plan"];

/// A way to find out who asks.
pub trait Way: Send + Sync + 'static {
    /// The name of the kind of policy.
    fn kind(&self) -> &'static str;

    /// For `transom explain`.
    fn describe(&self) -> String;

    /// What a client is told that shows nothing: a challenge for `WWW-Authenticate`
    /// (RFC 9110 §11.6.1).
    fn challenge(&self) -> Option<&str>;

    /// Fields that it tells the endpoint something in: see [`Policy::reserves`].
    fn reserves(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// What can be found without waiting for anything; nothing where `find` has to look for it.
    fn at_once(&self, exchange: &mut Exchange, request: &mut Request) -> Option<Found> {
        let _ = (exchange, request);
        None
    }

    /// Looks for the credential and verifies it. Asked where `at_once` says nothing.
    fn find(&self, exchange: &mut Exchange, request: &mut Request) -> impl Future<Output = Found> {
        let found = self.at_once(exchange, request).unwrap_or(Found::Nothing);
        std::future::ready(found)
    }

    /// Takes the credential off the request and out of what is logged, where endpoints must not see
    /// it. Called for every request that has one, whoever it was found to be from.
    fn hide(&self, exchange: &mut Exchange, request: &mut Request) {
        let _ = (exchange, request);
    }
}

/// What a way has found.
pub enum Found {
    /// Nothing of its sort, or nothing that it knows and that another way may.
    Nothing,
    /// A credential, and whose it is.
    Known(Arc<Identity>),
    /// A credential that is wrong, or the reason why it cannot be told.
    Wrong(Fault),
    /// What the client has to do first, such as to log in.
    Answer(Box<Response>),
}

impl Found {
    /// A wrong credential; why goes to the log only.
    pub fn wrong(way: &impl Way, why: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        let fault = Fault::new(Code::Unauthenticated, why);
        Found::Wrong(match way.challenge() {
            Some(challenge) => fault.challenge(challenge),
            None => fault,
        })
    }
}

/// A way, as a policy.
pub struct Identify<W>(pub W);

impl<W: Way> Policy for Identify<W> {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn stage(&self) -> Stage {
        Stage::Identify
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.0.reserves()
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        if exchange.identity.is_some() && !all(exchange) {
            self.0.hide(exchange, request);
            return Ok(Ahead::Done);
        }
        match self.0.at_once(exchange, request) {
            None | Some(Found::Answer(_)) => Ok(Ahead::Around),
            Some(found) => self.settle(found, exchange, request).map(|_| Ahead::Done),
        }
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        mut request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let found = self.0.find(exchange, &mut request).await;
            match self.settle(found, exchange, &mut request)? {
                Some(answer) => Ok(*answer),
                None => Ok(next.run(exchange, request).await),
            }
        })
    }
}

impl<W: Way> Identify<W> {
    /// What follows from what was found: an answer, a fault, or that the request goes on.
    fn settle(
        &self,
        found: Found,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Option<Box<Response>>, Fault> {
        let way = &self.0;
        match found {
            Found::Nothing => stand(exchange).missing.extend(way.challenge().map(str::to_owned)),
            Found::Known(identity) => {
                way.hide(exchange, request);
                match &exchange.identity {
                    None => exchange.identity = Some(identity),
                    Some(first) if first.name == identity.name => {}
                    Some(first) => {
                        let why = format!(
                            "`{}` was found by {}, and `{}` by {}",
                            first.name, first.by, identity.name, identity.by
                        );
                        return Err(Fault::new(Code::Unauthenticated, why));
                    }
                }
                if all(exchange) {
                    stand(exchange).found += 1;
                }
            }
            Found::Wrong(fault) => {
                way.hide(exchange, request);
                return Err(fault);
            }
            Found::Answer(response) => return Ok(Some(response)),
        }
        Ok(None)
    }
}

/// Whether each way of the route must find somebody.
fn all(exchange: &Exchange) -> bool {
    exchange.extensions.get::<Stand>().is_some_and(|stand| stand.all)
}

/// How things stand with a request: what the policies of the stage leave for the gate. Not there
/// while the first way has recognised what it was shown.
#[derive(Default)]
struct Stand {
    all: bool,
    /// Ways that recognised what they were shown, where all must.
    found: usize,
    /// The challenges of those that found nothing.
    missing: Vec<String>,
    anonymous: Option<Arc<Identity>>,
}

fn stand(exchange: &mut Exchange) -> &mut Stand {
    exchange.extensions.get_or_insert_with(Stand::default)
}

/// Who it is where nobody shows a credential: for the policy `anonymous`.
pub fn offer_anonymous(exchange: &mut Exchange, identity: &Arc<Identity>) {
    stand(exchange).anonymous = Some(identity.clone());
}

/// Adds to a chain what the policies in it that find out who asks need.
pub fn complete(chain: &mut Vec<Arc<dyn Policy>>, combine: Combine) {
    let ways = chain.iter().filter(|policy| policy.stage() == Stage::Identify);
    let ways = ways.filter(|policy| policy.kind() != ANONYMOUS).count();
    if !chain.iter().any(|policy| policy.stage() == Stage::Identify) {
        return;
    }
    if combine == Combine::All {
        chain.insert(0, Arc::new(Opening));
    }
    chain.push(Arc::new(Gate { combine, ways }));
}

/// The kind that is no way, but stands in where none has found anything.
pub const ANONYMOUS: &str = "anonymous";

/// Tells the ways that all must succeed.
struct Opening;

impl Policy for Opening {
    fn kind(&self) -> &'static str {
        "identify"
    }

    fn stage(&self) -> Stage {
        Stage::Identify
    }

    fn describe(&self) -> String {
        "all of the following must be shown".to_owned()
    }

    fn ahead(&self, exchange: &mut Exchange, _: &mut Request) -> Result<Ahead, Fault> {
        stand(exchange).all = true;
        Ok(Ahead::Done)
    }
}

/// Lets pass who was found, and nobody else.
struct Gate {
    combine: Combine,
    ways: usize,
}

impl Gate {
    /// Whether the request may go on; it may get the name of the anonymous here.
    fn judge(&self, exchange: &mut Exchange) -> Result<(), Fault> {
        if exchange.identity.is_some() && self.combine == Combine::Any {
            return Ok(());
        }
        let ways = self.ways;
        let stand = stand(exchange);
        if self.combine == Combine::All && ways > 0 && stand.found >= ways {
            return Ok(());
        }
        let (found, challenges) = (stand.found, stand.missing.join(", "));
        if let Some(anonymous) = stand.anonymous.clone()
            && found == 0
        {
            // who was found in another way than through us stays
            exchange.identity.get_or_insert(anonymous);
            return Ok(());
        }
        let why = match self.combine {
            Combine::Any => "no credential was shown".to_owned(),
            Combine::All => format!("{found} of {ways} credentials were shown"),
        };
        let fault = Fault::new(Code::Unauthenticated, why);
        Err(if challenges.is_empty() { fault } else { fault.challenge(challenges) })
    }
}

impl Policy for Gate {
    fn kind(&self) -> &'static str {
        "identify"
    }

    fn stage(&self) -> Stage {
        Stage::Identify
    }

    fn describe(&self) -> String {
        match self.combine {
            Combine::Any => "refuses who was not found (401)".to_owned(),
            Combine::All => "refuses who has not shown all (401)".to_owned(),
        }
    }

    fn ahead(&self, exchange: &mut Exchange, _: &mut Request) -> Result<Ahead, Fault> {
        self.judge(exchange)?;
        Ok(Ahead::Done)
    }
}
