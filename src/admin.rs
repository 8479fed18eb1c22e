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
//! | `POST /reload` | 200 and the new generation, or 422 and what is wrong with the file |
//! | `POST /stop` | 202: accepts nothing new, finishes what is open, then goes |
//! | `GET /apis...` | APIs, their versions and who calls them: see `admin/apis.rs` |
//! | `/pools...` | pools, and how to change them: see `admin/pools.rs` |
//! | `/revoked...` | tokens that are not believed any more: see `admin/revoked.rs` |
//! | `/consumers...`, `/keys...` | who may ask, and with which keys: see `admin/consumers.rs` |

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
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
use transom_net::listen::{self, ListenError};

mod apis;
pub mod client;
mod consumers;
mod gate;
mod limited;
mod pools;
mod revoked;
mod trail;
mod view;

pub use pools::Edit;

use crate::config::SHORTEST_TOKEN;
use crate::store::Store;
use gate::Gate;
use limited::Limited;

/// Connections to the Unix socket and to the address, each.
const CONNECTIONS: usize = 64;

/// What the rest of the program does for an operator.
pub trait Control: Send + Sync {
    /// Reads the file anew and runs it: the generation that runs now, or the findings as they are
    /// printed, the old configuration going on. Who asks may leave, which drops the future: what
    /// must not be left half done belongs into a task of its own.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<u64, String>> + Send + '_>>;

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

/// The Unix socket. Its file goes when this is dropped.
pub struct UnixAdmin {
    listener: tokio::net::UnixListener,
    file: SocketFile,
}

struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a successor's socket is left alone.
    identity: Option<(u64, u64)>,
}

