//! Endpoints that die as `kill -9` makes them die, under load.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use transom_testkit::client::End;
use transom_testkit::load::{Lane, Load};
use transom_testkit::{Client, Port, Transom, server, until};

const KILLS: usize = 20;
/// Tells this program, when it is run as an endpoint, where to listen and what its name is.
const ENDPOINT: &str = "TRANSOM_TEST_ENDPOINT";

/// What [`Endpoint::start`] runs; as a test of its own it does nothing.
#[test]
fn an_endpoint_in_a_process_of_its_own() {
    let Ok(what) = std::env::var(ENDPOINT) else { return };
    let (address, name) = what.split_once(' ').unwrap();
    server::serve(&TcpListener::bind(address).unwrap(), name);
}

#[test]
fn the_death_of_endpoints_fails_no_request_that_can_be_sent_again() {
    let mut endpoints = ["a", "b", "c"].map(Endpoint::start);
    let addresses = endpoints.each_ref().map(|endpoint| endpoint.port.address.to_string());
    let transom = Transom::run(
        env!("CARGO_BIN_EXE_transom"),
        &format!(
            "workers: 2\noverload: {{ lag: off }}\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
             - {{ match: {{ host: a.example }}, forward: '{}' }}\n      \
             - {{ match: {{ host: b.example }}, forward: '{}' }}\n      \
             - {{ match: {{ host: c.example }}, forward: '{}' }}\n      \
             - {{ forward: all }}\npools:\n  all: {{ endpoints: [{}], keep-alive: {{ idle: 1s }} }}\n",
            addresses[0],
            addresses[1],
            addresses[2],
            addresses.join(", ")
        ),
    );
    let web = transom.web();
    until("only the start is open", || transom.metric("transom_connections_open") == 0.0);
    // not all descriptors: threads that are slow to start open some of their own later
    let baseline = transom.sockets().len();

    let get = |target, rate| Lane::new(web, target, rate);
    let put = Lane { method: "PUT", body: "what is put", ..get("/after-3-put", 100) };
    let post = Lane {
        method: "POST",
        body: "what is posted",
        // It may have had its effect.
        fits: |response| matches!(response.status, 200 | 502),
        ..get("/after-3-post", 100)
    };
    let lanes = [
        get("/now", 200),
        get("/now", 200),
        get("/after-3", 150),
        get("/after-10", 80),
        get("/after-10", 80),
        Lane { requests: 1, ..get("/new", 100) },
        put.clone(),
        put,
        Lane { method: "DELETE", ..get("/after-3", 100) },
    ];
    let safe = Load::start(lanes);
    let posts = Load::start(vec![post; 3]);
    let mut early = 0;
    for kill in 0..KILLS {
        let mut tunnels = endpoints.each_ref().map(|endpoint| tunnel(web, endpoint.name));
        let name = endpoints[kill % 3].name;
        let download = thread::spawn(move || {
            let mut client = Client::connect(web);
            client.send(format!("GET /stream HTTP/1.1\r\nHost: {name}.example\r\n\r\n"));
            client.response()
        });
        thread::sleep(Duration::from_millis(100));
        endpoints[kill % 3].kill();
        thread::sleep(Duration::from_millis(150));
        endpoints[kill % 3].start_again();
        for (number, tunnel) in tunnels.iter_mut().enumerate() {
            if number == kill % 3 {
                assert_eq!(tunnel.end(), End::Closed, "the tunnel ends, and is not broken off");
            } else {
                assert_eq!(tunnel.send("there").read(5).unwrap(), b"there");
            }
        }
        let download = download.join().unwrap();
        assert_eq!((download.status, download.whole), (200, false), "the client sees the cut");
        thread::sleep(Duration::from_millis(100));
        let failures = safe.failures();
        assert!(failures.is_empty(), "kill {kill}: {failures:#?}");
        if kill == KILLS / 4 {
            early = transom.memory();
        }
    }
    let (safe, posts) = (safe.end(), posts.end());
    let over = Instant::now();
    while transom.sockets().len() > baseline {
        let open = transom.sockets();
        assert!(over.elapsed() < Duration::from_secs(9), "{baseline} before: {open:#?}");
        thread::sleep(Duration::from_millis(20));
    }
    let memory = transom.memory();
    eprintln!(
        "{KILLS} kills: {} requests at {}/s, {} failed; {} POSTs, {} failed otherwise than \
         by 502; sockets {baseline} before and {} after {:?}; memory {early} then {memory} KiB; \
         {} attempts again, {} faults",
        safe.answered,
        safe.rate(),
        safe.failures.len(),
        posts.answered,
        posts.failures.len(),
        transom.sockets().len(),
        over.elapsed(),
        transom.metric("transom_pool_retries_total"),
        transom.metric("transom_faults_total"),
    );
    assert!(safe.failures.is_empty(), "{:#?}", safe.failures);
    assert!(posts.failures.is_empty(), "{:#?}", posts.failures);
    for family in ["transom_requests_in_flight", "transom_member_in_flight", "transom_tunnels_open"]
    {
        transom.metric_becomes(family, 0.0);
    }
    assert!(memory < early + early / 5 + 4096, "memory grows: {early} then {memory} KiB");
    assert!(!transom.said().contains("panic"), "{}", transom.said());
}

fn tunnel(address: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(address);
    client.send(format!(
        "GET /ws HTTP/1.1\r\nHost: {name}.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ));
    assert_eq!(client.response().status, 101);
    client
}

/// A server in a process of its own, on a port that stays its own.
struct Endpoint {
    name: &'static str,
    port: Port,
    child: Child,
}

impl Endpoint {
    fn start(name: &'static str) -> Self {
        let port = Port::reserve().unwrap();
        let child = Self::run(name, port.address);
        Endpoint { name, port, child }
    }

    fn run(name: &str, address: SocketAddr) -> Child {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_endpoint_in_a_process_of_its_own", "--nocapture"])
            .env(ENDPOINT, format!("{address} {name}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the endpoint listens", || TcpStream::connect(address).is_ok());
        child
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = Self::run(self.name, self.port.address);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.kill();
    }
}
