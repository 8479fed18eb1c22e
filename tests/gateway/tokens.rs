//! GW-04: signed tokens.

use serde_json::{Value, json};
use transom_testkit::endpoint::ok;
use transom_testkit::{Response, Transom, client, until};

use super::issuer::{Issuer, Key, bearer, claims, encode, in_seconds};
use super::rig::{Rig, TRANSOM, check};

const SECRET: &str = "a secret of thirty-two bytes and more";

const RULES: &str = "issuer: https://id.example, audience: shop";

/// A Transom that knows the secret.
fn with_secret(more: &str) -> (Rig, Key) {
    let policy = format!("staff: {{ jwt: {{ secret: '{SECRET}', {RULES}, {more} }} }}");
    (Rig::with(&[&policy], ""), Key::hs256(SECRET))
}

fn with_keys(issuer: &Issuer, more: &str) -> Rig {
    let jwks = format!("jwks: {{ url: '{}', {more} }}", issuer.url());
    Rig::with(&[&format!("staff: {{ jwt: {{ {jwks}, {RULES} }} }}")], "")
}

#[track_caller]
fn refused(rig: &Rig, token: &str, detail: &str) {
    let response = rig.get("/", &[&bearer(token)]);
    assert_eq!(response.status, 401, "{detail}");
    assert_eq!(response.field("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    until("the log has it", || rig.log().contains(detail));
}

#[track_caller]
fn passes(rig: &Rig, token: &str) -> Value {
    let response = rig.get("/", &[&bearer(token)]);
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_str(&response.text()).unwrap()
}

/// What the endpoint got in a field.
fn got<'v>(echo: &'v Value, name: &str) -> Option<&'v str> {
    let fields = echo["fields"].as_array().unwrap().iter();
    let mut found = fields.filter(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name));
    let value = found.next()?[1].as_str();
    assert!(found.next().is_none(), "{name} stands twice");
    value
}

