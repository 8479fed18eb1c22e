//! From a request to its route.
//!
//! A route is a match and an action; here it is only its number, in the order of the file. The
//! [`Router`] is compiled once per configuration and then answers [`Router::find`] without
//! allocating, at a cost that depends neither on the number of hosts nor, but for the caches of the
//! processor, on the number of paths.
//!
//! # Which route wins
//!
//! 1. **Host.** The routes of the exact host are tried first, then those of `*.suffix` from the
//!    longest suffix to the shortest, then those of any host. A host's own routes never hide the
//!    less specific ones: a request that fits none of the former goes on to the latter.
//! 2. **Path**, among the routes of one host pattern:
//!    1. an exact path;
//!    2. a template (`/users/{id}`): more literal segments first, then the one that is literal at
//!       the leftmost difference;
//!    3. a prefix (`/api/**`): more segments first, then as with templates;
//!    4. regular expressions, in the order of the file;
//!    5. every path: `/**`, or a route that names no path.
//! 3. **More conditions** first; the methods together count as one condition.
//! 4. **Order of the file**, and within a route the order of its paths.
//!
//! The first in this order whose path, conditions and method all fit is the route. A pattern whose
//! conditions do not hold gives way to the next one: a prefix may still win over an exact path.
//!
//! When there is none: no route names the host in any way, [`Found::NoHost`] (421); a route would
//! have fitted but for its methods, [`Found::WrongMethod`] (405); else [`Found::NoRoute`] (404).
//!
//! # What fits
//!
//! Host, path and patterns are in the one form of [`crate::normalize`]. Prefixes and names go by
//! whole segments: `/api/**` serves `/api`, `/api/` and `/api/x`, not `/apiadmin` nor `/api;v=1`. A
//! name stands for one segment that is not empty. Regular expressions match the whole path, or the
//! whole value, in time linear to it, and take no part of Unicode: the canonical path is ASCII.
//!
//! A rule may leave out paths that `paths` would serve ([`Rule::except`]): those are as if it had not been
//! written.
//!
//! Not here: the building of rules from a configuration, and what is done with the route.

mod condition;
mod host;
mod path;
mod regex;

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

pub use self::condition::{Condition, HeaderLookup, Test};
pub use self::host::{HostMatch, HostMatchError};
pub use self::path::{PathMatch, PathMatchError, Segment};

use self::condition::{Check, Methods, known_bit};
use self::host::HostTables;
use self::path::{Entry, Names, Offer, PathTable, Ranges};

/// The match of one route. Its number is its place in the list given to [`Router::build`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Empty: any host.
    pub hosts: Vec<HostMatch>,
    /// Empty: every path.
    pub paths: Vec<PathMatch>,
    /// Empty: every method. `GET` serves HEAD too.
    pub methods: Vec<String>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Paths that it never serves, whatever `paths` says; no expressions. They make it no more specific.
    pub except: Vec<PathMatch>,
}

/// What is asked of the router: one request in canonical form.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// As [`crate::normalize::host`] gives it; empty for a request without one, which only routes
    /// of any host serve.
    pub host: &'a str,
    /// As [`crate::normalize::path`] gives it.
    pub path: &'a [u8],
    /// Raw, without the `?`.
    pub query: Option<&'a [u8]>,
    pub method: &'a [u8],
    /// The client, behind the proxies that are trusted.
    pub client: IpAddr,
    pub headers: &'a dyn HeaderLookup,
}

/// The answer to [`Asked`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// 421: no route names this host.
    NoHost,
    /// 404: the host is known, nothing fits.
    NoRoute,
    Route {
        route: u32,
        captures: Captures,
    },
    /// 405: only the method does not fit. `allow` is the value of the `Allow` field.
    WrongMethod {
        allow: String,
    },
}

/// What the names of a pattern stand for, as places in the path that was asked for. Read with
/// [`Router::capture`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    pattern: u32,
    ranges: Ranges,
}

impl Captures {
    /// The same in a path that is so many bytes shorter before all of them.
    #[must_use]
    pub fn earlier(mut self, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        for (from, to) in &mut self.ranges {
            (*from, *to) = (from.saturating_sub(bytes), to.saturating_sub(bytes));
        }
        self
    }
}

/// A rule that cannot run, by the number of its route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {route}: {fix}")]
pub struct BuildError {
    pub route: u32,
    pub fix: Fix,
}

/// What is to be mended in a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fix {
    #[error("`{0}` is no name of a header field")]
    HeaderName(String),
    #[error("`{0}` is no method")]
    Method(String),
    #[error("the regular expression `{text}` is not usable: {reason}")]
    Regex { text: String, reason: String },
    #[error("a path of {0} segments is too long for a pattern; 64 is the most")]
    Segments(usize),
}

