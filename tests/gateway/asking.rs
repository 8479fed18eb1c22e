//! GW-11, GW-13: others decide whether a request may pass.

use serde_json::{Value, json};
use transom_testkit::endpoint_h2::{H2Endpoint, H2Exchange, Manners};
use transom_testkit::{Endpoint, Received, until};

use super::rig::Rig;

/// Answers as the field `X-Say` of the question asks it to.
fn authority() -> Endpoint {
    Endpoint::new(|request, line| {
        match request.field("x-say") {
        Some("no") => line.send(
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nX-Secret: a\r\nContent-Type: text/plain\r\n\
             Content-Length: 7\r\n\r\ngo away",
        ),
        Some("login") => line.send(
            "HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nSet-Cookie: at=1\r\n\
             Content-Length: 0\r\n\r\n",
        ),
        Some("broken") => line.send("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        Some("nonsense") => line.send("nonsense\r\n\r\n"),
        Some("huge") => {
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n");
            line.pour(&[b'x'; 70_000]);
        }
        Some("interim") => line.send(
            "HTTP/1.1 103 Early\r\nX-User: eve\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        Some("never") => line.stall(),
        _ => line.send(
            "HTTP/1.1 200 OK\r\nX-User: ada\r\nX-Groups: a\r\nX-Groups: b\r\nX-Other: c\r\n\
             Set-Cookie: seen=1\r\nTE: trailers\r\nContent-Length: 2\r\n\r\nok",
        ),
    }
    })
}

fn rig(authority: &Endpoint, more: &str) -> Rig {
    let policy = format!(
        "ask: {{ forward-auth: {{ url: 'http://{}/check?a=b', send: [authorization, x-say], \
         take: [x-user, x-groups], give: [set-cookie], timeout: 3s, {more} }} }}",
        authority.address
    );
    Rig::with(&[&policy], "")
}

#[test]
fn gw_11_a_service_is_told_of_the_request_and_what_it_says_is_taken_over() {
    let authority = authority();
    let rig = rig(&authority, "name: x-user");
    let response = rig.ask(
        "POST /orders/7?full=1",
        &["Authorization: Bearer t", "X-User: root", "X-Mine: 1", "Content-Length: 2", "", "hi"],
    );
    assert_eq!(response.status, 200);
    assert_eq!(response.field("set-cookie"), Some("seen=1"));
    let asked = authority.request();
    assert_eq!((&*asked.method, &*asked.target), ("GET", "/check?a=b"));
    for (name, value) in [
        ("host", Some(authority.address.to_string())),
        ("authorization", Some("Bearer t".into())),
        ("x-forwarded-method", Some("POST".into())),
        ("x-forwarded-uri", Some("/orders/7?full=1".into())),
        ("x-forwarded-host", Some("a".into())),
        ("x-forwarded-proto", Some("http".into())),
        ("x-forwarded-for", Some("127.0.0.1".into())),
        ("x-user", None),
        ("x-mine", None),
        ("content-length", None),
    ] {
        assert_eq!(asked.field(name), value.as_deref(), "{name}");
    }
    let seen = rig.seen();
    assert_eq!(seen.field("x-user"), Some("ada"), "not what the client has sent");
    assert_eq!(seen.all("x-groups").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((seen.field("x-other"), seen.field("te")), (None, None));
    assert_eq!(rig.line_of("/orders/7")["consumer"], "ada");
}

#[test]
fn gw_11_what_refuses_is_given_to_the_client_and_nothing_else_of_it() {
    let authority = authority();
    let rig = rig(&authority, "");
    let no = rig.get("/no", &["X-Say: no"]);
    assert_eq!((no.status, no.text()), (401, "go away".to_owned()));
    assert_eq!(no.field("www-authenticate"), Some("Basic"));
    assert_eq!((no.field("x-secret"), no.field("cache-control")), (None, Some("no-store")));
    let login = rig.get("/login", &["X-Say: login"]);
    assert_eq!(login.status, 302);
    assert_eq!(login.field("location"), Some("https://login.example/"));
    assert_eq!(login.field("set-cookie"), Some("at=1"));
    assert!(rig.endpoint.requests().is_empty());
    let line = rig.line_of("/no");
    assert_eq!((&line["fault"], &line["blame"]), (&json!("unauthenticated"), &json!("client")));
    let grpc = rig.ask("POST /grpc", &["X-Say: no", "Content-Type: application/grpc"]);
    assert_eq!((grpc.status, grpc.field("grpc-status")), (200, Some("16")));
}

/// Directories (LDAP) and SAML are spoken by a service of their own: it is shown the name and the password, or
/// sends browsers to log in, and says who it is and in which groups.
#[test]
fn gw_10_a_service_in_front_of_a_directory_says_who_it_is() {
    let directory = Endpoint::new(|request, line| {
        match request.field("authorization") {
        // ada:secret
        Some("Basic YWRhOnNlY3JldA==") => line.send(
            "HTTP/1.1 200 OK\r\nX-User: ada\r\nX-Groups: staff\r\nContent-Length: 0\r\n\r\n",
        ),
        None if request.field("accept").is_some_and(|accept| accept.contains("text/html")) => line.send(
            "HTTP/1.1 302 Found\r\nLocation: https://idp.example/saml?SAMLRequest=x\r\nContent-Length: 0\r\n\r\n",
        ),
        _ => line.send(
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"directory\"\r\nContent-Length: 0\r\n\r\n",
        ),
    }
    });
    let rig = Rig::with(
        &[
            &format!(
                "ask: {{ forward-auth: {{ url: 'http://{}/bind', send: [authorization, accept], \
                 take: [x-user, x-groups], name: x-user, remember: 10s }} }}",
                directory.address
            ),
            "few: { rate-limit: { rate: 3/h, by: consumer } }",
        ],
        "",
    );
    let ada = ["Authorization: Basic YWRhOnNlY3JldA==", "X-User: root"];
    for _ in 0..3 {
        assert_eq!(rig.get("/", &ada).status, 200);
        let seen = rig.seen();
        assert_eq!((seen.field("x-user"), seen.field("x-groups")), (Some("ada"), Some("staff")));
    }
    assert_eq!(directory.requests().len(), 1, "it is asked once for a while");
    assert_eq!(rig.get("/", &ada).status, 429, "what follows knows who it is");
    let wrong = rig.get("/", &["Authorization: Basic YWRhOndyb25n"]);
    assert_eq!(
        (wrong.status, wrong.field("www-authenticate")),
        (401, Some("Basic realm=\"directory\""))
    );
    let page = rig.get("/", &["Accept: text/html"]);
    assert_eq!(page.status, 302);
    assert_eq!(page.field("location"), Some("https://idp.example/saml?SAMLRequest=x"));
    assert_eq!(rig.endpoint.requests().len(), 3);
}

#[test]
fn gw_11_a_service_is_told_the_body_by_choice_and_the_endpoint_still_gets_it() {
    let authority = authority();
    let rig = rig(&authority, "body: 16B, remember: 1m");
    let send = |framing: &str, body: &str| {
        rig.ask("POST /a", &["Content-Type: text/x", framing, "", body]).status
    };
    assert_eq!(send("Content-Length: 5", "hello"), 200);
    let asked = authority.request();
    assert_eq!((&*asked.method, &*asked.text()), ("POST", "hello"));
    assert_eq!(asked.field("content-type"), Some("text/x"));
    assert_eq!(rig.seen().text(), "hello");
    assert_eq!(send("Transfer-Encoding: chunked", "3\r\nhel\r\n2\r\nlo\r\n0\r\n"), 200);
    assert_eq!(authority.requests().len(), 1, "it is the same question");
    assert_eq!(rig.seen().text(), "hello");
    assert_eq!(send("Content-Length: 5", "other"), 200);
    assert_eq!(authority.requests().len(), 2);
    let long = "x".repeat(17);
    assert_eq!(send("Content-Length: 17", &long), 413);
    assert_eq!(send("Transfer-Encoding: chunked", &format!("11\r\n{long}\r\n0\r\n")), 413);
    assert_eq!(rig.get("/a", &[]).status, 200);
    assert_eq!(authority.requests().pop().unwrap().method, "GET");
    assert_eq!((authority.requests().len(), rig.endpoint.requests().len()), (3, 4));
}

#[test]
fn gw_13_opa_is_told_the_body_by_choice_where_it_has_one_reading() {
    let agent = Endpoint::new(|request, line| {
        let input: Value = serde_json::from_str(&request.text()).unwrap();
        let allow = input["input"]["body"]["amount"] == 7 || input["input"]["body"] == "seven";
        line.send(transom_testkit::endpoint::ok(&json!({ "result": allow }).to_string()));
    });
    let rules = format!("rules: {{ opa: {{ url: 'http://{}/', body: 1KiB }} }}", agent.address);
    let rig = Rig::with(&[&rules], "");
    for (media, body, status) in [
        ("application/json", r#"{"amount":7}"#, 200),
        ("application/json", r#"{"amount":8}"#, 403),
        ("application/json", r#"{"amount":7,"amount":8}"#, 400),
        ("application/json", "{", 400),
        ("text/plain", "seven", 200),
        ("text/plain", r#"{"amount":7}"#, 403),
    ] {
        let (media_line, length) =
            (format!("Content-Type: {media}"), format!("Content-Length: {}", body.len()));
        let response = rig.ask("POST /a", &[&media_line, &length, "", body]);
        assert_eq!(response.status, status, "{media} {body}");
        if status == 200 {
            assert_eq!(rig.seen().text(), body);
        }
    }
    assert_eq!(rig.get("/a", &[]).status, 403);
}

#[test]
fn a_14_nothing_passes_unasked() {
    let authority = authority();
    let closed = rig(&authority, "");
    for say in ["broken", "nonsense", "huge", "never"] {
        let response = closed.get(&format!("/{say}"), &[&format!("X-Say: {say}")]);
        assert_eq!(response.status, 503, "{say}");
        assert_eq!(closed.line_of(&format!("/{say}"))["fault"], "authority-unavailable");
    }
    assert!(closed.endpoint.requests().is_empty());
    let response = closed.get("/interim", &["X-Say: interim", "X-User: eve"]);
    assert_eq!(response.status, 200);
    assert_eq!(closed.seen().field("x-user"), None, "neither the client's nor an interim one");
    let open = rig(&authority, "unanswered: pass");
    let response = open.get("/broken", &["X-Say: broken", "X-User: eve"]);
    assert_eq!((response.status, open.seen().field("x-user")), (200, None));
    let detail = open.line_of("/broken")["detail"].to_string();
    assert!(detail.contains("passes unasked"), "{detail}");
    drop(authority);
    assert_eq!(closed.get("/gone", &[]).status, 503);
}

#[test]
fn gw_11_answers_are_remembered_for_the_same_question_only() {
    let authority = authority();
    let rig = rig(&authority, "remember: 1m");
    for _ in 0..3 {
        assert_eq!(rig.get("/a?b", &["Authorization: 1"]).status, 200);
        assert_eq!(rig.get("/a?b", &["Authorization: 2"]).status, 200);
        assert_eq!(rig.get("/a?c", &["Authorization: 1"]).status, 200);
        assert_eq!(rig.ask("PUT /a?b", &["Authorization: 1", "Content-Length: 0"]).status, 200);
        assert_eq!(rig.get("/a", &["X-Say: no"]).status, 401);
        assert_eq!(rig.get("/a", &["X-Say: broken"]).status, 503);
    }
    let broken = |request: &&Received| request.field("x-say") == Some("broken");
    let asked = authority.requests();
    assert_eq!(asked.iter().filter(broken).count(), 3, "what is no answer is not remembered");
    assert_eq!(asked.len(), 5 + 3);
    assert_eq!(rig.seen().field("x-user"), Some("ada"));
    rig.reload();
    assert_eq!(rig.get("/a?b", &["Authorization: 1"]).status, 200);
    assert_eq!(authority.requests().len(), 5 + 3);
}

#[test]
fn gw_11_a_dry_run_only_tells() {
    let authority = authority();
    let rig = rig(&authority, "dry-run: true");
    assert_eq!(rig.get("/no", &["X-Say: no"]).status, 200);
    let detail = rig.line_of("/no")["detail"].to_string();
    assert!(detail.contains("would be refused"), "{detail}");
}

#[test]
fn gw_13_opa_decides_by_who_asks_for_what() {
    let agent = Endpoint::new(|request, line| {
        let input: Value = serde_json::from_str(&request.text()).unwrap();
        let own = input["input"]["segments"][1] == input["input"]["identity"]["name"];
        let result = json!({"result": {
            "allow": own, "reason": "not theirs", "headers": {"x-by": "opa", "host": "evil"},
        }});
        line.send(transom_testkit::endpoint::ok(&result.to_string()));
    });
    let rig = Rig::with(
        &[
            "keys: { api-key: {} }",
            &format!("rules: {{ opa: {{ url: 'http://{}/v1/data/shop' }} }}", agent.address),
        ],
        "consumers: { ann: { keys: key-of-ann-0123456789 } }",
    );
    let ask = |path: &str| rig.get(path, &["X-API-Key: key-of-ann-0123456789"]);
    assert_eq!(ask("/users/ann?a=1&a=2&%61dmin=y%20es").status, 200);
    assert_eq!((rig.seen().field("x-by"), rig.seen().field("host")), (Some("opa"), Some("a")));
    let response = ask("/users/bob");
    assert_eq!(response.status, 403);
    assert!(!response.text().contains("theirs"));
    until("the log tells why", || rig.log().contains("not theirs"));
    let input: Value = serde_json::from_str(&agent.requests()[0].text()).unwrap();
    let input = &input["input"];
    assert_eq!(input["query"], json!({"a": ["1", "2"], "admin": ["y es"]}), "as endpoints read it");
    assert_eq!((&input["method"], &input["path"]), (&json!("GET"), &json!("/users/ann")));
    assert_eq!(agent.requests()[0].target, "/v1/data/shop");
}

/// A message of gRPC.
/// What a rule leaves out, a client must not say.
#[test]
fn p_15_fields_of_a_decision_come_from_nobody_else() {
    let agent = Endpoint::new(|request, line| {
        let input: Value = serde_json::from_str(&request.text()).unwrap();
        let headers = match input["input"]["path"] == "/admin" {
            true => json!({"x-role": "admin", "x-other": "1"}),
            false => json!({}),
        };
        let result = json!({"result": {"allow": true, "headers": headers}});
        line.send(transom_testkit::endpoint::ok(&result.to_string()));
    });
    let policy = format!(
        "rules: {{ opa: {{ url: 'http://{}/v1/data/shop', take: x-role }} }}",
        agent.address
    );
    let rig = Rig::with(&[&policy], "");
    for (path, role) in [("/admin", Some("admin")), ("/plain", None)] {
        assert_eq!(rig.get(path, &["X-Role: root", "x-rOLE: admin"]).status, 200);
        assert_eq!(
            (rig.seen().field("x-role"), rig.seen().field("x-other")),
            (role, None),
            "{path}"
        );
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// A field of protocol buffers with bytes in it.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

fn header(key: &str, value: &str) -> Vec<u8> {
    part(2, &part(1, &[part(1, key.as_bytes()), part(2, value.as_bytes())].concat()))
}

async fn check(mut exchange: H2Exchange) {
    exchange.read().await;
    let question = exchange.received.text();
    let message = match () {
        // denied_response with status 401, a field and a body
        () if question.contains("\u{2}no") => {
            part(2, &[part(1, &[8, 0x91, 3]), header("x-why", "no"), part(3, b"go away")].concat())
        }
        () if question.contains("fail") => {
            exchange.head(
                200,
                &[("content-type", "application/grpc"), ("grpc-status", "13")],
                true,
            );
            return;
        }
        // ok_response
        () => part(3, &[header("x-user", "ada"), part(5, b"authorization")].concat()),
    };
    let mut sending = exchange.head(200, &[("content-type", "application/grpc")], false);
    sending.send(framed(&message)).await;
    sending.trailers(&[("grpc-status", "0")]);
}

#[test]
fn gw_11_a_service_written_for_envoy_is_asked_over_grpc() {
    let authority = H2Endpoint::new(Manners::default(), check);
    let policy = "ask: { ext-authz: { to: authz, send: [authorization, x-say], timeout: 2s, \
                  body: 1KiB, context: { area: shop }, take: [x-user, x-role] } }";
    let pools = Endpoint::echo();
    let config = format!(
        "workers: 2\n\
         listeners:\n  \
           web: {{ address: '@WEB', routes: [{{ policies: [ask], forward: o }}] }}\n\
         pools:\n  \
           o: {{ endpoints: '{}' }}\n  \
           authz: {{ endpoints: '{}', http: '2' }}\n\
         policies:\n  {policy}\n",
        pools.address, authority.address
    );
    let rig = Rig::of(pools, &config);
    let response = rig.get("/a?b", &["Authorization: Bearer t", "X-User: eve", "X-Role: admin"]);
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = rig.seen();
    assert_eq!((seen.field("x-user"), seen.field("authorization")), (Some("ada"), None));
    assert_eq!(seen.field("x-role"), None, "only an answer says that");
    let no = rig.get("/a", &["X-Say: no"]);
    assert_eq!((no.status, no.text()), (401, "go away".to_owned()));
    assert_eq!(no.field("x-why"), Some("no"));
    assert_eq!(rig.get("/fail", &["X-Say: fail"]).status, 503);
    assert_eq!(rig.ask("POST /body", &["Content-Length: 7", "", "payload"]).status, 200);
    assert_eq!(rig.seen().text(), "payload");
    let log = authority.log();
    // `body`, and `size`
    let said = log.requests.last().unwrap().text();
    assert!(said.contains("\u{5a}\u{7}payload") && said.contains("\u{48}\u{7}"), "{said:?}");
    let asked = &log.requests[0];
    assert_eq!(asked.target, "/envoy.service.auth.v3.Authorization/Check");
    assert_eq!(asked.field("te"), Some("trailers"));
    let said = asked.text();
    for part in ["GET", "/a?b", "Bearer t", "area", "shop", "127.0.0.1"] {
        assert!(said.contains(part), "{part}: {said:?}");
    }
}
