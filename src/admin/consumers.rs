//! Consumers and keys as an operator sees and changes them while requests are served.
//!
//! | request | answer |
//! |---|---|
//! | `GET /consumers` | those of the file and of the store by name; `?after=NAME&limit=N` |
//! | `GET /consumers/NAME` | one, with its keys in the store and what it has used of quotas |
//! | `GET /consumers/NAME/usage` | that alone; also of who is no consumer, such as the name in a token |
//! | `PUT /consumers/NAME` | adds or changes one in the store: `groups`, `scopes`, `plan`, `labels` |
//! | `DELETE /consumers/NAME` | takes one out of the store, with its keys |
//! | `POST /consumers/NAME/keys` | makes a key: `expires`, `scopes`, `note`; the answer alone has it |
//! | `POST /consumers` | imports: a JSON object in each line, as for PUT with `name` and `keys` |
//! | `GET /keys` | keys of the store by id; `?consumer=NAME&after=ID&limit=N` |
//! | `POST /keys/ID/rotate` | makes a key in its place, which stays valid for `grace` |
//! | `DELETE /keys/ID` | revokes it, at once and for good |
//!
//! What stands in the file is changed there. A consumer of the file may have keys in the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Map, Value as Json, json};
use transom_gateway::consumer::digest::Digest;
use transom_gateway::consumer::written::SHORTEST_KEY;
use transom_gateway::consumer::{Consumer, Consumers};
use transom_gateway::limit::meter::Usage;
use transom_gateway::moment::Moment;
use transom_settings::{Duration, FromText, Name, quote};

use super::{Control, Operator};
use crate::store::{Import, Imported, KeyRow, MadeKey, NewKey, Refused, Store};

/// Longest import, in bytes: a million consumers and more.
const LONGEST_IMPORT: usize = 256 << 20;
const PAGE: u32 = 100;
const LONGEST_PAGE: u32 = 10_000;

/// What the answer says, with its status.
type Said = Result<Response, (StatusCode, String)>;

pub(super) fn routes() -> Router<Arc<dyn Control>> {
    Router::new()
        .route("/consumers", get(list).post(import).layer(DefaultBodyLimit::max(LONGEST_IMPORT)))
        .route("/consumers/{name}", get(show).put(put).delete(remove))
        .route("/consumers/{name}/keys", post(create))
        .route("/consumers/{name}/usage", get(usage))
        .route("/keys", get(keys))
        .route("/keys/{id}", delete(revoke))
        .route("/keys/{id}/rotate", post(rotate))
}

type Asked = Query<BTreeMap<String, String>>;

async fn list(State(control): Operator, Query(asked): Asked) -> Response {
    answer(async {
        let (after, limit) = page(&asked)?;
        let consumers = control.consumers();
        let mut all: BTreeMap<String, Json> = BTreeMap::new();
        if let Some(store) = control.store() {
            let from = after.clone();
            let stored = store.ask(move |writer| writer.consumers(&from, limit)).await;
            for stored in stored.map_err(refused)? {
                let shown = shown(&stored.consumer, Some(stored.created));
                all.insert(stored.consumer.name.to_string(), shown);
            }
        }
        let written = consumers.written.consumers.values().filter(|c| *c.name > *after);
        all.extend(written.map(|consumer| (consumer.name.to_string(), shown(consumer, None))));
        let page: Vec<Json> = all.into_values().take(limit as usize).collect();
        Ok(axum::Json(page).into_response())
    })
    .await
}

