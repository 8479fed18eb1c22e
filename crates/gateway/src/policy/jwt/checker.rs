//! What runs: looks for the token, checks it once, and remembers that it was right.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;
use transom_settings::HeaderName;

use super::Jwt;
use super::source::Source;
use crate::consumer::joined::Joined;
use crate::identify::{Found, Way};
use crate::kind::Kind;
use crate::token::claims::Rules;
use crate::token::jws::Jws;
use crate::token::key::{Key, Print};
use crate::token::place::{Place, Shown};
use crate::token::reading::{Headers, Reading};
use crate::token::remembered::Remembered;
use crate::token::revoked::Revoked;
use crate::token::{Refused, seconds};

pub(super) struct Checker {
    pub(super) source: Source,
    pub(super) rules: Rules,
    pub(super) reading: Reading,
    pub(super) joined: Joined,
    pub(super) places: Vec<Place>,
    pub(super) hide: bool,
    pub(super) longest: usize,
    pub(super) memory: Arc<Memory>,
    /// What the operator does not believe any more: by hand, and in the file.
    pub(super) revoked: Vec<Arc<Revoked>>,
}

/// What is remembered goes on over reloads as long as the settings are the same.
pub(super) struct Memory {
    pub(super) settings: Jwt,
    pub(super) tokens: Remembered<Verified>,
}

/// A token whose signature was right.
pub(super) struct Verified {
    identity: Arc<Identity>,
    headers: Headers,
    /// The key that has signed it: nothing is believed once that is withdrawn.
    key: Print,
}

impl Way for Checker {
    fn kind(&self) -> &'static str {
        Jwt::NAME
    }

    fn describe(&self) -> String {
        let of = |what: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!(" {what} {}", names.join(" or ")),
        };
        let (issuers, audiences) = (&self.rules.issuers, &self.rules.audiences);
        format!("a token{}{}", of("of", issuers), of("for", audiences))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Bearer")
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.reading.headers.iter().map(|(name, _)| name.clone()).collect()
    }

    fn at_once(&self, _: &mut Exchange, request: &mut Request) -> Option<Found> {
        let known = match self.shown(request) {
            Ok(None) => return Some(Found::Nothing),
            Ok(Some(token)) => self.known(&token, seconds(SystemTime::now())),
            Err(fault) => Err(fault),
        };
        match known {
            Ok(known) => known.map(|verified| self.found(&verified, request)),
            Err(fault) => Some(Found::Wrong(fault)),
        }
    }

    async fn find(&self, exchange: &mut Exchange, request: &mut Request) -> Found {
        let verified = match self.shown(request) {
            Ok(None) => return Found::Nothing,
            Ok(Some(token)) => self.verify(exchange, &token, seconds(SystemTime::now())).await,
            Err(fault) => Err(fault),
        };
        match verified {
            Ok(verified) => self.found(&verified, request),
            Err(fault) => Found::Wrong(fault),
        }
    }

    fn hide(&self, exchange: &mut Exchange, request: &mut Request) {
        Place::leave(&self.places, self.hide, exchange, request);
    }
}

impl Checker {
    /// The only token of the request.
    fn shown<'r>(&self, request: &'r Request) -> Result<Option<Cow<'r, [u8]>>, Fault> {
        match Place::look(&self.places, request) {
            Shown::One(_, token) if token.len() > self.longest => {
                Err(refused("the token is longer than may be looked at"))
            }
            Shown::One(_, token) => Ok(Some(token)),
            Shown::Nothing => Ok(None),
            Shown::Many => {
                let fault = Fault::new(Code::BadRequest, "there is more than one token");
                Err(fault.challenge(r#"Bearer error="invalid_request""#))
            }
        }
    }

    /// What is remembered of a token, while it is still to be believed.
    fn known(&self, token: &[u8], now: i64) -> Result<Option<Arc<Verified>>, Fault> {
        let known = self.memory.tokens.get(token, now).filter(|known| self.have(&known.key));
        if let Some(known) = &known {
            self.stands(&known.identity, now)?;
        }
        Ok(known)
    }

    /// Whose it is; the endpoint is told what the file wants it to be told.
    fn found(&self, verified: &Verified, request: &mut Request) -> Found {
        self.reading.tell(&verified.headers, &mut request.fields);
        self.joined.found(self, &verified.identity)
    }

    /// Whether nobody has revoked it.
    fn stands(&self, who: &Identity, now: i64) -> Result<(), Fault> {
        match self.revoked.iter().any(|list| list.names(who, now)) {
            true => Err(refused("the token was revoked")),
            false => Ok(()),
        }
    }

    fn have(&self, key: &Print) -> bool {
        match &self.source {
            Source::Fixed(keys) => keys.have(key),
            Source::Published(published, _) => published.have(key),
        }
    }

    /// Checks everything, and remembers a token that is to be believed.
    async fn verify(
        &self,
        exchange: &Exchange,
        token: &[u8],
        now: i64,
    ) -> Result<Arc<Verified>, Fault> {
        let jws = Jws::parse(token).map_err(refused)?;
        let key = self.key(exchange, &jws).await?;
        let claims = jws.claims().map_err(refused)?;
        let until = self.rules.judge(&claims, jws.kind.as_deref(), now).map_err(refused)?;
        let headers = self.reading.headers(&claims);
        let identity = self.reading.identity(claims, Jwt::NAME);
        if identity.name.is_empty() {
            return Err(refused(Refused::Claims("the claim that names who it is is missing")));
        }
        self.stands(&identity, now)?;
        let verified = Arc::new(Verified { identity: Arc::new(identity), headers, key });
        self.memory.tokens.insert(token, verified.clone(), until, now);
        Ok(verified)
    }

    /// The key that has signed it.
    async fn key(&self, exchange: &Exchange, jws: &Jws<'_>) -> Result<Print, Fault> {
        let (published, rhythm) = match &self.source {
            Source::Fixed(keys) => return keys.verify(jws).map(Key::print).map_err(refused),
            Source::Published(published, rhythm) => (published, rhythm),
        };
        let worker = &exchange.local.worker;
        let Some(keys) = published.keys(worker, rhythm).await else {
            return Err(Fault::new(Code::AuthorityUnavailable, "there are no keys of the issuer"));
        };
        match keys.verify(jws) {
            Ok(key) => Ok(key.print()),
            Err(why) if keys.may_lack(jws) => {
                let newer = published.after_miss(&keys, worker, rhythm).await;
                let newer = newer.ok_or_else(|| refused(why))?;
                newer.verify(jws).map(Key::print).map_err(refused)
            }
            Err(why) => Err(refused(why)),
        }
    }
}

/// RFC 6750 §3.1. The client is not told what is wrong.
fn refused(why: impl ToString) -> Fault {
    Fault::new(Code::Unauthenticated, why.to_string()).challenge(r#"Bearer error="invalid_token""#)
}
