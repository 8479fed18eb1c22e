//! gRPC: deadlines, and faults in the form that its clients read.

use std::time::{Duration, Instant};

use http::Request;
use transom_testkit::endpoint::echo;
use transom_testkit::{Endpoint, H2Endpoint, Http2, Manners, Transom, check, http2};

use super::rig::{Rig, TRANSOM, post};

const GRPC: &str = "Content-Type: application/grpc\r\nContent-Length: 5\r\n";

#[test]
fn g_02_the_clients_deadline_ends_the_exchange_and_is_passed_on_shortened() {
    let mut rig = Rig::over(Endpoint::new(|request, line| match &*request.target {
        target if target.starts_with("/victim") => line.send(echo(request)),
        _ => line.stall(),
    }));
    let response = rig.ask(post(&format!("{GRPC}grpc-timeout: 1000m\r\n"), "\0\0\0\0\0"));
    assert_eq!((response.status, response.field("grpc-status")), (200, Some("4")));
    let passed = rig.endpoint.request();
    let passed = passed.field("grpc-timeout").expect("it is passed on");
    let left: u64 = passed.strip_suffix('u').and_then(|n| n.parse().ok()).expect("microseconds");
    assert!((1..1_000_000).contains(&left), "{passed}");
    rig.holds();
}

#[test]
fn g_02_a_deadline_that_is_none_is_refused() {
    let mut rig = Rig::echo();
    for timeout in ["x", "-1S", "100000000n", "1"] {
        let bytes = post(&format!("{GRPC}grpc-timeout: {timeout}\r\n"), "\0\0\0\0\0");
        assert_eq!(rig.ask(bytes).status, 400, "{timeout}");
    }
    assert!(rig.endpoint.requests().is_empty());
    rig.holds();
}

/// A Transom in front of an endpoint that is known to speak HTTP/2.
fn over(endpoint: &H2Endpoint, listener: &str) -> Transom {
    let config = format!(
        "workers: 1\ngrace: 1s\n\
         listeners:\n  web: {{ address: '@WEB', {listener} routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: '{}', http: 2 }}\n",
        endpoint.address
    );
    Transom::run(TRANSOM, &config)
}

const CALL: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

fn call(method: &str, more: &[(&str, &str)]) -> Request<()> {
    http2::request("POST", method, &[&CALL[..], more].concat())
}

/// One message without compression.
fn message(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

const HEAD: [(&str, &str); 1] = [("content-type", "application/grpc")];

#[test]
fn a_call_passes_with_its_message_metadata_and_status() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        exchange.read().await;
        let body = exchange.received.body.clone();
        let mut sending = exchange.head(200, &HEAD, false);
        sending.send(body).await;
        sending.trailers(&[("grpc-status", "0"), ("x_meta.data-bin", "AP8")]);
    });
    let mut transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let response = client.ask(call("/demo.Demo/Unary", &[]), &message(b"hello"));
    assert_eq!((response.status, &*response.body), (200, &*message(b"hello")));
    let trailer = |name: &str| transom_testkit::message::all(&response.trailers, name).next();
    assert_eq!((trailer("grpc-status"), trailer("x_meta.data-bin")), (Some("0"), Some("AP8")));
    let request = &endpoint.requests()[0];
    assert_eq!((request.field("te"), &*request.target), (Some("trailers"), "/demo.Demo/Unary"));
    check::alive(&mut transom);
}

#[test]
fn g_01_a_status_without_messages_passes() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        let status =
            [("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "none")];
        exchange.head(200, &status, true);
    });
    let mut transom = over(&endpoint, "");
    let response = Http2::connect(transom.web()).ask(call("/a", &[]), &message(b""));
    assert_eq!(
        (response.field("grpc-status"), response.field("grpc-message")),
        (Some("5"), Some("none"))
    );
    assert!(response.body.is_empty());
    check::alive(&mut transom);
}

#[test]
fn g_05_both_directions_go_on_beside_each_other() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        let mut sending = exchange.head(200, &HEAD, false);
        while let Some(part) = exchange.part().await {
            sending.send(part).await;
        }
        sending.trailers(&[("grpc-status", "0")]);
    });
    let mut transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let mut asked = client.begin(call("/demo.Demo/Bidi", &[]), false).expect("it begins");
    let head = client.wait(&mut asked.response).expect("the head comes before any message");
    assert_eq!(head.status(), 200);
    let mut body = head.into_body();
    for n in 0..50 {
        let sent = message(format!("message {n}").as_bytes());
        asked.body.send_data(sent.clone().into(), false).expect("it is taken");
        let mut got = Vec::new();
        while got.len() < sent.len() {
            got.extend(client.wait(body.data()).expect("more").expect("data"));
        }
        assert_eq!(got, sent, "{n}");
    }
    // The end of one direction is passed on, and the other ends by itself.
    asked.body.send_data(bytes::Bytes::new(), true).expect("it is taken");
    assert!(client.wait(body.data()).is_none());
    let trailers = client.wait(body.trailers()).expect("trailers").expect("some");
    assert_eq!(trailers["grpc-status"], "0");
    check::alive(&mut transom);
}

