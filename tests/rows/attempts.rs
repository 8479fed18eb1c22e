//! What is tried again, where, how soon and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Transom, check, client};

use super::rig::{TRANSOM, head, post};

/// A Transom that forwards with these settings to these endpoints.
fn over(forward: &str, endpoints: &[&Endpoint]) -> Transom {
    with(forward, "", endpoints)
}

/// As [`over`], with further settings of the pool.
fn with(forward: &str, pool: &str, endpoints: &[&Endpoint]) -> Transom {
    let endpoints: Vec<_> = endpoints.iter().map(|e| format!("'{}'", e.address)).collect();
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', timeouts: {{ connect: 1s }}, \
         routes: [{{ forward: {{ to: o{forward} }} }}] }}\n\
         pools:\n  o: {{ endpoints: [{}]{pool} }}\n",
        endpoints.join(", ")
    );
    Transom::run(TRANSOM, &config)
}

fn get(transom: &Transom) -> (u16, String) {
    let response = client::ask(transom.web(), head("GET /", ""));
    (response.status, response.text())
}

fn answering(status: &'static str, more: &'static str) -> Endpoint {
    let text = format!("HTTP/1.1 {status}\r\n{more}Content-Length: 4\r\n\r\nhard");
    Endpoint::new(move |_, line| line.send(text.as_bytes()))
}

#[test]
fn lb_21_a_status_that_was_chosen_is_tried_again_elsewhere() {
    let (bad, good) = (answering("503 Busy", ""), Endpoint::new(|_, line| line.send(ok("good"))));
    let mut transom = over(", retries: { statuses: [503] }", &[&bad, &good]);
    for _ in 0..10 {
        assert_eq!(get(&transom), (200, "good".into()));
    }
    assert!(bad.requests().len() >= 5);
    assert_eq!(bad.connections(), 1, "its short answer was read to the end, for the next one");
    check::alive(&mut transom);
}

/// It stood still for as long as one may wait in the queue: for the place of the answer that it had.
#[test]
fn lb_21_who_is_tried_again_does_not_wait_for_its_own_place() {
    let (bad, good) = (answering("503 Busy", ""), Endpoint::new(|_, line| line.send(ok("good"))));
    let pool = ", limits: { requests: 1 }, queue: { timeout: 20s }";
    let mut transom = with(", retries: { statuses: [503] }", pool, &[&bad, &good]);
    let start = Instant::now();
    for _ in 0..4 {
        assert_eq!(get(&transom), (200, "good".into()));
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(bad.connections(), 1, "it went back for the next one");
    check::alive(&mut transom);
}

#[test]
fn lb_21_without_being_chosen_it_is_the_answer() {
    let (bad, good) = (answering("503 Busy", ""), Endpoint::new(|_, line| line.send(ok("good"))));
    let transom = over("", &[&bad, &good]);
    let mut statuses: Vec<u16> = (0..4).map(|_| get(&transom).0).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
}

#[test]
fn u_07_a_post_is_not_sent_again_after_a_status_unless_that_was_chosen() {
    for (any, expected) in [("false", [200, 200, 503, 503]), ("true", [200; 4])] {
        let bad = answering("503 Busy", "");
        let good = Endpoint::new(|request, line| line.send(ok(&request.text())));
        let forward = format!(", retries: {{ statuses: [5xx], any-method: {any} }}");
        let transom = over(&forward, &[&bad, &good]);
        let body = post("Content-Length: 5\r\n", "hello");
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let response = client::ask(transom.web(), &body);
            statuses.push(response.status);
            if response.status == 200 {
                assert_eq!(response.text(), "hello", "the body came whole again");
            }
        }
        statuses.sort_unstable();
        assert_eq!(statuses, expected, "any-method: {any}");
    }
}

#[test]
fn u_06_who_says_when_to_come_back_is_believed() {
    let busy = answering("503 Busy", "Retry-After: 30\r\n");
    let good = Endpoint::new(|_, line| line.send(ok("good")));
    let transom = over(", retries: { statuses: [503] }", &[&busy, &good]);
    let mut answers: Vec<_> = (0..4).map(|_| get(&transom).0).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 503, 503]);
}

