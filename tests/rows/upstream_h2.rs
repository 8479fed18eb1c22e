//! HTTP/2 to endpoints: many exchanges on one connection, and what an endpoint may do to it.

mod flow;
mod frames;
mod negotiation;
mod tunnels;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use h2::Reason;
use transom_testkit::{Endpoint, H2Endpoint, Manners, Response, Transom, check, client};

use super::rig::{TRANSOM, head, post};

/// A Transom of one worker in front of endpoints that are known to speak HTTP/2.
fn over(endpoints: &[SocketAddr], pool: &str, listener: &str) -> Transom {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("'{address}'")).collect();
    let config = format!(
        "workers: 1\ngrace: 1s\n\
         listeners:\n  web: {{ address: '@WEB', {listener} routes: [{{ forward: o }}] }}\n\
         pools:\n  o: {{ endpoints: [{}], http: 2, {pool} }}\n",
        endpoints.join(", ")
    );
    Transom::run(TRANSOM, &config)
}

fn one(endpoint: &H2Endpoint) -> Transom {
    over(&[endpoint.address], "", "")
}

#[track_caller]
fn get(transom: &Transom, target: &str) -> Response {
    client::ask(transom.web(), head(&format!("GET {target}"), ""))
}

/// So many requests at once, each over a connection of its own.
fn at_once(transom: &Transom, count: usize, bytes: impl AsRef<[u8]>) -> Vec<Response> {
    let (address, bytes) = (transom.web(), Arc::<[u8]>::from(bytes.as_ref()));
    let ask = |_| {
        let bytes = bytes.clone();
        thread::spawn(move || client::ask(address, &bytes))
    };
    let asking: Vec<_> = (0..count).map(ask).collect();
    asking.into_iter().map(|one| one.join().expect("an answer")).collect()
}

#[track_caller]
fn all_are(responses: &[Response], status: u16) {
    let others: Vec<_> = responses.iter().filter(|response| response.status != status).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(responses.iter().all(|response| response.whole));
}

#[track_caller]
fn rig_holds(transom: &mut Transom) {
    check::alive(transom);
}

