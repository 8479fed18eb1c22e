//! Hides where the servers behind stand. What they are made of goes with the hop-by-hop fields.

use crate::destination::Endpoint;
use crate::exchange::Exchange;
use crate::fields::{Fields, Known};

/// Writes our own address where the endpoint wrote its own: in `Location`, `Content-Location`
/// stays as it is, and in the `Domain` of cookies.
pub fn addresses(exchange: &Exchange, endpoint: &Endpoint, fields: &mut Fields) {
    if let Some(location) = fields.get(Known::Location)
        && let Some(ours) = our_location(exchange, endpoint, location)
    {
        fields.set(Known::Location, &ours);
    }
    if fields.all(Known::SetCookie).any(|cookie| domain(cookie).is_some_and(|d| is_of(endpoint, d)))
    {
        let cookies: Vec<Vec<u8>> = fields
            .all(Known::SetCookie)
            .map(|cookie| match domain(cookie) {
                Some(d) if is_of(endpoint, d) => without_domain(cookie),
                _ => cookie.to_vec(),
            })
            .collect();
        fields.remove(Known::SetCookie);
        for cookie in cookies {
            fields.append(Known::SetCookie, &cookie);
        }
    }
}

/// `http://10.0.0.1:8080/x` becomes `https://shop.example/x`; anything else stays.
fn our_location(exchange: &Exchange, endpoint: &Endpoint, location: &[u8]) -> Option<Vec<u8>> {
    let rest = location.strip_prefix(b"http://").or_else(|| location.strip_prefix(b"https://"))?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let own = authority.eq_ignore_ascii_case(endpoint.authority.as_bytes())
        || authority.eq_ignore_ascii_case(endpoint.target.address.to_string().as_bytes())
        || authority.eq_ignore_ascii_case(exchange.asked.authority.as_bytes());
    own.then(|| {
        let asked = &exchange.asked;
        [asked.scheme.as_bytes(), b"://", asked.authority.as_bytes(), path].concat()
    })
}

/// The value of the `Domain` attribute.
fn domain(cookie: &[u8]) -> Option<&[u8]> {
    cookie.split(|b| *b == b';').skip(1).find_map(|part| {
        let at = part.iter().position(|b| *b == b'=')?;
        let is_domain = part[..at].trim_ascii().eq_ignore_ascii_case(b"domain");
        is_domain.then(|| part[at + 1..].trim_ascii())
    })
}

fn is_of(endpoint: &Endpoint, domain: &[u8]) -> bool {
    let host = endpoint.authority.rsplit_once(':').map_or(&*endpoint.authority, |(host, _)| host);
    domain.strip_prefix(b".").unwrap_or(domain).eq_ignore_ascii_case(host.as_bytes())
}

/// Without `Domain` a cookie belongs to the host that was asked, which is ours.
fn without_domain(cookie: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = cookie
        .split(|b| *b == b';')
        .filter(|part| {
            let name = part.split(|b| *b == b'=').next().unwrap_or(part);
            !name.trim_ascii().eq_ignore_ascii_case(b"domain")
        })
        .collect();
    parts.join(&b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_lose_only_their_domain() {
        let cookie = b"a=b; Path=/; Domain=.orders.internal; Secure";
        assert_eq!(domain(cookie), Some(&b".orders.internal"[..]));
        assert_eq!(without_domain(cookie), b"a=b; Path=/; Secure");
        assert_eq!(domain(b"domain=x; Path=/"), None);
    }
}
