//! # api-key
//!
//! **What it does.** Finds out who asks by a key: in a header field, and where it is said so in the
//! query or a cookie. Keys belong to `consumers:`, in the file or made with `transom key create`; what
//! is kept of them is a digest. The endpoint does not see the key, and neither does the access log.
//! In `Authorization`, the key stands behind `Bearer` or `ApiKey`; what else stands there is another
//! policy's.
//!
//! A key in the query ends up in the histories of browsers and in the logs of everything before us:
//! it is looked for there only if `query` says so. A key in more than one place is refused, since two
//! servers may read different ones.
//!
//! **When it runs.** Stage `identify`. With others of that stage on one route, the first whose
//! credential is shown decides; see [identity](../../identity.md).
//!
//! **Example.**
//!
//! ```yaml
//! consumers:
//!   ann: { groups: [staff], keys: "${KEY_OF_ANN}" }
//! policies:
//!   keys: { api-key: { header: [X-API-Key, Authorization] } }
//! ```
//!
//! **What the client sees.** 401 `unauthenticated` with `WWW-Authenticate: ApiKey` where the key is
//! missing, unknown, revoked or expired (which of these, only `detail` in the access log says); 400
//! `bad-request` where there is more than one.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Known, Name};
use transom_proxy::message::Request;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{HeaderName, settings};

use crate::consumer::{Consumers, Unknown};
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;
use crate::pairs;

settings! {
    /// Finds out who asks by a key.
    pub struct ApiKey {
        /// Header fields that a key may stand in.
        pub header: Vec<HeaderName> = vec![HeaderName::known("x-api-key")],
        /// Parameters of the query that a key may stand in.
        pub query: Vec<String> = Vec::new(),
        /// Cookies that a key may stand in.
        pub cookie: Vec<String> = Vec::new(),
        /// Whether the key is taken off before the endpoint sees the request.
        pub hide: bool = true,
        /// What happens with a key that is not known.
        pub unknown: UnknownKey = UnknownKey::Refuse,
        /// What the client is told that the key is for (`realm`).
        pub realm: String = "api".to_owned(),
    }

    /// What happens with a key that is not known.
    pub enum UnknownKey {
        /// It is refused.
        Refuse = "refuse",
        /// Another policy may know it: a token that stands where a key may stand.
        Next = "next",
    }
}

/// Longer ones are nobody's, and are not hashed.
const LONGEST_KEY: usize = 512;

impl Kind for ApiKey {
    const NAME: &'static str = "api-key";
    const SUMMARY: &'static str = "Finds out who asks by a key.";
    const STAGE: Stage = Stage::Identify;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if self.header.is_empty() && self.query.is_empty() && self.cookie.is_empty() {
            let place = making.place;
            let hint = "name a place in `header`, `query` or `cookie`";
            making.error(place, "", "a key may stand nowhere", hint);
            return None;
        }
        let consumers = making.lender.consumers();
        let place = match (self.header.first(), self.query.first(), self.cookie.first()) {
            (Some(header), ..) => format!("header=\"{header}\""),
            (_, Some(parameter), _) => format!("query=\"{parameter}\""),
            (.., Some(cookie)) => format!("cookie=\"{cookie}\""),
            (None, None, None) => return None,
        };
        let realm: String = self.realm.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
        let challenge = format!("ApiKey realm=\"{realm}\", {place}");
        Some(Arc::new(Identify(Keys { settings: self.clone(), consumers, challenge })))
    }
}

struct Keys {
    settings: ApiKey,
    consumers: Consumers,
    challenge: String,
}

/// What a request shows.
#[derive(Debug, PartialEq)]
enum Shown<'a> {
    Nothing,
    One(Cow<'a, [u8]>),
    Many,
}

impl<'a> Shown<'a> {
    fn add(&mut self, key: Cow<'a, [u8]>) {
        *self = match self {
            Shown::Nothing => Shown::One(key),
            _ => Shown::Many,
        };
    }
}

