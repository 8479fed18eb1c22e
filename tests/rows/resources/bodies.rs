//! Bodies that stand still, drip, or are too large, either way.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use transom_testkit::client::End;
use transom_testkit::{Client, Endpoint, PATIENCE, check};

use crate::rows::rig::{HANDSHAKE, Rig, head, post};

#[test]
fn sl_05_a_body_that_stands_still_or_drips_is_given_up() {
    let mut rig = Rig::waiting("body-idle: 300ms", Endpoint::echo());
    let mut still = rig.client();
    still.send(post("Content-Length: 10485760\r\n", "x"));
    assert_eq!(still.response().status, 408);
    still.end_sending().ends();
    // Faster than the idle time, slower than the least rate.
    let start = Instant::now();
    for lines in ["Content-Length: 10485760\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut slow = rig.client();
        slow.send(head("POST /", lines));
        while start.elapsed() < PATIENCE && slow.socket().peek(&mut [0]).is_err() {
            slow.send(if lines.starts_with("T") { "1\r\nx\r\n" } else { "x" });
            let _ = slow.socket().set_read_timeout(Some(Duration::from_millis(50)));
        }
        let _ = slow.socket().set_read_timeout(Some(PATIENCE));
        assert_eq!(slow.response().status, 408, "{lines}");
        slow.end();
    }
    rig.expect_lines(3);
    for request in rig.endpoint.requests() {
        assert!(!request.whole, "{request:#?}");
    }
    rig.holds();
}