/// Finds the route of a request. The default has none.
#[derive(Debug, Default)]
pub struct Router {
    hosts: HostTables,
    tables: Vec<PathTable>,
    checks: Vec<Checks>,
    /// Those of every pattern.
    names: Vec<Names>,
    rules: Vec<Rule>,
    /// The number of the first pattern of each rule.
    first_pattern: Vec<u32>,
    /// For [`Router::explain`], when it is first asked.
    order: OnceLock<Vec<Try>>,
}

/// One pattern of one host of a rule, each by its place in the rule.
#[derive(Clone, Copy, Debug)]
struct Try {
    route: u32,
    host: u32,
    place: u32,
}

/// What remains to be checked of a rule when host and path fit.
#[derive(Debug)]
struct Checks {
    methods: Methods,
    conditions: Box<[Check]>,
    except: Box<[PathMatch]>,
}

impl Router {
    /// Compiles the rules, or says what is wrong with each that cannot run.
    pub fn build(mut rules: Vec<Rule>) -> Result<Self, Vec<BuildError>> {
        for rule in &mut rules {
            if rule.hosts.is_empty() {
                rule.hosts.push(HostMatch::Any);
            }
            if rule.paths.is_empty() {
                rule.paths.push(PathMatch::Prefix(Vec::new()));
            }
        }
        let mut errors = Vec::new();
        let mut checks = Vec::with_capacity(rules.len());
        let mut names = Vec::with_capacity(rules.len());
        let mut first_pattern = Vec::with_capacity(rules.len());
        for (rule, route) in rules.iter().zip(0..) {
            first_pattern.push(names.len() as u32);
            let mut found = |fix| errors.push(BuildError { route, fix });
            for path in &rule.paths {
                Names::of(path).map_or_else(&mut found, |of_path| names.push(of_path));
            }
            Checks::new(rule).map_or_else(&mut found, |check| checks.push(check));
        }
        if !errors.is_empty() {
            return Err(errors);
        }

        let mut hosts = HostTables::default();
        let mut offers: Vec<Vec<Offer<'_>>> = Vec::new();
        for (rule, route) in rules.iter().zip(0..) {
            for host in &rule.hosts {
                let table = hosts.table(host, offers.len() as u32) as usize;
                if table == offers.len() {
                    offers.push(Vec::new());
                }
                offers[table].extend(rule.offers(route, first_pattern[route as usize]));
            }
        }
        let mut tables = Vec::with_capacity(offers.len());
        for offers in offers {
            let route = offers.first().map_or(0, |offer| offer.entry.rule);
            let table = PathTable::build(offers);
            tables.push(table.map_err(|fix| vec![BuildError { route, fix }])?);
        }
        Ok(Router { hosts, tables, checks, names, rules, first_pattern, order: OnceLock::new() })
    }

    /// The route of a request. Allocates only where a pattern with more than four names, a regular
    /// expression or the answer 405 needs it.
    pub fn find(&self, asked: &Asked<'_>) -> Found {
        let bit = known_bit(asked.method);
        let mut host_known = false;
        for table in self.hosts.tables(asked.host) {
            host_known = true;
            let hit = self.tables[table as usize].find(asked.path, |entry| {
                let checks = &self.checks[entry.rule as usize];
                checks.methods.allow(asked.method, bit) && checks.hold(asked)
            });
            if let Some(Entry { rule, pattern }) = hit {
                let ranges = self.names[pattern as usize].ranges(asked.path);
                return Found::Route { route: rule, captures: Captures { pattern, ranges } };
            }
        }
        if host_known { self.refusal(asked) } else { Found::NoHost }
    }

    /// Nothing was found, so all that fits but for its method is wanted.
    fn refusal(&self, asked: &Asked<'_>) -> Found {
        let mut methods = Methods::default();
        for table in self.hosts.tables(asked.host) {
            self.tables[table as usize].find(asked.path, |entry| {
                let checks = &self.checks[entry.rule as usize];
                if checks.hold(asked) {
                    methods.add(&checks.methods);
                }
                false
            });
        }
        // A rule for every method would have been found.
        match methods.is_any() {
            true => Found::NoRoute,
            false => Found::WrongMethod { allow: methods.to_string() },
        }
    }

