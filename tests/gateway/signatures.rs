//! Requests that are signed, and clients that show a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use data_encoding::BASE64;
use transom_testkit::certificate::Authority;
use transom_testkit::{Client, Endpoint, Http2, Response, Transom, client, http2};

use super::rig::{Rig, TRANSOM};

const SECRET: &str = "secret-of-ann-0123456789";

fn rig(policy: &str) -> Rig {
    let consumers =
        format!("consumers: {{ ann: {{ secrets: [{{ id: ann-1, secret: {SECRET} }}] }} }}");
    Rig::with(&[&format!("signed: {{ {policy} }}")], &consumers)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn mac(text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    BASE64.encode(hmac::sign(&key, text.as_bytes()).as_ref())
}

fn post(rig: &Rig, lines: &[String], body: &str) -> Response {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    client::ask(
        rig.transom.web(),
        format!(
            "POST /pay?a=1 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{lines}\r\n{body}"
        ),
    )
}

/// The fields that sign a payment of this body, as RFC 9421 has it.
fn signed(body: &str, created: u64, nonce: &str) -> Vec<String> {
    let sum = format!("sha-256=:{}:", BASE64.encode(digest(&SHA256, body.as_bytes()).as_ref()));
    let input = format!(
        "(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\");created={created};keyid=\"ann-1\";nonce=\"{nonce}\""
    );
    let base = format!(
        "\"@method\": POST\n\"@authority\": a\n\"@path\": /pay\n\"@query\": ?a=1\n\"content-digest\": {sum}\n\"@signature-params\": {input}"
    );
    vec![
        format!("Content-Digest: {sum}"),
        format!("Signature-Input: sig={input}"),
        format!("Signature: sig=:{}:", mac(&base)),
    ]
}

#[test]
fn gw_09_a_signed_request_passes_once_and_with_its_own_body() {
    let rig = rig("http-signature: { nonce: required, max-body: 1KiB }");
    let fields = signed("{\"pay\": 1}", now(), "n1");
    assert_eq!(post(&rig, &fields, "{\"pay\": 1}").status, 200);
    let seen = rig.seen();
    assert_eq!((&*seen.text(), seen.field("signature")), ("{\"pay\": 1}", None));
    assert_eq!(rig.line_of("/pay")["consumer"], "ann");
    let other = "{\"pay\": 2}";
    for (why, fields, body, status) in [
        ("twice", fields, "{\"pay\": 1}", 401),
        ("another body", signed("{\"pay\": 1}", now(), "n2"), other, 401),
        ("old", signed(other, now() - 1000, "n3"), other, 401),
        ("of the future", signed(other, now() + 1000, "n4"), other, 401),
        ("too long", signed(&"x".repeat(2000), now(), "n5"), &"x".repeat(2000), 413),
        ("unsigned", vec![], other, 401),
        ("without its signature", signed(other, now(), "n6")[..2].to_vec(), other, 401),
        ("not well-formed", vec!["Signature-Input: x".into(), "Signature: y".into()], other, 401),
    ] {
        assert_eq!(post(&rig, &fields, body).status, status, "{why}");
    }
    let refused = post(&rig, &[], other);
    assert!(refused.field("www-authenticate").is_some_and(|it| it.starts_with("Signature ")));
    assert_eq!(rig.endpoint.requests().len(), 1);
}

#[test]
fn gw_09_a_signature_holds_over_http2_too() {
    let rig = rig("http-signature: {}");
    let body = "{\"pay\": 1}";
    let fields = signed(body, now(), "h2");
    let mut lines: Vec<(&str, &str)> =
        fields.iter().map(|line| line.split_once(": ").unwrap()).collect();
    let lower: Vec<String> = lines.iter().map(|(name, _)| name.to_lowercase()).collect();
    for (line, name) in lines.iter_mut().zip(&lower) {
        line.0 = name;
    }
    let mut client = Http2::connect(rig.transom.web());
    let request = http2::request("POST", "/pay?a=1", &lines);
    assert_eq!(client.ask(request, body.as_bytes()).status, 200);
    let mut other = http2::request("POST", "/pay?a=1", &lines);
    *other.uri_mut() = "http://b/pay?a=1".parse().unwrap();
    assert_eq!(client.ask(other, body.as_bytes()).status, 401, "it was signed for the host `a`");
}

#[test]
fn gw_09_an_hmac_of_target_date_and_digest_passes() {
    let rig = rig("hmac: { nonce: x-nonce }");
    let made = |body: &str, at: SystemTime, nonce: &str| {
        let date = httpdate::fmt_http_date(at);
        let sum = format!("SHA-256={}", BASE64.encode(digest(&SHA256, body.as_bytes()).as_ref()));
        let text = format!(
            "(request-target): post /pay?a=1\ndate: {date}\ndigest: {sum}\nx-nonce: {nonce}"
        );
        vec![
            format!("Date: {date}"),
            format!("Digest: {sum}"),
            format!("X-Nonce: {nonce}"),
            format!(
                "Authorization: Signature keyId=\"ann-1\",algorithm=\"hmac-sha256\",headers=\"(request-target) date digest x-nonce\",signature=\"{}\"",
                mac(&text)
            ),
        ]
    };
    let (body, at) = ("{\"pay\": 1}", SystemTime::now());
    assert_eq!(post(&rig, &made(body, at, "1"), body).status, 200);
    assert_eq!(rig.seen().field("authorization"), None);
    let old = at - Duration::from_secs(1000);
    let unsigned =
        made(body, at, "2").into_iter().map(|line| line.replace(" x-nonce\"", "\"")).collect();
    for (why, fields, body) in [
        ("twice", made(body, at, "1"), body),
        ("another body", made(body, at, "3"), "{\"pay\": 2}"),
        ("old", made(body, old, "4"), body),
        ("a nonce that is not signed", unsigned, body),
        ("nothing", vec![], body),
    ] {
        assert_eq!(post(&rig, &fields, body).status, 401, "{why}");
    }
}

#[test]
fn gw_08_a_certificate_says_who_asks() {
    let authority = Authority::new();
    let (server, billing, other) = (
        authority.issue(&["localhost"]),
        authority.issue(&["billing.internal"]),
        authority.issue(&["other.internal"]),
    );
    let config = "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    \
        tls: { certificate: '@folder/server.pem', key: '@folder/server.key', client-certificates: { mode: optional, ca: '@folder/ca.pem' } }\n    \
        routes: [{ policies: [mutual], forward: '@ENDPOINT', request-headers: { set: { X-Who: '{consumer}' } } }]\n\
        policies: { mutual: { client-certificate: {} } }\n\
        consumers: { billing: { groups: [internal], certificates: [{ san: billing.internal }] } }\n";
    let endpoint = Endpoint::echo();
    let config = config.replace("@ENDPOINT", &endpoint.address.to_string());
    let transom = Transom::run_with(TRANSOM, &config, |folder: &Path| {
        for (name, text) in [
            ("server.pem", &server.certificate),
            ("server.key", &server.key),
            ("ca.pem", &authority.pem),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
    });
    for (shown, status) in [(Some(&billing), 200), (Some(&other), 401), (None, 401)] {
        let config = match shown {
            Some(own) => authority.client_with(own),
            None => authority.client(),
        };
        let mut client = Client::connect_tls(transom.web(), "localhost", Arc::clone(&config));
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status, status);
    }
    let seen = endpoint.request();
    assert_eq!(seen.field("x-who"), Some("billing"));
}
