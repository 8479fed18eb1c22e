//! Members that are probed, judged by their traffic, and let in again.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use transom_testkit::endpoint::ok;
use transom_testkit::server::Server;
use transom_testkit::{Client, Endpoint, H2Endpoint, Manners, Port, Transom, check, client, until};

use super::rig::{TRANSOM, head};

/// A Transom over these addresses, with these settings of the pool.
fn over(pool: &str, addresses: &[String]) -> Transom {
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', timeouts: {{ connect: 1s }}, \
         routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: [{}], {pool} }}\n",
        addresses.iter().map(|a| format!("'{a}'")).collect::<Vec<_>>().join(", ")
    );
    Transom::run(TRANSOM, &config)
}

fn addresses(endpoints: &[&Endpoint]) -> Vec<String> {
    endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

/// Answers `/healthz` with a status that can be changed, and everything else with its name.
fn named(name: &'static str) -> (Endpoint, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let says = status.clone();
    let endpoint = Endpoint::new(move |request, line| match &*request.target {
        "/healthz" => {
            let status = says.load(Ordering::Relaxed);
            line.send(format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n"));
        }
        _ => line.send(ok(name)),
    });
    (endpoint, status)
}

fn get(transom: &Transom) -> (u16, String) {
    let response = client::ask(transom.web(), head("GET /", ""));
    (response.status, response.text())
}

/// What so many requests are answered with.
fn answers(transom: &Transom, count: usize) -> String {
    (0..count).map(|_| get(transom).1).collect()
}

fn state(transom: &Transom, endpoint: &Endpoint, state: &str) -> bool {
    is(transom, endpoint.address, state)
}

fn is(transom: &Transom, endpoint: SocketAddr, state: &str) -> bool {
    transom.metric(&format!(
        "transom_member_state{{pool=\"o\",endpoint=\"{endpoint}\",state=\"{state}\"}}"
    )) == 1.0
}

/// Waits until the log says so. By then it holds for requests.
#[track_caller]
fn told(transom: &Transom, what: &str) {
    until(&format!("`{what}` is told"), || transom.said().contains(what));
}

const FAST: &str = "every: 100ms, fast-every: 20ms, timeout: 1s";

#[test]
fn lb_15_a_member_that_fails_its_probes_gets_nothing_until_it_passes_them() {
    let ((a, a_says), (b, _)) = (named("a"), named("b"));
    let pool = format!("health: {{ http: /healthz, {FAST} }}");
    let mut transom = over(&pool, &addresses(&[&a, &b]));
    until("both are up", || state(&transom, &a, "up") && state(&transom, &b, "up"));
    assert_eq!(answers(&transom, 4).matches('a').count(), 2);
    let name = a.address;
    a_says.store(503, Ordering::Relaxed);
    told(&transom, &format!("pool `o`: {name} is down: status 503"));
    assert!(state(&transom, &a, "down"));
    assert_eq!(answers(&transom, 6), "bbbbbb");
    a_says.store(200, Ordering::Relaxed);
    told(&transom, &format!("pool `o`: {name} is up: probes pass"));
    assert!(state(&transom, &a, "up"));
    assert_eq!(answers(&transom, 4).matches('a').count(), 2);
    let said = transom.said();
    assert_eq!(said.matches(" is up").count(), 1, "of the start nothing is said: {said}");
    check::alive(&mut transom);
}

#[test]
fn u_03_a_probe_that_fails_every_other_time_changes_nothing() {
    let probes = Arc::new(AtomicUsize::new(0));
    let count = probes.clone();
    let flapping = Endpoint::new(move |_, line| {
        let is_even = count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        let status = if is_even { 200 } else { 500 };
        line.send(format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n"));
    });
    let (other, _) = named("b");
    let pool = format!("health: {{ http: /, {FAST} }}");
    let transom = over(&pool, &addresses(&[&flapping, &other]));
    until("it was probed often", || probes.load(Ordering::Relaxed) > 20);
    assert!(state(&transom, &flapping, "up"));
    assert!(!transom.said().contains("is down"), "{}", transom.said());
}

#[test]
fn u_04_a_probe_expects_what_was_said() {
    let answer = |text: &'static str| {
        Endpoint::new(move |_, line| {
            line.send(text);
            line.end();
        })
    };
    let silent = Endpoint::raw(|line| line.stall());
    let huge = Endpoint::new(|_, line| {
        line.send("HTTP/1.1 200 OK\r\n\r\n");
        while line.pour(&[b'x'; 65_536]) > 0 {}
    });
    let port = Port::reserve().unwrap();
    for (probe, endpoint, up, why) in [
        ("http: /", &answer("HTTP/1.1 204 No\r\n\r\n"), true, ""),
        ("http: /", &answer("HTTP/1.1 301 No\r\nLocation: /x\r\n\r\n"), false, "status 301"),
        (
            "http: { path: /, status: [301, 5xx] }",
            &answer("HTTP/1.1 301 No\r\nContent-Length: 0\r\n\r\n"),
            true,
            "",
        ),
        (
            "http: { path: /, body: well }",
            &answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nI am well"),
            true,
            "",
        ),
        (
            "http: { path: /, body: well }",
            &answer(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nwe\r\n2\r\nll\r\n0\r\n\r\n",
            ),
            true,
            "",
        ),
        (
            "http: { path: /, body: well }",
            &answer("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nI am ill"),
            false,
            "its body is another one",
        ),
        ("http: { path: /, body: well }", &huge, false, "its body is another one"),
        ("http: /", &huge, true, ""),
        ("http: /", &answer("HTTP/2 is all I speak\r\n\r\n"), false, "no response in HTTP/1"),
        ("http: /", &answer(""), false, "it closed the connection"),
        ("http: /", &silent, false, "nothing within 200 ms"),
        ("tcp: on", &silent, true, ""),
        (
            "tcp: { send: \"PING\\r\\n\\r\\n\", expect: PONG }",
            &silent,
            false,
            "nothing within 200 ms",
        ),
        (
            "tcp: { send: \"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n\", expect: \"I am well\" }",
            &answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nI am well"),
            true,
            "",
        ),
    ] {
        let pool = format!("health: {{ {probe}, every: 100ms, timeout: 200ms }}");
        let transom = over(&pool, &addresses(&[endpoint]));
        let wanted = if up { "up" } else { "down" };
        until(&format!("{probe} is {wanted}"), || state(&transom, endpoint, wanted));
        told(&transom, why);
    }
    let transom = over("health: { tcp: on, every: 100ms }", &[port.address.to_string()]);
    told(&transom, "is down: Connection refused");
}

#[test]
fn lb_16_a_command_is_told_of_the_member() {
    let (a, _) = named("a");
    let (b, _) = named("b");
    let pool = format!(
        "health: {{ command: [sh, -c, 'test $TRANSOM_POOL:$TRANSOM_ADDRESS:$TRANSOM_PORT = o:127.0.0.1:{}'], every: 200ms }}",
        a.address.port()
    );
    let transom = over(&pool, &addresses(&[&a, &b]));
    until("they are judged", || state(&transom, &a, "up") && state(&transom, &b, "down"));
    told(&transom, "`sh` ended with 1");
    assert_eq!(answers(&transom, 4), "aaaa");
}

#[test]
fn lb_15_probes_go_over_tls_where_the_pool_does() {
    use transom_testkit::certificate::Authority;
    let authority = Authority::new();
    let endpoint =
        Endpoint::tls(authority.issue(&["o.example"]).server(), |_, line| line.send(ok("a")));
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: '{}', tls: {{ ca: '@folder/ca.pem', name: o.example }}, \
         health: {{ http: /, {FAST} }} }}\n",
        endpoint.address
    );
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    });
    until("it is up", || state(&transom, &endpoint, "up"));
    assert_eq!(get(&transom).0, 200);
}

