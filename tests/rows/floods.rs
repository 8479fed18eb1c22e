//! Ceilings and rates: of a listener, and of one client that asks for too much.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use transom_testkit::server::Server;
use transom_testkit::{Client, Http2, Response, Transom, http2, until};

use super::resources::check_file;
use super::rig::TRANSOM;

/// With these limits, in front of a server that answers `/after-N` after so many milliseconds.
fn run(limits: &str, server: &Server) -> Transom {
    Transom::run(TRANSOM, &config(limits, server))
}

fn config(limits: &str, server: &Server) -> String {
    format!(
        "workers: 2\nlisteners:\n  web:\n    address: '@WEB'\n    limits: {{ {limits} }}\n    \
         routes: [{{ forward: '{}' }}]\n",
        server.address
    )
}

fn client(transom: &Transom, last: u8) -> Client {
    Client::try_connect_from(Ipv4Addr::new(127, 0, 0, last), transom.web()).unwrap()
}

fn ask<'c>(client: &'c mut Client, target: &str) -> &'c mut Client {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

/// The answer to a request over a connection of its own; none where it is not answered.
fn get(transom: &Transom, last: u8) -> Option<Response> {
    ask(&mut client(transom, last), "/").try_response("GET").ok()
}

fn statuses(transom: &Transom, last: u8, count: usize) -> Vec<u16> {
    (0..count).map(|_| get(transom, last).map_or(0, |response| response.status)).collect()
}

const REFUSED: &str = "transom_connections_refused_total{listener=\"web\",reason=";

#[test]
fn lb_36_one_client_opens_so_many_connections_in_a_time() {
    let server = Server::start("shop");
    let transom = run("connection-rate-per-client: 5/h", &server);
    assert_eq!(statuses(&transom, 2, 8), [200, 200, 200, 200, 200, 0, 0, 0]);
    assert_eq!(statuses(&transom, 3, 2), [200, 200], "another one's are another matter");
    transom.metric_becomes(&format!("{REFUSED}\"connection-rate\""), 3.0);
    // On connections that are open already it may ask.
    let mut kept = client(&transom, 4);
    for _ in 0..20 {
        assert_eq!(ask(&mut kept, "/").response().status, 200);
    }
}

#[test]
fn lb_36_l_10_one_client_asks_so_often_in_a_time() {
    let server = Server::start("shop");
    let limits = "request-rate-per-client: 10/h";
    let mut transom = run(limits, &server);
    let mut kept = client(&transom, 2);
    for n in 1..=12 {
        let response = ask(&mut kept, "/").response();
        let expected = if n <= 10 { 200 } else { 429 };
        assert_eq!(response.status, expected, "request {n}");
        if expected == 429 {
            let wait: u32 = response.field("Retry-After").unwrap().parse().unwrap();
            assert!((1..=360).contains(&wait), "one in six minutes: {wait}");
            assert!(!response.closes(), "the connection is not to blame");
        }
    }
    let about_itself = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(kept.send(about_itself).response().status, 429, "whatever it asks for");
    assert_eq!(statuses(&transom, 2, 1), [429], "on another connection, too");
    assert_eq!(statuses(&transom, 3, 1), [200]);
    // L-07: a reload forgets nothing.
    transom.write(&config(&format!("{limits}, header-count: 50"), &server));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert_eq!((statuses(&transom, 2, 1), statuses(&transom, 3, 1)), (vec![429], vec![200]));
    transom.metric_becomes("transom_faults_total{listener=\"web\",code=\"rate-limited\"", 5.0);
}

#[test]
fn lb_35_so_many_requests_are_under_way_in_all_and_of_one_client() {
    let server = Server::start("shop");
    for (limits, same, other) in [("requests: 2", 503, 503), ("requests-per-client: 2", 429, 200)] {
        let transom = run(limits, &server);
        let mut slow: Vec<Client> = (0..2).map(|_| client(&transom, 2)).collect();
        for client in &mut slow {
            ask(client, "/after-2000");
        }
        until("they are under way", || transom.metric("transom_requests_in_flight") == 2.0);
        let response = get(&transom, 2).unwrap();
        assert_eq!((response.status, response.field("Retry-After")), (same, Some("1")), "{limits}");
        assert_eq!(get(&transom, 3).unwrap().status, other, "{limits}");
        for client in &mut slow {
            assert_eq!(client.response().status, 200);
        }
        // Who goes away in the middle gives the place back as well.
        for _ in 0..2 {
            ask(&mut client(&transom, 2), "/after-500");
        }
        until("their places are free", || get(&transom, 2).is_some_and(|r| r.status == 200));
    }
}

