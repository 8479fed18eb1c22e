//! GW-01: one entry for many services.

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Http2, Transom};

use super::rig::TRANSOM;

/// Fifty services, each a process of its own, behind one address and in one file: half of them known by the
/// beginning of the path, which is taken off, the others by host, method, field, parameter or cookie.
#[test]
fn gw_01_fifty_services_are_reached_through_one_entry() {
    let services: Vec<Endpoint> = (0..50)
        .map(|number| {
            Endpoint::new(move |request, line| {
                line.send(ok(&format!("{number} {}", request.target)));
            })
        })
        .collect();
    let (mut routes, mut pools) = (String::new(), String::new());
    for (number, service) in services.iter().enumerate() {
        let (found, more) = match number {
            0..25 => (
                format!("path: '/s{number}/**'"),
                format!(", rewrite: {{ strip-prefix: /s{number} }}"),
            ),
            25..35 => (format!("host: s{number}.example"), String::new()),
            35..40 => (
                format!("path: '/shared/{{id}}', header: {{ x-service: s{number} }}"),
                String::new(),
            ),
            40..45 => (format!("path: /asked, query: {{ service: s{number} }}"), String::new()),
            45..49 => (format!("path: /kept, cookie: {{ service: s{number} }}"), String::new()),
            _ => ("path: /kept, method: DELETE".to_owned(), String::new()),
        };
        routes += &format!("      - {{ match: {{ {found} }}{more}, forward: s{number} }}\n");
        pools += &format!("  s{number}: {{ endpoints: '{}' }}\n", service.address);
    }
    let config = format!(
        "workers: 2\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n{routes}pools:\n{pools}"
    );
    let transom = Transom::run(TRANSOM, &config);
    let mut client = Client::connect(transom.web());
    for number in 0..50 {
        let (method, host, target, line, expected) = match number {
            0..25 => ("GET", "a".to_owned(), format!("/s{number}/x?y"), String::new(), "/x?y"),
            25..35 => ("GET", format!("s{number}.example"), "/x".to_owned(), String::new(), "/x"),
            35..40 => (
                "GET",
                "a".to_owned(),
                "/shared/7".to_owned(),
                format!("X-Service: s{number}\r\n"),
                "/shared/7",
            ),
            40..45 => (
                "GET",
                "a".to_owned(),
                format!("/asked?service=s{number}"),
                String::new(),
                "/asked?",
            ),
            45..49 => (
                "GET",
                "a".to_owned(),
                "/kept".to_owned(),
                format!("Cookie: service=s{number}\r\n"),
                "/kept",
            ),
            _ => ("DELETE", "a".to_owned(), "/kept".to_owned(), String::new(), "/kept"),
        };
        let response = client
            .send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{line}\r\n"))
            .response();
        let expected = format!("{number} {expected}");
        assert!(
            response.text().starts_with(&expected),
            "{number}: {} {}",
            response.status,
            response.text()
        );
    }
    assert!(services.iter().all(|service| service.requests().len() == 1), "each was asked once");
    for (target, status) in [("/s50/x", 404), ("/s1x", 404), ("/shared/7", 404), ("/kept", 405)] {
        let response = client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).response();
        assert_eq!(response.status, status, "{target}");
    }
    let mut http2 = Http2::connect(transom.web());
    for number in 0..25 {
        assert_eq!(http2.get(&format!("/s{number}/h2")).text(), format!("{number} /h2"));
    }
}