#[test]
fn u_02_when_all_fail_their_probes_all_are_used() {
    let ((a, a_says), (b, b_says)) = (named("a"), named("b"));
    a_says.store(500, Ordering::Relaxed);
    b_says.store(500, Ordering::Relaxed);
    let pool = format!("health: {{ http: /healthz, {FAST} }}");
    let both_are_down = |transom: &Transom| {
        for one in [&a, &b] {
            told(transom, &format!("{} is down", one.address));
        }
    };
    let transom = over(&pool, &addresses(&[&a, &b]));
    both_are_down(&transom);
    told(&transom, "too few members are usable, so all are used");
    assert_eq!(answers(&transom, 4).len(), 4);
    let transom = over(&format!("{pool}, panic-threshold: 0%"), &addresses(&[&a, &b]));
    both_are_down(&transom);
    let start = Instant::now();
    assert_eq!(get(&transom).0, 503);
    assert!(start.elapsed() < Duration::from_secs(5), "nobody waits for them");
}

#[test]
fn lb_17_who_refuses_connections_is_taken_out_and_let_in_when_probes_reach_it() {
    let (a, _) = named("a");
    let port = Port::reserve().unwrap();
    let gone = port.address;
    let pool = "outliers: { connect-failures: 2 }, slow-start: 5s, \
                health: { tcp: on, every: 100ms, rise: 2, fall: 1000 }";
    let mut transom = over(pool, &[a.address.to_string(), gone.to_string()]);
    let metric = |name: &str| transom.metric(&format!("{name}{{pool=\"o\",endpoint=\"{gone}\""));
    // The first probe counts at once.
    told(&transom, "is down");
    let listener = std::net::TcpListener::bind(gone).unwrap();
    told(&transom, "is up");
    let weight = metric("transom_member_weight");
    assert!(weight < 1.0, "it starts slowly: {weight}");
    drop(listener);
    until("it is ejected", || {
        assert_eq!(get(&transom).0, 200, "each request is tried again");
        metric("transom_member_ejections_total") > 0.0
    });
    told(&transom, &format!("pool `o`: {gone} is ejected for 30 s: "));
    assert_eq!(answers(&transom, 4), "aaaa");
    let _listener = std::net::TcpListener::bind(gone).unwrap();
    told(&transom, "is back: probes reach it again");
    until("it has its whole weight again", || metric("transom_member_weight") == 1.0);
    check::alive(&mut transom);
}

