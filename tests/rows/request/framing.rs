//! Requests in HTTP/1: where a body begins and ends is never left to guess.

use super::{CHUNKED, CL, TE};
use crate::rows::rig::{Rig, post};

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
