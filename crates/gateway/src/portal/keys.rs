//! Keys of one's own: who may have which made, and what is told of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use transom_proxy::exchange::Identity;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::{Method, Request, Response};
use transom_settings::json::{Map, Value as Json, from_slice, json};
use transom_settings::{Duration as Written, FromText};

use super::{Showing, is_own, json};
use crate::kind::Kind as _;
use crate::moment::Moment;
use crate::policy::api_key::ApiKey;

/// A key, without what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    pub id: String,
    /// `valid`, `leaving`, `expired` or `revoked`.
    pub standing: &'static str,
    pub note: Option<String>,
    /// Seconds since 1970.
    pub created: i64,
    pub expires: Option<i64>,
    /// The key itself, where it was made just now.
    pub key: Option<String>,
}

/// A key that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewOwnKey {
    pub note: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires: Option<i64>,
}

/// Who asks, and how far its credential goes.
pub(super) struct Asking {
    pub consumer: Arc<str>,
    /// It allows all that its consumer may do.
    pub whole: bool,
    /// When a key ends at the latest that it makes.
    pub until: Option<i64>,
}

/// How long keys live that are made here.
pub(super) struct Lifetimes {
    pub all: Option<Duration>,
    /// Where the credential ends itself and is no key.
    pub by_token: Option<Duration>,
}

impl Lifetimes {
    /// When a key ends at the latest that this identity makes at `now`.
    pub(super) fn of(&self, identity: &Identity, now: i64) -> Option<i64> {
        let after =
            |time: Duration| now.saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        let own = identity.until.and_then(|until| match identity.by {
            // or each would make the next one before it ends
            ApiKey::NAME => Some(until),
            _ => self.by_token.map(after),
        });
        [self.all.map(after), own].into_iter().flatten().min()
    }
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The consumer has no such key.
    Missing,
    /// What is there speaks against it; the client is told.
    Conflict(String),
    /// For the log.
    Failed(String),
}

/// What a desk answers.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refused>> + Send + 'a>>;

/// Where keys of consumers are made, in the store of the program. No consumer ever reaches the keys of
/// another: all that is asked for is asked in its name.
pub trait KeyDesk: Send + Sync {
    fn list(&self, consumer: &str) -> Answer<'_, Vec<OwnKey>>;
    fn create(&self, consumer: &str, new: NewOwnKey) -> Answer<'_, OwnKey>;
    /// The new one ends when the old one would have ended, and by `until`.
    fn rotate(
        &self,
        consumer: &str,
        id: &str,
        grace: Duration,
        until: Option<i64>,
    ) -> Answer<'_, OwnKey>;
    fn revoke(&self, consumer: &str, id: &str) -> Answer<'_, OwnKey>;
}

/// The longest body that says what a key is to be.
const LONGEST_BODY: usize = 4096;
/// The longest remark about a key, in letters.
const LONGEST_NOTE: usize = 100;
/// The longest time for which a rotated key stays valid.
const LONGEST_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);

