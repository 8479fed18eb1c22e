//! Servers on demand with real processes: from none to as many as are needed and back, and no
//! request is lost (done-when 5).

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transom_testkit::load::{Lane, Load};
use transom_testkit::message::Reader;
use transom_testkit::server::{self, Server};
use transom_testkit::unix::UnixServer;
use transom_testkit::{Transom, client, until};

const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

/// What the scaler starts: this test, as a process of its own.
#[test]
#[ignore = "it is a server, for the other tests"]
fn a_server_of_its_own() {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    if std::env::var("FAILS").is_ok() {
        std::process::exit(3);
    }
    // it ends with who has started it, which a test may kill
    let parent = rustix::process::getppid();
    thread::spawn(move || {
        while rustix::process::getppid() == parent {
            thread::sleep(Duration::from_millis(200));
        }
        std::process::exit(0);
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    if std::env::var("DIES").is_ok() {
        // it is there, and gone once somebody has looked
        listener.accept().unwrap();
        std::process::exit(3);
    }
    server::serve(&listener, &port.to_string());
}

fn config(scale: &str) -> String {
    let own = std::env::current_exe().unwrap();
    let own = own.display();
    format!(
        "listeners: {{ web: {{ address: '@WEB', limits: {{ connections-per-client: unlimited }}, routes: [{{ forward: shop }}] }} }}\n\
         pools:\n  shop:\n    scale:\n      \
         command: {{ run: ['{own}', --ignored, --exact, a_server_of_its_own], environment: {{ SHOP: '1'@MORE }} }}\n\
         {scale}"
    )
    .replace("@MORE", "")
}

/// The processes that the program has started.
fn children(transom: &Transom) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", transom.pid())).unwrap();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children"));
    let lists = tasks.flatten().filter_map(|task| of(task).ok());
    lists.map(|list| list.split_whitespace().count()).sum()
}

fn scale(transom: &Transom) -> Value {
    let shown: Value = serde_json::from_str(&transom.admin("GET", "/pools/shop").text()).unwrap();
    shown["scale"].clone()
}

/// How long the last start took, in milliseconds, as the scaler has seen it. It tells of it a moment
/// after requests may use it.
fn cold_start(transom: &Transom) -> u64 {
    let told = || {
        let scale = scale(transom);
        let mut decisions = scale["decisions"].as_array().unwrap().iter();
        let told = decisions.find_map(|one| one["what"].as_str()?.split_once(" is there at "));
        told.map(|(_, rest)| rest.to_owned())
    };
    until("the start is told", || told().is_some());
    let rest = told().unwrap();
    let (_, time) = rest.rsplit_once(" after ").unwrap();
    time.strip_suffix(" ms").unwrap().parse().unwrap()
}

