//! Who may say on whose behalf he comes.

use std::time::{Duration, Instant};

use transom_testkit::{Endpoint, check};

use crate::rows::rig::{Rig, head};

/// A Transom that takes the PROXY protocol from these.
fn behind_balancer(from: &str, endpoint: Endpoint) -> Rig {
    let settings =
        format!("proxy-protocol: {{ from: '{from}' }}\n    timeouts: {{ proxy-protocol: 1s }}");
    Rig::with(&settings, "", endpoint)
}

#[test]
fn sl_04_the_proxy_protocol_is_believed_from_who_may_speak_it() {
    let rig = behind_balancer("127.0.0.1/32", Endpoint::echo());
    let ask = |header: &[u8]| {
        let mut client = rig.client();
        client.send([header, head("GET /", "").as_bytes()].concat());
        client.response().echo()
    };
    let client_of = |echo: serde_json::Value| {
        let fields = echo["fields"].as_array().unwrap().clone();
        let field = fields.into_iter().find(|f| f[0] == "X-Forwarded-For").unwrap();
        field[1].as_str().unwrap().to_owned()
    };
    let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
    assert_eq!(client_of(ask(v1)), "192.0.2.7");
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\x12\x67\0\x50";
    assert_eq!(client_of(ask(v2)), "192.0.2.9");
    // LOCAL: the balancer itself, such as its health check.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert_eq!(client_of(ask(local)), "127.0.0.1");
    // A byte at a time, too.
    let mut client = rig.client();
    client.send_bytewise([&v1[..], head("GET /", "").as_bytes()].concat());
    assert_eq!(client_of(client.response().echo()), "192.0.2.7");
}

#[test]
fn sl_04_other_proxy_headers_end_the_connection() {
    let mut rig = behind_balancer("127.0.0.1/32", Endpoint::echo());
    let baseline = rig.transom.sockets().len();
    let start = Instant::now();
    let too_long = format!("PROXY TCP4 {}", "1".repeat(200));
    for bytes in [
        too_long.as_bytes(),
        head("GET /", "").as_bytes(),
        b"PROXY TCP4 192.0.2.7",
        b"",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff\xc0\0\x02\x09",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\x12\x67\0\x50",
    ] {
        let mut client = rig.client();
        client.send(bytes);
        let (said, _) = client.rest();
        assert!(said.is_empty(), "{}: {}", bytes.escape_ascii(), said.escape_ascii());
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    assert!(rig.endpoint.requests().is_empty());
    check::sockets_are_back_at(&rig.transom, baseline);
    check::alive(&mut rig.transom);
}

#[test]
fn sl_04_nobody_else_may_speak_the_proxy_protocol() {
    let mut rig = behind_balancer("192.0.2.1/32", Endpoint::echo());
    let mut client = rig.client();
    client.send(format!("PROXY TCP4 192.0.2.7 198.51.100.1 1 80\r\n{}", head("GET /", "")));
    assert!(client.rest().0.is_empty());
    assert!(rig.endpoint.requests().is_empty());
    check::alive(&mut rig.transom);
}
