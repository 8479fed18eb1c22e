//! What only a listener that carries TCP or UDP can get wrong.

use std::collections::HashMap;

use transom_settings::{
    EndpointAddress, HostPattern, ListenAddress, Name, Setting, Span, Spanned, Switch,
    json::Value as Json, quote,
};

use super::Check;
use crate::config::{
    ForwardedHeaders, Http2, Limits, Listener, Pool, ProxyFact, ProxyVersion, RequestId,
    SendProxyProtocol, Target, Tcp, TcpRoute, Timeouts, Udp, UpstreamHttp,
};

/// Limits and timeouts that mean nothing outside HTTP.
const LIMITS: [&str; 8] = [
    "body",
    "connection-age",
    "header-count",
    "header-line",
    "headers",
    "request-line",
    "requests-per-connection",
    "response-headers",
];
const TIMEOUTS: [&str; 10] = [
    "body-idle",
    "body-min-rate",
    "first-byte",
    "header",
    "keep-alive",
    "request",
    "response",
    "response-idle",
    "send-idle",
    "tunnel-idle",
];

impl<'a> Check<'a> {
    /// What is done with connections is said once.
    pub(super) fn served(&mut self, name: &Spanned<Name>, listener: &'a Listener, path: &str) {
        let routes = &listener.routes;
        let (tcp, udp) = (listener.tcp.as_ref(), listener.udp.as_ref());
        let other = tcp.map(|tcp| (tcp.span, "tcp")).or(udp.map(|udp| (udp.span, "udp")));
        let Some((span, key)) = other else {
            let apis = self.config.apis.iter().any(|(_, api)| api.is_on(name));
            if apis || !self.decoded("apis") {
                return;
            }
            if routes.span == Span::NOWHERE && self.decoded(path) {
                let hint =
                    "add `routes:` for HTTP, or `tcp:` or `udp:` to carry what comes as it is";
                self.error(name.span, path, "the listener serves nothing").hint(hint).done();
            } else if routes.is_empty() {
                let what = "the listener has no routes, every request gets 421";
                self.warning(name.span, path, what).hint("add some below `routes:`").done();
            }
            return;
        };
        if routes.span != Span::NOWHERE {
            self.error(span, format!("{path}.{key}"), format!("`{key}` excludes `routes`"))
                .note(routes.span, "routes for HTTP stand here")
                .hint("make two listeners of it, each with an address of its own")
                .done();
        }
        if let (Some(tcp), Some(udp)) = (tcp, udp) {
            self.error(udp.span, format!("{path}.udp"), "`udp` excludes `tcp`")
                .note(tcp.span, "it stands here")
                .hint("make two listeners of it: both may have the same address")
                .done();
        }
        if let Some(tcp) = tcp {
            self.tcp(tcp, listener, path);
        }
        if let Some(udp) = udp {
            self.udp(udp, listener, path);
        }
        self.http_only(name, listener, &key.to_uppercase(), path);
    }

    fn udp(&mut self, udp: &'a Spanned<Udp>, listener: &'a Listener, path: &str) {
        if let Some(tls) = &listener.tls {
            self.error(tls.span, format!("{path}.tls"), "TLS is not spoken over UDP")
                .hint("remove it; what is encrypted passes through as it is")
                .done();
        }
        for address in listener.address.iter() {
            if let ListenAddress::Unix(_) = address.value {
                let what = format!("`{address}` takes no datagrams");
                self.error(address.span, format!("{path}.address"), what)
                    .hint("write an IP address and a port such as `:53`")
                    .done();
            }
        }
        let path = format!("{path}.udp");
        self.relayed_to(&udp.forward, listener, &path);
        let (tls, announced) = match &udp.forward.value {
            Target::Address { tls, .. } => (*tls, None),
            Target::Pool(name) => {
                let pool = self.by_name.get(&**name);
                let announced = pool.and_then(|pool| pool.proxy_protocol.as_ref());
                (pool.is_some_and(|pool| pool.tls.on().is_some()), announced)
            }
        };
        let place = udp.forward.span;
        if tls {
            self.error(place, format!("{path}.forward"), "TLS is not spoken over UDP")
                .hint("make a pool without `tls` for it")
                .done();
        }
        if announced.is_some_and(|one| one.version.value == ProxyVersion::V1) {
            let what = "version 1 of the PROXY protocol knows no datagrams";
            self.error(place, format!("{path}.forward"), what)
                .hint("use `proxy-protocol: v2` in the pool")
                .done();
        }
    }

