//! Rules and requests as text: `find`, which is quick, must say what `explain`, which goes through
//! the rules one by one, amounts to.
//!
//! Lines before an empty one are rules, `METHODS HOSTS WORD...`, where `-` is nothing, lists are
//! separated by commas, and a word is a path (`/a/{b}/**`), an expression (`~/a.*`), a condition
//! (`h:name=value`, `h:name~regex`, `h:name+`, `h:name-`; `q:` and `c:` as well) or a network
//! (`net:10.0.0.0/8`). The lines after it are requests, `METHOD HOST PATH[?QUERY] [NAME:VALUE...]`.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use transom_proxy::route::{
    Asked, Condition, Failure, Found, HeaderLookup, HostMatch, PathMatch, Router, Rule, Segment,
    Step, Test, Verdict,
};
use transom_settings::{FromText as _, HostPattern, PathPattern};

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let rules: Vec<Rule> =
        lines.by_ref().take_while(|line| !line.is_empty()).take(16).filter_map(rule).collect();
    let count = rules.len();
    let patterns = rules.iter().flat_map(|rule| &rule.paths);
    for pattern in patterns.clone().filter(|path| !matches!(path, PathMatch::Regex(_))) {
        assert_eq!(PathMatch::parse(&pattern.to_string()).as_ref(), Ok(pattern));
    }
    let Ok(router) = Router::build(rules) else { return };
    for line in lines.take(16) {
        ask(&router, line, count);
    }
});

fn rule(line: &str) -> Option<Rule> {
    let mut words = line.split(' ');
    let mut list = || words.next().map(|word| word.split(',').filter(|part| *part != "-"));
    let methods = list()?.map(Into::into).collect();
    let hosts = list()?.map(HostMatch::parse).collect::<Result<_, _>>().ok()?;
    let (mut paths, mut conditions) = (Vec::new(), Vec::new());
    for word in words {
        match word.as_bytes() {
            [b'~', ..] => paths.push(PathMatch::Regex(word[1..].into())),
            [b'/', ..] => paths.push(PathMatch::parse(word).ok()?),
            _ => conditions.push(condition(word)?),
        }
    }
    Some(Rule { hosts, paths, methods, conditions, ..Rule::default() })
}

fn condition(word: &str) -> Option<Condition> {
    let (kind, rest) = word.split_once(':')?;
    if kind == "net" {
        return Some(Condition::Client(vec![rest.parse().ok()?]));
    }
    let end = rest.find(['=', '~', '+', '-'])?;
    let (name, value) = (rest[..end].to_owned(), &rest[end + 1..]);
    let test = match rest.as_bytes()[end] {
        b'=' => Test::Equals(value.into()),
        b'~' => Test::Matches(value.into()),
        b'+' => Test::Present,
        _ => Test::Absent,
    };
    match kind {
        "c" => Some(Condition::Cookie { name, test }),
        "h" => Some(Condition::Header { name, test }),
        "q" => Some(Condition::Query { name, test }),
        _ => None,
    }
}

struct Lines<'a>(Vec<(&'a str, &'a str)>);

impl HeaderLookup for Lines<'_> {
    fn each(&self, name: &str, f: &mut dyn FnMut(&[u8])) {
        for (_, value) in self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)) {
            f(value.as_bytes());
        }
    }
}

fn ask(router: &Router, line: &str, count: usize) {
    let mut words = line.split(' ');
    let (Some(method), Some(host), Some(path)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (path, None),
    };
    if !path.starts_with('/') {
        return;
    }
    let headers = Lines(words.filter_map(|word| word.split_once(':')).collect());
    let client = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
    let (method, bytes) = (method.as_bytes(), path.as_bytes());
    let asked = Asked { host, path: bytes, query, method, client, headers: &headers };
    let steps = router.explain(&asked);
    let found = router.find(&asked);
    assert_eq!(found, router.find(&asked));
    match (&found, steps.last()) {
        (Found::Route { route, captures }, Some(last)) => {
            assert_eq!((*route, &last.verdict), (last.route, &Verdict::Matched));
            assert!((*route as usize) < count);
            let named: Vec<(&str, &[u8])> = router.captures(captures, bytes).collect();
            let (_, pattern) = last.tried.expect("what matched was tried");
            captures_rebuild(pattern, &named, path);
        }
        (Found::Route { .. }, None) => panic!("a route that nobody tried"),
        (_, Some(Step { verdict: Verdict::Matched, .. })) => panic!("{found:?}: {steps:?}"),
        (Found::NoHost, _) => assert!(all(&steps, |why| *why == Failure::Host)),
        (Found::NoRoute, _) => {
            assert!(!steps.is_empty() && !all(&steps, |why| *why == Failure::Host));
            assert!(all(&steps, |why| !matches!(why, Failure::Method(_))));
        }
        (Found::WrongMethod { allow }, _) => {
            assert!(!allow.is_empty());
            assert!(!all(&steps, |why| !matches!(why, Failure::Method(_))));
            let asked = std::str::from_utf8(method).unwrap();
            assert!(!allow.split(", ").any(|name| name == asked));
        }
    }
    for step in &steps {
        settings_agree(step, host, path);
    }
}

fn all(steps: &[Step<'_>], wanted: impl Fn(&Failure<'_>) -> bool) -> bool {
    steps.iter().all(|step| matches!(&step.verdict, Verdict::Failed(why) if wanted(why)))
}

/// The pattern with its names replaced by what they stand for is the path, or leads to it.
fn captures_rebuild(pattern: &PathMatch, named: &[(&str, &[u8])], path: &str) {
    let (segments, open) = match pattern {
        PathMatch::Exact(exact) => return assert_eq!(exact, path),
        PathMatch::Regex(_) => return,
        PathMatch::Prefix(segments) => (segments, true),
        PathMatch::Template(segments) => (segments, false),
    };
    let mut values = named.iter();
    let mut rebuilt = String::new();
    for segment in segments {
        rebuilt.push('/');
        match segment {
            Segment::Literal(literal) => rebuilt.push_str(literal),
            Segment::Name(name) => {
                let (known, value) = values.next().expect("a value for every name");
                assert_eq!(known, name);
                assert!(!value.is_empty() && !value.contains(&b'/'));
                rebuilt.push_str(std::str::from_utf8(value).unwrap());
            }
        }
    }
    let rest = path.strip_prefix(&rebuilt).expect("the pattern leads to the path");
    assert!(rest.is_empty() || open && rest.starts_with('/'));
}

/// The check of a configuration concludes from patterns of its own which routes are never reached:
/// they must mean the same.
fn settings_agree(step: &Step<'_>, host: &str, path: &str) {
    let Some((host_match, path_match)) = step.tried else { return };
    if let Ok(pattern) = HostPattern::from_text(&host_match.to_string()) {
        assert!(pattern.matches(host), "{pattern} {host}");
    }
    let fits = match &step.verdict {
        Verdict::Failed(Failure::Path) => false,
        Verdict::Failed(Failure::Host) => return,
        _ => true,
    };
    if matches!(path_match, PathMatch::Regex(_)) {
        return;
    }
    if let Ok(pattern) = PathPattern::from_text(&path_match.to_string())
        && let Some(theirs) = pattern.matches(path)
    {
        assert_eq!(theirs, fits, "{pattern} {path}");
    }
}
