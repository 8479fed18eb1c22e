//! Responses of endpoints in HTTP/1, and what becomes of the connection they came over.

mod body;
mod connection;
mod head;

use transom_testkit::certificate::Authority;
use transom_testkit::endpoint::echo;
use transom_testkit::{Endpoint, Transom};

use crate::rows::rig::{Rig, TRANSOM};

/// Answers `/N` with the bytes of that case, and echoes everything else.
fn table<B: Into<Vec<u8>>>(cases: impl IntoIterator<Item = B>) -> Endpoint {
    let cases: Vec<Vec<u8>> = cases.into_iter().map(Into::into).collect();
    Endpoint::new(move |request, line| {
        match request.target[1..].parse::<usize>().ok().and_then(|n| cases.get(n)) {
            Some(bytes) => line.send(bytes),
            None => line.send(echo(request)),
        }
    })
}

/// Each of these responses becomes a 502, and its connection is never used again.
#[track_caller]
fn is_refused<B: AsRef<[u8]> + Into<Vec<u8>> + Clone>(cases: &[B]) {
    let mut rig = Rig::over(table(cases.iter().cloned()));
    for (n, case) in cases.iter().enumerate() {
        let shown = case.as_ref()[..case.as_ref().len().min(200)].escape_ascii();
        let response = rig.get(&format!("/{n}"));
        assert_eq!(response.status, 502, "{shown}: {}", response.text());
        assert!(response.whole, "{shown}");
        rig.endpoint.until("the connection is closed", |log| log.ended == n + 1);
        assert_eq!(rig.endpoint.requests().len(), n + 1, "{shown} was asked for again");
    }
    let lines = rig.holds();
    for line in lines {
        assert_eq!(line["blame"], "upstream", "{line}");
    }
}

/// A Transom with a pool for each name that is asked for, all to the same address, under `/N/`.
fn tls_pools(authority: &Authority, endpoint: &Endpoint, names: &[&str]) -> (Transom, usize) {
    let mut config =
        "workers: 1\nlisteners:\n  web:\n    address: '@WEB'\n    routes:\n".to_owned();
    for n in 0..names.len() {
        config += &format!(
            "      - match: {{ path: /{n}/** }}\n        rewrite: {{ strip-prefix: /{n} }}\n        \
             forward: p{n}\n"
        );
    }
    config += "pools:\n";
    for (n, name) in names.iter().enumerate() {
        config += &format!(
            "  p{n}: {{ endpoints: '{}', tls: {{ name: {name}, ca: '@folder/ca.pem' }} }}\n",
            endpoint.address
        );
    }
    let pem = authority.pem.clone();
    let transom = Transom::run_with(TRANSOM, &config, |folder| {
        std::fs::write(folder.join("ca.pem"), pem).unwrap();
    });
    (transom, names.len())
}
