//! What several processes share through a real `redis-server`, and what becomes of it while that is slow,
//! broken or away. Where no such program is installed these tests say so and end; the scripts are run by
//! nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Port, Response, Transom, until};

use super::rig::{TRANSOM, passed};

struct Redis {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    _port: Port,
}

impl Redis {
    /// None where the program is not there.
    fn start() -> Option<Self> {
        let (port, folder) = (Port::reserve().unwrap(), tempfile::tempdir().unwrap());
        let child = spawn(port.address, folder.path())?;
        let redis = Redis { child, address: port.address, folder, _port: port };
        until("Redis answers", || redis.try_say("PING").is_some());
        Some(redis)
    }

    /// What it answers to a command of one line, in one line.
    fn try_say(&self, command: &str) -> Option<String> {
        let mut socket = TcpStream::connect(self.address).ok()?;
        socket.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).ok().filter(|n| *n > 0)?;
        Some(line.trim().to_owned())
    }

    #[track_caller]
    fn say(&self, command: &str) -> String {
        self.try_say(command).expect("it answers")
    }

    /// From here on it answers nobody, though it is there.
    fn stand_still(&self) {
        self.signal(Signal::STOP);
        until("it stands still", || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
            state.is_ok_and(|text| text.contains(") T "))
        });
    }

    fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn come_back(&mut self) {
        self.child = spawn(self.address, self.folder.path()).unwrap();
        until("Redis answers", || self.try_say("PING").is_some());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(address: SocketAddr, folder: &std::path::Path) -> Option<Child> {
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if child.is_err() {
        eprintln!("there is no redis-server: nothing was tried");
    }
    child.ok()
}

/// A process with one policy in front of this endpoint.
fn process(endpoint: SocketAddr, policy: &str) -> Transom {
    let config = format!(
        "workers: 2\n\
         listeners: {{ web: {{ address: '@WEB', routes: [{{ policies: [shared], forward: o }}] }} }}\n\
         pools: {{ o: {{ endpoints: '{endpoint}' }} }}\n\
         policies: {{ shared: {policy} }}\n"
    );
    Transom::run(TRANSOM, &config)
}

fn sum(processes: &[Transom], each: usize) -> usize {
    std::thread::scope(|scope| {
        let asking: Vec<_> =
            processes.iter().map(|process| scope.spawn(move || passed(process, each))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).sum()
    })
}

fn is_alone(transom: &Transom) -> bool {
    passed(transom, 1);
    transom.lines().iter().any(|line| line["detail"] == "`shared`: counted without Redis")
}

#[test]
fn gw_20_three_processes_share_a_quota_within_the_bound_and_a_restart_forgets_nothing() {
    let Some(redis) = Redis::start() else { return };
    let endpoint = Endpoint::echo();
    let quota = format!(
        "{{ quota: {{ most: 100/month, by: all, zone: '+14:00', shared: {{ redis: '{}', processes: 3, patience: 1s }} }} }}",
        redis.address
    );
    let mut processes: Vec<_> = (0..3).map(|_| process(endpoint.address, &quota)).collect();
    let admitted = sum(&processes, 120);
    // 3 processes may be 3 ahead each; one that is pressed may leave a slice unused for a while
    assert!((80..=109).contains(&admitted), "{admitted}");
    until("what is left is used", || sum(&processes, 5) == 0 || sum(&processes, 5) == 0);
    for process in &mut processes {
        process.kill();
        process.run_again(TRANSOM);
    }
    // each may be ahead once more, before it has heard of Redis
    let after = sum(&processes, 50);
    assert!(after <= 9, "{after}");
}

#[test]
fn l_04_redis_that_is_slow_broken_read_only_or_has_forgotten_the_script_stalls_nobody() {
    let Some(redis) = Redis::start() else { return };
    let endpoint = Endpoint::echo();
    let limit = format!(
        "{{ rate-limit: {{ rate: 100000/d, by: all, window: fixed, shared: {{ redis: '{}', processes: 2, ahead: 10 }} }} }}",
        redis.address
    );
    let shared = process(endpoint.address, &limit);
    let given = || redis.say("DBSIZE") != ":0";
    // it has little in hand, so that it asks for more soon
    until("it is asked", || passed(&shared, 20) == 20 && given());
    let say = |command: &str| drop(redis.say(command));
    for (what, begin, end) in [
        // what was loaded is forgotten
        ("no script", &(|| say("SCRIPT FLUSH")) as &dyn Fn(), &(|| ()) as &dyn Fn()),
        ("no answer", &|| redis.stand_still(), &|| redis.go_on()),
        ("no writing", &|| say("REPLICAOF 127.0.0.1 1"), &|| say("REPLICAOF NO ONE")),
    ] {
        redis.say("FLUSHALL");
        begin();
        // all pass, and `passed` looks at how long each takes
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            assert_eq!(passed(&shared, 50), 50, "{what}");
        }
        end();
        until("it is mended", || redis.try_say("PING").is_some());
        redis.say("FLUSHALL");
        until("it is asked again", || passed(&shared, 50) == 50 && given());
    }
}

