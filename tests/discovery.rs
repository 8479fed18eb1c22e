//! Endpoints come and go while requests do: by file, by DNS, by etcd, by a Docker-style socket, by
//! registration and by hand; and no request notices (done-when 3).
//!
//! etcd and dnsmasq are the real ones: `.ci/run` installs them. Without them these tests fail.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use transom_testkit::load::{Lane, Load};
use transom_testkit::server::Server;
use transom_testkit::unix::UnixServer;
use transom_testkit::{Port, Transom, client, until};

const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

/// How often endpoints come and go under load.
const ROUNDS: usize = 5;

/// A listener in front of a pool with these settings.
fn config(pool: &str, more: &str) -> String {
    format!(
        "listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: {{ to: shop, retries: 0 }} }}] }} }}\n\
         pools:\n  shop:\n{pool}\n{more}"
    )
}

/// The addresses of the members, as an operator sees them.
fn members(transom: &Transom) -> Vec<String> {
    let shown = shown(transom);
    let members = shown["members"].as_array().expect("members").iter();
    let mut all: Vec<String> =
        members.map(|member| member["address"].as_str().expect("an address").to_owned()).collect();
    all.sort();
    all
}

fn shown(transom: &Transom) -> Value {
    let answer = transom.admin("GET", "/pools/shop");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

#[track_caller]
fn until_members_are(transom: &Transom, wanted: &[&Server]) {
    let mut wanted: Vec<String> = wanted.iter().map(|server| server.address.to_string()).collect();
    wanted.sort();
    until(&format!("the members are {wanted:?}"), || members(transom) == wanted);
}

/// Lets servers come and go under load: `set` says who there shall be. Nobody may notice.
#[track_caller]
fn come_and_go(transom: &Transom, servers: &[Server; 3], mut set: impl FnMut(&[&Server])) {
    let [a, b, c] = servers;
    set(&[a]);
    until_members_are(transom, &[a]);
    let kept = Lane::new(transom.web(), "/kept", 200);
    let fresh = Lane { requests: 1, rate: 50, ..Lane::new(transom.web(), "/fresh", 50) };
    let load = Load::start([kept.clone(), kept.clone(), kept, fresh.clone(), fresh]);
    for _ in 0..ROUNDS {
        for now in [&[a, b][..], &[a, b, c], &[b, c], &[c], &[a]] {
            set(now);
            until_members_are(transom, now);
            let before = load.answered();
            until("the new members have had work", || load.answered() > before + 50);
        }
    }
    let outcome = load.end();
    assert!(outcome.failures.is_empty(), "{:#?}\n{}", outcome.failures, transom.said());
    assert!(outcome.answered > 1000, "{outcome:?}");
}

fn servers() -> [Server; 3] {
    ["a", "b", "c"].map(Server::start)
}

fn list(servers: &[&Server]) -> String {
    servers.iter().map(|server| format!("- {}\n", server.address)).collect()
}

fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, file).unwrap();
}

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

/// A child that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that `.ci/run` installs.
#[track_caller]
fn start(command: &mut Command) -> Process {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Process(child.unwrap_or_else(|e| panic!("{program} is needed, which .ci/run installs: {e}")))
}

/// A DNS server whose names stand in a file.
struct Dns {
    process: Option<Process>,
    folder: tempfile::TempDir,
    port: Port,
}

impl Dns {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hosts"), "").unwrap();
        let mut dns = Dns { process: None, folder, port: Port::reserve().unwrap() };
        dns.run(&[]);
        dns
    }

    fn run(&mut self, more: &[String]) {
        self.process = None;
        let mut command = Command::new("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--bind-interfaces", "--listen-address=127.0.0.1", "--local=/test/", "--user="])
            .args(["--local-ttl=0", "--pid-file=", "--no-daemon"])
            .arg(format!("--port={}", self.port.address.port()))
            .arg(format!("--addn-hosts={}", self.folder.path().join("hosts").display()))
            .args(more);
        self.process = Some(start(&mut command));
        until("the DNS server answers", || self.answers());
    }

    /// Whether it answers a question: only then does it know what to do with a signal.
    fn answers(&self) -> bool {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01x\x04test\0\0\x01\0\x01";
        socket.send_to(question, self.port.address).is_ok() && socket.recv(&mut [0; 512]).is_ok()
    }

    /// The addresses of `shop.test` from now on.
    fn set(&self, servers: &[&Server]) {
        let lines: String =
            servers.iter().map(|server| format!("{} shop.test\n", server.address.ip())).collect();
        fs::write(self.folder.path().join("hosts"), lines).unwrap();
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().expect("it runs").0.id();
        kill_process(Pid::from_raw(id as i32).unwrap(), signal).unwrap();
    }
}

