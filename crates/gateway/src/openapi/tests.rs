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
fn gw_31_documents_are_json_or_yaml_in_any_style() {
    for text in [
        r#"{ "openapi": "3.1.0", "paths": { "/a": { "get": { "operationId": "a" } } } }"#,
        "openapi: 3.1.0\npaths:\n  /a:\n    get:\n      operationId: a\n",
        "{ openapi: 3.1.0, paths: { /a: { get: { operationId: a } } } }",
        "\n{ 'openapi': \"3.1.0\",\n  paths: { /a: { get: { operationId: a } } } }\n",
        "# by hand\n{ openapi: 3.1.0, paths: { /a: { get: { operationId: a } } } }",
    ] {
        let document =
            Document::read(text.as_bytes()).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(operation(&document, "GET", "/a").id.as_deref(), Some("a"), "{text}");
    }
    for (text, why) in [
        (
            "{ \"openapi\": \"3.1.0\", \"paths\": ",
            "it is no JSON: EOF while parsing a value at line 1",
        ),
        ("{ openapi: 3.1.0,\n  paths: { /a: { get ]", "line 2: "),
        ("{", "it is no JSON: "),
        ("{ \"openapi\": \"3.1.0\",\n \"paths\": }", "it is no JSON: expected value at line 2"),
        ("{}", "it has no `openapi: 3.0.x`"),
    ] {
        let Err(found) = Document::read(text.as_bytes()) else { panic!("{text} was read") };
        assert!(found.starts_with(why), "{text}: {found}");
    }
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
fn gw_31_parts_of_forms_are_read_as_their_schema_asks() {
    let text = "openapi: 3.1.0\npaths:\n  /a:\n    post:\n      requestBody:\n        content:\n          \
        multipart/form-data:\n            encoding: { photo: { contentType: 'image/png, image/*' } }\n            \
        schema:\n              type: object\n              required: [count]\n              \
        additionalProperties: false\n              properties:\n                \
        count: { $ref: '#/components/schemas/Count' }\n                \
        photo: { type: string, format: binary, maxLength: 4 }\n                \
        tag: { type: array, maxItems: 2, items: { type: string } }\n                \
        owner: { type: object, required: [id] }\ncomponents: { schemas: { Count: { type: integer } } }\n";
    let document = Document::read(text.as_bytes()).unwrap();
    let content = operation(&document, "POST", "/a").body.as_ref().unwrap();
    let media = content.media("multipart/form-data").unwrap();
    let (schema, count) = (media.schema.as_ref().unwrap(), ("name=count", "7"));
    let png = "name=photo; filename=a\r\nContent-Type: image/png";
    for (parts, expected) in [
        (&[count][..], &[][..]),
        (&[("name=count", "seven")], &["/count"]),
        (&[], &[""]),
        (&[count, count], &["/count"]),
        (&[count, (png, "\u{0}\u{0}\u{0}a")], &[]),
        (&[count, (png, "12345")], &["/photo"]),
        (&[count, ("name=photo; filename=a", "1234")], &["/photo"]),
        (&[count, ("name=photo; filename=a\r\nContent-Type: text/html", "1")], &["/photo"]),
        (&[count, ("name=tag", "1")], &[]),
        (&[count, ("name=tag", "a"), ("name=tag", "b")], &[]),
        (&[count, ("name=tag", "a"), ("name=tag", "b"), ("name=tag", "c")], &["/tag"]),
        (&[count, ("name=owner", "{\"id\":1}")], &[]),
        (&[count, ("name=owner", "{}")], &["/owner"]),
        (&[count, ("name=owner\r\nContent-Type: application/json", "{")], &["/owner"]),
        (&[count, ("name=more", "1")], &[""]),
    ] {
        let part = |(head, data): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{data}\r\n")
        };
        let body = parts.iter().map(part).collect::<String>() + "--b--\r\n";
        let kind = "multipart/form-data; boundary=b";
        let read = crate::content::multipart::whole(kind, body.as_bytes()).unwrap();
        let mut found = parameters::of_other_types(&read, &media.encoding);
        match parameters::parts(read, &schema.json) {
            Ok(value) => found.extend(schema.violations(&value, 9)),
            Err(violation) => found.push(violation),
        }
        let pointer = |violation: &Violation| match &violation.place {
            Place::Pointer(pointer) => pointer.clone(),
            Place::Parameter(..) => panic!(),
        };
        assert_eq!(found.iter().map(pointer).collect::<Vec<_>>(), expected, "{parts:?}: {found:?}");
    }
}