#[test]
fn lb_36_who_is_over_a_limit_of_its_own_waits_or_hears_nothing() {
    let server = Server::start("shop");
    let held = Duration::from_millis(400);
    let transom = run("request-rate-per-client: 1/h, over-limit: tarpit, tarpit: 400ms", &server);
    assert_eq!(statuses(&transom, 2, 1), [200]);
    let start = Instant::now();
    assert_eq!(statuses(&transom, 2, 1), [429]);
    assert!(start.elapsed() >= held, "{:?}", start.elapsed());

    let transom = run("request-rate-per-client: 1/h, over-limit: drop", &server);
    assert_eq!(statuses(&transom, 2, 3), [200, 0, 0]);
    transom.metric_becomes("transom_faults_total{listener=\"web\",code=\"rate-limited\"", 2.0);

    let transom =
        run("connection-rate-per-client: 1/h, over-limit: tarpit, tarpit: 400ms", &server);
    assert_eq!(statuses(&transom, 2, 1), [200]);
    let start = Instant::now();
    assert_eq!(statuses(&transom, 2, 1), [0]);
    assert!(start.elapsed() >= held, "{:?}", start.elapsed());
    until("nothing is left", || transom.metric("transom_connections_open") == 0.0);

    let transom = run("connection-rate-per-client: 1/h, over-limit: drop", &server);
    assert_eq!(statuses(&transom, 2, 3), [200, 0, 0]);
}

#[test]
fn lb_35_36_in_http_2_streams_are_counted_and_not_connections() {
    let server = Server::start("shop");
    let transom = run("requests-per-client: 3, request-rate-per-client: 6/h", &server);
    let mut client = Http2::connect(transom.web());
    let mut ask = |count: usize, target: &str| {
        let begin = |_| client.begin(http2::request("GET", target, &[]), true).unwrap();
        let asked: Vec<_> = (0..count).map(begin).collect();
        let answers = asked.into_iter().map(|asked| client.finish(asked).unwrap().status);
        let mut answers: Vec<u16> = answers.collect();
        answers.sort_unstable();
        answers
    };
    assert_eq!(ask(5, "/after-1000"), [200, 200, 200, 429, 429], "three at once");
    until("they have ended", || transom.metric("transom_requests_in_flight") == 0.0);
    assert_eq!(ask(2, "/"), [200, 429], "six in an hour");

    let transom = run("request-rate-per-client: 1/h, over-limit: tarpit, tarpit: 300ms", &server);
    let mut client = Http2::connect(transom.web());
    let start = Instant::now();
    for expected in [200, 429] {
        let asked = client.begin(http2::request("GET", "/", &[]), true).unwrap();
        assert_eq!(client.finish(asked).unwrap().status, expected);
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_rate_of_nothing_is_a_mistake() {
    let (status, said) = check_file(
        "listeners: { web: { address: ':1', limits: { request-rate-per-client: 0/s }, routes: [{ respond: a }] } }\n",
    );
    assert_eq!(status, Some(64));
    assert!(said.contains("request-rate-per-client: a rate of nothing lets nobody pass"), "{said}");
}

#[test]
fn lb_40_bodies_pass_no_faster_than_they_may_in_both_directions() {
    let server = Server::start("shop");
    let config = |limits: &str| {
        format!(
            "workers: 2\nlisteners:\n  web:\n    address: '@WEB'\n    \
             limits: {{ bandwidth: {{ {limits} }} }}\n    \
             routes:\n      - {{ match: {{ path: /big }}, files: {{ root: '@folder' }} }}\n      \
             - {{ forward: '{}' }}\n",
            server.address
        )
    };
    let body = "b".repeat(512 * 1024);
    let time = |transom: &Transom, upload: bool, count: usize| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    let mut client = client(transom, 2);
                    match upload {
                        true => {
                            let length = body.len();
                            client.send(format!(
                                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
                            ));
                        }
                        false => drop(ask(&mut client, "/big")),
                    }
                    let response = client.response();
                    assert_eq!((response.status, response.whole), (200, true));
                    assert!(upload || response.body.len() == body.len());
                });
            }
        });
        start.elapsed().as_millis()
    };
    // Half a MiB at 1 MiB/s, a tenth of a second of which is saved up.
    for (limits, upload, count, expected) in [
        ("response: 1MiB/s", false, 1, 400..800),
        ("response: 1MiB/s", false, 3, 400..800),
        ("responses: 1MiB/s", false, 3, 1400..2000),
        ("request: 1MiB/s", true, 1, 400..800),
        ("requests: 2MiB/s", true, 2, 400..800),
        ("requests: 1MiB/s", false, 2, 0..400),
    ] {
        let transom = Transom::run_with(TRANSOM, &config(limits), |folder| {
            std::fs::write(folder.join("big"), &body).unwrap();
        });
        let took = time(&transom, upload, count);
        // A busy machine may take longer; nobody may take less.
        assert!(took >= expected.start && took < expected.end + 4000, "{limits}: {took} ms");
        eprintln!("{limits}, {count} at once, upload {upload}: {took} ms");
    }
}

