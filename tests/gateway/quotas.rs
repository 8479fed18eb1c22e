//! So many in a period of the calendar, for each consumer as its plan says, over restarts.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value as Json, json};
use transom_testkit::{Client, Http2, Response, http2};

use super::issuer::{Key, bearer, claims};
use super::rig::{Rig, TRANSOM, check};

/// A day with which months begin, and which is not near.
fn far() -> u64 {
    let output = Command::new("date").args(["-u", "+%-d"]).output().unwrap();
    let today: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    if (8..=22).contains(&today) { 1 } else { 15 }
}

const CONSUMERS: &str = "plans: { ordinary: { quota: 3/month }, vip: { quota: [5/month] } }\n\
    consumers:\n  \
      ada: { plan: vip, keys: [ada-secret-1234567890] }\n  \
      bob: { plan: ordinary, keys: [bob-secret-1234567890] }\n  \
      eve: { keys: [eve-secret-1234567890] }\n\
    data: '@folder/data'\n";

fn rig(quota: &str) -> Rig {
    let quota = format!("per-month: {{ quota: {{ month-starts: {}, {quota} }} }}", far());
    Rig::with(&["key: { api-key: {} }", &quota], CONSUMERS)
}

fn ask(rig: &Rig, name: &str) -> Response {
    rig.get("/", &[&format!("X-Api-Key: {name}-secret-1234567890")])
}

/// What is left, as the next response says, which counts itself.
fn left(rig: &Rig, name: &str) -> u64 {
    let told = ask(rig, name);
    let told = told.field("ratelimit").unwrap();
    let left = told.split(";r=").nth(1).unwrap().split(';').next().unwrap();
    left.parse().unwrap()
}

fn usage(rig: &Rig, name: &str) -> Json {
    serde_json::from_str(&rig.transom.admin("GET", &format!("/consumers/{name}/usage")).text())
        .unwrap()
}

#[test]
fn gw_20_two_consumers_on_two_plans_have_two_quotas() {
    let rig = rig("most: 1/month, plans: true");
    for (name, expected) in [("ada", 5), ("bob", 3), ("eve", 1)] {
        let passed = (0..7).filter(|_| ask(&rig, name).status == 200).count();
        assert_eq!(passed, expected, "{name}");
    }
    let refused = ask(&rig, "bob");
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((6 * 86_400..=31 * 86_400).contains(&wait), "{wait}");
    assert_eq!(refused.field("ratelimit-policy"), Some("\"per-month\";q=3"));
    let told = refused.field("ratelimit").unwrap();
    assert!(told.starts_with("\"per-month\";r=0;t="), "{told}");
    let lines = rig.transom.lines_when(22);
    let of_bob = lines.iter().filter(|line| line["consumer"] == "bob" && line["status"] == 429);
    for line in of_bob {
        assert_eq!(line["fault"], "quota-exceeded");
        assert_eq!(line["detail"], "`per-month`: 3/month for each consumer");
    }
    let key = "X-Api-Key: bob-secret-1234567890";
    let call = ["Content-Type: application/grpc", "Content-Length: 0", key];
    assert_eq!(rig.ask("POST /a.B/C", &call).field("grpc-status"), Some("8"));
    let used = usage(&rig, "bob");
    assert_eq!((&used[0]["used"], &used[0]["left"]), (&3.into(), &0.into()), "{used}");
    assert_eq!((&used[0]["policy"], &used[0]["quota"]), (&"per-month".into(), &"3/month".into()));
    let socket = rig.transom.folder().join("admin.sock");
    let show =
        Command::new(TRANSOM).args(["consumer", "show", "ada", "--socket"]).arg(socket).output();
    let shown = String::from_utf8(show.unwrap().stdout).unwrap();
    assert!(shown.contains("5/month  per-month  5     0     20"), "{shown}");
    let socket = rig.transom.folder().join("admin.sock");
    let words = ["consumer", "usage", "nobody-yet", "--socket"];
    let usage = Command::new(TRANSOM).args(words).arg(socket).output().unwrap();
    let shown = String::from_utf8(usage.stdout).unwrap();
    assert!(shown.contains("1/month  per-month  0     1     20"), "{shown}");
}

