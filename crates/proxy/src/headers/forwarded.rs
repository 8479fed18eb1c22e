//! For whom we speak: who the client is, and what the endpoint is told about it.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::exchange::Exchange;
use crate::fields::{Fields, Known, KnownSet, list};
use crate::headers::hop::ORDERS_TO_SERVERS;
use crate::message::Version;

/// Which fields tell the endpoint about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedStyle {
    /// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`. Default: on.
    pub x_forwarded: bool,
    /// RFC 7239 `Forwarded`. Default: off.
    pub forwarded: bool,
    /// `Via` on requests and responses. Default: off.
    pub via: bool,
}

impl Default for ForwardedStyle {
    fn default() -> Self {
        ForwardedStyle { x_forwarded: true, forwarded: false, via: false }
    }
}

/// Our name in `Via`; no version.
pub const PSEUDONYM: &str = "transom";

/// An address in one form: IPv4 written as IPv6 is IPv4.
pub fn unmapped(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

pub fn is_trusted(trusted: &[IpNet], ip: IpAddr) -> bool {
    trusted.iter().any(|net| net.contains(&ip))
}

/// The client itself: the peer, or, behind trusted proxies, the address furthest to the right of
/// `X-Forwarded-For` (or `Forwarded`) that is not one of theirs. What cannot be read ends the walk
/// there (P-12).
pub fn client(peer: SocketAddr, fields: &Fields, trusted: &[IpNet]) -> IpAddr {
    let peer = unmapped(peer.ip());
    if trusted.is_empty() || !is_trusted(trusted, peer) {
        return peer;
    }
    let mut hops: Vec<Option<IpAddr>> = fields
        .all(Known::XForwardedFor)
        .flat_map(|value| value.split(|b| *b == b','))
        .map(|hop| address(hop.trim_ascii()))
        .collect();
    if hops.is_empty() {
        let elements = fields.all(Known::Forwarded).flat_map(|value| parts(value, b','));
        hops = elements.map(forwarded_for).collect();
    }
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        let Some(ip) = hop else { break };
        client = ip;
        if !is_trusted(trusted, ip) {
            break;
        }
    }
    client
}

/// An address with or without port and brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(unmapped(ip));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inner.parse().ok().map(|ip| unmapped(IpAddr::V6(ip)));
    }
    text.parse::<SocketAddr>().ok().map(|a| unmapped(a.ip()))
}