#[test]
fn g_02_a_deadline_ends_a_call_on_both_sides() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        exchange.until_reset().await;
    });
    let mut transom = over(&endpoint, "");
    let started = Instant::now();
    let mut client = Http2::connect(transom.web());
    let response = client.ask(call("/a", &[("grpc-timeout", "1000m")]), &message(b"x"));
    assert_eq!((response.status, response.field("grpc-status")), (200, Some("4")));
    assert!(started.elapsed() < Duration::from_secs(6));
    endpoint.until("the call is given up there", |log| log.resets.len() == 1);
    let passed = endpoint.requests()[0].field("grpc-timeout").map(str::to_owned);
    assert!(passed.is_some_and(|passed| passed.ends_with('u')));
    check::alive(&mut transom);
}

#[test]
fn g_02_every_attempt_is_told_what_is_left() {
    let endpoint = H2Endpoint::new(Manners::default(), |exchange| async move {
        match exchange.index {
            0 => {
                exchange.wait(Duration::from_millis(50)).await;
                exchange.reset(h2::Reason::REFUSED_STREAM);
            }
            _ => exchange.answer(200, &[("grpc-status", "0")], "").await,
        }
    });
    let mut transom = over(&endpoint, "");
    // What came before makes the connection one that is shared.
    let mut client = Http2::connect(transom.web());
    let response = client.ask(call("/a", &[("grpc-timeout", "5S")]), &message(b"x"));
    if response.field("grpc-status") == Some("0") {
        let left = |n: usize| -> u64 {
            let requests = endpoint.requests();
            let text = requests[n].field("grpc-timeout").expect("it is passed on");
            text.trim_end_matches('u').parse().expect("microseconds")
        };
        assert!(left(1) + 40_000 < left(0), "{} {}", left(0), left(1));
    } else {
        assert_eq!(response.field("grpc-status"), Some("14"));
    }
    check::alive(&mut transom);
}

#[test]
fn g_01_a_client_that_gives_up_is_given_up_at_the_endpoint() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        exchange.until_reset().await;
    });
    let mut transom = over(&endpoint, "");
    let mut client = Http2::connect(transom.web());
    let asked = client.begin(call("/a", &[]), false).expect("it begins");
    client.until("it is asked", |_| endpoint.log().requests.len() == 1);
    drop(asked);
    client.until("the stream is reset", |_| endpoint.log().resets == [8]);
    check::alive(&mut transom);
}

#[test]
fn what_http_2_carries_crosses_to_either_version() {
    let two = H2Endpoint::new(Manners::default(), |exchange| async move {
        match &*exchange.received.target {
            "/204" => exchange.answer(204, &[], "").await,
            "/304" => exchange.answer(304, &[("etag", "\"a\"")], "").await,
            "/head" => exchange.answer(200, &[("content-length", "5")], "").await,
            _ => exchange.echo().await,
        }
    });
    let one = Endpoint::new(|request, line| match &*request.target {
        "/204" => line.send("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => line.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        "/head" => line.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        _ => line.send(echo(request)),
    });
    for (address, http) in [(two.address, "2"), (one.address, "1.1")] {
        let config = format!(
            "workers: 1\ngrace: 1s\n\
             listeners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
             pools:\n  o: {{ endpoints: '{address}', http: {http} }}\n"
        );
        let mut transom = Transom::run(TRANSOM, &config);
        let mut client = Http2::connect(transom.web());
        for status in [204, 304] {
            let response = client.get(&format!("/{status}"));
            assert_eq!((response.status, response.body.len()), (status, 0), "{http}");
        }
        let response = client.ask(http2::request("HEAD", "/head", &[]), b"");
        assert_eq!((response.status, response.field("content-length")), (200, Some("5")), "{http}");
        for body in ["", "hello", &"x".repeat(200_000)] {
            let length = body.len().to_string();
            for lines in [&[][..], &[("content-length", &*length)]] {
                let response = client.ask(http2::request("PUT", "/e", lines), body.as_bytes());
                assert_eq!(response.echo()["body"], body, "{http} {lines:?}");
            }
        }
        check::alive(&mut transom);
    }
}