#[test]
fn l_04_where_keys_hold_something_else_each_counts_for_itself() {
    let Some(redis) = Redis::start() else { return };
    let endpoint = Endpoint::echo();
    let limit = format!(
        "{{ rate-limit: {{ rate: 90/d, by: all, window: fixed, shared: {{ redis: '{}', processes: 3 }} }} }}",
        redis.address
    );
    let shared = process(endpoint.address, &limit);
    until("it is asked", || passed(&shared, 1) <= 1 && redis.say("DBSIZE") != ":0");
    let script = "local k = redis.call('KEYS', '*') for i = 1, #k do redis.call('DEL', k[i]) redis.call('LPUSH', k[i], 'x') end return #k";
    assert_eq!(redis.say(&format!("EVAL \"{script}\" 0")), ":1");
    until("it counts for itself", || is_alone(&shared));
    // a third of 90, and what it had been given before that
    assert!(passed(&shared, 90) <= 30 + 30, "no more than its part");
    redis.say("FLUSHALL");
    until("Redis counts again", || {
        passed(&shared, 1);
        redis.say("DBSIZE") != ":0"
    });
}

#[test]
fn l_04_redis_is_killed_and_comes_back_and_nobody_stalls() {
    let Some(mut redis) = Redis::start() else { return };
    let endpoint = Endpoint::echo();
    let limit = |away: &str| {
        format!(
            "{{ rate-limit: {{ rate: 90/d, by: all, window: fixed, shared: {{ redis: '{}', processes: 3, away: {away} }} }} }}",
            redis.address
        )
    };
    let modes = ["local", "open", "closed"];
    let [local, open, closed] = modes.map(|away| process(endpoint.address, &limit(away)));
    until("they are connected", || redis.say("INFO clients").starts_with('$') && given(&redis));
    redis.kill();
    for process in [&local, &open] {
        until("it is noticed", || is_alone(process));
    }
    until("it is noticed", || passed(&closed, 1) == 0);
    assert_eq!((passed(&open, 100), passed(&closed, 100)), (100, 0));
    assert!(passed(&local, 100) <= 30, "its part");
    redis.come_back();
    for process in [&local, &open, &closed] {
        redis.say("FLUSHALL");
        until("it is asked again", || {
            passed(process, 1);
            given(&redis)
        });
    }

    fn given(redis: &Redis) -> bool {
        redis.say("PING") == "+PONG" && redis.say("DBSIZE").starts_with(':')
    }
}

/// Charges once for each request, when the gate is open.
fn till(gate: &Arc<AtomicBool>) -> (Endpoint, Arc<AtomicUsize>) {
    let (gate, charged) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let count = charged.clone();
    let endpoint = Endpoint::new(move |_, line| {
        let n = count.fetch_add(1, Ordering::AcqRel) + 1;
        until("the gate is open", || gate.load(Ordering::Acquire));
        line.send(ok(&format!("charged {n}")));
    });
    (endpoint, charged)
}

fn once(redis: &Redis, more: &str) -> String {
    format!("{{ idempotency: {{ shared: {{ redis: '{}'{more} }} }} }}", redis.address)
}

