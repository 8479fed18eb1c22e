//! What the system does to the process: signals, an end without warning, no descriptors, no disk, a
//! standstill (RELIABILITY 2.12).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Port, Transom, check, client, until};

use super::rig::{TRANSOM, head};
use super::strace::Injected;

fn over(endpoint: &Endpoint) -> Transom {
    let config = format!(
        "workers: 1\nlisteners: {{ web: {{ address: '@WEB', routes: [{{ forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    Transom::run(TRANSOM, &config)
}

fn get(transom: &Transom) -> u16 {
    client::ask(transom.web(), head("GET /", "")).status
}

#[test]
fn d_06_storms_of_signals_reload_and_harm_nothing() {
    let endpoint = Endpoint::echo();
    let mut transom = over(&endpoint);
    for n in 0..100 {
        transom.signal([Signal::HUP, Signal::USR1, Signal::PIPE][n % 3]);
        if n % 10 == 0 {
            assert_eq!(get(&transom), 200);
        }
    }
    until("the last was heard", || {
        assert_eq!(get(&transom), 200);
        transom.metric("transom_config_generation") > 1.0
    });
    check::alive(&mut transom);
}

#[test]
fn d_07_whenever_it_is_killed_it_starts_again_at_once() {
    let endpoint = Endpoint::echo();
    let mut transom = over(&endpoint);
    for n in 0..10u64 {
        // in the middle of something
        let mut client = Client::connect(transom.web());
        client.send(head("GET /", ""));
        std::thread::sleep(Duration::from_micros(n * 300));
        transom.kill();
        let started = Instant::now();
        transom.run_again(TRANSOM);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(get(&transom), 200);
    }
    check::alive(&mut transom);
}

#[test]
fn d_09_without_descriptors_what_is_open_goes_on_and_the_others_wait() {
    let open = Arc::new(AtomicBool::new(false));
    let is_open = open.clone();
    let endpoint = Endpoint::new(move |_, line| {
        while !is_open.load(Ordering::SeqCst) {
            line.wait(Duration::from_millis(2));
        }
        line.send(ok("served"));
    });
    let mut transom = over(&endpoint);
    let mut first = Client::connect(transom.web());
    first.send(head("GET /", ""));
    endpoint.until("it is under way", |log| log.requests.len() == 1);
    let pid = Pid::from_raw(transom.pid() as i32);
    let limit = |count: u64| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(count), maximum }).unwrap();
    };
    limit(transom.descriptors() as u64 + 3);
    let mut others: Vec<Client> = (0..40).map(|_| Client::connect(transom.web())).collect();
    for other in &mut others {
        other.send(head("GET /", ""));
    }
    std::thread::sleep(Duration::from_millis(300));
    let (began, used) = (Instant::now(), transom.processor_time());
    std::thread::sleep(Duration::from_millis(500));
    let busy = transom.processor_time() - used;
    assert!(busy < began.elapsed() / 2, "it does not try without end: {busy:?}");
    open.store(true, Ordering::SeqCst);
    assert_eq!(first.response().text(), "served");
    limit(1000);
    until("there is room again", || get(&transom) == 200);
    drop((first, others));
    assert!(transom.is_alive());
}

#[test]
fn d_11_a_full_disk_costs_lines_of_the_log_and_nothing_else() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let mut transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::os::unix::fs::symlink("/dev/full", folder.join("access.log")).unwrap();
    });
    assert!((0..200).all(|_| get(&transom) == 200));
    until("it is counted", || transom.metric("transom_access_log_dropped_total") > 0.0);
    assert!(transom.is_alive());
}

#[test]
fn d_14_after_a_standstill_everybody_is_served() {
    let endpoint = Endpoint::new(|request, line| {
        line.send(ok("served"));
        if request.connection == 0 {
            // closed while we stand still
            line.wait(Duration::from_millis(300));
            line.end();
        }
    });
    let config = format!(
        "workers: 1\noverload: {{ lag: 1s }}\n\
         listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    assert_eq!(get(&transom), 200);
    transom.signal(Signal::STOP);
    until("it stands still", || {
        let state = format!("/proc/{}/stat", transom.pid());
        std::fs::read_to_string(state).is_ok_and(|text| text.contains(") T "))
    });
    let mut waiting: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = Client::connect(transom.web());
            client.send(head("POST /", "Content-Length: 0\r\n"));
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));
    transom.signal(Signal::CONT);
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
    check::alive(&mut transom);
}

