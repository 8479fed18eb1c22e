//! The portal: what it shows, and the keys that consumers make for themselves there.

use serde_json::{Value, json};
use transom_testkit::{Endpoint, Http2, Response, Transom};

use super::issuer::{Key, in_seconds};
use super::rig::{Rig, TRANSOM, check};

const ANN: &str = "X-Key: 0123456789abcdef0123";
const BOB: &str = "X-Key: 0123456789abcdef4567";
const OWN: &str = "X-Portal: 1";

struct Shop {
    rig: Rig,
    _data: tempfile::TempDir,
}

impl Shop {
    #[track_caller]
    fn open() -> Self {
        let (endpoint, data) = (Endpoint::echo(), tempfile::tempdir().unwrap());
        let config = format!(
            "workers: 2\n\
             data: '{}'\n\
             listeners:\n  web:\n    address: '@WEB'\n    routes:\n      \
               - match: {{ path: /portal/** }}\n        \
                 policies: [{{ api-key: {{ header: X-Key }} }}, {{ anonymous: {{}} }}]\n        \
                 portal: {{ title: Shop, keys: true }}\n\
             consumers:\n  \
               ann: {{ keys: [0123456789abcdef0123], scopes: [orders], plan: vip }}\n  \
               bob: {{ keys: [0123456789abcdef4567] }}\n\
             apis:\n  \
               orders:\n    title: Orders\n    path: /orders\n    \
                 policies: [{{ api-key: {{ header: X-Key }} }}, per-month]\n    versions:\n      \
                 v1: {{ lifecycle: {{ deprecated: 2024-01-31, sunset: 2999-12-31 }}, successor: v2, forward: o }}\n      \
                 v2: {{ openapi: orders.json, forward: o }}\n  \
               hidden: {{ path: /hidden, listed: false, versions: {{ v1: {{ forward: o }} }} }}\n\
             plans: {{ vip: {{ quota: 500/month }} }}\n\
             policies: {{ per-month: {{ quota: {{ most: 50/month, plans: true }} }} }}\n\
             pools: {{ o: {{ endpoints: '{}' }} }}\n",
            data.path().join("transom").display(),
            endpoint.address,
        );
        let transom = Transom::run_with(TRANSOM, &config, |folder| {
            let document = include_str!("../../examples/documents/orders.json");
            std::fs::write(folder.join("orders.json"), document).unwrap();
        });
        Shop { rig: Rig { endpoint, transom }, _data: data }
    }

    #[track_caller]
    fn json(&self, path: &str, lines: &[&str]) -> Value {
        let response = self.rig.get(path, lines);
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_str(&response.text()).unwrap()
    }

    /// A change of keys, with a body.
    #[track_caller]
    fn change(&self, start: &str, lines: &[&str], body: &str) -> Response {
        let length = format!("Content-Length: {}", body.len());
        let mut all = lines.to_vec();
        all.push(&length);
        let head: String = all.iter().map(|line| format!("{line}\r\n")).collect();
        transom_testkit::client::ask(
            self.rig.transom.web(),
            format!("{start} HTTP/1.1\r\nHost: a\r\n{head}\r\n{body}"),
        )
    }

    /// A key that was made for who shows this one.
    #[track_caller]
    fn made(&self, who: &str, body: &str) -> Value {
        let response = self.change("POST /portal/keys", &[who, OWN], body);
        assert_eq!(response.status, 201, "{}", response.text());
        serde_json::from_str(&response.text()).unwrap()
    }
}

#[test]
fn gw_38_the_page_needs_nothing_from_elsewhere_and_lets_nothing_else_in() {
    let shop = Shop::open();
    let moved = shop.rig.get("/portal", &[]);
    assert_eq!((moved.status, moved.field("location")), (308, Some("/portal/")));
    for (path, kind) in [
        ("/portal/", "text/html; charset=utf-8"),
        ("/portal/portal.css", "text/css; charset=utf-8"),
        ("/portal/portal.js", "text/javascript; charset=utf-8"),
    ] {
        let response = shop.rig.get(path, &[]);
        assert_eq!((response.status, response.field("content-type")), (200, Some(kind)));
        let text = response.text();
        assert!(
            !text.contains("//fonts") && !text.contains("https://") && !text.contains("innerHTML")
        );
        let guard = response.field("content-security-policy").unwrap();
        assert!(guard.starts_with("default-src 'none'; script-src 'self';"), "{guard}");
        assert!(!guard.contains("unsafe") && guard.contains("frame-ancestors 'none'"), "{guard}");
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    }
    for (start, expected) in [
        ("GET /portal/nothing", 404),
        ("GET /portal/documents/orders/v1.json", 404),
        ("GET /portal/documents/../../etc/passwd", 404),
        ("POST /portal/apis.json", 405),
        ("DELETE /portal/", 405),
        ("HEAD /portal/", 200),
    ] {
        assert_eq!(shop.rig.ask(start, &[]).status, expected, "{start}");
    }
}

