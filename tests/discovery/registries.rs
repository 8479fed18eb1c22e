//! Files, and what registries tell: etcd, a Docker-style socket, a Consul-style catalogue.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use transom_testkit::server::Server;
use transom_testkit::unix::UnixServer;
use transom_testkit::{Port, Transom, client, until};

use super::rig::{
    Process, TRANSOM, come_and_go, config, list, members, replace, servers, shown, start,
    until_members_are,
};

#[test]
fn lb28_a_file_that_changes_is_followed_without_an_error() {
    let servers = servers();
    let pool = "    sources: [{ file: { path: shop.yaml, every: 20ms } }]";
    let transom = Transom::run(TRANSOM, &config(pool, ""));
    let file = transom.folder().join("shop.yaml");
    assert_eq!(shown(&transom)["sources"][0]["found"], 0);
    come_and_go(&transom, &servers, |now| replace(&file, &list(now)));

    // U-10: what is wrong or empty takes nothing away, and is told
    for (text, why) in [
        ("- 10.0.0.1", "it has no port"),
        ("[]", "it lists nothing any more"),
        ("", "it is empty"),
        ("{", ""),
    ] {
        replace(&file, text);
        until("the source fails", || shown(&transom)["sources"][0]["failing"].is_string());
        let shown = shown(&transom);
        let failing = shown["sources"][0]["failing"].as_str().unwrap();
        assert!(failing.contains(why), "{text}: {failing}");
        assert_eq!(members(&transom), [servers[0].address.to_string()]);
        replace(&file, &list(&[&servers[0]]));
        until("the source is well", || self::shown(&transom)["sources"][0]["failing"].is_null());
    }
    fs::remove_file(&file).unwrap();
    until("the source fails", || shown(&transom)["sources"][0]["failing"].is_string());
    assert_eq!(client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(transom.metric("transom_pool_source_failing"), 1.0);
    let said = transom.said();
    assert!(said.contains("source file shop.yaml") && said.contains("is well again"), "{said}");
}

/// A real etcd.
struct Etcd {
    process: Option<Process>,
    folder: tempfile::TempDir,
    client: Port,
    peer: Port,
}

impl Etcd {
    fn start() -> Self {
        let free = || Port::reserve().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut etcd = Etcd { process: None, folder, client: free(), peer: free() };
        etcd.run();
        etcd
    }

    fn run(&mut self) {
        let [client, peer] =
            [&self.client, &self.peer].map(|port| format!("http://{}", port.address));
        let mut command = Command::new("etcd");
        command
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--name", "one", "--initial-cluster", &format!("one={peer}")])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--unsafe-no-fsync"])
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH);
        self.process = Some(start(&mut command));
        until("etcd answers", || self.ask("range", json!({ "key": encoded("x") })).is_some());
    }

    fn ask(&self, what: &str, body: Value) -> Option<Value> {
        let body = body.to_string();
        let request = format!(
            "POST /v3/kv/{what} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut client = transom_testkit::Client::try_connect(self.client.address).ok()?;
        let response = client.send(request).try_response("POST").ok()?;
        (response.status == 200).then(|| serde_json::from_str(&response.text()).expect("JSON"))
    }

    fn put(&self, key: &str, value: &str) {
        let done = self.ask("put", json!({ "key": encoded(key), "value": encoded(value) }));
        assert!(done.is_some(), "etcd takes the key");
    }

    fn delete(&self, key: &str) {
        assert!(self.ask("deleterange", json!({ "key": encoded(key) })).is_some());
    }

    fn set(&self, servers: &[&Server], all: &[Server]) {
        for server in all {
            let key = format!("/pools/shop/{}", server.address);
            match servers.iter().any(|one| one.address == server.address) {
                true => {
                    self.put(&key, &json!({ "address": server.address.to_string() }).to_string())
                }
                false => self.delete(&key),
            }
        }
    }
}

