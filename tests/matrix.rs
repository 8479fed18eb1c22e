//! Every feature of HTTP over every version that a client and an endpoint may speak: one test for
//! each, and what the two see is the same.

#![allow(clippy::disallowed_methods, reason = "tests wait on threads of their own")]

use std::fs;

use transom_testkit::endpoint::ok;
use transom_testkit::message::Received;
use transom_testkit::{Client, Endpoint, H2Endpoint, Http2, Manners, Response, Transom};

const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

const CONFIG: &str = r#"
workers: 1
listeners:
  web:
    address: '@WEB'
    limits: { body: 1KiB, header-line: 1KiB, request-line: 2KiB }
    error-pages: { 404: '@folder/lost.html' }
    trusted-proxies: [127.0.0.1]
    routes:
      - match: { host: files.example }
        files: { root: '@folder/site', precompressed: [gzip] }
      - match: { host: a.example, path: /moved/** }
        redirect: { to: "https://b.example{path}", status: 308 }
      - match: { host: a.example, path: /said }
        respond: { status: 203, body: said }
      - match: { host: a.example, path: "/users/{id}" }
        request-headers: { set: { x-user: "{capture.id}" }, remove: [cookie] }
        response-headers: { set: { x-seen: "{request.id}" } }
        rewrite: { add-prefix: /v2 }
        forward: o
      - match: { host: a.example, path: /post, method: POST }
        forward: o
      - match: { host: a.example, path: /by-header, header: { x-kind: new } }
        respond: { status: 200, body: new }
      - match: { host: a.example, path: /away }
        forward: 127.0.0.1:1
      - match: { host: a.example, path: /e/** }
        forward: o
pools:
  o: { endpoints: '@endpoint', http: @version }
"#;

/// A client of some version.
trait Version {
    fn name(&self) -> &'static str;

    fn ask(&mut self, method: &str, path: &str, lines: &[(&str, &str)], body: &str) -> Response;
}

struct Http1(Client);

impl Version for Http1 {
    fn name(&self) -> &'static str {
        "HTTP/1.1"
    }

    fn ask(&mut self, method: &str, path: &str, lines: &[(&str, &str)], body: &str) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let host = lines.iter().find(|line| line.0 == "host").map_or("a.example", |line| line.1);
        head += &format!("Host: {host}\r\n");
        for (name, value) in lines.iter().filter(|line| line.0 != "host") {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        self.0.send(head + "\r\n" + body);
        self.0.response_to(method)
    }
}

impl Version for Http2 {
    fn name(&self) -> &'static str {
        "HTTP/2"
    }

    fn ask(&mut self, method: &str, path: &str, lines: &[(&str, &str)], body: &str) -> Response {
        let host = lines.iter().find(|line| line.0 == "host").map_or("a.example", |line| line.1);
        let length = body.len().to_string();
        let mut others: Vec<_> = lines.iter().copied().filter(|line| line.0 != "host").collect();
        if !body.is_empty() {
            others.push(("content-length", &length));
        }
        let mut request = transom_testkit::http2::request(method, path, &others);
        let uri = format!("http://{host}{path}");
        *request.uri_mut() = uri.parse().expect("a target");
        Http2::ask(self, request, body.as_bytes())
    }
}

/// An endpoint of some version.
enum Back {
    Http1(Endpoint),
    Http2(H2Endpoint),
}

impl Back {
    fn requests(&self) -> Vec<Received> {
        match self {
            Back::Http1(endpoint) => endpoint.requests(),
            Back::Http2(endpoint) => endpoint.requests(),
        }
    }

    fn connections(&self) -> usize {
        match self {
            Back::Http1(endpoint) => endpoint.connections(),
            Back::Http2(endpoint) => endpoint.connections(),
        }
    }

    /// The field that holds the host.
    fn host(&self) -> &'static str {
        match self {
            Back::Http1(_) => "host",
            Back::Http2(_) => ":authority",
        }
    }
}

/// Which versions a test runs over.
#[derive(Clone, Copy)]
struct Over {
    client: fn(&Transom) -> Box<dyn Version>,
    endpoint: u8,
}

impl Over {
    fn echo(self) -> Bench {
        let echo = match self.endpoint {
            1 => Back::Http1(Endpoint::echo()),
            _ => Back::Http2(H2Endpoint::echo()),
        };
        Bench::new(self, echo)
    }
}

struct Bench {
    endpoint: Back,
    transom: Transom,
    client: Box<dyn Version>,
}

impl Bench {
    fn new(over: Over, endpoint: Back) -> Self {
        let (address, version) = match &endpoint {
            Back::Http1(endpoint) => (endpoint.address, "1.1"),
            Back::Http2(endpoint) => (endpoint.address, "2"),
        };
        let config = CONFIG.replace("@endpoint", &address.to_string()).replace("@version", version);
        let transom = Transom::run_with(TRANSOM, &config, |folder| {
            fs::write(folder.join("lost.html"), "<p>lost</p>").unwrap();
            fs::create_dir(folder.join("site")).unwrap();
            fs::write(folder.join("site/a.txt"), "0123456789").unwrap();
            fs::write(folder.join("site/a.txt.gz"), "zipped").unwrap();
        });
        let client = (over.client)(&transom);
        Bench { endpoint, transom, client }
    }

    fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, &[])
    }

    fn ask(&mut self, method: &str, path: &str, lines: &[(&str, &str)]) -> Response {
        self.client.ask(method, path, lines, "")
    }
}

fn http1(transom: &Transom) -> Box<dyn Version> {
    Box::new(Http1(Client::connect(transom.web())))
}

fn http2(transom: &Transom) -> Box<dyn Version> {
    Box::new(Http2::connect(transom.web()))
}

/// One test for each feature and pair of versions.
macro_rules! matrix {
    ($($feature:ident)+) => {
        matrix! { h1_to_h1 http1 1: $($feature)+ }
        matrix! { h1_to_h2 http1 2: $($feature)+ }
        matrix! { h2_to_h1 http2 1: $($feature)+ }
        matrix! { h2_to_h2 http2 2: $($feature)+ }
    };
    ($pair:ident $client:ident $endpoint:literal: $($feature:ident)+) => {
        mod $pair {
            $(#[test]
            fn $feature() {
                super::$feature(super::Over { client: super::$client, endpoint: $endpoint });
            })+
        }
    };
}

matrix! {
    a_request_reaches_the_endpoint
    answers_say_what_is_wrong
    files_are_served
    limits_hold
    methods_and_conditions_choose
    redirects_and_fixed_answers
    responses_come_as_they_were_sent
    the_log_tells_the_version
}

fn a_request_reaches_the_endpoint(over: Over) {
    let mut bench = over.echo();
    let lines = [
        ("cookie", "secret=1"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-request-id", "mine-1"),
        ("accept-language", "de"),
    ];
    let response = bench.ask("GET", "/users/7?q=%20a", &lines);
    assert_eq!((response.status, response.field("x-seen")), (200, Some("mine-1")));
    let request = bench.endpoint.requests().remove(0);
    assert_eq!((&*request.method, &*request.target), ("GET", "/v2/users/7?q=%20a"));
    for (name, value) in [
        (bench.endpoint.host(), Some("a.example")),
        ("x-user", Some("7")),
        ("cookie", None),
        ("x-forwarded-for", Some("192.0.2.7, 127.0.0.1")),
        ("x-forwarded-host", Some("a.example")),
        ("x-request-id", Some("mine-1")),
        ("accept-language", Some("de")),
    ] {
        assert_eq!(request.field(name), value, "{name}");
    }
    let response = bench.client.ask("POST", "/post", &[], "a body");
    assert_eq!(response.status, 200);
    let request = bench.endpoint.requests().pop().unwrap();
    assert_eq!((request.text().as_str(), request.field("content-length")), ("a body", Some("6")));
    assert_eq!(bench.endpoint.connections(), 1, "the connection is kept");
}

fn answers_say_what_is_wrong(over: Over) {
    let mut bench = over.echo();
    let response = bench.get("/nowhere");
    assert_eq!((response.status, response.text().as_str()), (404, "<p>lost</p>"));
    let response = bench.ask("GET", "/away", &[("accept", "application/json")]);
    assert_eq!(
        (response.status, response.field("content-type")),
        (502, Some("application/problem+json"))
    );
    assert_eq!(response.field("proxy-status"), Some("transom; error=connection_refused"));
    let id = response.field("x-request-id").unwrap().to_owned();
    assert!(response.text().contains(&id));
    assert_eq!(bench.ask("GET", "/", &[("host", "other.example")]).status, 421);
    let response = bench.ask("GET", "/post", &[]);
    assert_eq!((response.status, response.field("allow")), (405, Some("POST")));
    let response = bench.ask("HEAD", "/away", &[]);
    assert_eq!((response.status, response.body.len()), (502, 0));
}

fn files_are_served(over: Over) {
    let mut bench = over.echo();
    let host = ("host", "files.example");
    let whole = bench.ask("GET", "/a.txt", &[host]);
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    let etag = whole.field("etag").unwrap().to_owned();
    let part = bench.ask("GET", "/a.txt", &[host, ("range", "bytes=2-4")]);
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    let same = bench.ask("GET", "/a.txt", &[host, ("if-none-match", &etag)]);
    assert_eq!((same.status, same.body.len()), (304, 0));
    let zipped = bench.ask("GET", "/a.txt", &[host, ("accept-encoding", "gzip")]);
    assert_eq!(
        (zipped.text().as_str(), zipped.field("content-encoding")),
        ("zipped", Some("gzip"))
    );
    let head = bench.ask("HEAD", "/a.txt", &[host]);
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, Some("10"), 0));
    assert_eq!(bench.ask("GET", "/../a.txt", &[host]).status, 400);
}

fn limits_hold(over: Over) {
    let long = "v".repeat(1100);
    for (path, lines, body, status) in [
        ("/post", vec![], "b".repeat(1025), 413),
        ("/e/x", vec![("x", long.as_str())], String::new(), 431),
        ("/e/x", vec![("x", "y"); 101], String::new(), 431),
        (&*format!("/e/{}", "p".repeat(2048)), vec![], String::new(), 414),
    ] {
        let mut bench = over.echo();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let response = bench.client.ask(method, path, &lines, &body);
        assert_eq!(response.status, status, "{path:.20} {}", lines.len());
        assert!(bench.endpoint.requests().is_empty());
    }
}

fn methods_and_conditions_choose(over: Over) {
    let mut bench = over.echo();
    assert_eq!(bench.ask("GET", "/by-header", &[("x-kind", "new")]).text(), "new");
    assert_eq!(bench.ask("GET", "/by-header", &[("x-kind", "old")]).status, 404);
    assert_eq!(bench.ask("DELETE", "/e/x", &[]).echo()["method"], "DELETE");
    assert_eq!(bench.ask("TRACE", "/e/x", &[]).status, 405);
}

fn redirects_and_fixed_answers(over: Over) {
    let mut bench = over.echo();
    let moved = bench.get("/moved/x?y");
    assert_eq!(moved.status, 308);
    assert!(moved.field("location").unwrap().starts_with("https://b.example/moved/x"));
    let said = bench.get("/said");
    assert_eq!((said.status, said.text().as_str()), (203, "said"));
}

fn responses_come_as_they_were_sent(over: Over) {
    let mut bench = Bench::new(over, sent(over.endpoint));
    assert_eq!(bench.get("/e/chunked").text(), "abc");
    let response = bench.get("/e/fields");
    assert_eq!((response.status, response.text().as_str()), (201, "abc"));
    let cookies: Vec<_> =
        response.fields.iter().filter(|f| f.0.eq_ignore_ascii_case("set-cookie")).collect();
    assert_eq!(cookies.iter().map(|f| &*f.1).collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!((response.field("server"), response.field("x-hop")), (None, None));
    assert_eq!(
        (response.field("x-mine"), response.field("content-length")),
        (Some("2"), Some("3"))
    );
    assert!(response.field("date").is_some());
    assert_eq!(bench.get("/e/empty").status, 204);
    assert_eq!(bench.get("/e/large").body.len(), 300_000);
}

/// An endpoint with a response of each sort.
fn sent(version: u8) -> Back {
    if version == 1 {
        return Back::Http1(Endpoint::new(|request, line| {
            let length = "Content-Length: 3\r\n\r\nabc";
            line.send(match request.target.as_str() {
                "/e/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                                 1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
                    .into(),
                "/e/fields" => format!(
                    "HTTP/1.1 201 Created\r\nServer: x/1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                     Connection: X-Hop\r\nX-Hop: 1\r\nX-Mine: 2\r\n{length}"
                ),
                "/e/empty" => "HTTP/1.1 204 No Content\r\n\r\n".into(),
                _ => String::from_utf8(ok(&"x".repeat(300_000))).unwrap(),
            });
        }));
    }
    Back::Http2(H2Endpoint::new(Manners::default(), |exchange| async move {
        let fields: &[(&str, &str)] = &[
            ("server", "x/1"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-mine", "2"),
            ("content-length", "3"),
        ];
        match exchange.received.target.as_str() {
            "/e/chunked" => exchange.answer(200, &[], "abc").await,
            "/e/fields" => exchange.answer(201, fields, "abc").await,
            "/e/empty" => exchange.answer(204, &[], "").await,
            _ => exchange.answer(200, &[], "x".repeat(300_000)).await,
        }
    }))
}

fn the_log_tells_the_version(over: Over) {
    let mut bench = over.echo();
    bench.get("/said");
    let line = bench.transom.lines_when(1).remove(0);
    assert_eq!(line["protocol"], bench.client.name());
}
