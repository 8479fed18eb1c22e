//! What browsers are told.

use transom_testkit::message::all;
use transom_testkit::{Endpoint, Http2, http2};

use super::rig::Rig;

#[test]
fn browsers_are_told_to_be_careful_with_every_answer() {
    let rig = Rig::with(
        &[
            "careful: { security-headers: { frames: deny, content-security-policy: default-src self } }",
        ],
        "",
    );
    let response = rig.get("/", &[]);
    assert_eq!(response.status, 200);
    assert_eq!(rig.endpoint.request().target, "/");
    assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.field("x-frame-options"), Some("DENY"));
    assert_eq!(response.field("content-security-policy"), Some("default-src self"));
    assert_eq!(response.field("strict-transport-security"), None, "it was asked without TLS");
}

const SHOP: &str = "Origin: https://shop.example";
const STRANGER: &str = "Origin: https://evil.example";
const CORS: &str = "scripts: { cors: { origins: https://shop.example, headers: [content-type], credentials: true } }";

#[test]
fn gw_16_preflights_are_answered_here_and_responses_say_who_may_read_them() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok",
    );
    let rig = Rig::over(endpoint, &[CORS], "");
    let preflight = |origin| rig.ask("OPTIONS /", &[origin, "Access-Control-Request-Method: PUT"]);
    let told = preflight(SHOP);
    assert_eq!((told.status, told.text().as_str()), (204, ""));
    assert_eq!(told.field("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(told.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(
        told.field("access-control-allow-methods"),
        Some("GET, HEAD, POST, PUT, PATCH, DELETE")
    );
    assert_eq!(told.field("access-control-allow-headers"), Some("content-type"));
    assert_eq!(told.field("access-control-max-age"), Some("600"));
    assert_eq!(preflight(STRANGER).field("access-control-allow-origin"), None);
    assert!(rig.endpoint.requests().is_empty());
    let own = rig.get("/", &[SHOP]);
    assert_eq!(own.field("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(own.field("vary"), Some("Origin"));
    let other = rig.get("/", &[STRANGER]);
    assert_eq!((other.status, other.field("access-control-allow-origin")), (200, None));
    let mut client = Http2::connect(rig.transom.web());
    let lines = [("origin", "https://shop.example"), ("access-control-request-method", "PUT")];
    let told = client.ask(http2::request("OPTIONS", "/", &lines), b"");
    assert_eq!(told.field("access-control-allow-origin"), Some("https://shop.example"));
}

/// Browsers ask no leave for a WebSocket, and send cookies along.
#[test]
fn w_02_a_websocket_of_another_origin_is_refused() {
    let own_pages = "own: { csrf: { origins: [https://shop.example], token: { secret: 0123456789abcdef0123 } } }";
    for policy in [CORS, own_pages] {
        let rig = Rig::with(&[policy], "");
        let websocket = |lines: &[&str]| {
            let usual = [
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ];
            rig.ask("GET /", &[lines, &usual].concat()).status
        };
        assert_eq!(websocket(&[STRANGER]), 403, "{policy}");
        assert_eq!(websocket(&[STRANGER, "Sec-Fetch-Site: cross-site"]), 403, "{policy}");
        assert!(rig.endpoint.requests().is_empty());
        assert_ne!(websocket(&[SHOP]), 403, "{policy}");
        assert_ne!(websocket(&[]), 403, "no browser: {policy}");
        assert_eq!(rig.endpoint.requests().len(), 2);
        let mut client = Http2::connect(rig.transom.web());
        let lines = [("origin", "https://evil.example"), ("sec-websocket-version", "13")];
        let mut request = http2::request("CONNECT", "/", &lines);
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        // which settings the server has is known with the first answer
        assert_eq!(client.get("/").status, 200);
        let mut asked = client.begin(request, false).unwrap();
        assert_eq!(client.wait(&mut asked.response).unwrap().status(), 403, "{policy}");
    }
}

#[test]
fn gw_16_what_changes_something_comes_from_own_pages_with_the_token() {
    let rig = Rig::with(
        &["own: { csrf: { token: { secret: 0123456789abcdef0123, bind: '{cookie.session}' } } }"],
        "",
    );
    let first = rig.get("/", &["Cookie: session=1"]);
    let line = first.field("set-cookie").unwrap();
    let (cookie, flags) = line.split_once(';').unwrap();
    assert_eq!(flags, " Path=/; SameSite=Lax");
    let (_, token) = cookie.split_once('=').unwrap();
    let post = |lines: &[&str]| {
        let length = ["Content-Length: 0"];
        rig.ask("POST /", &[&length, lines].concat()).status
    };
    let with = |session: &str| format!("Cookie: session={session}; {cookie}");
    let field = format!("X-CSRF-Token: {token}");
    assert_eq!(post(&[&with("1"), &field]), 200);
    assert_eq!(post(&[&with("1"), &field, "Sec-Fetch-Site: same-origin"]), 200);
    assert_eq!(post(&[&with("1"), &field, "Sec-Fetch-Site: cross-site"]), 403);
    assert_eq!(post(&[&with("1"), &field, STRANGER]), 403);
    assert_eq!(post(&[&with("2"), &field]), 403, "of another session");
    assert_eq!(post(&[&with("1")]), 403, "only in the cookie");
    assert_eq!(post(&[&field]), 403, "only in the field");
    assert_eq!(rig.get("/", &[&with("1")]).field("set-cookie"), None, "it has one");
}

#[test]
fn gw_16_cookies_of_endpoints_get_their_flags() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: theme=dark\r\nContent-Length: 0\r\n\r\n",
    );
    let rig = Rig::over(endpoint, &["flags: { cookies: { except: [theme] } }"], "");
    let response = rig.get("/", &[]);
    let cookies: Vec<_> = all(&response.fields, "set-cookie").collect();
    assert_eq!(cookies, ["a=1; HttpOnly; SameSite=Lax", "theme=dark"]);
}
