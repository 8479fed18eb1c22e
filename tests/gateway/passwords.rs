//! Names and passwords.

use std::time::{Duration, Instant};

use transom_testkit::{Client, Endpoint, client};

use super::rig::Rig;

/// Of `secret`: cheap, and dear.
const BCRYPT: &str = "$2y$05$VhOZvODTEQVdECOfl9YxZu8LT/N901hcSF0OQsRXu8SRQrJHYOIE2";
const ARGON2: &str =
    "$argon2id$v=19$m=256,t=1,p=1$c2FsdHNhbHRzYWx0$LEoDiKolAdO6CICRtIsNfS7pzASNysREYbKPF9VwGok";

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
}

fn rig(settings: &str) -> Rig {
    let consumers = format!(
        "consumers:\n  \
           ann: {{ groups: [staff], passwords: {BCRYPT} }}\n  \
           bob: {{ passwords: [{{ hash: '{ARGON2}', user: robert }}] }}"
    );
    Rig::with(&[&format!("staff: {{ basic-auth: {settings} }}")], &consumers)
}

#[test]
fn gw_08_a_password_says_who_asks_and_the_endpoint_does_not_see_it() {
    let rig = rig("{ realm: Back office }");
    for (number, (pair, who)) in
        [("ann:secret", "ann"), ("robert:secret", "bob")].iter().enumerate()
    {
        let path = format!("/{number}");
        for _ in 0..3 {
            assert_eq!(rig.get(&path, &[&basic(pair)]).status, 200, "{pair}");
            assert_eq!(rig.seen().field("authorization"), None);
        }
        assert_eq!(rig.line_of(&path)["consumer"], *who);
    }
    for pair in ["ann:Secret", "ann:", "bob:secret", "nobody:secret", ":", "ann:secret "] {
        let response = rig.get("/", &[&basic(pair)]);
        assert_eq!(response.status, 401, "{pair}");
        let challenge = response.field("www-authenticate");
        assert_eq!(challenge, Some("Basic realm=\"Back office\", charset=\"UTF-8\""));
    }
    assert_eq!(rig.get("/", &[]).status, 401);
}

#[test]
fn gw_08_files_of_htpasswd_are_read_and_a_reload_takes_a_user_out() {
    let users = tempfile::tempdir().unwrap();
    let file = users.path().join("users");
    let weak = "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0";
    std::fs::write(&file, format!("# staff\nann:{BCRYPT}\nold:{weak}\n")).unwrap();
    let policy = format!("staff: {{ basic-auth: {{ users: {} }} }}", file.display());
    let rig = Rig::with(&[&policy], "");
    for (pair, status) in [("ann:secret", 200), ("old:secret", 200), ("old:wrong", 401)] {
        assert_eq!(rig.get("/", &[&basic(pair)]).status, status, "{pair}");
    }
    assert!(rig.transom.said().contains("1 of the hashes in"), "{}", rig.transom.said());
    std::fs::write(&file, format!("ann:{BCRYPT}\n")).unwrap();
    assert_eq!(rig.transom.admin("POST", "/reload").status, 200);
    for (pair, status) in [("ann:secret", 200), ("old:secret", 401)] {
        assert_eq!(rig.get("/", &[&basic(pair)]).status, status, "{pair}");
    }
    // nobody is let in where nobody can be known
    std::fs::write(&file, "").unwrap();
    let refused = rig.transom.admin("POST", "/reload");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("has no users"), "{}", refused.text());
    assert_eq!(rig.get("/", &[&basic("ann:secret")]).status, 200);
}

#[test]
fn a_11_two_credentials_in_authorization_are_refused() {
    let rig = rig("{}");
    let right = basic("ann:secret");
    assert_eq!(rig.get("/", &[&right, &right]).status, 400);
    let two = format!("{right}, Basic AAAA");
    assert_eq!(rig.get("/", &[&two]).status, 401);
}

#[test]
fn a_13_what_is_no_name_and_password_is_refused() {
    let rig = rig("{}");
    let long = format!("Authorization: Basic {}", "a".repeat(10_240));
    for line in [
        &*long,
        &basic("a\0nn:secret"),
        &basic("ann"),
        "Authorization: Basic",
        "Authorization: Basic ?",
    ] {
        let response = rig.get("/", &[line]);
        // a field of that length may be refused before anybody reads it
        assert!(matches!(response.status, 401 | 431), "{line}: {}", response.status);
    }
    assert!(rig.endpoint.requests().is_empty());
}

/// a name that nobody has takes as long as one that somebody has.
#[test]
fn a_12_unknown_names_take_as_long_as_known_ones() {
    // with 2^8 rounds, so that verifying takes longer than everything else
    let hash = "$2y$08$VhOZvODTEQVdECOfl9YxZu8LT/N901hcSF0OQsRXu8SRQrJHYOIE2";
    let consumers = format!("consumers: {{ ann: {{ passwords: {hash} }} }}");
    let rig = Rig::with(&["staff: { basic-auth: { remember: 0s } }"], &consumers);
    let refusal = |pair: &str| {
        let begun = Instant::now();
        assert_eq!(rig.get("/", &[&basic(pair)]).status, 401);
        begun.elapsed()
    };
    let (mut known, mut unknown): (Vec<Duration>, Vec<_>) =
        (0..15).map(|_| (refusal("ann:wrong"), refusal("nobody:wrong"))).unzip();
    known.sort_unstable();
    unknown.sort_unstable();
    let (known, unknown) = (known[7], unknown[7]);
    assert!(unknown * 3 > known && known * 3 > unknown, "{known:?} {unknown:?}");
}

/// verifying passwords holds up nobody else, not even on the same worker.
#[test]
fn a_13_a_worker_serves_on_while_passwords_are_verified() {
    // with 2^11 rounds, half a dozen of them keep a core busy for a while
    let dear = "$2y$11$VhOZvODTEQVdECOfl9YxZu8LT/N901hcSF0OQsRXu8SRQrJHYOIE2";
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
           - {{ match: {{ path: /staff }}, policies: [{{ basic-auth: {{}} }}], respond: in }}\n      \
           - {{ respond: out }}\n\
         consumers: {{ ann: {{ passwords: {dear} }} }}\n"
    );
    let rig = Rig::of(Endpoint::echo(), &config);
    let mut waiting: Vec<Client> = (0..6)
        .map(|number| {
            let mut client = Client::connect(rig.transom.web());
            let line = basic(&format!("ann:{number}"));
            client.send(format!("GET /staff HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"));
            client
        })
        .collect();
    let begun = Instant::now();
    let open = client::ask(rig.transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (open, took) = (open.status, begun.elapsed());
    for client in &mut waiting {
        assert_eq!(client.response().status, 401);
    }
    let all = begun.elapsed();
    assert_eq!(open, 200);
    assert!(took * 2 < all, "{took:?} of {all:?}");
}
