//! Pools as an operator sees and changes them while they serve.
//!
//! | request | answer |
//! |---|---|
//! | `GET /pools` | every pool in short, as JSON |
//! | `GET /pools/POOL` | its members, sources and what was changed by hand |
//! | `POST /pools/POOL/members` | adds the endpoint in the body: an address, or a map as in a file |
//! | `DELETE /pools/POOL/members/ADDRESS` | takes a member out; what is open there finishes |
//! | `POST /pools/POOL/members/ADDRESS/ready` | (also `drain`, `maintenance`) how it stands |
//! | `POST /pools/POOL/members/ADDRESS/weight` | its weight is the number in the body |
//! | `PUT /pools/POOL/registrations/ADDRESS` | an endpoint registers itself, or does so again; a Unix socket only the operator |
//! | `DELETE /pools/POOL/registrations/ADDRESS` | it goes |
//!
//! A change by hand needs no reload and is kept over reloads until the file says otherwise of that
//! endpoint: then the file wins. With `?save` it is written into the file as well, where the file
//! has a word for it.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use serde_json::{Value as Json, json};
use transom_balance::discovery::registered::Registered;
use transom_balance::discovery::{Listed, Roster};
use transom_balance::state::Administrative;
use transom_settings::{Duration, EndpointAddress, FromText, closest, quote};

use super::gate::Who;
use super::view::{in_short, whole};
use super::{Control, Operator};

/// What is written into the file, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    Add(Listed),
    Remove(EndpointAddress),
    Weight(EndpointAddress, u32),
}

impl Edit {
    /// Of which endpoint.
    pub fn address(&self) -> &EndpointAddress {
        match self {
            Edit::Add(listed) => &listed.address,
            Edit::Remove(address) | Edit::Weight(address, _) => address,
        }
    }
}

/// What the answer says, with its status.
type Said = Result<String, (StatusCode, String)>;

/// How long a change by hand holds.
const HOLDS: &str = "until the file says otherwise of it, or Transom ends";

pub(super) fn routes() -> Router<Arc<dyn Control>> {
    Router::new()
        .route("/pools", get(list))
        .route("/pools/{pool}", get(show))
        .route("/pools/{pool}/members", post(add))
        .route("/pools/{pool}/members/{address}", delete(remove))
        .route("/pools/{pool}/members/{address}/{what}", post(change))
        .route("/pools/{pool}/registrations/{address}", put(register).delete(leave))
}

async fn list(State(control): Operator) -> axum::Json<Vec<Json>> {
    let rosters = control.rosters();
    axum::Json(rosters.iter().map(|(name, roster)| in_short(name, roster)).collect())
}

async fn show(State(control): Operator, Path(pool): Path<String>) -> Response {
    match roster(&*control, &pool) {
        Ok(roster) => axum::Json(whole(&pool, &roster)).into_response(),
        Err(said) => answer(Err(said)),
    }
}

async fn add(
    State(control): Operator,
    Path(pool): Path<String>,
    RawQuery(query): RawQuery,
    body: String,
) -> Response {
    let done = || {
        let roster = roster(&*control, &pool)?;
        let listed = Listed::read(body.trim()).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
        let address = listed.address.clone();
        if roster.has(&address) {
            let what = format!("{address} is a member of `{pool}` already");
            return Err((StatusCode::CONFLICT, what));
        }
        roster.change(&address, |change| {
            // who was taken out by hand comes back as it was listed, or as it is described now
            change.removed = false;
            change.added = change.said.is_none().then(|| listed.clone());
        });
        let done = format!("{address} is a member of `{pool}`, {HOLDS}");
        saved(&*control, &pool, query.as_deref(), Edit::Add(listed), done)
    };
    answer(done())
}

