//! Slow clients, bombs, and what one client may take.

use std::time::{Duration, Instant};

use transom_testkit::{Client, Endpoint, check};

use super::rig::{Rig, TRANSOM, head};

mod bodies;
mod bombs;
mod crowds;
mod handshakes;
mod proxy_protocol;

#[test]
fn sl_01_bytes_do_not_move_the_deadline_of_a_head() {
    let mut rig = Rig::waiting("header: 500ms", Endpoint::echo());
    let baseline = rig.transom.sockets().len();
    let start = Instant::now();
    let mut slow: Vec<Client> = (0..200).map(|_| rig.client()).collect();
    let bytes = head("GET /", &format!("X: {}\r\n", "x".repeat(1000)));
    for byte in bytes.as_bytes().iter().take(12) {
        for client in &mut slow {
            client.send([*byte]);
        }
        // O7: meanwhile others are served.
        let asked = Instant::now();
        assert_eq!(rig.get("/others").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in &mut slow {
        assert_eq!(client.response().status, 408);
        client.end_sending().ends();
    }
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    rig.expect_lines(200);
    drop(slow);
    check::sockets_are_back_at(&rig.transom, baseline + 1);
    let lines = rig.holds();
    assert_eq!(lines.iter().filter(|line| line["fault"] == "request-timeout").count(), 200);
}

#[test]
fn sl_02_who_says_nothing_is_not_waited_for() {
    let mut rig = Rig::waiting("first-byte: 1s, keep-alive: 1s", Endpoint::echo());
    rig.client().ends();
    let mut client = rig.client();
    client.send(head("GET /", ""));
    assert_eq!(client.response().status, 200);
    client.ends();
    rig.expect_lines(1);
    rig.holds();
}

/// What `transom check` says about a file of this text.
pub(super) fn check_file(text: &str) -> (Option<i32>, String) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let output =
        std::process::Command::new(TRANSOM).arg("check").arg(file.path()).output().unwrap();
    let said = [output.stderr, output.stdout].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}
