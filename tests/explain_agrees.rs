//! What `transom explain` tells is what the running program does: generated requests over generated
//! routes, each answered by a route that names itself or refused with a fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use transom::build::{Snapshot, build};
use transom::explain::{Outcome, Question, explain};
use transom::load::{Loaded, Seen, from_text, load};
use transom::materials::Materials;
use transom_settings::Severity;
use transom_testkit::Transom;
use transom_testkit::message::{Reader, Response};

const ROUTES: usize = 3_000;
const REQUESTS: usize = 10_000;
const SEED: u64 = 0x7472_616e_736f_6d21;

#[test]
fn explain_tells_what_the_running_program_does() {
    let seen = agreed(true, SEED);
    assert!(!seen.contains_key("misdirected"), "some routes are for any host: {seen:?}");
}

#[test]
fn explain_tells_what_it_does_where_no_route_is_for_any_host() {
    let seen = agreed(false, !SEED);
    assert!(seen["misdirected"] > 100 && seen["no-route"] > 100, "{seen:?}");
}

/// What became of the requests, once all of them were explained as they were answered.
fn agreed(any_host: bool, seed: u64) -> BTreeMap<String, usize> {
    let mut random = Random(seed);
    let (routes, config) = routes(any_host, &mut random);
    let transom = Transom::run(env!("CARGO_BIN_EXE_transom"), &config);
    let (loaded, snapshot) = read(&transom.folder().join("transom.yaml"));

    let mut connections: BTreeMap<Ipv4Addr, Reader<TcpStream>> = BTreeMap::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for _ in 0..REQUESTS {
        let asked = Asked::generated(&routes, &mut random);
        let question = Question {
            method: asked.method.clone(),
            url: format!("http://{}{}", asked.host, asked.target),
            headers: asked.headers(),
            from: IpAddr::V4(asked.from),
        };
        let told = explain(&snapshot, &loaded.findings, &question)
            .unwrap_or_else(|why| panic!("{why}: {asked:?}"));
        let connection = connections
            .entry(asked.from)
            .or_insert_with(|| Reader::new(connect(asked.from, transom.web())));
        connection.log.clear();
        connection.stream.write_all(&asked.bytes()).unwrap();
        let answer = connection
            .response(&asked.method)
            .unwrap_or_else(|e| panic!("no answer ({e}) to {asked:?}\n{}", told.text));
        if answer.closes() {
            connections.remove(&asked.from);
        }
        let (expected, kind) = match &told.outcome {
            Outcome::Route(name) => (format!("200 {name}"), "route".to_owned()),
            Outcome::Refused(code) => {
                (format!("{} -", code.row().status), code.as_str().to_owned())
            }
        };
        *seen.entry(kind).or_default() += 1;
        let got = format!("{} {}", answer.status, answer.field("x-route").unwrap_or("-"));
        if got != expected || !body_fits(&asked, &told.outcome, &answer) {
            wrong.push(format!("{asked:?}\nexplained {expected}, got {got}\n{}", told.text));
        }
    }
    assert!(wrong.is_empty(), "{} differ; the first:\n{}", wrong.len(), wrong[0]);
    eprintln!("{REQUESTS} requests over {ROUTES} routes: {seen:?}");
    // What was generated must be worth comparing.
    assert!(seen["route"] > REQUESTS / 3, "{seen:?}");
    for code in ["method-not-allowed", "bad-request", "too-large", "forbidden"] {
        assert!(seen.get(code).is_some_and(|count| *count > 20), "{code}: {seen:?}");
    }
    seen
}

/// Routes of which each can be reached, and the file with them.
fn routes(any_host: bool, random: &mut Random) -> (Vec<Route>, String) {
    let mut routes: Vec<Route> = Vec::new();
    loop {
        routes.resize_with(ROUTES, || Route::generated(any_host, random));
        let config = written(&routes);
        let text = config.replace("'@WEB'", ":80");
        let Err(findings) = from_text(Path::new("generated"), &text, false, &|_| None) else {
            return (routes, config);
        };
        let dead = |number: usize| {
            let path = format!("listeners.web.routes[{number}]");
            findings.findings().iter().any(|f| f.severity == Severity::Error && f.path == path)
        };
        let before = routes.len();
        let mut numbers = 0..;
        routes.retain(|_| !dead(numbers.next().expect("there is no last number")));
        assert!(routes.len() < before, "{}", findings.render());
    }
}