#[test]
fn gw_04_claims_become_who_it_is_and_what_the_endpoint_is_told() {
    let (rig, key) = with_secret(
        "groups: realm.roles, headers: { x-user: sub, x-roles: realm.roles, x-mail: email }",
    );
    let token = key.token("", &claims(json!({"realm": {"roles": ["staff", "admin"]}})));
    let forged = ["X-User: root", "X-user: root", "X-Mail: root@example"];
    // the second time it is remembered
    for _ in 0..2 {
        let mut lines = vec![bearer(&token)];
        lines.extend(forged.map(str::to_owned));
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let response = rig.get("/", &lines);
        let echo: Value = serde_json::from_str(&response.text()).unwrap();
        assert_eq!(got(&echo, "x-user"), Some("ada"));
        assert_eq!(got(&echo, "x-roles"), Some("staff,admin"));
        assert_eq!(got(&echo, "x-mail"), None);
        assert_eq!(got(&echo, "authorization"), Some(&*format!("Bearer {token}")));
    }
    until("the log names her", || rig.log().contains(r#""consumer":"ada""#));
}

#[test]
fn gw_04_a_token_may_stand_elsewhere_and_be_hidden() {
    let (rig, key) = with_secret(
        "hide: true, from: [{ header: x-token }, { cookie: session }, { query: access_token }]",
    );
    let token = key.token("", &claims(json!({})));
    for (target, line, seen) in [
        ("/a", format!("X-Token: {token}"), "/a"),
        ("/a", format!("Cookie: a=1; session={token}"), "/a"),
        (&*format!("/a?b=1&access_token={token}&c=2"), "A: b".to_owned(), "/a?b=1&c=2"),
    ] {
        let response = rig.get(target, &[&line]);
        let echo: Value = serde_json::from_str(&response.text()).unwrap();
        assert_eq!(echo["target"], seen);
        assert!(!response.text().contains(&token));
    }
    assert_eq!(rig.get("/", &[&bearer(&token)]).status, 401, "it is not looked for there");
    until("three lines", || rig.log().lines().count() >= 4);
    assert!(!rig.log().contains(&token), "and no log has it");
}

#[test]
fn a_01_a_token_without_a_signature_is_none() {
    let (rig, key) = with_secret("");
    let body = claims(json!({}));
    for algorithm in [json!("none"), json!("None"), json!("nOnE"), json!(""), json!(null), json!(0)]
    {
        let header = json!({"alg": algorithm}).to_string();
        let parts = [encode(header.as_bytes()), encode(body.to_string().as_bytes())].join(".");
        refused(&rig, &format!("{parts}."), "malformed");
        refused(&rig, &key.signed(&header, &body.to_string()), "malformed");
    }
    let token = key.token("", &body);
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    refused(&rig, unsigned, "three parts");
    refused(&rig, &format!("{unsigned}."), "signature");
    refused(&rig, &key.signed("{}", &body.to_string()), "algorithm");
    passes(&rig, &token);
}

#[test]
fn a_02_a_public_key_is_no_secret() {
    let real = Key::rs256();
    let issuer = Issuer::publishing(&[real.jwk("1")]);
    let rig = with_keys(&issuer, "");
    let body = claims(json!({}));
    passes(&rig, &real.token("1", &body));
    let modulus = real.jwk("1")["n"].as_str().unwrap().to_owned();
    for secret in [real.pem(), real.jwk("1").to_string(), modulus] {
        let forger = Key::hs256(secret);
        refused(&rig, &forger.token("1", &body), "another algorithm");
        refused(&rig, &forger.token_with(json!({}), &body), "another algorithm");
    }
}

#[test]
fn a_03_unknown_keys_are_asked_for_once_and_a_name_is_only_compared() {
    let (real, other) = (Key::es256(), Key::es256());
    let issuer = Issuer::publishing(&[real.jwk("1")]);
    let rig = with_keys(&issuer, "");
    let body = claims(json!({}));
    passes(&rig, &real.token("1", &body));
    assert_eq!(issuer.asked(), 1);
    let long = "k".repeat(4_000);
    for id in ["../../../dev/null", "' or 1=1 --", "http://169.254.169.254/", "", &long] {
        refused(&rig, &other.token(id, &body), "no key has the id");
    }
    for n in 0..50 {
        refused(&rig, &other.token(&n.to_string(), &body), "no key has the id");
    }
    assert_eq!(issuer.asked(), 2);
    refused(&rig, &other.token("1", &body), "signature");
    refused(&rig, &other.token(&"k".repeat(8 << 10), &body), "longer than may be looked at");
    let response = rig.get("/", &[&bearer(&other.token(&"k".repeat(64 << 10), &body))]);
    assert_eq!(response.status, 431);
    passes(&rig, &real.token("1", &body));
}

#[test]
fn a_04_keys_that_a_token_brings_along_are_not_looked_at() {
    let (real, own) = (Key::es256(), Key::es256());
    let issuer = Issuer::publishing(&[real.jwk("1")]);
    let stranger = Issuer::publishing(&[own.jwk("1")]);
    let rig = with_keys(&issuer, "");
    let body = claims(json!({}));
    for header in [
        json!({"jku": stranger.url()}),
        json!({"x5u": stranger.url()}),
        json!({"jwk": own.jwk("1")}),
        json!({"x5c": ["MIIB"]}),
        json!({"jku": stranger.url(), "kid": "1"}),
    ] {
        refused(&rig, &own.token_with(header, &body), "signature");
    }
    assert_eq!(stranger.asked(), 0);
}

#[test]
fn a_05_what_is_critical_encrypted_or_compressed_is_refused() {
    let (rig, key) = with_secret("");
    let body = claims(json!({}));
    for header in [
        json!({"crit": ["x"], "x": 1}),
        json!({"crit": [], "b64": false}),
        json!({"zip": "DEF"}),
        json!({"enc": "A256GCM"}),
    ] {
        refused(&rig, &key.token_with(header, &body), "malformed");
    }
    refused(&rig, &format!("{}.x.y", key.token("", &body)), "three parts");
    let twice = body.to_string().replacen('{', r#"{"sub":"root","#, 1);
    refused(&rig, &key.signed(r#"{"alg":"HS256"}"#, &twice), "twice");
}

#[test]
fn a_07_a_08_a_token_is_for_us_and_for_now() {
    let (rig, key) = with_secret("");
    for (changes, detail) in [
        (json!({"exp": in_seconds(-62)}), "expired"),
        (json!({"exp": null}), "missing"),
        (json!({"exp": "2033-01-01"}), "whole number"),
        (json!({"exp": 1e300}), "whole number"),
        (json!({"nbf": in_seconds(120)}), "not valid yet"),
        (json!({"iss": "https://id.example.org"}), "somebody else"),
        (json!({"aud": "shop-admin"}), "for somebody else"),
        (json!({"aud": null}), "for somebody else"),
        (json!({"sub": null}), "names who it is"),
    ] {
        refused(&rig, &key.token("", &claims(changes)), detail);
    }
    let kind = key.token_with(json!({"typ": "logout+jwt"}), &claims(json!({})));
    refused(&rig, &kind, "another type");
    passes(&rig, &key.token("", &claims(json!({"exp": in_seconds(-40), "aud": ["x", "shop"]}))));
}

#[test]
fn a_07_what_is_remembered_ends_with_the_token() {
    let (rig, key) = with_secret("leeway: 0s");
    let token = key.token("", &claims(json!({"exp": in_seconds(3)})));
    passes(&rig, &token);
    until("it has expired", || rig.get("/", &[&bearer(&token)]).status == 401);
}

#[test]
fn a_09_nothing_passes_without_keys_and_what_was_fetched_stays() {
    let key = Key::es256();
    let issuer = Issuer::publishing(&[]);
    let rig = with_keys(&issuer, "refresh: 1s, timeout: 2s");
    let token = key.token("1", &claims(json!({})));
    let closed = |answer: Vec<u8>| {
        issuer.answer_with(answer);
        let asked = issuer.asked();
        until("it is asked again", || issuer.asked() > asked + 1);
        let response = rig.get("/", &[&bearer(&token)]);
        assert_eq!(response.status, 503, "{}", response.text());
    };
    closed(ok("<html>Welcome</html>"));
    closed(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_vec());
    assert_eq!(rig.get("/", &[]).status, 401, "who has no token needs no keys");
    assert!(rig.endpoint.requests().is_empty());
    issuer.publish(&[key.jwk("1")]);
    until("keys are there", || rig.get("/", &[&bearer(&token)]).status == 200);
    for answer in [
        ok(r#"{"keys":[]}"#),
        ok("{"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n".to_vec(),
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
            .to_vec(),
    ] {
        issuer.answer_with(answer);
        let asked = issuer.asked();
        until("it is asked again", || issuer.asked() > asked + 1);
        passes(&rig, &token);
        passes(&rig, &key.token("1", &claims(json!({"jti": asked}))));
    }
    let said = rig.transom.said();
    assert!(said.contains("policy staff has no keys yet, and nothing passes"), "{said}");
    assert!(said.contains("policy staff goes on with the keys it has"), "{said}");
}

#[test]
fn a_10_a_new_key_is_found_at_once_and_a_withdrawn_one_is_refused() {
    let (old, new) = (Key::es256(), Key::rs256());
    let issuer = Issuer::publishing(&[old.jwk("old")]);
    let rig = with_keys(&issuer, "refresh: 3s");
    let (before, after) =
        (old.token("old", &claims(json!({}))), new.token("new", &claims(json!({}))));
    passes(&rig, &before);
    issuer.publish(&[new.jwk("new"), old.jwk("old")]);
    passes(&rig, &after);
    passes(&rig, &before);
    issuer.publish(&[new.jwk("new")]);
    until("the old one is refused", || rig.get("/", &[&bearer(&before)]).status == 401);
    passes(&rig, &after);
}

#[test]
fn a_11_one_token_in_a_request() {
    let (rig, key) = with_secret("from: [{ header: authorization }, { query: access_token }]");
    let token = key.token("", &claims(json!({})));
    let line = bearer(&token);
    let query = format!("/?access_token={token}");
    for (target, lines, status) in [
        ("/", vec![&*line, &*line], 400),
        (&*query, vec![&*line], 400),
        ("/", vec![], 401),
        ("/", vec!["Authorization: Basic YWRhOmFkYQ=="], 401),
        ("/", vec!["Authorization: Bearer"], 401),
        ("/", vec!["Authorization: Bearer a, Bearer b"], 401),
        ("/", vec![&*line.replace("Bearer ", "bEaReR   ")], 200),
    ] {
        let response = rig.get(target, &lines);
        assert_eq!(response.status, status, "{target} {lines:?}");
        let challenge = response.field("www-authenticate").unwrap_or("none");
        assert!(status == 200 || challenge.starts_with("Bearer"), "{challenge}");
    }
    let response = rig.get("/", &[]);
    assert_eq!(response.field("www-authenticate"), Some("Bearer"), "RFC 6750 3.1: no reason");
}

#[test]
fn a_15_a_key_that_cannot_be_used_is_refused_with_the_file() {
    let config = |policy: &str| {
        format!(
            "listeners:\n  web: {{ address: 127.0.0.1:0, routes: [{{ policies: [p], respond: ok }}] }}\n\
             policies:\n  p: {{ jwt: {{ {policy} }} }}\n"
        )
    };
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (policy, file, said) in [
        ("secret: short", "", "p.jwt.secret: the secret cannot be used: it has 5 bytes"),
        ("secret: ''", "", "the secret is empty"),
        ("secret: '${NOWHERE}'", "", "NOWHERE"),
        ("public-key: k", "", "p.jwt.public-key: the file cannot be used: it has no line"),
        ("public-key: k", private, "openssl pkey -pubout"),
        (
            "jwks-file: k",
            "{}",
            "p.jwt.jwks-file: the file is no set of keys: it has no list `keys`",
        ),
        ("jwks-file: gone", "", "cannot read `gone`"),
        ("jwks: nowhere/keys", "", "no pool named `nowhere`"),
        ("jwks: 'https://a/k#x'", "", "it has a fragment"),
        ("jwks: 'http://127.0.0.1:9/k', algorithms: HS256", "", "no key of the set could be used"),
        ("audience: shop", "", "exactly one of"),
    ] {
        let prepare = |folder: &std::path::Path| std::fs::write(folder.join("k"), file).unwrap();
        let found = check(&config(policy), prepare);
        assert!(found.contains(said), "{policy}:\n{found}");
        assert!(found.contains("transom.yaml:"), "{found}");
    }
}

#[test]
fn keys_may_lie_in_files() {
    let (rsa, ec) = (Key::rs256(), Key::es256());
    let set = json!({"keys": [rsa.jwk("r"), ec.jwk("e")]}).to_string();
    let policies = "policies:\n  pem: { jwt: { public-key: key.pem } }\n  set: { jwt: { jwks-file: set.json } }\n";
    let config = format!(
        "listeners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - {{ match: {{ path: /pem }}, policies: [pem], respond: pem }}\n      \
         - {{ match: {{ path: /set }}, policies: [set], respond: set }}\n{policies}"
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("key.pem"), ec.pem()).unwrap();
        std::fs::write(folder.join("set.json"), &set).unwrap();
    });
    let ask = |path: &str, token: &str| -> Response {
        let line = bearer(token);
        client::ask(transom.web(), format!("GET {path} HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"))
    };
    let body = claims(json!({}));
    assert_eq!(ask("/pem", &ec.token("any", &body)).text(), "pem");
    assert_eq!(ask("/pem", &rsa.token("any", &body)).status, 401);
    assert_eq!(ask("/set", &ec.token("e", &body)).text(), "set");
    assert_eq!(ask("/set", &rsa.token("r", &body)).text(), "set");
    assert_eq!(ask("/set", &ec.token("r", &body)).status, 401);
}

#[test]
fn a_reload_goes_on_with_the_keys() {
    let key = Key::es256();
    let issuer = Issuer::publishing(&[key.jwk("1")]);
    let rig = with_keys(&issuer, "");
    let token = key.token("1", &claims(json!({})));
    passes(&rig, &token);
    issuer.answer_with("");
    rig.reload();
    passes(&rig, &token);
    passes(&rig, &key.token("1", &claims(json!({"jti": "2"}))));
    assert_eq!(issuer.asked(), 1);
}

/// What the admin socket says, and its status.
pub(super) fn operator(transom: &Transom, method: &str, path: &str, body: &str) -> String {
    let output = std::process::Command::new("curl")
        .args(["-s", "-o", "-", "-w", "%{http_code}", "-X", method, "--unix-socket"])
        .arg(transom.folder().join("admin.sock"))
        .args(["-d", body])
        .arg(format!("http://admin{path}"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn gw_14_a_token_is_revoked_from_the_next_request_on() {
    let key = Key::hs256(SECRET);
    let config = format!(
        "workers: 2\n\
         listeners:\n  \
           web: {{ address: '@WEB', routes: [{{ policies: [staff], respond: hello }}] }}\n\
         policies:\n  \
           staff: {{ jwt: {{ secret: '{SECRET}', {RULES}, revoked: revoked.txt }} }}\n"
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("revoked.txt"), "# left\nid-1\nsub=eve\n").unwrap();
    });
    let token = |changes: Value| key.token("", &claims(changes));
    let ask = |token: &str| {
        let line = bearer(token);
        client::ask(transom.web(), format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")).status
    };
    let (good, other) = (token(json!({"jti": "id-2"})), token(json!({"jti": "id-3"})));
    assert_eq!(ask(&token(json!({"jti": "id-1"}))), 401);
    assert_eq!(ask(&token(json!({"sub": "eve"}))), 401);
    assert_eq!((ask(&good), ask(&good), ask(&other)), (200, 200, 200));
    let admin = |method: &str, path: &str, body: &str| operator(&transom, method, path, body);
    assert!(admin("POST", "/revoked", r#"{"value":"id-2","for":"1h"}"#).ends_with("201"));
    assert_eq!((ask(&good), ask(&other)), (401, 200), "one that is remembered, too");
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert_eq!(ask(&good), 401);
    assert!(admin("POST", "/revoked", r#"{"claim":"sub","value":"ada"}"#).ends_with("201"));
    assert_eq!(ask(&other), 401);
    let list = transom.admin("GET", "/revoked").text();
    assert!(list.contains("id-2") && list.contains("ada"), "{list}");
    assert!(admin("DELETE", "/revoked/sub/ada", "").ends_with("204"));
    for (wrong, why) in [
        (r#"{"for":"soon","value":"x"}"#, "`for`: "),
        (r#"{"for":"1h"}"#, "`value` is missing"),
        (r#"{"value":"x","clam":"sub"}"#, "`clam` is not known"),
        (r#"{"value":7}"#, "`value` is a text"),
        ("value=x", "it is no JSON object"),
    ] {
        let said = admin("POST", "/revoked", wrong);
        assert!(said.starts_with(why) && said.ends_with("422"), "{wrong}: {said}");
    }
    assert_eq!((ask(&good), ask(&other)), (401, 200));
    let token = |words: &[&str]| {
        let socket = transom.folder().join("admin.sock");
        let mut command = std::process::Command::new(TRANSOM);
        let output = command.arg("token").args(words).arg("--socket").arg(socket).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert_eq!(token(&["revoke", "ada", "--claim", "sub", "--for", "1h"]), "revoked\n");
    assert_eq!(ask(&other), 401);
    let list = token(&["list"]);
    assert!(
        list.starts_with("CLAIM  VALUE  UNTIL\n") && list.contains("sub    ada    2"),
        "{list}"
    );
    assert_eq!(token(&["restore", "ada", "--claim", "sub"]), "");
    assert_eq!(ask(&other), 200);
    assert!(token(&["restore", "ada", "--claim", "sub"]).contains("that is not in the list"));
}

#[test]
fn gw_14_what_was_revoked_stays_so_over_a_kill_until_its_time_is_over() {
    let key = Key::hs256(SECRET);
    let config = format!(
        "workers: 2\ndata: '@folder/data'\n\
         listeners:\n  \
           web: {{ address: '@WEB', routes: [{{ policies: [staff], respond: hello }}] }}\n\
         policies: {{ staff: {{ jwt: {{ secret: '{SECRET}', {RULES} }} }} }}\n"
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let ask = |transom: &Transom, id: &str| {
        let line = bearer(&key.token("", &claims(json!({"jti": id}))));
        client::ask(transom.web(), format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")).status
    };
    for body in [
        r#"{"value":"id-1","for":"1h"}"#,
        r#"{"value":"id-2","for":"1h"}"#,
        r#"{"value":"id-3","for":"1s"}"#,
    ] {
        assert!(operator(&transom, "POST", "/revoked", body).ends_with("201"));
    }
    assert!(operator(&transom, "DELETE", "/revoked/jti/id-2", "").ends_with("204"));
    transom.kill();
    transom.run_again(TRANSOM);
    assert_eq!((ask(&transom, "id-1"), ask(&transom, "id-2")), (401, 200));
    until("its time is over", || ask(&transom, "id-3") == 200);
    let list = transom.admin("GET", "/revoked").text();
    assert!(list.contains("id-1") && !list.contains("id-2") && !list.contains("id-3"), "{list}");
}