#[test]
fn an_exchange_crosses_from_http_1_to_http_2_and_back() {
    let endpoint = H2Endpoint::echo();
    let mut transom = one(&endpoint);
    let response = get(&transom, "/a?b=c");
    let echo = response.echo();
    assert_eq!((echo["method"].as_str(), echo["target"].as_str()), (Some("GET"), Some("/a?b=c")));
    let request = &endpoint.requests()[0];
    assert_eq!(request.field(":authority"), Some("a"));
    assert_eq!(request.field(":scheme"), Some("http"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!((request.field("host"), request.field("connection")), (None, None));
    assert!(request.field("x-request-id").is_some());
    let response = client::ask(transom.web(), post("Content-Length: 5\r\n", "hello"));
    assert_eq!(response.echo()["body"], "hello");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let body = "5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n";
    let echo = client::ask(transom.web(), post(chunked, body)).echo();
    assert_eq!(echo["body"], "hello world");
    assert_eq!(echo["trailers"], serde_json::json!([["x-sum", "1"]]));
    assert_eq!(endpoint.connections(), 1);
    let line = transom.lines_when(3).remove(2);
    assert_eq!(line["upstream_protocol"], "HTTP/2");
    assert_eq!((&line["reused"], &line["status"]), (&true.into(), &200.into()));
    rig_holds(&mut transom);
}

/// Answers once so many streams are open at the same time.
fn together(count: usize, manners: Manners) -> H2Endpoint {
    let open = Arc::new(AtomicUsize::new(0));
    H2Endpoint::new(manners, move |exchange| {
        let open = open.clone();
        open.fetch_add(1, Ordering::Relaxed);
        async move {
            while open.load(Ordering::Relaxed) < count {
                exchange.wait(Duration::from_millis(2)).await;
            }
            exchange.answer(200, &[], "together").await;
        }
    })
}

#[test]
fn many_exchanges_share_one_connection() {
    let endpoint = together(60, Manners::default());
    let mut transom = one(&endpoint);
    all_are(&at_once(&transom, 60, head("GET /", "")), 200);
    assert_eq!((endpoint.connections(), endpoint.log().most_streams), (1, 60));
    rig_holds(&mut transom);
}

#[test]
fn a_connection_that_is_full_is_followed_by_another() {
    let endpoint = together(6, Manners::default());
    let mut transom = over(&[endpoint.address], "http2: { streams: 2 }", "");
    all_are(&at_once(&transom, 6, head("GET /", "")), 200);
    assert_eq!((endpoint.connections(), endpoint.log().most_streams), (3, 2));
    rig_holds(&mut transom);
}

#[test]
fn h2_29_what_the_endpoint_allows_is_kept() {
    let endpoint = H2Endpoint::new(
        Manners { streams: Some(2), ..Manners::default() },
        |exchange| async move {
            exchange.wait(Duration::from_millis(10)).await;
            exchange.answer(200, &[], "ok").await;
        },
    );
    let mut transom = one(&endpoint);
    for _ in 0..3 {
        all_are(&at_once(&transom, 20, head("GET /", "")), 200);
    }
    assert!(endpoint.log().most_streams <= 2, "{}", endpoint.log().most_streams);
    rig_holds(&mut transom);
}

#[test]
fn h2_29_an_endpoint_that_allows_no_stream_is_given_up_at_once() {
    let endpoint =
        H2Endpoint::new(Manners { streams: Some(0), ..Manners::default() }, |exchange| {
            exchange.answer(200, &[], "never")
        });
    let mut transom = one(&endpoint);
    let started = Instant::now();
    for _ in 0..3 {
        for response in at_once(&transom, 5, head("GET /", "")) {
            // The connection may also end before the request was begun on it.
            assert!(matches!(response.status, 502 | 503), "{response:?}");
        }
    }
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    endpoint.until("its connections are given back", |log| log.open <= 1);
    rig_holds(&mut transom);
}

#[test]
fn h2_29_no_request_is_lost_when_connections_say_goodbye() {
    let endpoint = H2Endpoint::new(
        Manners { goaway_after: Some(7), ..Manners::default() },
        |mut exchange| async move {
            exchange.read().await;
            exchange.wait(Duration::from_millis(1)).await;
            exchange.answer(200, &[], "ok").await;
        },
    );
    let mut transom = one(&endpoint);
    for _ in 0..10 {
        all_are(&at_once(&transom, 10, post("Content-Length: 5\r\n", "hello")), 200);
    }
    assert!(endpoint.connections() >= 10, "{}", endpoint.connections());
    rig_holds(&mut transom);
}

#[test]
fn h2_29_a_refused_stream_is_sent_again_whatever_its_method() {
    let refused = Arc::new(AtomicUsize::new(0));
    let endpoint = H2Endpoint::new(Manners::default(), move |mut exchange| {
        let first = refused.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        async move {
            exchange.read().await;
            match first {
                true => exchange.reset(Reason::REFUSED_STREAM),
                false => exchange.echo().await,
            }
        }
    });
    let mut transom = one(&endpoint);
    for _ in 0..3 {
        let response = client::ask(transom.web(), post("Content-Length: 5\r\n", "hello"));
        assert_eq!((response.status, &response.echo()["body"]), (200, &"hello".into()));
    }
    rig_holds(&mut transom);
}

#[test]
fn h2_29_an_endpoint_that_refuses_every_stream_is_given_up() {
    let endpoint = H2Endpoint::new(Manners::default(), |exchange| async move {
        exchange.reset(Reason::REFUSED_STREAM);
    });
    let mut transom = one(&endpoint);
    let started = Instant::now();
    for _ in 0..200 {
        assert_eq!(get(&transom, "/").status, 503);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let line = transom.lines_when(200).remove(0);
    assert_eq!((&line["fault"], &line["blame"]), (&"stream-refused".into(), &"upstream".into()));
    assert!(endpoint.requests().len() <= 200 * 5, "{}", endpoint.requests().len());
    rig_holds(&mut transom);
}

#[test]
fn h2_29_a_reset_that_may_have_had_an_effect_is_not_tried_twice() {
    let bad = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        exchange.read().await;
        exchange.reset(Reason::INTERNAL_ERROR);
    });
    let good = H2Endpoint::echo();
    let mut transom = over(&[bad.address, good.address], "", "");
    // In turn over both: one of two comes to the bad one first.
    let statuses = |bytes: String| -> Vec<u16> {
        (0..4).map(|_| client::ask(transom.web(), &bytes).status).collect()
    };
    let posted = statuses(post("Content-Length: 5\r\n", "hello"));
    assert_eq!(posted.iter().filter(|status| **status == 502).count(), 2, "{posted:?}");
    assert_eq!(statuses(head("GET /", "")), [200; 4]);
    rig_holds(&mut transom);
}

/// As over HTTP/1.1, in `attempts.rs`.
#[test]
fn lb_21_who_is_tried_again_does_not_wait_for_its_own_place() {
    let bad = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        exchange.head(503, &[], true);
    });
    let good = H2Endpoint::echo();
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', \
         routes: [{{ forward: {{ to: o, retries: {{ statuses: [503] }} }} }}] }}\n\
         pools:\n  o: {{ endpoints: ['{}', '{}'], http: 2, limits: {{ requests: 1 }}, \
         queue: {{ timeout: 20s }} }}\n",
        bad.address, good.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let start = Instant::now();
    for _ in 0..4 {
        assert_eq!(get(&transom, "/").status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(bad.requests().len(), 2);
    rig_holds(&mut transom);
}

#[test]
fn rs_20_trailers_reach_who_asks_for_them_from_http_2_too() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        let mut sending = exchange.head(200, &[], false);
        sending.send("hello").await;
        sending.trailers(&[("x-sum", "1"), ("set-cookie", "a=b")]);
    });
    let mut transom = one(&endpoint);
    let response = get(&transom, "/");
    assert_eq!((response.text().as_str(), response.trailers.len()), ("hello", 0));
    let asked = head("GET /", "Connection: TE\r\nTE: trailers\r\n");
    let response = client::ask(transom.web(), asked);
    assert_eq!(response.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(endpoint.requests()[1].field("te"), Some("trailers"));
    rig_holds(&mut transom);
}

