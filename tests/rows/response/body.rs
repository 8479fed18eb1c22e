//! Responses of endpoints: where a body ends, and that it arrives as it was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use transom_testkit::certificate::Authority;
use transom_testkit::endpoint::{echo, ok};
use transom_testkit::{Client, Endpoint, check};

use crate::rows::rig::{Rig, head};

use super::{is_refused, table, tls_pools};

#[test]
fn rs_01_a_response_whose_end_is_not_certain_is_refused() {
    is_refused(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello",
    ]);
}

#[test]
fn rs_02_03_a_response_that_breaks_off_is_never_ended_cleanly() {
    let chunks = format!("{:x}\r\n{}\r\n", 10_240, "x".repeat(10_240));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(60)),
        format!("{chunked}{chunks}"),
        format!("{chunked}{chunks}5\r\nhel"),
        format!("{chunked}{chunks}0\r\n"),
        format!("{chunked}{chunks}zz\r\n"),
        format!("{chunked}{chunks}5\nhello\r\n0\r\n\r\n"),
        format!("{chunked}{chunks}5\r\nhelloXX0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(600_000)),
    ];
    let its = cases.clone();
    let mut rig = Rig::over(Endpoint::new(move |request, line| {
        let mut parts = request.target.split('/').skip(1);
        let case = parts.next().and_then(|n| its.get(n.parse::<usize>().ok()?));
        let Some(bytes) = case else { return line.send(echo(request)) };
        line.send(bytes);
        match parts.next() {
            Some("fin") => line.end(),
            // What was sent before is not to be lost with the rest.
            _ => {
                line.wait(Duration::from_millis(50));
                line.reset();
            }
        }
    }));
    for n in 0..cases.len() {
        for how in ["fin", "rst"] {
            for version in ["1.1", "1.0"] {
                let mut client = rig.client();
                client.send(format!("GET /{n}/{how} HTTP/{version}\r\nHost: a\r\n\r\n"));
                let response = client.response();
                let shown = format!("case {n} {how} {version}: {} bytes", response.body.len());
                rig.expect_lines(1);
                if response.status == 502 {
                    // Nothing of it had been passed on yet.
                    assert!(response.whole, "{shown}");
                    continue;
                }
                assert_eq!(response.status, 200, "{shown}");
                // Where neither length nor chunks tell it, a reset does.
                assert!(!response.whole, "{shown}");
                assert!(client.rest().0.is_empty(), "{shown}");
            }
        }
    }
    for line in rig.holds() {
        assert_eq!(line["fault"], "incomplete-response", "{line}");
    }
}

#[test]
fn rs_06_a_body_until_the_end_of_the_connection() {
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.send("HTTP/1.1 200 OK\r\n\r\nhello, ");
        line.wait(Duration::from_millis(20));
        line.send("world");
        line.wait(Duration::from_millis(20));
        if request.target == "/rst" { line.reset() } else { line.end() }
    }));
    let response = rig.get("/fin");
    assert_eq!((response.text().as_str(), response.whole), ("hello, world", true));
    let mut client = rig.client();
    client.send("GET /fin HTTP/1.0\r\nHost: a\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "hello, world");
    assert!(response.closes());
    let mut client = rig.client();
    let response = client.send(head("GET /rst", "")).response();
    assert!(!response.whole, "{response:?}");
    client.end();
    rig.expect_lines(2);
    rig.holds();
}

#[test]
fn rs_06_over_tls_only_close_notify_is_an_end() {
    let authority = Authority::new();
    let server = authority.issue(&["localhost"]).server();
    let endpoint = Endpoint::tls(server, |request, line| {
        line.send("HTTP/1.1 200 OK\r\n\r\nhello");
        if request.target == "/notified" {
            line.close_notify();
        }
        line.end();
    });
    let (transom, _) = tls_pools(&authority, &endpoint, &["localhost"]);
    let ask = |target: &str| {
        let mut client = Client::connect(transom.web());
        client.send(head(&format!("GET {target}"), "")).response()
    };
    let response = ask("/0/notified");
    assert_eq!((response.text().as_str(), response.whole), ("hello", true));
    let response = ask("/0/cut");
    assert!(response.status == 502 || !response.whole, "{response:?}");
}

#[test]
fn rs_07_a_body_where_none_may_be_ends_the_connection() {
    let cases = [
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ];
    let mut rig = Rig::over(table(cases));
    for (n, method) in ["GET", "GET", "HEAD"].into_iter().enumerate() {
        let mut client = rig.client();
        client.send(head(&format!("{method} /{n}"), ""));
        let response = client.response_to(method);
        assert_eq!(response.body.len(), 0);
        client.send(head("GET /next", ""));
        assert_eq!(client.response().echo()["target"], "/next");
        rig.expect_lines(2);
        rig.endpoint.until("the connection is closed", |log| log.ended > n);
    }
    rig.holds();
}

#[test]
fn rs_07_a_204_that_announces_a_body_is_not_waited_for() {
    // The body comes late, when the connection could lie idle already or carry the next request.
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.target != "/204" {
            return line.send(echo(request));
        }
        line.send("HTTP/1.1 204 No Content\r\nContent-Length: 45\r\n\r\n");
        line.wait(Duration::from_millis(30));
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL");
    }));
    let response = rig.get("/204");
    assert_eq!(response.status, 204);
    assert_eq!(response.field("content-length"), None);
    check::victim(rig.address());
    rig.expect_lines(1);
    rig.endpoint.until("the connection is closed", |log| log.ended == 1);
    assert_eq!(rig.endpoint.connections(), 2);
    rig.holds();
}

