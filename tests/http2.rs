//! HTTP/2 toward clients: what works over it, through the real program to an endpoint that speaks
//! HTTP/1.1.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::time::Duration;

use bytes::Bytes;
use transom_testkit::http2::request;
use transom_testkit::{Client, Endpoint, Http2, Transom, until};

const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

/// In front of this endpoint, with further settings of the listener.
fn over(endpoint: &Endpoint, listener: &str) -> Transom {
    let to = endpoint.address;
    let config = format!(
        "workers: 1\n\
         grace: 2s\n\
         listeners:\n  \
           web:\n    \
             address: '@WEB'\n    \
             {listener}\n    \
             routes:\n      \
               - match: {{ path: /none/** }}\n        \
                 forward: 127.0.0.1:1\n      \
               - forward: '{to}'\n"
    );
    Transom::run(TRANSOM, &config)
}

fn echo() -> (Endpoint, Transom) {
    let endpoint = Endpoint::echo();
    let transom = over(&endpoint, "");
    (endpoint, transom)
}

#[test]
fn requests_beside_each_other_on_one_connection() {
    let (endpoint, transom) = echo();
    let mut client = Http2::connect(transom.web());
    let asked: Vec<_> = (0..50)
        .map(|n| client.begin(request("GET", &format!("/{n}"), &[]), true).unwrap())
        .collect();
    for (n, asked) in asked.into_iter().enumerate() {
        let response = client.finish(asked).unwrap();
        assert_eq!((response.status, &response.echo()["target"]), (200, &format!("/{n}").into()));
    }
    assert_eq!(endpoint.requests().len(), 50);
    let line = transom.lines_when(50).pop().unwrap();
    assert_eq!((&line["protocol"], &line["status"]), (&"HTTP/2".into(), &200.into()));
    let counted = "transom_requests_by_version_total{listener=\"web\",version=\"2\"";
    transom.metric_becomes(counted, 50.0);
    assert_eq!(transom.metric("transom_http2_connections_total"), 1.0);
}

#[test]
fn what_an_endpoint_is_told_is_what_http_1_tells() {
    let (endpoint, transom) = echo();
    let mut client = Http2::connect(transom.web());
    let lines = [("accept", "*/*"), ("x-mine", "1"), ("cookie", "a=b"), ("te", "trailers")];
    client.ask(request("GET", "/a/../b?c=%20", &lines), b"");
    let request = endpoint.request();
    assert_eq!((&*request.method, &*request.target), ("GET", "/b?c=%20"));
    for (name, value) in [
        ("host", Some("a")),
        ("x-mine", Some("1")),
        ("cookie", Some("a=b")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("transfer-encoding", None),
    ] {
        assert_eq!(request.field(name), value, "{name}");
    }
}

#[test]
fn bodies_go_up_with_and_without_a_length() {
    let (endpoint, transom) = echo();
    let mut client = Http2::connect(transom.web());
    let body = vec![b'x'; 60_000];
    let response = client.ask(request("POST", "/", &[("content-length", "60000")]), &body);
    assert_eq!(response.status, 200);
    assert_eq!(endpoint.requests()[0].field("content-length"), Some("60000"));
    assert_eq!(client.ask(request("POST", "/", &[]), &body).status, 200);
    let requests = endpoint.requests();
    assert_eq!(requests[1].field("transfer-encoding"), Some("chunked"));
    assert!(requests.iter().all(|request| request.whole && request.body == body));
    assert_eq!(&transom.lines_when(2)[1]["bytes_in"], 60_000);
}

#[test]
fn trailers_go_down_to_who_asks_for_them() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\nHost: b\r\n\r\n",
    );
    let transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let response = client.ask(request("GET", "/", &[("te", "trailers")]), b"");
    assert_eq!((response.text().as_str(), response.status), ("abc", 200));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "6".to_owned())]);
    let response = client.get("/");
    assert_eq!((response.text().as_str(), response.trailers.len()), ("abc", 0));
}

