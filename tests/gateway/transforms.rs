//! Requests and responses that are changed, and those that have to be as they are described.

use serde_json::{Value, json};
use transom_testkit::{Endpoint, Http2, Response, Transom, client, http2};

use super::rig::{Rig, TRANSOM};

fn answer(media: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn send(rig: &Rig, start: &str, media: &str, body: &str) -> Response {
    let head = format!(
        "{start} HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nContent-Type: {media}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    client::ask(rig.transom.web(), head + body)
}

#[test]
fn gw_22_a_request_is_changed_and_its_framing_is_right() {
    let rig = Rig::with(
        &["shape: { transform: { request: { method: PUT, path: '/v2{path}', \
           query: { rename: { q: search }, set: { by: 'a b&c' } }, \
           headers: { rename: { x-old: x-new }, remove: [x-secret] }, \
           cookies: { remove: [tracking] }, \
           body: { edit: { remove: [internal], rename: { user.fullName: name }, \
                           set: { meta.from: '{client.address}', count: 2 } } } } } }"],
        "",
    );
    let body = r#"{"user":{"fullName":"A"},"internal":1}"#;
    let head = format!(
        "POST /orders?q=x%26y&z=1 HTTP/1.1\r\nHost: a\r\nX-Old: 1\r\nX-Secret: 2\r\n\
         Cookie: a=1; tracking=2; tracking =3\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(client::ask(rig.transom.web(), head).status, 200);
    let seen = rig.endpoint.request();
    assert_eq!((&*seen.method, &*seen.target), ("PUT", "/v2/orders?search=x%26y&z=1&by=a%20b%26c"));
    assert_eq!(
        (seen.field("x-new"), seen.field("x-old"), seen.field("x-secret")),
        (Some("1"), None, None)
    );
    assert_eq!(seen.field("cookie"), Some("a=1"));
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        sent,
        json!({ "user": { "name": "A" }, "meta": { "from": "127.0.0.1" }, "count": 2 })
    );
    assert_eq!(seen.field("content-length"), Some(seen.body.len().to_string().as_str()));
}

#[test]
fn g_06_a_response_is_changed_and_what_spoke_of_its_body_with_it() {
    let body = r#"{"items":[{"name":"b","cost":1},{"name":"a","cost":2}],"internal":true}"#;
    let endpoint = Endpoint::answering(answer("application/json", body));
    let rig = Rig::over(
        endpoint,
        &["shape: { transform: { response: { body: { edit: { remove: [internal, items.*.cost] }, \
           jq: '.items |= sort_by(.name)' } } } }"],
        "",
    );
    let response = rig.get("/", &["Accept-Encoding: gzip"]);
    assert_eq!(response.text(), r#"{"items":[{"name":"a"},{"name":"b"}]}"#);
    assert_eq!(response.field("etag"), None);
    assert_eq!(response.field("content-length"), Some(response.body.len().to_string().as_str()));
    assert_eq!(rig.endpoint.request().field("accept-encoding"), None);
    let mut client = Http2::connect(rig.transom.web());
    assert_eq!(client.get("/").text(), r#"{"items":[{"name":"a"},{"name":"b"}]}"#);
    let head = rig.ask("HEAD /", &[]);
    assert_eq!((head.status, head.field("etag")), (200, None));
}

#[test]
fn gw_22_forms_xml_and_json_become_each_other() {
    let endpoint = Endpoint::new(|request, line| {
        let body = json!({ "method": request.method }).to_string();
        line.send(answer("application/json", &body));
    });
    let rig = Rig::over(
        endpoint,
        &[
            "shape: { transform: { request: { body: { to: json } }, response: { body: { to: xml } } } }",
        ],
        "",
    );
    for (media, body, expected) in [
        (
            "application/x-www-form-urlencoded",
            "a=1&a=2&b=x+y",
            json!({ "a": ["1", "2"], "b": "x y" }),
        ),
        (
            "application/xml",
            "<o><i n='1'>x</i></o>",
            json!({ "o": { "i": { "@n": "1", "#text": "x" } } }),
        ),
    ] {
        let response = send(&rig, "POST /", media, body);
        assert_eq!(response.field("content-type"), Some("application/xml"));
        assert!(response.text().contains("<method>POST</method>"), "{}", response.text());
        let seen = rig.endpoint.requests().pop().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), expected);
        assert_eq!(seen.field("content-type"), Some("application/json"));
    }
    let bomb = "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>";
    assert_eq!(send(&rig, "POST /", "application/xml", bomb).status, 400);
    // what would be read otherwise than it is meant
    for (media, body, status) in [
        ("application/xml; charset=iso-8859-1", "<a>b</a>", 200),
        ("application/xml; charset=iso-8859-1", "<a>\u{e4}</a>", 400),
        ("application/xml; charset=utf-7", "<a>b</a>", 400),
        ("application/xml", "<?xml version='1.0' encoding='utf-7'?><a>b</a>", 400),
    ] {
        assert_eq!(send(&rig, "POST /", media, body).status, status, "{media}: {body}");
    }
}

#[test]
fn gw_22_no_body_makes_a_program_end_the_process_or_outlive_its_request() {
    let endpoint = || Endpoint::new(|_, line| line.send(answer("text/plain", "ok")));
    let program = |name: &str, timeout: &str, jq: &str| {
        format!(
            "{name}: {{ transform: {{ timeout: {timeout}, request: {{ body: {{ jq: '{jq}' }} }} }} }}"
        )
    };
    let deep = program("deep", "9s", "reduce .[] as $x (null; [.])");
    let rig = Rig::over(endpoint(), &[&deep], "");
    let many = format!("[{}1]", "1,".repeat(500_000));
    let few = "[1,1]";
    for (body, status) in [(few, 200), (&many, 400), (few, 200)] {
        let response = send(&rig, "POST /", "application/json", body);
        assert_eq!(response.status, status, "{}", response.text());
    }
    let join = program("join", "100ms", "[.[] as $x | .[] as $y | [$x, $y]] | length");
    let rig = Rig::over(endpoint(), &[&join], "");
    // more of them than there are threads for such work
    for body in [&many, &many, &many, few] {
        let status = send(&rig, "POST /", "application/json", body).status;
        assert_eq!(status, if body == few { 200 } else { 503 });
    }
}

#[test]
fn gw_22_what_cannot_be_changed_is_refused_or_passes_untouched() {
    let rig = Rig::with(
        &[
            "shape: { transform: { max-body: 20B, request: { body: { edit: { set: { a: 1 } } } } } }",
        ],
        "",
    );
    for (media, body, status) in [
        ("application/json", "{}", 200),
        ("application/json", "{", 400),
        ("application/json", r#"{"a":"0123456789012345"}"#, 413),
        ("image/png", "not JSON at all, and far longer than 20 bytes", 200),
    ] {
        let response = send(&rig, "POST /", media, body);
        assert_eq!(response.status, status, "{body}: {}", response.text());
    }
    let compressed =
        answer("application/json", "x").replace("ETag: \"1\"", "Content-Encoding: gzip");
    let rig = Rig::over(
        Endpoint::answering(compressed),
        &["shape: { transform: { response: { body: { edit: { set: { a: 1 } } } } } }"],
        "",
    );
    assert_eq!(rig.get("/", &[]).status, 502);
}

const ORDERS: &str = r#"
openapi: 3.1.0
info: { title: Orders, version: "1" }
paths:
  /orders/{id}:
    get:
      parameters:
        - { name: id, in: path, required: true, schema: { type: integer } }
        - { name: limit, in: query, schema: { type: integer, maximum: 10 } }
      responses:
        "200":
          description: ok
          content: { application/json: { schema: { type: object, required: [ id ] }, example: { id: 7 } } }
        "404": { description: no, content: { application/json: { example: { error: none } } } }
  /orders:
    post:
      requestBody:
        required: true
        content:
          application/json:
            schema: { type: object, required: [item], properties: { count: { type: integer, minimum: 1 } } }
      responses: { default: { description: any } }
"#;

fn described(policy: &str, endpoint: Endpoint) -> (Transom, Endpoint) {
    let policy = policy.replace("FILE", "orders.yaml");
    let config = format!(
        "listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [{policy}], forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("orders.yaml"), ORDERS).unwrap();
    });
    (transom, endpoint)
}

#[test]
fn gw_31_requests_are_held_against_the_document_and_answers_point_at_the_field() {
    let (transom, endpoint) =
        described("{ validate: { openapi: FILE, base: /api } }", Endpoint::echo());
    let ask = |start: &str, body: &str| {
        let media = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        client::ask(
            transom.web(),
            format!(
                "{start} HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n{media}\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    };
    assert_eq!(ask("GET /api/orders/7?limit=3", "").status, 200);
    assert_eq!(ask("POST /api/orders", r#"{"item":"tea","count":1}"#).status, 200);
    assert_eq!(endpoint.requests().len(), 2);
    for (start, body, status, errors) in [
        ("GET /api/orders/x?limit=11", "", 422, json!([["path", "id"], ["query", "limit"]])),
        ("POST /api/orders", r#"{"count":0}"#, 422, json!(["#/count", "#"])),
        ("POST /api/orders", "{", 422, json!(["#"])),
        // servers take the first or the last of two
        ("POST /api/orders", r#"{"count":0,"item":"tea","count":1}"#, 422, json!(["#"])),
        ("POST /api/orders", "", 422, json!(["#"])),
        ("GET /api/other", "", 404, Value::Null),
        ("GET /other", "", 404, Value::Null),
        ("PUT /api/orders", "", 405, Value::Null),
    ] {
        let response = ask(start, body);
        assert_eq!(response.status, status, "{start} {body}: {}", response.text());
        let problem: Value = serde_json::from_slice(&response.body).unwrap();
        let mut places: Vec<Value> = problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| match error.get("pointer") {
                Some(pointer) => pointer.clone(),
                None => json!([error["in"], error["parameter"]]),
            })
            .collect();
        let mut expected: Vec<Value> = errors.as_array().cloned().unwrap_or_default();
        places.sort_by_key(Value::to_string);
        expected.sort_by_key(Value::to_string);
        assert_eq!(places, expected, "{start}: {problem}");
    }
    assert_eq!(endpoint.requests().len(), 2, "nothing that does not fit was sent on");
    let mut client = Http2::connect(transom.web());
    assert_eq!(client.ask(http2::request("GET", "/api/orders/x", &[]), b"").status, 422);
}

#[test]
fn gw_32_responses_are_held_against_the_document_too() {
    let wrong = || Endpoint::answering(answer("application/json", "{}"));
    let (transom, _endpoint) =
        described("{ validate: { openapi: FILE, responses: { mode: refuse } } }", wrong());
    assert_eq!(client::ask(transom.web(), "GET /orders/7 HTTP/1.1\r\nHost: a\r\n\r\n").status, 502);
    let (transom, _endpoint) =
        described("{ validate: { openapi: FILE, responses: { mode: report } } }", wrong());
    let response = client::ask(transom.web(), "GET /orders/7 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (200, "{}"));
}

#[test]
fn gw_33_a_mock_answers_with_the_examples_of_the_document() {
    let (transom, endpoint) = described("{ mock: { openapi: FILE } }", Endpoint::echo());
    let ask = |prefer: &str| {
        client::ask(transom.web(), format!("GET /orders/7 HTTP/1.1\r\nHost: a\r\n{prefer}\r\n"))
    };
    let first = ask("");
    assert_eq!((first.status, first.text().as_str()), (200, r#"{"id":7}"#));
    let other = ask("Prefer: code=404\r\n");
    assert_eq!((other.status, other.text().as_str()), (404, r#"{"error":"none"}"#));
    assert!(endpoint.requests().is_empty());
}
