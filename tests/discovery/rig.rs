//! What these tests have in common: a pool, servers that come and go under load, and programs beside them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use transom_testkit::load::{Lane, Load};
use transom_testkit::server::Server;
use transom_testkit::{Transom, until};

pub(super) const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

/// How often endpoints come and go under load.
pub(super) const ROUNDS: usize = 5;

/// A listener in front of a pool with these settings.
pub(super) fn config(pool: &str, more: &str) -> String {
    format!(
        "listeners: {{ web: {{ address: '@WEB', routes: [{{ forward: {{ to: shop, retries: 0 }} }}] }} }}\n\
         pools:\n  shop:\n{pool}\n{more}"
    )
}

/// The addresses of the members, as an operator sees them.
pub(super) fn members(transom: &Transom) -> Vec<String> {
    let shown = shown(transom);
    let members = shown["members"].as_array().expect("members").iter();
    let mut all: Vec<String> =
        members.map(|member| member["address"].as_str().expect("an address").to_owned()).collect();
    all.sort();
    all
}

pub(super) fn shown(transom: &Transom) -> Value {
    let answer = transom.admin("GET", "/pools/shop");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

#[track_caller]
pub(super) fn until_members_are(transom: &Transom, wanted: &[&Server]) {
    let mut wanted: Vec<String> = wanted.iter().map(|server| server.address.to_string()).collect();
    wanted.sort();
    until(&format!("the members are {wanted:?}"), || members(transom) == wanted);
}

/// Lets servers come and go under load: `set` says who there shall be. Nobody may notice.
#[track_caller]
pub(super) fn come_and_go(
    transom: &Transom,
    servers: &[Server; 3],
    mut set: impl FnMut(&[&Server]),
) {
    let [a, b, c] = servers;
    set(&[a]);
    until_members_are(transom, &[a]);
    let kept = Lane::new(transom.web(), "/kept", 200);
    let fresh = Lane { requests: 1, rate: 50, ..Lane::new(transom.web(), "/fresh", 50) };
    let load = Load::start([kept.clone(), kept.clone(), kept, fresh.clone(), fresh]);
    for _ in 0..ROUNDS {
        for now in [&[a, b][..], &[a, b, c], &[b, c], &[c], &[a]] {
            set(now);
            until_members_are(transom, now);
            let before = load.answered();
            until("the new members have had work", || load.answered() > before + 50);
        }
    }
    let outcome = load.end();
    assert!(outcome.failures.is_empty(), "{:#?}\n{}", outcome.failures, transom.said());
    assert!(outcome.answered > 1000, "{outcome:?}");
}

pub(super) fn servers() -> [Server; 3] {
    ["a", "b", "c"].map(Server::start)
}

pub(super) fn list(servers: &[&Server]) -> String {
    servers.iter().map(|server| format!("- {}\n", server.address)).collect()
}

pub(super) fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, file).unwrap();
}

/// A child that ends with the test.
pub(super) struct Process(pub(super) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that `.ci/run` installs.
#[track_caller]
pub(super) fn start(command: &mut Command) -> Process {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Process(child.unwrap_or_else(|e| panic!("{program} is needed, which .ci/run installs: {e}")))
}