fn encoded(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in text.as_bytes().chunks(3) {
        let bits = part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - part.len()));
        for at in 0..4 {
            match at <= part.len() {
                true => out.push(char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63])),
                false => out.push('='),
            }
        }
    }
    out
}

#[test]
fn lb29_keys_of_a_real_etcd_are_followed_without_an_error() {
    let mut etcd = Etcd::start();
    let servers = servers();
    etcd.put("/pools/shopping", "10.0.0.1:80");
    let pool = format!(
        "    sources: [{{ etcd: {{ prefix: /pools/shop/, servers: 'http://{}' }} }}]",
        etcd.client.address
    );
    let transom = Transom::run(TRANSOM, &config(&pool, ""));
    come_and_go(&transom, &servers, |now| etcd.set(now, &servers));

    // a value that is no endpoint is left out and told
    etcd.put("/pools/shop/x", "nonsense");
    until("the key is told", || {
        let shown = shown(&transom);
        shown["sources"][0]["remarks"][0].as_str().is_some_and(|r| r.contains("/pools/shop/x"))
    });
    etcd.delete("/pools/shop/x");
    // the last one cannot go by mistake
    etcd.set(&[], &servers);
    until("the source fails", || shown(&transom)["sources"][0]["failing"].is_string());
    assert_eq!(members(&transom), [servers[0].address.to_string()]);
    // without etcd the last good set goes on, and with it news are heard again
    etcd.process = None;
    assert_eq!(client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    etcd.run();
    etcd.set(&[&servers[1], &servers[2]], &servers);
    until_members_are(&transom, &[&servers[1], &servers[2]]);
}

/// What a Docker-style server knows.
#[derive(Default)]
struct Containers {
    list: Mutex<Vec<Value>>,
    listeners: Mutex<Vec<std::os::unix::net::UnixStream>>,
}

impl Containers {
    fn set(&self, servers: &[&Server]) {
        let container = |server: &&Server| {
            json!({
                "Names": [format!("/shop-{}", server.address.port())],
                "Status": "Up 2 seconds",
                "Labels": { "transom.pool": "shop", "transom.port": server.address.port().to_string() },
                "NetworkSettings": { "Networks": { "shop": { "IPAddress": server.address.ip().to_string() } } },
                "Ports": [],
            })
        };
        *self.list.lock().unwrap() = servers.iter().map(container).collect();
        let event = format!("{}\n", json!({ "Type": "container", "Action": "start" }));
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        let mut listeners = self.listeners.lock().unwrap();
        listeners.retain_mut(|stream| stream.write_all(chunk.as_bytes()).is_ok());
    }
}

#[test]
fn lb29_containers_of_a_docker_style_socket_are_followed_without_an_error() {
    let containers = Arc::new(Containers::default());
    let known = containers.clone();
    let docker = UnixServer::start(move |request, mut stream| {
        let ok = "HTTP/1.1 200 OK\r\n";
        if request.target.starts_with("/events?filters=") {
            let head = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            known.listeners.lock().unwrap().push(stream);
            return;
        }
        assert!(request.target.starts_with("/containers/json?filters="), "{}", request.target);
        assert!(request.target.contains("transom.pool%3Dshop"), "{}", request.target);
        let body = Value::from(known.list.lock().unwrap().clone()).to_string();
        let text = format!("{ok}Content-Length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(text.as_bytes());
    });
    let servers = servers();
    containers.set(&[&servers[0]]);
    let pool = format!(
        "    sources: [{{ docker: {{ label: transom.pool=shop, server: 'unix:{}' }} }}]",
        docker.path().display()
    );
    let transom = Transom::run(TRANSOM, &config(&pool, ""));
    come_and_go(&transom, &servers, |now| containers.set(now));
}

#[test]
fn lb29_instances_of_a_consul_style_catalogue_are_followed_without_an_error() {
    type Known = (u64, Vec<Value>);
    let known: Arc<(Mutex<Known>, std::sync::Condvar)> =
        Arc::new((Mutex::new((1, vec![])), Default::default()));
    let its = known.clone();
    let consul = UnixServer::start(move |request, mut stream| {
        let (path, query) = request.target.split_once('?').unwrap();
        assert_eq!(path, "/v1/health/service/shop");
        let index =
            query.split('&').find_map(|part| part.strip_prefix("index=")?.parse::<u64>().ok());
        let (lock, changed) = &*its;
        let state =
            changed.wait_while(lock.lock().unwrap(), |(now, _)| Some(*now) == index).unwrap();
        let body = Value::from(state.1.clone()).to_string();
        let text = format!(
            "HTTP/1.1 200 OK\r\nX-Consul-Index: {}\r\nContent-Length: {}\r\n\r\n{body}",
            state.0,
            body.len()
        );
        let _ = stream.write_all(text.as_bytes());
    });
    let servers = servers();
    let pool = format!(
        "    sources: [{{ consul: {{ service: shop, server: 'unix:{}' }} }}]",
        consul.path().display()
    );
    let transom = Transom::run(TRANSOM, &config(&pool, ""));
    come_and_go(&transom, &servers, |now| {
        let instance = |server: &&Server| {
            json!({ "Service": { "ID": server.address.to_string(), "Address": server.address.ip().to_string(),
                                 "Port": server.address.port() } })
        };
        let (lock, changed) = &*known;
        let mut state = lock.lock().unwrap();
        *state = (state.0 + 1, now.iter().map(instance).collect());
        changed.notify_all();
    });
}

/// Asked without a pause, and nothing of its answers taken: Consul itself says that zero is its mistake.
#[test]
fn u10_a_catalogue_that_has_no_index_is_asked_with_pauses_and_believed() {
    let [server, ..] = servers();
    let asked = Arc::new(AtomicUsize::new(0));
    let (its, port) = (asked.clone(), server.address.port());
    let consul = UnixServer::start(move |_, mut stream| {
        its.fetch_add(1, Ordering::SeqCst);
        let one = json!([{ "Service": { "ID": "a", "Address": "127.0.0.1", "Port": port } }]);
        let body = one.to_string();
        let head = format!("X-Consul-Index: 0\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}{body}").as_bytes());
    });
    let pool = format!(
        "    sources: [{{ consul: {{ service: shop, server: 'unix:{}' }} }}]",
        consul.path().display()
    );
    let transom = Transom::run(TRANSOM, &config(&pool, ""));
    assert_eq!(client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let before = asked.load(Ordering::SeqCst);
    thread::sleep(Duration::from_secs(2));
    let often = asked.load(Ordering::SeqCst) - before;
    assert!(often <= 12, "{often} times in two seconds");
}

/// Both were called the same: a reload gave the second what the first had found, and the metrics had two
/// samples of one name.
#[test]
fn lb29_a_service_in_two_places_is_two_sources() {
    let [a, b, _] = servers();
    let registry = |server: &Server| {
        let one = json!([{ "Service": { "ID": "a", "Address": "127.0.0.1", "Port": server.address.port() } }]);
        let body = one.to_string();
        UnixServer::start(move |_, mut stream| {
            let head = format!("X-Consul-Index: 0\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}{body}").as_bytes());
        })
    };
    let registries = [registry(&a), registry(&b)];
    let source = |registry: &UnixServer| {
        format!("{{ consul: {{ service: shop, server: 'unix:{}' }} }}", registry.path().display())
    };
    let pool = format!("    sources: [{}, {}]", source(&registries[0]), source(&registries[1]));
    let transom = Transom::run(TRANSOM, &config(&pool, ""));
    until_members_are(&transom, &[&a, &b]);
    let metrics = transom.admin("GET", "/metrics").text();
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<_> =
        samples.filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "samples of one name");
}
