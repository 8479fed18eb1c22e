//! Requests in HTTP/1: bodies, chunks, trailers and expectations.

use std::time::Duration;

use transom_testkit::endpoint::{echo, ok};
use transom_testkit::{Endpoint, check};

use super::{CHUNKED, CL};
use crate::rows::rig::{Rig, head, post};

/// These chunked bodies are refused and end both connections; the endpoint sees no end of any.
#[track_caller]
fn are_broken(bodies: &[&str]) {
    let mut rig = Rig::echo();
    for body in bodies {
        let bytes = post(CHUNKED, body);
        let mut client = rig.client();
        check::refused_on(client.send(&bytes), bytes.as_bytes(), 400);
        let mut client = rig.client();
        check::refused_on(client.send_bytewise(&bytes), bytes.as_bytes(), 400);
    }
    rig.expect_lines(2 * bodies.len());
    rig.endpoint.until("every broken upload has ended", |log| log.ended == log.bytes.len());
    for request in rig.endpoint.requests() {
        assert!(!request.whole, "{request:#?}");
    }
    rig.holds();
}

#[test]
fn h1_18_bare_line_ends_in_chunks_are_refused() {
    are_broken(&["5\nhello\r\n0\r\n\r\n", "a\r\n0123456789\n0\r\n\r\n", "0\n\r\n"]);
}

#[test]
fn h1_19_line_ends_in_extensions_are_refused() {
    are_broken(&[
        "5;\nxx\r\n0\r\n\r\n",
        "2\r\r;a\r\n02\r\n41\r\n0\r\n\r\nGET /bad HTTP/1.1\r\nHost: a\r\n\r\n",
        "41;a=b\r\rXXXX",
        "5;\0e\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\nX\r\n0\r\n\r\n",
    ]);
}

#[test]
fn h1_20_floods_of_extensions_are_refused() {
    let one = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(1100));
    let huge = format!("5;a={}", "x".repeat(64 << 10));
    let many = format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "e".repeat(1000)).repeat(20));
    let mut rig = Rig::echo();
    for body in [one, huge, many] {
        let mut client = rig.client();
        client.pour(post(CHUNKED, &body).as_bytes());
        assert_eq!(client.response().status, 400);
        rig.expect_lines(1);
    }
    rig.holds();
}

#[test]
fn h1_21_chunk_sizes_are_hexadecimal_digits() {
    let zeros = "0".repeat(17);
    are_broken(&[
        "\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "0_2e\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "G\r\n",
        "fffffffffffffffff\r\n",
        &zeros,
    ]);
}

#[test]
fn h1_22_a_chunk_ends_where_its_size_says() {
    are_broken(&[
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "0\r\nX:POST / HTTP/1.1\r\n \r\n\r\n",
    ]);
}

#[test]
fn h1_23_nothing_stands_between_chunks() {
    are_broken(&["5\r\nhello\r\n\r\n0\r\n\r\n", "5\r\nhello\r\n\r\n\r\n"]);
}

#[test]
fn h1_20_extensions_are_never_forwarded() {
    let mut rig = Rig::echo();
    let response = rig.ask(post(CHUNKED, "5;a=b;c=\"d\"\r\nhello\r\n0;last\r\n\r\n"));
    assert_eq!(response.echo()["body"], "hello");
    let bytes = rig.endpoint.log().bytes.concat();
    assert!(!bytes.contains(&b';'), "{}", bytes.escape_ascii());
    rig.holds();
}

#[test]
fn h1_24_trailers_are_bounded_and_only_harmless_ones_go_on() {
    let mut rig = Rig::echo();
    let trailers = "Content-Length: 9\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-For: 1\r\n\
                    Transfer-Encoding: chunked\r\nx_forwarded_for: 1\r\nX-Own: 1\r\n";
    let response = rig.ask(post(CHUNKED, &format!("5\r\nhello\r\n0\r\n{trailers}\r\n")));
    assert_eq!(response.echo()["body"], "hello");
    let request = rig.endpoint.request();
    assert_eq!(request.trailers, [("X-Own".to_owned(), "1".to_owned())]);
    assert_eq!(request.field("host"), Some("a"));
    assert_eq!(request.field("authorization"), None);
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    for trailers in ["a: b\r\n".repeat(10_000), format!("a: {}\r\n", "x".repeat(1 << 20))] {
        let bytes = post(CHUNKED, &format!("0\r\n{trailers}\r\n"));
        let response = rig.client().send(&bytes).response();
        assert_eq!(response.status, 400);
    }
    rig.expect_lines(2);
    rig.holds();
}

#[test]
fn h1_25_a_body_belongs_to_its_request_whatever_the_method() {
    let mut rig = Rig::echo();
    let inner = "GET /404 HTTP/1.1\r\nHost: a\r\n\r\n";
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        let mut client = rig.client();
        let lines = format!("{CL}: {}\r\n", inner.len());
        client.send(head(&format!("{method} /"), &lines)).send(inner);
        assert_eq!(client.response_to(method).status, 200);
        // The next one on the connection is the next one.
        client.send(head("GET /next", ""));
        assert_eq!(client.response().echo()["target"], "/next");
        rig.expect_lines(2);
    }
    for request in rig.endpoint.requests() {
        let expected = if request.target == "/next" { "" } else { inner };
        assert_eq!(request.text(), expected);
    }
    rig.holds();
}