async fn show(State(control): Operator, Path(name): Path<String>) -> Response {
    answer(async {
        let consumers = control.consumers();
        let mut shown = match consumers.written.consumers.get(&*name) {
            Some(written) => shown(written, None),
            None => Json::Null,
        };
        let mut keys = Vec::new();
        if let Some(store) = control.store() {
            let asked = name.clone();
            let found = store.ask(move |writer| {
                Ok((writer.consumer(&asked)?, writer.keys(Some(&asked), "", LONGEST_PAGE)?))
            });
            let (stored, rows) = found.await.map_err(refused)?;
            keys = rows;
            if let (Json::Null, Some(stored)) = (&shown, stored) {
                shown = self::shown(&stored.consumer, Some(stored.created));
            }
        }
        if shown.is_null() {
            return Err(missing(&name));
        }
        let now = now();
        shown["keys"] = keys.iter().map(|row| shown_key(row, now)).collect();
        shown["usage"] = used(&*control, &consumers, &name);
        Ok(axum::Json(shown).into_response())
    })
    .await
}

async fn usage(State(control): Operator, Path(name): Path<String>) -> Response {
    axum::Json(used(&*control, &control.consumers(), &name)).into_response()
}

/// What somebody has used of each quota that holds for it.
fn used(control: &dyn Control, consumers: &Consumers, name: &str) -> Json {
    let known = consumers.named(name);
    let consumer = known
        .unwrap_or_else(|| Arc::new(Consumer { name: Arc::from(name), ..Consumer::default() }));
    control.usage(&consumer).iter().map(Usage::to_json).collect()
}

async fn put(State(control): Operator, Path(name): Path<String>, body: String) -> Response {
    answer(async {
        let store = store(&*control)?;
        let consumers = control.consumers();
        if consumers.written.consumers.contains_key(&*name) {
            let what = format!("the consumer {} stands in the file; change it there", quote(&name));
            return Err((StatusCode::CONFLICT, what));
        }
        let body = if body.trim().is_empty() { "{}" } else { &body };
        let consumer = Given::read(body, Some(&name), &consumers).map_err(wrong)?.consumer;
        let new = store.ask(move |writer| writer.put_consumer(consumer)).await.map_err(refused)?;
        let done = if new { "added" } else { "changed" };
        Ok(format!("{done} the consumer {name}\n").into_response())
    })
    .await
}

async fn remove(State(control): Operator, Path(name): Path<String>) -> Response {
    answer(async {
        let store = store(&*control)?;
        let asked = name.clone();
        let keys =
            store.ask(move |writer| writer.remove_consumer(&asked)).await.map_err(refused)?;
        Ok(format!("removed the consumer {name} and its {keys} keys\n").into_response())
    })
    .await
}

async fn create(State(control): Operator, Path(name): Path<String>, body: String) -> Response {
    answer(async {
        let store = store(&*control)?;
        if control.consumers().named(&name).is_none() {
            return Err(missing(&name));
        }
        let object = object(&body).map_err(wrong)?;
        only(&object, &["expires", "scopes", "note"]).map_err(wrong)?;
        let new = new_key(&name, &object).map_err(wrong)?;
        let made = store.ask(move |writer| writer.create_key(new)).await.map_err(refused)?;
        Ok(shown_once(&made))
    })
    .await
}

async fn rotate(State(control): Operator, Path(id): Path<String>, body: String) -> Response {
    answer(async {
        let store = store(&*control)?;
        let object = object(&body).map_err(wrong)?;
        only(&object, &["grace"]).map_err(wrong)?;
        let grace = match text(&object, "grace").map_err(wrong)? {
            None => std::time::Duration::ZERO,
            Some(text) => Duration::from_text(text).map_err(|r| wrong(r.what))?.get(),
        };
        let rotated = store.ask(move |writer| writer.rotate_key(&id, grace, None)).await;
        Ok(shown_once(&rotated.map_err(refused)?))
    })
    .await
}

async fn revoke(State(control): Operator, Path(id): Path<String>) -> Response {
    answer(async {
        let store = store(&*control)?;
        let row = store.ask(move |writer| writer.revoke_key(&id)).await.map_err(refused)?;
        Ok(format!("revoked the key {} of {}\n", row.id, row.consumer).into_response())
    })
    .await
}

