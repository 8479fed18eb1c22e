//! Requests that are made to wait or fail on purpose.

use std::time::{Duration, Instant};

use transom_testkit::{Http2, http2};

use super::rig::{Rig, check};

#[test]
fn gw_42_who_asks_for_it_is_failed_and_nobody_else() {
    let policy = "unruly: { fault-injection: { when: 'request.headers[\"x-unruly\"] == \"yes\"', \
                  abort: { status: 429, retry-after: 3s } } }";
    let rig = Rig::with(&[policy], "");
    assert_eq!(rig.get("/", &[]).status, 200, "a condition that comes to nothing touches nobody");
    assert_eq!(rig.get("/", &["X-Unruly: no"]).status, 200);
    assert_eq!(rig.endpoint.requests().len(), 2);
    let failed = rig.get("/failed", &["X-Unruly: yes", "Accept: application/json"]);
    assert_eq!((failed.status, failed.field("retry-after")), (429, Some("3")));
    let problem: serde_json::Value = serde_json::from_slice(&failed.body).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"injected".into()));
    assert_eq!(rig.endpoint.requests().len(), 2, "the endpoint is not asked");
    let line = rig.line_of("/failed");
    assert_eq!((&line["fault"], &line["blame"]), (&"injected".into(), &"transom".into()), "{line}");
    assert_eq!(line["detail"], "by the policy `unruly`");
    let metrics = rig.transom.admin("GET", "/metrics").text();
    let counted = "transom_faults_total{listener=\"web\",code=\"injected\",blame=\"transom\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn gw_42_grpc_is_told_in_its_own_words_over_http2_too() {
    let rig = Rig::with(&["down: { fault-injection: { abort: 503 } }"], "");
    let mut client = Http2::connect(rig.transom.web());
    let grpc = [("content-type", "application/grpc")];
    let response = client.ask(http2::request("POST", "/shop.Inventory/Get", &grpc), b"");
    assert_eq!((response.status, response.field("grpc-status")), (200, Some("14")));
    assert_eq!(client.get("/").status, 503);
}

#[test]
fn gw_42_a_wait_is_as_long_as_is_written_and_said_in_the_log() {
    let rig = Rig::with(&["slow: { fault-injection: { delay: 300ms } }"], "");
    let begun = Instant::now();
    assert_eq!(rig.get("/slow", &[]).status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let line = rig.line_of("/slow");
    assert_eq!(line["detail"], "delayed by 300ms by the policy `slow`", "{line}");
    assert!(line["total_ms"].as_f64().unwrap() >= 300.0, "{line}");
}

#[test]
fn gw_42_a_share_is_a_share() {
    let rig = Rig::with(&["half: { fault-injection: { abort: { status: 500, share: 50% } } }"], "");
    let mut client = transom_testkit::Client::connect(rig.transom.web());
    let ask = |_: &usize| client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").response().status == 500;
    let failed = (0..400).filter(ask).count();
    // six deviations
    assert!((140..=260).contains(&failed), "{failed} of 400");
}

#[test]
fn gw_42_what_cannot_be_is_refused_with_its_place() {
    for (policy, expected) in [
        ("{}", "fault-injection: it has neither `delay` nor `abort`"),
        ("{ abort: 200 }", "fault-injection.abort.status: 200 is no failure"),
        ("{ delay: 11m }", "fault-injection.delay.time: nobody is made to wait for more than 10"),
        ("{ abort: { share: 5% } }", "the key `status` is missing"),
        ("{ abort: { status: 503, share: 101% } }", "`101%` is not a percentage"),
        ("{ when: request.paht, abort: 503 }", "`request` has no `paht`"),
    ] {
        let file = format!(
            "listeners: {{ web: {{ address: 127.0.0.1:0, routes: [{{ policies: [p], respond: ok }}] }} }}\n\
             policies:\n  p: {{ fault-injection: {policy} }}\n"
        );
        let said = check(&file, |_| {});
        assert!(said.contains(expected) && said.contains("transom.yaml:3:"), "{policy}:\n{said}");
    }
}
