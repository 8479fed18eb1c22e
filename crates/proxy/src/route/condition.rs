//! What a route asks of a request beyond host and path: method, client, headers, query, cookies.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use memchr::memchr;
use regex::bytes::Regex;
use smallvec::SmallVec;
use transom_settings::is_token;

use super::regex::whole_regex;
use super::{Asked, Fix};
use crate::normalize::escape_at;

/// Gives the values of a header field.
pub trait HeaderLookup {
    /// Calls `f` once for each line of the field, in order, with the value without the white space
    /// around it. `name` is in lower case; the comparison ignores case.
    fn each(&self, name: &str, f: &mut dyn FnMut(&[u8]));
}

/// One thing a request must have. A route applies when all of its conditions hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The client's address lies in one of these networks.
    Client(Vec<IpNet>),
    /// A cookie. Names are compared with case.
    Cookie { name: String, test: Test },
    /// A header field. Names are compared without case.
    Header { name: String, test: Test },
    /// A query parameter, name and value decoded (`+` is a space). Names are compared with case.
    Query { name: String, test: Test },
}

/// What a value must be.
///
/// P-14: [`Test::Equals`] and [`Test::Matches`] hold only when there is exactly one value. With two,
/// the endpoint might go by the other one. For the same reason [`Test::Unlike`] asks every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Absent,
    Equals(Vec<u8>),
    /// A regular expression over the whole value.
    Matches(String),
    Present,
    /// A regular expression that the whole of no value matches; one that is not there fits.
    Unlike(String),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name, test) = match self {
            Condition::Client(nets) => {
                f.write_str("client address in")?;
                for (place, net) in nets.iter().enumerate() {
                    write!(f, "{} `{net}`", if place == 0 { "" } else { "," })?;
                }
                return Ok(());
            }
            Condition::Cookie { name, test } => ("cookie", name, test),
            Condition::Header { name, test } => ("header", name, test),
            Condition::Query { name, test } => ("query parameter", name, test),
        };
        match test {
            Test::Absent => write!(f, "{what} `{name}` absent"),
            Test::Equals(value) => {
                write!(f, "{what} `{name}` once, equal to `{}`", value.escape_ascii())
            }
            Test::Matches(regex) => write!(f, "{what} `{name}` once, matching `{regex}`"),
            Test::Present => write!(f, "{what} `{name}` present"),
            Test::Unlike(regex) => write!(f, "{what} `{name}` not matching `{regex}`"),
        }
    }
}

/// A condition as it runs.
#[derive(Debug)]
pub(super) enum Check {
    Client(Box<[IpNet]>),
    Cookie { name: Box<[u8]>, test: ValueCheck },
    Header { name: Box<str>, test: ValueCheck },
    Query { name: Box<[u8]>, test: ValueCheck },
}

#[derive(Debug)]
pub(super) enum ValueCheck {
    Absent,
    Equals(Box<[u8]>),
    Matches(Regex),
    Present,
    Unlike(Regex),
}

/// RELIABILITY SL-10: how many pairs of a query or of the cookies are looked at. With more, no
/// condition on them holds: a value behind the end must not pass as absent.
const MAX_PAIRS: usize = 1_000;

impl Check {
    pub(super) fn new(condition: &Condition) -> Result<Self, Fix> {
        match condition {
            Condition::Client(nets) => Ok(Check::Client(nets.clone().into())),
            Condition::Cookie { name, test } => {
                let name = name.as_bytes().into();
                Ok(Check::Cookie { name, test: ValueCheck::new(test)? })
            }
            Condition::Header { name, test } => {
                if !is_token(name.as_bytes()) {
                    return Err(Fix::HeaderName(name.clone()));
                }
                let name = name.to_ascii_lowercase().into();
                Ok(Check::Header { name, test: ValueCheck::new(test)? })
            }
            Condition::Query { name, test } => {
                let name = name.as_bytes().into();
                Ok(Check::Query { name, test: ValueCheck::new(test)? })
            }
        }
    }