#[test]
fn gw_38_apis_are_listed_with_their_versions_and_documents() {
    let shop = Shop::open();
    let shown = shop.json("/portal/apis.json", &[]);
    assert_eq!(
        (&shown["title"], &shown["consumer"], &shown["keys"]),
        (&"Shop".into(), &Value::Null, &false.into())
    );
    assert_eq!(shown["apis"].as_array().unwrap().len(), 1, "what is not listed is not shown");
    let versions = &shown["apis"][0]["versions"];
    assert_eq!(
        (&versions[0]["age"], &versions[0]["successor"], &versions[0]["document"]),
        (&"sunset".into(), &"v2".into(), &Value::Null)
    );
    assert_eq!(
        (&versions[1]["age"], &versions[1]["url"]),
        (&"published".into(), &"/orders/v2".into())
    );
    let document =
        shop.json(&format!("/portal/{}", versions[1]["document"].as_str().unwrap()), &[]);
    assert_eq!(document["servers"][0]["url"], "/orders/v2");
    assert_eq!(document["paths"]["/orders/{id}"]["get"]["operationId"], "getOrder");
    let mut client = Http2::connect(shop.rig.transom.web());
    let request = http::Request::get("http://a/portal/apis.json").body(()).unwrap();
    let asked = client.begin(request, true).unwrap();
    assert_eq!(client.finish(asked).unwrap().status, 200);
}

#[test]
fn gw_38_a_consumer_sees_its_own_use_and_makes_replaces_and_ends_its_own_keys() {
    let shop = Shop::open();
    for _ in 0..2 {
        assert_eq!(shop.rig.get("/orders/v1/7", &[ANN]).status, 200);
    }
    // each was counted by the time it is in the log
    shop.rig.transom.lines_when(2);
    let shown = shop.json("/portal/apis.json", &[ANN]);
    assert_eq!((&shown["consumer"], &shown["keys"]), (&"ann".into(), &true.into()));
    let calls = |shown: &Value, at: usize| shown["apis"][0]["versions"][at]["calls"].clone();
    assert_eq!((calls(&shown, 0), calls(&shown, 1)), (2.into(), 0.into()));
    assert_eq!(calls(&shop.json("/portal/apis.json", &[BOB]), 0), 0);
    let quotas = |lines: &[&str]| shop.json("/portal/apis.json", lines)["quotas"].clone();
    for (who, quota, used, left) in [(ANN, "500/month", 2, 498), (BOB, "50/month", 0, 50)] {
        let shown = quotas(&[who]);
        assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
        assert_eq!(
            (&shown[0]["policy"], &shown[0]["quota"], &shown[0]["used"], &shown[0]["left"]),
            (&"per-month".into(), &quota.into(), &used.into(), &left.into())
        );
        assert!(shown[0]["resets"].as_str().unwrap().ends_with(":00Z"), "{shown}");
    }
    assert_eq!(quotas(&[]), Value::Null, "nobody has used nothing");

    let made = shop.made(ANN, "{\"note\":\"ci\"}");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let field = format!("X-Key: {key}");
    assert_eq!(shop.rig.get("/orders/v1/7", &[&field]).status, 200);
    let keys = shop.json("/portal/keys", &[ANN]);
    assert_eq!((&keys[0]["note"], &keys[0]["standing"]), (&"ci".into(), &"valid".into()));
    assert!(
        keys[0].get("key").is_none() && shop.json("/portal/keys", &[BOB]) == Value::Array(vec![])
    );

    let path = format!("/portal/keys/{id}");
    for start in [format!("POST {path}/rotate"), format!("DELETE {path}")] {
        assert_eq!(shop.change(&start, &[BOB, OWN], "").status, 404, "it is not bob's");
    }
    let rotated = shop.change(&format!("POST {path}/rotate"), &[ANN, OWN], "{\"grace\":\"1h\"}");
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let next: Value = serde_json::from_str(&rotated.text()).unwrap();
    let next_field = format!("X-Key: {}", next["key"].as_str().unwrap());
    for field in [&field, &next_field] {
        assert_eq!(shop.rig.get("/orders/v1/7", &[field]).status, 200);
    }
    assert_eq!(shop.change(&format!("DELETE {path}"), &[ANN, OWN], "").status, 200);
    assert_eq!(shop.rig.get("/orders/v1/7", &[&field]).status, 401);
    assert_eq!(shop.rig.get("/orders/v1/7", &[&next_field]).status, 200);
    shop.rig.reload();
    assert_eq!(shop.made(&next_field, "")["standing"], "valid");
}

