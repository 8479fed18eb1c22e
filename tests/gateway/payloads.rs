//! Bodies that are made to hurt whoever parses them, and answers of a mock.

use transom_testkit::{Client, Endpoint, Http2, client, http2};

use super::rig::Rig;

fn post(media: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nContent-Type: {media}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn gw_34_bombs_are_cut_before_anybody_parses_them() {
    let rig = Rig::with(
        &["sane: { payload: { json: { depth: 3, keys: 2 }, sizes: { text/plain: 10B } } }"],
        "",
    );
    let ask = |media, body| client::ask(rig.transom.web(), post(media, body));
    for (media, body, status, told) in [
        ("application/json", r#"{"a":[1]}"#, 200, ""),
        ("application/json", r#"[[[[]]]]"#, 400, "nested deeper than 3"),
        ("application/vnd.shop+json", r#"{"a":1,"b":2,"c":3}"#, 400, "more keys than 2"),
        ("application/json", r#"{"a":1"#, 400, "ends too early"),
        ("text/xml", "<a/>", 200, ""),
        ("text/xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", 400, "declares"),
        ("text/plain", "0123456789", 200, ""),
        ("text/plain", "0123456789a", 413, ""),
    ] {
        let response = ask(media, body);
        assert_eq!(response.status, status, "{body}: {}", response.text());
        if !told.is_empty() {
            let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(problem["errors"][0]["pointer"], "#", "{problem}");
            let detail = problem["errors"][0]["detail"].as_str().unwrap();
            assert!(detail.contains(told), "{detail}");
        }
    }
    let zipped = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                  Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(client::ask(rig.transom.web(), zipped).status, 415);
}

/// However long the body may yet become, it is cut where it breaks the limit, and so over HTTP/2.
#[test]
fn gw_34_a_body_without_a_length_is_cut_where_it_breaks_the_limit() {
    let rig = Rig::with(&["sane: { payload: { json: { depth: 3 } } }"], "");
    let mut client = Client::connect(rig.transom.web());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\n[[[[\r\n",
    );
    assert_eq!(client.response().status, 400);
    let mut client = Http2::connect(rig.transom.web());
    let ask = |path| http2::request("POST", path, &[("content-type", "application/json")]);
    assert_eq!(client.ask(ask("/a"), b"[[[[]]]]").status, 400);
    let echoed = client.ask(ask("/b"), b"[[[]]]");
    assert_eq!((echoed.status, echoed.echo()["body"].as_str()), (200, Some("[[[]]]")));
}

#[test]
fn gw_33_a_mock_answers_and_says_so_while_the_endpoint_is_not_asked() {
    let rig = Rig::over(
        Endpoint::echo(),
        &[
            "later: { mock: { status: 201, content-type: application/json, body: '{}', headers: { x-a: b } } }",
        ],
        "",
    );
    let response = rig.get("/", &[]);
    assert_eq!((response.status, response.text().as_str()), (201, "{}"));
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(response.field("transom-mock"), Some("static"));
    assert_eq!(response.field("x-a"), Some("b"));
    assert!(rig.endpoint.requests().is_empty());
}
