//! Paths, hosts, and what is said about the client.

use transom_testkit::{Client, Endpoint, Transom, check};

use super::resources::check_file;
use super::rig::{Rig, TRANSOM, head, post};

const ADMIN: &str = "      - match: { path: /admin/** }\n        respond: 403";

/// With `/admin/**` closed to everybody.
fn guarded() -> Rig {
    Rig::with("", ADMIN, Endpoint::echo())
}

/// The target that the endpoint saw, or the status of our own answer.
fn seen(rig: &Rig, target: &str) -> Result<String, u16> {
    let response = rig.get(target);
    match response.status {
        200 => Ok(response.echo()["target"].as_str().unwrap().to_owned()),
        status => Err(status),
    }
}

#[track_caller]
fn check_targets(rig: &Rig, cases: &[(&str, Result<&str, u16>)]) {
    for (target, expected) in cases {
        assert_eq!(seen(rig, target), expected.map(str::to_owned), "{target}");
    }
}

#[test]
fn p_01_dot_segments_neither_hide_nor_climb() {
    let mut rig = guarded();
    check_targets(
        &rig,
        &[
            ("/a/../admin", Err(403)),
            ("/a/../admin/x", Err(403)),
            ("/%2e%2e/admin", Err(400)),
            ("/a/%2e%2e/admin", Err(403)),
            ("/a/%2e./admin", Err(403)),
            ("/./admin", Err(403)),
            ("/.%2e/", Err(400)),
            ("/..;/admin", Err(400)),
            ("/a/..;/admin", Err(400)),
            ("/a/..%00/", Err(400)),
            ("/..", Err(400)),
            ("/a/b/../c", Ok("/a/c")),
            ("/a/b/%2E%2E/c/./d?x=/../y", Ok("/a/c/d?x=/../y")),
            ("/a/..", Ok("/")),
        ],
    );
    rig.holds();
}

#[test]
fn p_02_slashes_in_disguise_are_refused_and_nothing_is_decoded_twice() {
    let mut rig = guarded();
    check_targets(
        &rig,
        &[
            ("/a%2fadmin", Err(400)),
            ("/a%2Fb", Err(400)),
            ("/a%5cb", Err(400)),
            ("/a\\b", Err(400)),
            ("/%252e%252e%252fadmin", Ok("/%252e%252e%252fadmin")),
            ("/%25%32%66", Ok("/%252f")),
            ("/a?x=%2f%5c\\", Ok("/a?x=%2f%5c\\")),
        ],
    );
    rig.holds();
}

#[test]
fn p_02_kept_slashes_are_matched_and_forwarded_as_they_are() {
    let mut rig = Rig::with("encoded-slashes: keep", ADMIN, Endpoint::echo());
    check_targets(
        &rig,
        &[
            ("/x%2fy", Ok("/x%2Fy")),
            ("/admin%2fx", Ok("/admin%2Fx")),
            ("/x/..%2fadmin", Err(400)),
            ("/x\\y", Ok("/x%5Cy")),
        ],
    );
    rig.holds();
}

#[test]
fn p_03_04_empty_segments_go_and_parameters_are_data() {
    let mut rig = guarded();
    check_targets(
        &rig,
        &[
            ("//admin", Err(403)),
            ("/a//b", Ok("/a/b")),
            ("///", Ok("/")),
            ("/x//../admin", Err(403)),
            ("/admin;x=1", Ok("/admin;x=1")),
            ("/admin/;x", Err(403)),
            ("/;/admin", Ok("/;/admin")),
            ("/admin%3b", Ok("/admin%3B")),
        ],
    );
    rig.holds();
}

