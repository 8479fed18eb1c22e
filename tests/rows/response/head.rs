//! Responses of endpoints: heads that are not valid, and what stays hidden.

use std::time::Duration;

use transom_testkit::certificate::Authority;
use transom_testkit::endpoint::{echo, ok};
use transom_testkit::{Client, Endpoint, check};

use crate::rows::rig::{HANDSHAKE, Rig, head};

use super::{is_refused, table, tls_pools};

#[test]
fn rs_08_11_malformed_heads_are_refused() {
    let reason = format!("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(64 << 10));
    is_refused(&[
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\nb: c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        &reason,
    ]);
}

#[test]
fn rs_11_a_reason_may_be_missing() {
    let mut rig = Rig::over(table([
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    ]));
    assert_eq!(rig.get("/0").text(), "ok");
    assert_eq!(rig.get("/1").text(), "ok");
    assert_eq!(rig.endpoint.connections(), 1);
    rig.holds();
}

#[test]
fn rs_11_a_response_may_come_a_byte_at_a_time() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n\
                   5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\nX-Sum: 1\r\n\r\n";
    let length =
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world";
    let mut rig = Rig::over(Endpoint::new(move |request, line| match request.target.as_str() {
        "/chunked" => line.drip(chunked, Duration::ZERO),
        "/length" => line.drip(length, Duration::from_micros(200)),
        _ => line.send(echo(request)),
    }));
    for _ in 0..5 {
        for target in ["/chunked", "/length"] {
            let response = rig.get(target);
            assert_eq!((response.text().as_str(), response.whole), ("hello, world", true));
        }
    }
    assert_eq!(rig.endpoint.connections(), 1);
    rig.holds();
}

#[test]
fn rs_09_interim_responses_pass_but_not_all() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nServer: x/1\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut rig = Rig::over(table([
        format!("{}{end}", hint.repeat(3)),
        format!("HTTP/1.1 100 Continue\r\n\r\n{end}"),
        format!("HTTP/1.1 102 Processing\r\n\r\n{end}"),
        format!("{}{end}", hint.repeat(32)),
        format!("{}{end}", hint.repeat(10_000)),
        format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello{end}"),
    ]));
    for (n, (status, interim)) in
        [(200, vec![103; 3]), (200, vec![]), (200, vec![102]), (200, vec![103; 32])]
            .into_iter()
            .enumerate()
    {
        let response = rig.get(&format!("/{n}"));
        assert_eq!((response.status, response.interim), (status, interim), "case {n}");
        // HTTP/1.0 knows no interim responses.
        let response = rig.ask(format!("GET /{n} HTTP/1.0\r\nHost: a\r\n\r\n"));
        assert_eq!((response.status, response.interim), (status, vec![]), "case {n}");
    }
    for n in [4, 5] {
        assert_eq!(rig.get(&format!("/{n}")).status, 502, "case {n}");
    }
    let mut client = rig.client();
    let (all, _) = client.send(head("GET /0", "Connection: close\r\n")).end_sending().rest();
    let text = String::from_utf8(all).unwrap();
    assert_eq!(text.matches("HTTP/1.1 103 Early Hints\r\nLink:").count(), 3, "{text}");
    assert!(!text.contains("Server"), "{text}");
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn rs_09_an_interim_response_and_then_the_end_is_no_response() {
    let mut rig = Rig::over(Endpoint::answering_last("HTTP/1.1 103 Early Hints\r\n\r\n"));
    let response = rig.get("/");
    assert_eq!((response.status, response.interim), (502, vec![103]));
    assert_eq!(rig.endpoint.requests().len(), 1);
    rig.holds();
}

#[test]
fn rs_10_a_switch_that_was_not_asked_for_is_refused() {
    let switch = |to: &str| {
        format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {to}\r\n\r\n")
    };
    let cases = [switch("websocket"), switch("h2c"), switch("websocket, h2c")];
    is_refused(&cases);
    let mut rig = Rig::over(table(cases));
    for n in 1..3 {
        let lines = HANDSHAKE;
        let mut client = rig.client();
        client.send(head(&format!("GET /{n}"), lines));
        assert_eq!(client.response().status, 502, "case {n}");
        client.send(head("GET /next", ""));
        assert_eq!(client.response().echo()["target"], "/next");
        rig.expect_lines(2);
    }
    rig.holds();
}

#[test]
fn rs_12_heads_over_the_limit_are_refused() {
    let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
    is_refused(&[
        with(&format!("X: {}\r\n", "x".repeat(64 << 10))),
        with(&"X: y\r\n".repeat(101)),
        with(&format!("X: {}\r\n", "x".repeat(1 << 20))),
        with(&"Set-Cookie: a=b; Path=/\r\n".repeat(5000)),
    ]);
}

#[test]
fn rs_17_what_comes_before_the_handshake_is_no_response() {
    let authority = Authority::new();
    let plain = Endpoint::raw(|line| {
        line.send(ok("EVIL"));
        line.stall();
    });
    let (transom, _) = tls_pools(&authority, &plain, &["localhost"]);
    let response = Client::connect(transom.web()).send(head("GET /0/", "")).response();
    assert_eq!(response.status, 502);
    assert!(!response.text().contains("EVIL"));
    let lines = transom.lines_when(1);
    assert_eq!(lines[0]["fault"], "tls-failed", "{}", lines[0]);
}

#[test]
fn rs_22_answers_say_nothing_of_what_is_behind() {
    let endpoint = Endpoint::echo();
    let address = endpoint.address;
    let mut rig = Rig::over(endpoint);
    // Somebody listens no more.
    let gone = Endpoint::echo();
    let silent = std::mem::replace(&mut rig.endpoint, gone);
    drop(silent);
    for accept in ["*/*", "application/json"] {
        let response = rig.ask(head("GET /", &format!("Accept: {accept}\r\n")));
        assert_eq!(response.status, 502);
        let all = format!("{:?} {}", response.fields, response.text());
        let port = address.port().to_string();
        for inside in
            [port.as_str(), "127.0.0.1", "refused:", "os error", "Connection refused", "0.1.0"]
        {
            assert!(!all.contains(inside), "{inside} in {all}");
        }
        assert!(response.field("server").is_none());
    }
    for line in check::lines(&rig.transom, 2) {
        assert_eq!(line["fault"], "connect-refused", "{line}");
    }
}

#[test]
fn rs_22_what_the_endpoint_is_made_of_stays_hidden() {
    let mut rig = Rig::over(Endpoint::answering(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.2.3\r\nX-Powered-By: PHP/5\r\nX-AspNet-Version: 4\r\n\
         Connection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
    ));
    let response = rig.get("/");
    for name in ["server", "x-powered-by", "x-aspnet-version", "x-inner", "keep-alive"] {
        assert_eq!(response.field(name), None, "{name}");
    }
    rig.holds();
}
