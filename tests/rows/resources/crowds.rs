//! Many connections: idle ones, those of one client, and herds.

use std::time::{Duration, Instant};

use transom_testkit::{Client, Endpoint, Transom, check, until};

use crate::rows::rig::{Rig, TRANSOM, head};

#[test]
fn sl_07_idle_connections_cost_little_and_hold_nobody_up() {
    let mut rig = Rig::with("limits: { connections-per-client: 5000 }", "", Endpoint::echo());
    rig.get("/");
    let (memory, baseline) = (rig.transom.memory(), rig.transom.sockets().len());
    let mut idle: Vec<Client> = (0..1000).map(|_| rig.client()).collect();
    for client in &mut idle {
        client.send(head("GET /local/x", ""));
        assert_eq!(client.response().status, 200);
    }
    let each = rig.transom.memory().saturating_sub(memory) * 1024 / idle.len();
    assert!(each <= 8 << 10, "{each} bytes each");
    assert_eq!(rig.get("/").status, 200);
    rig.expect_lines(1000);
    drop(idle);
    check::sockets_are_back_at(&rig.transom, baseline);
    rig.holds();
}

#[test]
fn sl_07_those_that_lie_idle_longest_make_room() {
    let rig = Rig::with("limits: { connections: 40 }", "", Endpoint::echo());
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut client = rig.client();
        client.send(head("GET /local/x", ""));
        assert_eq!(client.response().status, 200);
        open.push(client);
    }
    open[0].ends();
    let last = open.last_mut().unwrap();
    last.send(head("GET /local/x", ""));
    assert_eq!(last.response().status, 200);
    rig.expect_lines(101);
}

#[test]
fn what_runs_in_the_background_is_told() {
    let mut rig = Rig::echo();
    let mut client = rig.client();
    client.send(head("GET /local/x", ""));
    assert_eq!(client.response().status, 200);
    rig.expect_lines(1);
    let answer = String::from_utf8(rig.transom.admin("GET", "/tasks").body).unwrap();
    let tasks: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let running = |name: &str| {
        let task = tasks
            .as_array()
            .unwrap()
            .iter()
            .find(|task| task["name"].as_str().unwrap().starts_with(name));
        task.unwrap_or_else(|| panic!("no {name}: {answer}"))["running"].as_u64()
    };
    assert_eq!(running("admin socket"), Some(1));
    assert_eq!(running("connection "), Some(1));
    rig.holds();
}

#[test]
fn sl_08_one_client_has_so_many_connections() {
    let mut rig = Rig::with("limits: { connections-per-client: 5 }", "", Endpoint::echo());
    let mut open: Vec<Client> = (0..5).map(|_| rig.client()).collect();
    for client in &mut open {
        client.send(head("GET /", ""));
        assert_eq!(client.response().status, 200);
    }
    rig.client().end();
    open.pop();
    until("there is room again", || {
        rig.client()
            .send(head("GET /local/x", ""))
            .try_response("GET")
            .is_ok_and(|r| r.status == 200)
    });
    drop(open);
    until("all are gone", || {
        rig.client()
            .send(head("GET /local/x", ""))
            .try_response("GET")
            .is_ok_and(|r| r.status == 200)
    });
    check::alive(&mut rig.transom);
}

/// In the queue of the kernel, and not refused.
#[test]
fn lb_41_u_21_a_herd_is_let_in_evenly_and_nobody_is_refused() {
    let endpoint = Endpoint::echo();
    for (limits, overload) in [("connection-rate: 40/s", ""), ("", "connection-rate: 40/s")] {
        let config = format!(
            "workers: 2\noverload: {{ {overload} }}\nlisteners:\n  web: {{ address: '@WEB', \
             limits: {{ {limits} }}, routes: [{{ forward: '{}' }}] }}\n",
            endpoint.address
        );
        let mut transom = Transom::run(TRANSOM, &config);
        // what holds for all listeners is heard of a little after the start
        std::thread::sleep(Duration::from_millis(400));
        let mut there = Client::connect(transom.web());
        there.send(head("GET /there", ""));
        assert_eq!(there.response().status, 200);
        let start = Instant::now();
        let herd: Vec<Client> = (0..40)
            .map(|_| {
                let mut client = Client::connect(transom.web());
                client.send(head("GET /", ""));
                client
            })
            .collect();
        assert!(start.elapsed() < Duration::from_millis(500), "all are connected at once");
        there.send(head("GET /there", ""));
        assert_eq!(there.response().status, 200);
        assert!(start.elapsed() < Duration::from_millis(700), "who is there notices nothing");
        for mut client in herd {
            assert_eq!(client.response().status, 200);
        }
        // four at once, and one more for each worker
        let (least, took) = (Duration::from_millis((40 - 4 - 2) * 25), start.elapsed());
        assert!(took >= least && took < least + Duration::from_secs(3), "{took:?} with {config}");
        assert_eq!(transom.metric("transom_connections_refused_total{listener=\"web\""), 0.0);
        check::alive(&mut transom);
    }
}
