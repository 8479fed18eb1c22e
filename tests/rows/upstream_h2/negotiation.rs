//! Which version is spoken to an endpoint.

use std::sync::Arc;

use rustls::ServerConfig;
use transom_testkit::certificate::Authority;
use transom_testkit::endpoint::echo;
use transom_testkit::{Endpoint, H2Endpoint, Manners, Port, Transom};

use super::{TRANSOM, all_are, at_once, client, get, head, rig_holds};

fn offering(authority: &Authority, protocols: &[&str]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(&authority.issue(&["o.example"]).server());
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn over(authority: &Authority, address: std::net::SocketAddr, pool: &str) -> Transom {
    let config = format!(
        "workers: 1\ngrace: 1s\n\
         listeners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: '{address}', tls: {{ name: o.example, ca: '@folder/ca.pem' }}, {pool} }}\n"
    );
    let pem = authority.pem.clone();
    Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("ca.pem"), pem).expect("a file");
    })
}

fn spoken(transom: &Transom, count: usize) -> Vec<String> {
    let text =
        |line: serde_json::Value| line["upstream_protocol"].as_str().unwrap_or("").to_owned();
    transom.lines_when(count).into_iter().map(text).collect()
}

#[test]
fn http_2_is_spoken_where_the_endpoint_chooses_it() {
    let authority = Authority::new();
    let server = offering(&authority, &["h2", "http/1.1"]);
    let endpoint = H2Endpoint::tls(server, Manners::default(), |exchange| exchange.echo());
    let mut transom = over(&authority, endpoint.address, "");
    all_are(&at_once(&transom, 20, head("GET /", "")), 200);
    assert_eq!(endpoint.connections(), 1);
    assert_eq!(endpoint.requests()[0].field(":scheme"), Some("https"));
    assert_eq!(spoken(&transom, 20), vec!["HTTP/2"; 20]);
    rig_holds(&mut transom);
}

#[test]
fn http_1_is_spoken_where_the_endpoint_chooses_that_or_nothing() {
    for protocols in [&["http/1.1"][..], &[]] {
        let authority = Authority::new();
        let server = offering(&authority, protocols);
        let endpoint = Endpoint::tls(server, |request, line| line.send(echo(request)));
        let mut transom = over(&authority, endpoint.address, "");
        all_are(&at_once(&transom, 10, head("GET /", "")), 200);
        assert_eq!(get(&transom, "/").status, 200);
        assert_eq!(spoken(&transom, 11), vec!["HTTP/1.1"; 11]);
        rig_holds(&mut transom);
    }
}

#[test]
fn http_1_alone_is_offered_where_the_pool_says_so() {
    let authority = Authority::new();
    // An endpoint that would choose HTTP/2 if it could.
    let server = offering(&authority, &["h2", "http/1.1"]);
    let endpoint = Endpoint::tls(server, |request, line| line.send(echo(request)));
    let mut transom = over(&authority, endpoint.address, "http: 1.1");
    assert_eq!(get(&transom, "/").status, 200);
    assert_eq!(spoken(&transom, 1), ["HTTP/1.1"]);
    rig_holds(&mut transom);
}

#[test]
fn an_endpoint_that_must_speak_http_2_and_does_not_is_no_endpoint() {
    let authority = Authority::new();
    let server = offering(&authority, &[]);
    let endpoint = Endpoint::tls(server, |request, line| line.send(echo(request)));
    let mut transom = over(&authority, endpoint.address, "http: 2");
    assert_eq!(get(&transom, "/").status, 502);
    let line = transom.lines_when(1).remove(0);
    assert_eq!(line["fault"], "tls-failed");
    assert!(line["detail"].as_str().is_some_and(|detail| detail.contains("ALPN")), "{line}");
    rig_holds(&mut transom);
}

#[test]
fn nobody_waits_for_others_at_an_endpoint_that_is_not_there() {
    let nobody = Port::reserve().expect("a port");
    let mut transom = super::over(&[nobody.address], "", "");
    all_are(&at_once(&transom, 20, head("GET /", "")), 502);
    rig_holds(&mut transom);
}

#[test]
fn a_websocket_has_a_connection_of_its_own_in_http_1() {
    let authority = Authority::new();
    let server = offering(&authority, &["http/1.1"]);
    let endpoint = Endpoint::tls(server, |request, line| match request.field("upgrade") {
        Some("websocket") => {
            line.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello",
            );
            line.stall();
        }
        _ => line.send(echo(request)),
    });
    let mut transom = over(&authority, endpoint.address, "");
    let mut client = transom_testkit::Client::connect(transom.web());
    client.send(head(
        "GET /",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ));
    assert_eq!(client.response().status, 101);
    assert_eq!(client.read(5).expect("what the endpoint says"), b"hello");
    drop(client);
    assert_eq!(client::ask(transom.web(), head("GET /", "")).status, 200);
    rig_holds(&mut transom);
}
