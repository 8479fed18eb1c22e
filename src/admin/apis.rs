//! APIs, their versions, and who calls them.
//!
//! | request | answer |
//! |---|---|
//! | `GET /apis` | all of them, each version in short, as JSON |
//! | `GET /apis/NAME` | one, with the callers of each version, who called last first |
//!
//! Calls are counted since the program started, over reloads. At most 1000 callers of a version are told
//! apart, the rest are `(others)`; `(nobody)` is who showed no credential, or was refused before one was
//! asked for.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use transom_gateway::catalog::{Api, Version, now};
use transom_gateway::moment::Moment;
use transom_settings::quote;

use super::{Control, Operator};

pub(super) fn routes() -> Router<Arc<dyn Control>> {
    Router::new().route("/apis", get(list)).route("/apis/{name}", get(show))
}

async fn list(State(control): Operator) -> Json<Vec<Value>> {
    let now = now();
    Json(control.apis().iter().map(|api| shown(api, |version| in_short(version, now))).collect())
}

async fn show(State(control): Operator, Path(name): Path<String>) -> Response {
    let (apis, now) = (control.apis(), now());
    match apis.iter().find(|api| api.name == name) {
        Some(api) => Json(shown(api, |version| whole(version, now))).into_response(),
        None => {
            let sentence = format!("there is no API {}\n", quote(&name));
            (StatusCode::NOT_FOUND, sentence).into_response()
        }
    }
}

fn shown(api: &Api, version: impl Fn(&Version) -> Value) -> Value {
    let versions: Vec<Value> = api.versions.iter().map(version).collect();
    json!({ "name": api.name, "title": api.title, "listed": api.listed, "versions": versions })
}

fn in_short(version: &Version, now: i64) -> Value {
    let lifecycle = version.lifecycle.as_ref();
    let callers = version.callers.list();
    json!({
        "name": version.name,
        "path": version.path,
        "asked-by": version.asked_by,
        "default": version.is_default,
        "age": version.age(now),
        "deprecated": lifecycle.map(|lifecycle| lifecycle.deprecated.to_string()),
        "sunset": lifecycle.and_then(|it| it.sunset.as_ref()).map(ToString::to_string),
        "operations": version.document.as_ref().map(|document| document.operations.len()),
        "calls": callers.iter().map(|caller| caller.calls).sum::<u64>(),
        "callers": callers.len(),
    })
}

fn whole(version: &Version, now: i64) -> Value {
    let mut shown = in_short(version, now);
    let callers = version.callers.list();
    let caller = callers.iter().map(|caller| {
        let last = Moment::of_second(caller.last).map(|moment| moment.to_string());
        json!({ "consumer": &*caller.name, "calls": caller.calls, "last": last })
    });
    shown["callers"] = caller.collect();
    shown
}
