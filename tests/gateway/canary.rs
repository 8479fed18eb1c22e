//! A share of those who name no version gets the next one, and stays with it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use transom_testkit::message::all;
use transom_testkit::{Client, Endpoint, Http2, Response, Transom};

use super::rig::{Rig, TRANSOM, check};

/// Two endpoints behind an API with this between `default` and its versions, and consumers `c0` to `c39`.
struct Shop {
    rig: Rig,
    second: Endpoint,
}

impl Shop {
    #[track_caller]
    fn with(canary: &str, policies: &str) -> Self {
        Shop::of(&versions(canary, policies))
    }

    #[track_caller]
    fn of(apis: &str) -> Self {
        let (endpoint, second) = (Endpoint::echo(), Endpoint::echo());
        let consumers: Vec<_> =
            (0..40).map(|n| format!("c{n}: {{ keys: [{}] }}", key(n))).collect();
        let config = format!(
            "workers: 2\n\
             listeners: {{ web: {{ address: '@WEB' }} }}\n\
             consumers: {{ {} }}\n\
             pools:\n  one: {{ endpoints: '{}' }}\n  two: {{ endpoints: '{}' }}\n\
             {apis}",
            consumers.join(", "),
            endpoint.address,
            second.address,
        );
        let transom = Transom::run_with(TRANSOM, &config, |folder| {
            std::fs::write(folder.join("orders.yaml"), include_str!("../policies/orders.yaml"))
                .unwrap();
        });
        Shop { rig: Rig { endpoint, transom }, second }
    }

    /// The consumers that get `v2`, each asked twice.
    #[track_caller]
    fn moved(&self) -> BTreeSet<usize> {
        let took = |n: usize| {
            let key = format!("X-Key: {}", key(n));
            let ask = || self.rig.get("/orders/7", &[&key]).field("x-took").unwrap().to_owned();
            let (first, second) = (ask(), ask());
            assert_eq!(first, second, "c{n} stays where it is");
            first
        };
        (0..40).filter(|n| took(*n) == "v2").collect()
    }
}

fn key(n: usize) -> String {
    format!("0123456789abcdef{n:04}")
}

fn versions(canary: &str, policies: &str) -> String {
    format!(
        "apis:\n  orders:\n    path: /orders\n    \
           by: [path, header: Api-Version]\n    default: v1\n    canary: {canary}\n    \
           policies: [{policies}]\n    versions:\n      \
             v1: {{ response-headers: {{ set: {{ X-Took: v1 }} }}, forward: one }}\n      \
             v2: {{ endpoint-path: /, response-headers: {{ set: {{ X-Took: v2 }} }}, forward: two }}\n"
    )
}

const KEY: &str = "{ api-key: { header: X-Key } }";

#[test]
fn gw_02_a_share_of_consumers_gets_the_next_version_and_stays_while_it_grows() {
    let shop = Shop::with("{ to: v2, share: 30% }", KEY);
    let few = shop.moved();
    assert!((4..=20).contains(&few.len()), "30% of 40 are about 12: {few:?}");
    // who names a version gets that one, and the moved see the path of theirs
    let first = format!("X-Key: {}", key(*few.first().unwrap()));
    assert_eq!(shop.rig.get("/orders/v1/7", &[&first]).field("x-took"), Some("v1"));
    let named = shop.rig.get("/orders/7", &[&first, "Api-Version: v1"]);
    assert_eq!(named.field("x-took"), Some("v1"));
    assert_eq!(shop.rig.get("/orders/7?a=b", &[&first]).field("x-took"), Some("v2"));
    assert_eq!(shop.second.requests().pop().unwrap().target, "/7?a=b");
    // each is counted for the version that it got, and logged by the path that it asked for
    let lines = shop.rig.transom.lines_when(83);
    let moved = lines.iter().filter(|line| line["route"] == "orders-v2");
    assert_eq!(moved.clone().count(), 2 * few.len() + 1);
    assert!(moved.clone().all(|line| line["path"] == "/orders/7"));
    let metrics = shop.rig.transom.admin("GET", "/metrics").text();
    let calls = 2 * few.len() + 1;
    let row = "transom_api_version_calls_total{api=\"orders\",version=\"v2\"}";
    assert!(metrics.contains(&format!("{row} {calls}")), "{row} {calls}: {metrics}");

    let file = shop.rig.transom.folder().join("transom.yaml");
    let written = std::fs::read_to_string(&file).unwrap();
    for (share, reason) in [("60%", "more"), ("100%", "all"), ("0%", "none")] {
        std::fs::write(&file, written.replace("share: 30%", &format!("share: {share}"))).unwrap();
        shop.rig.reload();
        let now = shop.moved();
        match reason {
            "more" => assert!(now.is_superset(&few) && now.len() > few.len(), "{now:?} {few:?}"),
            "all" => assert_eq!(now.len(), 40),
            _ => assert!(now.is_empty()),
        }
    }
}