fn get(address: SocketAddr, target: &str) -> transom_testkit::Response {
    client::ask(address, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

#[test]
fn lb31_from_none_to_as_many_as_are_needed_and_back() {
    let rules = "      max: 3\n      target: 4\n      cool-down: 1500ms\n";
    let mut transom = Transom::run(TRANSOM, &config(rules));
    assert_eq!(children(&transom), 0, "nobody asks, nothing runs");

    // the first request waits for the first server, and not much longer
    let begun = Instant::now();
    let answer = get(transom.web(), "/first");
    let took = begun.elapsed();
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), transom.said());
    let cold = cold_start(&transom);
    eprintln!("first answer after {} ms, cold start {cold} ms", took.as_millis());
    assert!(took < Duration::from_millis(cold + 500), "{took:?}, of which {cold} ms cold start");
    assert_eq!(children(&transom), 1);
    until("nothing runs again", || children(&transom) == 0);

    // a thousand at once, while there is none
    let mut held: Vec<TcpStream> = (0..1000)
        .map(|n| {
            let mut stream = TcpStream::connect(transom.web()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            write!(stream, "GET /held-{n} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for (n, stream) in held.drain(..).enumerate() {
        let response = Reader::new(stream).response("GET").unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.text().contains(&format!("/held-{n} ")), "{}", response.text());
    }

    // a spike grows to the most there shall be, and no request is lost on the way back
    let slow = Lane { rate: 1000, ..Lane::new(transom.web(), "/after-50", 1000) };
    let load = Load::start(vec![slow; 20]);
    until("three are there", || scale(&transom)["ready"] == 3);
    assert!(children(&transom) <= 3);
    let outcome = load.end();
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    let web = transom.web();
    let last = thread::spawn(move || get(web, "/after-2500"));
    until("two are gone", || children(&transom) == 1);
    assert_eq!(last.join().unwrap().status, 200, "what was under way was finished");
    until("nothing runs again", || children(&transom) == 0);

    // every decision has its reason
    let said = transom.said();
    for part in [
        "scale: 1 more, 1 in all: 1 requests, 1 of them held",
        "in all: for 1.5 s no more than 0 were needed",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    // and at the end nothing is left
    assert_eq!(get(transom.web(), "/").status, 200);
    assert_eq!(children(&transom), 1);
    let folder = format!("/proc/{}/task", transom.pid());
    let list = fs::read_dir(&folder).unwrap().flatten();
    let list: String =
        list.filter_map(|t| fs::read_to_string(t.path().join("children")).ok()).collect();
    let child: u32 = list.trim().parse().unwrap();
    transom.admin("POST", "/stop");
    transom.ended();
    until("its server is gone too", || !std::path::Path::new(&format!("/proc/{child}")).exists());
}

#[test]
fn lb31_a_request_that_comes_while_the_last_server_leaves_is_answered() {
    let rules = "      max: 1\n      cool-down: 0s\n";
    let transom = Transom::run(TRANSOM, &config(rules));
    let lane = Lane { requests: 1, rate: 4, ..Lane::new(transom.web(), "/", 4) };
    let load = Load::start([lane]);
    until("servers have come and gone", || transom.said().matches(" is gone").count() >= 3);
    let outcome = load.end();
    assert!(outcome.failures.is_empty(), "{:#?}\n{}", outcome.failures, transom.said());
}

#[test]
fn lb31_requests_are_held_whichever_way_they_come() {
    let routes = "{ match: { path: /own/** }, forward: { to: shop, algorithm: random } }, \
                  { match: { path: /part/** }, forward: { to: both } }, { forward: shop }";
    let file = config("      max: 1\n      cool-down: 200ms\n")
        .replace("{ forward: shop }", routes)
        .replace("pools:\n", "splits: { both: { pools: { shop: 1 } } }\npools:\n");
    let transom = Transom::run(TRANSOM, &file);
    for target in ["/own/1", "/part/1", "/"] {
        until("nothing runs", || children(&transom) == 0);
        let answer = get(transom.web(), target);
        assert_eq!(answer.status, 200, "{target}: {}\n{}", answer.text(), transom.said());
    }
}

#[test]
fn lb31_servers_that_say_they_are_busy_get_help() {
    let rules =
        "      max: 3\n      target: 1000\n      target-load: 50%\n      cool-down: 300ms\n";
    let transom = Transom::run(TRANSOM, &config(rules));
    let lane = Lane { rate: 200, ..Lane::new(transom.web(), "/busy-90", 200) };
    let load = Load::start(vec![lane; 2]);
    until("another is there", || scale(&transom)["ready"].as_u64() >= Some(2));
    load.end();
    assert!(transom.said().contains("they report 90 % of load together, 50 % for each"));
    until("nothing runs again", || children(&transom) == 0);
}

#[test]
fn lb31_a_server_that_does_not_start_is_told_and_requests_do_not_wait_for_ever() {
    let rules = "      max: 1\n      hold: { timeout: 3s, requests: 1 }\n";
    let file = config(rules).replace("SHOP: '1'", "FAILS: '1'");
    let transom = Transom::run(TRANSOM, &file);
    let answer = get(transom.web(), "/");
    assert_eq!(answer.status, 503);
    until("it is told", || transom.said().contains("did not start: exit status: 3"));
    // it is tried again, but ever more slowly
    until("it was tried again", || transom.said().matches("did not start").count() >= 2);
    let scale = scale(&transom);
    assert_eq!((scale["ready"].clone(), scale["waiting"].clone()), (json!(0), json!(0)));
    // a full queue refuses at once
    let first = TcpStream::connect(transom.web()).unwrap();
    (&first).write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("one is held", || self::scale(&transom)["waiting"] == 1);
    let begun = Instant::now();
    assert_eq!(get(transom.web(), "/second").status, 503);
    assert!(begun.elapsed() < Duration::from_secs(2), "it is not held");
}

#[test]
fn lb31_a_server_that_dies_is_replaced() {
    let rules = "      min: 1\n      max: 1\n";
    let transom = Transom::run(TRANSOM, &config(rules));
    until("it is there", || scale(&transom)["ready"] == 1);
    let tasks = fs::read_dir(format!("/proc/{}/task", transom.pid())).unwrap().flatten();
    let list: String =
        tasks.filter_map(|t| fs::read_to_string(t.path().join("children")).ok()).collect();
    let id = rustix::process::Pid::from_raw(list.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    until("it is told", || transom.said().contains("has ended by itself: signal: 9"));
    until("another is there", || scale(&transom)["ready"] == 1 && children(&transom) == 1);
    assert_eq!(get(transom.web(), "/").status, 200);
}

/// It was started again every half second for ever, as having come up counted as success.
#[test]
fn lb31_servers_that_come_up_and_die_are_tried_ever_later() {
    let config =
        config("      min: 1\n      max: 1\n").replace("SHOP: '1'", "SHOP: '1', DIES: '1'");
    let begun = Instant::now();
    let transom = Transom::run(TRANSOM, &config);
    let deaths = || transom.said().matches("has ended by itself").count();
    until("four have died", || deaths() >= 4);
    // half a second, one and two in between
    assert!(begun.elapsed() >= Duration::from_millis(3400), "{:?}", begun.elapsed());
}

#[test]
fn lb31_servers_live_on_over_a_reload() {
    let mut transom = Transom::run(TRANSOM, &config("      min: 1\n      max: 1\n"));
    until("it is there", || scale(&transom)["ready"] == 1);
    let before = get(transom.web(), "/").text();
    transom.write(&config("      min: 1\n      max: 2\n"));
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    assert_eq!(scale(&transom)["max"], 2);
    assert_eq!(get(transom.web(), "/").text(), before, "the same process answers");
    assert_eq!(children(&transom), 1);
    // a pool that is gone takes its servers along
    transom.write("listeners: { web: { address: '@WEB', routes: [{ respond: hello }] } }\n");
    assert_eq!(transom.admin("POST", "/reload").status, 200);
    until("its servers are gone", || children(&transom) == 0);
}

/// A file that is refused changes nothing, however late that is found: here because somebody else has the
/// address of a further listener.
#[test]
fn lb31_d_02_servers_are_started_and_stopped_where_a_reload_was_refused() {
    let rules = |max| format!("      max: {max}\n      target: 100\n      cool-down: 300ms\n");
    let mut transom = Transom::run(TRANSOM, &config(&rules(1)));
    assert_eq!(get(transom.web(), "/").status, 200);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!(
        "listeners: {{ more: {{ address: '{}', routes: [{{ respond: no }}] }}, ",
        taken.local_addr().unwrap()
    );
    transom.write(&config(&rules(2)).replace("listeners: { ", &more));
    let refused = transom.admin("POST", "/reload");
    assert_ne!(refused.status, 200, "{}", refused.text());
    assert_eq!(scale(&transom)["max"], 1, "what was refused does not hold");
    until("nobody asks, nothing runs", || children(&transom) == 0);
    let answer = get(transom.web(), "/again");
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), transom.said());
}

/// A Docker-style server whose containers are servers of this test.
#[test]
fn lb31_containers_are_made_and_removed_on_demand() {
    containers_come_and_go("200 OK");
}

/// An error of Docker's own was taken for the end of the container.
#[test]
fn lb31_a_container_goes_on_where_docker_fails() {
    containers_come_and_go("500 Internal Server Error");
}

/// Its end is waited for, which Docker answers with this.
fn containers_come_and_go(waiting: &'static str) {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let its = told.clone();
    let server = Server::start("container");
    let port = server.address.port();
    let docker = UnixServer::start(move |request, mut stream| {
        its.lock().unwrap().push(format!("{} {}", request.method, request.target));
        let json = |status: &str, body: Value| {
            let body = body.to_string();
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let text = match (&*request.method, &*request.target) {
            ("POST", "/containers/create") => {
                let wanted: Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!((&wanted["Image"], &wanted["Env"][0]), (&json!("shop"), &json!("A=b")));
                json("201 Created", json!({ "Id": "c0ffee" }))
            }
            ("POST", "/containers/c0ffee/start") => "HTTP/1.1 204 No Content\r\n\r\n".into(),
            ("GET", "/containers/c0ffee/json") => json(
                "200 OK",
                json!({ "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "127.0.0.1" } } } }),
            ),
            ("POST", "/containers/c0ffee/wait") => {
                if waiting != "200 OK" {
                    let text = json(waiting, json!({ "message": "it has troubles" }));
                    let _ = stream.write_all(text.as_bytes());
                    return;
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                thread::sleep(Duration::from_secs(30));
                return;
            }
            ("POST", "/containers/c0ffee/stop?t=10") => "HTTP/1.1 204 No Content\r\n\r\n".into(),
            ("DELETE", "/containers/c0ffee?force=1&v=1") => {
                "HTTP/1.1 204 No Content\r\n\r\n".into()
            }
            other => panic!("{other:?}"),
        };
        let _ = stream.write_all(text.as_bytes());
    });
    let config = format!(
        "listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: shop }}] }} }}\n\
         pools: {{ shop: {{ scale: {{ docker: {{ image: shop, port: {port}, environment: {{ A: b }}, server: 'unix:{}' }}, max: 1, cool-down: 100ms }} }} }}\n",
        docker.path().display()
    );
    let transom = Transom::run(TRANSOM, &config);
    assert_eq!(get(transom.web(), "/").text(), "container GET / 0");
    until("it is removed", || {
        told.lock().unwrap().last().is_some_and(|last| last.starts_with("DELETE"))
    });
    until("nobody is there", || scale(&transom)["leaving"] == 0);
    assert!(!transom.said().contains("it has ended"), "{}", transom.said());
}

/// Somebody else starts the server, which then registers itself.
#[test]
fn lb31_somebody_else_is_asked() {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let its = told.clone();
    let hook = UnixServer::start(move |request, mut stream| {
        its.lock().unwrap().push(serde_json::from_slice(&request.body).unwrap());
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    });
    let config = format!(
        "listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: shop }}] }} }}\n\
         pools: {{ shop: {{ allow-empty: true, sources: [{{ registration: {{}} }}], scale: {{ webhook: 'unix:{}', max: 2, cool-down: 100ms }} }} }}\n",
        hook.path().display()
    );
    let transom = Transom::run(TRANSOM, &config);
    let web = transom.web();
    let waits = thread::spawn(move || get(web, "/"));
    until("it is told", || !told.lock().unwrap().is_empty());
    let first = told.lock().unwrap()[0].clone();
    assert_eq!((&first["wanted"], &first["pool"]), (&json!(1), &json!("shop")));
    let server = Server::start("other");
    let place = format!("/pools/shop/registrations/{}", server.address);
    assert_eq!(transom.admin("PUT", &place).status, 200);
    assert_eq!(waits.join().unwrap().text(), "other GET / 0");
    until("it is told that none is wanted", || told.lock().unwrap().last().unwrap()["wanted"] == 0);
}
