//! GW-06, GW-15: what authorization servers say of tokens, and what endpoints are shown.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use transom_testkit::endpoint::ok;
use transom_testkit::{Endpoint, until};

use super::issuer::{bearer, in_seconds};
use super::rig::Rig;
use super::tokens::operator;

/// The value of a parameter of a form.
fn value(form: &str, name: &str) -> Option<String> {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value.to_owned())
}

/// A server that tells of tokens by their first letters.
fn teller() -> Endpoint {
    Endpoint::new(|request, line| {
        let form = request.text();
        let token = value(&form, "token").unwrap_or_default();
        let answer = match &*token {
            "good" => json!({
                "active": true, "sub": "ada", "scope": "read write", "aud": "shop",
                "exp": in_seconds(60), "tier": "vip",
            }),
            "short" => {
                json!({"active": true, "username": "bob", "aud": ["shop"], "exp": in_seconds(2)})
            }
            "fresh" => json!({
                "active": true, "sub": "ada", "aud": "shop", "iat": in_seconds(20),
                "nbf": in_seconds(20), "exp": in_seconds(60),
            }),
            "other" => json!({"active": true, "sub": "ada", "aud": "mail"}),
            "odd" => json!({"active": "true", "sub": "ada", "aud": "shop"}),
            "broken" => {
                line.send("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            _ => json!({"active": false}),
        };
        line.send(ok(&answer.to_string()));
    })
}

#[test]
fn gw_06_an_opaque_token_is_asked_about_once() {
    let teller = teller();
    let policy = format!(
        "opaque: {{ introspection: {{ url: 'http://{}/introspect', audience: shop, \
         client: {{ id: 'a gate', secret: 'se:cret' }}, plan: tier, headers: {{ x-user: sub }} }} }}",
        teller.address
    );
    let rig = Rig::with(&[&policy], "");
    for _ in 0..3 {
        let response = rig.get("/", &[&bearer("good"), "X-User: root"]);
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(rig.seen().field("x-user"), Some("ada"));
    }
    let asked = teller.request();
    assert_eq!((&*asked.method, &*asked.target), ("POST", "/introspect"));
    assert_eq!(asked.text(), "token=good&token_type_hint=access_token");
    // RFC 6749 2.3.1: both parts are escaped first
    assert_eq!(asked.field("authorization"), Some("Basic YSUyMGdhdGU6c2UlM0FjcmV0"));
    for token in ["bad", "other", "odd", "bad"] {
        let response = rig.get("/", &[&bearer(token)]);
        assert_eq!(response.status, 401, "{token}");
        assert_eq!(response.field("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    }
    assert_eq!(teller.requests().len(), 4, "what is not active is remembered too");
    assert_eq!(rig.get("/", &[]).status, 401);
    assert_eq!(rig.get("/", &[&bearer("broken")]).status, 503);
    assert_eq!(rig.get("/", &["Authorization: Bearer a b"]).status, 401);
    assert_eq!(rig.get("/", &[&bearer("good"), &bearer("good")]).status, 400);
    let body = r#"{"claim":"tier","value":"vip"}"#;
    assert!(operator(&rig.transom, "POST", "/revoked", body).ends_with("201"));
    assert_eq!(rig.get("/", &[&bearer("good")]).status, 401, "what is remembered, too");
    let response = rig.get("/", &[&bearer("fresh")]);
    assert_eq!(response.status, 200, "made just now, by a clock that is ahead of ours");
    assert_eq!(rig.get("/", &[&bearer("short")]).status, 200);
    let asked = teller.requests().len();
    until("it is asked about anew, once it has ended", || {
        assert_eq!(rig.get("/", &[&bearer("short")]).status, 200);
        teller.requests().len() > asked
    });
}

#[test]
fn gw_20_whom_an_opaque_token_names_may_have_to_be_a_consumer() {
    let teller = teller();
    let policy = format!(
        "opaque: {{ introspection: {{ url: 'http://{}/introspect', client: {{ id: a, secret: b }}, \
         plan: tier, consumers: require }} }}",
        teller.address
    );
    let more =
        "plans: { gold: {} }\nconsumers: { ada: { plan: gold, groups: [admins], scopes: [all] } }";
    let rig = Rig::with(&[&policy, "told: { identity-headers: {} }"], more);
    assert_eq!(rig.get("/", &[&bearer("good")]).status, 200);
    let seen = rig.seen();
    assert_eq!(seen.field("x-consumer-plan"), Some("gold"));
    assert_eq!(seen.field("x-consumer-groups"), Some("admins"));
    assert_eq!(rig.get("/", &[&bearer("short")]).status, 401, "bob is nobody here");
}

#[test]
fn gw_15_endpoints_are_shown_our_own_secrets_and_not_the_clients() {
    for (with, secret, name, expected) in [
        ("bearer: our-token-1", "our-token-1", "authorization", "Bearer our-token-1"),
        (
            "basic: { user: ada, password: our-word-1 }",
            "our-word-1",
            "authorization",
            "Basic YWRhOm91ci13b3JkLTE=",
        ),
        ("header: { name: x-api-key, value: our-key-1 }", "our-key-1", "x-api-key", "our-key-1"),
    ] {
        let rig = Rig::with(&[&format!("us: {{ credentials: {{ {with} }} }}")], "");
        let lines = [&*bearer("the-clients"), "X-Api-Key: forged"];
        assert_eq!(rig.get("/", &lines).status, 200);
        assert_eq!(rig.seen().field(name), Some(expected));
        assert!(!format!("{:?}", rig.seen().fields).contains("the-clients"), "{with}");
        let config = rig.transom.admin("GET", "/config").text();
        assert!(!config.contains(secret), "{config}");
    }
}

#[test]
fn gw_15_a_token_of_our_own_is_there_before_the_last_one_ends() {
    let given = AtomicUsize::new(0);
    let server = Endpoint::new(move |_, line| {
        let number = given.fetch_add(1, Ordering::Relaxed);
        let answer = json!({"access_token": format!("t{number}"), "expires_in": 4});
        line.send(ok(&answer.to_string()));
    });
    let policy = format!(
        "us: {{ credentials: {{ client-credentials: {{ url: 'http://{}/token', \
         client: {{ id: gate, secret: pw, auth: post }}, scope: 'a b', audience: orders }} }} }}",
        server.address
    );
    let rig = Rig::with(&[&policy], "");
    assert_eq!(rig.get("/", &[&bearer("the-clients")]).status, 200);
    assert_eq!(rig.seen().field("authorization"), Some("Bearer t0"));
    let asked = server.requests()[0].clone();
    assert_eq!(
        asked.text(),
        "grant_type=client_credentials&scope=a%20b&audience=orders&client_id=gate&client_secret=pw"
    );
    until("another one is used", || {
        assert_eq!(rig.get("/", &[]).status, 200);
        rig.seen().field("authorization") != Some("Bearer t0")
    });
    drop(server);
    until("the last one has ended", || rig.get("/", &[]).status == 503);
    let said = rig.transom.said();
    assert!(said.contains("policy us gets no token"), "{said}");
}

#[test]
fn gw_15_the_clients_token_is_exchanged_once() {
    let server = Endpoint::new(|request, line| {
        let form = request.text();
        match value(&form, "subject_token").as_deref() {
            Some("bad") => line.send(
                "HTTP/1.1 400 Bad\r\nContent-Length: 26\r\n\r\n{\"error\":\"invalid_request\"}",
            ),
            Some(token) => {
                let answer = json!({
                    "access_token": format!("for-{token}"), "expires_in": 60,
                    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                });
                line.send(ok(&answer.to_string()));
            }
            None => line.send("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        }
    });
    let policy = format!(
        "us: {{ credentials: {{ exchange: {{ url: 'http://{}/token', client: {{ id: gate }}, \
         audience: orders }} }} }}",
        server.address
    );
    let rig = Rig::with(&[&policy], "");
    for token in ["ada", "bob", "ada", "bob"] {
        assert_eq!(rig.get("/", &[&bearer(token)]).status, 200);
        assert_eq!(rig.seen().field("authorization"), Some(&*format!("Bearer for-{token}")));
    }
    assert_eq!(server.requests().len(), 2);
    let form = server.requests()[0].text();
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    assert_eq!(value(&form, "grant_type").as_deref(), Some(grant));
    assert_eq!(value(&form, "audience").as_deref(), Some("orders"));
    assert_eq!(rig.get("/", &[]).status, 401);
    assert_eq!(rig.get("/", &[&bearer("bad")]).status, 401);
    drop(server);
    assert_eq!(rig.get("/", &[&bearer("eve")]).status, 503);
    assert_eq!(rig.get("/", &[&bearer("ada")]).status, 200);
}

#[test]
fn gw_15_requests_are_signed_for_aws() {
    let policy = "us: { credentials: { aws: { access-key: AKIDEXAMPLE, secret-key: wJalrXUtnFEMI, \
                  region: eu-west-1, service: execute-api, host: api.example, body: 1KiB } } }";
    let rig = Rig::with(&[policy], "");
    let lines = ["Content-Length: 2", "X-Amz-Date: forged", &bearer("the-clients"), "", "hi"];
    assert_eq!(rig.ask("POST /a/b?c=d", &lines).status, 200);
    let seen = rig.seen();
    assert_eq!((seen.field("host"), seen.text()), (Some("api.example"), "hi".to_owned()));
    let hash = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4";
    assert_eq!(seen.field("x-amz-content-sha256"), Some(hash));
    let signature = seen.field("authorization").unwrap();
    let day = &seen.field("x-amz-date").unwrap()[..8];
    let start = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{day}/eu-west-1/execute-api/aws4_request, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature="
    );
    assert!(signature.starts_with(&start) && signature.len() == start.len() + 64, "{signature}");
    let long = format!("Content-Length: 2000\r\n\r\n{}", "x".repeat(2_000));
    assert_eq!(rig.ask("POST /a", &[&long]).status, 413);
}