#[test]
fn trailers_go_up_with_the_body() {
    let (endpoint, transom) = echo();
    let mut client = Http2::connect(transom.web());
    let mut asked = client.begin(request("POST", "/", &[]), false).unwrap();
    asked.body.send_data(Bytes::from_static(b"abc"), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("6"));
    trailers.insert("host", http::HeaderValue::from_static("evil"));
    asked.body.send_trailers(trailers).unwrap();
    assert_eq!(client.finish(asked).unwrap().status, 200);
    let request = endpoint.request();
    assert_eq!((request.text().as_str(), request.whole), ("abc", true));
    assert_eq!(request.trailers, [("x-sum".to_owned(), "6".to_owned())]);
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let endpoint = Endpoint::new(|_, line| {
        line.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let response = client.get("/");
    assert_eq!((response.interim, response.status), (vec![103], 200));
    let asked = request("POST", "/", &[("expect", "100-continue"), ("content-length", "2")]);
    let response = client.ask(asked, b"hi");
    assert_eq!(response.interim, [100, 103]);
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let endpoint = Endpoint::new(|request, line| {
        let status = request.target.trim_start_matches('/');
        match request.method.as_str() {
            "HEAD" => line.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            _ => line.send(format!("HTTP/1.1 {status} X\r\nETag: \"a\"\r\n\r\n")),
        }
    });
    let transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    for status in [204, 304] {
        let response = client.get(&format!("/{status}"));
        assert_eq!((response.status, response.body.len()), (status, 0));
        assert_eq!(response.field("content-length"), None);
    }
    let response = client.ask(request("HEAD", "/", &[]), b"");
    assert_eq!((response.status, response.field("content-length")), (200, Some("1000")));
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_client_that_does_not_read_holds_up_the_endpoint_and_no_memory() {
    let endpoint = Endpoint::new(|_, line| {
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
        line.pour(&vec![b'x'; 100 << 20]);
    });
    let transom = over(&endpoint, "");
    let mut client = Http2::with(transom.web(), |builder| {
        builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
    });
    let before = transom.memory();
    let asked = client.begin(request("GET", "/", &[]), true).unwrap();
    let (status, _, mut body) = client.head(asked).unwrap();
    assert_eq!(status, 200);
    let mut came = 0;
    while came < 1 << 20 {
        came += client.wait(body.data()).unwrap().unwrap().len();
    }
    client.pass(Duration::from_millis(300));
    let grown = transom.memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB of 100 MiB");
    // And what it wants, it gets.
    let mut left = (100 << 20) - came;
    body.flow_control().release_capacity(came).unwrap();
    while left > 0 {
        let data = client.wait(body.data()).unwrap().unwrap();
        left -= data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    assert!(client.wait(body.data()).is_none());
}

#[test]
fn an_endpoint_that_does_not_read_holds_up_the_client() {
    let endpoint = Endpoint::early(|request, line| {
        if request.method == "POST" {
            line.wait(Duration::from_millis(500));
        }
        line.send(transom_testkit::endpoint::ok("never mind"));
        line.stall();
    });
    let transom = over(&endpoint, "limits: { body: unlimited }");
    let mut client = Http2::connect(transom.web());
    let before = transom.memory();
    let mut asked = client.begin(request("POST", "/", &[]), false).unwrap();
    let mut sent = 0;
    let chunk = Bytes::from(vec![b'x'; 16 << 10]);
    let _ = client.wait(async {
        let pour = async {
            loop {
                asked.body.reserve_capacity(chunk.len());
                let capacity = std::future::poll_fn(|cx| asked.body.poll_capacity(cx)).await;
                let Some(Ok(n)) = capacity else { return };
                if asked.body.send_data(chunk.slice(..n.min(chunk.len())), false).is_err() {
                    return;
                }
                sent += n.min(chunk.len());
            }
        };
        tokio::time::timeout(Duration::from_millis(300), pour).await
    });
    // What sockets between the three hold, and one window.
    assert!(sent < 16 << 20, "{sent}");
    let grown = transom.memory().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB");
    assert_eq!(client.finish(asked).unwrap().status, 200);
}

#[test]
fn u_16_a_request_that_is_given_up_is_given_up_at_the_endpoint() {
    let endpoint = Endpoint::early(|_, line| line.stall());
    let transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let mut asked = client.begin(request("GET", "/", &[]), true).unwrap();
    client.until("the endpoint has it", |_| endpoint.open() == 1);
    asked.body.send_reset(h2::Reason::CANCEL);
    client.until("the attempt is abandoned", |_| endpoint.open() == 0);
    let line = transom.lines_when(1).pop().unwrap();
    assert_eq!((&line["fault"], &line["status"]), (&"client-closed".into(), &499.into()));
    // As when the whole connection goes.
    let asked = client.begin(request("GET", "/", &[]), true).unwrap();
    client.until("the endpoint has it", |_| endpoint.open() == 1);
    drop((asked, client));
    until("the attempt is abandoned", || endpoint.open() == 0);
    assert_eq!(&transom.lines_when(2).pop().unwrap()["fault"], "client-closed");
}

#[test]
fn faults_are_told_as_over_http_1_and_to_grpc_in_its_way() {
    let (_endpoint, transom) = echo();
    let mut client = Http2::connect(transom.web());
    let response = client.get("/none/x");
    assert_eq!(response.status, 502);
    assert_eq!(response.field("proxy-status"), Some("transom; error=connection_refused"));
    assert!(response.field("connection").is_none());
    let lines = [("content-type", "application/grpc"), ("te", "trailers")];
    let response = client.ask(request("POST", "/none/x", &lines), b"\0\0\0\0\0");
    assert_eq!((response.status, response.field("grpc-status")), (200, Some("14")));
    assert!(response.field("grpc-message").is_some() && response.body.is_empty());
}

#[test]
fn a_response_that_breaks_off_resets_its_stream_and_no_other() {
    let endpoint = Endpoint::new(|request, line| {
        if request.target == "/whole" {
            return line.send(transom_testkit::endpoint::ok("whole"));
        }
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        line.end();
    });
    let transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let error = client.try_ask(request("GET", "/", &[]), b"").unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    assert_eq!(client.get("/whole").text(), "whole");
    assert_eq!(&transom.lines_when(2)[0]["fault"], "incomplete-response");
}

#[test]
fn limits_and_timeouts_hold() {
    let endpoint = Endpoint::early(|request, line| match request.target.as_str() {
        "/slow" => line.stall(),
        _ => line.send(transom_testkit::endpoint::echo(request)),
    });
    let transom =
        over(&endpoint, "limits: { body: 10B }\n    timeouts: { response: 1s, body-idle: 1s }");
    let mut client = Http2::connect(transom.web());
    let too_long = request("POST", "/", &[("content-length", "11")]);
    assert_eq!(client.ask(too_long, b"12345678901").status, 413);
    let response = client.ask(request("POST", "/", &[]), b"12345678901");
    assert_eq!(response.status, 413);
    assert_eq!(client.get("/slow").status, 504);
    let asked = client.begin(request("POST", "/slow", &[]), false).unwrap();
    assert_eq!(client.finish(asked).unwrap().status, 408);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn requests_and_age_end_a_connection_in_order() {
    let endpoint = Endpoint::echo();
    for limits in ["requests-per-connection: 3", "connection-age: 3s"] {
        let transom = over(&endpoint, &format!("limits: {{ {limits} }}"));
        let mut client = Http2::connect(transom.web());
        for n in 0..3 {
            assert_eq!(client.get("/").status, 200, "{limits} {n}");
        }
        client.until("it has ended", Http2::ended);
    }
}

#[test]
fn an_idle_connection_is_ended() {
    let endpoint = Endpoint::echo();
    let transom = over(&endpoint, "timeouts: { keep-alive: 200ms }");
    let mut client = Http2::connect(transom.web());
    client.get("/");
    client.until("it has ended", Http2::ended);
    transom.metric_becomes("transom_http2_goaways_total{listener=\"web\",error=\"false\"", 1.0);
    transom.metric_becomes("transom_connections_open", 0.0);
}

#[test]
fn a_client_that_is_gone_without_a_word_is_noticed_by_pings() {
    let endpoint = Endpoint::early(|_, line| line.stall());
    let transom = over(&endpoint, "http2: { ping: 1s }\n    timeouts: { response: off }");
    let mut client = Http2::connect(transom.web());
    let _asked = client.begin(request("GET", "/", &[]), true).unwrap();
    client.until("the endpoint has it", |_| endpoint.open() == 1);
    // From here on nobody serves the client's connection.
    std::thread::sleep(Duration::from_secs(9));
    until("the attempt is abandoned", || endpoint.open() == 0);
}

/// An endpoint that takes a moment to answer.
fn unhurried() -> Endpoint {
    Endpoint::new(|request, line| {
        line.wait(Duration::from_millis(300));
        line.send(transom_testkit::endpoint::echo(request));
    })
}

#[test]
fn what_is_open_is_served_when_the_program_is_told_to_stop() {
    let endpoint = unhurried();
    let mut transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let asked = client.begin(request("GET", "/last", &[]), true).unwrap();
    client.until("the endpoint has it", |_| endpoint.open() == 1);
    transom.signal(rustix::process::Signal::TERM);
    assert_eq!(client.finish(asked).unwrap().echo()["target"], "/last");
    client.until("it has ended", Http2::ended);
    assert!(transom.ended().success());
}

#[test]
fn what_is_open_is_served_when_a_reload_takes_the_listener_away() {
    let endpoint = unhurried();
    let mut transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let asked = client.begin(request("GET", "/last", &[]), true).unwrap();
    client.until("the endpoint has it", |_| endpoint.open() == 1);
    transom
        .write("listeners:\n  other:\n    address: '@OTHER'\n    routes: [ { respond: 204 } ]\n");
    transom.signal(rustix::process::Signal::HUP);
    assert_eq!(client.finish(asked).unwrap().echo()["target"], "/last");
    client.until("it has ended", Http2::ended);
    assert_eq!(Http2::connect(transom.address("OTHER")).get("/").status, 204);
}

#[test]
fn a_websocket_over_a_stream_becomes_an_upgraded_connection() {
    let endpoint = Endpoint::early(|request, line| {
        assert_eq!(request.field("upgrade"), Some("websocket"));
        assert_eq!(request.field("sec-websocket-version"), Some("13"));
        assert_eq!(request.field("sec-websocket-key").map(str::len), Some(24));
        let key = request.field("sec-websocket-key").unwrap_or_default();
        let proof = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let proof = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            proof.as_bytes(),
        );
        let proof = data_encoding::BASE64.encode(proof.as_ref());
        line.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello",
        ));
        let heard = line.read(4);
        line.send(heard.unwrap_or_default());
        line.read_rest();
    });
    let transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    client.get("/none/");
    let mut connect = request("CONNECT", "/chat", &[("sec-websocket-version", "13")]);
    connect.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let mut asked = client.begin(connect, false).unwrap();
    asked.body.send_data(Bytes::from_static(b"ping"), false).unwrap();
    let response = client.wait(&mut asked.response).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers().get("sec-websocket-protocol").unwrap(), "chat");
    assert!(response.headers().get("sec-websocket-accept").is_none());
    let mut body = response.into_body();
    let mut heard = Vec::new();
    while heard.len() < 9 {
        heard.extend_from_slice(&client.wait(body.data()).unwrap().unwrap());
    }
    assert_eq!(heard, b"helloping");
    asked.body.send_data(Bytes::new(), true).unwrap();
    while let Some(data) = client.wait(body.data()) {
        assert!(data.unwrap().is_empty());
    }
    let line = transom.lines_when(2).pop().unwrap();
    assert_eq!(
        (&line["status"], &line["bytes_in"], &line["bytes_out"]),
        (&200.into(), &4.into(), &9.into())
    );
}

#[test]
fn http_1_and_http_2_share_a_listener() {
    let (_endpoint, transom) = echo();
    let mut old = Client::connect(transom.web());
    for byte in b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n" {
        old.send([*byte]);
    }
    old.send("x");
    assert_eq!(old.response_to("PUT").status, 200);
    let mut new = transom_testkit::Frames::raw(transom.web());
    for byte in transom_testkit::frames::PREFACE {
        new.send(&[*byte]);
    }
    new.frame(4, 0, 0, b"").get(1, "/").answer_of(1);
    assert_eq!(old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").response().status, 200);
}
