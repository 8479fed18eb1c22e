//! Conditions as expressions.

use transom_testkit::{Client, Endpoint, Http2, Transom};

use super::rig::{Rig, TRANSOM};

const KEYS: &str = "consumers:\n  \
    ada: { groups: [staff], keys: [ada-secret-1234567890] }\n  \
    bob: { keys: [bob-secret-1234567890] }\n";

#[test]
fn gw_13_a_condition_says_who_may_see_what() {
    let endpoint = Endpoint::echo();
    let transom = Transom::run(
        TRANSOM,
        &format!(
            "workers: 2\n\
             listeners:\n  web:\n    address: '@WEB'\n    routes:\n      \
               - match: {{ path: '/users/{{id}}/orders' }}\n        \
                 policies: [key, own]\n        \
                 forward: '{}'\n\
             policies:\n  \
               key: {{ api-key: {{}} }}\n  \
               own:\n    authorize:\n      \
                 allow: [identity.name == path.id, \"'staff' in identity.groups && request.method == 'GET'\"]\n      \
                 deny: request.query.mode == 'all' || request.headers['x-trace'] == 'on'\n\
             {KEYS}",
            endpoint.address
        ),
    );
    let ask = |method: &str, target: &str, key: &str, more: &str| {
        let mut client = Client::connect(transom.web());
        let key = if key.is_empty() { String::new() } else { format!("X-Api-Key: {key}\r\n") };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{key}{more}\r\n");
        client.send(head).response().status
    };
    let (ada, bob) = ("ada-secret-1234567890", "bob-secret-1234567890");
    let off = "X-Trace: off\r\n";
    for (method, target, key, more, expected) in [
        ("GET", "/users/bob/orders?mode=own", bob, off, 200),
        ("GET", "/users/ada/orders?mode=own", bob, off, 403),
        ("GET", "/users/bob/orders?mode=own", ada, off, 200),
        ("DELETE", "/users/bob/orders?mode=own", ada, off, 403),
        ("DELETE", "/users/ada/orders?mode=own", ada, off, 200),
        ("GET", "/users/bob/orders?mode=all", bob, off, 403),
        // one that comes to nothing denies
        ("GET", "/users/bob/orders?mode=own", bob, "", 403),
        ("GET", "/users/bob/orders", bob, "X-Trace: on\r\n", 403),
        ("GET", "/users/bob/orders?mode=own", "", off, 401),
    ] {
        assert_eq!(ask(method, target, key, more), expected, "{method} {target} {key} {more}");
    }
    let lines = transom.lines_when(9);
    let details: Vec<_> = lines.iter().filter_map(|line| line["detail"].as_str()).collect();
    let expected = "`own`: nothing allows it";
    assert!(details.contains(&expected), "{details:?}");
    assert!(details.iter().any(|detail| detail.contains("something it asks for is not there")));
}

#[test]
fn gw_13_a_dry_run_lets_pass_and_http_2_is_judged_alike() {
    let rig = Rig::with(
        &[
            "try: { authorize: { allow: request.path == '/a', dry-run: true } }",
            "must: { authorize: \"request.path.startsWith('/a')\" }",
        ],
        "",
    );
    let mut client = Http2::connect(rig.transom.web());
    for (path, expected) in [("/a", 200), ("/ab", 200), ("/b", 403)] {
        assert_eq!(rig.get(path, &[]).status, expected, "{path}");
        assert_eq!(client.get(path).status, expected, "{path}");
    }
    let lines = rig.transom.lines_when(6);
    let tried = lines.iter().filter(|line| line["dry_run"] == "try").count();
    assert_eq!(tried, 4);
}

#[test]
fn gw_17_keys_and_costs_are_expressions_too() {
    let rig = Rig::with(
        &[
            "dear: { rate-limit: { rate: 10/h, by: { expression: request.headers.tenant.lowerAscii() }, cost: \"request.method == 'POST' ? 4 : 1\" } }",
        ],
        "",
    );
    let ask = |method: &str, tenant: &str| rig.ask(&format!("{method} /"), &[tenant]);
    let left = |method: &str, tenant: &str| {
        let response = ask(method, tenant);
        let told = response.field("ratelimit").unwrap().to_owned();
        told.split(";r=").nth(1).unwrap().split(';').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(left("GET", "Tenant: Blue"), 9);
    assert_eq!(left("DELETE", "Tenant: BLUE"), 8);
    assert_eq!(left("POST", "Tenant: blue"), 4);
    assert_eq!(left("GET", "Tenant: red"), 9);
    assert_eq!(left("GET", "X: y"), 9, "nothing is a key, too");
    assert_eq!(left("GET", "X: z"), 8);
}
