use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::limited::Limited;
use super::*;

const TOKEN: &str = "0123456789abcdef";

#[derive(Default)]
struct Fake {
    bad_file: AtomicBool,
    stopped: AtomicBool,
}

impl Control for Fake {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<u64, NotReloaded>> + Send + '_>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            if self.bad_file.load(Ordering::SeqCst) {
                return Err(NotReloaded::File("transom.yaml:1:1: no\n".into()));
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
                assert_eq!(ask(address, line, &[&host, token]).await, expected, "{line} {token}");
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
    let at = |address: &str, token| TcpAdmin::bind(address.parse().unwrap(), token).err().unwrap();
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
