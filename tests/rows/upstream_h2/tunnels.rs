//! WebSocket to endpoints over HTTP/2: as a stream where the endpoint takes that (RFC 8441), otherwise over
//! a connection of its own.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use bytes::Bytes;
use h2::ext::Protocol;
use transom_testkit::{Client, Http2};

use super::*;

const CONNECTS: Manners =
    Manners { streams: None, window: None, goaway_after: None, connect: true };

/// Sends back what comes, with a greeting before and an end after.
fn echoing() -> H2Endpoint {
    H2Endpoint::new(CONNECTS, |mut exchange| async move {
        if exchange.received.method != "CONNECT" {
            return exchange.answer(200, &[], "no tunnel").await;
        }
        let mut sending = exchange.head(200, &[("sec-websocket-protocol", "chat")], false);
        sending.send("hello").await;
        while let Some(part) = exchange.part().await {
            sending.send(part).await;
        }
        sending.send("bye").await;
        sending.end();
    })
}

fn upgrade(transom: &Transom) -> (Client, Response) {
    let mut client = Client::connect(transom.web());
    client.send(
        "GET /chat?a=b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let response = client.response();
    (client, response)
}

#[test]
fn w_04_rfc8441_a_websocket_of_http_1_becomes_a_stream() {
    let endpoint = echoing();
    let mut transom = one(&endpoint);
    assert_eq!(get(&transom, "/").text(), "no tunnel");
    let mut tunnels: Vec<Client> = (0..3)
        .map(|_| {
            let (client, response) = upgrade(&transom);
            assert_eq!(response.status, 101, "{response:?}");
            assert_eq!(response.field("upgrade"), Some("websocket"));
            let accept = response.field("sec-websocket-accept");
            assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            assert_eq!(response.field("sec-websocket-protocol"), Some("chat"));
            client
        })
        .collect();
    let request = endpoint.requests().pop().unwrap();
    assert_eq!((&*request.method, &*request.target), ("CONNECT", "/chat?a=b"));
    assert_eq!(request.field("sec-websocket-version"), Some("13"));
    for gone in ["sec-websocket-key", "connection", "upgrade", "content-length"] {
        assert_eq!(request.field(gone), None, "{gone}");
    }
    for client in &mut tunnels {
        assert_eq!(client.read(5).unwrap(), b"hello");
        assert_eq!(client.send("ping").read(4).unwrap(), b"ping");
        let (rest, _) = client.end_sending().rest();
        assert_eq!(rest, b"bye", "the end of one direction leaves the other");
    }
    assert_eq!(endpoint.connections(), 1, "all of them share it");
    let line = transom.lines_when(4).pop().unwrap();
    assert_eq!((&line["status"], &line["upstream_protocol"]), (&101.into(), &"HTTP/2".into()));
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&4.into(), &12.into()));
    endpoint.until("no stream is left", |log| log.streams == 0);
    rig_holds(&mut transom);
}

#[test]
fn w_04_rfc8441_a_stream_of_a_client_becomes_a_stream() {
    let endpoint = echoing();
    let mut transom = one(&endpoint);
    let mut client = Http2::connect(transom.web());
    client.get("/");
    let mut connect = http::Request::builder()
        .method("CONNECT")
        .uri("http://a/chat")
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    connect.extensions_mut().insert(Protocol::from_static("websocket"));
    let mut asked = client.begin(connect, false).unwrap();
    let response = client.wait(&mut asked.response).unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("sec-websocket-accept").is_none());
    let mut body = response.into_body();
    asked.body.send_data(Bytes::from_static(b"ping"), true).unwrap();
    let mut heard = Vec::new();
    while let Some(data) = client.wait(body.data()) {
        heard.extend_from_slice(&data.unwrap());
    }
    assert_eq!(heard, b"hellopingbye");
    rig_holds(&mut transom);
}

#[test]
fn w_04_rfc8441_who_leaves_a_tunnel_ends_its_stream() {
    let endpoint = echoing();
    let mut transom = one(&endpoint);
    let (mut client, _) = upgrade(&transom);
    assert_eq!(client.read(5).unwrap(), b"hello");
    client.reset();
    endpoint.until("it is reset", |log| log.streams == 0);
    assert_eq!(get(&transom, "/").status, 200);
    assert_eq!(endpoint.connections(), 1, "the connection goes on");
    rig_holds(&mut transom);
}

#[test]
fn w_04_rfc8441_an_endpoint_may_refuse() {
    let endpoint = H2Endpoint::new(CONNECTS, |exchange| exchange.answer(403, &[], "not here"));
    let mut transom = one(&endpoint);
    let (_, response) = upgrade(&transom);
    assert_eq!((response.status, response.text().as_str()), (403, "not here"));
    rig_holds(&mut transom);
}

/// Carries connections to one of two servers, by how they begin.
fn both(http2: SocketAddr, http1: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut first = [0; 3];
            while client.peek(&mut first).is_ok_and(|n| n > 0 && n < 3) {}
            let to = if first == *b"PRI" { http2 } else { http1 };
            let server = TcpStream::connect(to).unwrap();
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    address
}

#[test]
fn w_04_rfc8441_where_the_endpoint_takes_no_tunnels_it_has_a_connection_of_its_own() {
    let streams = H2Endpoint::echo();
    let tunnels = Endpoint::early(|request, line| {
        assert_eq!(request.field("upgrade"), Some("websocket"));
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Own: 1\r\n\r\n",
        );
        let heard = line.read(4);
        line.send(heard.unwrap_or_default());
    });
    let address = both(streams.address, tunnels.address);
    let mut transom = over(&[address], "", "");
    for _ in 0..2 {
        let (mut client, response) = upgrade(&transom);
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.field("x-own"), Some("1"));
        assert_eq!(client.send("ping").read(4).unwrap(), b"ping");
        assert_eq!(get(&transom, "/").echo()["method"], "GET");
    }
    assert_eq!(streams.connections(), 1);
    rig_holds(&mut transom);
}
