//! TLS: handshakes that take long, come all at once, or are none.

use std::time::{Duration, Instant};

use transom_testkit::certificate::Authority;
use transom_testkit::{Client, Endpoint, Transom, check};

use crate::rows::rig::{TRANSOM, head, post};

/// A Transom that speaks TLS on `@TLS`.
fn over_tls(timeouts: &str, endpoint: &Endpoint) -> (Transom, Authority) {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let config = format!(
        "workers: 1\nlisteners:\n  tls:\n    address: '@TLS'\n    \
         tls: {{ certificate: '@folder/cert.pem', key: '@folder/key.pem' }}\n    \
         timeouts: {{ {timeouts} }}\n    routes: [{{ forward: '{}' }}]\n",
        endpoint.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("cert.pem"), &issued.certificate).unwrap();
        std::fs::write(folder.join("key.pem"), &issued.key).unwrap();
    });
    (transom, authority)
}

#[test]
fn sl_02_03_a_handshake_has_one_deadline() {
    let endpoint = Endpoint::echo();
    let (mut transom, authority) = over_tls("tls-handshake: 1500ms", &endpoint);
    let baseline = transom.sockets().len();
    let silent = Client::connect(transom.address("TLS"));
    let mut slow = Client::connect(transom.address("TLS"));
    let start = Instant::now();
    // The beginning of a ClientHello, a byte at a time.
    slow.drip(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xxxxxxxxx", Duration::from_millis(100));
    for mut client in [silent, slow] {
        client.end();
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    check::sockets_are_back_at(&transom, baseline);
    let mut client = Client::connect_tls(transom.address("TLS"), "localhost", authority.client());
    client.send(head("GET /", ""));
    assert_eq!(client.response().echo()["target"], "/");
    check::alive(&mut transom);
}

#[test]
fn u_21_when_everybody_comes_back_at_once_those_who_are_there_are_served() {
    let endpoint = Endpoint::echo();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let config = format!(
        "workers: 1\nlisteners:\n  tls:\n    address: '@TLS'\n    \
         tls: {{ certificate: '@folder/cert.pem', key: '@folder/key.pem' }}\n    \
         limits: {{ handshakes: 20 }}\n    routes: [{{ forward: '{}' }}]\n",
        endpoint.address
    );
    let mut transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("cert.pem"), &issued.certificate).unwrap();
        std::fs::write(folder.join("key.pem"), &issued.key).unwrap();
    });
    let address = transom.address("TLS");
    let ask = |client: &mut Client| client.send(head("GET /", "")).try_response("GET");
    let mut there = Client::connect_tls(address, "localhost", authority.client());
    assert_eq!(ask(&mut there).unwrap().status, 200);
    let (served, slowest) = std::thread::scope(|scope| {
        let one = || {
            let mut client = Client::connect_tls(address, "localhost", authority.client());
            usize::from(ask(&mut client).is_ok_and(|response| response.status == 200))
        };
        let herd: Vec<_> = (0..200).map(|_| scope.spawn(one)).collect();
        let mut slowest = Duration::ZERO;
        while !herd.iter().all(|one| one.is_finished()) {
            let asked = Instant::now();
            assert_eq!(ask(&mut there).unwrap().status, 200);
            slowest = slowest.max(asked.elapsed());
        }
        // who is sent away by the ceiling of handshakes has no response
        let served: usize = herd.into_iter().map(|one| one.join().unwrap_or(0)).sum();
        (served, slowest)
    });
    assert!(served >= 20, "{served} of 200");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let mut late = Client::connect_tls(address, "localhost", authority.client());
    assert_eq!(ask(&mut late).unwrap().status, 200, "there is room again at once");
    check::alive(&mut transom);
}

#[test]
fn h1_51_plain_http_on_a_tls_port_is_told_so() {
    let endpoint = Endpoint::echo();
    let (mut transom, _) = over_tls("header: 1s", &endpoint);
    let mut client = Client::connect(transom.address("TLS"));
    client.send(head("GET /", ""));
    let response = client.response();
    assert_eq!(response.status, 400);
    assert!(response.closes() && response.whole, "{response:?}");
    assert!(response.text().contains("TLS"), "{}", response.text());
    client.end_sending().ends();
    assert!(endpoint.requests().is_empty());
    check::alive(&mut transom);
}

#[test]
fn h1_01_rs_02_hold_over_tls_too() {
    let endpoint = Endpoint::new(|request, line| {
        if request.target == "/cut" {
            line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            line.wait(Duration::from_millis(50));
            return line.end();
        }
        line.send(transom_testkit::endpoint::echo(request));
    });
    let (mut transom, authority) = over_tls("header: 1s", &endpoint);
    let connect = || Client::connect_tls(transom.address("TLS"), "localhost", authority.client());
    let bytes = post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG");
    let mut client = connect();
    check::refused_on(client.send(&bytes), bytes.as_bytes(), 400);
    let mut client = connect();
    check::refused_on(client.send_bytewise(&bytes), bytes.as_bytes(), 400);
    let mut client = connect();
    client.send(head("GET /cut", ""));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str(), response.whole), (200, "hello", false));
    // Two requests in one record, and one over many.
    let mut client = connect();
    client.send(head("GET /1", "") + &post("Content-Length: 5\r\n", "hello"));
    assert_eq!(client.response().echo()["target"], "/1");
    assert_eq!(client.response().echo()["body"], "hello");
    client.send_bytewise(head("GET /2", ""));
    assert_eq!(client.response().echo()["target"], "/2");
    check::alive(&mut transom);
}