#[test]
fn interim_responses_pass() {
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        exchange.interim(103, &[("link", "</style.css>")]);
        exchange.interim(100, &[]);
        exchange.answer(200, &[], "ok").await;
    });
    let mut transom = one(&endpoint);
    let response = get(&transom, "/");
    assert_eq!((response.interim, response.status), (vec![103], 200));
    rig_holds(&mut transom);
}

#[test]
fn an_endpoint_that_is_there_no_more_is_found_out_by_a_ping() {
    // Takes everything and says nothing, as behind a firewall that forgot the connection.
    let endpoint = Endpoint::raw(|line| line.stall());
    let pool = "http2: { ping: 100ms, ping-timeout: 100ms }";
    let mut transom = over(&[endpoint.address], pool, "");
    let started = Instant::now();
    assert_eq!(get(&transom, "/").status, 502);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    rig_holds(&mut transom);
}

#[test]
fn u_17_connections_end_when_they_are_idle_or_old_and_no_request_is_lost() {
    let endpoint = H2Endpoint::new(Manners::default(), |exchange| async move {
        exchange.wait(Duration::from_millis(20)).await;
        exchange.answer(200, &[], "ok").await;
    });
    let pool = "keep-alive: { idle: 200ms, age: 300ms }";
    let mut transom = over(&[endpoint.address], pool, "");
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1500) {
        all_are(&at_once(&transom, 4, head("GET /", "")), 200);
    }
    assert!(endpoint.connections() > 2, "{}", endpoint.connections());
    endpoint.until("all have ended", |log| log.open == 0);
    rig_holds(&mut transom);
}

#[test]
fn h2_01_resets_of_every_stream_cost_nothing_but_their_requests() {
    let endpoint = H2Endpoint::new(Manners::default(), |exchange| async move {
        match &*exchange.received.target {
            "/" => exchange.reset(Reason::ENHANCE_YOUR_CALM),
            _ => exchange.answer(200, &[], "ok").await,
        }
    });
    let mut transom = one(&endpoint);
    // the first exchange takes what every later one uses again
    assert_eq!(get(&transom, "/ok").status, 200);
    let memory = transom.memory();
    for _ in 0..20 {
        all_are(&at_once(&transom, 20, post("Content-Length: 0\r\n", "")), 502);
    }
    assert_eq!(get(&transom, "/ok").status, 200);
    let more = transom.memory().saturating_sub(memory);
    assert!(more < 8 << 10, "{more} KiB more");
    rig_holds(&mut transom);
}
