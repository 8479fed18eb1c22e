//! Responses of endpoints: connections that are kept, end, stand still or are shared.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use transom_testkit::certificate::Authority;
use transom_testkit::endpoint::{echo, ok};
use transom_testkit::{Client, Endpoint, Transom, check, until};

use crate::rows::rig::{Rig, TRANSOM, head, post};

use super::{table, tls_pools};

#[test]
fn rs_04_bytes_behind_a_response_end_its_connection() {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let cases = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloEVIL!".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{second}"),
        format!("{chunked}EVIL"),
        format!("{chunked}{second}"),
    ];
    let mut rig = Rig::over(table(cases.clone()));
    for n in 0..cases.len() {
        let mut client = rig.client();
        client.send(head(&format!("GET /{n}"), ""));
        assert_eq!(client.response().text(), "hello");
        client.send(head("GET /next", ""));
        assert_eq!(client.response().echo()["target"], "/next");
        rig.expect_lines(2);
        rig.endpoint.until("the connection is closed", |log| log.ended > n);
        check::victim(rig.address());
        rig.expect_lines(1);
    }
    // Of each case the connection was thrown away; the last one lies idle.
    assert_eq!(rig.endpoint.connections(), cases.len() + 1);
    rig.holds();
}

#[test]
fn rs_05_an_idle_connection_that_says_or_ends_something_is_not_used() {
    let said = Arc::new(AtomicUsize::new(0));
    let its = said.clone();
    let mut rig = Rig::over(Endpoint::new(move |request, line| {
        line.send(echo(request));
        let how = request.target.as_str();
        if matches!(how, "/bytes" | "/fin" | "/reset") {
            line.wait(Duration::from_millis(30));
            match how {
                "/bytes" => line.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"),
                "/fin" => line.end(),
                _ => line.reset(),
            }
            its.fetch_add(1, Ordering::SeqCst);
        }
    }));
    for (n, how) in ["/bytes", "/fin", "/reset"].iter().enumerate() {
        assert_eq!(rig.get(how).status, 200);
        until("it was said", || said.load(Ordering::SeqCst) == n + 1);
        // What comes later than the request is RS-13's.
        let there = rig.endpoint.address;
        until("the kernel has heard of it", || rig.transom.quiet_connections_to(there) == 0);
        // Nothing may be lost: not even what cannot be sent twice.
        let response = rig.ask(post("Content-Length: 5\r\n", "hello"));
        assert_eq!(response.status, 200, "{how}");
        assert_eq!(response.echo()["body"], "hello", "{how}");
        check::victim(rig.address());
        rig.expect_lines(1);
    }
    rig.holds();
}

