//! Which endpoint gets how much.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, until};

use super::{get, named, over, shares};

#[test]
fn lb_05_a_slow_endpoint_gets_less_and_idle_ones_take_turns() {
    let (a, b) = (named("a", ""), named("b", ""));
    let done = Arc::new(AtomicBool::new(false));
    let is_done = done.clone();
    let slow = Endpoint::new(move |_, line| {
        while !is_done.load(Ordering::Relaxed) {
            line.wait(Duration::from_millis(5));
        }
        line.send(ok("slow"));
    });
    let transom = over(&[&a, &b], "keep-alive: { idle: 5s }");
    let mut order = String::new();
    for _ in 0..6 {
        order.push_str(&get(&transom, "/", "").text());
    }
    assert_eq!(order, "ababab");
    let transom = over(&[&a, &slow], "keep-alive: { idle: 5s }");
    let mut first = Client::connect(transom.web());
    // the slow one has one in flight as soon as two were asked for
    let mut second = Client::connect(transom.web());
    for client in [&mut first, &mut second] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    until("it is at work", || slow.requests().len() == 1);
    until("it alone", || transom.metric("transom_member_in_flight{pool=\"o\"") == 1.0);
    for _ in 0..10 {
        assert_eq!(get(&transom, "/", "").text(), "a");
    }
    done.store(true, Ordering::Relaxed);
}

#[test]
fn lb_08_the_load_that_a_response_tells_counts() {
    let busy = named("busy", "endpoint-load-metrics: TEXT cpu_utilization=0.95\n");
    let idle = named("idle", "endpoint-load-metrics: JSON {\"cpu_utilization\": 0.1}\n");
    let transom = over(&[&busy, &idle], "algorithm: reported-load");
    until("both have told", || {
        get(&transom, "/", "");
        !busy.requests().is_empty() && !idle.requests().is_empty()
    });
    assert_eq!(shares(&transom, 20, |_| String::new()), [("idle".to_owned(), 20)].into());
}

#[test]
fn lb_10_equal_keys_go_to_the_same_endpoint() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    for (algorithm, line) in [
        ("{ ring: '{header.x-user}' }", "X-User: {}\r\n"),
        ("{ maglev: '{cookie.id}' }", "Cookie: a=b; id={}\r\n"),
        ("{ maglev: { key: '{header.x-user}/{cookie.id}', load-factor: 1.5 } }", "X-User: {}\r\n"),
    ] {
        let transom = over(&all, &format!("algorithm: {algorithm}"));
        let user = |n: usize| line.replace("{}", &n.to_string());
        let once = shares(&transom, 60, user);
        assert_eq!(once.len(), 3, "{algorithm}: {once:?}");
        for n in 0..10 {
            let same = shares(&transom, 5, |_| user(n));
            assert_eq!(same.len(), 1, "{algorithm}: {same:?}");
        }
        // without a key they go anywhere
        assert_eq!(shares(&transom, 60, |_| String::new()).len(), 3, "{algorithm}");
    }
}

/// The text is put together of what the client has sent, whoever stands between the route and the pool.
#[test]
fn lb_10_keys_are_put_together_behind_a_split_too() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let list: Vec<String> = endpoints.iter().map(|e| format!("'{}'", e.address)).collect();
    let config = format!(
        "listeners:\n  web: {{ address: '@WEB', routes: [{{ forward: all }}] }}\n\
         splits: {{ all: {{ pools: {{ o: 1 }} }} }}\n\
         pools:\n  o: {{ endpoints: [{}], algorithm: {{ maglev: '{{header.x-user}}/{{cookie.id}}' }} }}\n",
        list.join(", ")
    );
    let transom = transom_testkit::Transom::run(crate::rows::rig::TRANSOM, &config);
    let user = |n: usize| format!("X-User: {n}\r\n");
    assert_eq!(shares(&transom, 60, user).len(), 3);
    for n in 0..10 {
        let same = shares(&transom, 5, |_| user(n));
        assert_eq!(same.len(), 1, "{same:?}");
    }
}

#[test]
fn lb_10_a_key_can_be_a_part_of_the_path_or_the_query() {
    let endpoints = [named("a", ""), named("b", ""), named("c", "")];
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let transom = over(&all, "algorithm: { maglev: '{path.2}{query.id}' }");
    let mut seen = BTreeMap::new();
    for n in 0..40 {
        let first = get(&transom, &format!("/users/{n}/cart"), "").text();
        assert_eq!(get(&transom, &format!("/users/{n}/orders"), "").text(), first);
        assert_eq!(get(&transom, &format!("/users//?x=1&id={n}"), "").status, 200);
        *seen.entry(first).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}