fn post(transom: &Transom, key: &str, body: &str) -> Response {
    let mut client = Client::connect(transom.web());
    client.send(format!(
        "POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.response_to("POST")
}

#[test]
fn the_first_answer_of_one_process_is_given_again_by_another() {
    let Some(redis) = Redis::start() else { return };
    let (endpoint, charged) = till(&Arc::new(AtomicBool::new(true)));
    let [one, other] = [(); 2].map(|()| process(endpoint.address, &once(&redis, "")));
    assert_eq!(post(&one, "k", "lamp").text(), "charged 1");
    let again = post(&other, "k", "lamp");
    assert_eq!((again.status, &*again.text()), (200, "charged 1"));
    assert_eq!(again.field("idempotent-replayed"), Some("true"));
    assert_eq!(post(&other, "k", "chair").status, 422);
    assert_eq!(post(&other, "k-2", "lamp").text(), "charged 2");
    // a process that starts later knows it too
    let third = process(endpoint.address, &once(&redis, ""));
    assert_eq!(post(&third, "k-2", "lamp").text(), "charged 2");
    assert_eq!(charged.load(Ordering::Acquire), 2);
}

#[test]
fn duplicates_at_the_same_time_at_several_processes_wait_for_the_first() {
    let Some(redis) = Redis::start() else { return };
    let gate = Arc::new(AtomicBool::new(false));
    let (endpoint, charged) = till(&gate);
    let processes = [(); 3].map(|()| process(endpoint.address, &once(&redis, "")));
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..9)
            .map(|n| (&processes[n % 3], n))
            .map(|(process, _)| scope.spawn(move || post(process, "k", "lamp")))
            .collect();
        endpoint.until("the first is there", |log| log.requests.len() == 1);
        gate.store(true, Ordering::Release);
        for asked in asked {
            assert_eq!(asked.join().unwrap().text(), "charged 1");
        }
    });
    assert_eq!(charged.load(Ordering::Acquire), 1);
}

#[test]
fn without_redis_nothing_is_done_twice_unless_the_file_says_so() {
    let Some(mut redis) = Redis::start() else { return };
    let (endpoint, charged) = till(&Arc::new(AtomicBool::new(true)));
    let closed = process(endpoint.address, &once(&redis, ""));
    let local = process(endpoint.address, &once(&redis, ", away: local"));
    assert_eq!(post(&closed, "k", "lamp").text(), "charged 1");
    redis.kill();
    assert_eq!(post(&closed, "k", "lamp").text(), "charged 1", "it knows that itself");
    let begun = Instant::now();
    let refused = post(&closed, "k-2", "lamp");
    assert_eq!(refused.status, 503);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(charged.load(Ordering::Acquire), 1);
    assert_eq!(post(&local, "k-3", "lamp").text(), "charged 2");
    assert_eq!(post(&local, "k-3", "lamp").text(), "charged 2");
    redis.come_back();
    // what was answered meanwhile is told
    until("Redis hears of it", || redis.say("DBSIZE") == ":1");
    until("the others hear of it", || post(&closed, "k-3", "lamp").text() == "charged 2");
    until("it passes again", || post(&closed, "k-2", "lamp").status == 200);
    assert_eq!(charged.load(Ordering::Acquire), 3);
}

#[test]
fn a_question_that_redis_was_too_slow_for_makes_it_forget_no_answer() {
    let Some(redis) = Redis::start() else { return };
    let (endpoint, charged) = till(&Arc::new(AtomicBool::new(true)));
    // the process itself forgets at once
    let policy = format!(
        "{{ idempotency: {{ memory: 1B, shared: {{ redis: '{}', patience: 100ms }} }} }}",
        redis.address
    );
    let transom = process(endpoint.address, &policy);
    assert_eq!(post(&transom, "k", "lamp").text(), "charged 1");
    assert_eq!(post(&transom, "k", "lamp").text(), "charged 1");
    redis.stand_still();
    for key in ["k", "k-2"] {
        assert_eq!(post(&transom, key, "lamp").status, 503, "{key}");
    }
    redis.go_on();
    until("Redis is asked again", || post(&transom, "k", "lamp").status == 200);
    assert_eq!(post(&transom, "k", "lamp").text(), "charged 1");
    // and what was never begun may begin
    assert_eq!(post(&transom, "k-2", "lamp").text(), "charged 2");
    assert_eq!(charged.load(Ordering::Acquire), 2);
}

#[test]
fn a_process_that_dies_with_a_request_leaves_an_outcome_that_nobody_knows() {
    let Some(redis) = Redis::start() else { return };
    let gate = Arc::new(AtomicBool::new(false));
    let (endpoint, charged) = till(&gate);
    let [mut one, other] = [(); 2].map(|()| process(endpoint.address, &once(&redis, "")));
    let mut client = Client::connect(one.web());
    client.send("POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n");
    endpoint.until("it is there", |log| log.requests.len() == 1);
    one.kill();
    gate.store(true, Ordering::Release);
    // it waits until it is sure that nobody has it any more
    assert_eq!(post(&other, "k", "").status, 409);
    assert_eq!(post(&other, "k", "").status, 409);
    assert_eq!(charged.load(Ordering::Acquire), 1);
}