#[test]
fn gw_02_clients_without_a_name_are_moved_by_their_address() {
    for (canary, policies) in [
        ("{ to: v2, share: 50%, by: client }", "{ api-key: { header: X-Key } }, { anonymous: {} }"),
        ("{ to: v2, share: 50% }", "{ api-key: { header: X-Key } }, { anonymous: {} }"),
        ("{ to: v2, share: 50% }", ""),
    ] {
        let shop = Shop::with(canary, policies);
        let took = |host: u8| {
            let from = Ipv4Addr::new(127, 0, 0, host);
            let mut client = Client::try_connect_from(from, shop.rig.transom.web()).unwrap();
            let ask = "GET /orders/7 HTTP/1.1\r\nHost: a\r\n\r\n";
            let response = client.send(ask).response();
            assert_eq!(response.status, 200);
            response.field("x-took") == Some("v2")
        };
        let first: Vec<bool> = (1..=40).map(took).collect();
        let moved = first.iter().filter(|moved| **moved).count();
        assert!((10..=30).contains(&moved), "{moved} of 40, {canary}");
        assert_eq!((1..=40).map(took).collect::<Vec<_>>(), first, "each stays where it is");
    }
}

#[test]
fn gw_02_over_http2_too() {
    let shop = Shop::with("{ to: v2, share: 100% }", KEY);
    let mut client = Http2::connect(shop.rig.transom.web());
    for (target, expected) in [("/orders/7", "v2"), ("/orders/v1/7", "v1")] {
        let request = http::Request::get(format!("http://a{target}")).header("x-key", key(3));
        let asked = client.begin(request.body(()).unwrap(), true).unwrap();
        let response: Response = client.finish(asked).unwrap();
        assert_eq!((response.status, response.field("x-took")), (200, Some(expected)));
    }
}

#[test]
fn gw_02_who_is_moved_names_the_version_to_the_endpoint_as_clients_do() {
    for (by, target, field) in [
        ("header: Api-Version", "/orders/7?a=b", Some("v2")),
        ("query: v", "/orders/7?a=b&v=v2", None),
    ] {
        let apis = versions("{ to: v2, share: 100% }", "")
            .replace("[path, header: Api-Version]", &format!("{{ {by} }}"))
            .replace("endpoint-path: /, ", "");
        let shop = Shop::of(&apis);
        assert_eq!(shop.rig.get("/orders/7?a=b", &[]).field("x-took"), Some("v2"), "{by}");
        let seen = shop.second.requests().pop().unwrap();
        assert_eq!(seen.target, target);
        assert_eq!(all(&seen.fields, "api-version").next(), field);
    }
}

