//! How much a client may ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Http2, Response, Transom, until};

use super::rig::Rig;

fn statuses(rig: &Rig, count: usize, lines: &[&str]) -> Vec<u16> {
    (0..count).map(|_| rig.get("/", lines).status).collect()
}

fn seconds(response: &Response) -> u64 {
    response.field("retry-after").unwrap().parse().unwrap()
}

#[test]
fn gw_17_the_hundred_and_first_request_within_a_minute_is_one_too_many() {
    let rig =
        Rig::with(&["per-user: { rate-limit: { rate: 100/min, by: '{header.x-user}' } }"], "");
    assert!(statuses(&rig, 100, &["X-User: ada"]).iter().all(|status| *status == 200));
    let refused = rig.get("/", &["X-User: ada", "Accept: application/json"]);
    assert_eq!(refused.status, 429);
    assert!((1..=76).contains(&seconds(&refused)), "{refused:?}");
    assert_eq!(refused.field("ratelimit-policy"), Some("\"per-user\";q=100;w=60"));
    assert!(refused.field("ratelimit").unwrap().starts_with("\"per-user\";r=0;t="));
    assert!(refused.text().contains("\"code\":\"rate-limited\""), "{}", refused.text());
    let other = rig.get("/", &["X-User: grace"]);
    assert_eq!(other.status, 200, "another user's is another matter");
    assert_eq!(other.field("ratelimit"), Some("\"per-user\";r=99;t=60"));
    assert_eq!(rig.endpoint.log().requests.len(), 101, "who is refused is not forwarded");
    let lines = rig.transom.lines_when(102);
    let refused = lines.iter().find(|line| line["status"] == 429).unwrap();
    assert_eq!(refused["fault"], "rate-limited");
    assert_eq!(refused["detail"], "`per-user`: 100/min for each {header.x-user}");
}