fn written(routes: &[Route]) -> String {
    let mut config = String::from(
        "workers: 1\n\
         listeners:\n  web:\n    address: '@WEB'\n    trusted-proxies: [127.0.0.1/32]\n    \
         limits: { body: 1000, requests-per-connection: unlimited }\n    routes:\n",
    );
    for (number, route) in routes.iter().enumerate() {
        let _ = writeln!(
            config,
            "      - name: r{number}\n        match: {{ {} }}\n{}        \
             respond: {{ status: 200, body: r{number}, headers: {{ x-route: r{number} }} }}",
            route.written(),
            route.more
        );
    }
    config
}

/// The route names itself in the body too, where there is one.
fn body_fits(asked: &Asked, outcome: &Outcome, answer: &Response) -> bool {
    match outcome {
        Outcome::Route(name) if asked.method != "HEAD" => answer.text() == *name,
        _ => true,
    }
}

fn read(file: &Path) -> (Loaded, Snapshot) {
    let loaded = load(Some(file), false).unwrap_or_else(|findings| panic!("{}", findings.render()));
    let materials = Materials::load(&loaded.config, &loaded.base, &mut Seen::default());
    let materials = materials.unwrap_or_else(|findings| panic!("{}", findings.render()));
    let snapshot = build(&loaded.config, &materials, None, &|_, _| Vec::new());
    let snapshot = snapshot.unwrap_or_else(|findings| panic!("{}", findings.render()));
    (loaded, snapshot)
}

fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// The same sequence for the same seed, for ever (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

