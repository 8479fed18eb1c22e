use std::net::Ipv4Addr;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::testing::Lines;
use super::*;

/// A rule from `METHODS HOST PATH...`; `-` stands for nothing, `~` begins an expression.
fn rule(text: &str) -> Rule {
    let list = |text: &str| -> Vec<String> {
        text.split(',').filter(|part| *part != "-").map(Into::into).collect()
    };
    let mut words = text.split(' ');
    let methods = list(words.next().unwrap_or("-"));
    let hosts = list(words.next().unwrap_or("-"));
    let hosts = hosts.iter().map(|host| HostMatch::parse(host).expect("valid host"));
    let paths = words.filter(|path| *path != "-").map(|path| match path.strip_prefix('~') {
        Some(regex) => PathMatch::Regex(regex.into()),
        None => PathMatch::parse(path).expect("valid path"),
    });
    Rule { methods, hosts: hosts.collect(), paths: paths.collect(), ..Rule::default() }
}

fn router(rules: &[&str]) -> Router {
    Router::build(rules.iter().map(|text| rule(text)).collect()).expect("the rules are valid")
}

fn asked<'a>(method: &'a str, host: &'a str, path: &'a str, lines: &'a Lines<'a>) -> Asked<'a> {
    Asked {
        host,
        path: path.as_bytes(),
        query: None,
        method: method.as_bytes(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        headers: lines,
    }
}

/// `route name=value...`, or the refusal.
fn answer(router: &Router, request: &str) -> String {
    let mut words = request.split(' ');
    let mut word = || words.next().expect("`METHOD HOST PATH`");
    let (method, host, path) = (word(), word(), word());
    let lines = Lines(&[]);
    match router.find(&asked(method, host, path, &lines)) {
        Found::NoHost => "421".into(),
        Found::NoRoute => "404".into(),
        Found::Route { route, captures } => {
            let mut text = route.to_string();
            for (name, value) in router.captures(&captures, path.as_bytes()) {
                text += &format!(" {name}={}", String::from_utf8_lossy(value));
                assert_eq!(router.capture(&captures, name, path.as_bytes()), Some(value));
            }
            text
        }
        Found::WrongMethod { allow } => format!("405 {allow}"),
    }
}

fn check(rules: &[&str], rows: &[(&str, &str, &str)]) {
    let router = router(rules);
    for (id, request, expected) in rows {
        assert_eq!(answer(&router, request), *expected, "{id}: {request}");
    }
}

#[test]
fn p_07_prefixes_end_at_segments() {
    check(
        &["- - /api/**", "- - /api/v1/**", "- - /shop/**"],
        &[
            ("P-07", "GET a /api", "0"),
            ("P-07", "GET a /api/", "0"),
            ("P-07", "GET a /api/x", "0"),
            ("P-07", "GET a /apiadmin", "404"),
            ("P-04", "GET a /api;v=1", "404"),
            ("P-04", "GET a /api;v=1/x", "404"),
            ("P-06", "GET a /API/x", "404"),
            ("P-02", "GET a /api%2Fv1", "404"),
            ("usual", "GET a /api/v1", "1"),
            ("usual", "GET a /api/v1x", "0"),
            ("usual", "GET a /api/v1/x/y", "1"),
            ("usual", "GET a /", "404"),
        ],
    );
}

#[test]
fn p_07_a_chain_of_literals_ends_at_a_segment_too() {
    check(
        &["- - /a/api/**", "- b /b/api/{x}"],
        &[
            ("P-07", "GET a /a/api", "0"),
            ("P-07", "GET a /a/api/x", "0"),
            ("P-07", "GET a /a/apiadmin", "404"),
            ("P-07", "GET b /b/api/1", "1 x=1"),
            ("P-07", "GET b /b/apis/1", "404"),
        ],
    );
}

