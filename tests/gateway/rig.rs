//! A Transom whose one route has policies, in front of an endpoint that echoes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use transom_testkit::{Client, Endpoint, Received, Response, Transom, client};

/// The program under test.
pub(super) const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

pub(super) struct Rig {
    pub(super) endpoint: Endpoint,
    pub(super) transom: Transom,
}

impl Rig {
    /// With these policies, each a line of YAML: `one: { jwt: { ... } }`; and further top-level keys.
    #[track_caller]
    pub(super) fn with(policies: &[&str], more: &str) -> Self {
        Self::over(Endpoint::echo(), policies, more)
    }

    #[track_caller]
    pub(super) fn over(endpoint: Endpoint, policies: &[&str], more: &str) -> Self {
        let names: Vec<_> = policies.iter().filter_map(|policy| policy.split(':').next()).collect();
        let config = format!(
            "workers: 2\n\
             listeners:\n  \
               web:\n    \
                 address: '@WEB'\n    \
                 routes: [{{ policies: [{}], forward: o }}]\n\
             pools:\n  \
               o: {{ endpoints: '{}' }}\n\
             policies:\n  {}\n\
             {more}\n",
            names.join(", "),
            endpoint.address,
            policies.join("\n  "),
        );
        Self::of(endpoint, &config)
    }

    /// With a whole file.
    #[track_caller]
    pub(super) fn of(endpoint: Endpoint, config: &str) -> Self {
        Rig { transom: Transom::run(TRANSOM, config), endpoint }
    }

    /// The response to a request with these further lines of its head.
    #[track_caller]
    pub(super) fn ask(&self, start: &str, lines: &[&str]) -> Response {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        client::ask(self.transom.web(), format!("{start} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
    }

    #[track_caller]
    pub(super) fn get(&self, target: &str, lines: &[&str]) -> Response {
        self.ask(&format!("GET {target}"), lines)
    }

    /// The last request that the endpoint has got.
    #[track_caller]
    pub(super) fn seen(&self) -> Received {
        self.endpoint.requests().pop().expect("the endpoint was asked")
    }

    /// The line of the access log about the request for this path.
    #[track_caller]
    pub(super) fn line_of(&self, path: &str) -> serde_json::Value {
        let mut count = 1;
        loop {
            let lines = self.transom.lines_when(count);
            if let Some(line) = lines.iter().find(|line| line["path"] == path) {
                return line.clone();
            }
            count = lines.len() + 1;
        }
    }

    /// The access log so far.
    pub(super) fn log(&self) -> String {
        self.transom.lines().iter().map(|line| format!("{line}\n")).collect()
    }

    /// Reads the file anew.
    #[track_caller]
    pub(super) fn reload(&self) {
        let response = self.transom.admin("POST", "/reload");
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

/// What `transom check` says of a configuration; `prepare` may put files beside it.
pub(super) fn check(config: &str, prepare: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let file = folder.path().join("transom.yaml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(TRANSOM).arg("check").arg(&file).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// How many pass of so many, none of which waits for Redis.
pub(super) fn passed(transom: &Transom, count: usize) -> usize {
    let mut client = Client::connect(transom.web());
    let ask = |_: &usize| {
        let begun = Instant::now();
        let status = client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").response().status;
        assert!(begun.elapsed() < Duration::from_secs(2), "it stalled");
        assert!(matches!(status, 200 | 429), "{status}");
        status == 200
    };
    (0..count).filter(ask).count()
}