impl Keys {
    fn shown<'a>(&self, request: &'a Request) -> Shown<'a> {
        let mut shown = Shown::Nothing;
        for name in &self.settings.header {
            let name = Name::of(name.as_bytes());
            for value in request.fields.all(name) {
                let key = match name {
                    Name::Known(Known::Authorization) => behind_scheme(value),
                    _ => Some(value),
                };
                key.into_iter().for_each(|key| shown.add(Cow::Borrowed(key)));
            }
        }
        if let Some(query) = request.query.as_deref().filter(|_| !self.settings.query.is_empty()) {
            let named = |name: &[u8]| self.settings.query.iter().any(|q| q.as_bytes() == name);
            pairs::of_query(query).filter(|(name, _)| named(name)).for_each(|(_, v)| shown.add(v));
        }
        if !self.settings.cookie.is_empty() {
            let named = |name: &[u8]| self.settings.cookie.iter().any(|c| c.as_bytes() == name);
            let cookies = request.fields.all(Known::Cookie).flat_map(pairs::of_cookie);
            cookies.filter(|(name, _)| named(name)).for_each(|(_, v)| shown.add(Cow::Borrowed(v)));
        }
        shown
    }

    fn judge(&self, shown: &[u8], now: SystemTime) -> Found {
        if shown.is_empty() || shown.len() > LONGEST_KEY {
            return Found::wrong(self, "the key is empty or too long");
        }
        match self.consumers.by_key(shown, now) {
            Ok((consumer, held)) => {
                let (scopes, until) = (held.scopes.as_deref(), held.ends());
                Found::Known(consumer.identity_until(ApiKey::NAME, scopes, until))
            }
            Err(Unknown::Key) if self.settings.unknown == UnknownKey::Next => Found::Nothing,
            Err(unknown) => Found::wrong(self, unknown.as_str()),
        }
    }
}

impl Way for Keys {
    fn kind(&self) -> &'static str {
        ApiKey::NAME
    }

    fn describe(&self) -> String {
        let headers = self.settings.header.iter().map(|name| format!("header {name}"));
        let query = self.settings.query.iter().map(|name| format!("query {name}"));
        let cookies = self.settings.cookie.iter().map(|name| format!("cookie {name}"));
        let places: Vec<_> = headers.chain(query).chain(cookies).collect();
        format!("a key in {}", places.join(", "))
    }

    fn challenge(&self) -> Option<&str> {
        Some(&self.challenge)
    }

    fn at_once(&self, _: &mut Exchange, request: &mut Request) -> Option<Found> {
        Some(match self.shown(request) {
            Shown::Nothing => Found::Nothing,
            Shown::One(key) => self.judge(&key, SystemTime::now()),
            Shown::Many => Found::Wrong(Fault::new(Code::BadRequest, "there is more than one key")),
        })
    }

    fn hide(&self, exchange: &mut Exchange, request: &mut Request) {
        if !self.settings.query.is_empty() {
            let hidden = |name: &[u8]| self.settings.query.iter().any(|q| q.as_bytes() == name);
            // nobody reads a key in the log, whoever sees it
            let asked = exchange.asked.query.as_deref();
            if let Some(rest) = asked.and_then(|query| pairs::without(query, hidden)) {
                exchange.asked.query =
                    Some(Rc::from(rest)).filter(|rest: &Rc<str>| !rest.is_empty());
            }
            let query = request.query.as_deref().filter(|_| self.settings.hide);
            if let Some(rest) = query.and_then(|query| pairs::without(query, hidden)) {
                request.query = Some(Rc::from(rest)).filter(|rest: &Rc<str>| !rest.is_empty());
            }
        }
        if !self.settings.hide {
            return;
        }
        for name in &self.settings.header {
            match Name::of(name.as_bytes()) {
                // what is no key is another's, to hide or to pass on
                Name::Known(Known::Authorization) => request.fields.retain(|f| {
                    f.known != Some(Known::Authorization) || behind_scheme(f.value).is_none()
                }),
                name => request.fields.remove(name),
            }
        }
        if !self.settings.cookie.is_empty() {
            let hidden = |name: &[u8]| self.settings.cookie.iter().any(|c| c.as_bytes() == name);
            pairs::remove_cookies(&mut request.fields, hidden);
        }
    }
}

/// A key in `Authorization`: what is behind `Bearer` or `ApiKey`.
fn behind_scheme(value: &[u8]) -> Option<&[u8]> {
    let at = value.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(value.len());
    let (scheme, key) = value.split_at(at);
    let known = [&b"bearer"[..], b"apikey"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known.then(|| key.trim_ascii())
}
