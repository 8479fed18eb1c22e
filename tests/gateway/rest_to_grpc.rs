//! The policy `grpc-json`: clients that know HTTP and JSON call gRPC services.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use transom_gateway::grpc::frame::framed;
use transom_gateway::grpc::proto::compiled;
use transom_testkit::{
    H2Endpoint, H2Exchange, Http2, Manners, Response, Transom, client, http2, until,
};

use super::rig::{TRANSOM, check};

const PROTO: &str = r#"
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

// Every method answers with what it is asked with, unless its name says otherwise.
service Inventory {
    rpc Get(All) returns (All) {
        option (google.api.http) = {
            get: "/v1/{name=shelves/*/items/*}"
            additional_bindings { get: "/v1/items/{id}" }
            additional_bindings { get: "/v1/by-city/{inner.city}" }
            additional_bindings { get: "/v1/rest/{name=**}" }
        };
    }
    rpc Create(All) returns (All) { option (google.api.http) = { post: "/v1/items" body: "*" }; }
    rpc Replace(All) returns (All) {
        option (google.api.http) = { put: "/v1/items/{id}" body: "inner" response_body: "inner" };
    }
    rpc Numbers(All) returns (All) {
        option (google.api.http) = { post: "/v1/numbers" body: "numbers" response_body: "numbers" };
    }
    rpc Restore(All) returns (All) {
        option (google.api.http) = { post: "/v1/items/{id}:restore" body: "*" };
    }
    rpc Lock(All) returns (All) {
        option (google.api.http) = { custom { kind: "LOCK" path: "/v1/items/{id}" } };
    }
    rpc Upload(google.api.HttpBody) returns (google.api.HttpBody) {
        option (google.api.http) = { post: "/v1/files" body: "*" };
    }
    rpc Watch(All) returns (stream All) { option (google.api.http) = { get: "/v1/watch" }; }
    rpc WatchAndFail(All) returns (stream All) { option (google.api.http) = { get: "/v1/watch/fail" }; }
    rpc Collect(stream All) returns (All) {}
    rpc FailEarly(All) returns (All) { option (google.api.http) = { get: "/v1/fail/early" }; }
    rpc FailLate(All) returns (All) { option (google.api.http) = { get: "/v1/fail/late" }; }
    rpc NoGrpc(All) returns (All) {}
    rpc NoStatus(All) returns (All) {}
    rpc TooLong(All) returns (All) {}
    rpc Compressed(All) returns (All) {}
    rpc Cut(All) returns (All) {}
    rpc NoMessage(All) returns (All) {}
    rpc Silent(All) returns (All) {}
}

message All {
    string name = 1;
    int64 id = 2;
    repeated int32 numbers = 3;
    Inner inner = 4;
    Kind kind = 5;
    bytes data = 6;
    oneof choice { string text_choice = 7; int32 number_choice = 8; }
    map<string, int32> labels = 9;
    google.protobuf.Timestamp at = 10;
    google.protobuf.Duration after = 11;
    google.protobuf.Int64Value maybe = 12;
    google.protobuf.FieldMask mask = 13;
    google.protobuf.Struct free = 14;
    bool flag = 15;
    double amount = 16;
    All deeper = 17;
    repeated Inner inners = 18;
}
message Inner { string city = 1; int32 zip_code = 2; }
enum Kind { KIND_UNSPECIFIED = 0; LARGE = 1; SMALL = 2; }
"#;

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const OK: (&str, &str) = ("grpc-status", "0");

/// A server that answers as the names of its methods say.
fn service() -> H2Endpoint {
    H2Endpoint::new(Manners::default(), answer)
}