#[test]
fn gw_20_several_quotas_are_charged_together_and_a_request_may_cost_more() {
    let rig =
        rig("most: [6/month, 4/week], cost: 'request.method == \"GET\" ? 2 : 1', headers: both");
    let told = ask(&rig, "ada");
    assert_eq!(
        told.field("ratelimit-policy"),
        Some("\"per-month\";q=6, \"per-month-2\";q=4;w=604800")
    );
    assert_eq!(told.field("x-ratelimit-remaining"), Some("2"));
    assert_eq!((ask(&rig, "ada").status, ask(&rig, "ada").status), (200, 429));
    let used = usage(&rig, "ada");
    assert_eq!((&used[0]["used"], &used[1]["used"]), (&4.into(), &4.into()), "none is charged");
}

#[test]
fn l_07_a_reload_and_an_orderly_restart_lose_nothing() {
    let mut rig = rig("most: 100/month, plans: true");
    (0..2).for_each(|_| assert_eq!(ask(&rig, "bob").status, 200));
    (0..5).for_each(|_| assert_eq!(ask(&rig, "eve").status, 200));
    // bob gets another plan: what was used stays used
    let file = rig.transom.folder().join("transom.yaml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, config.replace("plan: ordinary", "plan: vip")).unwrap();
    rig.reload();
    assert_eq!(left(&rig, "bob"), 2);
    rig.transom.signal(Signal::TERM);
    assert!(rig.transom.ended().success());
    rig.transom.run_again(TRANSOM);
    assert_eq!(left(&rig, "bob"), 1);
    assert_eq!(left(&rig, "eve"), 94);
    assert_eq!(usage(&rig, "eve")[0]["used"], 6);
}

#[test]
fn l_07_a_kill_loses_what_was_used_in_the_last_second_at_most() {
    let mut rig = rig("most: 1000000/month");
    let mut client = Client::connect(rig.transom.web());
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: eve-secret-1234567890\r\n\r\n";
    let (begun, mut times) = (Instant::now(), Vec::new());
    let must = |times: &[Instant]| {
        times.iter().filter(|time| time.elapsed() >= Duration::from_secs(1)).count() as u64
    };
    while begun.elapsed() < Duration::from_millis(2500) || must(&times) < 100 {
        assert_eq!(client.send(request).response().status, 200);
        times.push(Instant::now());
        if times.len().is_multiple_of(500) {
            client = Client::connect(rig.transom.web());
        }
    }
    let must = must(&times);
    rig.transom.kill();
    rig.transom.run_again(TRANSOM);
    let kept = usage(&rig, "eve")[0]["used"].as_u64().unwrap();
    assert!((must..=times.len() as u64).contains(&kept), "{must} {kept}");
}

#[test]
fn gw_20_a_dry_run_lets_pass_counts_on_and_the_log_says_when_much_is_used() {
    let rig = rig("most: 4/month, warn-at: 50%, dry-run: true");
    (0..6).for_each(|_| assert_eq!(ask(&rig, "eve").status, 200));
    let lines = rig.transom.lines_when(6);
    let marked: Vec<_> = lines.iter().filter_map(|line| line["dry_run"].as_str()).collect();
    assert_eq!(marked, ["per-month", "per-month"]);
    let said: Vec<_> = lines.iter().filter_map(|line| line["detail"].as_str()).collect();
    assert_eq!(said, ["`per-month`: 50 % of 4/month is used"]);
    assert_eq!(usage(&rig, "eve")[0]["used"], 6);
    rig.transom.metric_becomes("transom_dry_run_total{listener=\"web\",route=\"web[0]\"", 2.0);
}

#[test]
fn gw_20_it_is_exact_over_all_workers_and_both_versions_of_http() {
    let rig = rig("most: 50/month, by: all");
    let passed = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for lane in 0..6 {
            let (web, passed) = (rig.transom.web(), &passed);
            scope.spawn(move || {
                let key = "eve-secret-1234567890";
                let count = |status: u16| {
                    assert!(matches!(status, 200 | 429), "{status}");
                    let one = u32::from(status == 200);
                    passed.fetch_add(one, std::sync::atomic::Ordering::Relaxed);
                };
                if lane % 2 == 0 {
                    let mut client = Http2::connect(web);
                    let request = || http2::request("GET", "/", &[("x-api-key", key)]);
                    (0..20).for_each(|_| count(client.ask(request(), b"").status));
                } else {
                    let mut client = Client::connect(web);
                    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n\r\n");
                    (0..20).for_each(|_| count(client.send(&request).response().status));
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 50);
}

#[test]
fn gw_20_what_cannot_be_is_refused_with_its_place() {
    for (quota, expected) in [
        ("{ plans: false }", "there is no quota"),
        ("10/min", "`10/min` is not a quota: its period is not known"),
        ("0/day", "nothing would ever pass"),
        ("[1/day, 5/day]", "a quota for the same period as `5/day` stands here twice"),
        ("{ most: 5/day, cost: 7 }", "a request costs 7, where 1 to 5 may be used"),
        ("{ most: 5/day, month-starts: 31 }", "no month begins on the 31."),
        ("{ most: 5/day, zone: Mars }", "`Mars` is no time zone"),
        ("{ most: 5/day, keys: 0 }", "no key would be remembered"),
        ("{ most: 5/day, plans: true }", "warning: policies.q.quota.plans: no plan has a quota"),
        ("5/day", "what is used is forgotten at a restart: there is no `data`"),
        (
            "{ most: 90/day, shared: 127.0.0.1:6379 }",
            "90/day for each consumer, shared by 2 processes which pass 98 at most",
        ),
    ] {
        let said = check(
            &format!(
                "listeners: {{ web: {{ address: ':8080', routes: [{{ policies: [q], respond: ok }}] }} }}\n\
                 policies: {{ q: {{ quota: {quota} }} }}\n"
            ),
            |_| (),
        );
        assert!(said.contains(expected), "{quota}: {said}");
    }
}

#[test]
fn gw_20_a_plan_whose_quota_nobody_counts_is_told_of() {
    let said = |policies: &str| {
        let config = format!(
            "data: data\n\
             listeners: {{ web: {{ address: ':8080', routes: [{{ policies: [{policies}], respond: ok }}] }} }}\n\
             plans: {{ vip: {{ quota: 5/day }}, other: {{ rate: 5/min }} }}\n\
             policies: {{ q: {{ quota: {{ plans: true }} }}, r: {{ rate-limit: 5/s }} }}\n"
        );
        check(&config, |_| ())
    };
    let warning = "warning: plans.vip.quota: no policy counts the quota";
    assert!(said("r").contains(warning), "{}", said("r"));
    assert!(!said("q, r").contains("warning"), "{}", said("q, r"));
}

#[test]
fn gw_20_without_a_store_it_counts_all_the_same() {
    let rig = Rig::with(&["q: { quota: { most: 2/month, by: all } }"], "");
    let statuses: Vec<_> = (0..3).map(|_| rig.get("/", &[]).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn gw_20_who_comes_with_a_token_has_the_plan_of_the_consumer_of_that_name_where_the_file_says_so() {
    const SECRET: &str = "a secret of thirty-two bytes and more";
    let key = Key::hs256(SECRET);
    for (consumers, of_ada, of_eve) in [("ignore", 1, 429), ("join", 3, 429), ("require", 3, 401)] {
        let rig = Rig::with(
            &[
                &format!("who: {{ jwt: {{ secret: '{SECRET}', consumers: {consumers} }} }}"),
                "told: { identity-headers: {} }",
                "q: { quota: { most: 1/month, plans: true } }",
            ],
            "plans: { vip: { quota: 3/month } }\n\
             consumers: { ada: { plan: vip, groups: [admins] } }\n\
             data: '@folder/data'",
        );
        let ask = |name: &str| {
            let token = key.token("", &claims(json!({ "sub": name })));
            rig.get("/", &[&bearer(&token)]).status
        };
        let passed = (0..5).filter(|_| ask("ada") == 200).count();
        assert_eq!(passed, of_ada, "{consumers}");
        let seen = rig.seen();
        let groups = (consumers != "ignore").then_some("admins");
        assert_eq!(seen.field("x-consumer-groups"), groups, "{consumers}");
        assert_eq!((ask("eve") == 401, ask("eve")), (of_eve == 401, of_eve), "{consumers}");
    }
}