#[test]
fn sl_05_a_slow_body_that_is_fast_enough_arrives() {
    let mut rig = Rig::waiting("body-idle: 1s, body-min-rate: 5B/s", Endpoint::echo());
    let mut client = rig.client();
    client.send(post("Content-Length: 60\r\n", ""));
    client.drip("x".repeat(60), Duration::from_millis(30));
    assert_eq!(client.response().echo()["body"], "x".repeat(60));
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn sl_05_a_body_over_the_limit_is_413() {
    let mut rig = Rig::with("limits: { body: 10KiB }", "", Endpoint::echo());
    let exact = "x".repeat(10 << 10);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let response = rig.ask(post("Content-Length: 10240\r\n", &exact));
    assert_eq!(response.echo()["body"], exact);
    let response = rig.ask(post(chunked, &format!("2800\r\n{exact}\r\n0\r\n\r\n")));
    assert_eq!(response.echo()["body"], exact);
    // Told at once, before the body; a short rest is read and the connection stays.
    let mut client = rig.client();
    client.send(post("Content-Length: 10241\r\n", &format!("{exact}x")));
    let response = client.response();
    assert_eq!(response.status, 413);
    // Without a length it is seen on the way.
    let mut client = rig.client();
    client.send(post(chunked, &format!("2801\r\n{exact}x\r\n0\r\n\r\n")));
    let response = client.response();
    assert_eq!(response.status, 413);
    assert!(response.closes());
    client.end_sending().ends();
    rig.expect_lines(2);
    let whole = rig.endpoint.requests().iter().filter(|r| r.whole).count();
    assert_eq!(whole, 2);
    rig.holds();
}

#[test]
fn a_whole_exchange_has_one_deadline_whatever_moves() {
    let every = Duration::from_millis(20);
    let endpoint = Endpoint::new(move |request, line| match &*request.target {
        "/silent" => line.wait(Duration::from_secs(9)),
        "/drips" => {
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            line.drip([b'x'; 400], every);
        }
        "/large" => {
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 32 << 20));
            line.pour(&vec![b'x'; 32 << 20]);
        }
        _ => line.send(transom_testkit::endpoint::echo(request)),
    });
    let mut rig = Rig::waiting("request: 1s", endpoint);
    let timed = |what: &str, asked: &dyn Fn(&mut Client)| {
        let (start, mut client) = (Instant::now(), rig.client());
        asked(&mut client);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(900), "{what}: {took:?}");
        assert!(took < Duration::from_secs(6), "{what}: {took:?}");
        rig.expect_lines(1);
    };
    timed("an endpoint that says nothing", &|client| {
        assert_eq!(client.send(head("GET /silent", "")).response().status, 504);
    });
    timed("a response that drips", &|client| {
        let response = client.send(head("GET /drips", "")).response();
        assert!(response.status == 200 && !response.whole, "{response:?}");
    });
    for lines in ["Content-Length: 10000\r\n", "Transfer-Encoding: chunked\r\n"] {
        timed("a body that drips", &|client| {
            let start = Instant::now();
            client.send(head("POST /", lines));
            while start.elapsed() < PATIENCE && client.socket().peek(&mut [0]).is_err() {
                client.send(if lines.starts_with("T") { "1\r\nx\r\n" } else { "x" });
                let _ = client.socket().set_read_timeout(Some(every));
            }
            let _ = client.socket().set_read_timeout(Some(PATIENCE));
            assert_eq!(client.response().status, 408, "{lines}");
        });
    }
    timed("a client that takes little at a time", &|client| {
        client.receive_buffer(4096).send(head("GET /large", ""));
        let start = Instant::now();
        let mut socket: &TcpStream = client.socket();
        while start.elapsed() < PATIENCE && socket.read(&mut [0; 512]).is_ok_and(|n| n > 0) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(rig.get("/").status, 200);
    let lines = rig.holds();
    let faults: Vec<_> = lines.iter().map(|line| line["fault"].as_str().unwrap_or("")).collect();
    let timeout = "request-timeout";
    let late = "response-timeout";
    assert_eq!(faults, [late, late, timeout, timeout, "client-closed", ""]);
}

#[test]
fn sl_06_who_takes_a_byte_now_and_then_is_given_up() {
    let body = vec![b'x'; 32 << 20];
    let head_of = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut rig = Rig::waiting(
        "send-idle: 600ms",
        Endpoint::answering([head_of.into_bytes(), body].concat()),
    );
    let baseline = rig.transom.sockets().len();
    let mut client = rig.client();
    client.send(head("GET /", ""));
    let start = Instant::now();
    while rig.transom.lines().is_empty() {
        assert!(start.elapsed() < PATIENCE, "it is still being served");
        let mut socket: &TcpStream = client.socket();
        let _ = socket.read(&mut [0]);
        std::thread::sleep(Duration::from_millis(100));
    }
    check::sockets_are_back_at(&rig.transom, baseline);
    assert_eq!(client.end(), End::Reset);
    rig.expect_lines(1);
    let lines = rig.holds();
    assert_eq!(lines[0]["fault"], "client-closed", "{}", lines[0]);
}

#[test]
fn sl_12_a_compressed_request_body_is_not_decoded() {
    let mut rig = Rig::echo();
    let body = "\u{1f}not gzip at all";
    let lines = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len());
    assert_eq!(rig.ask(post(&lines, body)).echo()["body"], body);
    assert_eq!(rig.endpoint.request().field("content-encoding"), Some("gzip"));
    rig.holds();
}

#[test]
fn sl_18_a_tunnel_carries_bytes_until_it_is_silent_for_too_long() {
    let mut rig = Rig::waiting(
        "tunnel-idle: 1s",
        Endpoint::new(|request, line| {
            if request.field("upgrade") != Some("websocket") {
                return line.send(transom_testkit::endpoint::echo(request));
            }
            line.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            while let Some(part) = line.read(10) {
                line.send(part);
            }
            line.end();
        }),
    );
    let baseline = rig.transom.sockets().len();
    let mut client = rig.client();
    client.send(head("GET /ws", HANDSHAKE));
    assert_eq!(client.response().status, 101);
    // A frame of an absurd length is bytes like any other.
    for _ in 0..5 {
        client.send(b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(client.read(10).unwrap(), b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff");
        std::thread::sleep(Duration::from_millis(300));
    }
    client.end();
    rig.endpoint.until("the endpoint's side has ended", |log| log.ended == 1);
    check::sockets_are_back_at(&rig.transom, baseline);
    rig.expect_lines(1);
    let lines = rig.holds();
    assert_eq!(lines[0]["status"], 101, "{}", lines[0]);
}
