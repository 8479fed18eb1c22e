//! Which routes are reached.
//!
//! The router prefers the more specific host, then the more specific path, then more conditions,
//! then the order of the file. So a pattern of a route is never reached exactly if an earlier route
//! has the same host and path, as many conditions, and each of its conditions follows from one of
//! the later route's: a wider host or path, or fewer conditions, always comes after.

use std::collections::HashMap;

use transom_settings::{
    Cidr, HeaderName, HostPattern, List, Map, Method, PathPattern, Segment, Span, Spanned, quote,
};

use super::Check;
use crate::config::{Match, Route, ValueMatch};

/// A route and its number in the file.
type Numbered<'a> = (usize, &'a Spanned<Route>);

impl Check<'_> {
    pub(super) fn reached(&mut self, routes: &List<Spanned<Route>>, listener: &str) {
        let mut before: HashMap<(HostPattern, String), Vec<Numbered<'_>>> = HashMap::new();
        for (index, route) in routes.numbered() {
            if !self.decoded(&format!("{listener}.routes[{index}].match")) {
                continue;
            }
            let pairs = pairs(&route.r#match);
            let mut lost = Vec::new();
            for (host, path) in &pairs {
                let same = before.entry((host.value.clone(), shape(path))).or_default();
                let winner =
                    same.iter().find(|(_, earlier)| takes_all(&earlier.r#match, &route.r#match));
                match winner {
                    Some(&winner) => lost.push((host, path, winner)),
                    None => same.push((index, route)),
                }
            }
            let Some((host, path, (winner, taken))) = lost.first() else { continue };
            let witness = witness(host, path, &route.r#match);
            let place = format!("{listener}.routes[{index}]");
            let number = self.findings.place(taken.span);
            let earlier = match &taken.name {
                Some(name) => format!("route {}", quote(name)),
                None => format!("routes[{winner}]"),
            };
            let note = format!("{earlier} takes {witness}");
            if lost.len() == pairs.len() {
                let what = match number {
                    Some(number) => {
                        format!("the route is never reached, {earlier} at {number} comes first")
                    }
                    None => format!("the route is never reached, {earlier} comes first"),
                };
                self.error(route.span, place, what)
                    .note(taken.span, note)
                    .hint("remove one of them, or give this one a condition more")
                    .done();
            } else {
                let at = match path.span {
                    Span::NOWHERE => route.span,
                    span => span,
                };
                let what =
                    format!("this part of the match is never reached, {earlier} comes first");
                self.warning(at, format!("{place}.match"), what).note(taken.span, note).done();
            }
        }
    }
}

/// Every host of a match with every path of it.
fn pairs(matched: &Match) -> Vec<(Spanned<HostPattern>, Spanned<PathPattern>)> {
    let hosts = match &matched.host {
        Some(hosts) => hosts.to_vec(),
        None => vec![HostPattern::Any.into()],
    };
    let paths = match &matched.path {
        Some(paths) => paths.to_vec(),
        None => vec![PathPattern::all().into()],
    };
    hosts
        .iter()
        .flat_map(|host| paths.iter().map(move |path| (host.clone(), path.clone())))
        .collect()
}

/// The path without the names of its parts: what the router sees of it.
fn shape(path: &PathPattern) -> String {
    match path {
        PathPattern::Template { segments, below } => {
            let parts = segments.iter().map(|segment| match segment {
                Segment::Literal(literal) => format!("/{literal}"),
                Segment::Capture(_) => "/{}".to_owned(),
            });
            let tail = if *below { "/**" } else { "" };
            parts.chain([tail.to_owned()]).collect()
        }
        path => path.to_string(),
    }
}

/// Whether the earlier match wins over the later one wherever the latter holds, host and path
/// being the same.
fn takes_all(earlier: &Match, later: &Match) -> bool {
    conditions(earlier) == conditions(later)
        && methods_cover(&earlier.method, &later.method)
        && clients_cover(earlier, later)
        && values_cover(&earlier.header, &later.header)
        && values_cover(&earlier.query, &later.query)
        && values_cover(&earlier.cookie, &later.cookie)
}

/// What the router counts: each value, the methods together and the clients together.
fn conditions(matched: &Match) -> usize {
    let values = matched.header.values().chain(matched.query.values());
    let values = values.chain(matched.cookie.values()).map(ValueMatch::conditions).sum::<usize>();
    values + usize::from(matched.method.is_some()) + usize::from(matched.client.is_some())
}

fn methods_cover(
    earlier: &Option<transom_settings::OneOrMany<Method>>,
    later: &Option<transom_settings::OneOrMany<Method>>,
) -> bool {
    let takes = |methods: &[Method], method: &Method| {
        // GET is for HEAD too
        methods.iter().any(|ours| ours == method || (&**ours == "GET" && &**method == "HEAD"))
    };
    match (earlier, later) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => later.iter().all(|method| takes(earlier, method)),
    }
}

fn clients_cover(earlier: &Match, later: &Match) -> bool {
    let covered = |block: &Cidr, by: &[Cidr]| by.iter().any(|wide| wide.covers(block));
    match (&earlier.client, &later.client) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => later.iter().all(|block| covered(block, earlier)),
    }
}

fn values_cover<K: PartialEq>(earlier: &Map<K, ValueMatch>, later: &Map<K, ValueMatch>) -> bool {
    earlier.iter().all(|(name, wide)| {
        later.iter().any(|(other, narrow)| other == name && wide.covers(narrow))
    })
}

/// A request that both routes fit: `` `GET shop.example/api/` ``.
fn witness(host: &HostPattern, path: &PathPattern, matched: &Match) -> String {
    let method = matched.method.as_ref().and_then(|methods| methods.first()).map_or("GET", |m| m);
    let path = path.example().unwrap_or_else(|| format!("/... as in {path}"));
    let mut request = format!("{method} {}{path}", host.example());
    for (index, (name, value)) in matched.query.iter().enumerate() {
        let joint = if index == 0 { '?' } else { '&' };
        request.push_str(&format!("{joint}{name}={}", example(value)));
    }
    let header = matched
        .header
        .iter()
        .map(|(name, value): (&Spanned<HeaderName>, _)| format!("{name}: {}", example(value)));
    let cookie =
        matched.cookie.iter().map(|(name, value)| format!("cookie: {name}={}", example(value)));
    let client =
        matched.client.iter().flatten().take(1).map(|block| format!("client {}", block.network()));
    let with: Vec<String> = header.chain(cookie).chain(client).collect();
    match with.is_empty() {
        true => format!("`{request}`"),
        false => format!("`{request}` with `{}`", with.join("`, `")),
    }
}

fn example(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Is(value) => value.clone(),
        ValueMatch::Present(true) => "any".to_owned(),
        ValueMatch::Present(false) => "(absent)".to_owned(),
        ValueMatch::Regex(regex) => format!("~{regex}"),
        ValueMatch::Unlike { unlike, .. } => format!("(unlike ~{unlike})"),
    }
}