#[test]
fn lb_18_an_operator_lets_in_who_is_ejected() {
    let (a, _) = named("a");
    let bad = Endpoint::answering("HTTP/1.1 500 Bad\r\nContent-Length: 1\r\n\r\nx");
    let transom = over("outliers: { errors: 3, ejection: 5m }", &addresses(&[&a, &bad]));
    assert_eq!(answers(&transom, 6).matches('x').count(), 3);
    told(&transom, &format!("{} is ejected", bad.address));
    assert_eq!(answers(&transom, 4), "aaaa");
    let path = format!("/pools/o/members/{}/ready", bad.address);
    assert_eq!(transom.admin("POST", &path).status, 200);
    told(&transom, &format!("{} is back: by hand", bad.address));
    assert!(answers(&transom, 4).contains('x'), "{}", transom.said());
}

#[test]
fn lb_18_who_answers_with_errors_is_out_for_a_while() {
    let (a, _) = named("a");
    let bad = Endpoint::answering("HTTP/1.1 500 Bad\r\nContent-Length: 1\r\n\r\nx");
    let pool = "outliers: { errors: 3, ejection: 1s }";
    let transom = over(pool, &addresses(&[&a, &bad]));
    let begun = Instant::now();
    assert_eq!(answers(&transom, 6).matches('x').count(), 3);
    // the watch is told by the third, and needs a moment to act on it
    told(&transom, "is ejected for 1 s: 3 errors in a row");
    assert_eq!(answers(&transom, 4), "aaaa");
    told(&transom, "is back: its ejection is over");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(answers(&transom, 4).contains('x'));
}

#[test]
fn lb_18_the_last_member_is_never_taken_out() {
    let bad = Endpoint::answering("HTTP/1.1 500 Bad\r\nContent-Length: 1\r\n\r\nx");
    let transom = over("outliers: { errors: 3, max-ejected: 100% }", &addresses(&[&bad]));
    assert_eq!(answers(&transom, 20).len(), 20);
    assert!(!transom.said().contains("ejected"), "{}", transom.said());
}