async fn remove(
    State(control): Operator,
    Path((pool, address)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let done = || {
        let (roster, address) = member(&*control, &pool, &address)?;
        roster.change(&address, |change| {
            let was_added = change.added.take().is_some();
            change.removed = !was_added || change.said.is_some();
            change.weight = None;
            change.standing = Administrative::Ready;
        });
        let done = format!("{address} is no member of `{pool}`, {HOLDS}");
        saved(&*control, &pool, query.as_deref(), Edit::Remove(address), done)
    };
    answer(done())
}

async fn change(
    State(control): Operator,
    Path((pool, address, what)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    body: String,
) -> Response {
    let done = || {
        let (roster, address) = member(&*control, &pool, &address)?;
        let standing = match &*what {
            "ready" => Administrative::Ready,
            "drain" => Administrative::Drain,
            "maintenance" => Administrative::Maintenance,
            "weight" => {
                let weight = body.trim().parse::<u16>().map_err(|_| {
                    let what = format!("{} is not a weight from 0 to 65535", quote(body.trim()));
                    (StatusCode::BAD_REQUEST, what)
                })?;
                let weight = u32::from(weight);
                roster.change(&address, |change| change.weight = Some(weight));
                let done = format!("{address} has the weight {weight} in `{pool}`, {HOLDS}");
                let edit = Edit::Weight(address, weight);
                return saved(&*control, &pool, query.as_deref(), edit, done);
            }
            other => {
                let what = format!(
                    "there is ready, drain, maintenance and weight, and no {}",
                    quote(other)
                );
                return Err((StatusCode::NOT_FOUND, what));
            }
        };
        if wants_saving(query.as_deref()) {
            let what = "a file has no word for how a member stands; leave `save` out".to_owned();
            return Err((StatusCode::UNPROCESSABLE_ENTITY, what));
        }
        roster.set_standing(&address, standing);
        let until = match standing {
            Administrative::Ready => String::new(),
            _ => format!(", until it is made ready, or {}", &HOLDS["until ".len()..]),
        };
        Ok(format!("{address} of `{pool}`: {what}{until}"))
    };
    answer(done())
}

async fn register(
    State(control): Operator,
    Extension(who): Extension<Who>,
    Path((pool, address)): Path<(String, String)>,
    body: String,
) -> Response {
    let done = || {
        let bad = |why: String| (StatusCode::BAD_REQUEST, why);
        let roster = roster(&*control, &pool)?;
        let registrations = roster.registrations.as_ref().ok_or_else(|| not_open(&pool))?;
        let address = parsed(&address)?;
        if who == Who::Endpoint && matches!(address, EndpointAddress::Unix(_)) {
            // Docker's, or that of this interface: who opens one is whoever Transom runs as
            let what = "a Unix socket of this machine is for its operator to register".to_owned();
            return Err((StatusCode::FORBIDDEN, what));
        }
        let mut described: Json = match body.trim() {
            "" => json!({}),
            text => serde_json::from_str(text).map_err(|e| bad(format!("the body: {e}")))?,
        };
        let fields = described.as_object_mut().ok_or_else(|| bad("the body is no map".into()))?;
        let ttl = match fields.remove("ttl").as_ref().map(Json::as_str) {
            None => None,
            Some(Some(text)) => {
                let ttl = Duration::from_text(text).map_err(|refusal| bad(refusal.to_string()))?;
                Some(ttl.get()).filter(|ttl| !ttl.is_zero())
            }
            Some(None) => return Err(bad("`ttl` is a text such as \"15s\"".into())),
        };
        fields.insert("address".into(), address.to_string().into());
        let listed = Listed::read(&described.to_string()).map_err(bad)?;
        match registrations.register(listed, ttl, Instant::now()) {
            Registered::New => Ok(format!("{address} is registered for `{pool}`")),
            Registered::Again => Ok(format!("{address} is registered for `{pool}` again")),
            Registered::Full => {
                let what = format!("as many are registered for `{pool}` as may be");
                Err((StatusCode::TOO_MANY_REQUESTS, what))
            }
        }
    };
    answer(done())
}

async fn leave(
    State(control): Operator,
    Path((pool, address)): Path<(String, String)>,
) -> Response {
    let done = || {
        let roster = roster(&*control, &pool)?;
        let registrations = roster.registrations.as_ref().ok_or_else(|| not_open(&pool))?;
        let address = parsed(&address)?;
        match registrations.leave(&address) {
            true => Ok(format!("{address} is not registered for `{pool}` any more")),
            false => {
                Err((StatusCode::NOT_FOUND, format!("{address} is not registered for `{pool}`")))
            }
        }
    };
    answer(done())
}

fn answer(said: Said) -> Response {
    match said {
        Ok(done) => (StatusCode::OK, format!("{done}\n")).into_response(),
        Err((status, why)) => (status, format!("{why}\n")).into_response(),
    }
}

fn not_open(pool: &str) -> (StatusCode, String) {
    let what = format!("nobody can register for `{pool}`: it has no source `registration`");
    (StatusCode::NOT_FOUND, what)
}

fn roster(control: &dyn Control, pool: &str) -> Result<Arc<Roster>, (StatusCode, String)> {
    let mut rosters = control.rosters();
    rosters.remove(pool).ok_or_else(|| {
        let meant = closest(pool, rosters.keys().map(String::as_str));
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        (StatusCode::NOT_FOUND, format!("there is no pool {}{meant}", quote(pool)))
    })
}

fn parsed(address: &str) -> Result<EndpointAddress, (StatusCode, String)> {
    EndpointAddress::from_text(address)
        .map_err(|refusal| (StatusCode::BAD_REQUEST, refusal.to_string()))
}

/// A pool, and an address at which it has a member.
fn member(
    control: &dyn Control,
    pool: &str,
    address: &str,
) -> Result<(Arc<Roster>, EndpointAddress), (StatusCode, String)> {
    let roster = roster(control, pool)?;
    let address = parsed(address)?;
    if !roster.has(&address) {
        let what = format!("{address} is no member of `{pool}`");
        return Err((StatusCode::NOT_FOUND, what));
    }
    Ok((roster, address))
}

fn wants_saving(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|part| part == "save" || part == "save=true"))
}

/// What was done, and whether it stands in the file.
fn saved(control: &dyn Control, pool: &str, query: Option<&str>, edit: Edit, done: String) -> Said {
    if !wants_saving(query) {
        return Ok(done);
    }
    match control.save(pool, &edit) {
        Ok(file) => Ok(format!("{done}; written into {file}")),
        Err(why) => {
            let what = format!("{done}; but it was not written into the file: {why}");
            Err((StatusCode::UNPROCESSABLE_ENTITY, what))
        }
    }
}