#[test]
fn d_19_a_program_that_is_started_inherits_nothing_and_leaves_nothing() {
    let endpoint = Endpoint::echo();
    // a probe that says which descriptors it has beyond the three, and one that leaves a child
    let config = |folder: &str| {
        format!(
            "listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: o }}] }} }}\n\
             pools:\n  o: {{ endpoints: '{}', health: {{ every: 50ms, command: \
             [sh, -c, 'ls -l /proc/$$/fd > {folder}/held.new; mv {folder}/held.new {folder}/held'] }} }}\n",
            endpoint.address
        )
    };
    let mut transom = Transom::run(TRANSOM, &config("@folder"));
    assert_eq!(get(&transom), 200);
    let held = transom.folder().join("held");
    let _ = std::fs::remove_file(&held);
    until("a probe has run while there were connections", || held.exists());
    let held = std::fs::read_to_string(held).unwrap();
    assert!(!held.contains("socket:") && !held.contains("eventpoll"), "{held}");
    let pid = transom.pid();
    let children = || {
        let all = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let states = all.unwrap_or_default();
        let is_zombie = |child: &&str| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
            stat.is_ok_and(|stat| stat.contains(") Z "))
        };
        states.split_whitespace().filter(is_zombie).count()
    };
    until("who has ended is buried", || children() == 0);
    check::alive(&mut transom);
}

#[test]
fn d_20_it_starts_without_those_it_needs_and_serves_what_it_can() {
    let port = Port::reserve().unwrap();
    let nobody = port.address;
    let config = format!(
        "resolver: {{ servers: ['{nobody}'], timeout: 100ms, hosts: false }}\n\
         listeners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - {{ match: {{ path: /name }}, forward: name }}\n      \
         - {{ match: {{ path: /list }}, forward: list }}\n      \
         - {{ match: {{ path: /gone }}, forward: gone }}\n      \
         - respond: here\n\
         pools:\n  name: {{ endpoints: 'orders.invalid:80' }}\n  \
         list: {{ sources: [{{ consul: {{ service: s, server: 'http://{nobody}' }} }}] }}\n  \
         gone: {{ endpoints: '{nobody}', health: {{ http: /, every: 50ms }} }}\n"
    );
    let started = Instant::now();
    let mut transom = Transom::run(TRANSOM, &config);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let status = |path: &str| {
        let asked = Instant::now();
        let status = client::ask(transom.web(), head(&format!("GET {path}"), "")).status;
        assert!(asked.elapsed() < Duration::from_secs(5), "{path}: {:?}", asked.elapsed());
        status
    };
    for (path, expected) in [("/", 200), ("/name", 503), ("/list", 503), ("/gone", 502)] {
        assert_eq!(status(path), expected, "{path}");
    }
    assert_eq!(transom.admin("GET", "/readyz").status, 200);
    for name in ["pool `list`", "pool `name`", "pool `gone`"] {
        until(&format!("{name} is told of"), || transom.said().contains(name));
    }
    check::alive(&mut transom);
}

/// The number of the thread that serves as this worker.
fn thread(transom: &Transom, worker: usize) -> u32 {
    let tasks = format!("/proc/{}/task", transom.pid());
    let name = format!("worker-{worker}");
    let is = |path: &std::path::PathBuf| {
        let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        comm.trim_end() == name
    };
    let mut found = None;
    // a thread names itself, and may not have begun yet
    until("every worker has a thread of that name", || {
        let mut tasks = std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap().path());
        found = tasks.find(is);
        found.is_some()
    });
    found.unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap()
}

const WAITS: &str = "epoll_wait,epoll_pwait";

