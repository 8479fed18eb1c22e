//! From the matches of a listener's routes to its router.

use transom_proxy::route::{BuildError, Condition, HostMatch, PathMatch, Router, Rule, Test};
use transom_settings::{HostPattern, Map, PathPattern};

use super::Build;
use crate::config::{Match, Placed, ValueMatch};

impl Build<'_> {
    /// The router of these matches, if all of them can run.
    pub(super) fn router(&mut self, routes: &[Placed<'_>]) -> Option<Router> {
        let mut rules = Vec::with_capacity(routes.len());
        for Placed { route, path, except, .. } in routes {
            let except = except.iter().map(|path| PathMatch::parse(&format!("{path}/**")));
            match rule(&route.r#match) {
                // they are paths of routes themselves: one that is none is found there
                Ok(rule) => rules.push(Rule { except: except.flatten().collect(), ..rule }),
                Err(why) => {
                    let at = format!("{path}.match.path");
                    self.error(route.span, at, why, "write the path as clients ask for it");
                }
            }
        }
        if rules.len() < routes.len() {
            return None;
        }
        let errors = match Router::build(rules) {
            Ok(router) => return Some(router),
            Err(errors) => errors,
        };
        for BuildError { route, fix } in errors {
            let Some(Placed { route, path, .. }) = routes.get(route as usize) else { continue };
            self.error(route.span, format!("{path}.match"), fix.to_string(), "correct the match");
        }
        None
    }
}

/// What the router is asked to look for.
pub(super) fn rule(written: &Match) -> Result<Rule, String> {
    let hosts = written.host.iter().flatten().map(|host| match &host.value {
        HostPattern::Any => HostMatch::Any,
        HostPattern::Exact(name) => HostMatch::Exact(name.clone()),
        HostPattern::Wildcard(suffix) => HostMatch::Wildcard(suffix.clone()),
    });
    let paths = written.path.iter().flatten().map(|path| match &path.value {
        PathPattern::Regex(regex) => Ok(PathMatch::Regex(regex.to_string())),
        path => PathMatch::parse(&path.to_string()).map_err(|error| error.to_string()),
    });
    let methods = written.method.iter().flatten().map(|method| method.to_string());
    let mut conditions = Vec::new();
    if let Some(client) = &written.client {
        conditions.push(Condition::Client(client.iter().map(|block| block.net()).collect()));
    }
    values(&written.header, &mut conditions, |name, test| Condition::Header { name, test });
    values(&written.query, &mut conditions, |name, test| Condition::Query { name, test });
    values(&written.cookie, &mut conditions, |name, test| Condition::Cookie { name, test });
    Ok(Rule {
        hosts: hosts.collect(),
        paths: paths.collect::<Result<_, _>>()?,
        methods: methods.collect(),
        conditions,
        except: Vec::new(),
    })
}

fn values<K: ToString>(
    written: &Map<K, ValueMatch>,
    conditions: &mut Vec<Condition>,
    make: impl Fn(String, Test) -> Condition,
) {
    for (name, value) in written.iter() {
        let mut ask = |test| conditions.push(make(name.value.to_string(), test));
        match value {
            ValueMatch::Is(value) => ask(Test::Equals(value.clone().into_bytes())),
            ValueMatch::Present(true) => ask(Test::Present),
            ValueMatch::Present(false) => ask(Test::Absent),
            ValueMatch::Regex(regex) => ask(Test::Matches(regex.to_string())),
            ValueMatch::Unlike { like, unlike } => {
                if let Some(like) = like {
                    ask(Test::Matches(like.to_string()));
                }
                ask(Test::Unlike(unlike.to_string()));
            }
        }
    }
}
