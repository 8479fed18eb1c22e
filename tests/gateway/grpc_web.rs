//! The policy `grpc-web`: calls from browsers.

use bytes::Bytes;
use data_encoding::BASE64;
use transom_gateway::grpc::frame::framed;
use transom_testkit::{H2Endpoint, H2Exchange, Http2, Manners, Response, Transom, client, http2};

use super::rig::TRANSOM;

/// Sends back each message, and fails where it is told so.
fn service() -> H2Endpoint {
    H2Endpoint::new(Manners::default(), |mut exchange: H2Exchange| async move {
        exchange.read().await;
        // who breaks off wants no answer
        if !exchange.received.whole {
            return;
        }
        let body = Bytes::from(exchange.received.body.clone());
        let grpc = ("content-type", "application/grpc+proto");
        match &*exchange.received.target {
            "/a.B/Fail" => {
                drop(exchange.head(
                    200,
                    &[grpc, ("grpc-status", "5"), ("grpc-message", "no")],
                    true,
                ));
            }
            "/a.B/Html" => exchange.answer(404, &[("content-type", "text/html")], "<html>").await,
            _ => {
                let mut sending = exchange.head(200, &[grpc, ("x-meta", "1")], false);
                sending.send(body).await;
                sending.trailers(&[("grpc-status", "0"), ("x-after", "2")]);
            }
        }
    })
}

fn transom(endpoint: &H2Endpoint) -> Transom {
    let config = format!(
        "workers: 2\n\
         listeners:\n  \
           web:\n    \
             address: '@WEB'\n    \
             routes:\n      \
               - {{ policies: [web], forward: o }}\n      \
               - {{ match: {{ path: /closed/** }}, policies: [web, nobody], forward: o }}\n\
         pools:\n  \
           o: {{ endpoints: '{}', http: 2 }}\n\
         policies:\n  \
           web: {{ grpc-web: {{}} }}\n  \
           nobody: {{ address: {{ deny: 127.0.0.1 }} }}\n",
        endpoint.address,
    );
    Transom::run(TRANSOM, &config)
}

fn ask(transom: &Transom, path: &str, content_type: &str, body: &[u8]) -> Response {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nX-Grpc-Web: 1\r\n\
         Grpc-Timeout: 5S\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client::ask(transom.web(), [head.as_bytes(), body].concat())
}

/// The trailers that every call here ends with.
const END: &[u8] = b"\x80\0\0\0\x1cgrpc-status: 0\r\nx-after: 2\r\n";

#[test]
fn gw_24_browsers_call_in_binary_and_in_text() {
    let endpoint = service();
    let transom = transom(&endpoint);
    let messages = [framed(b"one"), framed(&[7; 100_000])].concat();
    let response = ask(&transom, "/a.B/Echo", "application/grpc-web+proto", &messages);
    assert_eq!(response.status, 200);
    assert_eq!(response.field("content-type"), Some("application/grpc-web+proto"));
    assert_eq!(response.field("x-meta"), Some("1"));
    let (body, end) = response.body.split_at(messages.len());
    assert!(body == messages);
    assert_eq!(end.len(), 5 + usize::from(end[4]));
    let lines = String::from_utf8_lossy(&end[5..]).into_owned();
    assert!(lines.contains("grpc-status: 0\r\n") && lines.contains("x-after: 2\r\n"), "{lines}");
    let asked = endpoint.requests()[0].clone();
    assert_eq!(asked.field("content-type"), Some("application/grpc+proto"));
    assert_eq!(asked.field("te"), Some("trailers"));
    assert!(
        asked.field("grpc-timeout").is_some_and(|left| left.ends_with('u')),
        "what is left of it"
    );
    assert_eq!(asked.field("x-grpc-web"), None);

    let text = BASE64.encode(&messages);
    let response = ask(&transom, "/a.B/Echo", "application/grpc-web-text", text.as_bytes());
    assert_eq!(response.field("content-type"), Some("application/grpc-web-text"));
    let groups = response.body.chunks(4).map(|four| BASE64.decode(four).unwrap());
    let decoded: Vec<u8> = groups.flatten().collect();
    assert!(decoded.starts_with(&messages));
    assert_eq!(decoded.len(), messages.len() + END.len());

    // over HTTP/2
    let mut client = Http2::connect(transom.web());
    let lines = [("content-type", "application/grpc-web")];
    let response = client.ask(http2::request("POST", "/a.B/Echo", &lines), &framed(b"two"));
    assert!(response.body.starts_with(&framed(b"two")) && response.trailers.is_empty());
}

#[test]
fn gw_24_failures_are_told_as_grpc_tells_them() {
    let endpoint = service();
    let transom = transom(&endpoint);
    for (path, content_type, body, http, grpc) in [
        ("/a.B/Fail", "application/grpc-web", &b""[..], 200, Some("5")),
        ("/a.B/Html", "application/grpc-web", b"", 404, None),
        ("/closed/Echo", "application/grpc-web", b"", 200, Some("7")),
        ("/a.B/Echo", "application/grpc-web-text", b"no base64!", 200, Some("3")),
        ("/a.B/Echo", "text/plain", b"", 200, None),
    ] {
        let response = ask(&transom, path, content_type, body);
        assert_eq!((response.status, response.field("grpc-status")), (http, grpc), "{path}");
    }
    let requests = endpoint.requests();
    let types = requests.iter().filter_map(|request| request.field("content-type"));
    assert_eq!(types.filter(|found| *found == "text/plain").count(), 1, "it passes");
}
