//! Policies that decide, told only to try: what they would have refused passes unchanged, is marked in the
//! access log and counted.

use transom_testkit::client;

use super::rig::{Rig, check};

const COUNTED: &str = "transom_dry_run_total{listener=\"web\",route=\"web[0]\"";

fn post(rig: &Rig, kind: &str, lines: &str, body: &str) -> u16 {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n{lines}Transfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    client::ask(rig.transom.web(), request).status
}

/// One request that would be refused; what of its body the endpoint got, and what the log says.
fn tried(policy: &str, kind: &str, lines: &str, body: &str) -> (String, String) {
    let rig = Rig::with(&[policy], "");
    assert_eq!(post(&rig, kind, lines, body), 200, "{policy}");
    let line = rig.transom.lines_when(1).pop().unwrap();
    assert_eq!(line["dry_run"], "probe", "{line}");
    rig.transom.metric_becomes(COUNTED, 1.0);
    let seen = rig.seen();
    (String::from_utf8_lossy(&seen.body).into_owned(), line["detail"].as_str().unwrap().to_owned())
}

#[test]
fn what_a_dry_run_would_refuse_comes_to_the_endpoint_as_it_was() {
    let deep = "[".repeat(40) + &"]".repeat(40);
    let long = format!("{{\"query\": \"{{ a }}\", \"variables\": \"{}\"}}", "x".repeat(5000));
    for (policy, kind, lines, body, detail) in [
        (
            "probe: { csrf: { dry-run: true } }",
            "text/plain",
            "Sec-Fetch-Site: cross-site\r\n",
            "pay",
            "dry run: csrf: it comes from another site",
        ),
        (
            "probe: { address: { deny: [127.0.0.0/8], dry-run: true } }",
            "text/plain",
            "",
            "pay",
            "dry run: the address 127.0.0.1 may not pass",
        ),
        (
            "probe: { payload: { dry-run: true } }",
            "application/json",
            "",
            &*deep,
            "dry run: payload: ",
        ),
        (
            "probe: { payload: { types: [text/*], dry-run: true } }",
            "application/json",
            "",
            "[]",
            "dry run: payload: the type `application/json` is not taken",
        ),
        (
            "probe: { payload: { sizes: { text/*: 4B }, dry-run: true } }",
            "text/plain",
            "",
            "12345",
            "dry run: payload: larger than its type may be",
        ),
        (
            "probe: { graphql: { depth: 2, dry-run: true } }",
            "application/json",
            "",
            "{\"query\": \"{ a { b { c { d } } } }\"}",
            "dry run: graphql: ",
        ),
        // longer than what is read of it
        (
            "probe: { graphql: { max-body: 1KiB, dry-run: true } }",
            "application/json",
            "",
            &*long,
            "dry run: graphql: it is longer than `max-body`",
        ),
    ] {
        let (seen, said) = tried(policy, kind, lines, body);
        assert_eq!(seen, body, "{policy}");
        assert!(said.starts_with(detail), "{policy}: {said}");
    }
}

#[test]
fn what_is_too_long_to_be_validated_is_whole_after_a_dry_run() {
    let rig = {
        let endpoint = transom_testkit::Endpoint::echo();
        let config = format!(
            "listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [probe], forward: '{}' }}] }} }}\n\
             policies: {{ probe: {{ validate: {{ schema: any.json, max-body: 1KiB, dry-run: true }} }} }}\n",
            endpoint.address
        );
        let transom = transom_testkit::Transom::run_with(super::rig::TRANSOM, &config, |folder| {
            std::fs::write(folder.join("any.json"), "{\"type\": \"object\"}").unwrap();
        });
        Rig { endpoint, transom }
    };
    let body = format!("{{\"a\": \"{}\"}}", "x".repeat(100_000));
    assert_eq!(post(&rig, "application/json", "", &body), 200);
    assert_eq!(String::from_utf8_lossy(&rig.seen().body), body);
    assert_eq!(rig.transom.lines_when(1)[0]["dry_run"], "probe");
}

#[test]
fn policies_that_nothing_comes_to_are_told_of() {
    let said = |route: &str, tls: &str| {
        let config = format!(
            "listeners: {{ web: {{ address: ':8443', {tls}, routes: [{route}] }} }}\n\
             policies: {{ mutual: {{ client-certificate: {{ unlisted: san }} }}, shared: {{ cors: {{ origins: ['https://a.example'] }} }} }}\n"
        );
        check(&config, |folder| {
            let key = rcgen::KeyPair::generate().unwrap();
            let ca = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
        })
    };
    let plain = "tls: { self-signed: localhost }";
    let asking =
        "tls: { self-signed: localhost, client-certificates: { mode: optional, ca: ca.pem } }";
    let mutual = "{ policies: [mutual], respond: ok }";
    let warning = "the listener asks for no certificates";
    assert!(said(mutual, plain).contains(warning), "{}", said(mutual, plain));
    assert!(!said(mutual, asking).contains(warning), "{}", said(mutual, asking));
    for (kind, policy) in [
        ("access", "access: { allow: { groups: [staff] } }"),
        ("identity-headers", "identity-headers: {}"),
    ] {
        for (others, expected) in [
            ("", true),
            ("{ anonymous: { name: nobody } }, ", false),
            ("{ api-key: {} }, ", false),
            ("{ forward-auth: { url: 'http://127.0.0.1:9/', identity: x-user } }, ", false),
        ] {
            let route = format!("{{ policies: [{others}{{ {policy} }}], respond: ok }}");
            let said = said(&route, plain);
            let warns = said.contains("no policy here finds out who asks");
            assert_eq!(
                (warns, said.contains(&format!("`{kind}`"))),
                (expected, expected),
                "{said}"
            );
        }
    }
    let warning = "preflights of browsers (OPTIONS) never come to `cors` here";
    for (route, expected) in [
        ("{ match: { path: /a, method: POST }, policies: [shared], respond: ok }", true),
        (
            "{ match: { path: /a, method: [POST, OPTIONS] }, policies: [shared], respond: ok }",
            false,
        ),
        ("{ match: { path: /a }, policies: [shared], respond: ok }", false),
        (
            "{ match: { path: /a, method: POST }, policies: [shared], respond: ok }, \
             { match: { path: /a, method: OPTIONS }, policies: [shared], respond: ok }",
            false,
        ),
    ] {
        let said = said(route, plain);
        assert_eq!(said.contains(warning), expected, "{route}: {said}");
    }
}
