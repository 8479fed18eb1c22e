//! How operators look into the running program and steer it.
//!
//! A Unix socket that only its owner can open, and, where the file says so, an address of this
//! machine with a token. Both are apart from every listener that serves requests; see
//! `admin/gate.rs` for who may do what, and [`client`] for the other side.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200: the program is alive |
//! | `GET /readyz` | 200, or 503 while it drains or accepts nothing for want of room |
//! | `GET /metrics` | numbers for Prometheus |
//! | `GET /config` | the running configuration, without its secrets |
//! | `GET /tasks` | what runs in the background, as JSON |
//! | `POST /reload` | 200 and the new generation, 422 and what is wrong with the file, or 503 and why it cannot run |
//! | `POST /stop` | 202: accepts nothing new, finishes what is open, then goes |
//! | `GET /apis...` | APIs, their versions and who calls them: see `admin/apis.rs` |
//! | `/pools...` | pools, and how to change them: see `admin/pools.rs` |
//! | `/revoked...` | tokens that are not believed any more: see `admin/revoked.rs` |
//! | `/consumers...`, `/keys...` | who may ask, and with which keys: see `admin/consumers.rs` |

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use transom_balance::discovery::Roster;
use transom_gateway::catalog::Api;
use transom_gateway::consumer::{Consumer, Consumers};
use transom_gateway::limit::meter::Usage;
use transom_gateway::token::revoked::Revoked;

mod apis;
pub mod client;
mod consumers;
mod gate;
mod limited;
mod pools;
mod revoked;
mod sockets;
mod trail;
mod view;

pub use pools::Edit;
pub use sockets::{BindError, TcpAdmin, UnixAdmin};

use crate::store::Store;
use gate::Gate;

/// What the rest of the program does for an operator.
pub trait Control: Send + Sync {
    /// Reads the file anew and runs it: the generation that runs now, or why the old configuration
    /// goes on. Who asks may leave, which drops the future: what
    /// must not be left half done belongs into a task of its own.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<u64, NotReloaded>> + Send + '_>>;

    /// Begins to drain; the program ends after that.
    fn stop(&self);

    /// Whether every listener is up and none drains, in a few words; with what is given up because
    /// there is too much.
    ///
    /// # Errors
    /// Why it is not.
    fn ready(&self) -> Result<String, String>;

    /// The running configuration with its generation and hash, secrets masked.
    fn config(&self) -> String;

    /// In the text format of Prometheus.
    fn metrics(&self) -> String;

    fn tasks(&self) -> Vec<Task>;

    /// The pools of the file by name, each with where its endpoints come from.
    fn rosters(&self) -> BTreeMap<String, Arc<Roster>>;

    /// Tokens that are not to be believed any more.
    fn revoked(&self) -> Arc<Revoked>;

    /// Everybody who may ask.
    fn consumers(&self) -> Consumers;

    /// What somebody has used of quotas.
    fn usage(&self, consumer: &Consumer) -> Vec<Usage>;

    /// The APIs of the running configuration.
    fn apis(&self) -> Arc<Vec<Arc<Api>>>;

    /// Where consumers and keys are made; none where the file names no place for it.
    fn store(&self) -> Option<Store>;

    /// Writes a change of a pool into the file: the file it was written into.
    ///
    /// # Errors
    /// Why it cannot be; the file is as it was.
    fn save(&self, pool: &str, edit: &Edit) -> Result<String, String>;
}

/// Why the old configuration goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// The file is wrong: the findings, as they are printed.
    File(String),
    /// The file is right, but cannot be run here.
    System(String),
}

/// What runs in the background under one name: tasks of the control side, and for each address its
/// open connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub name: String,
    pub running: usize,
    /// How often one of them was started again after it failed.
    pub restarts: u64,
    /// What it failed with last.
    pub failure: Option<String>,
}

type Operator = State<Arc<dyn Control>>;

fn router(control: Arc<dyn Control>, gate: Gate) -> Router {
    let (gate, asked) = (Arc::new(gate), control.clone());
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/config", get(async |State(control): Operator| control.config()))
        .route("/tasks", get(tasks))
        .route("/reload", post(reload))
        .route("/stop", post(stop))
        .merge(apis::routes())
        .merge(consumers::routes())
        .merge(pools::routes())
        .merge(revoked::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        // Outermost, so that not even the names of paths are told to whom they do not concern.
        .layer(axum::middleware::from_fn(move |request, next| {
            let (gate, asked) = (gate.clone(), asked.clone());
            async move { guarded(gate.pass(&*asked, request, next).await) }
        }))
        .with_state(control)
}

/// Whatever is answered here is for an operator now, and for nobody's cache or page.
fn guarded(mut response: Response) -> Response {
    let fields = response.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn readyz(State(control): Operator) -> (StatusCode, String) {
    match control.ready() {
        Ok(how) => (StatusCode::OK, how + "\n"),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

async fn metrics(State(control): Operator) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], control.metrics())
}

async fn tasks(State(control): Operator) -> impl IntoResponse {
    let tasks: Vec<_> = control
        .tasks()
        .into_iter()
        .map(|Task { name, running, restarts, failure }| {
            json!({ "name": name, "running": running, "restarts": restarts, "failure": failure })
        })
        .collect();
    axum::Json(tasks)
}

async fn reload(State(control): Operator) -> (StatusCode, String) {
    match control.reload().await {
        Ok(generation) => (StatusCode::OK, format!("generation {generation} is running\n")),
        Err(NotReloaded::File(findings)) => (StatusCode::UNPROCESSABLE_ENTITY, findings),
        Err(NotReloaded::System(what)) => (StatusCode::SERVICE_UNAVAILABLE, what + "\n"),
    }
}

async fn stop(State(control): Operator) -> (StatusCode, &'static str) {
    control.stop();
    (StatusCode::ACCEPTED, "draining\n")
}

async fn not_found() -> (StatusCode, &'static str) {
    let sentence = "there is healthz, readyz, metrics, config, tasks, apis, pools, consumers, keys, revoked, reload and stop\n";
    (StatusCode::NOT_FOUND, sentence)
}

async fn wrong_method() -> (StatusCode, &'static str) {
    let sentence = "GET shows, POST does or adds, PUT registers, DELETE takes out\n";
    (StatusCode::METHOD_NOT_ALLOWED, sentence)
}

#[cfg(test)]
mod tests;