/// The call in which a worker waits for events takes so long, now and again.
fn stand_still(transom: &Transom, worker: usize, time: Duration) -> Option<Injected> {
    // strace may miss the one in which it attaches
    let delay = format!("inject={WAITS}:delay_enter={}:when=2+5", time.as_micros());
    Injected::into(thread(transom, worker), &["-e", &format!("trace={WAITS}"), "-e", &delay])
}

#[test]
fn d_15_a_worker_that_stands_still_is_told_with_what_it_does() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 2\nlisteners: {{ web: {{ address: '@WEB', routes: [{{ forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    assert_eq!(get(&transom), 200);
    let Some(held) = stand_still(&transom, 1, Duration::from_secs(3)) else { return };
    until("it is told", || transom.said().contains("worker 1 has not come round for "));
    let said = transom.said();
    assert!(said.contains(&format!("(thread {})", thread(&transom, 1))), "{said}");
    assert!(!said.contains("worker 0 has not"), "{said}");
    // the other one goes on
    let start = Instant::now();
    until("the other answers", || {
        let mut client = Client::connect(transom.web());
        client.send(head("GET /", ""));
        client.try_response("GET").is_ok_and(|response| response.status == 200)
    });
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(held);
    until("it is back", || transom.said().contains("worker 1 comes round again, after "));
    assert!(transom.metric("transom_worker_stalls_total{worker=\"1\"}") >= 1.0);
    assert_eq!(transom.metric("transom_worker_stalls_total{worker=\"0\"}"), 0.0);
    check::alive(&mut transom);
}

#[test]
fn d_15_a_worker_that_stands_still_for_too_long_ends_the_process_where_that_is_wanted() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\noverload: {{ abort: 1500ms }}\n\
         listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: '{}' }}] }} }}\n",
        endpoint.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let Some(held) = stand_still(&transom, 0, Duration::from_secs(5)) else { return };
    until("it is told", || transom.said().contains("the process ends (`overload.abort`)"));
    drop(held);
    until("it has ended", || !transom.is_alive());
}

#[test]
fn d_18_connections_that_cannot_be_accepted_are_accepted_later() {
    let endpoint = Endpoint::echo();
    let mut transom = over(&endpoint);
    for error in ["ECONNABORTED", "EPERM", "EINTR", "EMFILE", "ENOBUFS"] {
        let fail = format!("inject=accept,accept4:error={error}:when=1..3");
        let arguments = ["-e", "trace=accept,accept4", "-e", &fail];
        let Some(_failing) = Injected::into(thread(&transom, 0), &arguments) else { return };
        let before = transom.processor_time();
        let clients: Vec<Client> = (0..20)
            .map(|_| {
                let mut client = Client::connect(transom.web());
                client.send(head("GET /", ""));
                client
            })
            .collect();
        for mut client in clients {
            assert_eq!(client.response().status, 200, "{error}");
        }
        let spent = transom.processor_time().saturating_sub(before);
        assert!(spent < Duration::from_secs(1), "{error}: {spent:?}");
    }
    let said = transom.said();
    assert!(said.contains("cannot accept on"), "{said}");
    check::alive(&mut transom);
}

#[test]
fn d_18_events_that_are_interrupted_and_writes_that_are_short_lose_nothing() {
    const SIZE: usize = 512 << 10;
    let body: Vec<u8> = (0..SIZE as u64).map(transom_testkit::server::pattern).collect();
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
    answer.extend_from_slice(&body);
    let endpoint = Endpoint::new(move |_, line| line.send(&answer));
    let mut transom = over(&endpoint);
    let fail = format!("inject={WAITS}:error=EINTR:when=3+5");
    let arguments = ["-e", &format!("trace={WAITS}"), "-e", &fail];
    let _interrupted = Injected::into(thread(&transom, 0), &arguments);
    let before = transom.processor_time();
    let mut client = Client::connect(transom.web());
    // so that nearly every write takes less than it was given
    client.receive_buffer(32 << 10);
    client.send(head("GET /", ""));
    assert!(client.response().body == body, "what came is not what was sent");
    let spent = transom.processor_time().saturating_sub(before);
    assert!(spent < Duration::from_secs(3), "{spent:?}");
    check::alive(&mut transom);
}

