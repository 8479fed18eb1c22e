//! The action `compose`: one answer out of several.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transom_testkit::endpoint::{Line, ok};
use transom_testkit::message::Received;
use transom_testkit::{Endpoint, Response, Transom, client, http2};

use super::rig::TRANSOM;

/// A Transom with one route `/page/{id}` of these parts, each an endpoint and what the file says.
struct Page {
    transom: Transom,
    endpoints: Vec<(&'static str, Endpoint)>,
}

impl Page {
    #[track_caller]
    fn of(top: &str, parts: Vec<(&'static str, &str, Endpoint)>) -> Self {
        let written: String = parts
            .iter()
            .map(|(name, part, _)| format!("            {name}: {{ to: {name}, {part} }}\n"))
            .collect();
        let pools: String = parts
            .iter()
            .map(|(name, _, endpoint)| {
                format!("  {name}: {{ endpoints: '{}' }}\n", endpoint.address)
            })
            .collect();
        let config = format!(
            "workers: 2\n\
             listeners:\n  \
               web:\n    \
                 address: '@WEB'\n    \
                 routes:\n      \
                   - name: page\n        \
                     match: {{ path: '/page/{{id}}' }}\n        \
                     compose:\n{top}          \
                       parts:\n{written}\
             pools:\n{pools}",
        );
        let endpoints = parts.into_iter().map(|(name, _, endpoint)| (name, endpoint)).collect();
        Page { transom: Transom::run(TRANSOM, &config), endpoints }
    }

    #[track_caller]
    fn get(&self, target: &str) -> Response {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    #[track_caller]
    fn ask(&self, request: &str) -> Response {
        client::ask(self.transom.web(), request)
    }

    fn endpoint(&self, wanted: &str) -> &Endpoint {
        &self.endpoints.iter().find(|(name, _)| *name == wanted).unwrap().1
    }
}

fn answers(value: Value) -> Endpoint {
    Endpoint::answering(ok(&value.to_string()))
}

/// Answers with these lines in its head.
fn with_head(status: &str, lines: &str, body: &Value) -> Endpoint {
    let body = body.to_string();
    let length = body.len();
    Endpoint::answering(format!(
        "HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
    ))
}

/// Takes the request and never answers.
fn silent() -> Endpoint {
    Endpoint::new(|_: &Received, line: &mut Line| line.stall())
}

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

/// Six services, one of which fails and one of which is slow: the answer holds what the six calls by
/// hand give, without those two, in time, and says that it is not complete.
#[test]
fn gw_28_six_parts_one_broken_and_one_slow_give_a_partial_answer_in_time() {
    let told = [
        ("product", json!({ "id": 7, "name": "lamp", "maker": { "id": "m1" }, "internal": 1 })),
        ("stock", json!({ "available": 3 })),
        ("reviews", json!({ "data": { "items": [{ "stars": 5, "secret": 1 }, { "stars": 3 }] } })),
        ("maker", json!({ "name": "Lampen GmbH", "country": "AT" })),
    ];
    let of = |name: &str| told.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    let page = Page::of(
        "          timeout: 2s\n",
        vec![
            (
                "product",
                "path: '/products/{capture.id}', required: true, deny: [internal]",
                answers(of("product")),
            ),
            ("stock", "path: /stock, group: stock", answers(of("stock"))),
            (
                "reviews",
                "path: /reviews, target: data.items, allow: ['*.stars'], group: reviews",
                answers(of("reviews")),
            ),
            ("maker", "path: '/makers/{product.maker.id}', group: made-by", answers(of("maker"))),
            ("broken", "path: /broken, group: broken", with_head("500 No", "", &json!({}))),
            ("slow", "path: /slow, group: slow", silent()),
        ],
    );
    let started = Instant::now();
    let response = page.get("/page/7");
    let took = started.elapsed();
    assert_eq!(response.status, 200);
    // by hand
    let mut by_hand = of("product");
    by_hand.as_object_mut().unwrap().remove("internal");
    by_hand["stock"] = of("stock");
    by_hand["reviews"] = json!([{ "stars": 5 }, { "stars": 3 }]);
    by_hand["made-by"] = of("maker");
    assert_eq!(body(&response), by_hand);
    assert_eq!(response.field("x-transom-completed"), Some("false"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert!(took >= Duration::from_millis(1900), "the slow one is given its time: {took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(page.endpoint("product").request().target, "/products/7");
    assert_eq!(page.endpoint("maker").request().target, "/makers/m1");
    let lines = page.transom.lines_when(1);
    let detail = lines[0]["detail"].as_str().unwrap();
    assert!(detail.contains("part `broken`: bad-response: status 500"), "{detail}");
    assert!(detail.contains("part `slow`: response-timeout"), "{detail}");
    assert_eq!(lines[0]["attempts"], 6, "{}", lines[0]);
}

#[test]
fn gw_28_a_complete_answer_may_be_kept_as_long_as_its_least_part() {
    let kept = |lines: &str, value| with_head("200 OK", lines, &value);
    let page = Page::of(
        "",
        vec![
            (
                "one",
                "path: /1",
                kept("Cache-Control: max-age=60\r\nVary: X-A\r\n", json!({ "a": 1 })),
            ),
            (
                "two",
                "path: /2",
                kept("Cache-Control: max-age=9\r\nSet-Cookie: a=b\r\n", json!({ "b": 2 })),
            ),
            (
                "none",
                "path: /3, absent: [404]",
                with_head("404 No", "Cache-Control: max-age=30\r\n", &json!({})),
            ),
        ],
    );
    let response = page.get("/page/7");
    assert_eq!(body(&response), json!({ "a": 1, "b": 2 }));
    assert_eq!(response.field("x-transom-completed"), Some("true"));
    assert_eq!(response.field("cache-control"), Some("max-age=9"));
    assert_eq!(response.field("vary"), Some("x-a"));
    assert_eq!(response.field("set-cookie"), None);
}

#[test]
fn gw_28_without_a_required_part_there_is_no_answer() {
    let two = |required| {
        Page::of(
            "          timeout: 2s\n",
            vec![
                ("needed", "path: /needed, required: true", required),
                ("other", "path: /other", answers(json!({ "a": 1 }))),
            ],
        )
    };
    let refusing = with_head(
        "404 No",
        "Content-Type: application/json\r\nX-A: b\r\n",
        &json!({ "why": "gone" }),
    );
    for (required, status, expected) in [
        (refusing, 404, Some(json!({ "why": "gone" }))),
        (with_head("503 No", "", &json!({})), 502, None),
        (silent(), 504, None),
        (Endpoint::answering(ok("no json")), 502, None),
    ] {
        let response = two(required).get("/page/7");
        assert_eq!(response.status, status);
        if let Some(expected) = expected {
            assert_eq!(body(&response), expected);
        }
        assert_eq!(response.field("x-a"), None);
        assert_eq!(response.field("cache-control"), Some("no-store"));
    }
}

#[test]
fn gw_28_what_failed_has_its_fallback_and_all_failing_is_a_fault() {
    let page = Page::of(
        "",
        vec![
            (
                "one",
                "path: /1, fallback: { left: 0 }, group: one",
                with_head("500 No", "", &json!({})),
            ),
            ("two", "path: '/2/{one.left}', group: two", answers(json!({ "b": 2 }))),
        ],
    );
    let response = page.get("/page/7");
    assert_eq!(body(&response), json!({ "one": { "left": 0 }, "two": { "b": 2 } }));
    assert_eq!(response.field("x-transom-completed"), Some("false"));
    assert_eq!(page.endpoint("two").request().target, "/2/0");
    let page = Page::of(
        "",
        vec![
            ("one", "path: /1", with_head("500 No", "", &json!({}))),
            ("two", "path: '/2/{one.left}'", answers(json!({}))),
        ],
    );
    assert_eq!(page.get("/page/7").status, 502);
    assert_eq!(page.endpoint("two").requests().len(), 0, "what it needs was not there");
}

/// G-07: the same key, too much, and nothing that leaves its place.
#[test]
fn g_07_the_later_part_wins_and_what_is_too_long_is_left_out() {
    let long = answers(json!({ "long": "x".repeat(5000) }));
    let page = Page::of(
        "          completed-header: x-krakend-completed\n",
        vec![
            ("one", "path: '/1/{query.id}'", answers(json!({ "a": { "x": 1, "y": 1 }, "l": [1] }))),
            ("two", "path: /2", answers(json!({ "a": { "y": 2 }, "l": [2, 3] }))),
            ("long", "path: /3, max-body: 4KiB", long),
        ],
    );
    let response = page.get("/page/7?id=..%2Fadmin%3Fa");
    assert_eq!(body(&response), json!({ "a": { "x": 1, "y": 2 }, "l": [2, 3] }));
    assert_eq!(response.field("x-krakend-completed"), Some("false"));
    assert_eq!(page.endpoint("one").request().target, "/1/..%2Fadmin%3Fa");
    assert_eq!(body(&page.get("/page/7?id=..")), json!({ "a": { "y": 2 }, "l": [2, 3] }));
    assert_eq!(page.endpoint("one").requests().len(), 1, "`..` is not asked for");
}

#[test]
fn gw_28_a_list_is_completed_with_one_call_for_all_of_it() {
    let items = json!({ "items": [
        { "product": 3, "n": 1 }, { "product": 9 }, { "product": 3 }, { "product": 4 }, {},
    ] });
    let prices = json!([{ "id": "9", "amount": 90, "x": 1 }, { "id": 3, "amount": 30 }]);
    let page = Page::of(
        "",
        vec![
            ("cart", "path: /cart", answers(items)),
            (
                "prices",
                "path: '/prices?ids={keys}', allow: ['*.id', '*.amount'], \
                 join: { items: 'cart.items.*', key: product, by: id, into: price }",
                answers(prices),
            ),
            (
                "names",
                "path: /names, body: { ids: '{keys}', for: '{body.user}' }, \
                 join: { items: 'cart.items.*', key: product, into: name }",
                answers(json!({ "3": "three", "4": "four" })),
            ),
        ],
    );
    let request = "POST /page/7 HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nAuthorization: B x\r\n\
                   Accept-Encoding: gzip\r\nIf-None-Match: x\r\n\r\n{\"user\":\"u\"}";
    let response = page.ask(request);
    let expected = json!({ "items": [
        { "product": 3, "n": 1, "price": { "id": 3, "amount": 30 }, "name": "three" },
        { "product": 9, "price": { "id": "9", "amount": 90 } },
        { "product": 3, "price": { "id": 3, "amount": 30 }, "name": "three" },
        { "product": 4, "name": "four" },
        {},
    ] });
    assert_eq!(body(&response), expected);
    assert_eq!(response.field("x-transom-completed"), Some("true"));
    assert_eq!(page.endpoint("prices").request().target, "/prices?ids=3,9,4");
    let asked = page.endpoint("names").request();
    assert_eq!(
        (asked.method.as_str(), asked.field("content-type")),
        ("POST", Some("application/json"))
    );
    let sent: Value = serde_json::from_str(&asked.text()).unwrap();
    assert_eq!(sent, json!({ "ids": [3, 9, 4], "for": "u" }));
    let cart = page.endpoint("cart").request();
    assert_eq!(cart.method, "GET");
    assert_eq!(cart.field("authorization"), Some("B x"), "who asks is told on");
    assert_eq!(cart.field("accept"), Some("application/json"));
    for gone in ["accept-encoding", "if-none-match", "content-length"] {
        assert_eq!(cart.field(gone), None, "{gone}");
    }
    let bad = page.ask("POST /page/7 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{");
    assert_eq!(bad.status, 400);
}

/// GW-30: a backend for each kind of frontend, over HTTP/2 to the client.
#[test]
fn gw_30_clients_of_another_kind_get_another_shape() {
    let endpoint = answers(json!({ "id": 1, "name": "lamp", "text": "long" }));
    let address = endpoint.address;
    let config = format!(
        "listeners:\n  \
           web:\n    \
             address: '@WEB'\n    \
             routes:\n      \
               - {{ compose: {{ parts: {{ all: {{ to: '{address}', path: /p }} }} }} }}\n      \
               - {{ match: {{ header: {{ x-client: phone }} }}, \
                    compose: {{ parts: {{ all: {{ to: '{address}', path: /p, allow: [id] }} }} }} }}\n"
    );
    let transom = Transom::run(TRANSOM, &config);
    let mut client = http2::Http2::connect(transom.web());
    let all = client.ask(http2::request("GET", "/", &[]), b"");
    assert_eq!(body(&all), json!({ "id": 1, "name": "lamp", "text": "long" }));
    let phone = client.ask(http2::request("GET", "/", &[("x-client", "phone")]), b"");
    assert_eq!(body(&phone), json!({ "id": 1 }));
}

/// A cart is asked for by what the user's answer says, and prices by what the cart says; nothing of a path or an
/// answer becomes a parameter of its own.
#[test]
fn gw_29_a_call_uses_a_field_of_the_one_before() {
    let page = Page::of(
        "",
        vec![
            (
                "prices",
                "path: '/prices?ids={cart.items}&currency={user.currency}', group: prices",
                answers(json!({ "1": 3, "x&y": 4 })),
            ),
            (
                "cart",
                "path: '/carts/{user.cart.id}', group: cart",
                answers(json!({ "items": [1, "x&y"] })),
            ),
            (
                "user",
                "path: '/users?id={capture.id}&role=guest', required: true",
                answers(json!({ "cart": { "id": "c/7" }, "currency": "EUR" })),
            ),
        ],
    );
    let response = page.get("/page/7&role=admin");
    let expected = json!({
        "cart": { "id": "c/7", "items": [1, "x&y"] }, "currency": "EUR", "prices": { "1": 3, "x&y": 4 },
    });
    assert_eq!((response.status, body(&response)), (200, expected));
    for (part, target) in [
        ("user", "/users?id=7%26role%3Dadmin&role=guest"),
        ("cart", "/carts/c%2F7"),
        ("prices", "/prices?ids=1,x%26y&currency=EUR"),
    ] {
        assert_eq!(page.endpoint(part).request().target, target);
    }
    // what waits for one that is not there is not asked
    let page = Page::of(
        "",
        vec![
            ("user", "path: '/users/{capture.id}'", answers(json!({ "name": "ada" }))),
            ("cart", "path: '/carts/{user.cart.id}', group: cart", answers(json!({}))),
        ],
    );
    let response = page.get("/page/7");
    assert_eq!((response.status, body(&response)), (200, json!({ "name": "ada" })));
    assert!(page.endpoint("cart").requests().is_empty());
}
