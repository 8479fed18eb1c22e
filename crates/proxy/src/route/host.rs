//! Which table of paths serves a host: by hash, so that ten hosts cost what ten thousand cost.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use crate::normalize::{self, HostError};

/// The hosts a route serves. Ports play no part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    Any,
    /// One host, in the form [`normalize::host`] gives.
    Exact(String),
    /// `*.suffix`: every host with one label or more in front of the suffix, but not the suffix
    /// alone.
    Wildcard(String),
}

/// Why a text names no hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostMatchError {
    #[error("`*` may only stand alone or as the first label, as in `*.example.com`")]
    Asterisk,
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("a route is matched on the name of a host, not on its port")]
    Port,
    #[error("`*.` stands before a name, not before an address")]
    WildcardAddress,
}

impl HostMatch {
    /// Reads `example.com`, `*.example.com` or `*`.
    pub fn parse(text: &str) -> Result<Self, HostMatchError> {
        if text == "*" {
            return Ok(HostMatch::Any);
        }
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(HostMatchError::Asterisk);
        }
        let host = normalize::host(name.as_bytes())?;
        if host.port.is_some() {
            return Err(HostMatchError::Port);
        }
        let name = host.name.into_owned();
        match wildcard {
            false => Ok(HostMatch::Exact(name)),
            true if name.ends_with(']') || name.parse::<std::net::Ipv4Addr>().is_ok() => {
                Err(HostMatchError::WildcardAddress)
            }
            true => Ok(HostMatch::Wildcard(name)),
        }
    }

    /// The slow and obvious reading, for `explain`.
    pub(super) fn matches(&self, host: &str) -> bool {
        match self {
            HostMatch::Any => true,
            HostMatch::Exact(name) => name == host,
            HostMatch::Wildcard(suffix) => {
                host.strip_suffix(suffix.as_str()).is_some_and(|front| {
                    // Nothing is in front of `.example.com`, which is no host anyway.
                    front.len() > 1 && front.ends_with('.')
                })
            }
        }
    }

    /// Less is tried first.
    pub(super) fn rank(&self) -> HostRank {
        match self {
            HostMatch::Exact(_) => HostRank::Exact,
            HostMatch::Wildcard(suffix) => HostRank::Wildcard(Reverse(suffix.len())),
            HostMatch::Any => HostRank::Any,
        }
    }
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostMatch::Any => f.write_str("*"),
            HostMatch::Exact(name) => f.write_str(name),
            HostMatch::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostRank {
    Exact,
    Wildcard(Reverse<usize>),
    Any,
}

/// From a host to the tables that serve it, the most specific first.
#[derive(Debug, Default)]
pub(super) struct HostTables {
    // SL-11: the keys are the operator's and the hash is seeded at random, so a client can neither
    // fill these maps nor aim at a bucket.
    exact: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    wildcards: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    any: Option<u32>,
    /// No suffix is longer, so longer ones need no look.
    longest_wildcard: usize,
}

impl HostTables {
    /// The table for this pattern; `fresh` is its number if there was none.
    pub(super) fn table(&mut self, hosts: &HostMatch, fresh: u32) -> u32 {
        match hosts {
            HostMatch::Any => *self.any.get_or_insert(fresh),
            HostMatch::Exact(name) => *self.exact.entry(name.as_str().into()).or_insert(fresh),
            HostMatch::Wildcard(suffix) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                *self.wildcards.entry(suffix.as_str().into()).or_insert(fresh)
            }
        }
    }

    pub(super) fn tables<'a>(&'a self, host: &'a str) -> impl Iterator<Item = u32> + 'a {
        let exact = self.exact.get(host).copied();
        // No wildcards, no dots to look for.
        let dotted = if self.wildcards.is_empty() { "" } else { host };
        let wildcards = memchr::memchr_iter(b'.', dotted.as_bytes()).filter_map(move |dot| {
            let suffix = &host[dot + 1..];
            let fits = dot > 0 && suffix.len() <= self.longest_wildcard;
            if fits { self.wildcards.get(suffix).copied() } else { None }
        });
        exact.into_iter().chain(wildcards).chain(self.any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_are_read_strictly() {
        let exact = |name: &str| Ok(HostMatch::Exact(name.into()));
        let rows = [
            ("usual", "*", Ok(HostMatch::Any)),
            ("usual", "shop.example", exact("shop.example")),
            ("usual", "*.shop.example", Ok(HostMatch::Wildcard("shop.example".into()))),
            ("usual", "[::1]", exact("[::1]")),
            ("P-06", "Shop.Example.", exact("shop.example")),
            ("P-06", "*.Shop.Example.", Ok(HostMatch::Wildcard("shop.example".into()))),
            ("usual", "a.*.example", Err(HostMatchError::Asterisk)),
            ("usual", "*shop.example", Err(HostMatchError::Asterisk)),
            ("usual", "*.*.example", Err(HostMatchError::Asterisk)),
            ("usual", "shop.example:80", Err(HostMatchError::Port)),
            ("usual", "*.10.0.0.1", Err(HostMatchError::WildcardAddress)),
            ("usual", "*.[::1]", Err(HostMatchError::WildcardAddress)),
            ("H1-44", "", Err(HostMatchError::Host(HostError::Empty))),
            ("H1-44", "a b", Err(HostMatchError::Host(HostError::Byte(b' ')))),
        ];
        for (id, text, expected) in rows {
            assert_eq!(HostMatch::parse(text), expected, "{id}: {text}");
        }
    }

    #[test]
    fn hosts_find_their_tables_the_most_specific_first() {
        let mut hosts = HostTables::default();
        for (number, text) in ["*", "a.example", "*.example", "*.a.example"].iter().enumerate() {
            let pattern = HostMatch::parse(text).expect("the pattern is valid");
            assert_eq!(hosts.table(&pattern, number as u32), number as u32);
            assert_eq!(hosts.table(&pattern, 99), number as u32);
        }
        let rows: &[(&str, &[u32])] = &[
            ("a.example", &[1, 2, 0]),
            ("b.a.example", &[3, 2, 0]),
            ("c.b.a.example", &[3, 2, 0]),
            ("example", &[0]),
            ("aexample", &[0]),
            ("xa.example", &[2, 0]),
            ("", &[0]),
        ];
        for (host, expected) in rows {
            assert_eq!(hosts.tables(host).collect::<Vec<_>>(), *expected, "{host}");
        }
    }
}
