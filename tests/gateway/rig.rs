//! A Transom whose one route has policies, in front of an endpoint that echoes.

use transom_testkit::{Endpoint, Response, Transom, client};

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
        Rig { transom: Transom::run(TRANSOM, &config), endpoint }
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
}
