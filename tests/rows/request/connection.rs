//! Requests in HTTP/1: what follows what on a connection, what ends it and what it becomes.

use std::time::Duration;

use transom_testkit::client::End;
use transom_testkit::endpoint::{echo, ok};
use transom_testkit::{Client, Endpoint, check, until};

use super::CL;
use crate::rows::rig::{HANDSHAKE, Rig, head, post};

#[test]
fn h1_29_30_bytes_stay_http_until_the_endpoint_has_switched() {
    let mut rig = Rig::echo();
    let next = head("GET /next", "");
    for lines in [
        "Connection: Upgrade\r\nUpgrade: foo\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
    ] {
        let mut client = rig.client();
        client.send(head("GET /", lines) + &next);
        let first = client.response().echo();
        let names: Vec<_> =
            first["fields"].as_array().unwrap().iter().map(|f| f[0].clone()).collect();
        for name in ["Upgrade", "Connection", "HTTP2-Settings"] {
            assert!(
                !names.iter().any(|n| n.as_str().unwrap().eq_ignore_ascii_case(name)),
                "{first}"
            );
        }
        assert_eq!(client.response().echo()["target"], "/next");
        rig.expect_lines(2);
    }
    // A WebSocket that the endpoint declines is a request like any other.
    let mut client = rig.client();
    client.send(head("GET /ws", HANDSHAKE) + &next);
    assert_eq!(client.response().echo()["target"], "/ws");
    assert_eq!(client.response().echo()["target"], "/next");
    rig.expect_lines(2);
    assert_eq!(rig.endpoint.connections(), 1);
    rig.holds();
}

#[test]
fn h1_29_a_websocket_becomes_a_tunnel_once_the_endpoint_has_switched() {
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.field("upgrade") != Some("websocket") {
            return line.send(echo(request));
        }
        line.wait(Duration::from_millis(50));
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhi",
        );
        let early = line.read(5).unwrap_or_default();
        line.send(early.to_ascii_uppercase());
        let rest = line.read_rest();
        line.send(rest);
    }));
    let mut client = rig.client();
    // Some frames are sent before the switch, and must not arrive before it.
    client.send(head("GET /ws", &HANDSHAKE.replace("websocket", "WebSocket"))).send("early");
    let response = client.response();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("upgrade"), Some("websocket"));
    assert_eq!(client.read(7).unwrap(), b"hiEARLY");
    client.send("GET /evil HTTP/1.1\r\nHost: a\r\n\r\n").end_sending();
    let (rest, end) = client.rest();
    assert_eq!((&rest[..], end), (&b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"[..], End::Closed));
    assert_eq!(rig.endpoint.requests().len(), 1);
    rig.expect_lines(1);
    rig.holds();
    assert_eq!(rig.endpoint.connections(), 2, "a tunnel's connection was used again");
}

#[test]
fn h1_31_an_upgrade_needs_a_bare_get_of_http_1_1() {
    let mut rig = Rig::echo();
    let lines = HANDSHAKE;
    let old = head("GET /", lines).replace("HTTP/1.1", "HTTP/1.0");
    let with_body = post(&format!("{lines}{CL}: 5\r\n"), "hello");
    let get_with_body = with_body.replace("POST", "GET");
    for bytes in [old, with_body, get_with_body] {
        assert_eq!(rig.ask(&bytes).status, 200);
    }
    for request in rig.endpoint.requests() {
        assert_eq!(request.field("upgrade"), None);
    }
    rig.holds();
}

#[test]
fn h1_45_pipelined_requests_are_answered_in_order() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    let all: String = (0..1000).map(|n| head(&format!("GET /{n}"), "")).collect();
    client.send(all);
    for n in 0..1000 {
        let response = client.response();
        assert_eq!(response.echo()["target"], format!("/{n}"));
        assert_eq!(response.closes(), n == 999, "{n}");
    }
    client.end_sending().ends();
    rig.expect_lines(1000);
    rig.holds();
}

#[test]
fn h1_45_after_an_error_nothing_is_read() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    let good = |n| head(&format!("GET /{n}"), "");
    client.send(good(1) + &good(2) + "GET /3\r\n\r\n" + &good(4));
    for n in 1..3 {
        assert_eq!(client.response().echo()["target"], format!("/{n}"));
    }
    assert_eq!(client.response().status, 400);
    client.end_sending().ends();
    assert_eq!(rig.endpoint.requests().len(), 2);
    rig.expect_lines(3);
    rig.holds();
}