/// Servers on one port of several addresses of this machine.
fn servers_on_one_port() -> [Server; 3] {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let bound = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
            .map(|ip| TcpListener::bind((ip.parse::<std::net::IpAddr>().unwrap(), port)));
        if bound.iter().all(Result::is_ok) {
            let [a, b, c] = bound.map(Result::unwrap);
            return [Server::on(a, "a"), Server::on(b, "b"), Server::on(c, "c")];
        }
    }
}

fn resolver(dns: &Dns) -> String {
    format!(
        "resolver: {{ servers: ['{}'], min-ttl: 50ms, timeout: 300ms, refuse: [] }}\n",
        dns.port.address
    )
}

#[test]
fn lb28_u09_all_addresses_of_a_name_are_used_and_followed_by_ttl() {
    let mut dns = Dns::start();
    let servers = servers_on_one_port();
    let port = servers[0].address.port();
    let pool = format!("    endpoints: ['shop.test:{port}']");
    let transom = Transom::run(TRANSOM, &config(&pool, &resolver(&dns)));
    // a name that does not resolve at start is simply down
    assert_eq!(members(&transom), [""; 0]);
    let answer = client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 503);
    come_and_go(&transom, &servers, |now| dns.set(now));

    // no server: stale
    dns.process = None;
    until("the name cannot be looked up", || shown(&transom)["sources"][0]["failing"].is_string());
    assert_eq!(members(&transom), [servers[0].address.to_string()]);
    assert_eq!(client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    // and back, with other addresses
    dns.run(&[]);
    dns.set(&[&servers[1], &servers[2]]);
    until_members_are(&transom, &[&servers[1], &servers[2]]);
    // NXDOMAIN for good, three times: nobody is better than nobody
    dns.set(&[]);
    until("the name is not there", || {
        let shown = shown(&transom);
        shown["sources"][0]["failing"]
            .as_str()
            .is_some_and(|why| why.contains("Non-Existent Domain"))
    });
    thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(members(&transom).len(), 2, "the last addresses are kept");
}

