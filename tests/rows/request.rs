//! Requests in HTTP/1: framing, smuggling, and what closes a connection.

use std::time::Duration;

use transom_testkit::client::End;
use transom_testkit::endpoint::{echo, ok};
use transom_testkit::{Client, Endpoint, check, until};

use super::rig::{Rig, head, post};

const CL: &str = "Content-Length";
const TE: &str = "Transfer-Encoding";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn h1_01_length_beside_encoding_is_refused() {
    let mut rig = Rig::echo();
    rig.refuses(post(&format!("{CL}: 6\r\n{CHUNKED}"), "0\r\n\r\nG"), 400);
    rig.holds();
}

#[test]
fn h1_02_encoding_beside_length_is_refused_in_either_order() {
    let mut rig = Rig::echo();
    let inner = "5c\r\nGPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\nx=1\r\n0\r\n\r\n";
    rig.refuses(post(&format!("{CL}: 4\r\n{CHUNKED}"), inner), 400);
    rig.refuses(post(&format!("{CHUNKED}{CL}: 4\r\n"), inner), 400);
    rig.refuses(post(&format!("{CHUNKED}{CL}: x\r\n"), inner), 400);
    rig.holds();
}

#[test]
fn h1_03_an_encoding_in_disguise_is_refused() {
    let mut rig = Rig::echo();
    let te = b"Transfer-Encoding";
    let bytes = [0x01, 0x04, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1f, 0x20, 0x7f, 0xa0, 0xff];
    let mut requests = 0;
    for b in bytes {
        let b = &[b][..];
        let lines: [Vec<u8>; 10] = [
            [te, &b":"[..], b, b"chunked"].concat(),
            [te, b, b": chunked"].concat(),
            [b, te, b": chunked"].concat(),
            [te, &b": chunked"[..], b].concat(),
            [b"X: X", b, te, b": chunked"].concat(),
            [b"X: X\r", b, te, b": chunked"].concat(),
            [b"X: X", b, b"\n", te, b": chunked"].concat(),
            [te, &b": "[..], b, b"chunked"].concat(),
            [te, &b": chun"[..], b, b"ked"].concat(),
            [te, &b":"[..], b, b" chunked"].concat(),
        ];
        for line in lines {
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n";
            let bytes = [&head[..], &line, b"\r\n\r\n0\r\n\r\n"].concat();
            let mut client = rig.client();
            let response = client.send(&bytes).response();
            requests += 1;
            // `X: X<space>Transfer-Encoding: chunked` is one value of another field, and only that.
            let harmless =
                (line.starts_with(b"X: X ") || line.starts_with(b"X: X\t") || b[0] >= 0x80)
                    && line.starts_with(b"X: X")
                    && !line.contains(&b'\r')
                    && !line.contains(&b'\n');
            let shown = line.escape_ascii();
            if harmless {
                assert_eq!(response.status, 200, "{shown}");
                assert_eq!(response.echo()["body"], "0\r\n\r\n", "{shown}");
            } else {
                assert_eq!(response.status, 400, "{shown}");
                client.end_sending().ends();
            }
        }
    }
    rig.expect_lines(requests);
    rig.holds();
}

#[test]
fn h1_04_chunked_stands_once() {
    let mut rig = Rig::echo();
    for lines in [
        format!("{CHUNKED}{CHUNKED}"),
        format!("{TE}: identity\r\n{CHUNKED}"),
        format!("{TE}: chunked, chunked\r\n"),
    ] {
        rig.refuses(post(&lines, "0\r\n\r\n"), 400);
    }
    rig.holds();
}

#[test]
fn h1_05_other_codings_are_not_implemented() {
    let mut rig = Rig::echo();
    rig.refuses(post(&format!("{TE}: gzip, chunked\r\n"), "0\r\n\r\n"), 501);
    rig.holds();
}

