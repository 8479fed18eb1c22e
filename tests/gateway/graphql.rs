//! The policy `graphql`.

use serde_json::{Value, json};
use transom_testkit::{Endpoint, Http2, Response, Transom, client, http2};

use super::rig::{Rig, TRANSOM};

fn post(rig: &Rig, body: &str) -> Response {
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client::ask(rig.transom.web(), head)
}

fn code(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn gw_25_what_asks_for_too_much_does_not_reach_the_endpoint() {
    let rig = Rig::with(
        &[
            "ql: { graphql: { depth: 3, complexity: 50, aliases: 2, batch: 2, introspection: false } }",
        ],
        "",
    );
    for (body, expected) in [
        (r#"{"query":"{ a { b { c } } }"}"#, ""),
        (r#"{"query":"{ a { b { c { d } } } }"}"#, "TOO_COMPLEX"),
        (r#"{"query":"query($n:Int){ a(first:$n) { b } }","variables":{"n":60}}"#, "TOO_COMPLEX"),
        (r#"{"query":"{ x:a y:a z:a }"}"#, "TOO_COMPLEX"),
        (r#"{"query":"{ __schema { types { name } } }"}"#, "INTROSPECTION_DISABLED"),
        (r#"{"query":"{ a "}"#, "GRAPHQL_PARSE_FAILED"),
        (r#"{"query":"query A{a} query B{b}","operationName":"B"}"#, ""),
        (r#"{"query":"query A{a} query B{b}"}"#, "GRAPHQL_PARSE_FAILED"),
        (r#"[{"query":"{a}"},{"query":"{b}"}]"#, ""),
        (r#"[{"query":"{a}"},{"query":"{b}"},{"query":"{c}"}]"#, "TOO_COMPLEX"),
        (r#"[{"query":"{a}"},{"query":"{a{b{c{d}}}}"}]"#, "TOO_COMPLEX"),
        (r#"{"query":"mutation{pay}"}"#, ""),
        (r#"{"query":"query($n:Int){ a(first:$n) { b } }","variables":{"n":6e1}}"#, "TOO_COMPLEX"),
        (
            r#"{"query":"query($n:Int){ a(first:$n) { b } }","variables":"{\"n\":60}"}"#,
            "BAD_REQUEST",
        ),
        (r#"{"query":"{a}","operationName":["A"]}"#, "BAD_REQUEST"),
        (r#"{"query":"{a}","operationName":null,"variables":null}"#, ""),
        ("{}", "BAD_REQUEST"),
        ("[]", "BAD_REQUEST"),
        ("7", "BAD_REQUEST"),
        ("no json", "BAD_REQUEST"),
    ] {
        let before = rig.endpoint.requests().len();
        let response = post(&rig, body);
        let (status, passed) = if expected.is_empty() { (200, 1) } else { (400, 0) };
        assert_eq!(response.status, status, "{body}: {}", response.text());
        assert_eq!(rig.endpoint.requests().len() - before, passed, "{body}");
        if status == 400 {
            assert_eq!(code(&response), expected, "{body}");
        }
    }
    // a key that stands twice is read once, by all
    let twice = r#"{"query":"{ a { b { c { d } } } }","query":"{ a }"}"#;
    assert_eq!(post(&rig, twice).status, 200);
    assert_eq!(rig.endpoint.requests().pop().unwrap().text(), r#"{"query":"{ a }"}"#);
    // with GET, over HTTP/2
    let mut client = Http2::connect(rig.transom.web());
    for (target, status) in [
        ("/graphql?query=%7Ba%7D", 200),
        ("/graphql?query=%7Ba%7Bb%7Bc%7Bd%7D%7D%7D%7D", 400),
        ("/graphql?query=mutation%7Bpay%7D", 400),
        ("/graphql?query=%7Ba%7D&query=%7Bb%7D", 400),
        ("/graphql?query=%7Ba%7D&variables=%7B%22n%22:1%7D", 200),
        ("/graphql?query=%7Ba%7D&variables=%7B%22n%22:9,%22n%22:1%7D", 400),
        ("/graphql", 400),
    ] {
        assert_eq!(client.get(target).status, status, "{target}");
    }
    // what servers read in different ways: some take what the URL says before the body
    for query in ["query=%7Bb%7D", "operationName=B", "variables=%7B%7D", "a=b&extensio%6es=%7B%7D"]
    {
        let body = r#"{"query":"query A{a} mutation B{pay}","operationName":"A"}"#;
        let head = format!(
            "POST /graphql?{query} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = client::ask(rig.transom.web(), head);
        assert_eq!((response.status, &*code(&response)), (400, "BAD_REQUEST"), "{query}");
    }
    let hidden =
        "/graphql?a=b;variables=%7B%22n%22:1%7D&query=query($n:Int=60)%7Ba(first:$n)%7Bb%7D%7D";
    assert_eq!(client.get(hidden).status, 400);
    let twice = [
        "Content-Type: application/json",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 15",
        "",
        r#"{"query":"{a}"}"#,
    ];
    assert_eq!(rig.ask("POST /graphql", &twice).status, 400);
    let put = client.ask(http2::request("PUT", "/graphql", &[]), b"");
    assert_eq!((put.status, put.field("allow")), (405, Some("GET, POST")));
}

#[test]
fn gw_25_only_documents_of_the_list_are_sent_and_a_digest_is_enough() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 2\n\
         listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [ql], forward: '{}' }}] }} }}\n\
         policies: {{ ql: {{ graphql: {{ persisted: known.json }} }} }}\n",
        endpoint.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(
            folder.join("known.json"),
            r#"["{ a }", "query($n: Int) { b(first: $n) }"]"#,
        )
        .unwrap();
    });
    let rig = Rig { transom, endpoint };
    // sha256 of `{ a }`
    let digest = "1c7e1e347f726166b5b1c55afd61f278cc9b45e00c108ec33d540a566379811b";
    let by_digest = |digest: &str| {
        json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": digest } } })
            .to_string()
    };
    for (body, status, expected) in [
        (r#"{"query":"{ a }"}"#.to_owned(), 200, ""),
        (r#"{"query":"{ b }"}"#.to_owned(), 400, "OPERATION_NOT_ALLOWED"),
        (by_digest(digest), 200, ""),
        (by_digest("00"), 400, "PERSISTED_QUERY_NOT_FOUND"),
    ] {
        let response = post(&rig, &body);
        assert_eq!(response.status, status, "{body}: {}", response.text());
        if status == 400 {
            assert_eq!(code(&response), expected);
        }
    }
    let sent: Value = serde_json::from_str(&rig.endpoint.requests().pop().unwrap().text()).unwrap();
    assert_eq!(sent["query"], "{ a }", "the document is put in");
    let target = format!(
        "GET /graphql?extensions=%7B%22persistedQuery%22:%7B%22sha256Hash%22:%22{digest}%22%7D%7D"
    );
    assert_eq!(rig.ask(&target, &[]).status, 200);
    let asked = rig.endpoint.requests().pop().unwrap();
    assert!(asked.target.ends_with("&query=%7B%20a%20%7D"), "{}", asked.target);
}

/// Clients name their operations and fields as they like; what counts is what the schema calls them.
#[test]
fn gw_25_operations_have_limits_and_costs_of_their_own() {
    let rig = Rig::with(
        &[
            "ql: { graphql: { batch: 2 } }",
            "pay: { rate-limit: { rate: 2/h, by: all, when: '\"mutation.pay\" in graphql.operations' } }",
            "work: { rate-limit: { rate: 20/h, by: all, cost: graphql.complexity } }",
        ],
        "",
    );
    let ask = |query: &str| post(&rig, &json!({ "query": query }).to_string()).status;
    assert_eq!(ask("mutation Harmless { look: pay }"), 200);
    assert_eq!(ask("query pay { pay }"), 200, "a query is no mutation");
    let batch = r#"[{"query":"{a}"},{"query":"mutation { ...F } fragment F on M { pay }"}]"#;
    assert_eq!(post(&rig, batch).status, 200);
    assert_eq!(ask("mutation { pay }"), 429);
    assert_eq!(ask("mutation { ship }"), 200);
    // of 20 there are 1 + 1 + 2 + 1 used
    assert_eq!(ask("{ a(first: 7) { b c } }"), 200);
    assert_eq!(ask("{ a }"), 429, "15 of them at once");
}