    pub(super) fn holds(&self, asked: &Asked<'_>) -> bool {
        match self {
            Check::Client(nets) => {
                // P-13: `::ffff:10.0.0.1` is `10.0.0.1`.
                let client: IpAddr = asked.client.to_canonical();
                nets.iter().any(|net| net.contains(&client))
            }
            Check::Cookie { name, test } => {
                let mut tally = Tally::new(test);
                asked.headers.each("cookie", &mut |line| {
                    for pair in line.split(|&b| b == b';') {
                        let (key, value) = halves(pair.trim_ascii());
                        tally.pair(key == &**name, value);
                    }
                });
                tally.verdict()
            }
            Check::Header { name, test } => {
                let mut tally = Tally::new(test);
                asked.headers.each(name, &mut |value| tally.value(value));
                tally.verdict()
            }
            Check::Query { name, test } => {
                let mut tally = Tally::new(test);
                let query = asked.query.unwrap_or_default();
                for pair in query.split(|&b| b == b'&').filter(|pair| !pair.is_empty()) {
                    let (key, value) = halves(pair);
                    let named = decoded(key).eq(name.iter().copied());
                    if named && needs_decoding(value) {
                        tally.pair(true, &decoded(value).collect::<SmallVec<[u8; 256]>>());
                    } else {
                        tally.pair(named, value);
                    }
                    if tally.pairs > MAX_PAIRS {
                        break;
                    }
                }
                tally.verdict()
            }
        }
    }
}

impl ValueCheck {
    fn new(test: &Test) -> Result<Self, Fix> {
        Ok(match test {
            Test::Absent => ValueCheck::Absent,
            Test::Equals(value) => ValueCheck::Equals(value.clone().into()),
            Test::Matches(regex) => ValueCheck::Matches(whole_regex(regex)?),
            Test::Present => ValueCheck::Present,
            Test::Unlike(regex) => ValueCheck::Unlike(whole_regex(regex)?),
        })
    }
}

/// Sees each value of one name and judges at the end.
struct Tally<'a> {
    test: &'a ValueCheck,
    pairs: usize,
    values: usize,
    hit: bool,
}

impl<'a> Tally<'a> {
    fn new(test: &'a ValueCheck) -> Self {
        Self { test, pairs: 0, values: 0, hit: false }
    }

    fn pair(&mut self, named: bool, value: &[u8]) {
        self.pairs += 1;
        if named && self.pairs <= MAX_PAIRS {
            self.value(value);
        }
    }

    fn value(&mut self, value: &[u8]) {
        self.values += 1;
        self.hit = match self.test {
            ValueCheck::Absent | ValueCheck::Present => true,
            ValueCheck::Equals(wanted) => self.values == 1 && value == &**wanted,
            ValueCheck::Matches(regex) => self.values == 1 && regex.is_match(value),
            ValueCheck::Unlike(regex) => self.hit || regex.is_match(value),
        };
    }

    fn verdict(self) -> bool {
        if self.pairs > MAX_PAIRS {
            return false;
        }
        match self.test {
            ValueCheck::Absent => self.values == 0,
            ValueCheck::Equals(_) | ValueCheck::Matches(_) => self.values == 1 && self.hit,
            ValueCheck::Present => self.values > 0,
            ValueCheck::Unlike(_) => !self.hit,
        }
    }
}

fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

fn needs_decoding(raw: &[u8]) -> bool {
    memchr::memchr2(b'%', b'+', raw).is_some()
}

/// The bytes of a name or value of a query. A `%` without two digits stands for itself.
fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *raw.get(at)?;
        at += 1;
        match byte {
            b'+' => Some(b' '),
            b'%' => match escape_at(raw, at) {
                Some(value) => {
                    at += 2;
                    Some(value)
                }
                None => Some(b'%'),
            },
            _ => Some(byte),
        }
    })
}

/// The methods a route serves. None named means every method.
#[derive(Clone, Debug, Default)]
pub(super) struct Methods {
    known: u16,
    other: Box<[Box<str>]>,
}

/// Bit `n` of [`Methods::known`] is the method `KNOWN[n]`.
const KNOWN: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
const GET: u16 = 1 << 0;
const HEAD: u16 = 1 << 1;

