//! Fields that are meant for one connection only (RFC 9110 §7.6.1).

use crate::fault::{Code, Fault};
use crate::fields::{Fields, Known, KnownSet, Name, Values, list};
use crate::message::Upgrade;

/// What a message said about its own connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: Option<Upgrade>,
    /// The sender takes trailers.
    pub trailers: bool,
}

/// Takes the hop-by-hop fields off a request and says what they meant.
///
/// Names listed in `Connection` go too, but never one that framing, routing, forwarding or
/// identity hangs on: nominating `Host` or a framing field is an attack (H1-47) and refused, the
/// others keep their place.
///
/// # Errors
/// A nominated `Host`, `Content-Length` or `Transfer-Encoding`.
pub fn take_off_request(fields: &mut Fields) -> Result<Hop, Fault> {
    let mut hop = Hop::default();
    if !fields.may_have_any(HOP_BY_HOP) {
        return Ok(hop);
    }
    for token in fields.all(Known::Connection).flat_map(list) {
        match Name::of(token) {
            Name::Known(Known::Host | Known::ContentLength | Known::TransferEncoding) => {
                let detail = "Connection names a field that is not for one hop";
                return Err(Fault::new(Code::BadRequest, detail).closing());
            }
            _ if token.eq_ignore_ascii_case(b"close") => hop.close = true,
            _ if token.eq_ignore_ascii_case(b"keep-alive") => hop.keep_alive = true,
            _ => {}
        }
    }
    hop.upgrade = upgrade(fields);
    hop.trailers =
        matches!(fields.only(Known::Te), Values::One(te) if te.eq_ignore_ascii_case(b"trailers"));
    take_off(fields);
    Ok(hop)
}

/// Takes the hop-by-hop fields off a response, and with them those that name the server's
/// software; both in one pass, as every response has some.
pub fn take_off_response(fields: &mut Fields) {
    if names_others(fields) {
        return take_off(fields);
    }
    fields.remove_all(NOT_PASSED);
}

/// Whether `Connection` names more than the connection's own options.
fn names_others(fields: &Fields) -> bool {
    fields.all(Known::Connection).flat_map(list).any(|token| {
        ![&b"close"[..], b"keep-alive", b"upgrade"]
            .iter()
            .any(|own| token.eq_ignore_ascii_case(own))
    })
}

fn take_off(fields: &mut Fields) {
    let nominated: Vec<Vec<u8>> = fields
        .all(Known::Connection)
        .flat_map(list)
        .filter(|token| may_be_nominated(token))
        .map(<[u8]>::to_vec)
        .collect();
    fields.remove_all(NOT_PASSED);
    if !nominated.is_empty() {
        fields.retain(|field| !nominated.iter().any(|name| field.name.eq_ignore_ascii_case(name)));
    }
}

/// RFC 9110 §7.8 and RFC 6455 §4.1: only `websocket`, only when asked for in both fields.
fn upgrade(fields: &Fields) -> Option<Upgrade> {
    let Values::One(token) = fields.only(Known::Upgrade) else { return None };
    let asked = fields
        .all(Known::Connection)
        .flat_map(list)
        .any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    (asked && token.eq_ignore_ascii_case(b"websocket")).then_some(Upgrade::WebSocket)
}

fn may_be_nominated(token: &[u8]) -> bool {
    !matches!(
        Known::of(token),
        Some(
            Known::Authorization
                | Known::Cookie
                | Known::Forwarded
                | Known::Host
                | Known::SetCookie
                | Known::Via
                | Known::XForwardedFor
                | Known::XForwardedHost
                | Known::XForwardedPort
                | Known::XForwardedPrefix
                | Known::XForwardedProto
                | Known::XRealIp
                | Known::XRequestId
        )
    )
}

const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::Http2Settings,
    Known::KeepAlive,
    Known::ProxyAuthenticate,
    Known::ProxyAuthorization,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
]);

const SOFTWARE: KnownSet = KnownSet::of(&[Known::Server, Known::XPoweredBy, Known::XAspNetVersion]);

const NOT_PASSED: KnownSet = HOP_BY_HOP.and(SOFTWARE);

/// What is never forwarded because a server behind would read it as an order or an identity that
/// only the gateway may give: httpoxy (H1-48), method override (P-16), other names for the path
/// (P-08) and for the client's address (P-12).
pub const ORDERS_TO_SERVERS: KnownSet = KnownSet::of(&[
    Known::CfConnectingIp,
    Known::Proxy,
    Known::TrueClientIp,
    Known::XClientIp,
    Known::XForwardedScheme,
    Known::XForwardedServer,
    Known::XForwardedSsl,
    Known::XForwardedUri,
    Known::XHttpMethod,
    Known::XHttpMethodOverride,
    Known::XMethodOverride,
    Known::XOriginalUrl,
    Known::XRewriteUrl,
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value.as_bytes());
        }
        fields
    }

    fn left(lines: &[(&str, &str)]) -> String {
        let mut fields = fields(lines);
        take_off_request(&mut fields).unwrap();
        fields.iter().map(|f| format!("{f:?};")).collect()
    }

    #[test]
    fn h1_47_what_is_nominated_goes_but_nothing_that_others_hang_on() {
        assert_eq!(left(&[("Connection", "close, X-Mine"), ("x-mine", "1"), ("a", "b")]), "a: b;");
        assert_eq!(
            left(&[("connection", "X-Forwarded-For, Authorization, Cookie"), ("Cookie", "c")]),
            "Cookie: c;"
        );
        for name in ["Content-Length", "Transfer-Encoding", "HOST"] {
            assert!(take_off_request(&mut fields(&[("Connection", name)])).is_err());
        }
    }

    #[test]
    fn h1_48_fields_for_one_hop_go() {
        let lines = [
            ("Proxy-Connection", "keep-alive"),
            ("Keep-Alive", "5"),
            ("TE", "gzip"),
            ("Proxy-Authorization", "x"),
            ("Accept", "*/*"),
        ];
        assert_eq!(left(&lines), "Accept: */*;");
    }

    #[test]
    fn te_counts_only_as_exactly_trailers() {
        for (value, expected) in [("trailers", true), ("trailers;q=0.5", false), ("gzip", false)] {
            let hop = take_off_request(&mut fields(&[("TE", value)])).unwrap();
            assert_eq!(hop.trailers, expected, "{value}");
        }
    }

    #[test]
    fn h1_30_31_only_a_whole_websocket_upgrade_counts() {
        for (lines, expected) in [
            (&[("Connection", "Upgrade"), ("Upgrade", "websocket")][..], Some(Upgrade::WebSocket)),
            (
                &[
                    ("Connection", "Upgrade, HTTP2-Settings"),
                    ("Upgrade", "h2c"),
                    ("HTTP2-Settings", "x"),
                ],
                None,
            ),
            (&[("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")], None),
            (&[("Connection", "Upgrade")], None),
            (&[("Upgrade", "websocket")], None),
            (
                &[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Upgrade", "websocket")],
                None,
            ),
        ] {
            let mut fields = fields(lines);
            assert_eq!(take_off_request(&mut fields).unwrap().upgrade, expected, "{lines:?}");
            assert!(fields.is_empty());
        }
    }
}
