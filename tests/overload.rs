//! Five times more than can be served, and a flood from one address among honest clients.
//!
//! `TRANSOM_OVERLOAD_SECONDS=10` makes each phase longer, for figures (docs/floods.md).

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use transom_testkit::message::Reader;
use transom_testkit::{Client, Transom};

const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

fn seconds() -> f64 {
    std::env::var("TRANSOM_OVERLOAD_SECONDS").map_or(2.0, |text| text.parse().unwrap())
}

/// An endpoint that works at so many requests at once, 10 ms at each; the others wait.
fn endpoint(hands: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let free = Arc::new((Mutex::new(hands), Condvar::new()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, free) = (stream.unwrap(), free.clone());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || work(stream, &free));
        }
    });
    address
}

fn work(stream: TcpStream, (free, freed): &(Mutex<usize>, Condvar)) {
    let mut reader = Reader::new(stream);
    while let Ok(Some(_)) = reader.request(true) {
        let mut hands = freed.wait_while(free.lock().unwrap(), |hands| *hands == 0).unwrap();
        *hands -= 1;
        drop(hands);
        thread::sleep(Duration::from_millis(10));
        *free.lock().unwrap() += 1;
        freed.notify_one();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if std::io::Write::write_all(&mut reader.stream, answer).is_err() {
            return;
        }
    }
}

/// What came of a load: how long each answer with 200 took, and how many others there were.
#[derive(Default)]
struct Outcome {
    served: Vec<Duration>,
    refused: usize,
    failed: usize,
}

impl Outcome {
    fn rate(&self, time: Duration) -> f64 {
        self.served.len() as f64 / time.as_secs_f64()
    }

    fn p99(&mut self) -> Duration {
        self.served.sort_unstable();
        self.served.get(self.served.len() * 99 / 100).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Outcome) {
        self.served.extend(other.served);
        self.refused += other.refused;
        self.failed += other.failed;
    }
}

/// So many clients, each sending a request every so often, or one after the other.
fn load(
    address: SocketAddr,
    from: Ipv4Addr,
    clients: u32,
    every: Duration,
    time: Duration,
) -> Outcome {
    let over = Instant::now() + time;
    let client = move |number: u32| {
        let mut outcome = Outcome::default();
        // Not all at the same moment.
        let mut next = Instant::now() + every * number / clients;
        let mut connection = None;
        while Instant::now() < over {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += every;
            let start = Instant::now();
            let connect = || Client::try_connect_from(from, address);
            let Ok(mut client) = connection.take().map_or_else(connect, Ok) else {
                outcome.failed += 1;
                continue;
            };
            client.forget();
            match client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").try_response("GET") {
                Ok(response) => {
                    match response.status {
                        200 => outcome.served.push(start.elapsed()),
                        _ => outcome.refused += 1,
                    }
                    if !response.closes() {
                        connection = Some(client);
                    }
                }
                Err(_) => outcome.failed += 1,
            }
        }
        outcome
    };
    let threads: Vec<_> = (0..clients).map(|n| thread::spawn(move || client(n))).collect();
    let mut all = Outcome::default();
    threads.into_iter().for_each(|thread| all.add(thread.join().unwrap()));
    all
}

const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

#[test]
fn l_08_five_times_too_much_is_shed_and_forgotten_when_it_is_over() {
    // Four hands and 10 ms for each request: 400 a second.
    let to = endpoint(4);
    let config = format!(
        "workers: 2\noverload: {{ lag: 1s }}\nlisteners:\n  web:\n    address: '@WEB'\n    limits: {{ requests: 16 }}\n    \
         routes: [{{ forward: '{to}' }}]\n"
    );
    let transom = Transom::run(TRANSOM, &config);
    let phase = Duration::from_secs_f64(seconds());
    let run = |clients, every| load(transom.web(), HONEST, clients, every, phase);

    let mut peak = run(8, Duration::ZERO);
    let (peak_rate, peak_p99) = (peak.rate(phase), peak.p99());
    // A hundred clients, twenty requests a second each.
    let mut five = run(100, Duration::from_millis(50));
    let (rate, p99) = (five.rate(phase), five.p99());
    let mut after = run(8, Duration::from_millis(50));
    let after_p99 = after.p99();
    eprintln!(
        "peak {peak_rate:.0}/s, p99 {peak_p99:.1?}; at {:.0}/s offered: {rate:.0}/s served, p99 \
         {p99:.1?}, {} refused, {} failed; then at 160/s: {} served, p99 {after_p99:.1?}, {} refused",
        (five.served.len() + five.refused + five.failed) as f64 / phase.as_secs_f64(),
        five.refused,
        five.failed,
        after.served.len(),
        after.refused,
    );
    assert!(five.refused > five.served.len(), "it was not too much");
    assert!(rate >= 0.8 * peak_rate, "goodput {rate:.0} of {peak_rate:.0}");
    // Sixteen under way at 400 a second are 40 ms; a busy machine may stand still for a while.
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
    assert_eq!((after.refused, after.failed, five.failed), (0, 0, 0), "it recovers at once");
}

#[test]
fn l_08_a_flood_from_one_address_leaves_the_others_alone() {
    let to = endpoint(8);
    let config = format!(
        "workers: 2\noverload: {{ lag: 1s }}\nlisteners:\n  web:\n    address: '@WEB'\n    \
         limits: {{ connections-per-client: 30, requests-per-client: 4, \
         connection-rate-per-client: 100/s, request-rate-per-client: 200/s }}\n    \
         routes: [{{ forward: '{to}' }}]\n"
    );
    let transom = Transom::run(TRANSOM, &config);
    let phase = Duration::from_secs_f64(seconds());
    let over = Arc::new(AtomicBool::new(false));
    let web = transom.web();
    let flood: Vec<_> = (0..40)
        .map(|_| {
            let over = over.clone();
            thread::spawn(move || {
                let mut tried = 0;
                let mut connection = None;
                while !over.load(Ordering::Relaxed) {
                    tried += 1;
                    let connect = || Client::try_connect_from([127, 0, 0, 2].into(), web);
                    let Ok(mut client) = connection.take().map_or_else(connect, Ok) else {
                        continue;
                    };
                    client.forget();
                    let answer =
                        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").try_response("GET");
                    connection = answer.is_ok_and(|answer| !answer.closes()).then_some(client);
                }
                tried
            })
        })
        .collect();
    // no more at once than each client may have under way, so that a pause of the machine refuses none
    let mut honest = load(web, HONEST, 4, Duration::from_millis(40), phase);
    over.store(true, Ordering::Relaxed);
    let tried: usize = flood.into_iter().map(|thread| thread.join().unwrap()).sum();
    let p99 = honest.p99();
    eprintln!(
        "a flood of {:.0}/s beside 100/s of another client: {} of those served, p99 {p99:.1?}, {} \
         refused, {} failed",
        tried as f64 / phase.as_secs_f64(),
        honest.served.len(),
        honest.refused,
        honest.failed,
    );
    let all = honest.served.len() + honest.refused + honest.failed;
    assert!(honest.served.len() * 100 >= all * 99, "{} of {all}", honest.served.len());
    let refused = transom.metric("transom_faults_total{listener=\"web\",code=\"rate-limited\"");
    assert!(refused > 0.0, "it was no flood");
}