async fn answer(mut exchange: H2Exchange) {
    let target = exchange.received.target.clone();
    if target.ends_with("/ServerReflectionInfo") {
        return reflect(exchange).await;
    }
    exchange.read().await;
    let body = Bytes::from(exchange.received.body.clone());
    // google.rpc.Status { code: 5, message, details: [BadRequest { field_violations { field: "id" } }] }
    let details = "CAUSDG5vIHN1Y2ggaXRlbRo2Cil0eXBlLmdvb2dsZWFwaXMuY29tL2dvb2dsZS5ycGMuQmFkUmVxdWVzdBIJCgcKAmlkEgFo";
    let failing = [
        ("grpc-status", "5"),
        ("grpc-message", "no such%20item"),
        ("grpc-status-details-bin", details),
    ];
    match target.rsplit('/').next().unwrap_or_default() {
        "FailEarly" => {
            let head = [&[GRPC, ("x-early", "1")][..], &failing].concat();
            drop(exchange.head(200, &head, true));
        }
        "FailLate" => exchange.head(200, &[GRPC], false).trailers(&failing),
        "Watch" => {
            let mut sending = exchange.head(200, &[GRPC], false);
            for _ in 0..3 {
                sending.send(body.clone()).await;
            }
            sending.trailers(&[OK]);
        }
        "WatchAndFail" => {
            let mut sending = exchange.head(200, &[GRPC], false);
            sending.send(body).await;
            sending.trailers(&failing);
        }
        "NoGrpc" => exchange.answer(404, &[("content-type", "text/html")], "<html>").await,
        "NoStatus" => {
            let mut sending = exchange.head(200, &[GRPC], false);
            sending.send(body).await;
            sending.end();
        }
        "NoMessage" => exchange.head(200, &[GRPC], false).trailers(&[OK]),
        "Silent" => drop(exchange.until_reset().await),
        name => {
            let body = match name {
                "TooLong" => Bytes::from_static(&[0, 255, 255, 255, 255, 1]),
                "Compressed" => Bytes::from_static(&[1, 0, 0, 0, 1, 1]),
                "Cut" => Bytes::from_static(&[0, 0, 0, 0, 9, 1]),
                _ => body,
            };
            let mut sending = exchange.head(200, &[GRPC, ("x-meta", "data")], false);
            sending.send(body).await;
            sending.trailers(&[OK, ("x-after", "trailer")]);
        }
    }
}

/// Answers as a server that offers reflection as v1alpha only: everything at once.
async fn reflect(mut exchange: H2Exchange) {
    if exchange.received.target.contains(".v1.") {
        drop(exchange.head(200, &[GRPC, ("grpc-status", "12")], true));
        return;
    }
    exchange.read().await;
    let field = |tag: u8, bytes: &[u8]| {
        let mut out = vec![tag << 3 | 2];
        let mut length = bytes.len();
        while length > 127 {
            out.push(length as u8 | 128);
            length >>= 7;
        }
        out.push(length as u8);
        [out, bytes.to_vec()].concat()
    };
    // a question for the list has field 7, one for a symbol field 4, one for a file field 3
    let answer = match exchange.received.body[5] >> 3 {
        7 => field(6, &field(1, &field(1, b"shop.v1.Inventory"))),
        asked => {
            let pool = compiled(&[("shop.proto".to_owned(), PROTO.to_owned())]).unwrap();
            // what is imported has to be asked for
            let wanted = pool.files().filter(|file| (file.name() == "shop.proto") == (asked == 4));
            let files: Vec<u8> = wanted.flat_map(|file| field(1, &file.encode_to_vec())).collect();
            field(4, &files)
        }
    };
    let questions =
        exchange.received.body.windows(5).filter(|w| w[..4] == [0, 0, 0, 0]).count().max(1);
    let mut sending = exchange.head(200, &[GRPC], false);
    for number in 0..questions {
        // the rest of the questions get an answer without files
        let answer = if number == 0 { answer.clone() } else { field(4, b"") };
        sending.send(framed(&answer)).await;
    }
    sending.trailers(&[OK]);
}

struct Rig {
    transom: Transom,
    endpoint: H2Endpoint,
}

impl Rig {
    #[track_caller]
    fn with(policy: &str, more: &str) -> Self {
        Self::over(service(), policy, more)
    }

    #[track_caller]
    fn over(endpoint: H2Endpoint, policy: &str, more: &str) -> Self {
        let config = format!(
            "workers: 2\n\
             listeners:\n  \
               web:\n    \
                 address: '@WEB'\n    \
                 encoded-slashes: keep\n    \
                 routes: [{{ policies: [rest], forward: o, {more} }}]\n\
             pools:\n  \
               o: {{ endpoints: '{}', http: 2 }}\n\
             policies:\n  \
               rest: {{ grpc-json: {{ {policy} }} }}\n",
            endpoint.address,
        );
        let transom = Transom::run_with(TRANSOM, &config, |folder| {
            std::fs::write(folder.join("shop.proto"), PROTO).unwrap();
            let pool = compiled(&[("shop.proto".to_owned(), PROTO.to_owned())]).unwrap();
            std::fs::write(folder.join("shop.pb"), pool.encode_to_vec()).unwrap();
        });
        Rig { transom, endpoint }
    }