#[test]
fn lb28_services_of_srv_records_are_followed() {
    let mut dns = Dns::start();
    let servers = servers_on_one_port();
    let port = servers[0].address.port();
    let names = |who: &[(&str, &str, u8)]| -> Vec<String> {
        let host = |(name, ip, _): &(&str, &str, u8)| format!("--host-record={name}.test,{ip}");
        let srv = |(name, _, priority): &(&str, &str, u8)| {
            format!("--srv-host=_http._tcp.shop.test,{name}.test,{port},{priority},5")
        };
        who.iter().flat_map(|one| [host(one), srv(one)]).collect()
    };
    dns.run(&names(&[("a", "127.0.0.1", 10), ("b", "127.0.0.2", 20)]));
    let pool = "    sources: [{ srv: _http._tcp.shop.test }]";
    let transom = Transom::run(TRANSOM, &config(pool, &resolver(&dns)));
    until_members_are(&transom, &[&servers[0], &servers[1]]);
    let tiers: Vec<_> = shown(&transom)["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["weight"].clone(), member["priority"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(tiers, [(json!(5), 0), (json!(5), 1)]);
    dns.run(&names(&[("c", "127.0.0.3", 10)]));
    until_members_are(&transom, &[&servers[2]]);
}

#[test]
fn u09_what_means_this_machine_is_not_taken_from_dns() {
    let mut dns = Dns::start();
    let server = Server::start("inside");
    let port = server.address.port();
    let targets = ["localhost", "here.localhost", "127.0.0.1", "alias.test", "plain.test"];
    let mut told: Vec<String> = targets
        .map(|target| format!("--srv-host=_http._tcp.shop.test,{target},{port}"))
        .into_iter()
        .collect();
    told.extend(
        [
            "host-record=localhost,127.0.0.1",
            "cname=alias.test,localhost",
            "host-record=plain.test,127.0.0.1",
        ]
        .map(|one| format!("--{one}")),
    );
    dns.run(&told);
    let resolver = resolver(&dns).replace(", refuse: []", "");
    let pool = "    sources: [{ srv: _http._tcp.shop.test }]";
    let transom = Transom::run(TRANSOM, &config(pool, &resolver));
    // two are names that could mean anybody, until they are looked up
    until("the services are told", || shown(&transom)["sources"][0]["found"] == 2);
    until("the names were asked for", || {
        let shown = shown(&transom);
        let sources = shown["sources"].as_array().unwrap().iter();
        sources.filter(|source| source["failing"].is_string()).count() == 2
    });
    assert_eq!(members(&transom), [""; 0]);
    assert_eq!(client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 503);
    drop(transom);

    // what is written here is meant
    let pool = format!("    endpoints: ['localhost:{port}']");
    let without = resolver.replace("resolver: {", "resolver: { hosts: false,");
    let transom = Transom::run(TRANSOM, &config(&pool, &without));
    until_members_are(&transom, &[&server]);
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

/// `transom pool ...` of a running program.
fn pool(transom: &Transom, words: &[&str]) -> (i32, String) {
    let socket: PathBuf = transom.folder().join("admin.sock");
    let output = Command::new(TRANSOM)
        .arg("pool")
        .args(words)
        .arg("--socket")
        .arg(socket)
        .output()
        .expect("the program can be run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn lb29_endpoints_that_register_themselves_stay_as_long_as_they_say_so() {
    let servers = servers();
    let pool = "    sources: [{ registration: { ttl: 1s } }]";
    let transom = Transom::run(TRANSOM, &config(pool, ""));
    let place = |server: &Server| format!("/pools/shop/registrations/{}", server.address);
    let register = |server: &Server| {
        let answer = transom.admin("PUT", &place(server));
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let mut all: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
    all.sort();
    until("all are members", || {
        servers.iter().for_each(register);
        members(&transom) == all
    });
    // one falls silent, one says goodbye
    assert_eq!(transom.admin("DELETE", &place(&servers[2])).status, 200);
    until("the silent one is gone", || {
        register(&servers[0]);
        members(&transom) == [servers[0].address.to_string()]
    });
    // all fall silent: a mistake; the last says goodbye: meant
    until("the source fails", || shown(&transom)["sources"][0]["failing"].is_string());
    assert_eq!(members(&transom), [servers[0].address.to_string()]);
    register(&servers[0]);
    assert_eq!(transom.admin("DELETE", &place(&servers[0])).status, 200);
    until("nobody is left", || members(&transom).is_empty());
    assert_eq!(transom.admin("DELETE", &place(&servers[0])).status, 404);
}

#[test]
fn lb30_pools_are_changed_by_hand_without_an_error_and_without_a_reload() {
    let servers = servers();
    let written = format!("    endpoints: ['{}']", servers[0].address);
    let mut transom = Transom::run(TRANSOM, &config(&written, ""));
    let mut now: Vec<String> = vec![servers[0].address.to_string()];
    come_and_go(&transom, &servers, |wanted| {
        let wanted: Vec<_> = wanted.iter().map(|server| server.address.to_string()).collect();
        for address in wanted.iter().filter(|address| !now.contains(address)) {
            let (code, said) = pool(&transom, &["add", "shop", address]);
            assert_eq!(code, 0, "{said}");
            assert!(said.contains("until the file says otherwise"), "{said}");
        }
        for address in now.iter().filter(|address| !wanted.contains(address)) {
            let (code, said) = pool(&transom, &["remove", "shop", address]);
            assert_eq!(code, 0, "{said}");
        }
        now = wanted;
    });
    let [a, b, _] = [0, 1, 2].map(|at| servers[at].address.to_string());

    // kept over reloads
    pool(&transom, &["add", "shop", &b, "--weight", "3"]);
    pool(&transom, &["drain", "shop", &a]);
    transom.write(&config(&written, "# changed elsewhere\n"));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    let (_, table) = pool(&transom, &["show", "shop"]);
    assert!(table.contains("drain") && table.contains(&b), "{table}");
    for _ in 0..20 {
        let answer = client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.text().starts_with('b'), "{}", answer.text());
    }
    // until the file says otherwise
    let heavier = format!(
        "    endpoints: [{{ address: '{a}', weight: 2 }}, {{ address: '{b}', weight: 7 }}]"
    );
    transom.write(&config(&heavier, ""));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    let (_, table) = pool(&transom, &["show", "shop"]);
    assert!(!table.contains("drain") && !table.contains("changed by hand"), "{table}");
    assert!(transom.said().contains("the file decides about"), "{}", transom.said());

    // with the file
    let (code, said) = pool(&transom, &["weight", "shop", &b, "9", "--save"]);
    assert_eq!(code, 0, "{said}");
    let text = fs::read_to_string(transom.folder().join("transom.yaml")).unwrap();
    assert!(text.contains(&format!("{{ address: '{b}', weight: 9 }}")), "{text}");
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert_eq!(shown(&transom)["members"][1]["weight"], 9);

    // and what cannot be
    for (words, expected) in [
        (&["show", "shpo"][..], "did you mean `shop`?"),
        (&["remove", "shop", "10.9.9.9:1"], "is no member"),
        (&["add", "shop", "10.9.9.9"], "it has no port"),
        (&["add", "shop", &a], "already"),
    ] {
        let (code, said) = pool(&transom, words);
        assert!(code == 64 && said.contains(expected), "{words:?}: {code} {said}");
    }
    let (_, list) = pool(&transom, &["list"]);
    assert!(list.contains("shop  2        2"), "{list}");
}
