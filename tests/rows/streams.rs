//! What goes on for long: WebSocket, and events that a server sends.

use std::time::Duration;

use transom_testkit::client::End;
use transom_testkit::endpoint::echo;
use transom_testkit::{Endpoint, Http2};

use super::rig::{HANDSHAKE, Rig, head};

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
/// The answer to the key of [`HANDSHAKE`].
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

#[test]
fn w_01_only_a_handshake_that_is_answered_makes_a_tunnel() {
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        match &*request.target {
        "/426" => line.send("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"),
        "/none" => line.send(format!("{SWITCH}\r\n")),
        "/wrong" => line.send(format!("{SWITCH}{}\r\n", ACCEPT.replace("s3p", "S3p"))),
        "/twice" => line.send(format!("{SWITCH}{ACCEPT}{ACCEPT}\r\n")),
        "/empty" => line.send(format!("{SWITCH}Sec-WebSocket-Accept:\r\n\r\n")),
        _ => line.send(echo(request)),
    }
    }));
    let lines = HANDSHAKE.replace("13", "777");
    for (target, status) in
        [("/426", 426), ("/none", 502), ("/wrong", 502), ("/twice", 502), ("/empty", 502)]
    {
        let mut client = rig.client();
        // what would be smuggled is one more request, and answered as such
        client.send(head(&format!("GET {target}"), &lines) + &head("GET /next", ""));
        assert_eq!(client.response().status, status, "{target}");
        let next = client.response();
        assert_eq!((next.status, &next.echo()["target"]), (200, &"/next".into()), "{target}");
        rig.expect_lines(2);
    }
    // without a key, or with two, it is no handshake
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for lines in [HANDSHAKE.replace(key, ""), format!("{HANDSHAKE}{key}")] {
        assert_eq!(rig.ask(head("GET /keys", &lines)).status, 200);
        assert_eq!(rig.endpoint.requests().pop().unwrap().field("upgrade"), None);
    }
    rig.holds();
}

#[test]
fn w_03_a_tunnel_carries_much_and_each_side_ends_for_itself() {
    const MUCH: usize = 64 << 20;
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.field("upgrade") != Some("websocket") {
            return line.send(echo(request));
        }
        line.send(format!("{SWITCH}{ACCEPT}\r\n"));
        let heard = line.read_rest();
        line.send(heard.len().to_string());
        let more = vec![b'y'; 1 << 20];
        for _ in 0..MUCH / more.len() {
            line.pour(&more);
        }
        line.end_sending();
    }));
    let mut client = rig.client();
    client.send(head("GET /ws", HANDSHAKE));
    assert_eq!(client.response().status, 101);
    let part = vec![b'x'; 1 << 20];
    for _ in 0..MUCH / part.len() {
        assert_eq!(client.pour(&part), part.len());
    }
    // its own direction has ended, and the other goes on
    let (rest, end) = client.end_sending().rest();
    assert!(rest.starts_with(MUCH.to_string().as_bytes()));
    assert_eq!((rest.len(), end), (MUCH.to_string().len() + MUCH, End::Closed));
    rig.expect_lines(1);
    rig.holds();
}

#[test]
fn g_05_an_event_is_with_the_client_before_the_next_is_sent() {
    let (told, heard) = std::sync::mpsc::channel();
    let heard = std::sync::Mutex::new(heard);
    let mut rig = Rig::over(Endpoint::new(move |request, line| {
        if request.target != "/events" {
            return line.send(echo(request));
        }
        line.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for number in 0..5 {
            line.send(format!("9\r\ndata: {number}\n\n\r\n"));
            let heard = heard.lock().unwrap().recv_timeout(Duration::from_secs(5));
            assert_eq!(heard, Ok(number), "the client has got the event");
        }
        line.send("0\r\n\r\n");
    }));
    let mut client = rig.client();
    client.send(head("GET /events", "Accept: text/event-stream\r\nAccept-Encoding: gzip\r\n"));
    let mut seen = Vec::new();
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        while !seen.windows(event.len()).any(|part| part == event.as_bytes()) {
            seen.extend(client.read(1).unwrap());
        }
        told.send(number).unwrap();
    }
    while !seen.ends_with(b"0\r\n\r\n") {
        seen.extend(client.read(1).unwrap());
    }
    rig.expect_lines(1);

    let mut client = Http2::connect(rig.address());
    let request = http::Request::get("http://a/events").body(()).unwrap();
    let mut asked = client.begin(request, true).unwrap();
    let response = client.wait(&mut asked.response).unwrap();
    let mut body = response.into_body();
    for number in 0..5 {
        let event = client.wait(body.data()).unwrap().unwrap();
        assert_eq!(event, format!("data: {number}\n\n"));
        told.send(number).unwrap();
    }
    while let Some(data) = client.wait(body.data()) {
        assert!(data.unwrap().is_empty());
    }
    rig.expect_lines(1);
    rig.holds();
}