#[test]
fn h1_06_an_encoding_that_is_not_chunked_is_refused() {
    let mut rig = Rig::echo();
    for value in [
        "chunked, gzip",
        "gzip",
        "identity",
        "xchunked",
        "\"chunked\"",
        "chunked;q=1",
        "",
        ",chunked",
        "chunked,",
    ] {
        rig.refuses(post(&format!("{TE}: {value}\r\n"), "0\r\n\r\n"), 400);
    }
    rig.holds();
}

#[test]
fn h1_07_http_1_0_has_no_encoding() {
    let mut rig = Rig::echo();
    let start = "POST / HTTP/1.0\r\nHost: a\r\n";
    rig.refuses(format!("{start}{CHUNKED}\r\n0\r\n\r\n"), 400);
    rig.refuses(format!("{start}{CHUNKED}{CL}: 5\r\n\r\n0\r\n\r\n"), 400);
    rig.holds();
}

#[test]
fn h1_08_in_http_1_0_what_has_no_length_is_no_body() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    client.send("POST /a HTTP/1.0\r\nHost: a\r\n\r\nGET /evil HTTP/1.0\r\n\r\n").end_sending();
    let response = client.response();
    assert_eq!(response.echo()["body"], "");
    assert!(response.closes());
    client.ends();
    rig.expect_lines(1);
    for method in ["GET", "HEAD", "DELETE"] {
        rig.refuses(format!("{method} / HTTP/1.0\r\nHost: a\r\n{CL}: 5\r\n\r\nhello"), 400);
    }
    assert_eq!(rig.endpoint.requests().len(), 1);
    rig.holds();
}

#[test]
fn h1_08_http_1_0_keeps_a_connection_only_when_asked() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n");
        let response = client.response();
        assert_eq!(response.field("connection"), Some("keep-alive"));
        assert_eq!(response.field("transfer-encoding"), None);
    }
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(client.response().closes());
    client.end_sending().ends();
    rig.expect_lines(3);
    rig.holds();
}

#[test]
fn h1_09_two_lengths_are_refused() {
    let mut rig = Rig::echo();
    let evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    rig.refuses(post(&format!("{CL}: 0\r\n{CL}: 31\r\n"), evil), 400);
    rig.refuses(post(&format!("{CL}: 31\r\n{CL}: 0\r\n"), evil), 400);
    rig.holds();
}

#[test]
fn h1_10_even_two_equal_lengths_are_refused() {
    let mut rig = Rig::echo();
    rig.refuses(post(&format!("{CL}: 5\r\n{CL}: 5\r\n"), "hello"), 400);
    rig.refuses(post(&format!("{CL}: 5, 5\r\n"), "hello"), 400);
    rig.refuses(post(&format!("{CL}: 5,5,5\r\n"), "hello"), 400);
    rig.holds();
}

#[test]
fn h1_11_a_length_is_digits() {
    let mut rig = Rig::echo();
    for value in ["", "+5", "-5", "0x5", "1_0", "5 5", "5.0", "5;", "5\u{b}", "\u{ff15}", "\u{a0}5"]
    {
        rig.refuses(post(&format!("{CL}: {value}\r\n"), "hello"), 400);
    }
    rig.holds();
}

#[test]
fn h1_12_a_length_is_decimal_and_written_anew() {
    let mut rig = Rig::echo();
    let response = rig.ask(post(&format!("{CL}: 010\r\n"), "0123456789"));
    assert_eq!(response.echo()["body"], "0123456789");
    let response = rig.ask(post(&format!("{CL}: 0000000005\r\n"), "hello"));
    assert_eq!(response.echo()["body"], "hello");
    let lengths: Vec<_> =
        rig.endpoint.requests().iter().map(|r| r.field(CL).map(str::to_owned)).collect();
    assert_eq!(lengths, [Some("10".to_owned()), Some("5".to_owned())]);
    rig.holds();
}

