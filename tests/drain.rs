//! The end of the program: what is under way is finished, nothing new is begun.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use transom_testkit::load::{Lane, Load};
use transom_testkit::server::Server;
use transom_testkit::{Client, Transom, until};

const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

/// Nobody waits for the end of this one.
const GRACE: Duration = Duration::from_secs(30);
/// This one is waited for.
const SHORT: Duration = Duration::from_secs(2);

fn run(server: &Server, grace: Duration) -> Transom {
    let grace = grace.as_secs();
    let config = format!(
        "workers: 2\ngrace: {grace}s\nlisteners:\n  web:\n    address: '@WEB'\n    \
         routes: [{{ forward: '{}' }}]\n",
        server.address
    );
    Transom::run(TRANSOM, &config)
}

fn get(client: &mut Client, target: &str) {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
}

fn tunnel(transom: &Transom) -> Client {
    let mut client = Client::connect(transom.web());
    becomes_a_tunnel(&mut client);
    client
}

fn becomes_a_tunnel(client: &mut Client) {
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().status, 101);
    client.forget();
    let frame = b"\x81\x80\x01\x02\x03\x04";
    assert_eq!(client.send(frame).read(frame.len()).expect("the tunnel stands"), frame);
}

#[test]
fn what_is_under_way_is_finished_and_nothing_new_is_begun() {
    let server = Server::start("shop");
    let mut transom = run(&server, GRACE);
    let mut slow = Client::connect(transom.web());
    get(&mut slow, "/after-2500");
    until("it is under way", || transom.metric("transom_requests_in_flight") == 1.0);
    let start = Instant::now();
    transom.signal(Signal::TERM);
    until("it drains", || transom.admin("GET", "/readyz").status == 503);
    until("nobody is let in", || {
        Client::try_connect(transom.web()).err().map(|e| e.kind())
            == Some(ErrorKind::ConnectionRefused)
    });
    assert!(transom.is_alive());
    let response = slow.response();
    assert_eq!((response.status, response.whole), (200, true));
    assert!(response.closes(), "the client is told that this was the last one");
    slow.ends();
    assert_eq!(transom.ended().code(), Some(0));
    assert!(start.elapsed() < GRACE / 2, "{:?}", start.elapsed());
}

#[test]
fn a_connection_that_was_made_before_the_end_is_served() {
    let server = Server::start("shop");
    for signal in [Signal::TERM, Signal::INT] {
        let mut transom = run(&server, GRACE);
        let fresh =
            Lane { requests: 1, may_be_gone: true, ..Lane::new(transom.web(), "/new", 200) };
        let kept = Lane { requests: usize::MAX, ..fresh.clone() };
        let load = Load::start([fresh.clone(), fresh.clone(), fresh, kept.clone(), kept]);
        until("it is loaded", || load.answered() > 100);
        transom.signal(signal);
        assert_eq!(transom.ended().code(), Some(0));
        until("nobody is there", || Client::try_connect(transom.web()).is_err());
        until("the lanes find nobody", || load.refused() > 0);
        let load = load.end();
        assert!(load.failures.is_empty(), "{:#?}", load.failures);
    }
}

#[test]
fn an_idle_connection_gets_its_last_call() {
    let server = Server::start("shop");
    let mut transom = run(&server, GRACE);
    let mut idle = Client::connect(transom.web());
    get(&mut idle, "/first");
    assert!(!idle.response().closes());
    let answer = transom.admin("POST", "/stop");
    assert_eq!(answer.status, 202, "{}", answer.text());
    until("it drains", || transom.admin("GET", "/readyz").status == 503);
    std::thread::sleep(Duration::from_millis(500));
    get(&mut idle, "/last");
    let last = idle.response();
    assert_eq!(last.status, 200);
    assert!(last.closes());
    idle.ends();
    assert_eq!(transom.ended().code(), Some(0));
}

/// It was answered with 101 and cut off at once.
#[test]
fn h1_29_a_tunnel_may_be_the_last_that_a_connection_carries() {
    let server = Server::start("shop");
    let config = format!(
        "workers: 1\ngrace: 30s\nlisteners:\n  web:\n    address: '@WEB'\n    \
         limits: {{ requests-per-connection: 2 }}\n    routes: [{{ forward: '{}' }}]\n",
        server.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let mut clients = [(); 2].map(|()| Client::connect(transom.web()));
    for client in &mut clients {
        get(client, "/first");
        assert!(!client.response().closes());
    }
    let [mut last_request, mut last_call] = clients;
    becomes_a_tunnel(&mut last_request);
    transom.signal(Signal::TERM);
    until("it drains", || transom.admin("GET", "/readyz").status == 503);
    becomes_a_tunnel(&mut last_call);
    drop((last_request, last_call));
    assert_eq!(transom.ended().code(), Some(0));
}

#[test]
fn the_grace_ends_what_does_not_end_by_itself() {
    let server = Server::start("shop");
    let mut transom = run(&server, SHORT);
    let mut tunnel = tunnel(&transom);
    let start = Instant::now();
    transom.signal(Signal::TERM);
    assert_eq!(tunnel.send("still there").read(11).unwrap(), b"still there");
    tunnel.end();
    let took = start.elapsed();
    assert!(took > SHORT * 9 / 10 && took < SHORT * 4, "{took:?}");
    assert_eq!(transom.ended().code(), Some(0));
    assert!(transom.said().contains("1 connections were cut off"), "{}", transom.said());
}

#[test]
fn a_removed_listener_has_the_grace_too() {
    let server = Server::start("shop");
    let mut transom = run(&server, SHORT);
    let (mut open, mut slow) = (tunnel(&transom), Client::connect(transom.web()));
    get(&mut slow, "/after-500");
    until("it is under way", || transom.metric("transom_requests_in_flight") == 2.0);
    let other = "workers: 2\ngrace: 2s\nlisteners:\n  other:\n    address: '@OTHER'\n    routes: [{ respond: 200 }]\n";
    let gone = transom.web();
    transom.write(other);
    let start = Instant::now();
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    let response = slow.response();
    assert_eq!((response.status, response.whole, response.closes()), (200, true, true));
    assert_eq!(open.send("still there").read(11).unwrap(), b"still there");
    open.end();
    let took = start.elapsed();
    assert!(took > SHORT * 9 / 10 && took < SHORT * 4, "{took:?}");
    assert!(Client::try_connect(gone).is_err());
    assert!(transom.is_alive());
}

#[test]
fn d_06_asked_twice_it_ends_at_once() {
    let server = Server::start("shop");
    let mut transom = run(&server, GRACE);
    let mut tunnel = tunnel(&transom);
    transom.signal(Signal::TERM);
    until("it drains", || transom.admin("GET", "/readyz").status == 503);
    assert_eq!(tunnel.send("still there").read(11).unwrap(), b"still there");
    let start = Instant::now();
    transom.signal(Signal::TERM);
    assert_eq!(transom.ended().code(), Some(0));
    assert!(start.elapsed() < GRACE / 10, "{:?}", start.elapsed());
    tunnel.end();
}