#[test]
fn rs_20_trailers_reach_who_asks_for_them() {
    let trailers = "X-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n";
    let mut rig = Rig::over(Endpoint::answering(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n0\r\n{trailers}\r\n"
    )));
    let response = rig.get("/");
    assert_eq!((response.text().as_str(), response.trailers.len()), ("hello", 0));
    let response = rig.ask(head("GET /", "Connection: TE\r\nTE: trailers\r\n"));
    assert_eq!(response.text(), "hello");
    assert_eq!(response.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
    rig.holds();
}

#[test]
fn rs_21_a_response_to_head_has_no_body() {
    let mut rig = Rig::over(Endpoint::new(|request, line| match request.target.as_str() {
        "/chunked" => line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "/length" => line.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        "/304" => line.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        _ => line.send(echo(request)),
    }));
    let mut client = rig.client();
    for target in ["/chunked", "/length", "/304"] {
        client.send(head(&format!("HEAD {target}"), ""));
        let response = client.response_to("HEAD");
        let length = (target != "/chunked").then_some("5");
        assert_eq!(response.field("content-length"), length, "{target}");
        client.send(head("GET /next", ""));
        assert_eq!(client.response().echo()["target"], "/next", "after {target}");
        rig.expect_lines(2);
    }
    assert_eq!(rig.endpoint.connections(), 1, "its framing was never in doubt");
    rig.holds();
}

#[test]
fn rs_21_our_own_answer_to_head_says_how_long_it_would_be() {
    let routes = "      - match: { path: /text }\n        respond: hello";
    let mut rig = Rig::with("", routes, Endpoint::echo());
    let mut client = rig.client();
    client.send(head("HEAD /text", ""));
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.field("content-length")), (200, Some("5")));
    client.send(head("GET /text", ""));
    assert_eq!(client.response().text(), "hello");
    rig.expect_lines(2);
    rig.holds();
}

#[test]
fn rs_23_a_client_that_stops_reading_holds_the_endpoint_back_and_is_given_up() {
    let sent = Arc::new(AtomicUsize::new(0));
    let its = sent.clone();
    let mut rig = Rig::waiting(
        "send-idle: 600ms",
        Endpoint::new(move |request, line| {
            if request.target.starts_with("/victim") {
                return line.send(echo(request));
            }
            let size = 256 << 20;
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            let part = vec![b'x'; 64 << 10];
            for _ in 0..size / part.len() {
                let n = line.pour(&part);
                its.fetch_add(n, Ordering::Relaxed);
                if n < part.len() {
                    break;
                }
            }
            line.end();
        }),
    );
    let baseline = rig.transom.sockets().len();
    let mut client = rig.client();
    // the first exchange takes what every later one uses again
    client.send(head("GET /victim", ""));
    assert_eq!(client.response().status, 200);
    let memory = rig.transom.memory();
    client.send(head("GET /", ""));
    client.read(1024).unwrap();
    rig.endpoint.until("the endpoint was cut off", |log| log.ended == 1);
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 64 << 20, "{sent} bytes went into buffers");
    let more = rig.transom.memory().saturating_sub(memory);
    assert!(more < 8 << 10, "{more} KiB more");
    check::sockets_are_back_at(&rig.transom, baseline);
    rig.expect_lines(2);
    drop(client);
    let lines = rig.holds();
    assert_eq!(lines[1]["fault"], "client-closed", "{}", lines[1]);
}

/// Bytes that tell where they stand.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 256 + at) as u8).collect()
}

#[test]
fn rs_23_large_bodies_arrive_byte_for_byte() {
    const SIZE: usize = 5_000_000;
    let mut rig = Rig::over(Endpoint::new(|request, line| match request.target.as_str() {
        "/length" => {
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
            line.send(pattern(SIZE));
        }
        "/chunked" => {
            line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for part in pattern(SIZE).chunks(77_777) {
                line.send(format!("{:x}\r\n", part.len()));
                line.send(part);
                line.send("\r\n");
            }
            line.send("0\r\n\r\n");
        }
        "/close" => {
            line.send("HTTP/1.1 200 OK\r\n\r\n");
            line.send(pattern(SIZE));
            line.end();
        }
        "/upload" => {
            assert_eq!(request.body.len(), SIZE);
            line.send(ok(if request.body == pattern(SIZE) { "same" } else { "other" }));
        }
        _ => line.send(echo(request)),
    }));
    let mut client = rig.client();
    for _ in 0..3 {
        for target in ["/length", "/chunked", "/close"] {
            client.send(head(&format!("GET {target}"), ""));
            let response = client.response();
            assert!(response.whole && response.body == pattern(SIZE), "{target}");
        }
    }
    for target in ["/length", "/chunked", "/close"] {
        let mut old = rig.client();
        old.send(format!("GET {target} HTTP/1.0\r\nHost: a\r\n\r\n"));
        let response = old.response();
        assert!(response.whole && response.body == pattern(SIZE), "{target} to HTTP/1.0");
    }
    client.send(head("POST /upload", &format!("Content-Length: {SIZE}\r\n")));
    client.pour(&pattern(SIZE));
    assert_eq!(client.response().text(), "same");
    client.send(head("POST /upload", "Transfer-Encoding: chunked\r\n"));
    for part in pattern(SIZE).chunks(33_333) {
        client.send(format!("{:x}\r\n", part.len())).send(part).send("\r\n");
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), "same");
    rig.expect_lines(14);
    rig.holds();
}

#[test]
fn rs_23_a_slow_reader_gets_all_of_it() {
    const SIZE: usize = 20_000_000;
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        line.send(pattern(SIZE));
    }));
    let mut client = rig.client();
    client.send(head("GET /", ""));
    std::thread::sleep(Duration::from_millis(200));
    let response = client.response();
    assert!(response.whole && response.body == pattern(SIZE));
    rig.expect_lines(1);
    rig.holds();
}