    /// What a name of the route's pattern stands for in `path`, the path that was asked for.
    pub fn capture<'p>(&self, captures: &Captures, name: &str, path: &'p [u8]) -> Option<&'p [u8]> {
        self.captures(captures, path).find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Every name of the route's pattern with what it stands for in `path`.
    pub fn captures<'a, 'p>(
        &'a self,
        captures: &'a Captures,
        path: &'p [u8],
    ) -> impl Iterator<Item = (&'a str, &'p [u8])> + use<'a, 'p> {
        let names = self.names.get(captures.pattern as usize).map_or(&[][..], |names| &names.list);
        names.iter().zip(&captures.ranges).map(|(name, &(from, to))| {
            (&**name, path.get(from as usize..to as usize).unwrap_or_default())
        })
    }

    /// Every pattern tried for a request, in order, up to the one that matched, with the first
    /// thing that did not fit. When none matched, the routes of other hosts follow.
    ///
    /// Reads the rules one by one as they were written, so it is slow, and a check on
    /// [`Router::find`].
    pub fn explain(&self, asked: &Asked<'_>) -> Vec<Step<'_>> {
        let tables = self.hosts.tables(asked.host);
        let regexes: Vec<u32> = tables
            .flat_map(|table| self.tables[table as usize].fitting_regexes(asked.path))
            .collect();
        let mut steps = Vec::new();
        for &Try { route, host, place } in self.order.get_or_init(|| self.order_of_trial()) {
            let rule = &self.rules[route as usize];
            let (host, path) = (&rule.hosts[host as usize], &rule.paths[place as usize]);
            if !host.matches(asked.host) {
                continue;
            }
            let pattern = self.first_pattern[route as usize] + place;
            let failure = match path.fits(asked.path).unwrap_or_else(|| regexes.contains(&pattern))
            {
                true => self.failure(route, asked),
                false => Some(Failure::Path),
            };
            let verdict = failure.map_or(Verdict::Matched, Verdict::Failed);
            let matched = verdict == Verdict::Matched;
            steps.push(Step { route, tried: Some((host, path)), verdict });
            if matched {
                return steps;
            }
        }
        for (rule, route) in self.rules.iter().zip(0..) {
            if !rule.hosts.iter().any(|host| host.matches(asked.host)) {
                steps.push(Step { route, tried: None, verdict: Verdict::Failed(Failure::Host) });
            }
        }
        steps
    }

    /// Every pattern of every host of every rule, in the order of the module's text.
    fn order_of_trial(&self) -> Vec<Try> {
        let mut tries = Vec::new();
        for (rule, route) in self.rules.iter().zip(0..) {
            for (written, host) in rule.hosts.iter().zip(0..) {
                for offer in rule.offers(route, 0) {
                    let rank = (written.rank(), offer.rank());
                    tries.push((rank, Try { route, host, place: offer.place }));
                }
            }
        }
        tries.sort_by(|a, b| a.0.cmp(&b.0));
        tries.into_iter().map(|(_, each)| each).collect()
    }

    /// The first condition of a rule that does not hold; its methods come last.
    fn failure(&self, route: u32, asked: &Asked<'_>) -> Option<Failure<'_>> {
        let (rule, checks) = (&self.rules[route as usize], &self.checks[route as usize]);
        if checks.leave_out(asked.path) {
            return Some(Failure::Path);
        }
        let broken = checks.conditions.iter().position(|check| !check.holds(asked));
        if let Some(place) = broken {
            return Some(Failure::Condition(&rule.conditions[place]));
        }
        match checks.methods.allow(asked.method, known_bit(asked.method)) {
            true => None,
            false => Some(Failure::Method(checks.methods.to_string())),
        }
    }
}

impl Rule {
    /// The rule's patterns as they go into a table.
    fn offers(&self, route: u32, first_pattern: u32) -> impl Iterator<Item = Offer<'_>> {
        let conditions = self.conditions.len() + usize::from(!self.methods.is_empty());
        self.paths.iter().zip(0..).map(move |(pattern, place)| Offer {
            pattern,
            entry: Entry { rule: route, pattern: first_pattern + place },
            place,
            conditions,
        })
    }
}

impl Checks {
    fn new(rule: &Rule) -> Result<Self, Fix> {
        Ok(Checks {
            methods: Methods::new(&rule.methods)?,
            conditions: rule.conditions.iter().map(Check::new).collect::<Result<_, _>>()?,
            except: rule.except.clone().into(),
        })
    }

    fn hold(&self, asked: &Asked<'_>) -> bool {
        self.conditions.iter().all(|check| check.holds(asked)) && !self.leave_out(asked.path)
    }

    fn leave_out(&self, path: &[u8]) -> bool {
        self.except.iter().any(|except| except.fits(path) == Some(true))
    }
}

/// One line of [`Router::explain`].
#[derive(Clone, Debug, PartialEq)]
pub struct Step<'a> {
    pub route: u32,
    /// The patterns that were tried; `None` for a route of other hosts.
    pub tried: Option<(&'a HostMatch, &'a PathMatch)>,
    pub verdict: Verdict<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    Failed(Failure<'a>),
    Matched,
}

/// The first thing of a route that a request does not fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure<'a> {
    Condition(&'a Condition),
    Host,
    /// With the methods the route serves.
    Method(String),
    Path,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Condition(wanted) => write!(f, "wants {wanted}"),
            Failure::Host => f.write_str("serves another host"),
            Failure::Method(methods) => write!(f, "serves only {methods}"),
            Failure::Path => f.write_str("serves another path"),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
