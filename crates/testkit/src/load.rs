//! A steady load: so many requests a second, each answer looked at.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::Client;
use crate::message::Response;

/// A listener that goes away waits for the first word of those who have connected, but not for ever: who
/// says it later than this, on a machine that stands still, may find nobody.
const HESITATION: Duration = Duration::from_millis(100);

/// One connection after another, on which one request follows the other.
#[derive(Clone)]
pub struct Lane {
    pub address: SocketAddr,
    /// A name to ask for over TLS, and whom to trust.
    pub tls: Option<(String, Arc<ClientConfig>)>,
    pub method: &'static str,
    pub target: &'static str,
    pub body: &'static str,
    /// Requests a second.
    pub rate: u32,
    /// Requests on one connection, at most.
    pub requests: usize,
    /// That nobody listens at the address is no failure.
    pub may_be_gone: bool,
    /// Whether an answer is the right one.
    pub fits: fn(&Response) -> bool,
}

/// Lanes at work, and what has come of it.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    started: Instant,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    answered: AtomicU64,
    connections: AtomicU64,
    refused: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    pub answered: u64,
    pub connections: u64,
    /// Connections to an address at which nobody listened.
    pub refused: u64,
    pub failures: Vec<String>,
    pub time: Duration,
}

impl Outcome {
    /// Answers a second.
    pub fn rate(&self) -> u64 {
        (self.answered as f64 / self.time.as_secs_f64()) as u64
    }
}

impl Lane {
    /// Plain GETs of `target` over kept connections, answered with 200.
    pub fn new(address: SocketAddr, target: &'static str, rate: u32) -> Self {
        Lane {
            address,
            tls: None,
            method: "GET",
            target,
            body: "",
            rate,
            requests: usize::MAX,
            may_be_gone: false,
            fits: |response| response.status == 200,
        }
    }

    fn connect(&self) -> std::io::Result<Client> {
        match &self.tls {
            None => Client::try_connect(self.address),
            Some((name, trust)) => Client::try_connect_tls(self.address, name, trust.clone()),
        }
    }

    fn request(&self) -> String {
        let Lane { method, target, body, .. } = self;
        let length = match body.len() {
            0 => String::new(),
            n => format!("Content-Length: {n}\r\n"),
        };
        format!("{method} {target} HTTP/1.1\r\nHost: shop.example\r\n{length}\r\n{body}")
    }

    fn work(&self, shared: &Shared) {
        let request = self.request();
        let mut connection = None;
        let (mut next, mut served) = (Instant::now(), 0);
        while !shared.over.load(Ordering::Relaxed) {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += Duration::from_secs(1) / self.rate;
            let came = Instant::now();
            let mut client = match connection.take().map_or_else(|| self.connect(), Ok) {
                Ok(client) => client,
                Err(e) if self.may_be_gone && e.kind() == ErrorKind::ConnectionRefused => {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(e) => {
                    shared.fail(format!("connecting to {}: {e}", self.address));
                    continue;
                }
            };
            if served == 0 {
                shared.connections.fetch_add(1, Ordering::Relaxed);
            }
            served += 1;
            client.forget();
            client.send(&request);
            let hesitated = served == 1 && came.elapsed() > HESITATION;
            match client.try_response(self.method) {
                Ok(response) if response.whole && (self.fits)(&response) => {
                    shared.answered.fetch_add(1, Ordering::Relaxed);
                    if response.closes() || served >= self.requests {
                        served = 0;
                    } else {
                        connection = Some(client);
                    }
                }
                Ok(response) => {
                    let what = format!("{} {}", response.status, response.text());
                    shared.fail(format!("{} {}: {what}", self.method, self.target));
                    served = 0;
                }
                Err(_) if self.may_be_gone && hesitated => {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                    served = 0;
                }
                Err(e) => {
                    let (method, target) = (self.method, self.target);
                    shared
                        .fail(format!("{method} {target}, number {served} of its connection: {e}"));
                    served = 0;
                }
            }
        }
    }
}

impl Shared {
    fn fail(&self, what: String) {
        let mut failures = self.failures.lock().expect("nobody panics with it in hand");
        failures.push(what);
    }
}

impl Load {
    pub fn start(lanes: impl IntoIterator<Item = Lane>) -> Self {
        let shared = Arc::<Shared>::default();
        let start = |lane: Lane| {
            let shared = shared.clone();
            thread::spawn(move || lane.work(&shared))
        };
        let threads = lanes.into_iter().map(start).collect();
        Load { shared: shared.clone(), threads, started: Instant::now() }
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Connections so far to an address at which nobody listened.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Failures so far.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().expect("nobody panics with it in hand").clone()
    }

    /// Ends it, each lane after the answer it waits for.
    pub fn end(self) -> Outcome {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no lane panics");
        }
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let failures = self.shared.failures.lock().expect("nobody panics with it in hand").clone();
        Outcome {
            answered: read(&self.shared.answered),
            connections: read(&self.shared.connections),
            refused: read(&self.shared.refused),
            failures,
            time: self.started.elapsed(),
        }
    }
}