    #[track_caller]
    fn ask(&self, start: &str, lines: &[&str], body: &str) -> Response {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let text =
            format!("{start} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{lines}\r\n{body}");
        client::ask(self.transom.web(), text)
    }
}

#[track_caller]
fn parsed(response: &Response) -> Value {
    let text = response.text();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {} {text}", response.status))
}

/// What is asked, and what the method gets and gives back, in canonical JSON.
#[test]
fn gw_23_requests_become_messages_and_messages_json() {
    let rig = Rig::with("proto: shop.proto", "");
    let method = |name: &str| format!("/shop.v1.Inventory/{name}");
    for (start, body, name, expected) in [
        ("GET /v1/shelves/3/items/7", "", "Get", json!({ "name": "shelves/3/items/7" })),
        ("GET /v1/items/9007199254740993", "", "Get", json!({ "id": "9007199254740993" })),
        (
            "GET /v1/by-city/Wien%20S%C3%BCd?inner.zip_code=1100",
            "",
            "Get",
            json!({ "inner": { "city": "Wien Süd", "zipCode": 1100 } }),
        ),
        ("GET /v1/by-city/a%2Fb", "", "Get", json!({ "inner": { "city": "a/b" } })),
        ("GET /v1/rest/a%2Fb/c", "", "Get", json!({ "name": "a%2Fb/c" })),
        (
            "GET /v1/items/1?numbers=1&numbers=2&kind=LARGE&flag=true&data=AQI=&textChoice=a+b%26c&amount=1.5",
            "",
            "Get",
            json!({ "id": "1", "numbers": [1, 2], "kind": "LARGE", "flag": true, "data": "AQI=", "textChoice": "a b&c", "amount": 1.5 }),
        ),
        (
            "GET /v1/items/1?at=2026-01-02T03:04:05Z&after=1.5s&maybe=7&mask=id,inner.zipCode&kind=2&deeper.deeper.name=x",
            "",
            "Get",
            json!({
                "id": "1", "at": "2026-01-02T03:04:05Z", "after": "1.500s", "maybe": "7",
                "mask": "id,inner.zipCode", "kind": "SMALL", "deeper": { "deeper": { "name": "x" } },
            }),
        ),
        ("HEAD /v1/items/1", "", "Get", json!(null)),
        (
            "POST /v1/items",
            r#"{"id": "5", "inner": {"zip_code": 3}, "labels": {"a": 1}, "free": {"x": [1, null]}, "numberChoice": 0}"#,
            "Create",
            json!({ "id": "5", "inner": { "zipCode": 3 }, "labels": { "a": 1 }, "free": { "x": [1.0, null] }, "numberChoice": 0 }),
        ),
        ("POST /v1/items", "", "Create", json!({})),
        ("PUT /v1/items/7?name=n", r#"{"city": "x"}"#, "Replace", json!({ "city": "x" })),
        ("POST /v1/numbers", "[3, 2, 1]", "Numbers", json!([3, 2, 1])),
        ("POST /v1/numbers", "", "Numbers", json!([])),
        (
            "POST /v1/items/7:restore",
            r#"{"id": "8", "name": "n"}"#,
            "Restore",
            json!({ "id": "7", "name": "n" }),
        ),
        ("LOCK /v1/items/7", "", "Lock", json!({ "id": "7" })),
        ("POST /shop.v1.Inventory/Lock", r#"{"flag": true}"#, "Lock", json!({ "flag": true })),
        ("POST /shop.v1.Inventory/Collect", r#"[{"id": 1}]"#, "Collect", json!({ "id": "1" })),
    ] {
        let before = rig.endpoint.requests().len();
        let response = match start.strip_prefix("HEAD ") {
            None => rig.ask(start, &[], body),
            Some(target) => {
                let mut client = client::Client::connect(rig.transom.web());
                client.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
                client.response_to("HEAD")
            }
        };
        assert_eq!(response.status, 200, "{start}: {}", response.text());
        assert_eq!(response.field("content-type"), Some("application/json"), "{start}");
        if !expected.is_null() {
            assert_eq!(parsed(&response), expected, "{start}");
        }
        let asked = rig.endpoint.requests()[before].clone();
        assert_eq!((&*asked.method, &*asked.target), ("POST", &*method(name)), "{start}");
        assert_eq!(asked.field("content-type"), Some("application/grpc"));
        assert_eq!(asked.field("te"), Some("trailers"));
        assert_eq!(response.field("x-meta"), Some("data"), "metadata passes");
        assert_eq!(response.field("x-after"), Some("trailer"));
        assert_eq!(response.field("grpc-status"), None);
    }
}

/// G-04: unknown fields, what has the wrong type, and what stands twice.
#[test]
fn g_04_sl_16_what_is_no_such_message_is_refused_with_its_field() {
    let rig = Rig::with("proto: shop.proto", "");
    let mut said = Vec::new();
    for (start, body, field, detail) in [
        ("GET /v1/items/x", "", Some("id"), "no whole number"),
        ("GET /v1/items/99999999999999999999", "", None, ""),
        ("GET /v1/items/1?nothing=1", "", Some("nothing"), "has no field `nothing`"),
        ("GET /v1/items/1?inner=1", "", Some("inner"), "it is a message"),
        ("GET /v1/items/1?labels=1", "", Some("labels"), "a map"),
        ("GET /v1/items/1?labels.a=1", "", Some("labels.a"), "no fields of its own"),
        ("GET /v1/items/1?flag=yes", "", Some("flag"), "neither"),
        ("GET /v1/items/1?flag=true&flag=false", "", Some("flag"), "given twice"),
        ("GET /v1/items/1?id=2", "", Some("id"), "in the path already"),
        ("GET /v1/items/1?kind=HUGE", "", Some("kind"), "no value of"),
        ("GET /v1/items/1?text_choice=a&number_choice=1", "", None, ""),
        ("POST /v1/items", "{", None, "the body"),
        ("POST /v1/items", "[]", None, "the body"),
        ("POST /v1/items", r#"{"nothing": 1}"#, None, "nothing"),
        ("POST /v1/items", r#"{"kind": "HUGE"}"#, None, ""),
        (
            "PUT /v1/items/1?inner.city=a",
            r#"{"city": "b"}"#,
            Some("inner.city"),
            "in the body already",
        ),
        ("PUT /v1/items/1", r#"{"nothing": "b"}"#, None, "nothing"),
        ("POST /v1/items", r#"{"name": "a", "name": "b"}"#, None, "stands twice"),
        ("PUT /v1/items/1", r#"{"city": "a", "\u0063ity": "b"}"#, None, "stands twice"),
    ] {
        let response = rig.ask(start, &[], body);
        assert_eq!(response.status, 400, "{start} {body}: {}", response.text());
        assert_eq!(response.field("content-type"), Some("application/problem+json"));
        let problem = parsed(&response);
        assert_eq!(problem["field"].as_str(), field, "{start} {body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{start} {body}: {problem}");
        assert_eq!(problem["code"], "bad-request");
        said.push((problem["request_id"].clone(), problem["detail"].clone()));
    }
    assert_eq!(rig.endpoint.requests().len(), 0, "none of them went on");
    let lines = rig.transom.lines_when(said.len());
    for (id, detail) in said {
        let line = lines.iter().find(|line| line["id"] == id).expect("it is in the log");
        assert_eq!(line["detail"], detail, "the log says it in the same words");
    }
    let deep = format!("{}1{}", r#"{"deeper":"#.repeat(5000), "}".repeat(5000));
    assert_eq!(rig.ask("POST /v1/items", &[], &deep).status, 400);
    let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(5 << 20));
    assert_eq!(rig.ask("POST /v1/items", &[], &long).status, 413);
    for (start, status) in [
        ("GET /v2/items", 404),
        ("GET /", 404),
        ("DELETE /v1/items/1", 405),
        ("GET /shop.v1.Inventory/Get", 405),
        ("POST /shop.v1.Inventory/Nothing", 404),
    ] {
        let response = rig.ask(start, &[], "");
        assert_eq!(response.status, status, "{start}");
    }
    let allow = rig.ask("DELETE /v1/items/1", &[], "");
    assert_eq!(allow.field("allow"), Some("GET, PUT, LOCK"));
}

#[test]
fn g_04_what_is_unknown_may_be_left_out_and_json_may_have_other_forms() {
    let rig = Rig::with(
        "descriptors: shop.pb, unknown-query: ignore, unknown-fields: ignore, defaults: true, \
         enum-numbers: true, proto-names: true, prefix: /api, methods: false, errors: google",
        "",
    );
    let response =
        rig.ask("POST /api/v1/items", &[], r#"{"nothing": 1, "inner": {"zipCode": 2}, "kind": 2}"#);
    let found = parsed(&response);
    assert_eq!(found["inner"], json!({ "city": "", "zip_code": 2 }));
    assert_eq!(
        (&found["kind"], &found["flag"], &found["numbers"]),
        (&json!(2), &json!(false), &json!([]))
    );
    assert_eq!(parsed(&rig.ask("GET /api/v1/items/4?x=1", &[], ""))["id"], "4");
    assert_eq!(rig.ask("GET /v1/items/4", &[], "").status, 404);
    assert_eq!(rig.ask("POST /api/shop.v1.Inventory/Lock", &[], "").status, 404);
    let failed = parsed(&rig.ask("GET /api/v1/fail/early", &[], ""));
    assert_eq!((&failed["code"], &failed["message"]), (&json!(5), &json!("no such item")));
    let bad = parsed(&rig.ask("GET /api/v1/items/x", &[], ""));
    assert_eq!(
        (&bad["code"], &bad["details"][0]["fieldViolations"][0]["field"]),
        (&json!(3), &json!("id"))
    );
}

#[test]
fn gw_23_errors_come_with_their_details_and_the_status_that_http_has_for_them() {
    let rig = Rig::with("proto: shop.proto, metadata: [x-trace]", "");
    for path in ["/v1/fail/early", "/v1/fail/late"] {
        let response = rig.ask(&format!("GET {path}"), &["Accept: application/json"], "");
        assert_eq!(response.status, 404, "{}", response.text());
        let problem = parsed(&response);
        assert_eq!(problem["detail"], "no such item");
        assert_eq!((&problem["code"], &problem["grpc_code"]), (&json!("NOT_FOUND"), &json!(5)));
        let expected = json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": "id", "description": "h" }],
        }]);
        assert_eq!(problem["details"], expected, "{problem}");
    }
    // G-01, G-03: what the endpoint does wrong
    for (method, status) in [
        ("NoGrpc", 501),
        ("NoStatus", 502),
        ("TooLong", 502),
        ("Compressed", 502),
        ("Cut", 502),
        ("NoMessage", 502),
    ] {
        let response = rig.ask(&format!("POST /shop.v1.Inventory/{method}"), &[], "");
        assert_eq!(response.status, status, "{method}: {}", response.text());
    }
    let lines = ["Grpc-Metadata-X-Trace: t1", "Grpc-Metadata-X-Other: no", "Grpc-Timeout: 1S"];
    assert_eq!(rig.ask("GET /v1/items/1", &lines, "").status, 200);
    let asked = rig.endpoint.requests().pop().unwrap();
    assert_eq!(asked.field("x-trace"), Some("t1"));
    for gone in ["x-other", "grpc-metadata-x-trace", "grpc-timeout"] {
        assert_eq!(asked.field(gone), None, "{gone}");
    }
}

#[test]
fn p_15_no_metadata_of_clients_says_who_they_are() {
    let said = |metadata: &str, policies: &str| {
        let config = format!(
            "listeners:\n  web: {{ address: 127.0.0.1:0, routes: [{{ policies: [{policies} {{ grpc-json: \
               {{ proto: shop.proto, metadata: [x-trace, {metadata}] }} }}], forward: 127.0.0.1:1 }}] }}\n"
        );
        check(&config, |folder| std::fs::write(folder.join("shop.proto"), PROTO).unwrap())
    };
    let told = "{ identity-headers: { fields: { X-User: name } } },";
    let found = "{ api-key: {} },";
    for (metadata, policies, refused) in [
        ("X-User", "", false),
        ("X-User", told, true),
        ("x_user", told, true),
        ("x-users", told, false),
        ("X-Consumer-Name", found, true),
    ] {
        let said = said(metadata, policies);
        let finding = format!("clients could say in `{metadata}` who they are");
        assert_eq!(said.to_lowercase().contains(&finding.to_lowercase()), refused, "{said}");
    }
}

#[test]
fn gw_23_the_time_of_the_route_is_the_deadline_of_the_call() {
    let rig = Rig::with("proto: shop.proto", "timeouts: { request: 1s }");
    let response = rig.ask("POST /shop.v1.Inventory/Silent", &["Accept: application/json"], "");
    assert_eq!(response.status, 504, "{}", response.text());
    let asked = rig.endpoint.requests().pop().unwrap();
    let timeout = asked.field("grpc-timeout").unwrap();
    let (count, unit) = timeout.split_at(timeout.len() - 1);
    assert!(unit == "u" && count.parse::<u32>().unwrap() <= 1_000_000, "{timeout}");
    rig.endpoint.until("the call is given up", |log| !log.resets.is_empty());
}

#[test]
fn gw_23_gw_27_streams_are_a_list_lines_or_events() {
    let rig = Rig::with("proto: shop.proto", "");
    let one = r#"{"id":"7"}"#;
    for (accept, content_type, expected) in [
        ("*/*", "application/json", format!("[{one},{one},{one}]")),
        ("application/x-ndjson", "application/x-ndjson", format!("{one}\n{one}\n{one}\n")),
        (
            "text/event-stream",
            "text/event-stream",
            format!("data: {one}\n\ndata: {one}\n\ndata: {one}\n\n"),
        ),
    ] {
        let response = rig.ask("GET /v1/watch?id=7", &[&format!("Accept: {accept}")], "");
        assert_eq!(response.status, 200);
        assert_eq!(response.field("content-type"), Some(content_type));
        assert_eq!(response.text(), expected);
    }
    // over HTTP/2, and with an end that is an error
    let mut client = Http2::connect(rig.transom.web());
    let response = client.get("/v1/watch?id=7");
    assert_eq!((response.status, response.text()), (200, format!("[{one},{one},{one}]")));
    let ask = |accept| http2::request("GET", "/v1/watch/fail?id=7", &[("accept", accept)]);
    let lines = client.ask(ask("application/x-ndjson"), b"");
    assert_eq!(lines.status, 200);
    let last: Value = serde_json::from_str(lines.text().lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["error"]["code"], &last["error"]["message"]),
        (&json!(5), &json!("no such item"))
    );
    let events = client.ask(ask("text/event-stream"), b"");
    assert!(events.text().contains("\n\nevent: error\ndata: {\"error\":"), "{}", events.text());
    assert!(client.try_ask(ask("*/*"), b"").is_err(), "half a list must not look whole");
}

#[test]
fn gw_23_a_body_of_any_type_passes_as_it_is() {
    let rig = Rig::with("proto: shop.proto", "");
    let response = rig.ask("POST /v1/files", &["Content-Type: text/csv"], "a,b\n1,2\n");
    assert_eq!((response.status, response.text()), (200, "a,b\n1,2\n".to_owned()));
    assert_eq!(response.field("content-type"), Some("text/csv"));
}

#[test]
fn gw_23_calls_in_grpc_itself_pass_untouched() {
    let rig = Rig::with("proto: shop.proto", "");
    let mut client = Http2::connect(rig.transom.web());
    let request = http2::request("POST", "/shop.v1.Inventory/Lock", &[GRPC, ("te", "trailers")]);
    let response = client.ask(request, &framed(b"\x10\x07"));
    assert_eq!((response.status, &response.body[..]), (200, &framed(b"\x10\x07")[..]));
    assert!(response.trailers.contains(&("grpc-status".to_owned(), "0".to_owned())));
}

/// The server is asked what it has, with v1 and then with v1alpha, file by file.
#[test]
fn gw_23_services_are_learned_by_reflection() {
    let endpoint = service();
    let address = endpoint.address;
    let rig = Rig::over(endpoint, "reflection: o, refresh: 1s", "");
    until("the services are known", || {
        let response = rig.ask("GET /v1/items/7", &[], "");
        assert!(matches!(response.status, 200 | 503), "{} {address}", response.text());
        response.status == 200
    });
    assert_eq!(
        parsed(&rig.ask("GET /v1/shelves/1/items/2", &[], "")),
        json!({ "name": "shelves/1/items/2" })
    );
    let asked = || {
        let requests = rig.endpoint.requests();
        requests.iter().filter(|asked| asked.target.ends_with("ServerReflectionInfo")).count()
    };
    let before = asked();
    until("it is asked again", || asked() > before);
    assert_eq!(rig.ask("GET /v1/items/7", &[], "").status, 200);
}

#[test]
fn gw_23_before_a_server_has_said_what_it_has_calls_wait_for_a_better_time() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange: H2Exchange| async move {
        exchange.wait(Duration::from_millis(1)).await;
        drop(exchange.head(
            200,
            &[GRPC, ("grpc-status", "12"), ("grpc-message", "not here")],
            true,
        ));
    });
    let rig = Rig::over(endpoint, "reflection: o", "");
    rig.endpoint.until("it was asked both ways", |log| log.requests.len() >= 2);
    until("why is known", || {
        rig.ask("GET /v1/items/7", &[], "");
        rig.transom.lines().iter().any(|line| {
            line["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("v1alpha: UNIMPLEMENTED: not here"))
        })
    });
    let response = rig.ask("GET /v1/items/7", &[], "");
    assert_eq!(response.status, 503);
}
