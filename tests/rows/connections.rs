//! How many connections are open to the endpoints of a pool.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, H2Endpoint, Line, Manners, Transom, check, client, until};

use super::rig::{TRANSOM, head};

fn over(listener: &str, pool: &str, addresses: &[SocketAddr]) -> Transom {
    let config = format!(
        "workers: 2\nlisteners:\n  web: {{ address: '@WEB', {listener} }}\n\
         pools:\n  o: {{ endpoints: [{}], {pool} }}\n",
        addresses.iter().map(|a| format!("'{a}'")).collect::<Vec<_>>().join(", ")
    );
    Transom::run(TRANSOM, &config)
}

const HTTP: &str = "routes: [{ forward: o }]";

/// For how long there have to be too many, so that an end which the other side has not heard of yet
/// counts for nothing.
const TOO_LONG: Duration = Duration::from_millis(250);

/// Looks all the time whether no more connections are open than that.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Option<usize>>,
}

impl Watch {
    fn of(limit: usize, open: impl Fn() -> usize + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = over.clone();
        let thread = thread::spawn(move || {
            let mut since = Instant::now();
            while !is_over.load(Ordering::SeqCst) {
                let open = open();
                if open <= limit {
                    since = Instant::now();
                } else if since.elapsed() > TOO_LONG {
                    return Some(open);
                }
                thread::sleep(Duration::from_millis(1));
            }
            None
        });
        Watch { over, thread }
    }

    #[track_caller]
    fn end(self) {
        self.over.store(true, Ordering::SeqCst);
        assert_eq!(self.thread.join().unwrap(), None, "so many were open");
    }
}

fn slow() -> Arc<Endpoint> {
    Arc::new(Endpoint::new(|_, line| {
        line.wait(Duration::from_millis(2));
        line.send(ok("done"));
    }))
}

/// So many clients at once, of which each asks so often; every one is answered.
fn load(transom: &Transom, clients: usize, each: usize) {
    let web = transom.web();
    let client = |_| {
        thread::spawn(move || {
            for n in 0..each {
                // some over one connection, so that both workers have idle ones, some over new ones
                let mut client = Client::connect(web);
                for _ in 0..=n % 3 {
                    client.send(head("GET /", ""));
                    let response = client.response();
                    assert_eq!(response.status, 200, "{}", response.text());
                }
            }
        })
    };
    let threads: Vec<_> = (0..clients).map(client).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn lb_24_a_member_has_no_more_connections_than_it_may_idle_ones_among_them() {
    let endpoint = slow();
    let pool = "limits: { connections-per-member: 3 }, queue: { timeout: 20s }";
    let mut transom = over(HTTP, pool, &[endpoint.address]);
    let its = endpoint.clone();
    let watch = Watch::of(3, move || its.open());
    load(&transom, 12, 20);
    let metric = transom.metric("transom_pool_open_connections{pool=\"o\"");
    assert!((1.0..=3.0).contains(&metric), "{metric}");
    watch.end();
    let requests = endpoint.requests().len();
    let connections = endpoint.connections();
    assert!(connections < requests, "{connections} for {requests}: none was used again");
    check::alive(&mut transom);
}

#[test]
fn lb_24_a_pool_has_no_more_connections_than_it_may() {
    let (a, b) = (slow(), slow());
    let addresses = [a.address, b.address];
    let pool = "limits: { connections: 2 }, queue: { timeout: 20s }";
    let mut transom = over(HTTP, pool, &addresses);
    let both = [a.clone(), b.clone()];
    let watch = Watch::of(2, move || both.iter().map(|one| one.open()).sum());
    load(&transom, 8, 20);
    watch.end();
    assert!(!a.requests().is_empty() && !b.requests().is_empty());
    check::alive(&mut transom);
}

#[test]
fn lb_24_over_http2_workers_pass_the_only_connection_on() {
    let endpoint = Arc::new(H2Endpoint::echo());
    let pool = "http: '2', limits: { connections-per-member: 1 }, timeouts: { connect: 10s }";
    let mut transom = over(HTTP, pool, &[endpoint.address]);
    let its = endpoint.clone();
    let watch = Watch::of(1, move || its.log().open);
    load(&transom, 6, 10);
    watch.end();
    check::alive(&mut transom);
}

#[test]
fn lb_24_who_gets_no_connection_of_http2_is_told_so_and_the_member_is_not_blamed() {
    // one stream on the one connection that it may have, which carries an answer without end
    let endpoint = H2Endpoint::new(Manners::default(), |mut exchange| async move {
        if exchange.received.target == "/long" {
            let _head = exchange.head(200, &[], false);
            std::future::pending::<()>().await;
        }
        exchange.head(200, &[], true);
    });
    let pool = "http: '2', http2: { streams: 2 }, limits: { connections-per-member: 1 }, \
                timeouts: { connect: 300ms }";
    let mut transom = over(HTTP, pool, &[endpoint.address]);
    let mut long = Client::connect(transom.web());
    long.send(head("GET /long", ""));
    endpoint.until("it is asked", |log| log.requests.len() == 1);
    // of many clients some come to the worker that has none
    let answers: Vec<_> = (0..16).map(|_| client::ask(transom.web(), head("GET /", ""))).collect();
    for response in answers.iter().filter(|response| response.status != 200) {
        let told = (response.status, response.field("retry-after"));
        assert_eq!(told, (503, Some("1")), "{}", response.text());
    }
    let lines = transom.lines_when(16);
    let faults = lines.iter().filter_map(|line| line["fault"].as_str());
    assert!(faults.into_iter().all(|fault| fault == "queue-timeout"), "{lines:?}");
    let ejections =
        format!("transom_member_ejections_total{{pool=\"o\",endpoint=\"{}\"", endpoint.address);
    assert_eq!(transom.metric(&ejections), 0.0);
    check::alive(&mut transom);
}

#[test]
fn lb_24_tcp_connections_wait_for_one_that_may_be_opened() {
    let endpoint = Endpoint::raw(|line: &mut Line| {
        while let Some(byte) = line.read(1) {
            line.send(byte);
        }
    });
    let pool = "limits: { connections-per-member: 1 }, queue: { length: 1, timeout: 10s }, \
                timeouts: { connect: 10s }";
    let mut transom = over("tcp: o", pool, &[endpoint.address]);
    let echo = |client: &mut Client| {
        client.send("x");
        assert_eq!(client.read(1).unwrap(), b"x");
    };
    let mut first = Client::connect(transom.web());
    echo(&mut first);
    let mut second = Client::connect(transom.web());
    second.send("x");
    until("it waits", || transom.metric("transom_pool_waiting{pool=\"o\"") == 1.0);
    let mut third = Client::connect(transom.web());
    third.ends();
    assert_eq!(endpoint.connections(), 1);
    drop(first);
    assert_eq!(second.read(1).unwrap(), b"x");
    assert_eq!(endpoint.connections(), 2);
    let lines = transom.lines_when(2);
    assert!(lines.iter().any(|line| line["fault"] == "pool-full"), "{lines:?}");
    check::alive(&mut transom);
}
