//! Members that are told to go: what still goes to them, what is open at them, and for how long.

use std::time::{Duration, Instant};

use transom_testkit::server::Server;
use transom_testkit::{Client, Transom, check, client, until};

use super::rig::{TRANSOM, head};

const DRAIN: Duration = Duration::from_millis(1500);

/// A Transom over these, for HTTP at `@WEB` and for TCP at `@RAW`.
fn over(servers: &[&Server], settings: &str) -> Transom {
    let endpoints: Vec<_> = servers.iter().map(|one| format!("'{}'", one.address)).collect();
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n  \
         raw: {{ address: '@RAW', tcp: {{ forward: o }} }}\n\
         pools:\n  o: {{ endpoints: [{}], drain-timeout: 1500ms, {settings} }}\n",
        endpoints.join(", ")
    );
    Transom::run(TRANSOM, &config)
}

/// What is open at the first of two: a WebSocket, and a connection that is carried.
fn open(transom: &Transom) -> [Client; 2] {
    let mut socket = Client::connect(transom.web());
    socket.send(head(
        "GET /ws",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ));
    assert_eq!(socket.response().status, 101);
    socket.forget();
    let mut raw = Client::connect(transom.address("RAW"));
    raw.send(head("GET /", ""));
    assert_eq!(raw.response().status, 200);
    raw.forget();
    [socket, raw]
}

/// What was open goes on for as long as it may, and no longer.
fn goes_on_and_ends([mut socket, mut raw]: [Client; 2], since: Instant) {
    assert_eq!(socket.send(b"\x81\x80\x01\x02\x03\x04").read(6).unwrap().len(), 6);
    raw.send(head("GET /", ""));
    assert_eq!(raw.response().status, 200);
    socket.end();
    raw.end();
    let open = since.elapsed();
    assert!(open >= DRAIN && open < DRAIN * 4, "{open:?}");
}

fn is_drained(transom: &Transom, server: &Server) -> bool {
    transom.said().contains(&format!("{} has been drained, with 2 still open", server.address))
}

/// Tells the admin API something about a member.
fn tell(transom: &Transom, method: &str, what: &str) {
    let answer = transom.admin(method, &format!("/pools/o/members/{what}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn lb_20_what_is_open_at_a_drained_member_ends_when_its_time_is_over() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let mut transom = over(&[&a, &b], "algorithm: first-available");
    let open = open(&transom);
    let since = Instant::now();
    tell(&transom, "POST", &format!("{}/drain", a.address));
    goes_on_and_ends(open, since);
    until("the log tells of it", || is_drained(&transom, &a));
    let cut = |line: &&serde_json::Value| line["end"] == "cut-off";
    assert_eq!(transom.lines_when(2).iter().filter(cut).count(), 1);
    check::alive(&mut transom);
}

#[test]
fn lb_20_what_is_open_at_a_removed_member_ends_when_its_time_is_over() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let mut transom = over(&[&a, &b], "algorithm: first-available");
    let open = open(&transom);
    let since = Instant::now();
    tell(&transom, "DELETE", &a.address.to_string());
    goes_on_and_ends(open, since);
    until("the log tells of it", || is_drained(&transom, &a));
    check::alive(&mut transom);
}

#[test]
fn lb_20_who_sticks_to_a_drained_member_moves_when_its_time_is_over() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let mut transom = over(&[&a, &b], "algorithm: first-available, affinity: { header: x-who }");
    let name = || {
        let answer = client::ask(transom.web(), head("GET /", "X-Who: me\r\n"));
        answer.text().chars().next().unwrap()
    };
    assert_eq!(name(), 'a');
    tell(&transom, "POST", &format!("{}/drain", a.address));
    assert_eq!(name(), 'a');
    until("it moves", || name() == 'b');
    // ready again, it is as if nothing had been
    tell(&transom, "POST", &format!("{}/ready", a.address));
    let raw = Client::connect(transom.address("RAW")).send(head("GET /", "")).response();
    assert_eq!(raw.text().chars().next(), Some('a'));
    check::alive(&mut transom);
}
