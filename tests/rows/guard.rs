//! Pools that are asked for more than they can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Transom, check, client, until};

use super::rig::{TRANSOM, head};

fn over(pool: &str, endpoint: &Endpoint) -> Transom {
    let config = format!(
        "workers: 2\nlisteners:\n  web: {{ address: '@WEB', routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: '{}', {pool} }}\n",
        endpoint.address
    );
    Transom::run(TRANSOM, &config)
}

/// Answers once it is told to; how many requests it had at once, at most.
struct Held {
    endpoint: Endpoint,
    open: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
}

fn held() -> Held {
    let (open, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (is_open, seen, running) = (open.clone(), most.clone(), AtomicUsize::new(0));
    let endpoint = Endpoint::new(move |_, line| {
        seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        while !is_open.load(Ordering::SeqCst) {
            line.wait(Duration::from_millis(2));
        }
        line.wait(Duration::from_millis(5));
        running.fetch_sub(1, Ordering::SeqCst);
        line.send(ok("done"));
    });
    Held { endpoint, open, most }
}

fn send(transom: &Transom, count: usize) -> Vec<Client> {
    let client = |_| {
        let mut client = Client::connect(transom.web());
        client.send(head("GET /", ""));
        client
    };
    (0..count).map(client).collect()
}

fn waiting(transom: &Transom) -> f64 {
    transom.metric("transom_pool_waiting{pool=\"o\"")
}

#[test]
fn lb_26_a_member_has_no_more_requests_than_it_may_and_the_others_wait() {
    let held = held();
    let pool = "limits: { per-member: 4 }, queue: { length: 20, timeout: 30s }";
    let mut transom = over(pool, &held.endpoint);
    let clients = send(&transom, 24);
    until("the others wait", || waiting(&transom) == 20.0);
    let start = Instant::now();
    let refused = client::ask(transom.web(), head("GET /", ""));
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert!(start.elapsed() < Duration::from_secs(5), "it does not wait: {:?}", start.elapsed());
    held.open.store(true, Ordering::SeqCst);
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(held.most.load(Ordering::SeqCst), 4);
    let lines = transom.lines_when(25);
    let full = lines.iter().filter(|line| line["fault"] == "pool-full").count();
    assert_eq!(full, 1);
    assert_eq!(waiting(&transom), 0.0);
    check::alive(&mut transom);
}

#[test]
fn u_15_nobody_waits_longer_than_the_queue_allows() {
    let held = held();
    let pool = "limits: { requests: 1 }, queue: { timeout: 200ms }";
    let transom = over(pool, &held.endpoint);
    let first = send(&transom, 1);
    held.endpoint.until("it is busy", |log| log.requests.len() == 1);
    let start = Instant::now();
    let response = client::ask(transom.web(), head("GET /", ""));
    assert_eq!(response.status, 503);
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    let lines = transom.lines_when(1);
    assert_eq!(lines[0]["fault"], "queue-timeout");
    held.open.store(true, Ordering::SeqCst);
    for mut client in first {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn u_15_who_leaves_the_queue_costs_the_endpoint_nothing() {
    let held = held();
    let pool = "limits: { requests: 1 }, queue: { length: 1000, timeout: 30s }";
    let mut transom = over(pool, &held.endpoint);
    let first = send(&transom, 1);
    held.endpoint.until("it is busy", |log| log.requests.len() == 1);
    let gone = send(&transom, 200);
    until("they wait", || waiting(&transom) == 200.0);
    for client in gone {
        client.reset();
    }
    until("their places are free", || waiting(&transom) == 0.0);
    held.open.store(true, Ordering::SeqCst);
    for mut client in first {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(client::ask(transom.web(), head("GET /", "")).status, 200);
    assert_eq!(held.endpoint.requests().len(), 2);
    check::alive(&mut transom);
}

#[test]
fn lb_24_a_breaker_opens_tries_and_closes() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = well.clone();
    let endpoint = Endpoint::new(move |_, line| match is_well.load(Ordering::SeqCst) {
        true => line.send(ok("well")),
        false => line.send("HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n"),
    });
    let rule = |open: &str| {
        format!("breaker: {{ errors: 50%, min-requests: 10, open: {open}, trials: 2 }}")
    };
    let ask = |transom: &Transom| client::ask(transom.web(), head("GET /", ""));
    // while it is open nothing gets through
    let long = over(&rule("30s"), &endpoint);
    for _ in 0..10 {
        assert_eq!(ask(&long).status, 500);
    }
    for _ in 0..10 {
        let refused = ask(&long);
        assert_eq!(refused.status, 503);
        let wait: u32 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((20..=30).contains(&wait), "{wait}");
    }
    assert_eq!(endpoint.requests().len(), 10, "nothing gets through");

    let mut transom = over(&rule("500ms"), &endpoint);
    let ask = || ask(&transom);
    for _ in 0..10 {
        assert_eq!(ask().status, 500);
    }
    // The first trial fails: open again, for twice as long.
    let mut asked = Instant::now();
    until("a trial gets through", || {
        asked = Instant::now();
        ask().status == 500
    });
    assert_eq!(endpoint.requests().len(), 21);
    well.store(true, Ordering::SeqCst);
    until("a trial gets through", || ask().status == 200);
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
    for _ in 0..10 {
        assert_eq!(ask().status, 200);
    }
    let said = transom.said();
    assert!(said.contains("pool `o`: too many errors: its breaker is open for 0.5 s"), "{said}");
    assert!(said.contains("pool `o`: too many errors: its breaker is open for 1.0 s"), "{said}");
    assert!(said.contains("pool `o`: its breaker is closed again"), "{said}");
    check::alive(&mut transom);
}

#[test]
fn lb_25_a_limit_that_finds_itself_keeps_latency_low() {
    // Does four at once in 5 ms; more wait within it.
    let gate = Arc::new((std::sync::Mutex::new(0usize), std::sync::Condvar::new()));
    let endpoint = Endpoint::new(move |_, line| {
        let (running, free) = &*gate;
        let mut count = running.lock().unwrap();
        while *count >= 4 {
            count = free.wait(count).unwrap();
        }
        *count += 1;
        drop(count);
        line.wait(Duration::from_millis(5));
        *running.lock().unwrap() -= 1;
        free.notify_one();
        line.send(ok("done"));
    });
    let pool = "limits: { adaptive: on }, queue: { length: 1000, timeout: 20s }";
    let transom = over(pool, &endpoint);
    let over = Arc::new(AtomicBool::new(false));
    let address = transom.web();
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let over = over.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                while !over.load(Ordering::Relaxed) {
                    let response = client.send(head("GET /", "")).response();
                    assert_eq!(response.status, 200, "{}", response.text());
                    if response.closes() {
                        client = Client::connect(address);
                    }
                }
            })
        })
        .collect();
    let limit = || transom.metric("transom_pool_limit{pool=\"o\"");
    until("it has left its least", || limit() > 3.0);
    std::thread::sleep(Duration::from_secs(2));
    let found = limit();
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a request failed");
    }
    assert!((3.0..=24.0).contains(&found), "64 want in, {found} may");
}

#[test]
fn lb_26_a_route_of_high_priority_is_served_before_the_others() {
    let held = held();
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - {{ match: {{ path: /first }}, priority: high, forward: o }}\n      \
         - {{ match: {{ path: /last }}, priority: low, forward: o }}\n      \
         - forward: o\n\
         pools:\n  o: {{ endpoints: '{}', limits: {{ requests: 1 }}, queue: {{ timeout: 20s }} }}\n",
        held.endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    let mut clients = Vec::new();
    for (count, path) in ["/now", "/last", "/b", "/c", "/first"].into_iter().enumerate() {
        let mut client = Client::connect(transom.web());
        client.send(head(&format!("GET {path}"), ""));
        clients.push(client);
        match count {
            0 => held.endpoint.until("it is busy", |log| log.requests.len() == 1),
            waits => until("it waits", || waiting(&transom) == waits as f64),
        }
    }
    held.open.store(true, Ordering::SeqCst);
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
    let order: Vec<_> = held.endpoint.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(order, ["/now", "/first", "/b", "/c", "/last"]);
}
