//! Ways around what a route decides.

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Transom, client};

use super::rig::TRANSOM;

fn status(transom: &Transom, target: &str) -> u16 {
    client::ask(transom.web(), format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).status
}

/// Whatever path the endpoint sees, it is the route that was found for the client's path whose policies
/// decide; nothing of what an endpoint says or a rewrite makes is looked up again.
#[test]
fn a_17_the_route_that_decides_is_the_one_that_is_forwarded() {
    let endpoint = Endpoint::new(|request, line| {
        let inside = request.target.starts_with("/admin");
        let redirect = "X-Accel-Redirect: /admin/all\r\nX-Sendfile: /etc/passwd\r\n";
        let answer = ok(if inside { "secret" } else { "open" });
        line.send(String::from_utf8_lossy(answer.as_ref()).replacen(
            "\r\n",
            &format!("\r\n{redirect}"),
            1,
        ));
    });
    let config = format!(
        "listeners:\n  web:\n    address: '@WEB'\n    routes:\n\
         \x20     - {{ match: {{ path: /admin/** }}, policies: [key], forward: o }}\n\
         \x20     - {{ match: {{ path: /old/** }}, policies: [key], forward: o, rewrite: {{ replace-prefix: {{ from: /old, to: /admin }} }} }}\n\
         \x20     - {{ match: {{ path: /pub/** }}, forward: o }}\n\
         \x20     - {{ match: {{ path: /** }}, forward: o }}\n\
         pools: {{ o: {{ endpoints: '{}' }} }}\n\
         policies: {{ key: {{ api-key: {{}} }} }}\n\
         consumers: {{ ada: {{ keys: [ada-secret-1234567890] }} }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    for (target, expected) in [
        ("/admin/all", 401),
        ("/old/all", 401),
        ("/pub/../admin/all", 401),
        ("/pub/%2e%2e/admin/all", 401),
        ("/pub/..%2fadmin/all", 200),
        ("//admin/all", 401),
        ("/pub/all", 200),
    ] {
        let found = status(&transom, target);
        assert!(found == expected || found == 400, "{target}: {found}");
    }
    // what came to the endpoint without a key is nothing that it takes for `/admin`
    let seen = endpoint.requests();
    assert!(seen.iter().all(|request| !request.target.starts_with("/admin")), "{seen:?}");
}

/// Nothing of a request that is refused is read but its head, and no endpoint is asked.
#[test]
fn l_10_a_refusal_waits_for_no_body_and_asks_no_endpoint() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\n\
         listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [rate], forward: '{}' }}] }} }}\n\
         policies: {{ rate: {{ rate-limit: {{ rate: 1/h, by: all }} }} }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    assert_eq!(status(&transom, "/"), 200);
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut stormy = Client::connect(transom.web());
        // the body never comes
        stormy
            .send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n{expect}\r\n"));
        let refused = stormy.response_to("POST");
        assert_eq!(refused.status, 429, "{expect}");
        assert!(refused.field("retry-after").is_some());
    }
    assert_eq!(endpoint.requests().len(), 1);
}
