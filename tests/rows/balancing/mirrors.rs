//! Copies of requests, which never matter to a client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use transom_testkit::{Client, Endpoint, Port, Transom};

use super::{get, named};
use crate::rows::rig::TRANSOM;

/// A Transom that copies what it sends to `a` to another address.
fn mirrored(a: &Endpoint, to: SocketAddr, settings: &str) -> Transom {
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n\
         \x20     - forward: {{ to: '{}', mirror: {{ to: '{to}', {settings} }} }}\n",
        a.address
    );
    Transom::run(TRANSOM, &config)
}

#[test]
fn gw_03_a_mirror_gets_whole_copies() {
    let (a, shadow) = (named("a", ""), named("shadow", ""));
    let transom = mirrored(&a, shadow.address, "max-body: 1KiB");
    let mut client = Client::connect(transom.web());
    let post = |body: &str, framing: &str| {
        format!("POST /x?y HTTP/1.1\r\nHost: a\r\nX-A: b\r\n{framing}\r\n\r\n{body}")
    };
    let sent = [
        "GET /g HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        post("hello", "Content-Length: 5"),
        post("5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        // too long
        post(&"x".repeat(2000), "Content-Length: 2000"),
        post(&format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000)), "Transfer-Encoding: chunked"),
    ];
    for request in sent {
        assert_eq!(client.send(request).response().text(), "a");
    }
    shadow.until("three copies came", |log| log.requests.len() >= 3);
    let mut copies: Vec<(String, String)> =
        shadow.requests().iter().map(|copy| (copy.target.clone(), copy.text())).collect();
    copies.sort();
    let expected = [("/g", ""), ("/x?y", "hello"), ("/x?y", "hello")];
    assert_eq!(copies, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let fields = |endpoint: &Endpoint| {
        endpoint.requests().iter().filter(|it| it.field("x-forwarded-for").is_some()).count()
    };
    assert_eq!((fields(&a), fields(&shadow)), (5, 3));
    assert_eq!(transom.lines_when(5).len(), 5, "copies are no exchanges of clients");
}

#[test]
fn a_16_a_mirror_gets_no_credentials_unless_the_file_says_so() {
    for (settings, expected) in
        [("at-once: 9", [None, None]), ("credentials: true", [Some("Bearer t"), Some("a=b")])]
    {
        let (a, shadow) = (named("a", ""), named("shadow", ""));
        let transom = mirrored(&a, shadow.address, settings);
        let lines = "Authorization: Bearer t\r\nCookie: a=b\r\nX-A: b\r\n";
        assert_eq!(get(&transom, "/", lines).text(), "a");
        shadow.until("the copy came", |log| log.requests.len() == 1);
        let copy = &shadow.requests()[0];
        assert_eq!([copy.field("authorization"), copy.field("cookie")], expected, "{settings}");
        assert_eq!(copy.field("x-a"), Some("b"));
        assert_eq!(a.requests()[0].field("authorization"), Some("Bearer t"));
    }
}

#[test]
fn u_08_a_mirror_never_matters_to_the_client() {
    let a = named("a", "");
    let stuck = Endpoint::raw(|line| line.stall());
    let gone = Port::reserve().unwrap();
    for to in [stuck.address, gone.address] {
        let transom = mirrored(&a, to, "at-once: 2");
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(get(&transom, "/", "").text(), "a");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "nobody waits for copies");
    }
    assert!(stuck.connections() <= 2, "{} copies at once", stuck.connections());
    let shadow = named("shadow", "");
    let transom = mirrored(&a, shadow.address, "share: 25%, at-once: 1000");
    for _ in 0..200 {
        assert_eq!(get(&transom, "/", "").text(), "a");
    }
    shadow.until("some copies came", |log| log.requests.len() >= 20);
    assert!(shadow.requests().len() <= 90, "{}", shadow.requests().len());
}
