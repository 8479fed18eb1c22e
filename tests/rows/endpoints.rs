//! Endpoints that die, and a program that is told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use transom_testkit::endpoint::{echo, ok};
use transom_testkit::{Client, Endpoint, Transom, check, until};

use super::rig::{Rig, TRANSOM, head};

/// A process of its own that answers with its name.
fn server(name: &str) -> Transom {
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', limits: {{ requests-per-connection: unlimited }}, \
         routes: [{{ respond: '{name}' }}] }}\n"
    );
    Transom::run(TRANSOM, &config)
}

/// A Transom over these endpoints, which keeps idle connections for a moment only.
fn over(endpoints: &[&Transom]) -> Transom {
    let endpoints: Vec<_> = endpoints.iter().map(|e| format!("'{}'", e.web())).collect();
    let config = format!(
        "workers: 2\nlisteners:\n  web: {{ address: '@WEB', limits: {{ requests-per-connection: unlimited }}, \
         routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: [{}], keep-alive: {{ idle: 500ms }} }}\n",
        endpoints.join(", ")
    );
    Transom::run(TRANSOM, &config)
}

#[test]
fn u_01_a_killed_endpoint_costs_no_request_that_can_be_sent_again() {
    let mut servers = [server("a"), server("b"), server("c")];
    let mut transom = over(&[&servers[0], &servers[1], &servers[2]]);
    // Warm, so that what is measured is what stays.
    let ask = |client: &mut Client| client.send(head("GET /", "")).response().status;
    for _ in 0..20 {
        assert_eq!(ask(&mut Client::connect(transom.web())), 200);
    }
    until("idle connections are closed", || transom.sockets().len() < 20);
    let (descriptors, memory) = (transom.descriptors(), transom.memory());

    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let address = transom.web();
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (over, served) = (over.clone(), served.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                while !over.load(Ordering::Relaxed) {
                    let response = client.send(head("GET /", "")).response();
                    assert_eq!(response.status, 200, "{}", response.text());
                    assert!(response.whole);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let after = |more: usize| {
        let from = served.load(Ordering::Relaxed);
        until("more was served", || served.load(Ordering::Relaxed) > from + more);
    };
    after(1000);
    servers[1].kill();
    after(1000);
    servers[2].kill();
    after(1000);
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a request failed");
    }
    check::alive(&mut transom);
    until("every connection is closed", || transom.descriptors() <= descriptors);
    let more = transom.memory().saturating_sub(memory);
    assert!(more < 8 << 10, "{more} KiB more");
}

#[test]
fn u_02_with_every_endpoint_gone_the_answer_comes_at_once() {
    let mut servers = [server("a"), server("b")];
    let mut transom = over(&[&servers[0], &servers[1]]);
    let mut client = Client::connect(transom.web());
    assert_eq!(client.send(head("GET /", "")).response().status, 200);
    let baseline = transom.descriptors();
    for server in &mut servers {
        server.kill();
    }
    for _ in 0..50 {
        let start = Instant::now();
        let response = client.send(head("GET /", "")).response();
        assert!(matches!(response.status, 502 | 503), "{}", response.status);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    check::alive(&mut transom);
    until("nothing is left over", || transom.descriptors() <= baseline);
}

#[test]
fn u_07_a_post_is_never_sent_twice() {
    let killing = Endpoint::new(|_, line| line.reset());
    let well = Endpoint::echo();
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: ['{}', '{}'] }}\n",
        killing.address, well.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let mut failed = 0;
    for _ in 0..10 {
        let mut client = Client::connect(transom.web());
        client.send(format!("{}hello", head("POST /", "Content-Length: 5\r\n")));
        match client.response().status {
            200 => {}
            502 => failed += 1,
            other => panic!("{other}"),
        }
    }
    for _ in 0..10 {
        // A GET finds the one that lives.
        let response = Client::connect(transom.web()).send(head("GET /", "")).response();
        assert_eq!(response.status, 200);
    }
    let posts = well.requests().iter().filter(|r| r.method == "POST").count();
    assert_eq!((failed, posts + failed), (10 - posts, 10));
    assert!(failed > 0 && posts > 0, "{failed} failed, {posts} arrived");
    check::alive(&mut transom);
}

