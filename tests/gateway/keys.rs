//! Keys, who may ask with them, and what several ways to find that out make of one request.

use std::time::{Duration, Instant};

use transom_testkit::Endpoint;

use super::rig::Rig;

const ANN: &str = "key-of-ann-0123456789";
const BOB: &str = "key-of-bob-0123456789";

/// Two consumers with a key each.
fn consumers() -> String {
    format!(
        "plans: {{ vip: {{ rate: 1000/min, quota: 100000/day }} }}\n\
         consumers:\n  \
           ann: {{ groups: [staff], plan: vip, keys: {ANN} }}\n  \
           bob: {{ scopes: ['orders:read'], keys: [{{ secret: {BOB}, expires: 2035-01-01 }}] }}\n  \
           old: {{ keys: [{{ secret: {ANN}-old, expires: 2020-01-01 }}] }}"
    )
}

fn rig(policies: &[&str]) -> Rig {
    Rig::with(policies, &consumers())
}

#[test]
fn gw_07_a_key_says_who_asks_and_the_endpoint_does_not_see_it() {
    let rig = rig(&[
        "keys: { api-key: { header: [x-api-key, authorization], query: key, cookie: key } }",
    ]);
    for (target, line) in [
        ("/a", format!("X-API-Key: {ANN}")),
        ("/a", format!("Authorization: Bearer {ANN}")),
        ("/a", format!("authorization: apikey   {ANN}")),
        ("/a?key=key-of-ann-0123456789", "X: 1".to_owned()),
        ("/a", format!("Cookie: key={ANN}")),
    ] {
        let response = rig.get(target, &[&line]);
        assert_eq!(response.status, 200, "{target} {line}");
        let seen = rig.seen();
        assert_eq!(seen.target, "/a");
        let fields = format!("{:?}", seen.fields).to_lowercase();
        assert!(!fields.contains("key-of-ann"), "{fields}");
    }
    let lines = rig.transom.lines_when(5);
    assert!(lines.iter().all(|line| line["consumer"] == "ann"), "{lines:?}");
    let passed = "transom_consumer_requests_total{consumer=\"ann\",outcome=\"passed\"";
    rig.transom.metric_becomes(passed, 5.0);
    assert!(!format!("{lines:?}").contains("key-of-ann"));
    rig.get("/a?b=1&key=key-of-ann-0123456789&c=2", &["Cookie: a=1; key=x"]);
    rig.get("/a?b=1&key=key-of-ann-0123456789&c=2", &["Cookie: a=1"]);
    let seen = rig.seen();
    assert_eq!((&*seen.target, seen.field("cookie")), ("/a?b=1&c=2", Some("a=1")));
}

#[test]
fn gw_07_what_is_no_valid_key_is_refused_with_a_challenge_and_without_a_reason() {
    let rig = rig(&["keys: { api-key: {} }"]);
    let long = format!("X-API-Key: {}", "k".repeat(600));
    let expired = format!("X-API-Key: {ANN}-old");
    for (number, (line, why)) in [
        ("X: 1", "no credential was shown"),
        ("X-API-Key: nobodys-key-0123456789", "the key is not known, or was revoked"),
        ("X-API-Key:", "the key is empty or too long"),
        (&long, "the key is empty or too long"),
        (&expired, "the key has expired"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        let response = rig.get(&path, &[line]);
        assert_eq!(response.status, 401, "{line}");
        let challenge = response.field("www-authenticate");
        assert_eq!(challenge, Some("ApiKey realm=\"api\", header=\"x-api-key\""));
        assert!(!response.text().contains(why));
        let line = rig.line_of(&path);
        assert_eq!((&line["fault"], &line["detail"]), (&"unauthenticated".into(), &why.into()));
    }
    assert!(rig.endpoint.requests().is_empty());
}

#[test]
fn a_11_a_key_in_two_places_is_refused() {
    let rig = rig(&["keys: { api-key: { header: [x-api-key, authorization], query: key } }"]);
    let key = format!("X-API-Key: {ANN}");
    for (target, lines) in [
        ("/", vec![&*key, &*key]),
        ("/?key=key-of-ann-0123456789", vec![&*key]),
        ("/?key=a&key=b", vec![]),
        ("/?key=a&k%65y=b", vec![]),
        ("/", vec![&*key, "Authorization: Bearer other"]),
        ("/", vec!["Authorization: Bearer a", "Authorization: Bearer b"]),
    ] {
        assert_eq!(rig.get(target, &lines).status, 400, "{target} {lines:?}");
    }
}

#[test]
fn gw_12_who_may_not_is_refused_and_only_the_log_says_why() {
    let rig = rig(&[
        "keys: { api-key: {} }",
        "staff: { access: { allow: { groups: staff, consumers: carl } } }",
    ]);
    assert_eq!(rig.get("/", &[&format!("X-API-Key: {ANN}")]).status, 200);
    let refused = rig.get("/b", &[&format!("X-API-Key: {BOB}"), "Accept: application/json"]);
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("forbidden") && !refused.text().contains("bob"));
    let line = rig.line_of("/b");
    assert_eq!(line["consumer"], "bob");
    assert_eq!(line["detail"], "`bob` is not among those who are allowed");
}

