//! What endpoints are told of who asks, and what nobody can make them believe.

use transom_testkit::{Endpoint, Http2, http2};

use super::rig::Rig;

const ANN: &str = "key-of-ann-0123456789";

fn consumers() -> String {
    format!(
        "plans: {{ vip: {{}} }}\nconsumers: {{ ann: {{ groups: [staff, night], plan: vip, keys: {ANN} }} }}"
    )
}

#[test]
fn gw_07_the_endpoint_is_told_who_asks() {
    let rig = Rig::with(&["keys: { api-key: {} }", "who: { identity-headers: {} }"], &consumers());
    let key = format!("X-API-Key: {ANN}");
    assert_eq!(rig.get("/", &[&key]).status, 200);
    let seen = rig.seen();
    assert_eq!(seen.field("x-consumer-name"), Some("ann"));
    assert_eq!(seen.field("x-consumer-groups"), Some("staff,night"));
    assert_eq!(seen.field("x-consumer-plan"), Some("vip"));
    let mut client = Http2::connect(rig.transom.web());
    let lines = [("x-api-key", ANN), ("x-consumer-name", "root"), ("x-consumer-name", "bob")];
    assert_eq!(client.ask(http2::request("GET", "/", &lines), b"").status, 200);
    let seen = rig.seen();
    assert_eq!(seen.all("x-consumer-name").collect::<Vec<_>>(), ["ann"]);
}

#[test]
fn p_15_nobody_outside_says_who_asks_even_where_nobody_is_looked_for() {
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
           - {{ match: {{ path: /keys }}, policies: [keys, who], forward: '@ENDPOINT' }}\n      \
           - {{ forward: '@ENDPOINT' }}\n\
         policies:\n  \
           keys: {{ api-key: {{}} }}\n  \
           who: {{ identity-headers: {{ fields: {{ X-Auth-User: name, X-Plan: plan }} }} }}\n{}\n",
        consumers()
    );
    let endpoint = Endpoint::echo();
    let config = config.replace("@ENDPOINT", &endpoint.address.to_string());
    let rig = Rig::of(endpoint, &config);
    let lies = ["X-Auth-User: root", "x-AUTH-user: root", "X-Plan: vip", "X-Consumer-Name: root"];
    let key = format!("X-API-Key: {ANN}");
    for (path, first, user) in [("/", "X: 1", None), ("/keys", &*key, Some("ann"))] {
        let lines: Vec<&str> = [first].into_iter().chain(lies).collect();
        assert_eq!(rig.get(path, &lines).status, 200);
        let seen = rig.seen();
        assert_eq!(seen.all("x-auth-user").collect::<Vec<_>>(), Vec::from_iter(user));
        assert_eq!(seen.field("x-plan"), user.map(|_| "vip"));
        assert_eq!(seen.field("x-consumer-name"), None);
    }
}

/// H1-49, P-14: a name that some server takes for one of ours is refused, whatever else is there.
#[test]
fn h1_49_a_name_that_some_server_takes_for_one_of_ours_is_refused() {
    let rig = Rig::with(&["keys: { api-key: {} }", "who: { identity-headers: {} }"], &consumers());
    let key = format!("X-API-Key: {ANN}");
    for imitation in ["X_Consumer_Name", "x.consumer.name", "X-Consumer_Groups", "X_CONSUMER-PLAN"]
    {
        let line = format!("{imitation}: root");
        assert_eq!(rig.get("/", &[&key, &line]).status, 400, "{imitation}");
    }
    assert!(rig.endpoint.requests().is_empty());
    for harmless in ["X_Consumer_Names: 1", "X-ConsumerName: 1"] {
        assert_eq!(rig.get("/", &[&key, harmless]).status, 200, "{harmless}");
    }
    let mut client = Http2::connect(rig.transom.web());
    let lines = [("x-api-key", ANN), ("x_consumer_name", "root")];
    let refused = client.try_ask(http2::request("GET", "/", &lines), b"");
    assert!(refused.is_ok_and(|response| response.status == 400));
}

#[test]
fn p_15_nobody_outside_says_it_in_trailers_either() {
    let rig = Rig::with(
        &[
            "key: { api-key: {} }",
            "token: { jwt: { secret: 'a-secret-of-thirty-two-bytes-at-least', headers: { x-tenant: tenant } } }",
        ],
        "consumers: { ada: { keys: [ada-secret-1234567890] } }",
    );
    let key = "X-Api-Key: ada-secret-1234567890";
    let trailers = "X-Consumer-Name: root\r\nX-Tenant: all\r\nX-Sum: 7\r\n";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\n{key}\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Consumer-Name, X-Tenant, X-Sum\r\n\r\n3\r\npay\r\n0\r\n{trailers}\r\n"
    );
    assert_eq!(transom_testkit::client::ask(rig.transom.web(), request).status, 200);
    let seen = rig.seen();
    assert_eq!(seen.body, b"pay");
    let trailers = format!("{:?}", seen.trailers).to_ascii_lowercase();
    assert!(trailers.contains("x-sum"), "{trailers}");
    assert!(!trailers.contains("consumer") && !trailers.contains("tenant"), "{trailers}");
}
