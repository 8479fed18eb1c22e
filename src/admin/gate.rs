//! Who may ask what.
//!
//! The permissions of the Unix socket are its guard; a request that was forwarded to it is refused,
//! because then somebody else asks (M-04). The address is guarded by a token, and against pages in
//! a browser on this machine: by the name they asked for, which a rebound name of theirs is not
//! (M-03), and by the origin they come from (M-02). Health and readiness need no token.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Control;
use super::trail::Trail;

/// How long a wrong token is kept waiting, so that trying takes for ever with few connections.
const DELAY: Duration = Duration::from_millis(100);

pub(super) struct Gate(Option<Guard>);

struct Guard {
    port: u16,
    token: Box<str>,
}

/// Who has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Operator,
    /// An endpoint, by the token with which it may register itself.
    Endpoint,
}

/// Why a request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Foreign(&'static str),
    NoToken,
    WrongToken,
}

impl Gate {
    pub(super) fn socket() -> Self {
        Gate(None)
    }

    pub(super) fn address(address: SocketAddr, token: Box<str>) -> Self {
        Gate(Some(Guard { port: address.port(), token }))
    }

    pub(super) async fn pass(
        &self,
        control: &dyn Control,
        mut request: Request,
        next: Next,
    ) -> Response {
        let own = |path: &str| registering(control, path);
        match self.check(request.method(), request.uri().path(), request.headers(), own) {
            Ok(who) => {
                request.extensions_mut().insert(who);
                let mut trail = Trail::of(&request, self.way());
                let response = next.run(request).await;
                if let Some(trail) = &mut trail {
                    trail.answered(response.status());
                }
                response
            }
            Err(refused) => {
                if refused == Refused::WrongToken {
                    tokio::time::sleep(DELAY).await;
                }
                refused.into_response()
            }
        }
    }

    /// By which way who passes it has come.
    fn way(&self) -> &'static str {
        if self.0.is_some() { "address" } else { "socket" }
    }

    /// `own` gives the token that opens one path and nothing else.
    fn check(
        &self,
        method: &Method,
        path: &str,
        fields: &HeaderMap,
        own: impl Fn(&str) -> Option<Arc<str>>,
    ) -> Result<Who, Refused> {
        let Some(guard) = &self.0 else { return direct(fields).map(|()| Who::Operator) };
        guard.check_host(fields)?;
        guard.check_origin(fields)?;
        if method == Method::GET && matches!(path, "/healthz" | "/readyz") {
            return Ok(Who::Operator);
        }
        let given = given(fields).ok_or(Refused::NoToken)?;
        let is_right = |right: &str| same(given.as_bytes(), right.as_bytes());
        if is_right(&guard.token) {
            return Ok(Who::Operator);
        }
        match own(path).is_some_and(|own| is_right(&own)) {
            true => Ok(Who::Endpoint),
            false => Err(Refused::WrongToken),
        }
    }
}

/// The token by which an endpoint may register itself, where this path is for that.
fn registering(control: &dyn Control, path: &str) -> Option<Arc<str>> {
    let (pool, _) = path.strip_prefix("/pools/")?.split_once("/registrations/")?;
    control.rosters().get(pool)?.registrations.as_ref()?.token()
}