#[test]
fn h1_13_a_length_that_no_machine_holds_is_refused() {
    let mut rig = Rig::echo();
    for value in ["18446744073709551616", "9223372036854775808", &"9".repeat(400)] {
        rig.refuses(post(&format!("{CL}: {value}\r\n"), ""), 400);
    }
    // The largest that can be held is over the limit of bodies.
    let response = rig.ask(post(&format!("{CL}: 9223372036854775807\r\n"), "x"));
    assert_eq!(response.status, 413);
    rig.holds();
}

#[test]
fn h1_14_15_names_stand_right_before_their_colon() {
    let mut rig = Rig::echo();
    let get = "GET / HTTP/1.1\r\n";
    for line in [
        "Content-Length : 34",
        "Content-Length\0: 5",
        "Content-Length 10",
        ": x",
        "Transfer-\r\nEncoding: chunked",
    ] {
        rig.refuses(format!("{get}Host: a\r\n{line}\r\n\r\n"), 400);
    }
    rig.refuses(format!("{get}\tContent-Length: 1\r\nHost: a\r\n\r\n"), 400);
    rig.holds();
}

#[test]
fn h1_16_17_control_characters_and_bare_line_ends_are_refused() {
    let mut rig = Rig::echo();
    for bytes in [
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: v\rSmuggled: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: v\nSmuggled: 1\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\rHost: a\r\r",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX",
        "GET / HTTP/1.1\r\nHost: google.com\0.k.org\r\n\r\n",
    ] {
        rig.refuses(bytes, 400);
    }
    rig.holds();
}