#[test]
fn u_16_nobody_works_for_a_client_that_is_gone() {
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.stall();
    }));
    let baseline = rig.transom.sockets().len();
    let mut client = rig.client();
    client.send(head("GET /", ""));
    rig.endpoint.until("the request is there", |log| log.requests.len() == 1);
    let start = Instant::now();
    client.reset();
    rig.endpoint.until("the endpoint is left", |log| log.ended == 1);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    check::sockets_are_back_at(&rig.transom, baseline);
    rig.expect_lines(1);
    let lines = rig.holds();
    assert_eq!((&lines[0]["status"], &lines[0]["fault"]), (&499.into(), &"client-closed".into()));
}

#[test]
fn u_16_a_client_that_leaves_in_the_middle_frees_what_it_held() {
    let mut rig = Rig::over(Endpoint::new(|request, line| {
        if request.target.starts_with("/victim") {
            return line.send(echo(request));
        }
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while line.pour(b"5\r\nhello\r\n") > 0 {
            line.wait(Duration::from_millis(5));
        }
    }));
    let baseline = rig.transom.sockets().len();
    let mut client = rig.client();
    client.send(head("GET /", ""));
    client.read(100).unwrap();
    client.reset();
    rig.endpoint.until("the endpoint is left", |log| log.ended == 1);
    check::sockets_are_back_at(&rig.transom, baseline);
    rig.expect_lines(1);
    let lines = rig.holds();
    assert_eq!(lines[0]["fault"], "client-closed", "{}", lines[0]);
}

#[test]
fn d_05_an_exchange_that_is_open_is_finished_before_the_end() {
    let drains = Arc::new(AtomicBool::new(false));
    let its = drains.clone();
    let endpoint = Endpoint::new(move |request, line| {
        while request.target == "/slow" && !its.load(Ordering::SeqCst) {
            line.wait(Duration::from_millis(2));
        }
        line.send(ok("done"));
    });
    let config = format!(
        "workers: 1\ngrace: 9s\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: '{}' }}] }}\n",
        endpoint.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let mut idle = Client::connect(transom.web());
    assert_eq!(idle.send(head("GET /", "")).response().status, 200);
    let mut open = Client::connect(transom.web());
    open.send(head("GET /slow", ""));
    endpoint.until("it is being served", |log| log.requests.len() == 2);
    transom.signal(Signal::TERM);
    until("it drains", || transom.admin("GET", "/readyz").status == 503);
    drains.store(true, Ordering::SeqCst);
    let response = open.response();
    assert_eq!((response.status, response.text().as_str()), (200, "done"));
    assert!(response.closes());
    open.ends();
    // One more request on an idle connection is still answered, and is the last.
    idle.send(head("GET /", ""));
    let response = idle.response();
    assert_eq!(response.status, 200);
    assert!(response.closes());
    idle.ends();
    assert!(transom.ended().success());
}

#[test]
fn d_05_idle_connections_do_not_hold_up_the_end() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\ngrace: 1s\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: '{}' }}] }}\n",
        endpoint.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let mut idle = Client::connect(transom.web());
    assert_eq!(idle.send(head("GET /", "")).response().status, 200);
    transom.signal(Signal::TERM);
    assert!(transom.ended().success());
    idle.end();
}

#[test]
fn u_11_who_lists_endpoints_leads_nowhere_else() {
    let inside = Endpoint::echo();
    let hidden = inside.address;
    let catalogue = Endpoint::new(move |_, line| {
        line.send(format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{hidden}/\r\nContent-Length: 0\r\n\r\n"
        ));
    });
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ sources: [{{ consul: {{ service: shop, server: 'http://{}' }} }}] }}\n",
        catalogue.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    until("the source has answered", || transom.said().contains("it answers 302"));
    assert!(inside.requests().is_empty(), "a redirect was followed");
    assert_eq!(Client::connect(transom.web()).send(head("GET /", "")).response().status, 503);
    check::alive(&mut transom);
}