/// What goes round by way of properties and lists ends with the value; all else would be asked for ever.
#[test]
fn gw_31_schemas_that_go_round_are_told_apart() {
    let read = |schemas: &str| {
        let text = format!(
            "openapi: 3.1.0\npaths:\n  /a:\n    post:\n      requestBody:\n        content:\n          \
             application/json: {{ schema: {{ type: object, properties: {{ x: {{ $ref: '#/components/schemas/A' }} }} }} }}\n\
             components:\n  schemas:\n    {schemas}\n"
        );
        Document::read(text.as_bytes())
    };
    let a = "'#/components/schemas/A'";
    let b = "'#/components/schemas/B'";
    for schemas in [
        format!(
            "A: {{ type: object, properties: {{ next: {{ $ref: {a} }} }}, additionalProperties: false }}"
        ),
        format!("A: {{ type: object, allOf: [{{ properties: {{ next: {{ $ref: {a} }} }} }}] }}"),
        format!(
            "A: {{ anyOf: [{{ type: 'null' }}, {{ type: array, items: {{ $ref: {a} }} }}, {{ $ref: {b} }}] }}\n    \
                 B: {{ type: object, properties: {{ a: {{ $ref: {a} }} }} }}"
        ),
        format!("A: {{ allOf: [{{ $ref: {b} }}, {{ $ref: {b} }}] }}\n    B: {{ type: object }}"),
    ] {
        let document = read(&schemas).unwrap();
        let content = operation(&document, "POST", "/a").body.as_ref().unwrap();
        let schema = content.media("application/json").unwrap().schema.as_ref().unwrap();
        assert!(schema.violations(&json!({ "x": {} }), 9).len() <= 1, "{schemas}");
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "next": inner }));
        schema.violations(&json!({ "x": deep }), 9);
    }
    for schemas in [
        format!("A: {{ $ref: {a} }}"),
        format!("A: {{ allOf: [{{ $ref: {a} }}] }}"),
        format!("A: {{ $ref: {b} }}\n    B: {{ $ref: {a} }}"),
        format!(
            "A: {{ anyOf: [{{ type: string }}, {{ oneOf: [{{ $ref: {b} }}] }}] }}\n    B: {{ not: {{ $ref: {a} }} }}"
        ),
        format!(
            "A: {{ if: {{ $ref: {b} }} }}\n    B: {{ type: object, allOf: [{{ then: {{ $ref: {a} }} }}] }}"
        ),
    ] {
        let found = read(&schemas).unwrap_err();
        assert!(found.contains("comes back to itself") && found.contains("/schemas/"), "{found}");
    }
    for (reference, why) in [
        ("'http://evil.example/s.json'", "http://evil.example"),
        ("'other.yaml#/A'", "other.yaml"),
        ("'#/components/schemas/Z'", "/components/schemas/Z"),
    ] {
        let found =
            read(&format!("A: {{ type: object, properties: {{ y: {{ $ref: {reference} }} }} }}"));
        let found = found.unwrap_err();
        assert!(found.starts_with("`post /a`") && found.contains(why), "{found}");
    }
}

#[test]
fn gw_31_types_are_known_behind_references() {
    let text = "openapi: 3.1.0\npaths:\n  /a:\n    get:\n      parameters:\n        \
                - { name: ids, in: query, schema: { type: array, items: { $ref: '#/components/schemas/a%7Bb%7D' } } }\n\
                components: { schemas: { 'a{b}': { type: integer } } }\n";
    let document = Document::read(text.as_bytes()).unwrap();
    let ids = &operation(&document, "GET", "/a").parameters[0];
    assert!(ids.violations(&["1".to_owned(), "2".to_owned()]).is_empty());
    assert!(!ids.violations(&["x".to_owned()]).is_empty());
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
        (
            "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"$ref\":\"#/paths/~1a\"}}}",
            "comes back to itself",
        ),
        (
            "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"get\":{\"responses\":{\"éx\":{}}}}}}",
            "`éx` is no status",
        ),
        (
            "{\"openapi\":\"3.1.0\",\"paths\":{\"/a\":{\"get\":{\"responses\":{\"9XX\":{}}}}}}",
            "`9XX` is no status",
        ),
    ] {
        let found = Document::read(text.as_bytes()).unwrap_err();
        assert!(found.contains(why), "{text}: {found}");
    }
}

#[test]
fn gw_31_examples_are_no_schemas_and_names_no_keys() {
    let written = r##"
openapi: 3.0.3
info: { title: Columns, version: "1" }
paths:
  /columns:
    get:
      responses:
        "200":
          description: all
          content:
            application/json:
              example: { name: id, type: text, nullable: true, minimum: 1, exclusiveMinimum: true }
        default:
          description: an error
          content: { application/json: { schema: { type: string, nullable: true } } }
components:
  schemas:
    Column:
      type: object
      properties:
        default: { type: string, nullable: true }
        properties: { type: object, properties: { enum: { type: integer, nullable: true } } }
"##;
    let document = Document::read(written.as_bytes()).unwrap();
    let operation = operation(&document, "GET", "/columns");
    let example = json!({
        "name": "id", "type": "text", "nullable": true, "minimum": 1, "exclusiveMinimum": true,
    });
    assert_eq!(operation.response(200).unwrap().media[0].examples[0].1, example);
    let error = operation.response(500).unwrap().media[0].schema.as_ref().unwrap();
    assert!(error.violations(&Json::Null, 1).is_empty());
    let properties = &document.json["components"]["schemas"]["Column"]["properties"];
    assert_eq!(properties["default"]["type"], json!(["string", "null"]));
    let inner = &properties["properties"]["properties"]["enum"]["type"];
    assert_eq!(*inner, json!(["integer", "null"]));
    let round = written.replace(
        "    Column:",
        "    default: { allOf: [{ $ref: '#/components/schemas/default' }] }\n    Column:",
    );
    let why = Document::read(round.as_bytes()).unwrap_err();
    assert!(why.contains("comes back to itself"), "{why}");
}