/// The token that a request shows.
fn given(fields: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(fields, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

/// On the Unix socket: nobody speaks for another.
fn direct(fields: &HeaderMap) -> Result<(), Refused> {
    const SPOKEN_FOR: [HeaderName; 4] = [
        header::FORWARDED,
        header::ORIGIN,
        header::VIA,
        HeaderName::from_static("x-forwarded-for"),
    ];
    if SPOKEN_FOR.iter().any(|name| fields.contains_key(name)) {
        return Err(Refused::Foreign("the request was forwarded from elsewhere"));
    }
    Ok(())
}

impl Guard {
    fn check_host(&self, fields: &HeaderMap) -> Result<(), Refused> {
        let host = only(fields, header::HOST).unwrap_or_default();
        if self.is_own(host) {
            return Ok(());
        }
        Err(Refused::Foreign("Host is not an address of this machine with the admin port"))
    }

    fn check_origin(&self, fields: &HeaderMap) -> Result<(), Refused> {
        if fields.contains_key(header::ORIGIN) {
            let origin = only(fields, header::ORIGIN).unwrap_or_default();
            if !origin.strip_prefix("http://").is_some_and(|host| self.is_own(host)) {
                return Err(Refused::Foreign("a page of another origin asks"));
            }
        }
        let site = HeaderName::from_static("sec-fetch-site");
        if fields.contains_key(&site) && !matches!(only(fields, site), Some("same-origin" | "none"))
        {
            return Err(Refused::Foreign("a page of another site asks"));
        }
        Ok(())
    }

    /// `127.0.0.1`, `[::1]` or `localhost` with our port: no name that a stranger could bind to us.
    fn is_own(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_loopback = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let named = match literal {
            Some(v6) => v6.contains(':') && is_loopback(v6),
            None => !name.contains(':') && is_loopback(name),
        };
        port == Some(self.port) && (named || name.eq_ignore_ascii_case("localhost"))
    }
}

/// The value of a field that stands once.
fn only(fields: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = fields.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether two secrets are the same, in a time that tells at most the length of the right one.
fn same(given: &[u8], right: &[u8]) -> bool {
    let mut difference = given.len() ^ right.len();
    for (i, byte) in right.iter().enumerate() {
        let other = given.get(i).copied().unwrap_or(!byte);
        difference |= usize::from(black_box(byte ^ other));
    }
    black_box(difference) == 0
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"transom admin\"")];
        match self {
            Refused::Foreign(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
            Refused::NoToken => {
                let sentence = "a token is needed: `Authorization: Bearer TOKEN`\n";
                (StatusCode::UNAUTHORIZED, challenge, sentence).into_response()
            }
            Refused::WrongToken => {
                (StatusCode::UNAUTHORIZED, challenge, "the token is wrong\n").into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_the_same_only_where_they_are() {
        for (given, right, expected) in [
            ("abc", "abc", true),
            ("abd", "abc", false),
            ("ab", "abc", false),
            ("abcd", "abc", false),
            ("", "abc", false),
        ] {
            assert_eq!(same(given.as_bytes(), right.as_bytes()), expected);
        }
    }

    #[test]
    fn m04_what_was_forwarded_to_the_socket_is_refused() {
        for (name, expected) in [
            ("x-forwarded-for", false),
            ("forwarded", false),
            ("via", false),
            ("origin", false),
            ("accept", true),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(HeaderName::from_static(name), "x".parse().unwrap());
            let passed = Gate::socket().check(&Method::GET, "/metrics", &fields, |_| None).is_ok();
            assert_eq!(passed, expected, "{name}");
        }
    }

    #[test]
    fn only_names_of_this_machine_with_the_port_are_own() {
        let guard = Guard { port: 9000, token: "".into() };
        for (host, expected) in [
            ("127.0.0.1:9000", true),
            ("127.9.9.9:9000", true),
            ("[::1]:9000", true),
            ("::1:9000", false),
            ("[127.0.0.1]:9000", false),
            ("[::1]", false),
            ("localhost", false),
            ("localhost:09000", true),
            ("localhost:9000:9000", false),
            ("", false),
            (":9000", false),
        ] {
            assert_eq!(guard.is_own(host), expected, "{host}");
        }
        assert!(Guard { port: 80, token: "".into() }.is_own("[::1]"));
    }

    #[test]
    fn who_registers_has_a_token_of_its_own_that_opens_nothing_else() {
        let gate = Gate::address(([127, 0, 0, 1], 9000).into(), "operator".into());
        let own = |path: &str| path.ends_with("/registrations/a:1").then(|| Arc::from("endpoint"));
        let open = |path: &str, token: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(header::HOST, "localhost:9000".parse().unwrap());
            fields.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
            gate.check(&Method::PUT, path, &fields, own).is_ok()
        };
        let place = "/pools/shop/registrations/a:1";
        assert!(open(place, "endpoint") && open(place, "operator"));
        assert!(!open("/stop", "endpoint") && !open("/pools/shop/members", "endpoint"));
        assert!(!open(place, "") && !open(place, "other"));
    }
}