#[test]
fn p_11_an_unknown_host_gets_no_route() {
    check(
        &["- shop.example /", "- *.shop.example /", "- *.example /x", "- [::1] /"],
        &[
            ("P-11", "GET evil.test /", "421"),
            ("P-11", "GET 10.0.0.1 /", "421"),
            ("P-11", "GET localhost /", "421"),
            ("P-11", "GET example /", "421"),
            ("usual", "GET [::1] /", "3"),
            ("usual", "GET shop.example /", "0"),
            ("usual", "GET a.shop.example /", "1"),
            ("usual", "GET b.a.shop.example /", "1"),
            ("usual", "GET other.example /", "404"),
        ],
    );
}

#[test]
fn a_less_specific_host_serves_what_the_exact_one_does_not() {
    check(
        &["- - /**", "- *.example /api/**", "- *.a.example /api/v1/**", "- x.a.example /api"],
        &[
            ("usual", "GET x.a.example /api", "3"),
            ("usual", "GET x.a.example /api/v1", "2"),
            ("usual", "GET x.a.example /api/v2", "1"),
            ("usual", "GET x.a.example /other", "0"),
            ("usual", "GET nowhere /api", "0"),
        ],
    );
}

#[test]
fn the_most_specific_path_wins() {
    check(
        &[
            "- - -",
            "- - ~/a/.*",
            "- - /a/**",
            "- - /a/{x}/**",
            "- - /a/{x}/c",
            "- - /a/{x}/{y}",
            "- - /{x}/b/c",
            "- - /a/b/c",
            "- - ~/r/(?P<n>[0-9]+)",
            "- - ~/r/.*",
            "- - /r/x",
        ],
        &[
            ("exact", "GET a /a/b/c", "7"),
            ("template", "GET a /a/z/c", "4 x=z"),
            ("template", "GET a /z/b/c", "6 x=z"),
            ("template", "GET a /a/b/d", "5 x=b y=d"),
            ("template", "GET a /a/z/c/", "3 x=z"),
            ("prefix", "GET a /a/z/c/d", "3 x=z"),
            ("prefix", "GET a /a/", "2"),
            ("prefix", "GET a /a", "2"),
            ("regex", "GET a /r/12", "8 n=12"),
            ("regex", "GET a /r/y", "9"),
            ("exact", "GET a /r/x", "10"),
            ("any", "GET a /other", "0"),
        ],
    );
}

#[test]
fn more_literals_beat_a_literal_further_left() {
    check(
        &["- - /z/{a}/{b}", "- - /{a}/x/y", "- - /z/{a}/y"],
        &[
            ("template", "GET a /z/x/y", "2 a=x"),
            ("template", "GET a /w/x/y", "1 a=w"),
            ("template", "GET a /z/x/w", "0 a=x b=w"),
        ],
    );
}

#[test]
fn templates_need_segments_that_are_not_empty() {
    check(
        &["- - /users/{id}", "- - /users/{id}/", "- - /{a}/{b}/{c}/{d}/{e}/{f}"],
        &[
            ("usual", "GET a /users/7", "0 id=7"),
            ("usual", "GET a /users/7/", "1 id=7"),
            ("usual", "GET a /users/", "404"),
            ("P-03", "GET a /users//", "404"),
            ("P-02", "GET a /users/a%2Fb", "0 id=a%2Fb"),
            ("P-04", "GET a /users/7;x=1", "0 id=7;x=1"),
            ("spilled", "GET a /1/2/3/4/5/6", "2 a=1 b=2 c=3 d=4 e=5 f=6"),
        ],
    );
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    check(
        &["GET,BREW a /x", "POST - /x", "DELETE a /y", "PUT a /{any}", "GET b -"],
        &[
            ("usual", "GET a /x", "0"),
            ("usual", "HEAD a /x", "0"),
            ("usual", "BREW a /x", "0"),
            ("fallback", "POST a /x", "1"),
            ("405", "DELETE a /x", "405 GET, HEAD, POST, PUT, BREW"),
            ("405", "get a /x", "405 GET, HEAD, POST, PUT, BREW"),
            ("405", "GET a /y", "405 PUT, DELETE"),
            ("405", "OPTIONS b /", "405 GET, HEAD"),
            ("404", "GET a /z/z", "404"),
        ],
    );
}

