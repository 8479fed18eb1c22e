//! APIs with versions: how a request comes to one, what it may ask there, and who still calls it.

use std::process::Command;

use transom_testkit::message::all;
use transom_testkit::{Endpoint, Http2, Response, Transom};

use super::rig::{Rig, TRANSOM, check};

/// Two endpoints, of which each says who it is, behind these APIs; `orders.yaml` is beside the file.
struct Shop {
    rig: Rig,
    _second: Endpoint,
}

impl Shop {
    #[track_caller]
    fn with(apis: &str) -> Self {
        Shop::beside(apis, &[("orders.yaml", include_str!("../policies/orders.yaml").to_owned())])
    }

    /// With these files beside that of the configuration.
    #[track_caller]
    fn beside(apis: &str, files: &[(&str, String)]) -> Self {
        let second = Endpoint::echo();
        let endpoint = Endpoint::echo();
        let config = format!(
            "workers: 2\n\
             listeners: {{ web: {{ address: '@WEB', routes: [{{ name: rest, match: {{ path: /elsewhere }}, respond: 204 }}] }} }}\n\
             consumers: {{ ann: {{ keys: [0123456789abcdef0123] }}, bob: {{ keys: [0123456789abcdef4567] }} }}\n\
             pools:\n  one: {{ endpoints: '{}' }}\n  two: {{ endpoints: '{}' }}\n\
             {apis}",
            endpoint.address, second.address,
        );
        let transom = Transom::run_with(TRANSOM, &config, |folder| {
            for (name, text) in files {
                std::fs::write(folder.join(name), text).unwrap();
            }
        });
        Shop { rig: Rig { endpoint, transom }, _second: second }
    }

