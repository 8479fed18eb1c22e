//! Times and sizes of nothing. With others 0 often means that there is no limit; here it is the tightest
//! of all.

use transom_settings::{ByteSize, Limit, Spanned};

use super::Check;
use crate::config::{Limits, PoolTimeouts, RouteTimeouts, Timeout, Timeouts};

impl Check<'_> {
    pub(super) fn no_time(&mut self, timeouts: &Timeouts, path: &str) {
        // `keep-alive: 0` keeps no connection, which somebody may want
        let Timeouts { header, first_byte, tls_handshake, proxy_protocol, .. } = *timeouts;
        for (key, time) in [
            ("header", header),
            ("first-byte", first_byte),
            ("tls-handshake", tls_handshake),
            ("proxy-protocol", proxy_protocol),
        ] {
            self.time(key, Some(time), path);
        }
        let Timeouts { body_idle, send_idle, connect, response, .. } = *timeouts;
        let Timeouts { response_idle, tunnel_idle, request, .. } = *timeouts;
        let of_exchanges =
            [body_idle, send_idle, connect, response, response_idle, tunnel_idle, request];
        self.no_time_of_exchanges(of_exchanges.map(Some), path);
    }

    pub(super) fn no_time_of_route(&mut self, timeouts: &RouteTimeouts, path: &str) {
        let RouteTimeouts { body_idle, send_idle, connect, response, .. } = *timeouts;
        let RouteTimeouts { response_idle, tunnel_idle, request, .. } = *timeouts;
        let of_exchanges =
            [body_idle, send_idle, connect, response, response_idle, tunnel_idle, request];
        self.no_time_of_exchanges(of_exchanges, path);
    }

    /// Those that a listener and a route have alike.
    fn no_time_of_exchanges(&mut self, times: [Option<Timeout>; 7], path: &str) {
        const KEYS: [&str; 7] = [
            "body-idle",
            "send-idle",
            "connect",
            "response",
            "response-idle",
            "tunnel-idle",
            "request",
        ];
        for (key, time) in KEYS.into_iter().zip(times) {
            self.time(key, time, path);
        }
    }

    pub(super) fn no_time_of_pool(&mut self, timeouts: &PoolTimeouts, path: &str) {
        let PoolTimeouts { connect, response, response_idle } = *timeouts;
        for (key, time) in
            [("connect", connect), ("response", response), ("response-idle", response_idle)]
        {
            self.time(key, time, path);
        }
    }

    pub(super) fn time(&mut self, key: &str, time: Option<Timeout>, path: &str) {
        if let Some(Spanned { value: Limit::At(time), span }) = time
            && time.get().is_zero()
        {
            self.error(span, format!("{path}.{key}"), "no time is given: it is over at once")
                .hint("write `off` to wait without end")
                .done();
        }
    }

    pub(super) fn no_body(&mut self, limits: &Limits, path: &str) {
        if let Limit::At(ByteSize(0)) = limits.body.value {
            let what = "no request may have a body";
            self.warning(limits.body.span, format!("{path}.body"), what)
                .hint("write `unlimited` for no limit")
                .done();
        }
    }
}