#[test]
fn what_a_rule_leaves_out_is_as_if_it_were_not_written() {
    let except = |text: &str, out: &[&str]| Rule {
        except: out.iter().map(|path| PathMatch::parse(path).unwrap()).collect(),
        ..rule(text)
    };
    let rules = vec![
        except("GET - /shop/{a}/{b}", &["/shop/v1/**", "/shop/v2/**"]),
        rule("GET - /shop/v2/orders"),
        rule("GET - ~/shop/v2/report-[0-9]+"),
        except("- - /shop/**", &["/shop/v2/**"]),
    ];
    let router = Router::build(rules).unwrap();
    for (request, expected) in [
        ("GET - /shop/x/orders", "0 a=x b=orders"),
        ("GET - /shop/v2/orders", "1"),
        ("DELETE - /shop/v2/orders", "405 GET, HEAD"),
        ("GET - /shop/v2/report-7", "2"),
        ("GET - /shop/v2/secret", "404"),
        ("GET - /shop/v2", "404"),
        ("GET - /shop/v22", "3"),
        ("GET - /shop/v1/orders", "3"),
    ] {
        assert_eq!(answer(&router, request), expected, "{request}");
    }
}

#[test]
fn a_route_whose_conditions_fail_gives_way() {
    let header =
        |value: &str| Condition::Header { name: "x-plan".into(), test: Test::Equals(value.into()) };
    let with = |text: &str, conditions: Vec<Condition>| Rule { conditions, ..rule(text) };
    let rules = vec![
        with("- - /x", vec![]),
        with("- - /x", vec![header("gold")]),
        with("POST - /y", vec![header("gold")]),
        with("- - /**", vec![header("tin")]),
    ];
    let router = Router::build(rules).expect("the rules are valid");
    type Given<'a> = &'a [(&'a str, &'a str)];
    let rows: &[(&str, &str, Given<'_>, Found)] = &[
        ("GET", "/x", &[], Found::Route { route: 0, captures: Captures::default() }),
        (
            "GET",
            "/x",
            &[("X-Plan", "gold")],
            Found::Route { route: 1, captures: Captures { pattern: 1, ..Captures::default() } },
        ),
        ("GET", "/y", &[], Found::NoRoute),
        ("GET", "/y", &[("X-Plan", "gold")], Found::WrongMethod { allow: "POST".into() }),
        (
            "POST",
            "/y",
            &[("X-Plan", "tin")],
            Found::Route { route: 3, captures: Captures { pattern: 3, ..Captures::default() } },
        ),
    ];
    for (method, path, lines, expected) in rows {
        let lines = Lines(lines);
        assert_eq!(router.find(&asked(method, "a", path, &lines)), *expected, "{method} {path}");
    }
}

#[test]
fn explain_says_what_failed_in_the_order_tried() {
    let mut rules = vec![
        rule("- other.example /"),
        rule("- *.example /**"),
        rule("POST a.example /x"),
        rule("- a.example /y/{id}"),
    ];
    rules[3].conditions.push(Condition::Client(vec!["10.0.0.0/8".parse().expect("valid")]));
    let router = Router::build(rules).expect("the rules are valid");
    let lines = Lines(&[]);
    let told = |host: &str, path: &str| -> Vec<String> {
        let steps = router.explain(&asked("GET", host, path, &lines));
        steps
            .iter()
            .map(|step| match (&step.verdict, step.tried) {
                (Verdict::Failed(why), _) => format!("{} {why}", step.route),
                (Verdict::Matched, tried) => {
                    let (host, path) = tried.expect("what matched was tried");
                    format!("{} {host}{path} matched", step.route)
                }
            })
            .collect()
    };
    assert_eq!(
        told("a.example", "/x"),
        ["2 serves only POST", "3 serves another path", "1 *.example/** matched"],
    );
    assert_eq!(
        told("a.example", "/y/1"),
        [
            "2 serves another path",
            "3 wants client address in `10.0.0.0/8`",
            "1 *.example/** matched"
        ],
    );
    assert_eq!(told("nowhere", "/"), [0, 1, 2, 3].map(|n| format!("{n} serves another host")));
}

#[test]
fn every_rule_that_cannot_run_is_named() {
    let header = Condition::Header { name: "x y".into(), test: Test::Present };
    let mut bad_header = rule("- - /");
    bad_header.conditions.push(header);
    let errors = Router::build(vec![
        rule("- - ~/(a"),
        rule("- - /fine"),
        rule("G[T - /"),
        bad_header,
        rule("- - ~a)(b"),
    ])
    .expect_err("four rules are wrong");
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "route 0: the regular expression `/(a` is not usable: unclosed group",
            "route 2: `G[T` is no method",
            "route 3: `x y` is no name of a header field",
            "route 4: the regular expression `a)(b` is not usable: unopened group",
        ],
    );
}

