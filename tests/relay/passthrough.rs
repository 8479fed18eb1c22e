//! TLS that passes through to where its name leads, or ends here.

use std::time::Duration;

use transom_testkit::certificate::Authority;
use transom_testkit::{Client, Endpoint, Line, Transom, check};

use crate::TRANSOM;

/// A TLS server that answers requests with its name.
fn server(authority: &Authority, name: &'static str, certificate: &str) -> Endpoint {
    let config = authority.issue(&[certificate]).server();
    Endpoint::tls(config, move |_, line: &mut Line| {
        line.send(transom_testkit::endpoint::ok(name));
    })
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn rp06_the_name_that_is_asked_for_leads_to_the_endpoint() {
    let authority = Authority::new();
    let shop = server(&authority, "shop", "shop.example");
    let api = server(&authority, "api", "*.api.example");
    let plain =
        Endpoint::new(|_, line: &mut Line| line.send(transom_testkit::endpoint::ok("plain")));
    let config = format!(
        "listeners:\n  web:\n    address: '@WEB'\n    tcp:\n      routes:\n        \
           - {{ match: {{ sni: shop.example }}, forward: '{}' }}\n        \
           - {{ match: {{ sni: '*.api.example' }}, forward: '{}' }}\n        \
           - {{ match: {{ tls: false }}, forward: '{}' }}\n",
        shop.address, api.address, plain.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    for (name, expect) in
        [("shop.example", "shop"), ("SHOP.example", "shop"), ("v1.api.example", "api")]
    {
        let mut client = Client::connect_tls(transom.web(), name, authority.client());
        assert_eq!(client.send(GET).response().text(), expect, "{name}");
    }
    assert_eq!(Client::connect(transom.web()).send(GET).response().text(), "plain");

    // TL-04: nobody gets a default that was not meant for him.
    let mut client = Client::connect_tls(transom.web(), "other.example", authority.client());
    client.pour(GET.as_bytes());
    let error = client.try_response("GET").expect_err("a name that nobody has was served");
    assert!(error.to_string().contains("UnrecognisedName"), "{error:?}");
    let lines = transom.lines_when(5);
    let refused = lines.iter().find(|line| line["fault"] == "no-route").expect("it is told");
    assert_eq!(refused["sni"], "other.example");
    assert!(lines.iter().any(|line| line["sni"] == "shop.example"), "{lines:#?}");
    check::alive(&mut transom);
}

#[test]
fn tl04_a_hello_in_pieces_is_the_same_hello() {
    let authority = Authority::new();
    let endpoint = Endpoint::raw(|line: &mut Line| {
        line.read_rest();
    });
    let config = format!(
        "listeners:\n  web: {{ address: '@WEB', tcp: {{ routes: [{{ match: {{ sni: shop.example }}, \
         forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let whole = authority.hello("shop.example");
    // The same message in records of one byte, sent a byte at a time.
    let records: Vec<u8> = whole[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    for bytes in [&whole, &records] {
        let before = endpoint.connections();
        let mut client = Client::connect(transom.web());
        client.send_bytewise(&bytes[..400]).send(&bytes[400..]);
        endpoint.until("all of it is there, and nothing else", |log| {
            log.bytes.get(before).is_some_and(|got| got == bytes)
        });
    }
}

#[test]
fn sl03_a_hello_that_drips_is_given_up() {
    let endpoint = Endpoint::raw(|line: &mut Line| line.stall());
    let config = format!(
        "listeners:\n  web: {{ address: '@WEB', timeouts: {{ tls-handshake: 600ms }}, \
         tcp: {{ routes: [{{ match: {{ sni: a }}, forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let authority = Authority::new();
    let mut client = Client::connect(transom.web());
    client.drip(&authority.hello("a")[..40], Duration::from_millis(20));
    client.ends();
    // And one who says nothing at all.
    Client::connect(transom.web()).ends();
    transom.lines_when(2);
    for (bytes, fault) in
        [(&b"\x16\x03\x01\x00\x00"[..], "bad-request"), (b"SSH-2.0-x\r\n", "no-route")]
    {
        let before = transom.lines().len();
        Client::connect(transom.web()).send(bytes).ends();
        let lines = transom.lines_when(before + 1);
        assert_eq!(lines.last().unwrap()["fault"], fault);
    }
    assert!(transom.lines()[..2].iter().all(|line| line["fault"] == "request-timeout"));
    assert_eq!(endpoint.connections(), 0);
}

#[test]
fn tls_may_end_here_and_begin_again_toward_the_endpoint() {
    let authority = Authority::new();
    let behind = server(&authority, "behind", "behind.example");
    let own = authority.issue(&["shop.example"]);
    let config = format!(
        "listeners:\n  web:\n    address: '@WEB'\n    \
           tls: {{ certificate: '@folder/c.pem', key: '@folder/k.pem' }}\n    \
           tcp: {{ routes: [{{ match: {{ sni: shop.example }}, forward: o }}] }}\n\
         pools:\n  o:\n    endpoints: '{}'\n    \
           tls: {{ ca: '@folder/ca.pem', name: behind.example }}\n",
        behind.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("c.pem"), &own.certificate).unwrap();
        std::fs::write(folder.join("k.pem"), &own.key).unwrap();
        std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    });
    let mut client = Client::connect_tls(transom.web(), "shop.example", authority.client());
    assert_eq!(client.send(GET).response().text(), "behind");
    drop(client);
    let line = &check::lines(&transom, 1)[0];
    assert_eq!((&line["tls"], &line["sni"]), (&"TLSv1.3".into(), &"shop.example".into()));
}
