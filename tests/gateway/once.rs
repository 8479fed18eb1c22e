//! A thing that is asked for twice is done once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use transom_testkit::endpoint::ok;
use transom_testkit::{Client, Endpoint, Http2, Response, http2, until};

use super::rig::Rig;

const PAY: &str = "pay-once: { idempotency: { required: true } }";

/// Charges once for each request, and says how often it has.
fn till() -> (Endpoint, Arc<AtomicUsize>) {
    let charged = Arc::new(AtomicUsize::new(0));
    let count = charged.clone();
    let endpoint = Endpoint::new(move |request, line| {
        let n = count.fetch_add(1, Ordering::AcqRel) + 1;
        match &*request.target {
            "/broken" => line.end(),
            "/busy" => {
                line.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy");
            }
            "/long" => {
                let body = "x".repeat(2_000_000);
                line.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}"));
                line.end();
            }
            _ => {
                let body = format!("charged {n}");
                let length = body.len();
                line.send(format!(
                    "HTTP/1.1 201 Created\r\nX-Receipt: {n}\r\nContent-Length: {length}\r\n\r\n{body}"
                ));
            }
        }
    });
    (endpoint, charged)
}

fn post(rig: &Rig, target: &str, key: &str, body: &str) -> Response {
    let length = format!("Content-Length: {}", body.len());
    let key = format!("Idempotency-Key: {key}");
    let mut lines = vec![&*length];
    if key.len() > 17 {
        lines.push(&key);
    }
    let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let mut client = Client::connect(rig.transom.web());
    client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\n{head}\r\n{body}"));
    client.response_to("POST")
}

#[test]
fn the_first_answer_comes_again_even_when_the_endpoint_was_killed_after_charging() {
    let (endpoint, charged) = till();
    let rig = Rig::over(endpoint, &[PAY], "");
    let first = post(&rig, "/pay", "\"k-1\"", "lamp");
    assert_eq!((first.status, &*first.text()), (201, "charged 1"));
    assert_eq!(first.field("idempotent-replayed"), None);
    // another key is another payment
    assert_eq!(post(&rig, "/pay", "k-2", "lamp").text(), "charged 2");
    let Rig { endpoint, transom } = rig;
    drop(endpoint);
    let rig = Rig { endpoint: Endpoint::echo(), transom };
    let again = post(&rig, "/pay", "k-1", "lamp");
    assert_eq!((again.status, &*again.text()), (201, "charged 1"));
    assert_eq!(again.field("x-receipt"), Some("1"));
    assert_eq!(again.field("idempotent-replayed"), Some("true"));
    assert_eq!(charged.load(Ordering::Acquire), 2);
    // over HTTP/2 it is the same thing
    let mut client = Http2::connect(rig.transom.web());
    let request = http2::request("POST", "/pay", &[("idempotency-key", "\"k-1\"")]);
    assert_eq!(client.ask(request, b"lamp").text(), "charged 1");
}

/// The last attempt reached nobody, but the one before may have been enough.
#[test]
fn what_an_earlier_attempt_may_have_done_is_not_done_again() {
    let (endpoint, charged) = till();
    let config = format!(
        "listeners:\n  web:\n    address: '@WEB'\n    routes:\n      \
           - policies: [pay-once]\n        \
             forward: {{ to: o, retries: {{ count: 1, any-method: true }} }}\n\
         policies: {{ {PAY} }}\n\
         pools: {{ o: {{ endpoints: ['{}', '127.0.0.1:1'], algorithm: round-robin }} }}\n",
        endpoint.address
    );
    let rig = Rig::of(endpoint, &config);
    for n in 1..=4 {
        let key = format!("k-{n}");
        assert_eq!(post(&rig, "/broken", &key, "lamp").status, 502);
        assert_eq!(post(&rig, "/broken", &key, "lamp").status, 409, "{key}");
        assert_eq!(charged.load(Ordering::Acquire), n);
    }
}