#[test]
fn sl_15_expressions_are_linear_and_bounded() {
    let errors = Router::build(vec![rule("- - ~(a{1000}){1000}")]).expect_err("it is too big");
    assert!(errors[0].to_string().contains("takes more than"), "{}", errors[0]);
    let router = router(&["- - ~/(a+)+$"]);
    let long = "/".to_owned() + &"a".repeat(100 << 10);
    let lines = Lines(&[]);
    assert!(matches!(router.find(&asked("GET", "a", &long, &lines)), Found::Route { .. }));
    let long = long + "!";
    assert_eq!(router.find(&asked("GET", "a", &long, &lines)), Found::NoRoute);
}

#[test]
fn sl_15_many_expressions_keep_the_order_of_the_file() {
    let mut rules: Vec<Rule> = (0..300).map(|n| rule(&format!("- - ~/r{n}/[a-z]+"))).collect();
    rules.insert(150, rule("- - ~/r(7|299)/.*"));
    let router = Router::build(rules).expect("the rules are valid");
    for (request, expected) in [
        ("GET a /r7/abc", "7"),
        ("GET a /r7/1", "150"),
        ("GET a /r299/abc", "150"),
        ("GET a /r298/abc", "299"),
        ("GET a /r300/abc", "404"),
    ] {
        assert_eq!(answer(&router, request), expected, "{request}");
    }
}

#[test]
fn sl_10_a_path_of_many_segments_takes_linear_time() {
    let router = router(&["- - /{a}/{b}/{c}/x", "- - /a/**", "- - /{a}/**"]);
    let long = "/a".repeat(10_000);
    assert_eq!(answer(&router, &format!("GET a {long}")), "1");
}

const HOSTS: [&str; 7] =
    ["*", "a.example", "b.example", "*.example", "*.a.example", "x.a.example", "c.test"];
const ASKED_HOSTS: [&str; 7] =
    ["a.example", "b.example", "z.example", "x.a.example", "y.a.example", "c.test", "d.test"];
const SEGMENTS: [&str; 8] = ["a", "b", "{x}", "{y}", "{z}", "a", "b", ""];
const REGEXES: [&str; 6] = ["/a.*", "/(?P<n>[ab]+)/.*", "/[^/]*", ".*/b", "/a/b(/.*)?", "/"];
const METHODS: [&str; 4] = ["GET", "POST", "HEAD", "BREW"];

fn some_path() -> impl Strategy<Value = PathMatch> {
    let segments = proptest::collection::vec(select(&SEGMENTS[..]), 1..4);
    let written = (segments, any::<bool>()).prop_filter_map("a valid pattern", |(list, open)| {
        PathMatch::parse(&format!("/{}{}", list.join("/"), if open { "/**" } else { "" })).ok()
    });
    let regex = select(&REGEXES[..]).prop_map(|regex| PathMatch::Regex(regex.into()));
    prop_oneof![6 => written, 1 => regex, 1 => Just(PathMatch::Prefix(Vec::new()))]
}