#[test]
fn h1_16_what_a_client_writes_cannot_break_the_log() {
    let mut rig = Rig::echo();
    for agent in ["a\"b\\c", "\t{\"x\":1}", "\u{e9}\u{2028}", "%00%0a\\n", "</script>"] {
        let lines = format!("User-Agent: {agent}\r\nReferer: {agent}\r\n");
        assert_eq!(rig.ask(head("GET /a'b\"c%22?d=%0a\"", &lines)).status, 200, "{agent}");
    }
    let raw = [&b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\xfe\x80\r\n\r\n"[..]].concat();
    assert_eq!(rig.ask(raw).status, 200);
    rig.holds();
}

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
fn h1_24_trailers_are_bounded_and_never_become_headers() {
    let mut rig = Rig::echo();
    let trailers = "Content-Length: 9\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-For: 1\r\n\
                    Transfer-Encoding: chunked\r\nX-Own: 1\r\n";
    let response = rig.ask(post(CHUNKED, &format!("5\r\nhello\r\n0\r\n{trailers}\r\n")));
    assert_eq!(response.echo()["body"], "hello");
    let request = rig.endpoint.request();
    assert!(request.trailers.is_empty(), "{:?}", request.trailers);
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
    client.send(head("GET /ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n") + &next);
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
        line.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi");
        let early = line.read(5).unwrap_or_default();
        line.send(early.to_ascii_uppercase());
        let rest = line.read_rest();
        line.send(rest);
    }));
    let mut client = rig.client();
    // Some frames are sent before the switch, and must not arrive before it.
    client.send(head("GET /ws", "Connection: Upgrade\r\nUpgrade: WebSocket\r\n")).send("early");
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
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
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
fn h1_32_33_other_versions_are_refused_with_a_head() {
    let mut rig = Rig::echo();
    for (line, status) in [
        ("GET /admin", 400),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/3.0", 505),
        ("GET / HTTP/01.1", 400),
        ("GET / HTTP/1.", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.1\0", 400),
        ("GET / HTTP/4294967295.255", 400),
    ] {
        rig.refuses(format!("{line}\r\nHost: a\r\n\r\n"), status);
    }
    rig.refuses("GET /admin\r\n", 400);
    rig.refuses("GET /\n", 400);
    let response = rig.ask("GET / HTTP/1.2\r\nHost: a\r\n\r\n");
    assert_eq!(response.status, 200);
    rig.holds();
}

#[test]
fn h1_34_35_request_lines_and_methods_are_exact() {
    let mut rig = Rig::echo();
    for (line, status) in [
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET HTTP/1.1", 400),
        ("GET\x0b/ HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("G=\":<>(e),[T];?\" / HTTP/1.1", 400),
        ("GET\0 / HTTP/1.1", 400),
        ("GÉT / HTTP/1.1", 400),
        ("get / HTTP/1.1", 501),
        (&format!("{} / HTTP/1.1", "M".repeat(4096)), 501),
    ] {
        rig.refuses(format!("{line}\r\nHost: a\r\n\r\n"), status);
    }
    let response = rig.ask(head("PURGE /x", ""));
    assert_eq!(response.echo()["method"], "PURGE");
    rig.holds();
}

#[test]
fn h1_36_37_a_whole_uri_names_the_host_that_host_names() {
    let mut rig = Rig::echo();
    rig.refuses("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    for target in ["http://u:p@a/", "ftp://a/", "https://a/", "a/", "*", "http:///x", "http://a:0/"]
    {
        rig.refuses(head(&format!("GET {target}"), ""), 400);
    }
    let response = rig.ask("GET http://A/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.echo()["target"], "/x?y");
    let response = rig.get("//a/");
    assert_eq!(response.echo()["target"], "/a/");
    for request in rig.endpoint.requests() {
        assert_eq!(request.field("host"), Some("a"));
    }
    rig.holds();
}

#[test]
fn h1_38_the_server_as_a_whole_is_no_path() {
    let mut rig = Rig::echo();
    for target in ["*", "http://a"] {
        let response = rig.ask(head(&format!("OPTIONS {target}"), ""));
        assert_eq!(response.status, 204);
        assert!(response.field("allow").is_some());
    }
    assert!(rig.endpoint.requests().is_empty());
    rig.holds();
}

#[test]
fn h1_39_40_connect_and_trace_are_refused_and_close() {
    let mut rig = Rig::echo();
    let evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    rig.refuses(format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{evil}"), 405);
    rig.refuses(format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n{CL}: 5\r\n\r\nhello"), 405);
    rig.refuses(format!("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n{evil}"), 405);
    let mut client = rig.client();
    let response = client.send(head("TRACE /", "Cookie: s3cret\r\n")).response();
    assert_eq!(response.status, 405);
    assert!(response.field("allow").is_some_and(|allow| !allow.contains("TRACE")));
    assert!(!response.text().contains("s3cret"));
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn h1_41_42_folded_lines_are_refused() {
    let mut rig = Rig::echo();
    for lines in
        ["X: a\r\n b\r\n", "Transfer-Encoding:\r\n chunked\r\n", "Content-Length:\r\n\t5\r\n"]
    {
        rig.refuses(head("GET /", lines), 400);
    }
    rig.refuses("GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n", 400);
    rig.refuses("GET /\r\n HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    rig.refuses("GET / HTTP/1.1\r\n Host: evil\r\nHost: a\r\n\r\n", 400);
    rig.holds();
}

#[test]
fn h1_43_one_empty_line_before_a_request_is_passed_over() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    client.send("\r\n").send(head("GET /a", "")).send_bytewise("\r\n").send(head("GET /b", ""));
    assert_eq!(client.response().echo()["target"], "/a");
    assert_eq!(client.response().echo()["target"], "/b");
    rig.expect_lines(2);
    rig.refuses("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    rig.refuses("\r\n".repeat(10_000), 400);
    rig.holds();
}

#[test]
fn h1_44_exactly_one_host_that_is_one() {
    let mut rig = Rig::echo();
    let long = format!("Host: {}\r\n", "a".repeat(300));
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a,b\r\n",
        "Host: a b\r\n",
        "Host: a:0\r\n",
        "Host: a:99999\r\n",
        "Host: a:80:80\r\n",
        "Host: a/..\r\n",
        "Host: u@a\r\n",
        "Host: a%00\r\n",
        "Host: [::1\r\n",
        "Host: a\tb\r\n",
        "Host:\r\n",
        &long,
    ] {
        rig.refuses(format!("GET / HTTP/1.1\r\n{lines}\r\n"), 400);
    }
    rig.refuses("GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400);
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

#[test]
fn h1_47_what_others_hang_on_cannot_be_nominated() {
    let mut rig = Rig::echo();
    for value in ["close, Content-Length", "Transfer-Encoding", "HOST", "content-LENGTH"] {
        rig.refuses(post(&format!("connection: {value}\r\n{CL}: 5\r\n"), "hello"), 400);
    }
    let lines = "Connection: X-Forwarded-For, aUthorization, Cookie, X-Own, x-forwarded-PROTO\r\n\
                 Authorization: Basic x\r\nCookie: a=b\r\nX-Own: 1\r\nX-Other: 2\r\n";
    let response = rig.ask(head("GET /", lines));
    assert_eq!(response.status, 200);
    let request = rig.endpoint.request();
    assert_eq!(request.field("authorization"), Some("Basic x"));
    assert_eq!(request.field("cookie"), Some("a=b"));
    assert_eq!(request.field("x-own"), None);
    assert_eq!(request.field("x-other"), Some("2"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    rig.holds();
}

#[test]
fn h1_48_fields_for_one_hop_go_no_further() {
    let mut rig = Rig::echo();
    let lines = "Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: gzip\r\n\
                 Proxy-Authorization: Basic x\r\nProxy: http://evil\r\nTrailer: X\r\n";
    assert_eq!(rig.ask(head("GET /", lines)).status, 200);
    assert_eq!(rig.ask(head("GET /", "TE: trailers;q=0.5\r\n")).status, 200);
    for request in rig.endpoint.requests() {
        for name in [
            "proxy-connection",
            "keep-alive",
            "te",
            "proxy-authorization",
            "proxy",
            "trailer",
            "connection",
        ] {
            assert_eq!(request.field(name), None, "{name}");
        }
    }
    rig.holds();
}

#[test]
fn h1_49_50_names_that_imitate_others_are_refused() {
    let mut rig = Rig::echo();
    for line in [
        "Content_Length: 5",
        "Transfer_Encoding: chunked",
        "X_Forwarded_For: 1.2.3.4",
        "X.Real.IP: 1.2.3.4",
        "x.forwarded_for: 1.2.3.4\r\nX-Forwarded-For: 1.2.3.4",
        "Transfer-Encod\u{131}ng: chunked",
        "\u{212a}eep-Alive: 1",
        "X-\u{e9}: 1",
    ] {
        rig.refuses(head("GET /", &format!("{line}\r\n")), 400);
    }
    // Another name with such letters goes, since no two servers read it alike.
    assert_eq!(rig.ask(head("GET /", "X_Own: 1\r\nX-Own: 2\r\n")).status, 200);
    let request = rig.endpoint.request();
    assert_eq!((request.field("x_own"), request.field("x-own")), (None, Some("2")));
    rig.holds();
}

#[test]
fn h1_51_what_is_not_http_is_refused() {
    let mut rig = Rig::echo();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    let mut client = rig.client();
    client.send(hello);
    assert_eq!(client.response().status, 400);
    client.end_sending().ends();
    rig.expect_lines(1);
    rig.refuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    rig.refuses("SSH-2.0-OpenSSH_9.6\r\n", 400);
    rig.holds();
}

#[test]
fn h1_52_a_fragment_is_refused_and_its_escape_stays() {
    let mut rig = Rig::echo();
    rig.refuses(head("GET /a#b", ""), 400);
    rig.refuses(head("GET /a?b#c", ""), 400);
    assert_eq!(rig.get("/a%23b?c%23d").echo()["target"], "/a%23b?c%23d");
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