/// In the file of an operator, who must not be able to end what runs by a reload.
#[test]
fn d_17_no_file_however_deep_it_is_overflows_the_stack() {
    const DEEP: usize = 100_000;
    let times = |text: &str| text.repeat(DEEP);
    let around = |from: &str, to: &str| format!("{}.{}", times(from), times(to));
    let body = |what: &str, program: &str| {
        format!(
            "listeners:\n  web: {{ address: '127.0.0.1:0', routes: [{{ policies: [p], respond: 200 }}] }}\n\
             policies:\n  p: {{ transform: {{ response: {{ body: {{ {what}: '{program}' }} }} }} }}\n"
        )
    };
    let allow = |expression: &str| {
        format!("policies: {{ p: {{ authorize: {{ allow: ['{expression}'] }} }} }}\n")
    };
    let rewrite = |pattern: &str| {
        format!(
            "listeners:\n  web: {{ address: '127.0.0.1:0', routes: [{{ forward: {{ to: '127.0.0.1:9', \
             rewrite: {{ regex: {{ pattern: '{pattern}', replacement: x }} }} }} }}] }}\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep.yaml");
    for (what, text) in [
        ("lists", format!("listeners: {}", times("["))),
        ("maps", format!("listeners: {}", times("{a: "))),
        ("dashes", times("- ")),
        ("questions", times("? ")),
        ("blocks", (0..3000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("itself", "include: [deep.yaml]\nlisteners: 1\n".to_owned()),
        ("groups of a pattern", rewrite(&around("(", ")"))),
        ("repetitions of a pattern", rewrite("a{1000}{1000}{1000}")),
        ("brackets of a condition", allow(&around("(", ")"))),
        ("negations of a condition", allow(&format!("{}true", times("!")))),
        ("brackets of a program", body("jq", &around("[", "]"))),
        ("pipes of a program", body("jq", &format!("{}.", times(".|")))),
        ("signs of a program", body("jq", &format!("{}1", times("-")))),
        ("brackets of a template", body("template", &format!("{{{{ {} }}}}", around("(", ")")))),
        ("signs of a template", body("template", &format!("{{{{ {}1 }}}}", times("-")))),
        ("filters of a template", body("template", &format!("{{{{ 1{} }}}}", times("|e")))),
    ] {
        std::fs::write(&file, text).unwrap();
        let checked = std::process::Command::new(TRANSOM).arg("check").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        assert_eq!(checked.status.code(), Some(64), "{what}: {}: {said:.300}", checked.status);
    }
}

#[test]
fn d_17_no_body_however_deep_it_is_overflows_the_stack() {
    let endpoint = Endpoint::echo();
    let config = format!(
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n      \
         - {{ match: {{ path: /looked-at }}, policies: [look], forward: '{to}' }}\n      \
         - {{ match: {{ path: /changed }}, policies: [change], forward: '{to}' }}\n\
         policies:\n  look: {{ payload: {{ json: {{ depth: 1000000 }}, xml: {{ depth: 1000000 }} }} }}\n  \
         change: {{ transform: {{ request: {{ body: {{ jq: '.' }} }} }} }}\n",
        to = endpoint.address
    );
    let mut transom = Transom::run(TRANSOM, &config);
    let deep = |text: &str| text.repeat(200_000);
    for path in ["/looked-at", "/changed"] {
        for (kind, body) in [
            ("application/json", deep("[")),
            ("application/json", deep("{\"a\":")),
            ("application/json", format!("{}1{}", deep("["), deep("]"))),
            ("application/xml", deep("<a>")),
            ("application/xml", format!("{}{}", deep("<a>"), deep("</a>"))),
        ] {
            let lines = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
            let mut client = Client::connect(transom.web());
            client.send(head(&format!("POST {path}"), &lines)).send(&body);
            let status = client.response().status;
            assert!(status < 500, "{path} {kind}: {status}");
            assert!(transom.is_alive(), "{path} {kind}");
        }
    }
    check::alive(&mut transom);
}