fn some_condition() -> impl Strategy<Value = Condition> {
    let test = prop_oneof![
        Just(Test::Absent),
        Just(Test::Present),
        Just(Test::Equals("1".into())),
        Just(Test::Matches("[12]".into())),
        Just(Test::Unlike("[12]".into())),
    ];
    (0..4, test).prop_map(|(what, test)| match what {
        0 => Condition::Client(vec!["127.0.0.0/8".parse().expect("valid")]),
        1 => Condition::Cookie { name: "c".into(), test },
        2 => Condition::Header { name: "h".into(), test },
        _ => Condition::Query { name: "q".into(), test },
    })
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let hosts = proptest::collection::vec(select(&HOSTS[..]), 0..3).prop_map(|hosts| {
        hosts.into_iter().map(|host| HostMatch::parse(host).expect("valid host")).collect()
    });
    let methods = proptest::collection::vec(select(&METHODS[..]), 0..2)
        .prop_map(|methods| methods.into_iter().map(Into::into).collect());
    let paths = proptest::collection::vec(some_path(), 0..3);
    let conditions = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::collection::vec(some_condition(), 1..3),
    ];
    let plain = some_path().prop_filter("no expression", |p| !matches!(p, PathMatch::Regex(_)));
    let except = prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(plain, 1..3)];
    (hosts, paths, methods, conditions, except).prop_map(
        |(hosts, paths, methods, conditions, except)| Rule {
            hosts,
            paths,
            methods,
            conditions,
            except,
        },
    )
}

#[derive(Clone, Debug)]
struct Request {
    host: Index,
    method: Index,
    path: String,
    query: Option<&'static str>,
    lines: Vec<(&'static str, &'static str)>,
    local: bool,
}

fn some_request() -> impl Strategy<Value = Request> {
    let path = proptest::collection::vec(select(vec!["a", "b", "c", ""]), 1..5)
        .prop_map(|segments| format!("/{}", segments.join("/")));
    let query = prop_oneof![Just(None), select(vec!["q=1", "q=2&q=1", "q", ""]).prop_map(Some)];
    let line = select(vec![("H", "1"), ("h", "2"), ("cookie", "c=1; d=2"), ("Cookie", "c=3")]);
    let lines = proptest::collection::vec(line, 0..3);
    (any::<Index>(), any::<Index>(), path, query, lines, any::<bool>()).prop_map(
        |(host, method, path, query, lines, local)| Request {
            host,
            method,
            path,
            query,
            lines,
            local,
        },
    )
}

/// What the steps of `explain` amount to.
fn concluded<'r>(router: &'r Router, asked: &Asked<'_>) -> (Found, Vec<Step<'r>>) {
    let steps = router.explain(asked);
    let failed = |wanted: fn(&Failure<'_>) -> bool| {
        steps.iter().any(|step| matches!(&step.verdict, Verdict::Failed(why) if wanted(why)))
    };
    let found = match steps.last() {
        Some(Step { route, verdict: Verdict::Matched, .. }) => {
            Found::Route { route: *route, captures: Captures::default() }
        }
        _ if steps.iter().all(|step| step.verdict == Verdict::Failed(Failure::Host)) => {
            Found::NoHost
        }
        _ if failed(|why| matches!(why, Failure::Method(_))) => {
            Found::WrongMethod { allow: String::new() }
        }
        _ => Found::NoRoute,
    };
    (found, steps)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn explain_agrees_with_find(
        rules in proptest::collection::vec(some_rule(), 0..24),
        requests in proptest::collection::vec(some_request(), 1..16),
    ) {
        let router = Router::build(rules).expect("generated rules are valid");
        for request in requests {
            let lines = Lines(&request.lines);
            let client = if request.local { "127.0.0.1" } else { "::2" };
            let asked = Asked {
                host: request.host.get::<&str>(&ASKED_HOSTS[..]),
                path: request.path.as_bytes(),
                query: request.query.map(str::as_bytes),
                method: request.method.get::<&str>(&METHODS[..]).as_bytes(),
                client: client.parse().expect("valid"),
                headers: &lines,
            };
            let found = match router.find(&asked) {
                Found::Route { route, captures } => {
                    for (_, value) in router.captures(&captures, asked.path) {
                        prop_assert!(request.path.contains(&*String::from_utf8_lossy(value)));
                    }
                    Found::Route { route, captures: Captures::default() }
                }
                Found::WrongMethod { allow } => {
                    prop_assert!(!allow.is_empty());
                    Found::WrongMethod { allow: String::new() }
                }
                other => other,
            };
            let (expected, steps) = concluded(&router, &asked);
            prop_assert_eq!(found, expected, "{:?} {:#?}", request, steps);
        }
    }
}
