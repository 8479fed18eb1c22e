//! Requests that HTTP/1 would read otherwise, and what they say of themselves.

use transom_testkit::certificate::Authority;
use transom_testkit::frames::{DATA, END_STREAM, HEADERS, PREFACE, RST_STREAM, SETTINGS, get};
use transom_testkit::{Endpoint, Frames, Transom};

use crate::rows::rig::{Rig, TRANSOM};

#[test]
fn h2_20_h2_21_what_http_1_would_read_otherwise_is_refused() {
    let rig = Rig::echo();
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "x"),
        ("keep-alive", "5"),
        ("upgrade", "h2c"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("foo", "b\r\nTransfer-Encoding: chunked"),
        ("foo", "a\nb"),
        ("foo", "a\0b"),
        ("foo", " a"),
        ("foo", "a "),
        ("foo", "\ta"),
        ("a:b", "c"),
        ("a\r\nb", "c"),
        ("a b", "c"),
        ("Foo", "bar"),
        ("", "bar"),
    ] {
        let mut lines = get("/");
        lines.push((name, value));
        rig.malformed(&format!("{name:?}: {value:?}"), &lines);
    }
}

#[test]
fn h2_22_pseudo_fields_stand_once_first_and_whole() {
    let rig = Rig::echo();
    let whole = get("/");
    let without =
        |name: &str| -> Vec<_> { whole.iter().copied().filter(|line| line.0 != name).collect() };
    let with = |line: (&'static str, &'static str)| [&whole[..], &[line]].concat();
    let mut late = without(":path");
    late.extend([("x", "y"), (":path", "/")]);
    for (what, lines) in [
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("two paths", with((":path", "/b"))),
        ("two methods", with((":method", "GET"))),
        ("two authorities", with((":authority", "b"))),
        ("late", late),
        ("unknown", with((":x", "y"))),
        ("of a response", with((":status", "200"))),
        (":protocol of a GET", with((":protocol", "websocket"))),
    ] {
        rig.malformed(what, &lines);
    }
    // The library passes over those in trailers: they go no further.
    let mut frames = rig.frames();
    frames.post(1, &[("te", "trailers")]).frame(DATA, 0, 1, b"x");
    frames.headers(1, END_STREAM, &[(":path", "/other")]).answer_of(1);
    assert_eq!((&*rig.endpoint.request().target, rig.endpoint.request().trailers.len()), ("/", 0));
}

#[test]
fn h2_23_targets_methods_and_schemes_are_what_they_are_called() {
    let rig = Rig::echo();
    for (name, value) in [
        (":path", ""),
        (":path", "x"),
        (":path", "http://e/"),
        (":path", "/a b"),
        (":path", "/a\r\nX: y"),
        (":path", "/a\tb"),
        (":method", "GET / HTTP/1.1\r\nX"),
        (":method", ""),
        (":scheme", "http://e/?"),
        (":scheme", "ftp"),
    ] {
        let lines: Vec<_> = get("/")
            .into_iter()
            .map(|line| if line.0 == name { (name, value) } else { line })
            .collect();
        rig.malformed(&format!("{name} {value:?}"), &lines);
    }
    // Not malformed, but not served.
    for (name, value) in
        [(":path", "*"), (":path", "/%zz"), (":method", "get"), (":method", "TRACE")]
    {
        let lines: Vec<_> = get("/")
            .into_iter()
            .map(|line| if line.0 == name { (name, value) } else { line })
            .collect();
        let mut frames = rig.frames();
        frames.headers(1, END_STREAM, &lines).answer_of(1);
        assert!(rig.endpoint.requests().is_empty(), "{name} {value:?} got through");
    }
}

#[test]
fn h2_24_one_host_and_the_same_in_both_places() {
    let rig = Rig::echo();
    for (authority, host) in [
        (Some("a"), Some("b")),
        (Some("a"), Some("a:80")),
        (None, None),
        (Some("u@a"), None),
        (Some("a,b"), None),
        (Some("a:0"), None),
        (Some(""), None),
    ] {
        let mut lines = vec![(":method", "GET"), (":scheme", "http"), (":path", "/")];
        lines.extend(authority.map(|authority| (":authority", authority)));
        lines.extend(host.map(|host| ("host", host)));
        let mut frames = rig.frames();
        frames.headers(1, END_STREAM, &lines);
        frames.until("a refusal", |frame| [HEADERS, RST_STREAM].contains(&frame.kind));
        assert!(rig.endpoint.requests().is_empty(), "{authority:?} {host:?} got through");
    }
    let mut lines = get("/");
    lines.push(("host", "A"));
    let mut frames = rig.frames();
    frames.headers(1, END_STREAM, &lines).answer_of(1);
    assert_eq!(rig.endpoint.request().field("host"), Some("a"));
}

#[test]
fn h2_25_cookie_crumbs_are_one_line_for_http_1() {
    let rig = Rig::echo();
    let mut lines = get("/");
    lines.extend([("cookie", "a=1"), ("cookie", "b=2"), ("x", "y"), ("cookie", "c=3")]);
    let mut frames = rig.frames();
    frames.headers(1, END_STREAM, &lines).answer_of(1);
    assert_eq!(rig.endpoint.request().field("cookie"), Some("a=1; b=2; c=3"));
}

#[test]
fn h2_26_nothing_is_sent_on_before_a_tunnel_stands() {
    let rig = Rig::over(Endpoint::new(|request, line| {
        line.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        assert_eq!(request.method, "GET");
    }));
    let mut frames = rig.frames();
    let mut lines = get("/chat");
    lines[0].1 = "CONNECT";
    lines.extend([(":protocol", "websocket"), ("sec-websocket-version", "13")]);
    lines.sort_by_key(|line| !line.0.starts_with(':'));
    frames.headers(1, 0, &lines).frame(DATA, 0, 1, b"GET /smuggled HTTP/1.1\r\n\r\n");
    frames.answer_of(1);
    let request = rig.endpoint.request();
    assert_eq!((request.target.as_str(), request.body.len()), ("/chat", 0));
    // A plain CONNECT is not served.
    let mut frames = rig.frames();
    frames.headers(1, 0, &[(":method", "CONNECT"), (":authority", "b:443")]);
    frames.until("a refusal", |frame| [HEADERS, RST_STREAM].contains(&frame.kind));
    assert_eq!(rig.endpoint.requests().len(), 1);
}

#[test]
fn h2_33_a_connection_serves_the_names_that_its_listener_serves() {
    let authority = Authority::new();
    let own = authority.issue(&["a.example", "b.example"]);
    let config = "listeners:\n  web:\n    address: '@WEB'\n    \
           tls: { certificate: '@folder/c.pem', key: '@folder/k.pem' }\n    \
           routes: [{ match: { host: [a.example, b.example] }, respond: 204 }]\n";
    let transom = Transom::run_with(TRANSOM, config, |folder| {
        std::fs::write(folder.join("c.pem"), &own.certificate).unwrap();
        std::fs::write(folder.join("k.pem"), &own.key).unwrap();
    });
    let mut config = (*authority.client()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (mut frames, agreed) = Frames::tls(transom.web(), "a.example", config.into());
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
    frames.send(PREFACE).frame(SETTINGS, 0, 0, b"");
    for (id, host) in [(1, "a.example"), (3, "b.example"), (5, "c.example")] {
        let lines =
            [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/")];
        frames.headers(id, END_STREAM, &lines).answer_of(id);
    }
    let statuses: Vec<_> = transom.lines_when(3).iter().map(|l| l["status"].clone()).collect();
    assert_eq!(statuses, [204, 204, 421]);
}