#[test]
fn rs_05_over_tls_an_ended_connection_is_not_used() {
    let authority = Authority::new();
    let server = authority.issue(&["localhost"]).server();
    let ended = Arc::new(AtomicUsize::new(0));
    let its = ended.clone();
    let endpoint = Endpoint::tls(server, move |request, line| {
        line.send(echo(request));
        if matches!(request.target.as_str(), "/notified" | "/cut") {
            line.wait(Duration::from_millis(30));
            if request.target == "/notified" {
                line.close_notify();
            }
            line.end();
            its.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (transom, _) = tls_pools(&authority, &endpoint, &["localhost"]);
    for (n, how) in ["notified", "cut"].iter().enumerate() {
        let mut client = Client::connect(transom.web());
        client.send(head(&format!("GET /0/{how}"), ""));
        assert_eq!(client.response().status, 200);
        until("it has ended", || ended.load(Ordering::SeqCst) == n + 1);
        let there = endpoint.address;
        until("the kernel has heard of it", || transom.quiet_connections_to(there) == 0);
        client.send(post("Content-Length: 5\r\n", "hello").replace(" / ", " /0/ "));
        assert_eq!(client.response().echo()["body"], "hello", "{how}");
    }
}

#[test]
fn rs_05_an_endpoint_that_says_close_is_believed() {
    let mut rig = Rig::over(Endpoint::new(|request, line| match request.target.as_str() {
        "/close" => line.send("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n"),
        "/old" => line.send("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        "/kept" => {
            line.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n")
        }
        _ => line.send(echo(request)),
    }));
    for (n, target) in ["/close", "/old"].iter().enumerate() {
        let response = rig.get(target);
        assert_eq!((response.status, response.field("connection")), (200, None));
        rig.endpoint.until("the connection is closed", |log| log.ended == n + 1);
    }
    assert_eq!(rig.get("/kept").status, 200);
    rig.holds();
    assert_eq!(rig.endpoint.connections(), 3);
}

/// Answers the first request of a connection, and ends it instead of answering the second.
fn forgetful(before: &'static str) -> Endpoint {
    Endpoint::new(move |request, line| {
        if request.number == 0 || request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.send(before);
        line.end();
    })
}

#[test]
fn rs_13_what_raced_with_the_end_of_a_connection_is_sent_once_more_if_that_is_safe() {
    let mut rig = Rig::over(forgetful(""));
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT"] {
        assert_eq!(rig.get("/warm").status, 200);
        let response = rig.ask(head(&format!("{method} /again"), ""));
        assert_eq!(response.status, 200, "{method}");
    }
    let again = rig.endpoint.requests();
    let again: Vec<_> = again.iter().filter(|r| r.target == "/again").collect();
    assert_eq!(again.len(), 10, "each came twice, and not more often");
    // A POST may have had an effect.
    for (bytes, name) in [
        (head("POST /post", ""), "without"),
        (post("Content-Length: 5\r\n", "hello").replace(" / ", " /post "), "with"),
    ] {
        let before = rig.endpoint.requests().len();
        assert_eq!(rig.get("/warm").status, 200);
        let response = rig.ask(&bytes);
        if rig.endpoint.requests().len() == before + 1 {
            // The kept connection of the last round had been found to be closed.
            continue;
        }
        let posts =
            rig.endpoint.requests().iter().skip(before).filter(|r| r.target == "/post").count();
        assert_eq!((response.status, posts), (502, 1), "{name} a body");
    }
    rig.holds();
}

#[test]
fn rs_13_what_has_begun_to_be_answered_is_not_sent_again() {
    let mut rig = Rig::over(forgetful("HTTP/1.1 2"));
    assert_eq!(rig.get("/warm").status, 200);
    assert_eq!(rig.get("/again").status, 502);
    assert_eq!(rig.endpoint.requests().len(), 2);
    rig.holds();
}

#[test]
fn rs_14_an_endpoint_that_does_not_answer_is_not_waited_for() {
    let mut rig = Rig::waiting(
        "response: 1s, response-idle: 1s",
        Endpoint::new(|request, line| match request.target.as_str() {
            "/never" => line.stall(),
            "/head" => {
                line.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
                line.stall();
            }
            "/part" => {
                line.send("HTTP/1.1 200 OK\r\nContent-Le");
                line.stall();
            }
            _ => line.send(echo(request)),
        }),
    );
    for target in ["/never", "/part"] {
        let start = Instant::now();
        let response = rig.get(target);
        assert_eq!(response.status, 504, "{target}");
        assert!(start.elapsed() < Duration::from_secs(5), "{target}: {:?}", start.elapsed());
    }
    let mut client = rig.client();
    let response = client.send(head("GET /head", "")).response();
    assert_eq!((response.status, response.text().as_str(), response.whole), (200, "12345", false));
    client.end();
    rig.expect_lines(1);
    rig.endpoint.until("all three were given up", |log| log.ended == 3);
    assert_eq!(rig.endpoint.requests().len(), 3);
    let lines = rig.holds();
    let faults: Vec<_> = lines.iter().map(|line| line["fault"].as_str().unwrap()).collect();
    assert_eq!(faults, ["response-timeout"; 3]);
}

#[test]
fn rs_14_the_only_endpoint_is_not_asked_again() {
    let endpoint = Endpoint::new(|_, line| line.stall());
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', timeouts: {{ response: 1s }}, \
         routes: [{{ forward: '{}' }}] }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let response = Client::connect(transom.web()).send(head("GET /", "")).response();
    assert_eq!(response.status, 504);
    assert_eq!(endpoint.requests().len(), 1);
}

#[test]
fn rs_14_an_endpoint_that_reads_nothing_is_not_waited_for() {
    let mut rig = Rig::waiting(
        "send-idle: 400ms",
        Endpoint::early(|request, line| {
            if request.target.starts_with("/victim") {
                return line.send(echo(request));
            }
            line.wait(Duration::from_secs(9));
            line.end();
        }),
    );
    let mut client = rig.client();
    client.send(head("POST /", "Content-Length: 10000000\r\n"));
    let start = Instant::now();
    client.socket().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    client.pour(&vec![b'x'; 10_000_000]);
    assert_eq!(client.response().status, 504);
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    rig.expect_lines(1);
    let lines = rig.holds();
    assert_eq!(lines[0]["fault"], "response-timeout", "{}", lines[0]);
}

#[test]
fn rs_15_an_endpoint_that_resets_every_third_connection_leaves_nothing_behind() {
    let accepted = AtomicUsize::new(0);
    let mut rig = Rig::over(Endpoint::raw(move |line| {
        if accepted.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            return line.reset();
        }
        let Some(request) = line.read_request() else { return };
        line.send(echo(&request));
        line.end();
    }));
    let baseline = rig.transom.sockets().len();
    let mut failed = 0;
    for _ in 0..60 {
        match rig.get("/").status {
            200 => {}
            502 => failed += 1,
            other => panic!("{other}"),
        }
    }
    assert!(failed <= 60, "{failed}");
    check::sockets_are_back_at(&rig.transom, baseline);
    // The next connections are 61 and on, or a little more where a request was tried twice.
    until("an answer", || rig.get("/").status == 200);
    check::alive(&mut rig.transom);
}

#[test]
fn rs_15_a_reset_after_the_head_is_seen_by_the_client() {
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        line.wait(Duration::from_millis(30));
        line.reset();
    }));
    let mut client = rig.client();
    let response = client.send(head("GET /", "")).response();
    assert_eq!((response.status, response.whole), (200, false));
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn rs_16_a_client_that_has_said_all_still_gets_its_response() {
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        line.wait(Duration::from_millis(50));
        line.send(echo(request));
    }));
    let mut client = rig.client();
    client.send(post("Content-Length: 5\r\n", "hello")).end_sending();
    assert_eq!(client.response().echo()["body"], "hello");
    client.ends();
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn rs_16_an_endpoint_that_has_said_all_may_still_read() {
    let read = Arc::new(Mutex::new(Vec::new()));
    let its = read.clone();
    let mut rig = Rig::over(Endpoint::early(move |request, line| {
        if request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        let body = line.read(100_000).unwrap_or_default();
        its.lock().unwrap().push(body.len());
        line.send("0\r\n\r\n");
        line.end_sending();
    }));
    let mut client = rig.client();
    client.send(head("POST /", "Content-Length: 100000\r\n"));
    assert_eq!(client.read(15).unwrap(), b"HTTP/1.1 200 OK");
    client.send("x".repeat(100_000));
    let (rest, _) = {
        client.end_sending();
        client.rest()
    };
    assert!(rest.ends_with(b"5\r\nhello\r\n0\r\n\r\n"), "{}", rest.escape_ascii());
    assert_eq!(*read.lock().unwrap(), [100_000]);
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn rs_18_a_body_that_was_sent_is_not_sent_elsewhere() {
    let other = Endpoint::echo();
    let breaking = Endpoint::early(|_, line| {
        line.read(50_000);
        line.reset();
    });
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: ['{}', '{}'] }}\n",
        breaking.address, other.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let mut client = Client::connect(transom.web());
    client.send(head("PUT /", "Content-Length: 100000\r\n"));
    client.pour("x".repeat(100_000).as_bytes());
    let response = client.response();
    assert_eq!(response.status, 502);
    assert!(other.requests().is_empty(), "{:#?}", other.requests());
    check::alive(&mut transom);
}

#[test]
fn rs_19_connections_with_another_name_are_never_shared() {
    let authority = Authority::new();
    let server = authority.issue(&["a.example", "b.example"]).server();
    let endpoint = Endpoint::tls(server, |request, line| {
        line.send(ok(&format!("{} {}", line.name().unwrap_or_default(), request.connection)));
    });
    let (transom, _) = tls_pools(&authority, &endpoint, &["a.example", "b.example"]);
    let ask = |target: &str| {
        Client::connect(transom.web()).send(head(&format!("GET {target}"), "")).response().text()
    };
    assert_eq!(ask("/0/"), "a.example 0");
    assert_eq!(ask("/1/"), "b.example 1");
    assert_eq!(ask("/0/"), "a.example 0");
    assert_eq!(ask("/1/"), "b.example 1");
}