#[test]
fn gw_38_keys_are_for_consumers_and_only_pages_of_the_portal_change_them() {
    let shop = Shop::open();
    for (lines, expected) in [
        (&[][..], 403),
        (&[OWN], 403),
        (&[ANN], 403),
        (&[ANN, OWN, "Origin: http://evil.example"], 403),
        (&[ANN, OWN, "Origin: null"], 403),
        (&[ANN, OWN, "Sec-Fetch-Site: cross-site"], 403),
        (&[ANN, OWN, "Sec-Fetch-Site: same-site"], 403),
        (&[ANN, OWN, "Origin: http://a", "Sec-Fetch-Site: same-origin"], 201),
        (&["X-Key: wrong", OWN], 401),
    ] {
        assert_eq!(shop.change("POST /portal/keys", lines, "").status, expected, "{lines:?}");
    }
    assert_eq!(shop.rig.get("/portal/keys", &[]).status, 403);
    for (body, expected) in [
        ("{\"scopes\":[\"admin\"]}", 400),
        ("[]", 400),
        ("{", 400),
        (&*format!("{{\"note\":\"{}\"}}", "x".repeat(101)), 400),
        (&*" ".repeat(5000), 413),
    ] {
        let response = shop.change("POST /portal/keys", &[ANN, OWN], body);
        assert_eq!(response.status, expected, "{body}");
    }
    // a key that was made for less makes none for more
    let said = std::process::Command::new(TRANSOM)
        .args(["key", "create", "ann", "--scope", "orders:read", "-c", "transom.yaml"])
        .current_dir(shop.rig.transom.folder())
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let less = format!("X-Key: {}", said.lines().next().unwrap());
    assert_eq!(shop.change("POST /portal/keys", &[&less, OWN], "").status, 403);
    for n in 0..20 {
        let expected = if n < 18 { 201 } else { 409 };
        let response = shop.change("POST /portal/keys", &[ANN, OWN], "");
        assert_eq!(response.status, expected, "{n}: {}", response.text());
    }
}

#[test]
fn gw_38_a_credential_that_ends_makes_no_key_for_ever() {
    let shop = Shop::open();
    let made = |words: &[&str]| {
        let output = std::process::Command::new(TRANSOM)
            .args(["key", "create", "ann"])
            .args(words)
            .args(["-c", "transom.yaml", "--json"])
            .current_dir(shop.rig.transom.folder())
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(shop.made(ANN, "")["expires"], Value::Null);
    let brief = made(&["--expires", "2h"]);
    let field = format!("X-Key: {}", brief["key"].as_str().unwrap());
    let next = shop.made(&field, "");
    assert!(next["expires"].is_string(), "{next}");
    // nor does it get one that lasts by replacing such a key
    let lasting = made(&[]);
    let path = format!("/portal/keys/{}/rotate", lasting["id"].as_str().unwrap());
    let rotated = shop.change(&format!("POST {path}"), &[&field, OWN], "");
    let rotated: Value = serde_json::from_str(&rotated.text()).unwrap();
    assert_eq!(rotated["expires"], next["expires"], "{rotated}");
}

#[test]
fn gw_38_who_is_only_called_like_a_consumer_makes_no_keys_for_it() {
    let signer = Key::hs256("a secret of thirty-two bytes and more");
    let claims =
        json!({ "sub": "ann", "iss": "https://id.example", "aud": "shop", "exp": in_seconds(60) });
    let bearer = format!("Authorization: Bearer {}", signer.token("", &claims));
    for (consumers, expected) in [("ignore", 403), ("join", 201)] {
        let data = tempfile::tempdir().unwrap();
        let config = format!(
            "data: '{}'\n\
             listeners: {{ web: {{ address: '@WEB', routes: [{{ match: {{ path: /portal/** }}, policies: [people], \
             portal: {{ keys: true }} }}] }} }}\n\
             policies: {{ people: {{ jwt: {{ secret: 'a secret of thirty-two bytes and more', \
             issuer: https://id.example, audience: shop, consumers: {consumers} }} }} }}\n\
             consumers: {{ ann: {{ keys: [0123456789abcdef0123] }} }}\n\
             apis: {{ orders: {{ path: /orders, versions: {{ v1: {{ respond: a }} }} }} }}\n",
            data.path().join("transom").display(),
        );
        let transom = Transom::run(TRANSOM, &config);
        let made = transom_testkit::client::ask(
            transom.web(),
            format!(
                "POST /portal/keys HTTP/1.1\r\nHost: a\r\n{OWN}\r\n{bearer}\r\nContent-Length: 0\r\n\r\n"
            ),
        );
        assert_eq!(made.status, expected, "{consumers}: {}", made.text());
        if expected == 201 {
            let made: Value = serde_json::from_str(&made.text()).unwrap();
            assert!(made["expires"].is_string(), "90 days: {made}");
        }
    }
}

#[test]
fn gw_38_a_portal_that_cannot_be_is_found_with_its_place() {
    let config = "listeners: { web: { address: ':80', routes: [{ match: { path: /p }, \
                  portal: { apis: [order], keys: true } }] } }\n\
                  apis: { orders: { path: /o, versions: { v1: { respond: a } } } }\n";
    let said = check(config, |_| {});
    for expected in [
        "listeners.web.routes[0].portal.apis: no API named `order`",
        "did you mean `orders`?",
        "listeners.web.routes[0].match.path: a portal stands below one path",
        "keys that are made here would be lost",
    ] {
        assert!(said.contains(expected), "{said}");
    }
}
