//! A clock of the machine that is set while requests are served (RELIABILITY D-13).
//!
//! libfaketime stands between the program and the time of day alone, and reads from a file what it
//! shall say; `.ci/run` installs it. Where it is absent nothing is tested, which is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use transom_testkit::certificate::Authority;
use transom_testkit::server::Server;
use transom_testkit::{Client, Response, Transom, client, until};

use super::issuer::{Key, bearer, claims, in_seconds};
use super::rig::TRANSOM;

const SECRET: &str = "a secret of thirty-two bytes and more";

/// What the program takes for the time of day.
struct Clock {
    library: PathBuf,
    folder: tempfile::TempDir,
}

impl Clock {
    /// Nothing where there is no libfaketime.
    fn new() -> Option<Self> {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let all = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = all.into_iter().find(|path| path.exists()) else {
            eprintln!("nothing is tested: there is no libfaketime, which .ci/run installs");
            return None;
        };
        let clock = Clock { library, folder: tempfile::tempdir().unwrap() };
        clock.set("+0");
        Some(clock)
    }

    /// In the form of faketime(1): how far it is off, or where it stands still.
    fn set(&self, says: &str) {
        let (file, next) = (self.file(), self.folder.path().join("next"));
        fs::write(&next, says).unwrap();
        fs::rename(next, file).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    fn run(&self, config: &str, prepare: impl FnOnce(&Path)) -> Transom {
        let (file, yes) = (self.file(), Path::new("1"));
        let variables: [(&str, &Path); 5] = [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            // the file is read each time
            ("FAKETIME_NO_CACHE", yes),
            // what has passed is another clock, which nobody can set; nor do files change
            ("FAKETIME_DONT_FAKE_MONOTONIC", yes),
            ("NO_FAKE_STAT", yes),
        ];
        Transom::run_among(TRANSOM, config, &variables, prepare)
    }
}

fn get(address: std::net::SocketAddr, target: &str, lines: &str) -> Response {
    client::ask(address, format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}

#[test]
fn d_13_a_clock_that_is_set_breaks_nothing_that_runs() {
    let Some(clock) = Clock::new() else { return };
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let servers = ["a", "b", "c"].map(Server::start);
    let list = servers.each_ref().map(|server| format!("'{}'", server.address)).join(", ");
    let config = format!(
        "workers: 2\n\
         listeners:\n  \
           web:\n    \
             address: '@WEB'\n    \
             routes:\n      \
               - {{ match: {{ path: /token }}, policies: [staff], forward: o }}\n      \
               - {{ match: {{ path: /limited }}, policies: [few], forward: o }}\n      \
               - {{ match: {{ path: /after-60000 }}, timeouts: {{ response: 1s }}, forward: o }}\n      \
               - forward: {{ to: o }}\n  \
           tls:\n    \
             address: '@TLS'\n    \
             tls: {{ certificate: '@folder/cert.pem', key: '@folder/key.pem' }}\n    \
             routes: [{{ respond: hello }}]\n\
         pools:\n  \
           o: {{ endpoints: [{list}], health: {{ http: /, every: 100ms, timeout: 1s }}, \
                affinity: {{ cookie: {{ name: shop, max-age: 1h }} }} }}\n\
         policies:\n  \
           staff: {{ jwt: {{ secret: '{SECRET}', issuer: https://id.example, audience: shop, leeway: 0s }} }}\n  \
           few: {{ rate-limit: {{ rate: 2/h, by: all }} }}\n"
    );
    let transom = clock.run(&config, |folder| {
        fs::write(folder.join("cert.pem"), &issued.certificate).unwrap();
        fs::write(folder.join("key.pem"), &issued.key).unwrap();
    });
    let members = || -> Vec<Value> {
        let pool: Value = serde_json::from_str(&transom.admin("GET", "/pools/o").text()).unwrap();
        pool["members"].as_array().unwrap().iter().map(|m| m["state"].clone()).collect()
    };
    let all_are_up = || members() == vec![json!("up"); 3];
    until("all members were probed", all_are_up);

    let key = Key::hs256(SECRET);
    let token = bearer(&key.token("1", &claims(json!({ "exp": in_seconds(1800) }))));
    let with_token = || get(transom.web(), "/token", &format!("{token}\r\n")).status;
    assert_eq!(with_token(), 200);
    assert_eq!([0; 3].map(|_| get(transom.web(), "/limited", "").status), [200, 200, 429]);
    let first = get(transom.web(), "/", "");
    let cookie = first.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let cookie = format!("Cookie: {cookie}\r\n");
    let trusting = authority.client();
    let over_tls = || {
        let mut client = Client::connect_tls(transom.address("TLS"), "localhost", trusting.clone());
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        (client.response().status, client.is_resumed())
    };
    assert_eq!(over_tls(), (200, false));
    assert_eq!(over_tls(), (200, true));
    let mut kept = Client::connect(transom.web());

    // An hour on, an hour back from what is true, a day on, and standing still in another year.
    for (jumps, (says, token)) in
        [("+3600", 401), ("-3600", 200), ("+86400", 401), ("2040-02-29 12:00:00", 401), ("+0", 200)]
            .into_iter()
            .enumerate()
    {
        let mut slow = Client::connect(transom.web());
        slow.send("GET /after-1500 HTTP/1.1\r\nHost: a\r\n\r\n");
        clock.set(says);
        until(&format!("the jump to {says} is told"), || {
            transom.said().matches("the clock of the machine has jumped").count() > jumps
        });
        let (begun, mut stuck) = (Instant::now(), Client::connect(transom.web()));
        stuck.send("GET /after-60000 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(with_token(), token, "{says}: a token goes by the time of day");
        assert_eq!(get(transom.web(), "/limited", "").status, 429, "{says}");
        let again = get(transom.web(), "/", &cookie);
        assert_eq!((again.status, again.field("set-cookie")), (200, None), "{says}");
        assert_eq!(server_of(&again), server_of(&first), "{says}");
        assert_eq!(over_tls(), (200, true), "{says}: its session is gone");
        kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(kept.response().status, 200, "{says}: what was open is closed");
        assert_eq!(slow.response().status, 200, "{says}");
        assert_eq!(stuck.response().status, 504, "{says}");
        let took = begun.elapsed();
        let right = Duration::from_millis(900)..Duration::from_secs(5);
        assert!(right.contains(&took), "{says}: a second lasted {took:?}");
        assert!(all_are_up(), "{says}: {:?}\n{}", members(), transom.said());
    }
    assert_eq!(transom.metric("transom_worker_stalls_total"), 0.0);
}

/// Which server answered.
fn server_of(response: &Response) -> String {
    response.text().split_whitespace().next().unwrap_or_default().to_owned()
}