    fn tcp(&mut self, tcp: &'a Spanned<Tcp>, listener: &Listener, path: &str) {
        let path = format!("{path}.tcp");
        match (&tcp.forward, tcp.routes.iter().next()) {
            (None, None) if self.decoded(&path) => {
                self.error(tcp.span, &path, "nothing says where connections go")
                    .hint("add `forward:` with a pool or an address, or `routes:`")
                    .done();
            }
            (Some(forward), Some(route)) => {
                self.error(forward.span, format!("{path}.forward"), "`forward` excludes `routes`")
                    .note(route.span, "the first route stands here")
                    .hint("make it the last route, without `match`")
                    .done();
            }
            _ => {}
        }
        if let Some(forward) = &tcp.forward {
            self.relayed_to(forward, listener, &path);
        }
        let mut before: HashMap<Option<HostPattern>, Vec<(usize, &Spanned<TcpRoute>)>> =
            HashMap::new();
        for (index, route) in tcp.routes.numbered() {
            let path = format!("{path}.routes[{index}]");
            self.relayed_to(&route.forward, listener, &path);
            let matched = &route.r#match;
            if matched.tls == Some(false) && (matched.sni.is_some() || matched.alpn.is_some()) {
                let what = "it never matches: `tls: false` excludes `sni` and `alpn`";
                self.error(route.span, format!("{path}.match"), what)
                    .hint("remove `tls: false`, or what is asked for in TLS")
                    .done();
            }
            if listener.tls.is_some() && matched.tls == Some(false) {
                let what = "it never matches: every connection to this listener speaks TLS";
                self.error(route.span, format!("{path}.match.tls"), what)
                    .hint("remove the route, or the listener's `tls`")
                    .done();
            }
            let names: Vec<Option<HostPattern>> = match &matched.sni {
                Some(names) => names.iter().map(|name| Some(name.value.clone())).collect(),
                None => vec![None],
            };
            for name in names {
                let same = before.entry(name).or_default();
                let earlier = same.iter().find(|(_, earlier)| {
                    let earlier = &earlier.r#match;
                    (&earlier.alpn, &earlier.tls, &earlier.client)
                        == (&matched.alpn, &matched.tls, &matched.client)
                });
                match earlier {
                    Some((number, first)) => {
                        let what =
                            format!("the route is never reached, routes[{number}] comes first");
                        self.error(route.span, &path, what)
                            .note(first.span, "it matches the same connections")
                            .hint("remove one of them, or give this one a condition more")
                            .done();
                    }
                    None => same.push((index, route)),
                }
            }
        }
    }

    /// The pool exists, and it is not the listener itself.
    fn relayed_to(&mut self, to: &'a Spanned<Target>, listener: &Listener, path: &str) {
        match &to.value {
            Target::Pool(name) => {
                let pools = match self.split_of(name) {
                    Some(pools) => pools,
                    None => self.pool_of(name, to.span, path).into_iter().collect(),
                };
                for endpoint in pools.iter().flat_map(|pool| &pool.endpoints) {
                    self.relay_loops(&endpoint.address, to.span, listener, path);
                }
            }
            Target::Address { address, .. } => {
                self.relay_loops(address, to.span, listener, path);
            }
        }
    }

    /// P-17: what is carried tells nobody that it was here before.
    fn relay_loops(
        &mut self,
        endpoint: &EndpointAddress,
        place: Span,
        listener: &Listener,
        path: &str,
    ) {
        let own = listener.address.iter().find(|address| address.is_reached_by(endpoint));
        let Some(address) = own else { return };
        let what = format!(
            "`{endpoint}` is an address of this listener itself, `{address}`: connections would \
             come back for ever"
        );
        self.error(place, format!("{path}.forward"), what)
            .note(address.span, "it is listened on here")
            .hint("forward to where the program behind listens")
            .done();
    }

    /// Settings of HTTP, which nobody would look at.
    fn http_only(&mut self, name: &Spanned<Name>, listener: &Listener, carried: &str, path: &str) {
        let mut found = Vec::new();
        let mut note = |key: &str, written: bool| {
            if written {
                found.push(key.to_owned());
            }
        };
        note("trusted-proxies", !listener.trusted_proxies.is_empty());
        note("forwarded", listener.forwarded != ForwardedHeaders::default());
        note("request-id", listener.request_id != RequestId::default());
        note("http2", listener.http2 != Switch::On(Http2::default()));
        note("merge-slashes", !listener.merge_slashes);
        note("encoded-slashes", listener.encoded_slashes.span != Span::NOWHERE);
        note("error-pages", !listener.error_pages.is_empty());
        let (limits, limits_default) = (listener.limits.to_json(), Limits::default().to_json());
        for key in LIMITS {
            note(&format!("limits.{key}"), differs(&limits, &limits_default, key));
        }
        let (times, times_default) = (listener.timeouts.to_json(), Timeouts::default().to_json());
        for key in TIMEOUTS {
            note(&format!("timeouts.{key}"), differs(&times, &times_default, key));
        }
        for key in found {
            let what = format!("`{key}` is for HTTP, and this listener carries {carried}");
            let hint = match &*key {
                "timeouts.tunnel-idle" | "timeouts.keep-alive" => "use `idle` of what is carried",
                _ => "remove it",
            };
            self.error(name.span, format!("{path}.{key}"), what).hint(hint).done();
        }
    }

    /// What a pool tells its endpoints of clients.
    pub(super) fn bound(&mut self, pool: &Pool, path: &str) {
        if pool.is_bound_to_clients() && pool.http.value == UpstreamHttp::Http2 {
            let what = "HTTP/2 shares connections, and here each client has its own";
            self.error(pool.http.span, format!("{path}.http"), what)
                .hint("use `http: 1.1`, or tell of clients by header fields alone")
                .done();
        }
        if let Some(announced) = &pool.proxy_protocol {
            self.announced(announced, &format!("{path}.proxy-protocol"));
        }
    }

    fn announced(&mut self, written: &SendProxyProtocol, path: &str) {
        if written.version.value == ProxyVersion::V1 && !written.tlvs.is_empty() {
            let word = written.tlvs.first().map_or("", |fact| ProxyFact::word(*fact));
            let what = format!("version 1 has no room for {}", quote(word));
            self.error(written.version.span, format!("{path}.tlvs"), what)
                .hint("use `version: v2`")
                .done();
        }
    }
}

fn differs(written: &Json, default: &Json, key: &str) -> bool {
    written.get(key) != default.get(key)
}