const SEGMENTS: [&str; 8] = ["api", "users", "orders", "v1", "v2", "static", "a", "b"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

/// What a route asks for; written into the file, and the model for requests that fit.
struct Route {
    hosts: Vec<String>,
    path: Option<Pattern>,
    methods: Vec<&'static str>,
    header: Option<(&'static str, Value)>,
    query: Option<(&'static str, Value)>,
    cookie: Option<(&'static str, Value)>,
    clients: Vec<&'static str>,
    /// What the route says beside its match.
    more: &'static str,
}

/// Policies, changes of the path and limits that refuse some of the requests of a route.
const MORE: [&str; 8] = [
    "        policies: [{ address: { deny: [127.0.0.0/29, 203.0.113.0/24] } }]\n",
    "        policies: [{ headers: { request: { set: { x-env: y } } } }, { address: { allow: 127.0.0.0/8, deny: 127.0.0.7 } }]\n",
    "        policies: [{ address: { deny: 127.0.0.0/8, dry-run: true } }, { address: { deny: 127.0.0.3 } }]\n",
    "        limits: { body: 50 }\n",
    "        limits: { body: unlimited }\n        policies: [{ address: { allow: '2001:db8::/32' } }]\n",
    "        rewrite: { strip-prefix: /api }\n",
    "        rewrite: { regex: { match: '/[a-z]+', replace: '/..' } }\n",
    "        rewrite: { regex: { match: '^/.', replace: 'x' } }\n",
];

enum Pattern {
    Exact(String),
    Prefix(String),
    /// With `{}` where anything stands.
    Template(Vec<Option<&'static str>>, bool),
    /// The expression, and what fits.
    Regex(String, String),
}

#[derive(Clone, Copy)]
enum Value {
    Is(&'static str),
    Present(bool),
    Regex(&'static str, &'static str),
    /// What must not be there, and what must, with what fits.
    Unlike(&'static str, Option<&'static str>, &'static str),
}

impl Value {
    fn generated(random: &mut Random) -> Self {
        match random.below(8) {
            3 => Value::Unlike("x.*", None, "y"),
            4 => Value::Unlike("[0-9]+|x", Some("[xy0-9 v]+"), "x y"),
            0 => Value::Present(true),
            1 => Value::Present(false),
            2 => Value::Regex("v[0-9]+", "v42"),
            _ => Value::Is(random.of(&["x", "y", "x y", "1"])),
        }
    }

    fn written(self) -> String {
        match self {
            Value::Is(value) => format!("'{value}'"),
            Value::Present(present) => format!("{{ present: {present} }}"),
            Value::Regex(regex, _) => format!("'~{regex}'"),
            Value::Unlike(unlike, None, _) => format!("{{ unlike: '{unlike}' }}"),
            Value::Unlike(unlike, Some(like), _) => {
                format!("{{ like: '{like}', unlike: '{unlike}' }}")
            }
        }
    }

    fn fitting(self) -> Option<&'static str> {
        match self {
            Value::Is(value) | Value::Regex(_, value) | Value::Unlike(_, _, value) => Some(value),
            Value::Present(true) => Some("anything"),
            Value::Present(false) => None,
        }
    }
}

impl Route {
    fn generated(any_host: bool, random: &mut Random) -> Self {
        let hosts = match random.below(10) {
            0 if any_host => Vec::new(),
            1 if any_host => vec!["*".to_owned()],
            2 | 3 => vec![format!("*.w{}.example", random.below(20))],
            4 => vec![
                format!("h{}.example", random.below(150)),
                format!("*.w{}.example", random.below(20)),
            ],
            _ => vec![format!("h{}.example", random.below(150))],
        };
        let segment = |random: &mut Random| random.of(&SEGMENTS);
        let plain = |random: &mut Random, most: usize| {
            let count = random.below(most) + 1;
            (0..count).map(|_| format!("/{}", segment(random))).collect::<String>()
        };
        let path = match random.below(10) {
            0 => None,
            1 | 2 => Some(Pattern::Exact(plain(random, 3))),
            3..=5 => Some(Pattern::Prefix(plain(random, 2))),
            6 | 7 => {
                let count = random.below(3) + 1;
                let mut parts: Vec<_> =
                    (0..count).map(|_| (!random.one_in(2)).then(|| segment(random))).collect();
                parts.push(None);
                Some(Pattern::Template(parts, random.one_in(4)))
            }
            8 => {
                let before = plain(random, 1);
                Some(Pattern::Regex(format!("{before}/[0-9]+"), format!("{before}/17")))
            }
            _ => {
                let last = segment(random);
                Some(Pattern::Regex(format!("/.*/{last}"), format!("/a/b/{last}")))
            }
        };
        let methods = match random.below(3) {
            0 => vec![random.of(&METHODS), "OPTIONS"],
            1 if random.one_in(2) => vec![random.of(&METHODS)],
            _ => Vec::new(),
        };
        let mut condition = |names: &[&'static str], odds: usize| {
            random.one_in(odds).then(|| (random.of(names), Value::generated(random)))
        };
        let header = condition(&["x-env", "x-tenant", "accept-language"], 4);
        let query = condition(&["q", "page"], 6);
        let cookie = condition(&["beta", "session"], 8);
        let clients = match random.below(12) {
            0 => vec!["127.0.0.0/30"],
            1 => vec!["127.0.0.7", "203.0.113.0/24"],
            2 => vec!["2001:db8::/32", "127.0.0.2/32"],
            _ => Vec::new(),
        };
        let more = if random.one_in(4) { random.of(&MORE) } else { "" };
        Route { hosts, path, methods, header, query, cookie, clients, more }
    }

    fn written(&self) -> String {
        let mut parts = Vec::new();
        let list = |all: &[String]| match all {
            [one] => format!("'{one}'"),
            all => format!("['{}']", all.join("', '")),
        };
        let owned = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        if !self.hosts.is_empty() {
            parts.push(format!("host: {}", list(&self.hosts)));
        }
        if let Some(path) = &self.path {
            parts.push(format!("path: '{}'", path.written()));
        }
        if !self.methods.is_empty() {
            parts.push(format!("method: {}", list(&owned(&self.methods))));
        }
        for (key, condition) in
            [("header", self.header), ("query", self.query), ("cookie", self.cookie)]
        {
            if let Some((name, value)) = condition {
                parts.push(format!("{key}: {{ {name}: {} }}", value.written()));
            }
        }
        if !self.clients.is_empty() {
            parts.push(format!("client: {}", list(&owned(&self.clients))));
        }
        parts.join(", ")
    }
}

impl Pattern {
    fn written(&self) -> String {
        match self {
            Pattern::Exact(path) => path.clone(),
            Pattern::Prefix(path) => format!("{path}/**"),
            Pattern::Template(parts, rest) => {
                let mut out = String::new();
                for (number, part) in parts.iter().enumerate() {
                    match part {
                        Some(part) => drop(write!(out, "/{part}")),
                        None => drop(write!(out, "/{{p{number}}}")),
                    }
                }
                if *rest {
                    out.push_str("/**");
                }
                out
            }
            Pattern::Regex(regex, _) => format!("~{regex}"),
        }
    }

    fn fitting(&self, random: &mut Random) -> String {
        match self {
            Pattern::Exact(path) => path.clone(),
            Pattern::Prefix(path) => match random.below(3) {
                0 => path.clone(),
                1 => format!("{path}/"),
                _ => format!("{path}/{}/x", random.of(&SEGMENTS)),
            },
            Pattern::Template(parts, rest) => {
                let mut out = String::new();
                for part in parts {
                    out.push('/');
                    out.push_str(
                        part.unwrap_or_else(|| random.of(&["7", "%C3%A4", "orders", "a.b"])),
                    );
                }
                if *rest && random.one_in(2) {
                    out.push_str("/more");
                }
                out
            }
            Pattern::Regex(_, fitting) => fitting.clone(),
        }
    }
}

/// A request.
#[derive(Debug)]
struct Asked {
    method: String,
    host: String,
    target: String,
    headers: Vec<String>,
    body: usize,
    from: Ipv4Addr,
}

impl Asked {
    /// Made to fit some route, and then perhaps spoilt.
    fn generated(routes: &[Route], random: &mut Random) -> Self {
        let route = &routes[random.below(routes.len())];
        let host = match route.hosts.get(random.below(route.hosts.len().max(1))).map(|h| &**h) {
            None | Some("*") => {
                random.of(&["any.example", "h1.example", "x.w3.example"]).to_owned()
            }
            Some(host) => match host.strip_prefix('*') {
                Some(rest) => format!("{}{rest}", random.of(&["x", "x.y", "www"])),
                None => host.to_owned(),
            },
        };
        let host = match random.below(25) {
            0 => host.to_uppercase(),
            1 => format!("{host}:8080"),
            2 => format!("{host}."),
            3 => "elsewhere.example".to_owned(),
            4 => random.of(&["127.0.0.1", "[::1]", "w3.example", "bad_host", "a b"]).to_owned(),
            _ => host,
        };
        let path = match &route.path {
            Some(path) => path.fitting(random),
            None => format!("/{}", random.of(&SEGMENTS)),
        };
        let path = match random.below(30) {
            0 => path.replacen('/', "//", 1),
            1 => format!("{path}/../a"),
            2 => format!("/./{}", &path[1..]),
            3 => path.replace('a', "%61"),
            4 => format!("{path}%2f"),
            5 => format!("{path}%zz"),
            6 => format!("{path}/%00"),
            7 => format!("{path}/"),
            8 => path.to_uppercase(),
            9 => format!("{path};v=1"),
            10 => "/..".to_owned(),
            11 => "/nowhere/at/all".to_owned(),
            _ => path,
        };
        let mut query = Vec::new();
        if let Some((name, value)) = route.query.filter(|_| !random.one_in(6)) {
            let value = value.fitting().map(|value| value.replace(' ', random.of(&["+", "%20"])));
            query.extend(value.map(|value| format!("{name}={value}")));
        }
        if random.one_in(10) {
            query.insert(
                0,
                random.of(&["q", "q=", "page=x&page=y", "&&", "%71=x", "z=%"]).to_owned(),
            );
        }
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };

        let mut headers = Vec::new();
        if let Some((name, value)) = route.header.filter(|_| !random.one_in(6)) {
            headers.extend(value.fitting().map(|value| format!("{name}: {value}")));
        }
        if random.one_in(10) {
            let extra = ["x-env: y", "X-Env: x", "x-tenant:", "x-tenant: v1, x", "Accept: */*"];
            headers.push(random.of(&extra).to_owned());
        }
        if let Some((name, value)) = route.cookie.filter(|_| !random.one_in(6)) {
            headers.extend(value.fitting().map(|value| format!("Cookie: a=b; {name}={value}")));
        }
        let broken =
            ["x env: y", "Host: other.example", "Transfer-Encoding: gzip", "Expect: 200-maybe"];
        if random.one_in(80) {
            headers.push(random.of(&broken).to_owned());
        }
        if random.one_in(12) {
            let said =
                random.of(&["203.0.113.9", "127.0.0.7", "2001:db8::1", "10.0.0.1, 127.0.0.2"]);
            headers.push(format!("X-Forwarded-For: {said}"));
        }
        let method = match route.methods.first() {
            Some(&"GET") if random.one_in(3) => "HEAD",
            Some(method) if !random.one_in(6) => method,
            _ => random.of(&["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]),
        };
        let method = match random.below(100) {
            0 => random.of(&["TRACE", "PURGE", "get", "G@T"]),
            _ => method,
        };
        let body = match method {
            "POST" | "PUT" | "PATCH" if random.one_in(2) => {
                let length = if random.one_in(10) { 1001 } else { random.below(100) };
                headers.push(format!("Content-Length: {length}"));
                length
            }
            _ => 0,
        };
        let from = Ipv4Addr::new(127, 0, 0, [1, 2, 3, 7, 9][random.below(5)]);
        Asked {
            method: method.to_owned(),
            host,
            target: format!("{path}{query}"),
            headers,
            body,
            from,
        }
    }

    /// As they are given to `explain`, which takes a Host from there in place of the URL's.
    fn headers(&self) -> Vec<String> {
        let mut headers = self.headers.clone();
        if headers.iter().any(|header| header.starts_with("Host:")) {
            headers.push(format!("Host: {}", self.host));
        }
        headers
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for header in &self.headers {
            let _ = write!(head, "{header}\r\n");
        }
        head.push_str("\r\n");
        head.push_str(&"b".repeat(self.body));
        head.into_bytes()
    }
}
