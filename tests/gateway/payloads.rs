//! Bodies that are made to hurt whoever parses them, and answers of a mock.

use transom_testkit::{Client, Endpoint, Http2, Transom, client, http2};

use super::rig::{Rig, TRANSOM};

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

#[test]
fn gw_34_nothing_hides_in_a_coding_that_is_not_read() {
    let rig = Rig::with(&["sane: { payload: {} }"], "");
    // the comment ends, and a type is declared, for whoever reads UTF-7
    let hidden =
        "<!-- --+AD4APAAh-DOCTYPE a [+ADwAIQ-ENTITY b 'c'+AD4-]+AD4-+ADwAIQ--- --><a>b</a>";
    let declares = "<?xml version='1.0' encoding='utf-7'?><a/>";
    let twice = "text/xml; charset=utf-8; charset=utf-7";
    let form = |kind: &str| {
        let head = format!("name=x\r\nContent-Type: {kind}");
        part(&head, hidden) + "--b--"
    };
    for (media, body, status) in [
        ("text/xml", hidden, 200),
        ("text/xml; charset=\"UTF-8\"", hidden, 200),
        ("text/xml; charset=iso-8859-1", hidden, 200),
        ("text/xml; charset=utf-7", hidden, 415),
        ("application/soap+xml; action=\"x\"; Charset=utf-16", hidden, 415),
        ("text/xml; charset=\u{e4}", hidden, 415),
        (twice, hidden, 415),
        ("text/xml; charset=utf-8", declares, 400),
        ("application/json; charset=shift_jis", "{}", 415),
        ("text/plain; charset=utf-7", "+AD4-", 200),
        (FORM, &form("text/xml; charset=utf-8"), 200),
        (FORM, &form("text/xml; charset=utf-7"), 400),
    ] {
        let response = client::ask(rig.transom.web(), post(media, body));
        assert_eq!(response.status, status, "{media}: {body}: {}", response.text());
    }
    let request = http2::request("POST", "/", &[("content-type", "text/xml; charset=utf-7")]);
    let mut client = Http2::connect(rig.transom.web());
    assert_eq!(client.ask(request, hidden.as_bytes()).status, 415);
}

/// A part of a form with files.
fn part(head: &str, data: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{data}\r\n")
}

const FORM: &str = "multipart/form-data; boundary=b";

#[test]
fn gw_34_forms_with_files_are_limited_in_their_parts_and_pass_as_they_are() {
    let policy = "sane: { payload: { json: { depth: 2 }, \
                  multipart: { fields: 2, files: 1, field: 4B, file: 8B, types: [image/*] } } }";
    let rig = Rig::with(&[policy], "");
    let image = "name=i; filename=i.png\r\nContent-Type: image/png";
    let json = "name=j\r\nContent-Type: application/json";
    for (parts, status, told) in [
        (vec![part("name=a", "1234"), part(image, "12345678")], 200, ""),
        (vec![part("name=a", "12345")], 400, "a part of the form is too long"),
        (vec![part(image, "123456789")], 400, "a part of the form is too long"),
        (vec![part(image, ""), part(image, "")], 400, "more than 1 files"),
        (vec![part("name=a; filename=x.html\r\nContent-Type: text/html", "")], 400, "not taken"),
        (vec![part(json, "[[1"), part("name=b", "")], 400, ""),
        (vec![part(json, "[[[")], 400, "nested deeper than 2"),
        (vec![part("name=a; name=b", "")], 400, "in two ways"),
    ] {
        let body = parts.concat() + "--b--\r\n";
        let response = client::ask(rig.transom.web(), post(FORM, &body));
        assert_eq!(response.status, status, "{body}: {}", response.text());
        assert!(response.text().contains(told), "{}", response.text());
        if status == 200 {
            assert_eq!(rig.seen().body, body.as_bytes(), "not a byte is changed");
        }
    }
    for kind in ["multipart/form-data", "multipart/form-data; boundary=b; boundary=c"] {
        assert_eq!(client::ask(rig.transom.web(), post(kind, "--b--")).status, 400, "{kind}");
    }
    let mut client = Http2::connect(rig.transom.web());
    let ask = || http2::request("POST", "/", &[("content-type", FORM)]);
    let body = part("name=a", "1") + "--b--";
    assert_eq!(client.ask(ask(), body.as_bytes()).status, 200);
    assert_eq!(client.ask(ask(), body.replace("--b--", "--b").as_bytes()).status, 400);
}

#[test]
fn gw_31_forms_with_files_are_held_against_the_document() {
    let document = "openapi: 3.1.0\ninfo: { title: t, version: '1' }\npaths:\n  /:\n    post:\n      \
        requestBody:\n        content:\n          multipart/form-data:\n            \
        encoding: { photo: { contentType: image/png } }\n            \
        schema:\n              type: object\n              required: [count]\n              properties:\n                \
        count: { type: integer }\n                photo: { type: string, maxLength: 4 }\n";
    let endpoint = Endpoint::echo();
    let config = format!(
        "listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [{{ validate: {{ openapi: form.yaml }} }}], \
         forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("form.yaml"), document).unwrap();
    });
    let photo = "name=photo; filename=a.png\r\nContent-Type: image/png";
    for (parts, status, pointer) in [
        (vec![part("name=count", "7"), part(photo, "\u{0}1\r\n")], 200, ""),
        (vec![part("name=count", "seven")], 422, "#/count"),
        (vec![part("name=count", "7"), part(photo, "12345")], 422, "#/photo"),
        (vec![part("name=count", "7"), part(&photo.replace("png", "gif"), "1")], 422, "#/photo"),
        (vec![part("name=count; name=b", "7")], 422, "#"),
    ] {
        let body = parts.concat() + "--b--\r\n";
        let response = client::ask(transom.web(), post(FORM, &body));
        assert_eq!(response.status, status, "{body}: {}", response.text());
        if status == 422 {
            let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        } else {
            assert_eq!(endpoint.requests().pop().unwrap().body, body.as_bytes());
        }
    }
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