impl Methods {
    pub(super) fn new(names: &[String]) -> Result<Self, Fix> {
        let mut methods = Methods::default();
        let mut other = Vec::new();
        for name in names {
            match known_bit(name.as_bytes()) {
                0 if !is_token(name.as_bytes()) => return Err(Fix::Method(name.clone())),
                0 => other.push(name.as_str().into()),
                bit => methods.known |= bit,
            }
        }
        // RFC 9110 §9.3.2: HEAD is GET without the content.
        if methods.known & GET != 0 {
            methods.known |= HEAD;
        }
        methods.other = other.into();
        Ok(methods)
    }

    pub(super) fn is_any(&self) -> bool {
        self.known == 0 && self.other.is_empty()
    }

    /// `bit` is [`known_bit`] of `method`, worked out once per request.
    pub(super) fn allow(&self, method: &[u8], bit: u16) -> bool {
        if bit != 0 && self.known & bit != 0 {
            return true;
        }
        self.is_any() || self.other.iter().any(|name| name.as_bytes() == method)
    }

    pub(super) fn add(&mut self, more: &Methods) {
        self.known |= more.known;
        let mut other: Vec<Box<str>> = std::mem::take(&mut self.other).into();
        other.extend(more.other.iter().filter(|name| !self.other.contains(name)).cloned());
        other.sort();
        other.dedup();
        self.other = other.into();
    }
}

/// The value of an `Allow` field.
impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = KNOWN.iter().enumerate().filter(|(bit, _)| self.known & (1 << bit) != 0);
        let names = known.map(|(_, name)| *name).chain(self.other.iter().map(|name| &**name));
        for (place, name) in names.enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// Zero for a method that is not in [`KNOWN`]. RFC 9110 §9.1: methods are compared with case.