#[test]
fn lb_15_a_reload_keeps_what_is_known_and_ends_what_is_not_wanted() {
    let ((a, a_says), (b, _)) = (named("a"), named("b"));
    a_says.store(500, Ordering::Relaxed);
    let config = |health: &str| {
        format!(
            "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
             pools:\n  o: {{ endpoints: ['{}', '{}']{health} }}\n",
            a.address, b.address
        )
    };
    let probed = format!(", health: {{ http: /healthz, {FAST} }}");
    let mut transom = Transom::run(TRANSOM, &config(&probed));
    until("it is down", || state(&transom, &a, "down"));
    transom.write(&config(&format!("{probed}, slow-start: 1s")));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert!(state(&transom, &a, "down"));
    assert_eq!(answers(&transom, 4), "bbbb");
    transom.write(&config(""));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    until("nobody says that it is down", || state(&transom, &a, "unchecked"));
    until("it is used again", || answers(&transom, 4).matches('a').count() == 2);
    let tasks = || transom.admin("GET", "/tasks").text();
    until("no probe runs", || !tasks().contains("health probe\",\"running\":1"));
    let probes = a.requests().len();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(a.requests().len(), probes, "nobody probes it any more");
}

/// Answers the health check of gRPC with this status of its protocol.
fn speaks_grpc(status: u8) -> H2Endpoint {
    H2Endpoint::new(Manners::default(), move |mut exchange| async move {
        exchange.read().await;
        let asked = String::from_utf8_lossy(&exchange.received.body).into_owned();
        if exchange.received.target != "/grpc.health.v1.Health/Check"
            || !asked.contains("shop.Orders")
        {
            return;
        }
        let mut sending = exchange.head(200, &[("content-type", "application/grpc")], false);
        sending.send([0, 0, 0, 0, 2, 8, status].to_vec()).await;
        // The answer is in the message: nobody waits for the end.
        std::future::pending::<()>().await;
    })
}

#[test]
fn lb_16_a_grpc_service_says_itself_how_it_is() {
    let (well, ill) = (speaks_grpc(1), speaks_grpc(2));
    let http1 = Endpoint::echo();
    let pool = format!("health: {{ grpc: shop.Orders, {FAST} }}, panic-threshold: 0%");
    let all = [well.address, ill.address, http1.address];
    let transom = over(&pool, &all.map(|address| address.to_string()));
    until("they are judged", || {
        is(&transom, well.address, "up")
            && is(&transom, ill.address, "down")
            && is(&transom, http1.address, "down")
    });
    told(&transom, "is down: it says NOT_SERVING");
}

/// Answers after a while, so that requests lie on it.
fn slow(name: &'static str) -> Endpoint {
    Endpoint::new(move |_, line| {
        line.wait(Duration::from_millis(30));
        line.send(ok(name));
    })
}

#[test]
fn u_13_who_fails_fast_does_not_draw_everything_to_itself() {
    let refuses = Endpoint::raw(|line| line.reset());
    let errors = Endpoint::new(|_, line| {
        line.send("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
    });
    // What fails without an answer is noticed by default, answers of 500 where that is asked for.
    for (bad, rule) in [(&refuses, "on"), (&errors, "{ errors: 5 }")] {
        let good = [slow("a"), slow("b")];
        let members = addresses(&[bad, &good[0], &good[1]]);
        let pool = format!("algorithm: least-requests, outliers: {rule}");
        let mut transom = over(&pool, &members);
        let address = transom.web();
        let ask = move || {
            let mut client = Client::connect(address);
            let post = head("POST /", "Content-Length: 0\r\n");
            let statuses = (0..10).map(|_| client.send(&post).response_to("POST").status);
            statuses.filter(|status| *status >= 500).count()
        };
        let crowd = || -> usize {
            std::thread::scope(|scope| {
                let clients: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
                clients.into_iter().map(|client| client.join().unwrap()).sum()
            })
        };
        // Idle all the time, it would get nearly all of them. Five are needed to know it; how many
        // more have begun when that is acted on depends on the machine.
        let failed = crowd();
        assert!(failed < 100, "{failed} of 200 failed with {rule}");
        told(&transom, &format!("{} is ejected", bad.address));
        assert!(is(&transom, bad.address, "ejected"), "{}", transom.said());
        assert_eq!(crowd(), 0, "from then on none does");
        check::alive(&mut transom);
    }
}

/// A program beside a member that says what it is told to.
fn agent(line: &Arc<Mutex<&'static str>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, line) = (listener.local_addr().unwrap().port(), line.clone());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = writeln!(&connection, "{}", line.lock().unwrap());
        }
    });
    port
}

