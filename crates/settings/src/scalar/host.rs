//! Host names and patterns of them.

use std::fmt;
use std::net::Ipv6Addr;

use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// Which hosts a route answers for: one name, all names below one (`*.example.com`), or any (`*`).
///
/// In lower case, without the dot that may end a name. `*.example.com` stands for one or more
/// labels before `example.com`, not for `example.com` itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    Any,
    Exact(String),
    /// What follows the star and its dot.
    Wildcard(String),
}

impl HostPattern {
    /// Whether a canonical host (lower case, no port, no dot at the end) is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(name) => name == host,
            HostPattern::Wildcard(suffix) => below(host, suffix),
        }
    }

    /// Whether every host of the other pattern is one of this.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Any, _) => true,
            (_, HostPattern::Any) => false,
            (pattern, HostPattern::Exact(name)) => pattern.matches(name),
            (HostPattern::Exact(_), HostPattern::Wildcard(_)) => false,
            (HostPattern::Wildcard(suffix), HostPattern::Wildcard(other)) => {
                suffix == other || below(other, suffix)
            }
        }
    }

    /// A host that this pattern means.
    pub fn example(&self) -> String {
        match self {
            HostPattern::Any => "any.example".to_owned(),
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Wildcard(suffix) => format!("any.{suffix}"),
        }
    }
}

fn below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix)
        .and_then(|labels| labels.strip_suffix('.'))
        .is_some_and(|labels| !labels.is_empty())
}

/// A host name or address in its canonical form: lower case, no dot at the end.
pub fn host_name(text: &str) -> Result<String, Refusal> {
    let refuse =
        |why: String| Err(Refusal::new(format!("{} is not a host name: {why}", quote(text))));
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(address) => Ok(format!("[{address}]")),
            Err(_) => refuse("what stands in `[ ]` is not an IPv6 address".into()),
        };
    }
    if name.is_empty() {
        return refuse("it is empty".into());
    }
    if let Some((_, rest)) = name.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        let refusal = Refusal::new(format!("{} is not a host name: it is a URL", quote(text)));
        return Err(refusal.hint(format!("write `{host}`")));
    }
    if let Some((host, port)) = name.rsplit_once(':')
        && !port.is_empty()
        && port.bytes().all(|c| c.is_ascii_digit())
        && !host.contains(':')
    {
        let refusal = Refusal::new(format!("{} is not a host name: it has a port", quote(text)));
        return Err(refusal.hint(format!("write `{host}`, the listener decides the port")));
    }
    if !name.is_ascii() {
        let refusal = Refusal::new(format!("{} is not a host name: it is not ASCII", quote(text)));
        return Err(refusal.hint("write international names as they are sent, with `xn--`"));
    }
    if let Some(c) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.')) {
        return refuse(format!("{} cannot stand in it", quote(&c.to_string())));
    }
    if name.len() > 253 {
        return refuse("it is longer than 253 letters".into());
    }
    for label in name.split('.') {
        if label.is_empty() {
            return refuse("a part between dots is empty".into());
        }
        if label.len() > 63 {
            return refuse("a part is longer than 63 letters".into());
        }
        if label.starts_with('-') || label.ends_with('-') {
            return refuse("a part begins or ends with `-`".into());
        }
    }
    // a name whose last part is a number would be read as an address by some (WHATWG URL §3.5)
    let last = name.rsplit('.').next().unwrap_or("");
    let number = match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|c| c.is_ascii_hexdigit()),
        None => last.bytes().all(|c| c.is_ascii_digit()),
    };
    if number && name.parse::<std::net::Ipv4Addr>().is_err() {
        return refuse("it ends in a number but is no IPv4 address".into());
    }
    Ok(name)
}

impl FromText for HostPattern {
    const WHAT: &'static str = "a host such as `example.com`, `*.example.com` or `*`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        match text.strip_prefix("*.") {
            Some(suffix) => Ok(HostPattern::Wildcard(host_name(suffix)?)),
            None if text.contains('*') => {
                let what = format!("{} is not a host pattern", quote(text));
                Err(Refusal::new(what).hint("a `*` stands alone or as the whole first part"))
            }
            None => host_name(text).map(HostPattern::Exact),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "examples": ["example.com", "*.example.com", "*"] })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        crate::scalar::check::<HostPattern>(&[
            ("Shop.Example.", Ok("shop.example")),
            ("*.Example.com", Ok("*.example.com")),
            ("*", Ok("*")),
            ("192.0.2.1", Ok("192.0.2.1")),
            ("[2001:DB8::1]", Ok("[2001:db8::1]")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("a_b.example", Ok("a_b.example")),
            ("http://a", Err("`http://a` is not a host name: it is a URL")),
            ("shop.example:443", Err("`shop.example:443` is not a host name: it has a port")),
            ("a*.example", Err("`a*.example` is not a host pattern")),
            ("*.*.example", Err("`*.example` is not a host name: `*` cannot stand in it")),
            ("a..b", Err("`a..b` is not a host name: a part between dots is empty")),
            ("-a.b", Err("`-a.b` is not a host name: a part begins or ends with `-`")),
            ("bücher.example", Err("`bücher.example` is not a host name: it is not ASCII")),
            ("a/b", Err("`a/b` is not a host name: `/` cannot stand in it")),
            (
                "1.2.3.400",
                Err("`1.2.3.400` is not a host name: it ends in a number but is no IPv4 address"),
            ),
            (
                "a.0x7F",
                Err("`a.0x7F` is not a host name: it ends in a number but is no IPv4 address"),
            ),
            ("", Err("`` is not a host name: it is empty")),
            ("[::1", Err("`[::1` is not a host name: `[` cannot stand in it")),
        ]);
    }

    #[test]
    fn matching_and_covering() {
        let pattern = |text| HostPattern::from_text(text).unwrap();
        let wild = pattern("*.example.com");
        assert!(wild.matches("a.example.com") && wild.matches("a.b.example.com"));
        assert!(!wild.matches("example.com") && !wild.matches("xexample.com"));
        assert!(!wild.matches(".example.com"));
        assert!(wild.covers(&pattern("*.a.example.com")) && wild.covers(&pattern("b.example.com")));
        assert!(!pattern("*.a.example.com").covers(&wild));
        assert!(pattern("*").covers(&wild) && !wild.covers(&pattern("*")));
    }
}