/// The parts between separators that stand outside of quotes, without the empty ones. Where a quote is
/// never closed there are none: then what a proxy has added behind it is still found.
fn parts(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let outside = |b: &u8| {
        match b {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        !quoted && *b == separator
    };
    let mut parts: Vec<&[u8]> = text.split(outside).collect();
    if quoted {
        parts = text.split(|b| *b == separator).collect();
    }
    parts.retain(|part| !part.trim_ascii().is_empty());
    parts
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    parts(element, b';').into_iter().find_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        if !pair[..at].trim_ascii().eq_ignore_ascii_case(b"for") {
            return None;
        }
        let value = pair[at + 1..].trim_ascii();
        address(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// Takes off what the request line and the connection say already, what servers behind would
/// take as an order, and what a peer that is not trusted claims about the client. So no policy
/// ever sees a claim that is not true.
pub fn scrub(trusted: bool, fields: &mut Fields) {
    const SAID: KnownSet = KnownSet::of(&[Known::Host, Known::ContentLength, Known::Expect]);
    const ALWAYS: KnownSet = SAID.and(ORDERS_TO_SERVERS);
    fields.remove_all(if trusted { ALWAYS } else { ALWAYS.and(CLAIMS) });
}

/// Whether this peer is believed when it says for whom it speaks.
pub fn speaks_for_others(trusted: &[IpNet], peer: IpAddr) -> bool {
    !trusted.is_empty() && is_trusted(trusted, unmapped(peer))
}

/// Makes the fields say what we know about the client and the way.
pub fn apply(exchange: &Exchange, fields: &mut Fields) {
    let style = &exchange.site.forwarded;
    let peer = unmapped(exchange.peer.ip());
    let trusted = speaks_for_others(&exchange.site.trusted, peer);
    let mut text = Vec::new();
    if style.x_forwarded {
        x_forwarded(exchange, fields, trusted, &mut text);
    } else if trusted {
        fields.remove_all(CLAIMS.without(KnownSet::of(&[Known::Forwarded])));
    }
    if style.forwarded {
        text.clear();
        before(fields, Known::Forwarded, &mut text);
        let quote = if peer.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
        let _ = write!(
            text,
            "for={}{peer}{};host=\"{}\";proto={}",
            quote.0, quote.1, exchange.asked.authority, exchange.asked.scheme
        );
        fields.set(Known::Forwarded, &text);
    } else if trusted {
        fields.remove(Known::Forwarded);
    }
    if style.via {
        add_via(exchange.asked.version, fields);
    }
}

fn x_forwarded(exchange: &Exchange, fields: &mut Fields, trusted: bool, text: &mut Vec<u8>) {
    let peer = exchange.peer.text();
    let port = exchange.peer.local_port_text();
    let asked = &exchange.asked;
    if !trusted {
        // What others claimed is gone already: ours are the only ones.
        fields.append_clean(Known::XForwardedFor, peer.as_bytes());
        fields.append_clean(Known::XForwardedProto, asked.scheme.as_bytes());
        fields.append_clean(Known::XForwardedHost, asked.authority.as_bytes());
        fields.append_clean(Known::XForwardedPort, port.as_bytes());
        return;
    }
    before(fields, Known::XForwardedFor, text);
    text.extend_from_slice(peer.as_bytes());
    fields.set(Known::XForwardedFor, text);
    for (name, value) in [
        (Known::XForwardedProto, asked.scheme),
        (Known::XForwardedHost, &*asked.authority),
        (Known::XForwardedPort, port),
    ] {
        if !fields.has(name) {
            fields.append(name, value.as_bytes());
        }
    }
}

/// What a trusted proxy said already, with a comma behind it.
fn before(fields: &Fields, name: Known, text: &mut Vec<u8>) {
    for value in fields.all(name) {
        text.extend_from_slice(value);
        text.extend_from_slice(b", ");
    }
}

/// What says for whom somebody speaks.
const CLAIMS: KnownSet = KnownSet::of(&[
    Known::Forwarded,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XForwardedPrefix,
    Known::XForwardedProto,
    Known::XRealIp,
]);

/// RFC 9110 §7.6.3.
pub fn add_via(received: Version, fields: &mut Fields) {
    let mut text = Vec::new();
    before(fields, Known::Via, &mut text);
    let _ = write!(text, "{} {PSEUDONYM}", received.as_str());
    fields.set(Known::Via, &text);
}

/// The request has passed through us twice already (P-17).
pub fn is_loop(fields: &Fields) -> bool {
    let ours = |member: &[u8]| {
        member
            .split(|b| *b == b' ')
            .nth(1)
            .is_some_and(|by| by.eq_ignore_ascii_case(PSEUDONYM.as_bytes()))
    };
    fields.all(Known::Via).flat_map(list).filter(|member| ours(member)).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_the_client_is_the_rightmost_that_is_not_trusted() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (peer, lines, expected) in [
            ("192.0.2.9:1", &[("X-Forwarded-For", "1.2.3.4")][..], "192.0.2.9"),
            ("10.0.0.1:1", &[("X-Forwarded-For", "1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1:1", &[("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.2")], "1.2.3.4"),
            (
                "10.0.0.1:1",
                &[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "1.2.3.4")],
                "1.2.3.4",
            ),
            ("10.0.0.1:1", &[("X-Forwarded-For", "6.6.6.6, garbage")], "10.0.0.1"),
            ("10.0.0.1:1", &[("X-Forwarded-For", "6.6.6.6, garbage, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1:1", &[("X-Forwarded-For", "[2001:db8::1]:80")], "2001:db8::1"),
            ("10.0.0.1:1", &[("X-Forwarded-For", "::ffff:1.2.3.4")], "1.2.3.4"),
            ("[::ffff:10.0.0.1]:1", &[("X-Forwarded-For", "1.2.3.4:99")], "1.2.3.4"),
            (
                "10.0.0.1:1",
                &[("Forwarded", "for=9.9.9.9;proto=http, For=\"[2001:db8::7]:4\"")],
                "2001:db8::7",
            ),
            ("10.0.0.1:1", &[("Forwarded", "for=_hidden")], "10.0.0.1"),
            // what stands in quotes is what a client has said of itself, and no parameter
            ("10.0.0.1:1", &[("Forwarded", "host=\"a;for=6.6.6.6;\";for=1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1:1", &[("Forwarded", "host=\"a, for=6.6.6.6\";for=1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1:1", &[("Forwarded", "host=\"\\\";for=6.6.6.6\";for=1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1:1", &[("Forwarded", "for=\"6.6.6.6, for=1.2.3.4")], "1.2.3.4"),
            ("10.0.0.1:1", &[("Forwarded", "for=\"\\, for=1.2.3.4;host=\"b\"")], "1.2.3.4"),
            ("10.0.0.1:1", &[("Forwarded", "for=1.2.3.4, , ")], "1.2.3.4"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
        ] {
            let mut fields = Fields::new();
            for (name, value) in lines {
                fields.append(*name, value.as_bytes());
            }
            let got = client(peer.parse().unwrap(), &fields, &trusted);
            assert_eq!(got.to_string(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn p17_two_passes_are_a_loop() {
        for (via, expected) in [("1.1 transom", false), ("1.1 transom, 1.1 a, 1.0 Transom", true)] {
            let mut fields = Fields::new();
            fields.append(Known::Via, via.as_bytes());
            assert_eq!(is_loop(&fields), expected);
        }
    }
}