#[test]
fn lb_08_an_agent_says_how_much_a_member_gets_and_whether() {
    let line = Arc::new(Mutex::new("up 100%"));
    let port = agent(&line);
    // beside the second, at another address, there is no agent
    let a = Server::start("a");
    let b = Server::on(TcpListener::bind("127.0.0.2:0").unwrap(), "b");
    let members = [a.address.to_string(), b.address.to_string()];
    let pool = format!("algorithm: round-robin, agent: {{ port: {port}, every: 20ms }}");
    let mut transom = over(&pool, &members);
    let say = |text| *line.lock().unwrap() = text;
    let turned = |expected: usize| {
        until(&format!("it has {expected} of 8"), || {
            answers(&transom, 8).matches('a').count() == expected
        });
    };
    turned(4);
    say("300%");
    turned(6);
    say("0%");
    turned(0);
    say("33%");
    turned(2);
    say("100% drain");
    until("it is drained", || is(&transom, a.address, "drain"));
    turned(0);
    say("down # its disk is full");
    until("it is down", || is(&transom, a.address, "down"));
    turned(0);
    let shown = shown(&transom);
    assert!(shown.contains("its disk is full"), "{shown}");
    say("nonsense");
    until("that is told", || transom.said().contains("it says `nonsense`, which means nothing"));
    turned(0);
    say("up");
    turned(4);
    let said = transom.said();
    let (a, b) = (a.address, b.address);
    for what in [
        format!("{a} says that it is down: its disk is full"),
        format!("{a} says that it is ready"),
        format!("{b} has an agent of no use: Connection refused"),
    ] {
        assert_eq!(said.matches(&what).count(), 1, "{what}: {said}");
    }
    check::alive(&mut transom);
}

#[test]
fn lb_26_an_agent_says_how_many_requests_its_member_takes_at_once() {
    let line = Arc::new(Mutex::new("maxconn:2"));
    let port = agent(&line);
    let held = Arc::new(AtomicUsize::new(0));
    let (running, released) = (held.clone(), Arc::new(AtomicUsize::new(0)));
    let free = released.clone();
    let endpoint = Endpoint::new(move |_, line| {
        running.fetch_add(1, Ordering::SeqCst);
        while free.load(Ordering::SeqCst) == 0 {
            line.wait(Duration::from_millis(2));
        }
        line.send(ok("done"));
    });
    let pool = format!("agent: {{ port: {port}, every: 20ms }}, queue: {{ timeout: 20s }}");
    let mut transom = over(&pool, &addresses(&[&endpoint]));
    until("it is heard", || transom.said().contains("says that it takes 2 requests at once"));
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let mut client = Client::connect(transom.web());
            client.send(head("GET /", ""));
            client
        })
        .collect();
    let waiting = || transom.metric("transom_pool_waiting{pool=\"o\"");
    until("four wait", || waiting() == 4.0);
    until("two are there", || held.load(Ordering::SeqCst) == 2);
    *line.lock().unwrap() = "maxconn:5";
    until("three more have room", || held.load(Ordering::SeqCst) == 5);
    assert_eq!(waiting(), 1.0);
    *line.lock().unwrap() = "maxconn:0";
    until("all have room", || held.load(Ordering::SeqCst) == 6);
    released.store(1, Ordering::SeqCst);
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
    check::alive(&mut transom);
}

/// `transom pool show o`.
fn shown(transom: &Transom) -> String {
    let socket = transom.folder().join("admin.sock");
    let asked = Command::new(TRANSOM).args(["pool", "show", "o", "--socket"]).arg(socket).output();
    let output = asked.expect("the program can be run");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