impl Showing {
    /// Keys of this consumer. Whose credential allows less than it may do must not make one that
    /// allows more, and so makes none.
    pub(super) async fn keys(
        &self,
        path: &str,
        asking: Option<Asking>,
        request: &mut Request,
    ) -> Result<Response, Fault> {
        let Some(desk) = &self.desk else {
            return Err(Fault::new(Code::NotFound, "portal: no keys are made here"));
        };
        let refused = |why: &'static str| Err(Fault::new(Code::Forbidden, why));
        let Some(Asking { consumer, whole, until }) = asking else {
            return refused("portal: who asks is no consumer");
        };
        let id = path.strip_prefix("/keys/").unwrap_or_default();
        if path == "/keys" && matches!(request.method, Method::Get | Method::Head) {
            let keys = desk.list(&consumer).await.or_else(told)?;
            let keys: Vec<Json> = keys.iter().map(shown).collect();
            return Ok(json(200, &keys.into()));
        }
        if !whole {
            return refused("portal: the credential allows less than its consumer may do");
        }
        if let Err(why) = is_own(request) {
            return refused(why);
        }
        let made = match (&request.method, path, id.strip_suffix("/rotate")) {
            (Method::Post, "/keys", _) => {
                let body = body(request, &["note"]).await?;
                let note = body.get("note").and_then(Json::as_str).map(str::trim);
                let note = note.filter(|note| !note.is_empty());
                if note.is_some_and(|note| note.chars().count() > LONGEST_NOTE) {
                    return Err(Fault::new(Code::BadRequest, "portal: the note is too long"));
                }
                let new = NewOwnKey { note: note.map(str::to_owned), expires: until };
                desk.create(&consumer, new).await
            }
            (Method::Post, _, Some(id)) => {
                let body = body(request, &["grace"]).await?;
                let grace = match body.get("grace").and_then(Json::as_str).map(Written::from_text) {
                    None => Duration::ZERO,
                    Some(Ok(grace)) => grace.get().min(LONGEST_GRACE),
                    Some(Err(_)) => {
                        return Err(Fault::new(Code::BadRequest, "portal: `grace` is no time"));
                    }
                };
                desk.rotate(&consumer, id, grace, until).await
            }
            (Method::Delete, _, None) if !id.is_empty() => desk.revoke(&consumer, id).await,
            _ => {
                let fault = Fault::new(Code::MethodNotAllowed, "portal: keys are not changed so");
                return Err(fault.allow("GET, POST, DELETE"));
            }
        };
        match made {
            Ok(key) => Ok(json(if key.key.is_some() { 201 } else { 200 }, &shown(&key))),
            Err(Refused::Conflict(why)) => Ok(json(409, &json!({ "detail": why }))),
            Err(other) => told(other),
        }
    }
}

/// The fault for it.
fn told<T>(refused: Refused) -> Result<T, Fault> {
    Err(match refused {
        Refused::Missing => Fault::new(Code::NotFound, "portal: there is no such key"),
        Refused::Conflict(why) | Refused::Failed(why) => Fault::new(Code::Internal, why),
    })
}

/// A JSON object with no other names; nothing is an empty one.
async fn body(request: &mut Request, known: &[&str]) -> Result<Map<String, Json>, Fault> {
    let Some(bytes) = request.body.whole(LONGEST_BODY).await? else {
        return Err(Fault::new(Code::TooLarge, "portal: the body is too long"));
    };
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match from_slice(&bytes) {
        Ok(Json::Object(object)) if object.keys().all(|key| known.contains(&key.as_str())) => {
            Ok(object)
        }
        _ => Err(Fault::new(Code::BadRequest, "portal: the body is not what is asked for")),
    }
}

fn shown(key: &OwnKey) -> Json {
    let moment = |second| Moment::of_second(second).map(|moment: Moment| moment.to_string());
    let mut shown = json!({
        "id": key.id,
        "standing": key.standing,
        "note": key.note,
        "created": moment(key.created),
        "expires": key.expires.and_then(moment),
    });
    if let Some(key) = &key.key {
        shown["key"] = key.as_str().into();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_38_a_key_outlives_no_key_and_no_lifetime() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86400));
        for (all, by_token, by, until, expected) in [
            (None, None, "basic-auth", None, None),
            (None, Some(day), "basic-auth", None, None),
            (Some(hour), Some(day), "basic-auth", None, Some(1000 + 3600)),
            (None, Some(day), "jwt", Some(1060), Some(1000 + 86400)),
            (Some(hour), Some(day), "oidc", Some(1060), Some(1000 + 3600)),
            (None, None, "jwt", Some(1060), None),
            (None, Some(day), "api-key", Some(1060), Some(1060)),
            (None, Some(day), "api-key", None, None),
            (Some(hour), None, "api-key", Some(1060), Some(1060)),
        ] {
            let identity = Identity { by, until, ..Identity::default() };
            let lifetimes = Lifetimes { all, by_token };
            assert_eq!(lifetimes.of(&identity, 1000), expected, "{by} {until:?} {all:?}");
        }
    }
}