#[test]
fn d_10_when_memory_runs_short_requests_are_turned_away_and_come_back() {
    let server = Server::start("shop");
    let with = |overload: &str| format!("overload: {{ {overload} }}\n{}", config("", &server));
    let mut transom = Transom::run(TRANSOM, &with("memory: 100GiB"));
    assert_eq!(transom.admin("GET", "/readyz").text(), "ready\n");
    // Of so little, everything is in use at once: first requests go, then connections wait.
    let mut kept = client(&transom, 2);
    assert_eq!(ask(&mut kept, "/").response().status, 200);
    transom.write(&with("memory: 1KiB, tight: 1%, shed: 2%, close: 100%"));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    until("nothing is accepted", || transom.metric("transom_overload_level") == 3.0);
    let ready = transom.admin("GET", "/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.text().contains("% of the memory is in use: nothing is accepted"),
        "{}",
        ready.text()
    );
    until("the idle connection is closed", || transom.metric("transom_connections_open") == 0.0);
    let mut waiting = client(&transom, 2);
    ask(&mut waiting, "/");
    assert_eq!(transom.metric("transom_overload_shed_ratio"), 1.0);

    transom.write(&with("memory: 100GiB"));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    let response = waiting.response();
    assert!([200, 503].contains(&response.status), "who waited in the queue is answered");
    until("there is room", || transom.metric("transom_overload_level") == 0.0);
    assert_eq!(statuses(&transom, 2, 1), [200]);
    let said = transom.said();
    assert!(said.contains("warning: ") && said.contains("nothing is accepted"), "{said}");
    assert!(said.contains("there is room again"), "{said}");
}

#[test]
fn d_10_while_requests_are_turned_away_their_connections_are_let_in_and_closed() {
    let server = Server::start("shop");
    let transom = Transom::run(
        TRANSOM,
        // What the program holds is a few hundredths of a GiB.
        &format!(
            "overload: {{ memory: 1GiB, tight: 0%, shed: 0%, close: 100% }}\n{}",
            config("", &server)
        ),
    );
    until("requests are turned away", || transom.metric("transom_overload_level") == 2.0);
    assert!(transom.admin("GET", "/readyz").text().starts_with("ready, but "));
    let response = get(&transom, 2).unwrap();
    assert_eq!((response.status, response.field("Retry-After")), (503, Some("1")));
    assert!(response.closes(), "and none is kept");
}

#[test]
fn lb_35_so_many_connections_and_requests_in_all() {
    let server = Server::start("shop");
    let with = |overload: &str| format!("overload: {{ {overload} }}\n{}", config("", &server));
    let transom = Transom::run(TRANSOM, &with("requests: 1"));
    let mut slow = client(&transom, 2);
    until("the ceiling is there", || {
        ask(&mut client(&transom, 2), "/after-300");
        transom.metric("transom_requests_in_flight") > 0.0
            && get(&transom, 3).unwrap().status == 503
    });
    until("it is free again", || get(&transom, 3).unwrap().status == 200);
    // A place is free once the exchange has ended, a moment after its last byte.
    until("on a kept connection, too", || ask(&mut slow, "/").response().status == 200);

    let transom = Transom::run(TRANSOM, &with("connections: 2"));
    until("one more is closed", || {
        let mut two = [client(&transom, 2), client(&transom, 2)];
        two.iter_mut().all(|client| ask(client, "/").try_response("GET").is_ok())
            && get(&transom, 3).is_none()
    });
    until("they are let in again", || get(&transom, 3).is_some());
}
