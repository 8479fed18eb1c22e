//! What it costs to find a route, and to bring a path and a host into their one form:
//! `cargo bench -p transom-proxy --bench route`.
//!
//! Every request is for another route in random order, so the figures hold the misses of the
//! processor's caches that a large table causes. Prints nanoseconds per call, the median of seven
//! rounds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use transom_proxy::normalize::{self, PathRules};
use transom_proxy::route::{
    Asked, Condition, Found, HeaderLookup, HostMatch, PathMatch, Router, Rule, Test,
};

fn main() {
    println!("{:<44}{:>10}{:>12}", "find", "ns", "build ms");
    for kind in [Kind::Exact, Kind::Prefix, Kind::Template, Kind::Mixed] {
        for (routes, hosts) in [
            (10, 1),
            (10, 10),
            (1_000, 1),
            (1_000, 100),
            (10_000, 1),
            (10_000, 100),
            (10_000, 10_000),
        ] {
            find(kind, routes, hosts);
        }
    }
    unusual();
    println!("\n{:<44}{:>10}", "normalize", "ns");
    for (name, raw) in [
        ("path, 13 bytes, canonical", "/api/users/42"),
        ("path, 64 bytes, canonical", PATH_64),
        ("path, 40 bytes, with escapes, canonical", "/caf%C3%A9/%E2%82%AC/menu%20of%20the/day"),
        ("path, 24 bytes, to be written", "/api/../%61pi//v1/./user"),
    ] {
        let mut out = Vec::with_capacity(256);
        let rules = PathRules::default();
        let cost = measure(1_000_000, |_| {
            let form = normalize::path(black_box(raw.as_bytes()), rules, &mut out);
            form.map_or(0, |form| form.bytes().len())
        });
        println!("{name:<44}{cost:>10.1}");
    }
    for (name, raw) in
        [("host, 16 bytes", "www.shop.example"), ("host, with port", "www.shop.example:8080")]
    {
        let cost = measure(1_000_000, |_| {
            normalize::host(black_box(raw.as_bytes())).map_or(0, |host| host.name.len())
        });
        println!("{name:<44}{cost:>10.1}");
    }
    let cost = measure(1_000_000, |_| {
        let target = normalize::target(black_box(b"GET"), black_box(b"/api/users/42?page=2"));
        usize::from(target.is_ok())
    });
    println!("{:<44}{cost:>10.1}", "target, 20 bytes, with a query");
}

const PATH_64: &str = "/static/assets/pictures/2026/autumn/collection/item-000042.webp/";

#[derive(Clone, Copy, Debug)]
enum Kind {
    Exact,
    Mixed,
    Prefix,
    Template,
}

fn find(kind: Kind, routes: usize, hosts: usize) {
    let host = |n: usize| format!("host-{}.shop.example", n % hosts);
    let kind_of = |n: usize| match kind {
        Kind::Mixed => [Kind::Prefix, Kind::Exact, Kind::Template, Kind::Prefix][n % 4],
        other => other,
    };
    let rule = |n: usize| {
        let path = match kind_of(n) {
            Kind::Exact | Kind::Mixed => format!("/api/v1/service-{n}/list"),
            Kind::Prefix => format!("/api/v1/service-{n}/**"),
            Kind::Template => format!("/api/v1/service-{n}/items/{{id}}"),
        };
        Rule {
            hosts: vec![HostMatch::Exact(host(n))],
            paths: vec![PathMatch::parse(&path).expect("the path is valid")],
            methods: vec!["GET".into()],
            ..Rule::default()
        }
    };
    let started = Instant::now();
    let router = Router::build((0..routes).map(rule).collect()).expect("the rules are valid");
    let built = started.elapsed();

    // One buffer for all requests, so that reading them is not what is measured.
    let mut text = String::new();
    let mut requests = Vec::new();
    let mut order = Random(42);
    for _ in 0..20_000 {
        let n = order.next() as usize % routes;
        let from = text.len();
        text += &host(n);
        let middle = text.len();
        text += &match kind_of(n) {
            Kind::Exact | Kind::Mixed => format!("/api/v1/service-{n}/list"),
            Kind::Prefix => format!("/api/v1/service-{n}/some/file.html"),
            Kind::Template => format!("/api/v1/service-{n}/items/123456"),
        };
        requests.push((from, middle, text.len()));
    }
    let cost = measure(requests.len() * 20, |call| {
        let (from, middle, to) = requests[call % requests.len()];
        ask(&router, &text[from..middle], &text.as_bytes()[middle..to], &NoHeaders)
    });
    let name = format!("{kind:?}, {routes} routes on {hosts} hosts");
    println!("{name:<44}{cost:>10.1}{:>12.1}", built.as_secs_f64() * 1e3);
}

/// What a route with more to look at costs.
fn unusual() {
    let cases: [(&str, Rule); 4] = [
        (
            "wildcard host",
            Rule { hosts: vec![HostMatch::Wildcard("shop.example".into())], ..Rule::default() },
        ),
        (
            "one expression for the path",
            Rule { paths: vec![PathMatch::Regex("/api/v[0-9]+/.*".into())], ..Rule::default() },
        ),
        (
            "header equal",
            Rule {
                conditions: vec![Condition::Header {
                    name: "x-plan".into(),
                    test: Test::Equals("gold".into()),
                }],
                ..Rule::default()
            },
        ),
        (
            "query parameter equal",
            Rule {
                conditions: vec![Condition::Query {
                    name: "plan".into(),
                    test: Test::Equals("gold".into()),
                }],
                ..Rule::default()
            },
        ),
    ];
    for (name, rule) in cases {
        let router = Router::build(vec![rule]).expect("the rule is valid");
        let cost = measure(1_000_000, |_| ask(&router, "www.shop.example", b"/api/v1/x", &Gold));
        println!("{name:<44}{cost:>10.1}");
    }
    let rules = (0..1_000).map(|n| Rule {
        paths: vec![PathMatch::Regex(format!("/service-{n}/v[0-9]+/.*"))],
        ..Rule::default()
    });
    let started = Instant::now();
    let router = Router::build(rules.collect()).expect("the rules are valid");
    let built = started.elapsed().as_secs_f64() * 1e3;
    let cost =
        measure(20_000, |_| ask(&router, "www.shop.example", b"/service-500/v1/x", &NoHeaders));
    println!("{:<44}{cost:>10.1}{built:>12.1}", "the 500th of 1,000 expressions");
}

fn ask(router: &Router, host: &str, path: &[u8], headers: &dyn HeaderLookup) -> usize {
    let found = router.find(&Asked {
        host: black_box(host),
        path: black_box(path),
        query: Some(b"page=2&plan=gold"),
        method: b"GET",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        headers,
    });
    match found {
        Found::Route { route, .. } => route as usize,
        other => panic!("no route: {other:?}"),
    }
}

struct NoHeaders;

impl HeaderLookup for NoHeaders {
    fn each(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}
}

struct Gold;

impl HeaderLookup for Gold {
    fn each(&self, _: &str, f: &mut dyn FnMut(&[u8])) {
        f(b"gold");
    }
}

/// Nanoseconds per call.
fn measure(calls: usize, mut call: impl FnMut(usize) -> usize) -> f64 {
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let started = Instant::now();
            for n in 0..calls {
                black_box(call(n));
            }
            started.elapsed().as_nanos() as f64 / calls as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// xorshift: the order is random but the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