#[test]
fn gw_17_it_is_exact_over_all_workers_and_both_versions_of_http() {
    let rig = Rig::with(&["all: { rate-limit: { rate: 50/h, by: all } }"], "");
    let passed = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for lane in 0..8 {
            let (web, passed) = (rig.transom.web(), &passed);
            scope.spawn(move || {
                let count = |status: u16| {
                    assert!(matches!(status, 200 | 429), "{status}");
                    passed.fetch_add((status == 200).into(), Ordering::Relaxed);
                };
                if lane % 2 == 0 {
                    let mut client = Http2::connect(web);
                    (0..20).for_each(|_| count(client.get("/").status));
                } else {
                    let mut client = Client::connect(web);
                    for _ in 0..20 {
                        count(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").response().status);
                    }
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 50);
}

#[test]
fn gw_17_of_several_limits_none_is_charged_for_what_another_refuses() {
    let rig = Rig::with(
        &["both: { rate-limit: { rate: 10/h, also: [{ rate: 3/h, by: '{header.x-user}' }] } }"],
        "",
    );
    assert_eq!(statuses(&rig, 6, &["X-User: ada"]), [200, 200, 200, 429, 429, 429]);
    let told = rig.get("/", &["X-User: grace"]);
    assert_eq!(told.field("ratelimit"), Some("\"both\";r=6;t=3600, \"both-2\";r=2;t=3600"));
    assert_eq!(told.field("ratelimit-policy"), Some("\"both\";q=10;w=3600, \"both-2\";q=3;w=3600"));
}

#[test]
fn gw_17_a_bucket_gives_its_burst_and_a_request_may_cost_more_than_one() {
    let rig = Rig::with(
        &["dear: { rate-limit: { rate: 1/h, window: even, burst: 10, cost: 4, headers: both } }"],
        "",
    );
    let first = rig.get("/", &[]);
    assert_eq!((first.status, first.field("x-ratelimit-remaining")), (200, Some("6")));
    assert_eq!(statuses(&rig, 2, &[]), [200, 429]);
    let refused = rig.get("/", &[]);
    assert_eq!(refused.field("x-ratelimit-limit"), Some("1"));
    assert!(seconds(&refused) > 3500);
}

#[test]
fn gw_17_a_dry_run_lets_pass_and_says_so_in_the_log() {
    let rig = Rig::with(&["probe: { rate-limit: { rate: 1/h, dry-run: true } }"], "");
    assert_eq!(statuses(&rig, 3, &[]), [200, 200, 200]);
    let lines = rig.transom.lines_when(3);
    let marked: Vec<_> = lines.iter().filter_map(|line| line["dry_run"].as_str()).collect();
    assert_eq!(marked, ["probe", "probe"]);
    rig.transom.metric_becomes("transom_dry_run_total{listener=\"web\",route=\"web[0]\"", 2.0);
}

#[test]
fn gw_20_the_plan_of_who_asks_says_how_much() {
    let rig = Rig::with(
        &["key: { api-key: {} }", "rate: { rate-limit: { rate: 2/h, by: consumer, plans: true } }"],
        "plans: { vip: { rate: [5/h, 100/d] }, silent: {} }\n\
         consumers:\n  \
           ada: { plan: vip, keys: [ada-secret-1234567890] }\n  \
           bob: { keys: [bob-secret-1234567890] }\n  \
           eve: { plan: silent, keys: [eve-secret-1234567890] }",
    );
    for (name, expected) in [("ada", 5), ("bob", 2), ("eve", 2)] {
        let key = format!("X-Api-Key: {name}-secret-1234567890");
        let passed = statuses(&rig, 6, &[&key]).iter().filter(|status| **status == 200).count();
        assert_eq!(passed, expected, "{name}");
    }
    let told = rig.get("/", &["X-Api-Key: ada-secret-1234567890"]);
    let policy = "\"rate\";q=5;w=3600, \"rate-2\";q=100;w=86400";
    assert_eq!(told.field("ratelimit-policy"), Some(policy));
    assert!(told.field("ratelimit").unwrap().contains("\"rate-2\";r=95"), "{told:?}");
}

#[test]
fn l_01_l_02_no_way_to_write_a_request_begins_a_new_count() {
    let rig = Rig::with(&["few: { rate-limit: 4/h }"], "");
    let ways = [
        ("/Login", "X-Forwarded-For: 1.2.3.4"),
        ("//login", "Forwarded: for=1.2.3.5"),
        ("/%6cogin?x=1", "X-Real-IP: 1.2.3.6"),
        ("/login/;x", "X-Client-IP: 1.2.3.7"),
    ];
    for (target, line) in ways {
        assert_eq!(rig.get(target, &[line]).status, 200, "{target}");
    }
    for (target, line) in ways {
        assert_eq!(rig.get(target, &[line]).status, 429, "{target}");
    }
    assert_eq!(rig.ask("HEAD /login", &[]).status, 429);
    assert_eq!(Http2::connect(rig.transom.web()).get("/login").status, 429);
}

#[test]
fn l_07_a_reload_forgets_nothing_that_means_the_same() {
    let config = |rate: &str| {
        format!(
            "listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [few], respond: ok }}] }} }}\n\
             policies: {{ few: {{ rate-limit: {{ rate: {rate} }} }} }}\n"
        )
    };
    let mut transom = Transom::run(super::rig::TRANSOM, &config("5/h"));
    let ask = |transom: &Transom, count: usize| -> Vec<u16> {
        let mut client = Client::connect(transom.web());
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        (0..count).map(|_| client.send(request).response().status).collect()
    };
    assert_eq!(ask(&transom, 4), [200; 4]);
    for (rate, count, expected) in [("5/h", 2, &[200, 429][..]), ("7/h", 3, &[200, 200, 429])] {
        transom.write(&config(rate));
        assert_eq!(transom.admin("POST", "/reload").status, 200);
        assert_eq!(ask(&transom, count), expected, "{rate}");
    }
    transom.write(&config("5/min"));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert_eq!(ask(&transom, 6), [200, 200, 200, 200, 200, 429], "another time is another limit");
}

#[test]
fn gw_19_so_many_at_once_until_the_last_byte_is_there_or_the_client_has_gone() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let endpoint = Endpoint::new(move |request, line| {
        if request.target == "/" {
            return line.send(ok("at once"));
        }
        let (head, body) = ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "b");
        let begins = request.target == "/begins";
        line.send(if begins { head } else { "" });
        until("the gate is open", || gate.load(Ordering::Acquire));
        line.send(if begins { "" } else { head });
        line.send(body);
    });
    let rig = Rig::over(endpoint, &["two: { concurrency: 2 }"], "");
    let begin = |target: &str| {
        let mut client = Client::connect(rig.transom.web());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let (mut one, two) = (begin("/begins"), begin("/silent"));
    rig.endpoint.until("both are there", |log| log.requests.len() == 2);
    let refused = rig.get("/", &[]);
    assert_eq!((refused.status, seconds(&refused)), (429, 1));
    assert_eq!(refused.field("ratelimit"), Some("\"two\";r=0"));
    // a client that goes makes room
    two.reset();
    let mut third = Client::connect(rig.transom.web());
    until("there is room", || {
        third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").response().status == 200
    });
    // on the same connection, where the place of the one before is free for sure
    third.send("GET /begins HTTP/1.1\r\nHost: a\r\n\r\n");
    rig.endpoint.until("it is there", |log| log.requests.last().unwrap().target == "/begins");
    assert_eq!(rig.get("/", &[]).status, 429);
    open.store(true, Ordering::Release);
    assert_eq!((one.response().text(), third.response().text()), ("ab".into(), "ab".into()));
    until("all places are given back", || {
        rig.get("/", &[]).field("ratelimit") == Some("\"two\";r=1")
    });
}
