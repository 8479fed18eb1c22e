//! Clients that come back to where they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, until};

use super::{cookie, get, named, over};

#[test]
fn lb_27_u_14_a_cookie_brings_clients_back_and_shows_nothing() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let settings = "affinity: { cookie: { name: shop, secret: '0123456789abcdef', max-age: 1h } }";
    let transom = over(&all, settings);
    let first = get(&transom, "/", "");
    let line = first.field("set-cookie").unwrap().to_owned();
    let (value, attributes) = line.split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
    let token = value.strip_prefix("shop=").unwrap();
    assert!(token.len() == 32 && token.bytes().all(|c| c.is_ascii_hexdigit()), "{token}");
    let sent = cookie(&first).unwrap();
    for _ in 0..6 {
        let again = get(&transom, "/", &sent);
        assert_eq!(again.text(), first.text());
        assert_eq!(again.field("set-cookie"), None, "it has what it needs");
    }
    // another process with the same secret knows the client
    let other = over(&all, settings);
    assert_eq!(get(&other, "/", &sent).text(), first.text());
    // what was made up is nothing, and gets a new one
    for wrong in [
        "Cookie: shop=1\r\n".to_owned(),
        sent.to_uppercase().replace("COOKIE", "Cookie").replace("SHOP", "shop"),
    ] {
        assert!(get(&transom, "/", &wrong).field("set-cookie").is_some(), "{wrong}");
    }
}

#[test]
fn lb_27_a_client_whose_endpoint_is_gone_sticks_to_another() {
    let mut endpoints = vec![named("a", ""), named("b", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let transom = over(&all, "affinity: { cookie: shop }");
    let first = get(&transom, "/", "");
    let sent = cookie(&first).unwrap();
    endpoints.remove(usize::from(first.text() == "b"));
    let second = get(&transom, "/", &sent);
    assert_ne!(second.text(), first.text());
    let sent = cookie(&second).expect("it is told where it is now");
    assert_eq!(get(&transom, "/", &sent).text(), second.text());
}

#[test]
fn lb_20_a_member_that_drains_keeps_its_clients_and_gets_no_others() {
    let endpoints = [named("a", ""), named("b", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let transom = over(&all, "affinity: { cookie: shop }");
    let first = get(&transom, "/", "");
    let (sent, name) = (cookie(&first).unwrap(), first.text());
    let mine = &endpoints[usize::from(name == "b")];
    let stands = |how: &str| {
        let place = format!("/pools/o/members/{}/{how}", mine.address);
        assert_eq!(transom.admin("POST", &place).status, 200);
    };
    stands("drain");
    for _ in 0..6 {
        let again = get(&transom, "/", &sent);
        assert_eq!((again.text(), again.field("set-cookie")), (name.clone(), None));
        assert_ne!(get(&transom, "/", "").text(), name, "a new client goes elsewhere");
    }
    stands("maintenance");
    let moved = get(&transom, "/", &sent);
    assert_ne!(moved.text(), name);
    assert!(cookie(&moved).is_some(), "it is told where it is now");
    stands("ready");
    assert_eq!(get(&transom, "/", &sent).text(), name, "its old cookie still says where it was");
}

#[test]
fn lb_27_who_waits_in_the_queue_still_comes_back_to_where_it_was() {
    let open = Arc::new(AtomicBool::new(false));
    let named = |name: &'static str| {
        let is_open = open.clone();
        Endpoint::new(move |request, line| {
            while request.target == "/held" && !is_open.load(Ordering::SeqCst) {
                line.wait(Duration::from_millis(2));
            }
            line.send(ok(name));
        })
    };
    let (a, b) = (named("a"), named("b"));
    let pool = "affinity: { header: x-who }, limits: { requests: 1 }, queue: { timeout: 20s }";
    let transom = over(&[&a, &b], pool);
    let ask = |path: &str, who: &str| {
        let mut client = Client::connect(transom.web());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Who: {who}\r\n\r\n"));
        client
    };
    let all = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let before = all.map(|who| ask("/", who).response().text());
    let mut busy = ask("/held", "somebody");
    until("it is busy", || transom.metric("transom_member_in_flight{pool=\"o\"") == 1.0);
    let mut waiting = all.map(|who| ask("/", who));
    until("all wait", || transom.metric("transom_pool_waiting{pool=\"o\"") == 8.0);
    open.store(true, Ordering::SeqCst);
    assert_eq!(busy.response().status, 200);
    let after = waiting.each_mut().map(|client| client.response().text());
    assert_eq!(after, before);
    let waited = |line: &&serde_json::Value| line["queued_ms"].is_number();
    assert_eq!(transom.lines_when(17).iter().filter(waited).count(), 8, "the log says who waited");
}

#[test]
fn lb_27_a_session_of_the_application_stays_where_it_began() {
    let a = named("a", "Set-Cookie: sid=session-of-a; Path=/\n");
    let b = named("b", "Set-Cookie: sid=session-of-b; Path=/\n");
    let transom = over(&[&a, &b], "affinity: { application-cookie: sid }");
    for _ in 0..2 {
        let first = get(&transom, "/", "");
        let sent = format!("Cookie: sid=session-of-{}\r\n", first.text());
        for _ in 0..5 {
            assert_eq!(get(&transom, "/", &sent).text(), first.text());
        }
    }
    let transom = over(&[&a, &b], "affinity: { header: mcp-session-id }");
    for session in 0..6 {
        let sent = format!("Mcp-Session-Id: {session}\r\n");
        let first = get(&transom, "/", &sent).text();
        assert!((0..4).all(|_| get(&transom, "/", &sent).text() == first));
    }
    let transom = over(&[&a, &b], "algorithm: random, affinity: { address: {} }");
    let first = get(&transom, "/", "").text();
    assert!((0..10).all(|_| get(&transom, "/", "").text() == first));
}

/// Two that stand beside each other (one address by VRRP, or one each by DNS) need not speak with each
/// other for a client to come to the same endpoint, when one takes the place of the other.
#[test]
fn lb_34_when_one_instance_takes_over_clients_stay_where_they_were() {
    let names = ["a", "b", "c", "d"];
    let endpoints: Vec<Endpoint> = names.into_iter().map(|name| named(name, "")).collect();
    let endpoints: Vec<&Endpoint> = endpoints.iter().collect();
    for settings in
        ["algorithm: { maglev: '{header.x-user}' }", "algorithm: { ring: '{header.x-user}' }"]
    {
        let mut first = over(&endpoints, settings);
        let second = over(&endpoints, settings);
        let user = |n: usize| format!("X-User: user-{n}\r\n");
        let served: Vec<String> = (0..40).map(|n| get(&first, "/", &user(n)).text()).collect();
        first.kill();
        for (n, before) in served.iter().enumerate() {
            assert_eq!(get(&second, "/", &user(n)).text(), *before, "user {n} with {settings}");
        }
    }
    let settings = "affinity: { cookie: { name: shop, secret: '0123456789abcdef' } }";
    let mut first = over(&endpoints, settings);
    let second = over(&endpoints, settings);
    let met: Vec<(String, String)> = (0..8)
        .map(|_| {
            let response = get(&first, "/", "");
            (cookie(&response).expect("a cookie is set"), response.text())
        })
        .collect();
    first.kill();
    // in another order, so that turns alone would not lead there
    for (cookie, before) in met.iter().rev() {
        let again = get(&second, "/", cookie);
        assert_eq!((again.text(), again.field("set-cookie")), (before.clone(), None));
    }
}