async fn keys(State(control): Operator, Query(asked): Asked) -> Response {
    answer(async {
        let store = store(&*control)?;
        let (after, limit) = page(&asked)?;
        let consumer = asked.get("consumer").cloned();
        let rows = store.ask(move |writer| writer.keys(consumer.as_deref(), &after, limit)).await;
        let (rows, now) = (rows.map_err(refused)?, now());
        let shown: Vec<Json> = rows.iter().map(|row| shown_key(row, now)).collect();
        Ok(axum::Json(shown).into_response())
    })
    .await
}

async fn import(State(control): Operator, body: String) -> Response {
    answer(async {
        let store = store(&*control)?;
        let consumers = control.consumers();
        // read where it is written: a million lines would keep everybody waiting who asks for `/readyz`
        let imported = store.ask(move |writer| {
            let lines = body.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            writer.import(lines.map(|(index, line)| {
                let bad = |why| format!("line {}: {why}; nothing was imported", index + 1);
                let given = Given::read(line, None, &consumers);
                given.map(Given::import).map_err(|why| Refused::Wrong(bad(why)))
            }))
        });
        let Imported { consumers, keys } = imported.await.map_err(refused)?;
        Ok(format!("imported {consumers} consumers with {keys} keys\n").into_response())
    })
    .await
}

/// A consumer as an operator gives it.
struct Given {
    consumer: Consumer,
    keys: Vec<(NewKey, Digest)>,
}

impl Given {
    fn read(text: &str, name: Option<&str>, consumers: &Consumers) -> Result<Self, String> {
        let object = object(text)?;
        match name {
            Some(_) => only(&object, &["groups", "scopes", "plan", "labels"])?,
            None => only(&object, &["name", "groups", "scopes", "plan", "labels", "keys"])?,
        }
        let name = match name {
            Some(name) => name,
            None => self::text(&object, "name")?.ok_or("`name` is missing")?,
        };
        Name::from_text(name).map_err(|refusal| refusal.what)?;
        let plan = self::text(&object, "plan")?;
        if let Some(plan) = plan.filter(|plan| consumers.plan(plan).is_none()) {
            return Err(format!("there is no plan {} in the file", quote(plan)));
        }
        let mut labels = Vec::new();
        match object.get("labels") {
            None => {}
            Some(Json::Object(map)) => {
                for (name, value) in map {
                    let value = value.as_str().ok_or("a label is a text")?;
                    labels.push((name.clone(), value.to_owned()));
                }
            }
            Some(_) => return Err("`labels` is an object of texts".to_owned()),
        }
        labels.sort_unstable();
        let consumer = Consumer {
            name: Arc::from(name),
            groups: texts(&object, "groups")?.unwrap_or_default(),
            scopes: texts(&object, "scopes")?.unwrap_or_default(),
            plan: plan.map(Arc::from),
            labels,
        };
        let mut keys = Vec::new();
        let given = match object.get("keys") {
            None | Some(Json::Null) => &[][..],
            Some(Json::Array(keys)) => keys,
            Some(_) => return Err("`keys` is a list of keys".to_owned()),
        };
        for key in given {
            let key = key.as_object().ok_or("a key is an object with `secret` or `sha256`")?;
            only(key, &["secret", "sha256", "expires", "scopes", "note"])?;
            let digest = match (self::text(key, "secret")?, self::text(key, "sha256")?) {
                (Some(secret), None) if secret.len() >= SHORTEST_KEY => {
                    Digest::of(secret.as_bytes())
                }
                (Some(_), None) => {
                    return Err(format!("a key has at least {SHORTEST_KEY} letters"));
                }
                (None, Some(sum)) => Digest::from_text(sum).map_err(|refusal| refusal.what)?,
                _ => return Err("a key has either `secret` or `sha256`".to_owned()),
            };
            keys.push((new_key(name, key)?, digest));
        }
        Ok(Given { consumer, keys })
    }

    fn import(self) -> Import {
        Import { consumer: self.consumer, keys: self.keys }
    }
}

fn new_key(consumer: &str, object: &Map<String, Json>) -> Result<NewKey, String> {
    Ok(NewKey {
        consumer: consumer.to_owned(),
        expires: text(object, "expires")?.map(expiry).transpose()?,
        scopes: texts(object, "scopes")?,
        note: text(object, "note")?.map(str::to_owned),
    })
}

