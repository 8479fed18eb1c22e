//! A client, a Transom and an endpoint, with one kept connection between the latter two, so that
//! whatever is left on it shows.

use std::cell::Cell;
use std::net::SocketAddr;

use serde_json::Value;
use transom_testkit::{Client, Endpoint, Response, Transom, check, client};

/// The program under test.
pub(super) const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

/// A Transom in front of one endpoint.
pub(super) struct Rig {
    pub(super) endpoint: Endpoint,
    pub(super) transom: Transom,
    /// Exchanges so far that have a line in the access log.
    lines: Cell<usize>,
}

impl Rig {
    /// In front of an endpoint that echoes.
    pub(super) fn echo() -> Self {
        Self::over(Endpoint::echo())
    }

    pub(super) fn over(endpoint: Endpoint) -> Self {
        Self::with("", "", endpoint)
    }

    /// With these timeouts.
    pub(super) fn waiting(timeouts: &str, endpoint: Endpoint) -> Self {
        Self::with(&format!("timeouts: {{ {timeouts} }}"), "", endpoint)
    }

    /// With further settings of the listener, and routes before the one to the endpoint.
    #[track_caller]
    pub(super) fn with(listener: &str, routes: &str, endpoint: Endpoint) -> Self {
        let to = endpoint.address;
        let config = format!(
            "workers: 1\n\
             grace: 9s\n\
             listeners:\n  \
               web:\n    \
                 address: '@WEB'\n    \
                 {listener}\n    \
                 routes:\n\
             {routes}\n      \
                   - match: {{ path: /local/** }}\n        \
                     respond: 200\n      \
                   - forward: o\n\
             pools:\n  \
               o: {{ endpoints: '{to}', keep-alive: {{ max-idle: 1 }} }}\n"
        );
        let transom = Transom::run(TRANSOM, &config);
        Rig { endpoint, transom, lines: Cell::new(0) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.transom.web()
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// The response to these bytes, sent over a connection of their own.
    #[track_caller]
    pub(super) fn ask(&self, bytes: impl AsRef<[u8]>) -> Response {
        self.expect_lines(1);
        client::ask(self.address(), bytes)
    }

    /// The response to a plain GET.
    #[track_caller]
    pub(super) fn get(&self, target: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    /// These bytes are refused with `status`, the connection is closed, and the endpoint never
    /// hears of them; sent whole and a byte at a time.
    #[track_caller]
    pub(super) fn refuses(&self, bytes: impl AsRef<[u8]>, status: u16) {
        let bytes = bytes.as_ref();
        let before = self.endpoint.requests().len();
        check::refused(self.address(), bytes, status);
        let mut slow = self.client();
        slow.send_bytewise(bytes);
        check::refused_on(&mut slow, bytes, status);
        self.expect_lines(2);
        let heard = self.endpoint.requests();
        assert_eq!(heard.len(), before, "{} got through: {heard:#?}", bytes.escape_ascii());
    }

    /// So many exchanges more have a line in the access log.
    pub(super) fn expect_lines(&self, more: usize) {
        self.lines.set(self.lines.get() + more);
    }

    /// What holds whatever was done. The lines of the access log, but for the victim's.
    #[track_caller]
    pub(super) fn holds(&mut self) -> Vec<Value> {
        check::victim(self.address());
        check::alive(&mut self.transom);
        let mut lines = check::lines(&self.transom, self.lines.get() + 1);
        lines.pop();
        lines
    }
}

/// The fields of a WebSocket handshake, with the key of RFC 6455 §1.3.
pub(super) const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A request head with `lines` after its Host.
pub(super) fn head(start: &str, lines: &str) -> String {
    format!("{start} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A POST with these field lines and this body.
pub(super) fn post(lines: &str, body: &str) -> String {
    format!("{}{body}", head("POST /", lines))
}
