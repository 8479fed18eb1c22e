//! Heads, targets, ranges and expressions that are made to cost much.

use std::time::{Duration, Instant};

use transom_testkit::{Client, Endpoint, Transom, check};

use super::check_file;
use crate::rows::rig::{Rig, TRANSOM, head};

#[test]
fn sl_09_header_bombs_are_431() {
    let mut rig = Rig::echo();
    // the first exchange takes what every later one uses again
    assert_eq!(rig.ask(head("GET /", "")).status, 200);
    let memory = rig.transom.memory();
    for lines in [
        format!("X: {}\r\n", "x".repeat(64 << 10)),
        format!("X: {}\r\n", "x".repeat(50)).repeat(1000),
        "a: b\r\n".repeat(32_769),
        "a: b\r\n".repeat(101),
        format!("X: {}", "x".repeat(1 << 20)),
    ] {
        let mut client = rig.client();
        client.pour(head("GET /", &lines).as_bytes());
        assert_eq!(client.response().status, 431, "{} bytes", lines.len());
        rig.expect_lines(1);
    }
    assert_eq!(rig.ask(head("GET /", &"a: b\r\n".repeat(99))).status, 200);
    let more = rig.transom.memory().saturating_sub(memory);
    assert!(more < 8 << 10, "{more} KiB more");
    rig.holds();
}

#[test]
fn heads_of_64_kib_pass_where_they_are_allowed() {
    let fields = format!("X: {}\r\n", "x".repeat((64 << 10) - 5));
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    // The endpoint's own framing counts too: it has none, and closes.
    let endpoint = Endpoint::answering_last(answer);
    let limits = "limits: { request-line: 64B, headers: 65472B, header-line: 64KiB }";
    let mut rig = Rig::with(limits, "", endpoint);
    let lines = |length: usize| format!("X: {}\r\n", "x".repeat(length - 5 - "Host: a\r\n".len()));
    let response = rig.ask(head("GET /", &lines(65472)));
    assert_eq!(response.status, 200);
    assert_eq!(response.field("x").map(str::len), Some((64 << 10) - 5));
    assert_eq!(rig.endpoint.request().field("x").map(str::len), Some(65472 - 14));
    assert_eq!(rig.ask(head("GET /", &lines(65473))).status, 431);
    check::alive(&mut rig.transom);
}

#[test]
fn sl_10_long_targets_are_414() {
    let mut rig = Rig::echo();
    for target in [
        format!("/{}", "x".repeat(8 << 10)),
        format!("/{}", "x".repeat(1 << 20)),
        format!("/?{}", "a=b&".repeat(10_000)),
        "/a".repeat(10_000),
    ] {
        let mut client = rig.client();
        client.pour(head(&format!("GET {target}"), "").as_bytes());
        assert_eq!(client.response().status, 414);
        rig.expect_lines(1);
    }
    let longest = format!("/{}", "x".repeat(8000));
    assert_eq!(rig.get(&longest).echo()["target"], longest);
    rig.holds();
}

#[test]
fn sl_11_what_a_client_writes_is_no_label() {
    let mut rig = Rig::echo();
    for n in 0..20 {
        let lines = format!("X-Secret-{n}: secret-{n}\r\nCookie: secret-{n}=1\r\n");
        let bytes =
            format!("SECRET{n} /secret-{n}?secret-{n} HTTP/1.1\r\nHost: secret-{n}\r\n{lines}\r\n");
        assert_eq!(rig.ask(bytes).status, 200);
    }
    let metrics = rig.transom.admin("GET", "/metrics").text();
    assert!(metrics.contains("transom_"), "{metrics}");
    assert!(!metrics.to_lowercase().contains("secret"), "{metrics}");
    rig.holds();
}

#[test]
fn sl_14_many_ranges_cost_no_more_than_the_file() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - match: {{ path: /files/** }}\n        rewrite: {{ strip-prefix: /files }}\n        \
           files: '@folder/public'\n      - forward: '{}'\n",
        endpoint.address
    );
    let mut transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::create_dir(folder.join("public")).unwrap();
        std::fs::write(folder.join("public/a.txt"), "x".repeat(100_000)).unwrap();
    });
    let mut client = Client::connect(transom.web());
    for (range, statuses, most) in [
        (format!("bytes={}0-", "0-,".repeat(1300)), &[200, 206, 416][..], 110_000),
        ("bytes=0-10,5-20,0-99999,1-99999".into(), &[200, 206, 416], 210_000),
        ("bytes=-9223372036854775807".into(), &[200, 206], 100_000),
        ("bytes=-99999999999999999999999999".into(), &[200, 206, 416], 100_000),
        ("bytes=20-10".into(), &[200, 416], 100_000),
        ("bytes=100000-".into(), &[416], 1000),
        ("lines=0-1".into(), &[200], 100_000),
        ("bytes=0-9".into(), &[206], 10),
    ] {
        client.send(head("GET /files/a.txt", &format!("Range: {range}\r\n")));
        let response = client.response();
        let shown = &range[..range.len().min(40)];
        assert!(statuses.contains(&response.status), "{shown}: {}", response.status);
        assert!(response.whole && response.body.len() <= most, "{shown}: {}", response.body.len());
    }
    check::alive(&mut transom);
    check::victim(transom.web());
}

#[test]
fn sl_15_an_expression_costs_linear_time() {
    let routes = "      - match: { path: '~/(a+)+b' }\n        respond: 200";
    let mut rig = Rig::with("", routes, Endpoint::echo());
    let target = format!("/{}", "a".repeat(8000));
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(rig.get(&target).echo()["target"], target);
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    rig.holds();
    let huge = "listeners: { web: { address: ':80', routes: [{ match: { path: '~/((a{1000}){1000}){1000}' }, respond: 200 }] } }";
    assert_eq!(check_file(huge).0, Some(64));
}
