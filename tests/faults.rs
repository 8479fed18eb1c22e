//! Three servers under load, one of which goes wrong in every way there is: how long that is felt,
//! how much more the others get, and how it comes back.
//!
//! `TRANSOM_TEST_RATE` is the requests a second; 2,000 where the machine is free. The default is what
//! two cores carry beside everything else.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use transom_testkit::load::{Lane, Load, Outcome};
use transom_testkit::{Port, Transom, until};

fn rate() -> u32 {
    std::env::var("TRANSOM_TEST_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(300)
}

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Fault {
    None,
    /// Nobody listens, and what was open is closed.
    Refuse,
    /// Every request is answered with RST.
    Reset,
    /// Connections are accepted by the kernel, and nobody reads from them.
    BlackHole,
    /// Ten times as slow and more.
    Slow,
    Errors,
    /// Half of the body, then the end.
    Half,
}

const FAULTS: [Fault; 7] = [
    Fault::None,
    Fault::Refuse,
    Fault::Reset,
    Fault::BlackHole,
    Fault::Slow,
    Fault::Errors,
    Fault::Half,
];

/// A server that remembers nothing but how much it was asked.
struct Server {
    port: Port,
    fault: Arc<AtomicU8>,
    requests: Arc<AtomicU64>,
}

impl Server {
    fn start() -> Self {
        let port = Port::reserve().unwrap();
        let server = Server { port, fault: Arc::default(), requests: Arc::default() };
        server.listen();
        server
    }

    fn address(&self) -> SocketAddr {
        self.port.address
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    fn listen(&self) {
        let listener = TcpListener::bind(self.address()).unwrap();
        let (fault, requests) = (self.fault.clone(), self.requests.clone());
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if fault.load(Ordering::SeqCst) == Fault::Refuse as u8 {
                    return;
                }
                let (fault, requests) = (fault.clone(), requests.clone());
                thread::spawn(move || serve(socket, &fault, &requests));
            }
        });
    }

    fn set(&self, fault: Fault) {
        let before = self.fault.swap(fault as u8, Ordering::SeqCst);
        if fault == Fault::Refuse {
            // Wakes the one who accepts, who leaves; then nobody listens.
            let _ = TcpStream::connect(self.address());
            until("nobody listens", || TcpStream::connect(self.address()).is_err());
        }
        if before == Fault::Refuse as u8 && fault != Fault::Refuse {
            self.listen();
        }
    }
}

fn serve(mut socket: TcpStream, fault: &AtomicU8, requests: &AtomicU64) {
    let _ = socket.set_nodelay(true);
    let _ = socket.set_read_timeout(Some(LOOK));
    let mut buffer = vec![0; 4096];
    let mut filled = 0;
    loop {
        match socket.read(&mut buffer[filled..]) {
            Ok(0) => return,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if fault.load(Ordering::SeqCst) == Fault::Refuse as u8 {
                    return;
                }
                continue;
            }
            Err(_) => return,
        }
        if !buffer[..filled].ends_with(b"\r\n\r\n") {
            continue;
        }
        let is_probe = buffer.starts_with(b"GET /healthz");
        filled = 0;
        if !is_probe {
            requests.fetch_add(1, Ordering::SeqCst);
        }
        let answer: &[u8] = match FAULTS[usize::from(fault.load(Ordering::SeqCst))] {
            Fault::None => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell",
            Fault::Refuse => return,
            Fault::Reset => {
                let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                return;
            }
            Fault::BlackHole => {
                while fault.load(Ordering::SeqCst) == Fault::BlackHole as u8 {
                    thread::sleep(LOOK);
                }
                return;
            }
            Fault::Slow => {
                thread::sleep(Duration::from_secs(2));
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow"
            }
            Fault::Errors => b"HTTP/1.1 500 Bad\r\nContent-Length: 3\r\n\r\nbad",
            Fault::Half => {
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
                return;
            }
        };
        if socket.write_all(answer).is_err() {
            return;
        }
    }
}

/// How often a server looks what is wrong with it while nothing comes.
const LOOK: Duration = Duration::from_millis(50);

struct Scene {
    servers: [Server; 3],
    transom: Transom,
}

impl Scene {
    fn new() -> Self {
        let servers = [Server::start(), Server::start(), Server::start()];
        let endpoints =
            servers.each_ref().map(|server| format!("'{}'", server.address())).join(", ");
        let transom = Transom::run(
            env!("CARGO_BIN_EXE_transom"),
            &format!(
                // That the machine is busy is no reason to shed: it is not what is tried here.
                "workers: 2\noverload: {{ lag: off }}\nlisteners:\n  web:\n    address: '@WEB'\n    \
                 limits: {{ requests-per-connection: unlimited }}\n    \
                 timeouts: {{ connect: 500ms, response: 1s }}\n    routes:\n      \
                 - forward: {{ to: o, retries: {{ statuses: [500], per-attempt: 500ms }} }}\n\
                 pools:\n  o:\n    endpoints: [{endpoints}]\n    \
                 health: {{ http: /healthz, every: 500ms, fast-every: 100ms, timeout: 300ms }}\n    \
                 outliers: {{ errors: 5, ejection: 2s }}\n    \
                 slow-start: 3s\n"
            ),
        );
        let is_up = |server: &Server| {
            let endpoint = server.address();
            let labels = format!("{{pool=\"o\",endpoint=\"{endpoint}\",state=\"up\"}}");
            transom.metric(&format!("transom_member_state{labels}")) == 1.0
        };
        until("all are up", || servers.iter().all(is_up));
        Scene { servers, transom }
    }