/// A point in time, or how long from now.
fn expiry(text: &str) -> Result<i64, String> {
    if let Ok(time) = Duration::from_text(text) {
        return Ok(now().saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)));
    }
    Moment::from_text(text)
        .map(Moment::second)
        .map_err(|refusal| format!("{}; or write how long from now, such as `90d`", refusal.what))
}

/// An object; an empty text is an empty one.
fn object(text: &str) -> Result<Map<String, Json>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

fn only(object: &Map<String, Json>, known: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("{} is not known; there is {}", quote(key), known.join(", "))),
        None => Ok(()),
    }
}

fn text<'a>(object: &'a Map<String, Json>, key: &str) -> Result<Option<&'a str>, String> {
    match object.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{key}` is a text")),
    }
}

fn texts(object: &Map<String, Json>, key: &str) -> Result<Option<Vec<String>>, String> {
    let wrong = || format!("`{key}` is a list of texts");
    match object.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Array(values)) => {
            let each = |value: &Json| value.as_str().map(str::to_owned).ok_or_else(wrong);
            values.iter().map(each).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(wrong()),
    }
}

fn shown(consumer: &Consumer, created: Option<i64>) -> Json {
    let labels = consumer.labels.iter().map(|(name, value)| (name.clone(), Json::from(&**value)));
    json!({
        "name": &*consumer.name,
        "groups": consumer.groups,
        "scopes": consumer.scopes,
        "plan": consumer.plan.as_deref(),
        "labels": Json::Object(labels.collect()),
        "from": if created.is_some() { "store" } else { "file" },
        "created": created.and_then(moment),
    })
}

fn shown_key(row: &KeyRow, now: i64) -> Json {
    json!({
        "id": row.id,
        "consumer": row.consumer,
        "standing": row.standing(now),
        "scopes": row.scopes,
        "note": row.note,
        "created": moment(row.created),
        "expires": row.expires.and_then(moment),
        "revoked": row.revoked.and_then(moment),
        "followed-by": row.followed_by,
    })
}

fn shown_once(made: &MadeKey) -> Response {
    let mut shown = shown_key(&made.row, now());
    shown["key"] = Json::from(&*made.key);
    (StatusCode::CREATED, axum::Json(shown)).into_response()
}

fn moment(second: i64) -> Option<String> {
    Moment::of_second(second).map(|moment| moment.to_string())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

fn page(asked: &BTreeMap<String, String>) -> Result<(String, u32), (StatusCode, String)> {
    let after = asked.get("after").cloned().unwrap_or_default();
    let limit = match asked.get("limit").map(|limit| limit.parse()) {
        None => PAGE,
        Some(Ok(limit @ 1..=LONGEST_PAGE)) => limit,
        Some(_) => return Err(wrong(format!("`limit` is a number up to {LONGEST_PAGE}"))),
    };
    Ok((after, limit))
}

fn store(control: &dyn Control) -> Result<Store, (StatusCode, String)> {
    control.store().ok_or_else(|| {
        let what = "there is no store; `data: DIRECTORY` in the file makes one at the next start";
        (StatusCode::CONFLICT, what.to_owned())
    })
}

fn missing(name: &str) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("there is no consumer {}", quote(name)))
}

fn wrong(why: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, why.into())
}

fn refused(why: Refused) -> (StatusCode, String) {
    let status = match why {
        Refused::Missing(_) => StatusCode::NOT_FOUND,
        Refused::Conflict(_) => StatusCode::CONFLICT,
        Refused::Wrong(_) => StatusCode::BAD_REQUEST,
        Refused::Database(_) | Refused::Ended => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, why.to_string())
}

async fn answer(said: impl Future<Output = Said>) -> Response {
    match said.await {
        Ok(response) => response,
        Err((status, why)) => (status, why + "\n").into_response(),
    }
}