impl UnixAdmin {
    /// Takes the path, for the owner alone (0600). The directory is made for the owner where it is
    /// not there; a socket that a dead process left is replaced. Needs a runtime.
    ///
    /// # Errors
    /// When another process answers there, or the path cannot be used.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |error| BindError::Path(path.to_owned(), error);
        if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(failed)?;
        }
        let socket = OwnedFd::from(listen::bind_unix(path, 0o600)?);
        let identity = identity(path);
        let file = SocketFile { path: path.to_owned(), identity };
        let listener = tokio::net::UnixListener::from_std(socket.into()).map_err(failed)?;
        Ok(UnixAdmin { listener, file })
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, control: Arc<dyn Control>) {
        // Removed with the future, whenever that ends.
        let _file = self.file;
        let listener = Limited::new(self.listener, CONNECTIONS);
        let router = router(control, Gate::socket());
        // Never ends: the listener retries what fails.
        let _ = axum::serve(listener, router).await;
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // It goes on existing at worst, and the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// An address of this machine.
pub struct TcpAdmin {
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    token: Box<str>,
}

impl TcpAdmin {
    /// Takes the address. Needs a runtime.
    ///
    /// # Errors
    /// When the address is not of this machine alone, is taken, or the token is too short to
    /// protect anything.
    pub fn bind(address: SocketAddr, token: &str) -> Result<Self, BindError> {
        if !address.ip().to_canonical().is_loopback() {
            return Err(BindError::NotLoopback(address));
        }
        if token.len() < SHORTEST_TOKEN {
            return Err(BindError::ShortToken);
        }
        let unusable = |error| BindError::Address(address, error);
        let mut bound = listen::bind(address, 1)?;
        let socket = bound.pop().ok_or_else(|| unusable(io::ErrorKind::Other.into()))?;
        let socket = std::net::TcpListener::from(OwnedFd::from(socket));
        let listener = tokio::net::TcpListener::from_std(socket).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        Ok(TcpAdmin { listener, address, token: token.into() })
    }

    /// With the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the future is dropped.
    pub async fn serve(self, control: Arc<dyn Control>) {
        let listener = Limited::new(self.listener, CONNECTIONS);
        let router = router(control, Gate::address(self.address, self.token));
        let _ = axum::serve(listener, router).await;
    }
}

/// Why operators cannot be answered there.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("address {0} cannot be used for the admin interface")]
    Address(SocketAddr, #[source] io::Error),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("the admin address {0} is reached from other machines; use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    #[error("the admin socket `{0}` cannot be used: {1}")]
    Path(PathBuf, #[source] io::Error),
    #[error("the admin token is too short; use at least {n} characters, such as of `openssl rand -hex 16`", n = SHORTEST_TOKEN)]
    ShortToken,
}

impl BindError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            BindError::Listen(error) => error.hint(),
            BindError::Path(..) => Some(
                "`admin.socket` may be any path in a directory that Transom may write to".into(),
            ),
            _ => None,
        }
    }
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
        Err(findings) => (StatusCode::UNPROCESSABLE_ENTITY, findings),
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
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[derive(Default)]
    struct Fake {
        bad_file: AtomicBool,
        stopped: AtomicBool,
    }

    impl Control for Fake {
        fn reload(&self) -> Pin<Box<dyn Future<Output = Result<u64, String>> + Send + '_>> {
            Box::pin(async {
                tokio::task::yield_now().await;
                if self.bad_file.load(Ordering::SeqCst) {
                    return Err("transom.yaml:1:1: no\n".into());
                }
                Ok(4)
            })
        }

        fn stop(&self) {
            self.stopped.store(true, Ordering::SeqCst);
        }

        fn ready(&self) -> Result<String, String> {
            match self.stopped.load(Ordering::SeqCst) {
                true => Err("not ready".into()),
                false => Ok("ready".into()),
            }
        }

        fn config(&self) -> String {
            "listeners: {}\n".into()
        }

        fn metrics(&self) -> String {
            "transom_up 1\n".into()
        }

        fn tasks(&self) -> Vec<Task> {
            vec![Task { name: "sweep".into(), running: 2, restarts: 0, failure: None }]
        }

        fn rosters(&self) -> BTreeMap<String, Arc<Roster>> {
            BTreeMap::new()
        }

        fn revoked(&self) -> Arc<Revoked> {
            Arc::default()
        }

        fn consumers(&self) -> Consumers {
            Consumers::default()
        }

        fn usage(&self, _: &Consumer) -> Vec<Usage> {
            Vec::new()
        }

        fn apis(&self) -> Arc<Vec<Arc<Api>>> {
            Arc::default()
        }

        fn store(&self) -> Option<Store> {
            None
        }

        fn save(&self, _: &str, _: &Edit) -> Result<String, String> {
            Err("there is no file".into())
        }
    }

    /// Runs `test` beside an admin socket.
    async fn with_socket(test: impl AsyncFnOnce(&Path, &Fake)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/admin.sock");
        let fake = Arc::new(Fake::default());
        let admin = UnixAdmin::bind(&path).unwrap();
        tokio::select! {
            () = admin.serve(fake.clone()) => unreachable!("serves for ever"),
            () = test(&path, &fake) => {}
        }
        assert!(!path.exists(), "the socket goes with its server");
    }

    async fn with_address(test: impl AsyncFnOnce(SocketAddr, &Fake)) {
        let fake = Arc::new(Fake::default());
        let admin = TcpAdmin::bind("127.0.0.1:0".parse().unwrap(), TOKEN).unwrap();
        let address = admin.address();
        tokio::select! {
            () = admin.serve(fake.clone()) => unreachable!("serves for ever"),
            () = test(address, &fake) => {}
        }
    }

    /// The status of a request over TCP with exactly these fields.
    async fn ask(address: SocketAddr, line: &str, fields: &[&str]) -> u16 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let fields = fields.join("\r\n");
        let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn m01_the_socket_is_for_its_owner_and_needs_no_token() {
        with_socket(async |path, _| {
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(path), 0o600);
            assert_eq!(mode(path.parent().unwrap()), 0o700);
            for (method, path_asked, expected) in [
                ("GET", "/healthz", (200, "alive\n")),
                ("GET", "/readyz", (200, "ready\n")),
                ("GET", "/metrics", (200, "transom_up 1\n")),
                ("GET", "/config", (200, "listeners: {}\n")),
                (
                    "GET",
                    "/tasks",
                    (200, r#"[{"failure":null,"name":"sweep","restarts":0,"running":2}]"#),
                ),
                ("POST", "/reload", (200, "generation 4 is running\n")),
            ] {
                let (status, text) = client::call(path, method, path_asked).await.unwrap();
                assert_eq!((status, &*text), expected);
            }
            assert_eq!(client::call(path, "GET", "/reload").await.unwrap().0, 405);
            assert_eq!(client::call(path, "POST", "/metrics").await.unwrap().0, 405);
            assert_eq!(client::call(path, "GET", "/").await.unwrap().0, 404);
        })
        .await;
    }

    #[tokio::test]
    async fn a_bad_file_is_told_and_a_stop_makes_it_unready() {
        with_socket(async |path, fake| {
            fake.bad_file.store(true, Ordering::SeqCst);
            let answer = client::call(path, "POST", "/reload").await.unwrap();
            assert_eq!(answer, (422, "transom.yaml:1:1: no\n".into()));
            assert_eq!(client::call(path, "POST", "/stop").await.unwrap().0, 202);
            assert!(fake.stopped.load(Ordering::SeqCst));
            assert_eq!(client::call(path, "GET", "/readyz").await.unwrap().0, 503);
            assert_eq!(client::call(path, "GET", "/healthz").await.unwrap().0, 200);
        })
        .await;
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let living = UnixAdmin::bind(&path).unwrap();
        let error = UnixAdmin::bind(&path).err().unwrap().to_string();
        assert!(error.ends_with("is already in use"), "{error}");
        drop(living);
        std::fs::write(&path, "a file").unwrap();
        assert!(UnixAdmin::bind(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }

    #[tokio::test]
    async fn a_successors_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let first = UnixAdmin::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = UnixAdmin::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn the_address_answers_only_to_the_token() {
        with_address(async |address, fake| {
            let host = format!("Host: {address}");
            let right = format!("Authorization: Bearer {TOKEN}");
            let tokens = [
                (right.as_str(), 200),
                (&format!("authorization: bearer  {TOKEN}"), 200),
                (&format!("Authorization: Bearer {TOKEN}0"), 401),
                ("Authorization: Bearer 0123456789abcdee", 401),
                ("Authorization: Bearer ", 401),
                (&format!("Authorization: Basic {TOKEN}"), 401),
                ("X-Nothing: 1", 401),
            ];
            for (token, expected) in tokens {
                for line in ["GET /config", "GET /metrics", "GET /tasks", "POST /reload"] {
                    assert_eq!(
                        ask(address, line, &[&host, token]).await,
                        expected,
                        "{line} {token}"
                    );
                }
            }
            assert_eq!(ask(address, "POST /stop", &[&host]).await, 401);
            assert!(!fake.stopped.load(Ordering::SeqCst));
            assert_eq!(ask(address, "GET /nothing", &[&host]).await, 401);
            assert_eq!(ask(address, "GET /healthz", &[&host]).await, 200);
            assert_eq!(ask(address, "GET /readyz", &[&host]).await, 200);
            assert_eq!(ask(address, "GET /config", &[&host, &right, &right]).await, 401);
        })
        .await;
    }

    #[tokio::test]
    async fn m03_a_name_that_was_bound_to_this_machine_is_refused() {
        with_address(async |address, _| {
            let token = format!("Authorization: Bearer {TOKEN}");
            let port = address.port();
            for (host, expected) in [
                (format!("127.0.0.1:{port}"), 200),
                (format!("localhost:{port}"), 200),
                (format!("LocalHost:{port}"), 200),
                (format!("[::1]:{port}"), 200),
                (format!("evil.example:{port}"), 403),
                (format!("127.0.0.1.nip.io:{port}"), 403),
                (format!("localhost.:{port}"), 403),
                (format!("10.0.0.1:{port}"), 403),
                ("127.0.0.1:1".into(), 403),
                ("127.0.0.1".into(), 403),
                (format!("user@127.0.0.1:{port}"), 403),
                (String::new(), 403),
            ] {
                let field = format!("Host: {host}");
                for path in ["GET /healthz", "GET /metrics"] {
                    assert_eq!(ask(address, path, &[&field, &token]).await, expected, "{host}");
                }
            }
            let host = format!("Host: 127.0.0.1:{port}");
            assert_eq!(ask(address, "GET /metrics", &[&host, &host, &token]).await, 403);
        })
        .await;
    }

    #[tokio::test]
    async fn m02_a_page_of_another_origin_is_refused() {
        with_address(async |address, fake| {
            let token = format!("Authorization: Bearer {TOKEN}");
            let host = format!("Host: {address}");
            for (field, expected) in [
                (format!("Origin: http://{address}"), 202),
                ("Origin: null".into(), 403),
                ("Origin: https://evil.example".into(), 403),
                (format!("Origin: http://evil.example:{}", address.port()), 403),
                ("Sec-Fetch-Site: cross-site".into(), 403),
                ("Sec-Fetch-Site: same-site".into(), 403),
                ("Sec-Fetch-Site: same-origin".into(), 202),
            ] {
                fake.stopped.store(false, Ordering::SeqCst);
                let status = ask(address, "POST /stop", &[&host, &token, &field]).await;
                assert_eq!(status, expected, "{field}");
                assert_eq!(fake.stopped.load(Ordering::SeqCst), expected == 202);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn an_address_for_others_or_a_weak_token_is_refused() {
        let at =
            |address: &str, token| TcpAdmin::bind(address.parse().unwrap(), token).err().unwrap();
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            assert!(matches!(at(address, TOKEN), BindError::NotLoopback(_)));
        }
        assert!(matches!(at("127.0.0.1:0", "short"), BindError::ShortToken));
        assert!(at("127.0.0.1:0", "").to_string().contains("openssl rand"));
    }

    #[tokio::test]
    async fn m11_one_who_opens_every_connection_is_put_out_and_others_are_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let limited = Limited::new(listener, 3).idle(std::time::Duration::from_millis(100));
        let router = router(Arc::new(Fake::default()), Gate::socket());
        let test = async {
            let mut held = Vec::new();
            for _ in 0..6 {
                held.push(tokio::net::UnixStream::connect(&path).await.unwrap());
            }
            assert_eq!(client::call(&path, "GET", "/healthz").await.unwrap().0, 200);
        };
        tokio::select! {
            _ = async { axum::serve(limited, router).await } => unreachable!("serves for ever"),
            () = test => {}
        }
    }
}
