//! Requests in HTTP/1: lines, names and values of a head.

use transom_testkit::Endpoint;

use super::CL;
use crate::rows::rig::{Rig, head, post};

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
fn h1_44_what_a_connection_asked_for_before_changes_nothing() {
    let mut rig = Rig::echo();
    for bad in ["", "Host:\r\n", "Host: a,b\r\n", "Host: a\r\nHost: a\r\n", "Host: a:0\r\n"] {
        let mut client = rig.client();
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.response().status, 200);
        for (host, told) in
            [("a", "a"), ("a", "a"), ("A:80", "a:80"), ("a:80", "a:80"), ("a.", "a")]
        {
            client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(client.response().status, 200);
            assert_eq!(rig.endpoint.requests().last().unwrap().field("host"), Some(told));
        }
        client.send(format!("GET / HTTP/1.1\r\n{bad}\r\n"));
        assert_eq!(client.response().status, 400, "{bad}");
        rig.expect_lines(7);
    }
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
    assert_eq!(rig.ask(head("GET /", "TE: trailers\r\n")).status, 200);
    let asked = rig.endpoint.requests();
    let last = asked.last().expect("it was asked");
    assert_eq!((last.field("te"), last.field("connection")), (Some("trailers"), Some("TE")));
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
    rig.refuses("SSH-2.0-OpenSSH_9.6\r\n", 400);
    rig.holds();
}

#[test]
fn h1_51_http_2_is_refused_where_it_is_switched_off() {
    let mut rig = Rig::with("http2: off", "", Endpoint::echo());
    rig.refuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
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
