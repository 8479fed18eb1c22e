//! Who may connect or ask, by address.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use transom_testkit::{Client, Transom};

use super::resources::check_file;
use super::rig::TRANSOM;

/// What a client from there gets: a status, or nothing where it is turned away.
fn from(transom: &Transom, last: u8, lines: &str) -> Option<u16> {
    let client = Client::try_connect_from(Ipv4Addr::new(127, 0, 0, last), transom.web());
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    Some(client.ok()?.send(request).try_response("GET").ok()?.status)
}

#[test]
fn lb_37_a_listener_turns_away_whom_its_lists_deny_and_a_reload_swaps_them() {
    let config = "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    \
                  clients: { allow: [127.0.0.8/29, 127.0.0.1], deny-files: [bad.txt], deny: [127.0.0.9] }\n    \
                  routes: [{ respond: hello }]\n";
    let mut list = "# a hundred thousand\n".to_owned();
    for n in 0..100_000_u32 {
        let _ = writeln!(list, "{}", Ipv4Addr::from(0x0a00_0000 + n * 8));
    }
    let mut transom = Transom::run_with(TRANSOM, config, |folder| {
        std::fs::write(folder.join("bad.txt"), format!("{list}127.0.0.10\n")).unwrap();
    });
    for (last, expected) in
        [(1, Some(200)), (2, None), (8, Some(200)), (9, None), (10, None), (11, Some(200))]
    {
        assert_eq!(from(&transom, last, ""), expected, "127.0.0.{last}");
    }
    let refused = "transom_connections_refused_total{listener=\"web\",reason=\"address\"";
    transom.metric_becomes(refused, 3.0);
    assert!(transom.said().contains("bad.txt: 100001 blocks"), "{}", transom.said());

    std::fs::write(transom.folder().join("bad.txt"), format!("{list}127.0.0.11\nx\n")).unwrap();
    let answer = transom.admin("POST", "/reload");
    assert_eq!(answer.status, 422);
    assert!(
        answer.text().contains("bad.txt:100003: `x` is not an IP address"),
        "{}",
        answer.text()
    );
    assert_eq!(from(&transom, 11, ""), Some(200), "the old list goes on");
    std::fs::write(transom.folder().join("bad.txt"), format!("{list}127.0.0.11\n")).unwrap();
    transom.write(config);
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert_eq!((from(&transom, 10, ""), from(&transom, 11, "")), (Some(200), None));
}

#[test]
fn lb_37_l_01_a_policy_asks_for_the_client_whom_trusted_proxies_name() {
    let transom = Transom::run(
        TRANSOM,
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    trusted-proxies: [127.0.0.1]\n    \
         routes: [{ policies: [blocked], respond: hello }]\n\
         policies: { blocked: { address: { deny: [192.0.2.0/24], allow: [192.0.2.7, 0.0.0.0/0] } } }\n",
    );
    for (last, lines, expected) in [
        (1, "", 200),
        (1, "X-Forwarded-For: 192.0.2.1\r\n", 403),
        (1, "X-Forwarded-For: 192.0.2.7\r\n", 200),
        (1, "X-Forwarded-For: ::ffff:192.0.2.1\r\n", 403),
        (1, "X-Forwarded-For: 2001:db8::1\r\n", 403),
        // Nobody else is believed.
        (2, "X-Forwarded-For: 192.0.2.1\r\n", 200),
    ] {
        assert_eq!(from(&transom, last, lines), Some(expected), "127.0.0.{last} {lines}");
    }
    transom.metric_becomes("transom_faults_total{listener=\"web\",code=\"forbidden\"", 3.0);
}

#[test]
fn lb_37_behind_a_balancer_the_list_is_held_against_whom_it_names() {
    let transom = Transom::run(
        TRANSOM,
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    \
         proxy-protocol: { from: 127.0.0.1 }\n    clients: { deny: [192.0.2.0/24] }\n    \
         routes: [{ respond: hello }]\n",
    );
    for (client, expected) in [("192.0.2.7", None), ("198.51.100.7", Some(200))] {
        let header = format!("PROXY TCP4 {client} 198.51.100.1 4711 80\r\n");
        let request = format!("{header}GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = Client::connect(transom.web()).send(request).try_response("GET");
        assert_eq!(response.ok().map(|response| response.status), expected);
    }
}

#[test]
fn a_rule_without_addresses_is_a_mistake() {
    let (status, said) = check_file(
        "listeners: { web: { address: ':1', routes: [{ policies: [{ address: {} }], respond: a }] } }\n",
    );
    assert_eq!(status, Some(64));
    assert!(said.contains("routes[0].policies[0].address: it names no addresses"), "{said}");
}