pub(super) fn known_bit(method: &[u8]) -> u16 {
    match KNOWN.iter().position(|name| name.as_bytes() == method) {
        Some(bit) => 1 << bit,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::Lines;

    fn holds(condition: Condition, query: &str, lines: &[(&str, &str)], client: &str) -> bool {
        let check = Check::new(&condition).expect("the condition is valid");
        check.holds(&Asked {
            host: "a",
            path: b"/",
            query: Some(query.as_bytes()),
            method: b"GET",
            client: client.parse().expect("the address is valid"),
            headers: &Lines(lines),
        })
    }

    fn equals(value: &str) -> Test {
        Test::Equals(value.into())
    }

    #[test]
    fn p_14_equals_needs_exactly_one_value() {
        type Given<'a> = &'a [(&'a str, &'a str)];
        let rows: &[(Test, Given<'_>, bool)] = &[
            (equals("admin"), &[("X-Role", "admin")], true),
            (equals("admin"), &[("X-Role", "user"), ("X-Role", "admin")], false),
            (equals("admin"), &[("X-Role", "admin"), ("X-Role", "user")], false),
            (equals("admin"), &[("X-Role", "admin"), ("x-role", "admin")], false),
            (equals("admin"), &[("X-Role", "admin, user")], false),
            (equals("admin"), &[("X-Role", "")], false),
            (equals(""), &[("X-Role", "")], true),
            (equals(""), &[], false),
            (Test::Matches("a.*".into()), &[("X-Role", "admin")], true),
            (Test::Matches("dmi".into()), &[("X-Role", "admin")], false),
            (Test::Matches("a.*".into()), &[("X-Role", "admin"), ("X-Role", "a")], false),
            (Test::Present, &[("X-Role", "")], true),
            (Test::Present, &[("X-Role", "a"), ("X-Role", "b")], true),
            (Test::Present, &[("X-Roles", "a")], false),
            (Test::Absent, &[], true),
            (Test::Absent, &[("X-Role", "")], false),
            (Test::Unlike("a.*".into()), &[], true),
            (Test::Unlike("a.*".into()), &[("X-Role", "user")], true),
            (Test::Unlike("a.*".into()), &[("X-Role", "user"), ("X-Role", "admin")], false),
            (Test::Unlike("a.*".into()), &[("X-Role", "admin"), ("X-Role", "user")], false),
        ];
        for (test, lines, expected) in rows {
            let condition = Condition::Header { name: "X-ROLE".into(), test: test.clone() };
            assert_eq!(holds(condition, "", lines, "::1"), *expected, "{test:?} {lines:?}");
        }
    }

    #[test]
    fn query_parameters_are_decoded_once() {
        let rows = [
            (equals("1"), "v=1", true),
            (equals("1"), "a=b&v=1&", true),
            (equals("1"), "v=1&v=1", false),
            (equals("1"), "v=1&%76=2", false),
            (equals("1"), "%76=%31", true),
            (equals("1"), "v=%2531", false),
            (equals("a b"), "v=a+b", true),
            (equals("a b"), "v=a%20b", true),
            (equals("%zz"), "v=%zz", true),
            (equals(""), "v", true),
            (equals("a=b"), "v=a=b", true),
            (Test::Present, "V=1", false),
            (Test::Matches("[0-9]+".into()), "v=%31%32", true),
            (Test::Absent, "w=1", true),
        ];
        for (test, query, expected) in rows {
            let condition = Condition::Query { name: "v".into(), test: test.clone() };
            assert_eq!(holds(condition, query, &[], "::1"), expected, "{test:?} {query}");
        }
    }

    #[test]
    fn sl_10_a_value_behind_the_thousandth_pair_never_passes() {
        let many = "a=b&".repeat(1_000);
        for (test, expected) in [(Test::Absent, true), (Test::Present, false)] {
            let condition = Condition::Query { name: "v".into(), test };
            assert_eq!(holds(condition, &many, &[], "::1"), expected);
        }
        let more = many + "v=1";
        for test in [Test::Absent, Test::Present, equals("1")] {
            let condition = Condition::Query { name: "v".into(), test };
            assert!(!holds(condition, &more, &[], "::1"));
        }
    }

    #[test]
    fn cookies_are_read_from_every_line() {
        let rows: &[(&[(&str, &str)], bool)] = &[
            (&[("cookie", "canary=yes")], true),
            (&[("Cookie", "a=b; canary=yes;c=d")], true),
            (&[("cookie", "a=b"), ("cookie", "canary=yes")], true),
            (&[("cookie", "canary=no"), ("cookie", "canary=yes")], false),
            (&[("cookie", "canary=yes; canary=yes")], false),
            (&[("cookie", "Canary=yes")], false),
            (&[("cookie", "xcanary=yes")], false),
            (&[], false),
        ];
        for (lines, expected) in rows {
            let condition = Condition::Cookie { name: "canary".into(), test: equals("yes") };
            assert_eq!(holds(condition, "", lines, "::1"), *expected, "{lines:?}");
        }
    }

    #[test]
    fn p_13_mapped_clients_are_ipv4_clients() {
        for (client, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.1.2.3", false),
            ("fd00::1", true),
            ("fe80::1", false),
        ] {
            let nets = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("valid"));
            let condition = Condition::Client(nets.into());
            assert_eq!(holds(condition, "", &[], client), expected, "{client}");
        }
    }

    #[test]
    fn methods_are_compared_with_case_and_head_follows_get() {
        let methods = |names: &[&str]| {
            Methods::new(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>())
        };
        let allow = |names: &[&str], method: &str| {
            let methods = methods(names).expect("the methods are valid");
            methods.allow(method.as_bytes(), known_bit(method.as_bytes()))
        };
        assert!(allow(&[], "GET") && allow(&[], "BREW"));
        assert!(allow(&["GET"], "HEAD") && !allow(&["HEAD"], "GET"));
        assert!(!allow(&["GET"], "get") && !allow(&["GET"], "BREW"));
        assert!(allow(&["GET", "BREW"], "BREW") && !allow(&["BREW"], "GET"));
        assert!(methods(&["G T"]).is_err() && methods(&[""]).is_err());
        let mut all = methods(&["POST", "ZAP"]).expect("valid");
        all.add(&methods(&["GET", "BREW", "ZAP"]).expect("valid"));
        assert_eq!(all.to_string(), "GET, HEAD, POST, BREW, ZAP");
    }
}
