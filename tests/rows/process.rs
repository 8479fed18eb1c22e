//! What the system does to the process: signals, an end without warning, no descriptors, no disk, a
//! standstill (RELIABILITY 2.12).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Port, Transom, check, client, until};

use super::rig::{TRANSOM, head};

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