    /// What `transom api ...` says.
    #[track_caller]
    fn said(&self, words: &[&str]) -> String {
        let folder = self.rig.transom.folder();
        let output = Command::new(TRANSOM)
            .arg("api")
            .args(words)
            .args(["-c", "transom.yaml"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

const ORDERS: &str = "\
apis:
  orders:
    path: /orders
    by: [path, header: Api-Version, query: v, media-type: 'application/vnd.shop.{version}+json']
    default: v1
    versions:
      v1:
        aliases: ['1']
        lifecycle: { deprecated: 2024-01-31, sunset: 2999-12-31 }
        successor: v2
        response-headers: { set: { X-Took: v1 } }
        forward: one
      v2:
        endpoint-path: /
        response-headers: { set: { X-Took: v2 } }
        forward: two
";

#[test]
fn gw_35_a_version_is_named_by_path_header_query_or_media_type() {
    let shop = Shop::with(ORDERS);
    for (target, lines, expected) in [
        ("/orders/v1/7", &[][..], Some("v1")),
        ("/orders/1/7", &[], Some("v1")),
        ("/orders/v2/7", &[], Some("v2")),
        ("/orders/v2/7", &["Api-Version: v1"], Some("v2")),
        ("/orders/7", &[], Some("v1")),
        ("/orders", &[], Some("v1")),
        ("/orders/7", &["Api-Version: v2"], Some("v2")),
        ("/orders/7", &["Api-Version: 1"], Some("v1")),
        ("/orders/7", &["Api-Version: v3"], None),
        ("/orders/7", &["Api-Version: v1", "Api-Version: v2"], None),
        ("/orders/7?v=v2", &[], Some("v2")),
        ("/orders/7?v=v9", &[], None),
        ("/orders/7?v=v2", &["Api-Version: v1"], Some("v1")),
        ("/orders/7", &["Accept: application/vnd.shop.v2+json;q=1, */*"], Some("v2")),
        ("/orders/7", &["Accept: application/vnd.shop.v8+json"], None),
        ("/orders/7", &["Accept: application/json"], Some("v1")),
        ("/order/7", &[], None),
    ] {
        let response = shop.rig.get(target, lines);
        assert_eq!(response.field("x-took"), expected, "{target} {lines:?}");
        assert_eq!(response.status, if expected.is_some() { 200 } else { 404 });
    }
    let posted = shop.rig.ask(
        "POST /orders/7",
        &["Content-Type: application/vnd.shop.v2+json", "Content-Length: 0"],
    );
    assert_eq!(posted.field("x-took"), Some("v2"));
}

#[test]
fn gw_35_over_http2_too() {
    let shop = Shop::with(ORDERS);
    let mut client = Http2::connect(shop.rig.transom.web());
    for (target, header, expected) in
        [("/orders/7", Some("v2"), "v2"), ("/orders/7", None, "v1"), ("/orders/v2/7", None, "v2")]
    {
        let mut request = http::Request::get(format!("http://a{target}"));
        if let Some(header) = header {
            request = request.header("api-version", header);
        }
        let asked = client.begin(request.body(()).unwrap(), true).unwrap();
        let response: Response = client.finish(asked).unwrap();
        assert_eq!((response.status, response.field("x-took")), (200, Some(expected)));
    }
}

#[test]
fn gw_35_an_endpoint_sees_one_path_however_it_was_asked() {
    let shop = Shop::with(ORDERS);
    for target in ["/orders/v1/7?a=b", "/orders/1/7?a=b", "/orders/7?a=b"] {
        shop.rig.get(target, &[]);
        assert_eq!(shop.rig.seen().target, "/orders/v1/7?a=b", "{target}");
    }
    shop.rig.get("/orders/v2/7", &[]);
    assert_eq!(shop._second.requests().pop().unwrap().target, "/7");
}

#[test]
fn gw_35_a_fallback_stands_in_for_a_version_that_is_not_there() {
    let apis = ORDERS.replace("default: v1", "default: v1\n    fallback: v2");
    let shop = Shop::with(&apis);
    for (target, lines, expected) in [
        ("/orders/7", &[][..], "v1"),
        ("/orders/7", &["Api-Version: v9"], "v2"),
        ("/orders/7?v=v9", &[], "v2"),
        ("/orders/7?v=v1", &[], "v1"),
        ("/orders/7", &["Accept: application/vnd.shop.v8+json"], "v2"),
    ] {
        let response = shop.rig.get(target, lines);
        assert_eq!(response.field("x-took"), Some(expected), "{target} {lines:?}");
    }
}

#[test]
fn gw_36_a_version_announces_its_end_and_names_what_follows() {
    let shop = Shop::with(ORDERS);
    let response = shop.rig.get("/orders/v1/7", &[]);
    assert_eq!(response.field("deprecation"), Some("@1706659200"));
    assert_eq!(response.field("sunset"), Some("Tue, 31 Dec 2999 00:00:00 GMT"));
    let links: Vec<_> = all(&response.fields, "link").collect();
    assert_eq!(links, ["</orders/v2>; rel=\"successor-version\""]);
    assert_eq!(shop.rig.get("/orders/v2/7", &[]).field("deprecation"), None);
    let gone = Shop::with(&ORDERS.replace("2999-12-31", "2025-12-31"));
    let response = gone.rig.get("/orders/v1/7", &[]);
    assert_eq!((response.status, response.field("link").is_some()), (410, true));
    assert_eq!(gone.rig.get("/orders/v2/7", &[]).status, 200);
    assert!(gone.said(&["list"]).contains("retired"));
}

#[test]
fn gw_39_who_still_calls_a_deprecated_version_is_told_and_survives_a_reload() {
    let apis = ORDERS
        .replace("    versions:", "    policies: [{ api-key: { header: X-Key } }]\n    versions:");
    let shop = Shop::with(&apis);
    let ann = "X-Key: 0123456789abcdef0123";
    for _ in 0..3 {
        assert_eq!(shop.rig.get("/orders/v1/7", &[ann]).status, 200);
    }
    assert_eq!(shop.rig.get("/orders/v2/7", &["X-Key: 0123456789abcdef4567"]).status, 200);
    assert_eq!(shop.rig.get("/orders/v1/7", &[]).status, 401);
    // each was counted by the time it is in the log
    shop.rig.transom.lines_when(5);
    shop.rig.reload();
    let shown: serde_json::Value =
        serde_json::from_str(&shop.said(&["show", "orders", "--json"])).unwrap();
    let v1 = &shown["versions"][0];
    assert_eq!((&v1["age"], &v1["calls"]), (&"sunset".into(), &4.into()));
    let callers = |version: &serde_json::Value| -> Vec<(String, u64)> {
        let rows = version["callers"].as_array().unwrap().iter();
        let mut rows: Vec<_> = rows
            .map(|row| {
                (row["consumer"].as_str().unwrap().to_owned(), row["calls"].as_u64().unwrap())
            })
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(callers(v1), [("(nobody)".to_owned(), 1), ("ann".to_owned(), 3)]);
    assert_eq!(callers(&shown["versions"][1]), [("bob".to_owned(), 1)]);
    let table = shop.said(&["show", "orders"]);
    assert!(table.contains("who calls v1\nCONSUMER"), "{table}");
    let routes: Vec<_> =
        shop.rig.transom.lines_when(5).iter().map(|l| l["route"].clone()).collect();
    assert!(routes.contains(&"orders-v1".into()) && routes.contains(&"orders-v2".into()));
    assert_eq!(shop.rig.transom.admin("GET", "/apis/nothing").status, 404);
    let metrics = shop.rig.transom.admin("GET", "/metrics").text();
    for line in [
        "transom_api_version_info{api=\"orders\",version=\"v1\",route=\"orders-v1\",age=\"sunset\"} 1",
        "transom_api_version_calls_total{api=\"orders\",version=\"v1\"} 4",
        "transom_api_version_callers{api=\"orders\",version=\"v1\"} 2",
        "transom_requests_total{listener=\"web\",route=\"orders-v1\",class=\"2xx\"} 3",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

const DESCRIBED: &str = "\
apis:
  orders:
    path: /shop
    by: [path, header: Api-Version]
    default: v1
    versions:
      v1:
        openapi: orders.yaml
        routes: from-document
        policies:
          - validate: {}
          - headers: { request: { set: { X-Order: '{capture.id}' } } }
        forward: one
      v2:
        openapi: orders.yaml
        routes: from-document
        policies: [mock: {}]
        forward: two
";

#[test]
fn gw_31_only_what_a_document_describes_passes() {
    let shop = Shop::with(DESCRIBED);
    for (start, lines, expected) in [
        ("GET /shop/v1/orders/7", &[][..], 200),
        ("HEAD /shop/v1/orders/7", &[], 200),
        ("GET /shop/orders/7", &[], 200),
        ("GET /shop/v1/orders/seven", &[], 422),
        ("DELETE /shop/v1/orders/7", &[], 405),
        ("GET /shop/v1/orders", &[], 404),
        ("GET /shop/v1/orders/7/x", &[], 404),
        ("GET /shop/orders/7", &["Api-Version: v3"], 404),
    ] {
        assert_eq!(shop.rig.ask(start, lines).status, expected, "{start} {lines:?}");
    }
    assert_eq!(shop.rig.ask("PUT /shop/v1/orders/7", &[]).field("allow"), Some("GET, HEAD"));
    shop.rig.get("/shop/v1/orders/8", &[]);
    assert_eq!(all(&shop.rig.seen().fields, "x-order").collect::<Vec<_>>(), ["8"]);
    let mocked = shop.rig.get("/shop/orders/7", &["Api-Version: v2"]);
    assert_eq!((mocked.status, mocked.text().as_str()), (200, "{\"id\":7}"));
}

#[test]
fn gw_31_what_a_document_does_not_describe_is_for_no_other_version_either() {
    // the path of the first version is one of the second's
    let open = DESCRIBED.replace("default: v1", "default: v2").replace(
        "        openapi: orders.yaml\n        routes: from-document\n        policies: [mock: {}]\n",
        "        endpoint-path: /shop\n",
    );
    let by_path = open.replace("by: [path, header: Api-Version]", "by: path");
    for apis in [&open, &by_path] {
        let shop = Shop::with(apis);
        for (start, lines, expected) in [
            ("GET /shop/v1/orders/7", &[][..], 200),
            ("GET /shop/anything", &[], 200),
            ("GET /shop/v2/anything", &[], 200),
            ("GET /shop/v1/secret", &[], 404),
            ("GET /shop/v1/secret", &["Api-Version: v2"], 404),
            ("DELETE /shop/v1/orders/7", &[], 405),
            ("DELETE /shop/v1/orders/7", &["Api-Version: v2"], 405),
        ] {
            assert_eq!(shop.rig.ask(start, lines).status, expected, "{start} {lines:?}");
        }
        let told = shop.rig.get("/shop/v1/secret", &["Accept: application/json"]);
        assert_eq!(told.field("content-type"), Some("application/problem+json"));
        assert!(told.text().contains("no-route"), "{}", told.text());
    }
}

/// `/{shelf}/{day}.pdf` of one version is as wide as the paths of the other.
#[test]
fn gw_31_a_wide_path_of_one_version_takes_none_that_names_another() {
    let apis = "\
apis:
  orders:
    path: /shop
    default: v1
    versions:
      v1: { openapi: wide.yaml, routes: from-document, forward: one }
      v2: { openapi: narrow.yaml, routes: from-document, forward: two }
";
    let document = |paths: &str| {
        format!("openapi: 3.1.0\ninfo: {{ title: t, version: '1' }}\npaths: {{ {paths} }}\n")
    };
    let files = [
        (
            "wide.yaml",
            document("'/{shelf}/{item}': { get: {} }, '/{shelf}/{day}.pdf': { put: {} }"),
        ),
        ("narrow.yaml", document("/tea: { get: {} }, '/{day}.txt': { get: {} }")),
    ];
    let shop = Shop::beside(apis, &files);
    for (start, expected) in [
        ("GET /shop/a/b", 200),
        ("PUT /shop/a/b.pdf", 200),
        ("GET /shop/v1/a/b", 200),
        ("GET /shop/v2/tea", 200),
        ("GET /shop/v2/1.txt", 200),
        ("GET /shop/v2/coffee", 404),
        ("GET /shop/v1/coffee", 404),
        ("PUT /shop/v2/1.pdf", 404),
        ("PUT /shop/v2/tea", 405),
    ] {
        assert_eq!(shop.rig.ask(start, &[]).status, expected, "{start}");
    }
}

#[test]
fn gw_31_what_browsers_ask_before_is_answered_though_no_document_describes_it() {
    let preflight = ["Origin: https://a.example", "Access-Control-Request-Method: GET"];
    let shop = Shop::with(DESCRIBED);
    assert_eq!(shop.rig.ask("OPTIONS /shop/v1/orders/7", &preflight).status, 405);
    for policies in ["[{ cors: { origins: ['https://a.example'] } }]", "[pages]"] {
        let apis = DESCRIBED
            .replace("    versions:", &format!("    policies: {policies}\n    versions:"))
            + "policies: { pages: { cors: { origins: ['https://a.example'] } } }\n";
        let shop = Shop::with(&apis);
        let allowed = shop.rig.ask("OPTIONS /shop/v1/orders/7", &preflight);
        assert_eq!(allowed.field("access-control-allow-origin"), Some("https://a.example"));
        assert_eq!(shop.rig.ask("OPTIONS /shop/v1/nothing", &preflight).status, 404);
        assert_eq!(shop.rig.ask("DELETE /shop/v1/orders/7", &[]).status, 405);
    }
}

#[test]
fn gw_31_an_operation_is_explained_with_the_names_in_its_path() {
    let shop = Shop::with(DESCRIBED);
    let run = |words: &[&str]| {
        let folder = shop.rig.transom.folder();
        let output = Command::new(TRANSOM).args(words).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let port = shop.rig.transom.web().port();
    let told = run(&["explain", "GET", &format!("http://127.0.0.1:{port}/shop/v1/orders/7")]);
    for expected in [
        "orders-v1 (host *, path /shop/v1/orders/{id}): matched",
        "  {capture.id} is `7`",
        "validate (shape): is one of 1 operations of `Orders` 1 below /shop/v1",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert!(run(&["check"]).contains("2 pools, 1 API\n"));
}

#[test]
fn gw_31_another_document_is_served_after_a_reload() {
    let shop = Shop::with(DESCRIBED);
    assert_eq!(shop.rig.get("/shop/v1/parcels/7", &[]).status, 404);
    let document = include_str!("../policies/orders.yaml").replace("/orders/", "/parcels/");
    std::fs::write(shop.rig.transom.folder().join("orders.yaml"), document).unwrap();
    shop.rig.reload();
    assert_eq!(shop.rig.get("/shop/v1/parcels/7", &[]).status, 200);
    assert_eq!(shop.rig.get("/shop/v1/orders/7", &[]).status, 404);
}

#[test]
fn gw_35_a_limit_of_an_api_is_one_for_all_its_versions_and_their_routes() {
    let apis = ORDERS.replace(
        "    versions:",
        "    policies: [{ rate-limit: { rate: 4/min, by: client } }]\n    versions:",
    );
    let shop = Shop::with(&apis);
    for target in ["/orders/v1/7", "/orders/7", "/orders/v2/7", "/orders/7?v=v2"] {
        assert_eq!(shop.rig.get(target, &[]).status, 200, "{target}");
    }
    assert_eq!(shop.rig.get("/orders/v2/7", &[]).status, 429);
}

#[test]
fn gw_35_a_version_may_be_a_canary_that_sticks() {
    let apis = ORDERS.replace("forward: one", "forward: canary")
        + "splits: { canary: { pools: { one: 1, two: 1 }, cookie: { name: way, secret: 0123456789abcdef } } }\n";
    let shop = Shop::with(&apis);
    let first = shop.rig.get("/orders/v1/7", &[]);
    let cookie = first.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let (ones, twos) = (shop.rig.endpoint.requests().len(), shop._second.requests().len());
    for _ in 0..8 {
        shop.rig.get("/orders/7", &[&format!("Cookie: {cookie}")]);
    }
    let (more_ones, more_twos) =
        (shop.rig.endpoint.requests().len() - ones, shop._second.requests().len() - twos);
    assert!(matches!((more_ones, more_twos), (8, 0) | (0, 8)), "{more_ones} {more_twos}");
}

#[test]
fn gw_35_who_names_no_version_moves_in_shares_and_who_names_one_has_it() {
    let apis = ORDERS.replace("default: v1", "default: current")
        + "      current: { endpoint-path: /, forward: canary }\n"
        + "splits: { canary: { pools: { one: 1, two: 1 }, cookie: { name: way, secret: 0123456789abcdef } } }\n";
    let shop = Shop::with(&apis);
    let moved = (0..100).find_map(|_| {
        let answer = shop.rig.get("/orders/7", &[]);
        let cookie = answer.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        (!shop._second.requests().is_empty()).then_some(format!("Cookie: {cookie}"))
    });
    let (moved, ones) = (moved.unwrap(), shop.rig.endpoint.requests().len());
    for _ in 0..8 {
        shop.rig.get("/orders/7", &[&moved]);
    }
    let seen = shop._second.requests();
    assert_eq!((shop.rig.endpoint.requests().len(), seen.len()), (ones, 9), "it stays");
    assert!(seen.iter().all(|request| request.target == "/7"), "{seen:?}");
    let named = shop.rig.get("/orders/v1/7", &[&moved]);
    assert_eq!(named.field("x-took"), Some("v1"));
    assert_eq!((shop.rig.endpoint.requests().len(), shop._second.requests().len()), (ones + 1, 9));
}

#[test]
fn a_document_that_cannot_be_used_is_found_at_its_place() {
    let config = "listeners: { web: { address: ':80' } }\napis:\n  orders:\n    path: /orders\n    \
                  versions:\n      v1: { openapi: o.yaml, forward: '127.0.0.1:1' }\n";
    let said = |text: &str, config: &str| {
        check(config, |folder| std::fs::write(folder.join("o.yaml"), text).unwrap())
    };
    let swagger = said("swagger: '2.0'", config);
    assert!(swagger.contains("transom.yaml:6:"), "{swagger}");
    assert!(
        swagger.contains("apis.orders.versions.v1.openapi: `o.yaml` cannot be used"),
        "{swagger}"
    );
    let gone = check(config, |_| {});
    assert!(gone.contains("cannot read `o.yaml`: there is no such file"), "{gone}");
    let from = config.replace("openapi: o.yaml", "routes: from-document, openapi: o.yaml");
    let bad = said("openapi: 3.1.0\npaths: { '/a?b': { get: {} } }\n", &from);
    assert!(bad.contains("its path `/a?b` cannot be a route"), "{bad}");
    let none = said("openapi: 3.1.0\n", &from);
    assert!(none.contains("describes no operation"), "{none}");
}

/// What `transom import openapi` says of this text, and whether it was content.
fn imported(name: &str, text: &str, words: &[&str]) -> (bool, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    let output = Command::new(TRANSOM)
        .args(["import", "openapi", name])
        .args(words)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said, folder)
}

const ORDERS_JSON: &str = include_str!("../../examples/documents/orders.json");

const PETS: &str = "\
openapi: 3.0.3
info: { title: Pet Store, version: 1.0.7 }
servers: [{ url: 'https://pets.example/api/v3' }, { url: 'http://old.example' }]
security: [{ key: [] }]
paths:
  /pet:
    post: { requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Pet' } } } }, responses: { '200': { description: ok } } }
  /pet/{pet.id}:
    parameters: [{ name: pet.id, in: path, required: true, schema: { type: integer } }]
    get: { responses: { '200': { description: ok } } }
    delete: { responses: { '200': { description: ok } } }
  /pet/{pet.id}/photo-{n}.jpg:
    get: { responses: { '200': { description: ok } } }
components:
  securitySchemes: { key: { type: apiKey, in: header, name: api_key } }
  schemas: { Pet: { type: object, properties: { name: { type: string, nullable: true } } } }
";

#[test]
fn gw_37_an_imported_document_is_a_file_that_runs() {
    for (name, text, expected) in [
        ("orders.json", ORDERS_JSON, "  orders:\n"),
        ("pets.yaml", PETS, "# - the security scheme `key`"),
    ] {
        let (content, said, folder) = imported(name, text, &[]);
        assert!(content && said.contains(expected), "{said}");
        std::fs::write(folder.path().join("transom.yaml"), &said).unwrap();
        let output =
            Command::new(TRANSOM).arg("check").current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        // but for the name, which nobody here knows
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told.matches("warning:").count(), 1, "{told}");
        assert!(told.contains("has no address now"), "{told}");
    }
    let endpoint = Endpoint::echo();
    let (_, said, _) = imported("pets.yaml", PETS, &["--to", &endpoint.address.to_string()]);
    let config = said.replace("127.0.0.1:8080", "@WEB");
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("pets.yaml"), PETS).unwrap();
    });
    let rig = Rig { endpoint, transom };
    for (start, expected) in [
        ("GET /api/v3/pet/7", 200),
        ("PUT /api/v3/pet/7", 405),
        ("GET /api/v3/pet/7/photo-2.jpg", 200),
        ("GET /api/v3/pet/7/photo.jpg", 404),
        ("GET /api/v3/pets", 404),
    ] {
        assert_eq!(rig.ask(start, &[]).status, expected, "{start}");
    }
    assert_eq!(rig.seen().target, "/api/v3/pet/7/photo-2.jpg");
}

#[test]
fn gw_37_what_cannot_be_imported_says_where() {
    for (text, words, expected) in [
        ("openapi: 3.1.0\npaths:\n  /a: [\n", &[][..], "error: a.yaml: line 4: "),
        (
            "{\"openapi\": \"3.1.0\",\n \"paths\": ]}",
            &[],
            "error: a.yaml: it is no JSON: expected value at line 2 column 11",
        ),
        (
            "openapi: 3.1.0\npaths: { /a: { get: { parameters: [{ name: x }] } } }\n",
            &["--to", "127.0.0.1:1"],
            "error: a.yaml: `get /a`: the parameter `x` stands nowhere",
        ),
        (
            "openapi: 3.1.0\npaths: { '/a?b': { get: {} } }\n",
            &["--to", "127.0.0.1:1"],
            "its path `/a?b` cannot be a route",
        ),
        (PETS, &["--name", "a b"], "`--name`: `a b` is not a name"),
    ] {
        let (content, said, _) = imported("a.yaml", text, words);
        assert!(!content && said.contains(expected), "{said}");
    }
}
