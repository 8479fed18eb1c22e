//! What holds after every test, whatever the test did.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, ask};
use crate::{PATIENCE, Transom};

static MARKERS: AtomicUsize = AtomicUsize::new(0);

/// O2: somebody else's next request over the same pool gets an answer to that request and to no
/// other. The endpoint behind must echo targets that begin with `/victim`.
#[track_caller]
pub fn victim(address: SocketAddr) {
    let marker = format!("/victim-{}", MARKERS.fetch_add(1, Ordering::Relaxed));
    let bytes = format!("GET {marker} HTTP/1.1\r\nHost: victim.example\r\n\r\n");
    let response = ask(address, bytes);
    assert_eq!(response.status, 200, "the victim was refused: {}", response.text());
    let echo = response.echo();
    assert_eq!(echo["target"], Value::from(marker.as_str()), "another one's answer: {echo}");
    assert_eq!(echo["body"], "", "another one's body: {echo}");
}

/// O4: the program lives, and nothing in it has panicked.
#[track_caller]
pub fn alive(transom: &mut Transom) {
    assert!(transom.is_alive(), "it has ended:\n{}", transom.said());
    let said = transom.said();
    assert!(!said.contains("panic"), "a panic:\n{said}");
}

/// O6: the access log has exactly one line for each of `count` exchanges. Gives them back.
#[track_caller]
pub fn lines(transom: &Transom, count: usize) -> Vec<Value> {
    let lines = transom.lines_when(count);
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// A request that must be refused: the answer has this status and closes, the connection ends
/// cleanly, and nothing more is said on it.
#[track_caller]
pub fn refused(address: SocketAddr, bytes: impl AsRef<[u8]>, status: u16) {
    let bytes = bytes.as_ref();
    let mut client = Client::connect(address);
    refused_on(client.send(bytes), bytes, status);
}

/// The same for what was sent on `client` already.
#[track_caller]
pub fn refused_on(client: &mut Client, bytes: &[u8], status: u16) {
    let shown = bytes[..bytes.len().min(300)].escape_ascii().to_string();
    let response = match client.try_response("GET") {
        Ok(response) => response,
        Err(e) => panic!("no answer to {shown}: {e}"),
    };
    assert_eq!(response.status, status, "{shown}: {}", response.text());
    assert!(response.closes(), "{shown}: the answer does not close");
    assert!(response.whole, "{shown}: the answer is cut off");
    client.end_sending();
    let (rest, end) = client.rest();
    assert!(rest.is_empty(), "{shown}: then came {}", rest.escape_ascii());
    assert_eq!(end, crate::client::End::Closed, "{shown}");
}

/// O4: what was open is closed again.
#[track_caller]
pub fn sockets_are_back_at(transom: &Transom, baseline: usize) {
    let start = Instant::now();
    while transom.sockets().len() > baseline {
        let open = transom.sockets();
        assert!(start.elapsed() < PATIENCE, "more than {baseline} are open: {open:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