#[test]
fn p_05_what_a_path_cannot_hold_is_refused() {
    let mut rig = guarded();
    for target in ["/%00", "/a%0d%0aX:y", "/%zz", "/%u002e", "/%2", "/%", "/a%7f", "/\u{e9}"] {
        rig.refuses(head(&format!("GET {target}"), ""), 400);
    }
    rig.refuses(head("GET /a\x01b", ""), 400);
    rig.refuses(b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    // Overlong forms are bytes that nobody folds.
    check_targets(
        &rig,
        &[("/%c0%ae%c0%ae/admin", Ok("/%C0%AE%C0%AE/admin")), ("/%ff", Ok("/%FF"))],
    );
    rig.holds();
}

#[test]
fn p_06_paths_have_case_and_hosts_have_none() {
    let routes = format!(
        "{ADMIN}\n      - match: {{ host: a.b.example, path: /host/** }}\n        respond: exact\n      \
         - match: {{ host: '*.b.example', path: /host/** }}\n        respond: wildcard"
    );
    let mut rig = Rig::with("", &routes, Endpoint::echo());
    check_targets(
        &rig,
        &[
            ("/ADMIN", Ok("/ADMIN")),
            ("/%41dmin", Ok("/Admin")),
            ("/%61dmin", Err(403)),
            ("/adm%69n/x", Err(403)),
        ],
    );
    for (host, expected) in [
        ("a.b.example", "exact"),
        ("A.B.Example", "exact"),
        ("a.b.example.", "exact"),
        ("a.b.example:80", "exact"),
        ("x.B.example", "wildcard"),
    ] {
        let bytes = format!("GET /host/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(rig.ask(bytes).text(), expected, "{host}");
    }
    // What was compared is also what is passed on.
    assert_eq!(rig.ask("GET /x HTTP/1.1\r\nHost: A.Example.:80\r\n\r\n").status, 200);
    assert_eq!(rig.endpoint.requests().last().unwrap().field("host"), Some("a.example:80"));
    rig.refuses("GET /x HTTP/1.1\r\nHost: a..example\r\n\r\n", 400);
    rig.holds();
}

#[test]
fn p_07_prefixes_end_at_segments_and_rewrites_are_made_canonical() {
    let routes = "      \
        - match: { path: /api/** }\n        rewrite: { strip-prefix: /api }\n        forward: o\n      \
        - match: { path: /old/** }\n        rewrite: { regex: { match: '^/old/(.*)$', replace: '/new/$1' } }\n        forward: o";
    let mut rig = Rig::with("", &format!("{ADMIN}\n{routes}"), Endpoint::echo());
    check_targets(
        &rig,
        &[
            ("/apiadmin", Ok("/apiadmin")),
            ("/adminx", Ok("/adminx")),
            ("/api", Ok("/")),
            ("/api/", Ok("/")),
            ("/api/x", Ok("/x")),
            ("/api//evil", Ok("/evil")),
            ("/api/../admin", Err(403)),
            ("/api/%2e%2e/admin", Err(403)),
            ("/old/a", Ok("/new/a")),
            ("/old/%252e%252e/admin", Ok("/new/%252e%252e/admin")),
        ],
    );
    rig.holds();
}

#[test]
fn p_07_without_merging_a_stripped_path_names_no_authority() {
    let routes = "      - match: { path: /api/** }\n        rewrite: { strip-prefix: /api }\n        forward: o";
    let mut rig = Rig::with("merge-slashes: false", routes, Endpoint::echo());
    // As the client could have written it itself: a path for who reads it as RFC 9112 §3.2 says.
    check_targets(&rig, &[("/api//evil.example/x", Ok("//evil.example/x"))]);
    assert_eq!(rig.endpoint.request().field("host"), Some("a"));
    rig.holds();
}

#[test]
fn p_08_16_other_names_for_path_and_method_go_no_further() {
    let mut rig = guarded();
    let names = [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Uri",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ];
    let lines: String = names.iter().map(|name| format!("{name}: /public\r\n")).collect();
    assert_eq!(rig.ask(head("GET /admin/x?y=/public", &lines)).status, 403);
    let response =
        rig.ask(head("POST /x?_method=DELETE", &format!("{lines}Content-Length: 0\r\n")));
    assert_eq!(response.echo()["method"], "POST");
    for name in names {
        assert_eq!(rig.endpoint.request().field(name), None, "{name}");
    }
    rig.holds();
}

#[test]
fn p_09_10_redirects_go_where_the_file_says() {
    let routes = "      \
        - match: { path: '/to/{x}' }\n        redirect: '/new/{capture.x}'\n      \
        - match: { path: /here/** }\n        redirect: '{path}'\n      \
        - match: { path: /s/** }\n        redirect: 'https://shop.example{path}'\n      \
        - match: { path: /h/** }\n        redirect: 'https://shop.example/{header.x-to}'";
    let mut rig = Rig::with("", routes, Endpoint::echo());
    let to = |target: &str, lines: &str| {
        let response = rig.ask(head(&format!("GET {target}"), lines));
        let location = response.field("location").map(str::to_owned);
        assert!(response.field("x-injected").is_none());
        (response.status, location)
    };
    let at = |place: &str| (308, Some(place.to_owned()));
    assert_eq!(to("/to/a%20b", ""), at("/new/a%20b"));
    assert_eq!(to("/to/x%0d%0aX-Injected:%20y", ""), (400, None));
    assert_eq!(to("/to/a%20HTTP%2f1.1", ""), (400, None));
    assert_eq!(to("//here/x", ""), at("/here/x"));
    assert_eq!(to("/s/x", ""), at("https://shop.example/s/x"));
    assert_eq!(to("/s/x", "X-Forwarded-Host: evil\r\n"), at("https://shop.example/s/x"));
    // What a header brings cannot end the line.
    let (status, location) = to("/h/x", "X-To: a b\tc\r\n");
    assert!(status == 400 && location.is_none() || !location.unwrap().contains([' ', '\t']));
    drop(rig.holds());
}

#[test]
fn p_10_a_redirect_to_the_same_path_never_leaves_the_host() {
    let routes = "      - redirect: '{path}'";
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    merge-slashes: false\n    routes:\n{routes}\n"
    );
    let mut transom = Transom::run(TRANSOM, &config);
    for target in ["//evil.example/..", "//evil.example", "///evil.example", "/\\evil.example"] {
        let response =
            Client::connect(transom.web()).send(head(&format!("GET {target}"), "")).response();
        assert_eq!(response.status, 400, "{target}: {:?}", response.field("location"));
    }
    check::alive(&mut transom);
}

#[test]
fn p_11_unknown_hosts_are_misdirected() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - match: {{ host: [shop.example, '*.shop.example'] }}\n        forward: '{}'\n",
        endpoint.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    for (host, status) in [
        ("shop.example", 200),
        ("a.shop.example", 200),
        ("evilshop.example", 421),
        ("shop.example.evil", 421),
        ("127.0.0.1", 421),
        ("[::1]", 421),
        ("localhost", 421),
        ("unknown.example", 421),
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let response = Client::connect(transom.web()).send(bytes).response();
        assert_eq!(response.status, status, "{host}");
    }
    let response = Client::connect(transom.web()).send("GET / HTTP/1.0\r\n\r\n").response();
    assert_eq!(response.status, 421);
    assert_eq!(endpoint.requests().len(), 2);
    check::alive(&mut transom);
}

const CLAIMS: [&str; 13] = [
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
];

#[test]
fn p_12_what_an_untrusted_peer_claims_is_gone() {
    let mut rig = Rig::echo();
    for value in ["1.2.3.4", &"1.1.1.1, ".repeat(30), "garbage", "[2001:db8::1]:80", "_hidden"] {
        let lines: String =
            CLAIMS.iter().map(|name| format!("{name}: {value}\r\n{name}: x\r\n")).collect();
        assert_eq!(rig.ask(head("GET /", &lines)).status, 200, "{value}");
        let requests = rig.endpoint.requests();
        let request = requests.last().unwrap();
        for name in CLAIMS {
            let ours = match name {
                "X-Forwarded-For" => Some("127.0.0.1".to_owned()),
                "X-Forwarded-Host" => Some("a".to_owned()),
                "X-Forwarded-Proto" => Some("http".to_owned()),
                "X-Forwarded-Port" => Some(rig.address().port().to_string()),
                _ => None,
            };
            assert_eq!(request.field(name), ours.as_deref(), "{name}: {value}");
        }
    }
    for line in rig.holds() {
        assert_eq!(line["client"], "127.0.0.1");
    }
}

#[test]
fn p_12_behind_trusted_proxies_the_client_is_the_first_stranger_from_the_right() {
    let settings = "trusted-proxies: [127.0.0.0/8, 10.0.0.0/8]";
    let mut rig = Rig::with(settings, "", Endpoint::echo());
    let cases = [
        ("X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.1.1.1\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6, garbage, 10.1.1.1\r\n", "10.1.1.1"),
        ("X-Forwarded-For: 1.2.3.4:567\r\n", "1.2.3.4"),
        ("X-Forwarded-For: [2001:db8::1]:567\r\n", "2001:db8::1"),
        ("X-Forwarded-For: ::ffff:1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: ::ffff:10.1.1.1\r\n", "10.1.1.1"),
        ("Forwarded: for=\"[2001:db8::2]\";proto=https\r\n", "2001:db8::2"),
        ("Forwarded: for=_hidden\r\n", "127.0.0.1"),
        ("X-Real-IP: 6.6.6.6\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ];
    for (lines, _) in cases {
        assert_eq!(rig.ask(head("GET /", lines)).status, 200);
    }
    let before = "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n";
    rig.ask(head("GET /last", before));
    let requests = rig.endpoint.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.field("x-forwarded-for"), Some("6.6.6.6, 1.2.3.4, 127.0.0.1"));
    let lines = rig.holds();
    for ((given, client), line) in cases.iter().zip(lines) {
        assert_eq!(line["client"], *client, "{given}");
    }
}

#[test]
fn p_13_blocks_of_addresses_are_read_strictly() {
    let file = |block: &str| {
        format!(
            "listeners: {{ web: {{ address: ':8080', trusted-proxies: ['{block}'], routes: [{{ respond: 200 }}] }} }}"
        )
    };
    for block in [
        "::ffff:10.0.0.0/8",
        "010.0.0.1",
        "10.0.0.1%eth0",
        "fe80::1%eth0",
        "10.0.0.0/33",
        "10.0.0",
        "0x7f.1",
        "10.0.0.0/08",
        "all",
    ] {
        let (code, said) = check_file(&file(block));
        assert_eq!(code, Some(64), "{block}: {said}");
    }
    for block in ["::ffff:10.0.0.0/104", "::1", "10.0.0.0/8", "2001:db8::/32"] {
        let (code, said) = check_file(&file(block));
        assert_eq!(code, Some(0), "{block}: {said}");
    }
    // A bare address is that address alone.
    let mut rig = Rig::with("trusted-proxies: ['127.0.0.2']", "", Endpoint::echo());
    assert_eq!(rig.ask(head("GET /", "X-Forwarded-For: 1.2.3.4\r\n")).status, 200);
    assert_eq!(rig.endpoint.request().field("x-forwarded-for"), Some("127.0.0.1"));
    rig.holds();
}

#[test]
fn p_14_a_condition_on_a_header_needs_exactly_one_value() {
    let routes = "      \
        - match: { path: /role, header: { x-role: admin } }\n        respond: admin\n      \
        - match: { path: /role }\n        respond: 403";
    let mut rig = Rig::with("", routes, Endpoint::echo());
    for (lines, status) in [
        ("X-Role: admin\r\n", 200),
        ("X-Role: user\r\nX-Role: admin\r\n", 403),
        ("X-Role: admin\r\nX-Role: user\r\n", 403),
        ("X-Role: admin\r\nX-Role: admin\r\n", 403),
        ("X-Role: admin, user\r\n", 403),
        ("X-Role:\r\n", 403),
        ("", 403),
    ] {
        assert_eq!(rig.ask(head("GET /role", lines)).status, status, "{lines}");
    }
    rig.holds();
}

#[test]
fn p_17_a_request_that_goes_in_a_circle_is_stopped() {
    let config = "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    forwarded: { via: true }\n    \
                  routes: [{ forward: '@WEB' }]\n";
    let mut transom = Transom::run(TRANSOM, config);
    let baseline = transom.sockets().len();
    let response = Client::connect(transom.web()).send(head("GET /", "")).response();
    assert_eq!(response.status, 508);
    assert_eq!(transom.lines_when(3).len(), 3);
    check::alive(&mut transom);
    assert!(transom.sockets().len() <= baseline + 8, "{:#?}", transom.sockets());
}

#[test]
fn p_17_via_names_us_once_for_each_passage() {
    let mut rig = Rig::with("forwarded: { via: true, forwarded: true }", "", Endpoint::echo());
    let response = rig.ask(head("GET /", "Via: 1.0 other\r\n"));
    assert_eq!(response.status, 200);
    assert_eq!(response.field("via"), Some("1.1 transom"));
    let request = rig.endpoint.request();
    assert_eq!(request.field("via"), Some("1.0 other, 1.1 transom"));
    assert_eq!(request.field("forwarded"), Some("for=127.0.0.1;host=\"a\";proto=http"));
    let lines = "Via: 1.1 transom, 1.0 other\r\nVia: 1.1 TRANSOM\r\n";
    assert_eq!(rig.ask(head("GET /", lines)).status, 508);
    assert_eq!(
        rig.ask(post("Via: 1.1 transom-b, 1.1 transom\r\nContent-Length: 0\r\n", "")).status,
        200
    );
    rig.holds();
}