#[test]
fn h1_45_a_client_that_does_not_read_is_not_read_from() {
    let big = ok(&"x".repeat(1 << 20));
    let mut rig = Rig::over(Endpoint::answering(big));
    let mut client = rig.client();
    for _ in 0..64 {
        client.send(head("GET /big", ""));
    }
    until("the first is under way", || !rig.endpoint.requests().is_empty());
    std::thread::sleep(Duration::from_millis(200));
    assert!(rig.endpoint.requests().len() <= 16, "{}", rig.endpoint.requests().len());
    // The reader resumes, and all come in order.
    for _ in 0..64 {
        assert_eq!(client.response().body.len(), 1 << 20);
    }
    rig.expect_lines(64);
    rig.holds();
}

#[test]
fn h1_46_after_close_nothing_is_read() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    client.send(head("GET /1", "Connection: close\r\n") + &head("GET /2", ""));
    let response = client.response();
    assert_eq!(response.echo()["target"], "/1");
    assert!(response.closes());
    client.end_sending().ends();
    rig.expect_lines(1);
    assert_eq!(rig.endpoint.requests().len(), 1);
    rig.holds();
}

#[test]
fn h1_46_what_follows_a_close_does_not_reset_the_response() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    let more = head("GET /2", "").repeat(10_000);
    client.send(head("GET /1", "Connection: close\r\n"));
    client.pour(more.as_bytes());
    // Late to read, so that a reset would have come by now.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(client.response().echo()["target"], "/1");
    client.end_sending().ends();
    rig.expect_lines(1);
    assert_eq!(rig.endpoint.requests().len(), 1);
    rig.holds();
}

/// A request whose cut-off parts are told apart easily.
fn whole() -> String {
    post(&format!("{CL}: 5\r\n"), "hello")
}

#[test]
fn h1_53_a_head_that_is_cut_off_reaches_nobody() {
    let mut rig = Rig::waiting("header: 400ms, first-byte: 400ms", Endpoint::echo());
    let end_of_head = whole().len() - 5;
    let mut answered = 0;
    let mut stalled = Vec::new();
    for cut in 0..end_of_head {
        let part = &whole()[..cut];
        let mut finishing = rig.client();
        finishing.send(part).end_sending();
        match finishing.try_response("GET") {
            Ok(response) => {
                assert_eq!(response.status, 400, "cut at {cut}");
                answered += 1;
            }
            Err(_) => assert_eq!(finishing.end(), End::Closed, "cut at {cut}"),
        }
        let mut resetting = rig.client();
        resetting.send(part);
        resetting.reset();
        let mut stalling = rig.client();
        stalling.send(part);
        stalled.push(stalling);
    }
    // Those that say nothing more: 408 at the deadline, or a silent end before the first byte.
    for (cut, mut client) in stalled.into_iter().enumerate() {
        match client.try_response("GET") {
            Ok(response) => {
                assert_eq!(response.status, 408, "cut at {cut}");
                assert!(response.closes());
                client.end_sending().ends();
                answered += 1;
            }
            Err(e) => assert!(cut == 0, "cut at {cut}: {e}"),
        }
    }
    assert!(answered > 0);
    assert!(rig.endpoint.requests().is_empty());
    rig.endpoint.until("nobody was dialled", |log| log.bytes.is_empty());
    check::alive(&mut rig.transom);
    check::victim(rig.address());
}

#[test]
fn h1_53_a_body_that_is_cut_off_is_never_ended_cleanly() {
    let mut rig = Rig::waiting("body-idle: 300ms", Endpoint::echo());
    for cut in whole().len() - 5..whole().len() {
        let part = whole()[..cut].to_owned();
        let mut finishing = rig.client();
        finishing.send(&part).end_sending();
        let (rest, _) = finishing.rest();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", rest.escape_ascii());
        let mut resetting = rig.client();
        resetting.send(&part);
        resetting.reset();
        let mut stalling = rig.client();
        stalling.send(&part);
        assert_eq!(stalling.response().status, 408, "cut at {cut}");
        stalling.end_sending().ends();
    }
    rig.endpoint.until("all of it has ended", |log| log.ended == log.bytes.len());
    for request in rig.endpoint.requests() {
        assert!(!request.whole, "{request:#?}");
    }
    check::alive(&mut rig.transom);
    check::victim(rig.address());
}

#[test]
fn h1_53_a_request_may_come_in_any_two_parts() {
    let mut rig = Rig::echo();
    let mut client = Client::connect(rig.address());
    for cut in 1..whole().len() {
        let bytes = whole();
        client.send(&bytes[..cut]);
        // Another packet, and the proxy has most likely read the first.
        if cut % 7 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        client.send(&bytes[cut..]);
        assert_eq!(client.response().echo()["body"], "hello", "cut at {cut}");
        rig.expect_lines(1);
    }
    rig.holds();
}
