//! What endpoints say of themselves, and operators of them.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use transom_testkit::server::Server;
use transom_testkit::{Transom, client, until};

use super::rig::{TRANSOM, come_and_go, config, members, servers, shown};

/// `transom pool ...` of a running program.
fn pool(transom: &Transom, words: &[&str]) -> (i32, String) {
    let socket: PathBuf = transom.folder().join("admin.sock");
    let output = Command::new(TRANSOM)
        .arg("pool")
        .args(words)
        .arg("--socket")
        .arg(socket)
        .output()
        .expect("the program can be run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn lb29_endpoints_that_register_themselves_stay_as_long_as_they_say_so() {
    let servers = servers();
    let pool = "    sources: [{ registration: { ttl: 1s } }]";
    let transom = Transom::run(TRANSOM, &config(pool, ""));
    let place = |server: &Server| format!("/pools/shop/registrations/{}", server.address);
    let register = |server: &Server| {
        let answer = transom.admin("PUT", &place(server));
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    let mut all: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
    all.sort();
    until("all are members", || {
        servers.iter().for_each(register);
        members(&transom) == all
    });
    // one falls silent, one says goodbye
    assert_eq!(transom.admin("DELETE", &place(&servers[2])).status, 200);
    until("the silent one is gone", || {
        register(&servers[0]);
        members(&transom) == [servers[0].address.to_string()]
    });
    // all fall silent: a mistake; the last says goodbye: meant
    until("the source fails", || shown(&transom)["sources"][0]["failing"].is_string());
    assert_eq!(members(&transom), [servers[0].address.to_string()]);
    register(&servers[0]);
    assert_eq!(transom.admin("DELETE", &place(&servers[0])).status, 200);
    until("nobody is left", || members(&transom).is_empty());
    assert_eq!(transom.admin("DELETE", &place(&servers[0])).status, 404);
}

/// Behind a Unix socket of this machine may stand whoever can do anything here: Docker, or the admin interface.
#[test]
fn lb29_m04_an_endpoint_registers_addresses_and_no_socket_of_this_machine() {
    let pool = "    sources: [{ registration: { token: of-the-endpoints-0123 } }]";
    let admin = "\nadmin: { socket: '@folder/admin.sock', address: '@ADMIN', token: of-the-operator-012345 }\n";
    let transom = Transom::run(TRANSOM, &config(pool, admin));
    let at = transom.address("ADMIN");
    let socket = transom.folder().join("admin.sock").display().to_string().replace('/', "%2F");
    let register = |token: &str, what: &str| {
        let head = format!("PUT /pools/shop/registrations/{what} HTTP/1.1\r\nHost: {at}\r\n");
        client::ask(at, format!("{head}Authorization: Bearer {token}\r\n\r\n"))
    };
    for (token, what, status) in [
        ("of-the-endpoints-0123", "127.0.0.1:9".to_owned(), 200),
        ("of-the-endpoints-0123", format!("unix:{socket}"), 403),
        ("of-the-endpoints-0124", "127.0.0.1:9".to_owned(), 401),
        ("of-the-operator-012345", format!("unix:{socket}"), 200),
    ] {
        let answer = register(token, &what);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
}

/// A reload may wait for seconds, and whoever drains a server meanwhile means it.
#[test]
fn lb30_d_02_what_is_changed_while_a_reload_waits_is_kept() {
    let servers = servers();
    let address = servers[0].address.to_string();
    let pool = format!("    endpoints: ['{address}', '{}']", servers[1].address);
    let mut transom = Transom::run(TRANSOM, &config(&pool, ""));
    // it is asked for a name, and never answers
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let more = format!(
        "  named: {{ endpoints: ['orders.example:80'] }}\nresolver: {{ servers: ['{}'] }}\n",
        silent.local_addr().unwrap()
    );
    transom.write(&config(&pool, &more));
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| transom.admin("POST", "/reload"));
        silent.recv_from(&mut [0; 512]).expect("the reload waits for a name");
        let (code, said) = self::pool(&transom, &["drain", "shop", &address]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(reload.join().unwrap().status, 200);
    });
    let shown = shown(&transom);
    assert_eq!(shown["members"][0]["state"], "drain", "{shown}");
    assert_eq!(shown["changed-by-hand"].as_array().unwrap().len(), 1, "{shown}");
}

#[test]
fn lb30_pools_are_changed_by_hand_without_an_error_and_without_a_reload() {
    let servers = servers();
    let written = format!("    endpoints: ['{}']", servers[0].address);
    let mut transom = Transom::run(TRANSOM, &config(&written, ""));
    let mut now: Vec<String> = vec![servers[0].address.to_string()];
    come_and_go(&transom, &servers, |wanted| {
        let wanted: Vec<_> = wanted.iter().map(|server| server.address.to_string()).collect();
        for address in wanted.iter().filter(|address| !now.contains(address)) {
            let (code, said) = pool(&transom, &["add", "shop", address]);
            assert_eq!(code, 0, "{said}");
            assert!(said.contains("until the file says otherwise"), "{said}");
        }
        for address in now.iter().filter(|address| !wanted.contains(address)) {
            let (code, said) = pool(&transom, &["remove", "shop", address]);
            assert_eq!(code, 0, "{said}");
        }
        now = wanted;
    });
    let [a, b, _] = [0, 1, 2].map(|at| servers[at].address.to_string());

    // kept over reloads
    pool(&transom, &["add", "shop", &b, "--weight", "3"]);
    pool(&transom, &["drain", "shop", &a]);
    transom.write(&config(&written, "# changed elsewhere\n"));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    let (_, table) = pool(&transom, &["show", "shop"]);
    assert!(table.contains("drain") && table.contains(&b), "{table}");
    for _ in 0..20 {
        let answer = client::ask(transom.web(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.text().starts_with('b'), "{}", answer.text());
    }
    // until the file says otherwise
    let heavier = format!(
        "    endpoints: [{{ address: '{a}', weight: 2 }}, {{ address: '{b}', weight: 7 }}]"
    );
    transom.write(&config(&heavier, ""));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    let (_, table) = pool(&transom, &["show", "shop"]);
    assert!(!table.contains("drain") && !table.contains("changed by hand"), "{table}");
    assert!(transom.said().contains("the file decides about"), "{}", transom.said());

    // with the file
    let (code, said) = pool(&transom, &["weight", "shop", &b, "9", "--save"]);
    assert_eq!(code, 0, "{said}");
    let text = fs::read_to_string(transom.folder().join("transom.yaml")).unwrap();
    assert!(text.contains(&format!("{{ address: '{b}', weight: 9 }}")), "{text}");
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert_eq!(shown(&transom)["members"][1]["weight"], 9);

    // and what cannot be
    for (words, expected) in [
        (&["show", "shpo"][..], "did you mean `shop`?"),
        (&["remove", "shop", "10.9.9.9:1"], "is no member"),
        (&["add", "shop", "10.9.9.9"], "it has no port"),
        (&["add", "shop", &a], "already"),
    ] {
        let (code, said) = pool(&transom, words);
        assert!(code == 64 && said.contains(expected), "{words:?}: {code} {said}");
    }
    let (_, list) = pool(&transom, &["list"]);
    assert!(list.contains("shop  2        2"), "{list}");
}
