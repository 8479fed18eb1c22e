use transom_proxy::fault::{Place, Violation};
use transom_settings::json::{Value as Json, json};

use super::*;

const SHOP: &str = r##"
openapi: 3.0.3
info: { title: Shop, version: "1.2" }
servers: [{ url: "https://shop.example/api/" }]
paths:
  /orders:
    parameters:
      - { name: X-Tenant, in: header, required: true, schema: { type: string, pattern: "^[a-z]+$" } }
    get:
      parameters:
        - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 100 } }
        - { name: tag, in: query, schema: { type: array, items: { type: string, maxLength: 3 } } }
        - { name: ids, in: query, explode: false, schema: { type: array, items: { type: integer } } }
      responses: { "200": { description: ok } }
    post:
      requestBody:
        required: true
        content:
          application/json: { schema: { $ref: "#/components/schemas/Order" } }
      responses:
        "201":
          description: made
          content: { application/json: { schema: { $ref: "#/components/schemas/Order" } } }
        default: { description: else }
  /orders/{id}:
    get:
      parameters: [{ name: id, in: path, required: true, schema: { type: integer } }]
      responses: { 2XX: { description: ok, content: { application/json: { example: { id: 7 } } } } }
  /orders/latest:
    get: { responses: { "200": { description: ok } } }
components:
  schemas:
    Order:
      type: object
      required: [item]
      additionalProperties: false
      properties:
        item: { type: string, example: tea }
        count: { type: integer, minimum: 0, exclusiveMinimum: true }
        note: { type: string, nullable: true }
        parent: { $ref: "#/components/schemas/Order" }
"##;

fn shop() -> Document {
    Document::read(SHOP.as_bytes()).unwrap()
}

fn operation<'d>(document: &'d Document, method: &str, path: &str) -> &'d Operation {
    match document.find(method, path) {
        Found::Operation(operation, _) => operation,
        _ => panic!("{method} {path} is not found"),
    }
}

#[test]
fn gw_31_operations_are_found_as_they_are_described() {
    let document = shop();
    assert_eq!((&*document.title, &*document.version, &*document.base), ("Shop", "1.2", "/api"));
    assert_eq!(operation(&document, "GET", "/orders/latest").path, "/orders/latest");
    assert_eq!(operation(&document, "HEAD", "/orders").method, "GET");
    match document.find("GET", "/orders/a%20b") {
        Found::Operation(operation, values) => {
            assert_eq!(operation.path, "/orders/{id}");
            assert_eq!(values, [("id", "a b".to_owned())]);
        }
        _ => panic!(),
    }
    assert!(matches!(document.find("PUT", "/orders"), Found::Methods(m) if m == ["GET", "POST"]));
    for nowhere in ["/", "/orders/", "/orders/1/x", "/other"] {
        assert!(matches!(document.find("GET", nowhere), Found::Nothing), "{nowhere}");
    }
    assert_eq!(Document::below("/api", "/api/orders"), Some("/orders"));
    assert_eq!(Document::below("/api", "/apis"), None);
    assert_eq!(Document::below("", "/x"), Some("/x"));
}

#[test]
fn gw_31_parameters_are_read_as_their_schema_asks() {
    let document = shop();
    let get = operation(&document, "GET", "/orders");
    for (name, sent, fits) in [
        ("limit", &["10"][..], true),
        ("limit", &[], true),
        ("limit", &["0"], false),
        ("limit", &["ten"], false),
        ("limit", &["1", "2"], false),
        ("limit", &["+1"], false),
        ("tag", &["abc", "d"], true),
        ("tag", &["abcd"], false),
        ("ids", &["1,2,3"], true),
        ("ids", &["1,x"], false),
        ("X-Tenant", &["acme"], true),
        ("X-Tenant", &["A"], false),
        ("X-Tenant", &[], false),
    ] {
        let parameter = get.parameters.iter().find(|one| one.name == name).unwrap();
        let sent: Vec<String> = sent.iter().map(|text| (*text).to_owned()).collect();
        let found = parameter.violations(&sent);
        assert_eq!(found.is_empty(), fits, "{name} {sent:?}: {found:?}");
    }
}

#[test]
fn gw_31_what_does_not_fit_is_pointed_at_and_not_repeated() {
    let document = shop();
    let content = operation(&document, "POST", "/orders").body.as_ref().unwrap();
    let schema = content.media("application/json").unwrap().schema.as_ref().unwrap();
    let pointers = |value: Json| -> Vec<String> {
        let found = schema.violations(&value, 10);
        let pointer = |violation: &Violation| match &violation.place {
            Place::Pointer(pointer) => pointer.clone(),
            Place::Parameter(..) => panic!(),
        };
        assert!(found.iter().all(|v| !v.detail.contains("secret")), "{found:?}");
        found.iter().map(pointer).collect()
    };
    for (value, expected) in [
        (json!({ "item": "tea", "count": 1, "note": null }), vec![]),
        (json!({ "item": 7 }), vec!["/item"]),
        (json!({ "item": "tea", "count": 0 }), vec!["/count"]),
        (
            json!({ "item": "tea", "parent": { "item": "a", "count": "secret" } }),
            vec!["/parent/count"],
        ),
        (json!({}), vec![""]),
        (json!({ "item": "tea", "more": 1 }), vec![""]),
        (json!([]), vec![""]),
    ] {
        assert_eq!(pointers(value.clone()), expected, "{value}");
    }
    assert_eq!(content.media("application/json").unwrap().examples[0].1["item"], "tea");
}

#[test]
fn gw_31_documents_that_cannot_be_used_say_why() {
    for (text, why) in [
        ("swagger: '2.0'", "Swagger 2.0"),
        ("openapi: 4.0.0", "it has no `openapi: 3.0.x`"),
        ("{", "it is no JSON"),
        ("a: [", "line 2"),
        (
            "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"get\":{\"parameters\":[{\"name\":\"x\",\"in\":\"query\",\"schema\":{\"$ref\":\"http://evil.example/s.json\"}}]}}}}",
            "nothing is fetched",
        ),
        (
            "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"get\":{\"requestBody\":{\"content\":{\"application/json\":{\"schema\":{\"type\":\"strin\"}}}}}}}}",
            "`get /a`",
        ),
        ("{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"$ref\":\"#/paths/~1a\"}}}", "circle"),
    ] {
        let found = Document::read(text.as_bytes()).unwrap_err();
        assert!(found.contains(why), "{text}: {found}");
    }
}