#[test]
fn a_key_belongs_to_one_request_and_is_wanted() {
    let (endpoint, charged) = till();
    let rig = Rig::over(endpoint, &[PAY], "");
    assert_eq!(post(&rig, "/pay", "k", "lamp").status, 201);
    for (target, key, body, status) in [
        ("/pay", "k", "chair", 422),
        ("/pay?x", "k", "lamp", 422),
        ("/refund", "k", "lamp", 422),
        ("/pay", "", "lamp", 400),
        ("/pay", &"k".repeat(256), "lamp", 400),
        ("/pay", "a\"b", "lamp", 400),
        ("/pay", "\"k\"", "lamp", 201),
    ] {
        assert_eq!(post(&rig, target, key, body).status, status, "{target} {key} {body}");
    }
    assert_eq!(charged.load(Ordering::Acquire), 1);
    assert_eq!(rig.get("/", &[]).status, 201, "what changes nothing needs no key");
}

#[test]
fn duplicates_at_the_same_time_wait_for_the_first() {
    let open = Arc::new(AtomicBool::new(false));
    let (gate, charged) = (open.clone(), Arc::new(AtomicUsize::new(0)));
    let count = charged.clone();
    let endpoint = Endpoint::new(move |_, line| {
        let n = count.fetch_add(1, Ordering::AcqRel) + 1;
        until("the gate is open", || gate.load(Ordering::Acquire));
        line.send(ok(&format!("charged {n}")));
    });
    let rig = Rig::over(endpoint, &[PAY], "");
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..6).map(|_| scope.spawn(|| post(&rig, "/pay", "k", "lamp"))).collect();
        rig.endpoint.until("the first is there", |log| log.requests.len() == 1);
        open.store(true, Ordering::Release);
        for asked in asked {
            assert_eq!(asked.join().unwrap().text(), "charged 1");
        }
    });
    assert_eq!(charged.load(Ordering::Acquire), 1);
}

#[test]
fn a_client_that_goes_away_finds_its_answer_when_it_comes_back() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let endpoint = Endpoint::new(move |_, line| {
        until("the gate is open", || gate.load(Ordering::Acquire));
        line.send(ok("charged 1"));
    });
    let rig = Rig::over(endpoint, &[PAY], "");
    let mut client = Client::connect(rig.transom.web());
    client.send(
        "POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 4\r\n\r\nlamp",
    );
    rig.endpoint.until("it is there", |log| log.requests.len() == 1);
    client.reset();
    open.store(true, Ordering::Release);
    assert_eq!(post(&rig, "/pay", "k", "lamp").text(), "charged 1");
    assert_eq!(rig.endpoint.log().requests.len(), 1);
}

#[test]
fn what_is_not_kept_is_done_again_or_refused_and_never_guessed() {
    let (endpoint, charged) = till();
    let rig = Rig::over(endpoint, &[PAY], "");
    // the endpoint said that it was not done
    assert_eq!(post(&rig, "/busy", "a", "").status, 503);
    assert_eq!(post(&rig, "/busy", "a", "").status, 503);
    assert_eq!(charged.load(Ordering::Acquire), 2);
    // it may have been done: nobody knows
    assert_eq!(post(&rig, "/broken", "b", "").status, 502);
    assert_eq!(post(&rig, "/broken", "b", "").status, 409);
    assert_eq!(charged.load(Ordering::Acquire), 3);
    // it was done, and the answer is too long to be kept
    let long = post(&rig, "/long", "c", "");
    assert_eq!((long.status, long.body.len()), (200, 2_000_000));
    assert_eq!(post(&rig, "/long", "c", "").status, 409);
    assert_eq!(charged.load(Ordering::Acquire), 4);
    // a body that cannot be known again
    assert_eq!(post(&rig, "/pay", "d", &"x".repeat(1_100_000)).status, 413);
    // nobody was reached: it is tried again
    let Rig { endpoint, transom } = rig;
    drop(endpoint);
    let rig = Rig { endpoint: Endpoint::echo(), transom };
    for _ in 0..2 {
        assert!(matches!(post(&rig, "/pay", "e", "lamp").status, 502 | 503));
    }
}