#[test]
fn gw_02_the_next_version_decides_by_its_own_rules() {
    let apis = "\
apis:
  orders:
    path: /shop
    default: v1
    canary: { to: v2, share: 100% }
    policies: [{ api-key: { header: X-Key } }]
    versions:
      v1: { forward: one }
      v2:
        openapi: orders.yaml
        routes: from-document
        policies:
          - validate: {}
          - access: { allow: { consumers: [c1, c2] } }
          - headers: { request: { set: { X-Order: '{capture.id} {header.x-asked}' } } }
        forward: two
";
    let shop = Shop::of(apis);
    let of = |n: usize| format!("X-Key: {}", key(n));
    let asked = "X-Asked: yes";
    for (start, n, expected) in [
        ("GET /shop/orders/7", 1, 200),
        ("GET /shop/orders/7", 3, 403),
        ("GET /shop/orders/seven", 1, 422),
        ("DELETE /shop/orders/7", 1, 405),
        ("GET /shop/else", 1, 404),
        ("GET /shop/v1/else", 1, 200),
    ] {
        assert_eq!(shop.rig.ask(start, &[&of(n), asked]).status, expected, "{start} by c{n}");
    }
    let seen = shop.second.requests().pop().unwrap();
    assert_eq!(seen.target, "/shop/v2/orders/7");
    assert_eq!(all(&seen.fields, "x-order").collect::<Vec<_>>(), ["7 yes"]);
    assert_eq!(shop.rig.get("/shop/orders/7", &[]).status, 401, "who asks is found out before");
}

#[test]
fn gw_02_a_canary_that_would_pass_by_a_rule_is_refused() {
    let said = |from: &str, to: &str| {
        let config = versions("{ to: v2, share: 5% }", KEY).replace(from, to);
        let config = format!(
            "listeners: {{ web: {{ address: ':8080' }} }}\n\
             pools: {{ one: {{ endpoints: '127.0.0.1:1' }}, two: {{ endpoints: '127.0.0.1:2' }} }}\n\
             consumers: {{ ann: {{ keys: [0123456789abcdef0123] }} }}\n{config}"
        );
        check(&config, |_| {})
    };
    assert!(said("nothing", "").contains("can run"), "{}", said("nothing", ""));
    for (from, to, path, what) in [
        ("    default: v1\n", "", "apis.orders.canary", "no version is for those that name none"),
        ("to: v2", "to: v1", "apis.orders.canary.to", "they get that version anyway"),
        ("to: v2", "to: v3", "apis.orders.canary.to", "there is no version `v3`"),
        (
            "[path, header: Api-Version]",
            "{ media-type: 'application/vnd.a.{version}+json' }",
            "apis.orders.canary",
            "no path, field or parameter names a version",
        ),
        (
            "v2: { ",
            "v2: { policies: [{ jwt: { secret: 0123456789abcdef0123456789abcdef } }], ",
            "apis.orders.versions.v2.policies[0]",
            "those who are moved would pass it by",
        ),
        (
            "v2: { ",
            "v2: { policies: [{ rate-limit: { rate: 5/min, early: true } }], ",
            "apis.orders.versions.v2.policies",
            "those who are moved would pass `rate-limit` by",
        ),
        (
            "v2: { ",
            "v2: { identify: all, ",
            "apis.orders.versions.v2.identify",
            "asks otherwise who it is",
        ),
        (
            "v2: { ",
            "v2: { lifecycle: { deprecated: 2099-01-31 }, ",
            "apis.orders.versions.v2.lifecycle",
            "would not hear of its end",
        ),
    ] {
        let said = said(from, to);
        assert!(said.contains(path) && said.contains(what), "{what}: {said}");
        assert!(!said.contains("can run"), "{said}");
    }
    let said = said("v2: { ", "v2: { limits: { body: 1MB }, timeouts: { body-idle: 9s }, ");
    for key in ["limits.body", "timeouts.body-idle"] {
        let expected = format!("warning: apis.orders.versions.v2.{key}: those who are moved have");
        assert!(said.contains(&expected) && said.contains("can run"), "{said}");
    }
}