#[test]
fn lb_21_when_all_answer_badly_the_last_answer_counts() {
    let bad = [answering("503 Busy", ""), answering("503 Busy", ""), answering("503 Busy", "")];
    let transom = over(", retries: { count: 5, statuses: [503] }", &[&bad[0], &bad[1], &bad[2]]);
    assert_eq!(get(&transom), (503, "hard".into()));
    let requests: usize = bad.iter().map(|endpoint| endpoint.requests().len()).sum();
    assert_eq!(requests, 3, "each once");
}

#[test]
fn lb_23_an_attempt_that_takes_too_long_is_tried_elsewhere() {
    let slow = Endpoint::new(|_, line| line.stall());
    let good = Endpoint::new(|_, line| line.send(ok("good")));
    let mut transom = over(", retries: { per-attempt: 1s }", &[&slow, &good]);
    for _ in 0..4 {
        let start = Instant::now();
        assert_eq!(get(&transom), (200, "good".into()));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    check::alive(&mut transom);
}

#[test]
fn lb_22_a_slow_attempt_is_joined_by_another() {
    let slow = Endpoint::new(|_, line| line.stall());
    let good = Endpoint::new(|_, line| line.send(ok("good")));
    let mut transom = over(", hedge: 100ms", &[&slow, &good]);
    for _ in 0..4 {
        let start = Instant::now();
        assert_eq!(get(&transom), (200, "good".into()));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    let lines = transom.lines_when(4);
    let attempts: u64 = lines.iter().filter_map(|line| line["attempts"].as_u64()).sum();
    let lost = attempts as usize - 4;
    assert!(lost >= 2, "{attempts} attempts");
    slow.until("those that lost are cut off", |log| {
        (log.requests.len(), log.ended) == (lost, lost)
    });
    check::alive(&mut transom);
}

#[test]
fn lb_22_a_hedge_is_no_answer_while_the_other_may_bring_one() {
    // The first answers once the hedge has come.
    let hedged = Arc::new(AtomicBool::new(false));
    let (its, came) = (hedged.clone(), hedged);
    let late = Endpoint::new(move |request, line| {
        while request.method == "GET" && !its.load(Ordering::SeqCst) {
            line.wait(Duration::from_millis(2));
        }
        line.send(ok("late"));
    });
    let killing = Endpoint::new(move |_, line| {
        line.reset();
        line.wait(Duration::from_millis(100));
        came.store(true, Ordering::SeqCst);
    });
    let transom = over(", hedge: 100ms, retries: 0", &[&late, &killing]);
    // The first goes to the slow one, the hedge is reset.
    assert_eq!(get(&transom), (200, "late".into()));
    let post = post("Content-Length: 5\r\n", "hello");
    let answers: Vec<_> = (0..2).map(|_| client::ask(transom.web(), &post).status).collect();
    assert_eq!(answers.iter().filter(|status| **status == 502).count(), 1, "no hedge: {answers:?}");
}

#[test]
fn lb_23_an_endpoint_can_be_told_how_much_time_is_left() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\nlisteners:\n  web: {{ address: '@WEB', timeouts: {{ request: 5s }}, \
         routes: [{{ forward: {{ to: '{}', deadline-header: X-Left }} }}] }}\n",
        endpoint.address
    );
    let transom = Transom::run(TRANSOM, &config);
    client::ask(transom.web(), head("GET /", "X-Left: 999999\r\n"));
    let told: Vec<_> = endpoint
        .request()
        .fields
        .iter()
        .filter(|f| f.0.eq_ignore_ascii_case("x-left"))
        .map(|f| f.1.clone())
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let left: u64 = told[0].parse().unwrap();
    assert!((4000..=5000).contains(&left), "{left}");
}

#[test]
fn lb_21_a_client_that_leaves_ends_the_attempts() {
    let bad = answering("503 Busy", "");
    let other = answering("503 Busy", "");
    let forward = ", retries: { count: 9, statuses: [503], backoff: 30s, max-backoff: 30s }";
    let mut transom = over(forward, &[&bad, &other]);
    let mut client = Client::connect(transom.web());
    client.send(head("GET /", ""));
    bad.until("it was asked", |log| log.requests.len() == 1);
    client.reset();
    let lines = transom.lines_when(1);
    assert_eq!(lines[0]["fault"], "client-closed", "{}", lines[0]);
    check::alive(&mut transom);
}