#[test]
fn gw_12_a_dry_run_refuses_nobody_and_says_whom_it_would_have() {
    let rig = rig(&[
        "keys: { api-key: {} }",
        "staff: { access: { allow: { groups: staff }, dry-run: true } }",
    ]);
    assert_eq!(rig.get("/", &[&format!("X-API-Key: {BOB}")]).status, 200);
    let lines = rig.transom.lines_when(1);
    assert_eq!(lines[0]["detail"], "dry run: `bob` is not among those who are allowed");
}

#[test]
fn gw_12_without_a_way_to_find_out_who_asks_nobody_passes() {
    let rig = rig(&["staff: { access: { deny: { groups: staff } } }"]);
    assert_eq!(rig.get("/", &[]).status, 401);
}

#[test]
fn gw_07_of_several_ways_the_first_that_is_shown_decides() {
    let rig = rig(&[
        "visitors: { anonymous: { groups: [visitors] } }",
        "keys: { api-key: {} }",
        "other: { api-key: { header: x-other-key } }",
    ]);
    let (ann, bob) = (format!("X-API-Key: {ANN}"), format!("X-Other-Key: {BOB}"));
    let wrong = "X-API-Key: nobodys-key-0123456789";
    for (number, (lines, status, who)) in [
        (vec![&*ann], 200, "ann"),
        (vec![&*bob], 200, "bob"),
        (vec![&*ann, &*bob], 200, "ann"),
        (vec![wrong, &*bob], 401, ""),
        (vec![&*ann, "X-Other-Key: nobodys-key-0123456789"], 200, "ann"),
        (vec![wrong], 401, ""),
        (vec![], 200, "anonymous"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        assert_eq!(rig.get(&path, &lines).status, status, "{lines:?}");
        if status == 200 {
            let seen = rig.seen();
            assert_eq!((seen.field("x-api-key"), seen.field("x-other-key")), (None, None));
        }
        let line = rig.line_of(&path);
        assert_eq!(line["consumer"].as_str().unwrap_or_default(), who, "{lines:?}");
    }
}

#[test]
fn gw_07_where_all_must_be_shown_each_must_be_right_and_the_same() {
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes: [{{ identify: all, policies: [keys, other], respond: ok }}]\n\
         policies:\n  keys: {{ api-key: {{}} }}\n  other: {{ api-key: {{ header: x-other-key }} }}\n\
         consumers:\n  ann: {{ keys: [{ANN}, {ANN}-2] }}\n  bob: {{ keys: {BOB} }}\n"
    );
    let rig = Rig::of(Endpoint::echo(), &config);
    let (ann, other) = (format!("X-API-Key: {ANN}"), format!("X-Other-Key: {ANN}-2"));
    let bob = format!("X-Other-Key: {BOB}");
    for (lines, status) in [
        (vec![&*ann, &*other], 200),
        (vec![&*ann], 401),
        (vec![&*other], 401),
        (vec![], 401),
        (vec![&*ann, &*bob], 401),
        (vec![&*ann, "X-Other-Key: nobodys-key-0123456789"], 401),
    ] {
        assert_eq!(rig.get("/", &lines).status, status, "{lines:?}");
    }
}

/// how long a refusal takes says nothing of how much of a key is right. Medians, and a bound
/// wide enough for a busy machine: the digest hides where a key differs by its making.
#[test]
fn a_12_a_key_that_begins_right_is_refused_as_fast_as_another() {
    let rig = rig(&["keys: { api-key: {} }"]);
    let refusal = |key: &str| {
        let begun = Instant::now();
        assert_eq!(rig.get("/", &[&format!("X-API-Key: {key}")]).status, 401);
        begun.elapsed()
    };
    // in turn, so that what else the machine does meets both
    let (mut near, mut far): (Vec<Duration>, Vec<_>) = (0..80)
        .map(|_| (refusal("key-of-ann-012345678X"), refusal("Xey-of-ann-0123456789")))
        .unzip();
    near.sort_unstable();
    far.sort_unstable();
    let (near, far) = (near[near.len() / 2], far[far.len() / 2]);
    assert!(near < far * 3 && far < near * 3, "{near:?} {far:?}");
}