#[test]
fn h1_26_what_our_own_answers_leave_unread_is_no_request() {
    let routes = "      - match: { path: /moved }\n        redirect: /elsewhere";
    let mut rig = Rig::with("", routes, Endpoint::echo());
    let inner = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    // A short body is read and forgotten, whichever way its end is known.
    for (target, status) in [("/local/x", 200), ("/moved", 308), ("/a%2fb", 400)] {
        for framed in [
            format!("{CL}: {}\r\n\r\n{inner}", inner.len()),
            format!("{CHUNKED}\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
        ] {
            let mut client = rig.client();
            client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\n{framed}"));
            let response = client.response();
            assert_eq!(response.status, status, "{target}");
            rig.expect_lines(1);
            if response.closes() {
                client.end_sending().ends();
                continue;
            }
            client.send(head("GET /local/next", ""));
            assert_eq!(client.response().status, 200);
            rig.expect_lines(1);
        }
    }
    // A long one closes the connection.
    let mut client = rig.client();
    client.send(post(&format!("{CL}: 1000000\r\n"), "").replace("POST /", "POST /local/x"));
    assert_eq!(client.response().status, 200);
    client.pour(&inner.repeat(1_000_000 / inner.len() + 1).into_bytes());
    let (rest, _) = client.rest();
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
    rig.expect_lines(1);
    assert!(rig.endpoint.requests().is_empty());
    rig.holds();
}

#[test]
fn h1_27_an_early_response_ends_the_upload_and_both_connections() {
    let mut rig = Rig::over(Endpoint::early(|request, line| {
        if request.target.starts_with("/victim") {
            line.send(echo(request));
        } else {
            line.send(ok("early"));
            // What of the upload still comes is for the log.
            line.read_rest();
        }
    }));
    let mut client = rig.client();
    client.send(post(&format!("{CL}: 1000000\r\n"), "begin"));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "early"));
    client.pour(&"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40_000).into_bytes());
    let (rest, _) = client.rest();
    assert!(rest.is_empty(), "{}", rest.escape_ascii());
    rig.endpoint.until("the upload's connection has ended", |log| log.ended == 1);
    rig.expect_lines(1);
    rig.holds();
    assert_eq!(rig.endpoint.connections(), 2, "the connection was used again");
}

#[test]
fn h1_27_an_early_refusal_reaches_the_client() {
    let refusal =
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
    let mut rig = Rig::over(Endpoint::early(move |request, line| {
        if request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.send(refusal);
        line.wait(Duration::from_millis(20));
        // What was not read makes a reset of this.
        line.end();
    }));
    for framed in [format!("{CL}: 1000000\r\n"), CHUNKED.to_owned()] {
        let mut client = rig.client();
        client.send(head("POST /", &framed));
        for _ in 0..10 {
            client.send(format!("1f40\r\n{}\r\n", "x".repeat(8000)));
        }
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (413, "big"), "{framed}");
        rig.expect_lines(1);
    }
    rig.holds();
}

#[test]
fn h1_28_an_expectation_is_met_or_refused() {
    let mut rig = Rig::waiting("body-idle: 300ms", Endpoint::echo());
    let expect = |value: &str| format!("Expect: {value}\r\n{CL}: 5\r\n");
    let mut client = rig.client();
    client.send(post(&expect("100-continue"), ""));
    assert_eq!(client.read(25).unwrap(), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(client.response().echo()["body"], "hello");
    rig.expect_lines(1);
    // The body may come without waiting, too.
    assert_eq!(rig.ask(post(&expect("100-Continue"), "hello")).echo()["body"], "hello");
    // HTTP/1.0 knows no expectations.
    let old = post(&expect("100-continue"), "hello").replace("HTTP/1.1", "HTTP/1.0");
    let response = rig.ask(old);
    assert_eq!(response.interim, [0; 0]);
    assert_eq!(response.echo()["body"], "hello");
    // Nothing to continue with.
    let response = rig.ask(head("GET /", "Expect: 100-continue\r\n"));
    assert_eq!((response.status, response.interim), (200, vec![]));
    for value in ["y 100-continue", "100-continue\r\nExpect: x", "x", "100-continue, x"] {
        rig.refuses(post(&expect(value), "hello"), 417);
    }
    // Never: the time for bodies ends it.
    let mut client = rig.client();
    client.send(post(&expect("100-continue"), ""));
    let response = client.response();
    assert_eq!((response.status, &response.interim[..]), (408, &[100][..]));
    assert!(response.closes());
    client.end_sending().ends();
    rig.expect_lines(1);
    for request in rig.endpoint.requests() {
        assert_eq!(request.field("expect"), None);
    }
    rig.holds();
}

#[test]
fn h1_28_a_body_that_was_never_asked_for_closes_the_connection() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    let lines = format!("Expect: 100-continue\r\n{CL}: 31\r\n");
    client.send(head("POST /local/x", &lines));
    let response = client.response();
    assert_eq!((response.status, response.interim.len()), (200, 0));
    assert!(response.closes());
    client.send("GET /evil HTTP/1.1\r\nHost: a\r\n\r\n").end_sending();
    client.ends();
    rig.expect_lines(1);
    assert!(rig.endpoint.requests().is_empty());
    rig.holds();
}