    /// Many lanes, so that a few that wait do not hold up the others.
    fn load(&self, rate: u32) -> Load {
        let lanes = (rate / 10).clamp(10, 100);
        Load::start(vec![Lane::new(self.transom.web(), "/", rate / lanes); lanes as usize])
    }

    /// Requests that reach a server within so long.
    fn reaching(&self, server: usize, time: Duration) -> u64 {
        let before = self.servers[server].requests();
        thread::sleep(time);
        self.servers[server].requests() - before
    }
}

/// One server goes wrong under load and is well again. `away` is how long after that it may still
/// get traffic; what came of the load.
fn goes_wrong(fault: Fault, away: Duration) -> Outcome {
    let scene = Scene::new();
    let bad = &scene.servers[1];
    let load = scene.load(rate());
    until("it is under way", || load.answered() > u64::from(rate()));
    let gone = Instant::now();
    bad.set(fault);
    thread::sleep(away.saturating_sub(gone.elapsed()));
    // Beside what may try it: an ejection of two seconds ends now and then, and the next five
    // failures make the next one.
    let share = u64::from(rate()) / 3;
    let still = scene.reaching(1, Duration::from_secs(1));
    assert!(still <= (share / 10).max(12), "{fault:?}: {still} in a second, of {share} before");
    bad.set(Fault::None);
    let well = Instant::now();
    until("it gets traffic again", || scene.reaching(1, Duration::from_millis(200)) > 0);
    let first = scene.reaching(1, Duration::from_millis(500)) * 2;
    until("it has its whole share again", || {
        scene.reaching(1, Duration::from_millis(500)) * 2 > share * 8 / 10
    });
    eprintln!(
        "{fault:?}: {still} requests in the second after {away:?}; well again: {first}/s at first, \
         {share}/s after {:?}",
        well.elapsed()
    );
    assert!(first < share * 9 / 10, "{fault:?}: {first} of {share} at first: no slow start");
    let outcome = load.end();
    eprintln!("{fault:?}: {} answered at {}/s", outcome.answered, outcome.rate());
    outcome
}

#[track_caller]
fn nobody_notices(fault: Fault, away: Duration) {
    let outcome = goes_wrong(fault, away);
    assert!(outcome.failures.is_empty(), "{fault:?}: {:#?}", outcome.failures);
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn u_01_a_server_that_refuses_is_not_noticed() {
    nobody_notices(Fault::Refuse, SECOND);
}

#[test]
fn u_01_a_server_that_resets_is_not_noticed() {
    nobody_notices(Fault::Reset, SECOND);
}

#[test]
fn u_01_a_server_that_is_a_black_hole_is_left_within_three_seconds() {
    nobody_notices(Fault::BlackHole, 3 * SECOND);
}

#[test]
fn u_01_a_server_that_is_slow_is_left_within_three_seconds() {
    nobody_notices(Fault::Slow, 3 * SECOND);
}

#[test]
fn u_01_a_server_with_errors_is_not_noticed() {
    nobody_notices(Fault::Errors, SECOND);
}

#[test]
fn u_01_a_server_that_breaks_off_is_left_after_a_few() {
    let outcome = goes_wrong(Fault::Half, SECOND);
    // What has begun cannot be sent again.
    assert!(outcome.failures.len() < 60, "{} failures", outcome.failures.len());
}

#[test]
fn u_03_a_server_that_flaps_is_let_in_ever_more_slowly() {
    let scene = Scene::new();
    let load = scene.load(rate());
    until("it is under way", || load.answered() > u64::from(rate()));
    for _ in 0..8 {
        scene.servers[2].set(Fault::Refuse);
        thread::sleep(Duration::from_millis(700));
        scene.servers[2].set(Fault::None);
        thread::sleep(Duration::from_millis(700));
    }
    let outcome = load.end();
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    let said = scene.transom.said();
    let changes = said.lines().filter(|line| line.contains("pool `o`")).count();
    eprintln!("{changes} lines for eight flaps, {} answered", outcome.answered);
    assert!(changes < 3 + 8 * 4, "{said}");
}

#[test]
fn u_06_with_all_down_there_is_at_most_a_fifth_more() {
    let scene = Scene::new();
    // 500 comes fast, is tried again by choice, and everybody answers so: a retry storm, but for the
    // budget.
    for server in &scene.servers {
        server.set(Fault::Errors);
    }
    let load = scene.load(rate());
    thread::sleep(Duration::from_secs(12));
    let outcome = load.end();
    assert_eq!(outcome.answered, 0);
    let got: u64 = scene.servers.iter().map(Server::requests).sum();
    // Requests that were under way at the end count too: each has its line.
    let lines = || scene.transom.lines();
    let attempts = || lines().iter().filter_map(|line| line["attempts"].as_u64()).sum::<u64>();
    until("every attempt is in the log", || attempts() >= got);
    let asked = lines().len();
    let times = got as f64 / asked as f64;
    eprintln!("{asked} requests, {got} attempts: {times:.3} times as many");
    assert!(times <= 1.2, "{times}");
    assert!(times > 1.05, "{times}: retries are made at all");
}
