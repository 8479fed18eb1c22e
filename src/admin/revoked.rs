//! Tokens that are not to be believed any more.
//!
//! | request | answer |
//! |---|---|
//! | `GET /revoked` | the list, as JSON |
//! | `POST /revoked` with `{"value": "...", "claim": "jti", "for": "24h"}` | 201: from now on no token with that claim passes |
//! | `DELETE /revoked/CLAIM/VALUE` | 204: it is taken out |
//!
//! `claim` is `jti` unless it says otherwise; after `for` (24 hours) the entry is forgotten, which
//! should be longer than tokens live. The list goes on over reloads. With `data:` it is on disk before it is
//! answered, and survives a restart; otherwise it ends with the process, and what has to stay belongs into
//! the file that `revoked` of the policy names.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use transom_gateway::token::revoked::{Entry, Revoked};
use transom_gateway::token::seconds;
use transom_settings::{Duration, FromText, quote};

use super::{Control, Operator};

pub(super) fn routes() -> Router<Arc<dyn Control>> {
    Router::new()
        .route("/revoked", get(list).post(add))
        .route("/revoked/{claim}/{value}", delete(remove))
}

async fn list(State(control): Operator) -> Json<Vec<Value>> {
    let shown =
        |entry: Entry| json!({ "claim": entry.claim, "value": entry.value, "until": entry.until });
    let now = seconds(SystemTime::now());
    Json(control.revoked().list(now).into_iter().map(shown).collect())
}

async fn add(State(control): Operator, body: String) -> Response {
    let (claim, value, time) = match asked(&body) {
        Ok(asked) => asked,
        Err(why) => return (StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")).into_response(),
    };
    let now = seconds(SystemTime::now());
    let lasts = i64::try_from(time.get().as_secs()).unwrap_or(i64::MAX);
    let entry = Entry { claim, value, until: now.saturating_add(lasts) };
    let added = match control.store() {
        Some(store) => store.ask(move |writer| writer.revoke(&entry, now)).await,
        None => Ok(control.revoked().add(&entry, now)),
    };
    match added {
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
        Ok(true) => (StatusCode::CREATED, "revoked\n").into_response(),
        Ok(false) => {
            let sentence = format!("the list has {} entries already\n", Revoked::MOST);
            (StatusCode::INSUFFICIENT_STORAGE, sentence).into_response()
        }
    }
}

/// The claim, what it says, and for how long.
fn asked(body: &str) -> Result<(String, String, Duration), String> {
    let Ok(Value::Object(asked)) = serde_json::from_str(body) else {
        return Err("it is no JSON object such as {\"value\": \"...\"}".to_owned());
    };
    if let Some(key) = asked.keys().find(|key| !["claim", "value", "for"].contains(&key.as_str())) {
        return Err(format!("{} is not known; there is value, claim and for", quote(key)));
    }
    let text = |name: &str| match asked.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{name}` is a text")),
    };
    let value = text("value")?.ok_or("`value` is missing")?;
    let claim = text("claim")?.unwrap_or_else(|| "jti".to_owned());
    let time = match text("for")? {
        None => Duration::hours(24),
        Some(time) => Duration::from_text(&time).map_err(|refusal| format!("`for`: {refusal}"))?,
    };
    Ok((claim, value, time))
}

async fn remove(
    State(control): Operator,
    Path((claim, value)): Path<(String, String)>,
) -> Response {
    let was = match control.store() {
        Some(store) => store.ask(move |writer| writer.restore(&claim, &value)).await,
        None => Ok(control.revoked().remove(&claim, &value)),
    };
    match was {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => (StatusCode::NOT_FOUND, "that is not in the list\n").into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}
