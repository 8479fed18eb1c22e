use std::os::unix::fs::symlink;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use transom_net::Worker;

use super::*;
use crate::exchange::Asked;
use crate::local::Local;
use crate::message::Version;
use crate::peer::Peer;
use crate::route::{Router, Rule};
use crate::serve::{Serving, h1};
use crate::site::{Pages, Route, Site, Sites, Timeouts};
use crate::testing;

/// A directory with files in it, and what serves them.
struct Scene {
    temp: tempfile::TempDir,
    settings: FilesSettings,
}

/// What came of a request.
struct Got {
    status: u16,
    fields: Fields,
    body: Vec<u8>,
}

impl Scene {
    fn new(files: &[(&str, &str)]) -> Scene {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("www");
        std::fs::create_dir(&root).unwrap();
        let scene = Scene { settings: FilesSettings::of(&root), temp };
        for (name, text) in files {
            scene.write(name, text);
        }
        scene
    }

    fn root(&self) -> &Path {
        &self.settings.root
    }

    /// Written in the past, at a whole second.
    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        self.touch(name, 1_000_000_000);
    }

    fn touch(&self, name: &str, seconds: u64) {
        let file = File::options().write(true).open(self.root().join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    fn trying(mut self, texts: &[&str]) -> Scene {
        self.settings.try_ = texts.iter().map(|text| Try::parse(text).unwrap()).collect();
        self
    }

    fn get(&self, target: &str, lines: &[(&str, &str)]) -> Got {
        self.ask("GET", target, lines)
    }

    fn ask(&self, method: &str, target: &str, lines: &[(&str, &str)]) -> Got {
        self.ask_rewritten(method, target, None, lines)
    }

    /// The client asked for `target`; a policy has made `path` of it.
    fn ask_rewritten(
        &self,
        method: &str,
        target: &str,
        rewritten: Option<&str>,
        lines: &[(&str, &str)],
    ) -> Got {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.into())),
            None => (target, None),
        };
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value.as_bytes());
        }
        let asked = Asked {
            method: Method::of(method),
            scheme: "http",
            authority: "shop.example".into(),
            path: path.into(),
            query,
            version: Version::Http11,
            wants: answer::wanted(&fields),
            timeout: None,
        };
        let request = Request {
            method: asked.method.clone(),
            scheme: asked.scheme,
            authority: asked.authority.clone(),
            path: rewritten.map_or_else(|| asked.path.clone(), Into::into),
            query: asked.query.clone(),
            version: asked.version,
            fields,
            body: Body::Empty,
            takes_trailers: false,
            upgrade: None,
        };
        let files = Files::new(self.settings.clone()).unwrap();
        let mut exchange = testing::exchange(asked, testing::site(Vec::new()));
        let cx = &mut Context::from_waker(Waker::noop());
        let ran = {
            let mut running = files.run(&mut exchange, Box::new(request));
            running.as_mut().poll(cx)
        };
        let Poll::Ready(ran) = ran else { panic!("files never wait") };
        let mut response = ran.unwrap_or_else(|fault| answer::to(&mut exchange, fault));
        let mut body = Vec::new();
        loop {
            let Poll::Ready(Ok(n)) = response.body.poll_fill(cx) else { panic!("the body failed") };
            if n == 0 {
                break;
            }
            response.body.look(|bytes| body.extend_from_slice(&bytes[..n]));
            response.body.consume(n);
        }
        Got { status: response.status, fields: response.fields, body }
    }
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| std::str::from_utf8(value).unwrap())
    }
}

#[test]
fn rp_14_a_file_comes_with_all_that_is_known_of_it() {
    let scene = Scene::new(&[("a/page.html", "hello"), ("empty", "")]);
    let got = scene.get("/a/page.html", &[]);
    assert_eq!((got.status, got.text()), (200, "hello"));
    assert_eq!(got.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(got.field("Last-Modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
    assert_eq!(got.field("Accept-Ranges"), Some("bytes"));
    assert_eq!(got.field("X-Content-Type-Options"), Some("nosniff"));
    assert!(got.field("ETag").unwrap().starts_with("\"de0b6b3a7640000-5-"));
    for absent in ["Vary", "Cache-Control", "Content-Encoding", "Content-Length"] {
        assert_eq!(got.field(absent), None, "{absent}");
    }
    let head = scene.ask("HEAD", "/a/page.html", &[]);
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(head.field("Content-Length"), Some("5"));
    assert_eq!(head.field("ETag"), got.field("ETag"));
    let empty = scene.get("/empty", &[("Range", "bytes=0-")]);
    assert_eq!((empty.status, empty.text()), (200, ""));
}

#[test]
fn only_get_and_head_read_files() {
    let scene = Scene::new(&[("x", "x")]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"] {
        let got = scene.ask(method, "/x", &[]);
        assert_eq!((got.status, got.field("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn p01_p02_p05_nothing_but_what_lies_below_the_root_is_served() {
    let scene = Scene::new(&[
        ("a b", "space"),
        (".env", "s"),
        (".git/config", "s"),
        ("d/.x", "s"),
        (".well-known/acme", "token"),
    ]);
    std::fs::write(scene.temp.path().join("secret"), "s").unwrap();
    symlink("../secret", scene.root().join("out")).unwrap();
    symlink("a b", scene.root().join("in")).unwrap();
    for (target, status) in [
        ("/a%20b", 200),
        ("/.well-known/acme", 200),
        ("/out", 404),
        ("/../secret", 404),
        ("/..%2Fsecret", 404),
        ("/%2E%2E/secret", 404),
        ("/%252E%252E/secret", 404),
        ("/d/%2E%2E%2F%2E%2E%2Fsecret", 404),
        ("/a%20b%00.html", 404),
        ("/a%20b/", 404),
        ("/a%20b/x", 404),
        ("/.env", 404),
        ("/%2Eenv", 404),
        ("/.git/config", 404),
        ("/.git/", 404),
        ("/d/.x", 404),
        ("//a%20b", 404),
        ("/nothing", 404),
        ("/", 404),
    ] {
        assert_eq!(scene.get(target, &[]).status, status, "{target}");
    }
    let long = format!("/{}", "x".repeat(5000));
    assert_eq!(scene.get(&long, &[]).status, 404);
}

#[test]
fn p10_a_directory_without_slash_is_asked_for_again_with_one() {
    let scene = Scene::new(&[("index.html", "home"), ("d/index.html", "dir"), ("none/x", "x")]);
    assert_eq!(scene.get("/", &[]).text(), "home");
    assert_eq!(scene.get("/d/", &[]).text(), "dir");
    let got = scene.get("/d?a=b", &[]);
    assert_eq!((got.status, got.field("Location")), (308, Some("/d/?a=b")));
    assert_eq!(scene.get("/none", &[]).status, 404);
    assert_eq!(scene.get("/none/", &[]).status, 404);
    assert_eq!(scene.get("//d", &[]).status, 404);
}

#[test]
fn a_rewritten_path_sends_the_client_to_what_it_asked_for_and_never_in_circles() {
    let scene = Scene::new(&[("d/index.html", "dir")]);
    let got = scene.ask_rewritten("GET", "/old", Some("/d"), &[]);
    assert_eq!((got.status, got.field("Location")), (308, Some("/old/")));
    let got = scene.ask_rewritten("GET", "/old/", Some("/d"), &[]);
    assert_eq!((got.status, got.text()), (200, "dir"));
}

#[test]
fn p07_a_prefix_ends_at_a_segment() {
    let mut scene = Scene::new(&[("x", "x"), ("index.html", "home"), ("d/index.html", "dir")]);
    scene.settings.strip = Some("/static/".into());
    for (target, status, location) in [
        ("/static/x", 200, None),
        ("/static/", 200, None),
        ("/static", 200, None),
        ("/static/d", 308, Some("/static/d/")),
        ("/staticx", 404, None),
        ("/x", 404, None),
        ("/static/../x", 404, None),
    ] {
        let got = scene.get(target, &[]);
        assert_eq!((got.status, got.field("Location")), (status, location), "{target}");
    }
}

#[test]
fn what_is_tried_is_tried_in_order() {
    let files =
        &[("app.html", "app"), ("about.html", "about"), ("css/x.css", "x"), ("d/index.html", "d")];
    let scene = Scene::new(files).trying(&["{path}", "{path}.html", "/app.html"]);
    for (target, expected) in [
        ("/css/x.css", "x"),
        ("/about", "about"),
        ("/some/view", "app"),
        ("/", "app"),
        ("/d/", "d"),
    ] {
        assert_eq!(scene.get(target, &[]).text(), expected, "{target}");
    }
    assert_eq!(
        scene.get("/some/view", &[]).field("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    let scene = Scene::new(files).trying(&["{path}", "{path}/", "=404"]);
    assert_eq!(scene.get("/d", &[]).status, 308);
    assert_eq!(scene.get("/view", &[]).status, 404);
    assert_eq!(Scene::new(files).trying(&["{path}", "=410"]).get("/view", &[]).status, 410);
    assert_eq!(Scene::new(files).trying(&["=403"]).get("/app.html", &[]).status, 403);
}

#[test]
fn rfc_9110_13_conditions_are_answered_with_304_and_412() {
    let mut scene = Scene::new(&[("x.css", "body{}")]);
    scene.settings.cache_control = Some("max-age=60".into());
    let first = scene.get("/x.css", &[]);
    let tag = first.field("ETag").unwrap();
    for method in ["GET", "HEAD"] {
        let got = scene.ask(method, "/x.css", &[("If-None-Match", tag), ("Range", "bytes=0-1")]);
        assert_eq!((got.status, got.text()), (304, ""));
        assert_eq!(got.field("ETag"), Some(tag));
        assert_eq!(got.field("Cache-Control"), Some("max-age=60"));
        assert_eq!(got.field("Content-Type"), None);
    }
    let date = first.field("Last-Modified").unwrap();
    assert_eq!(scene.get("/x.css", &[("If-Modified-Since", date)]).status, 304);
    assert_eq!(scene.get("/x.css", &[("If-Match", "\"other\"")]).status, 412);
    assert_eq!(scene.get("/x.css", &[("If-Match", tag)]).status, 200);
    scene.touch("x.css", 1_000_000_001);
    assert_eq!(scene.get("/x.css", &[("If-None-Match", tag)]).status, 200);
    assert_eq!(scene.get("/x.css", &[("If-Modified-Since", date)]).status, 200);
}

#[test]
fn times_that_mean_nothing_are_not_told() {
    let scene = Scene::new(&[("x", "x")]);
    for (seconds, told) in
        [(0, false), (1, false), (2, true), (1_000_000_000, true), (4_102_444_800, false)]
    {
        scene.touch("x", seconds);
        assert_eq!(scene.get("/x", &[]).field("Last-Modified").is_some(), told, "{seconds}");
    }
}

#[test]
fn sl_14_ranges_are_served_as_parts() {
    let scene = Scene::new(&[("x.txt", "0123456789")]);
    let range = |value: &str| scene.get("/x.txt", &[("Range", value)]);
    for (value, status, content_range, text) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=0-", 206, Some("bytes 0-9/10"), "0123456789"),
        ("bytes=0-1,2-3", 206, Some("bytes 0-3/10"), "0123"),
        ("bytes=0-1,20-", 206, Some("bytes 0-1/10"), "01"),
        ("bytes=20-", 416, Some("bytes */10"), ""),
        ("bytes=4-2", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        let got = range(value);
        assert_eq!(
            (got.status, got.field("Content-Range"), got.text()),
            (status, content_range, text),
            "{value}"
        );
    }
    let many = format!("bytes={}", "0-,".repeat(1300));
    assert_eq!(range(&many).status, 200);
    let twice = scene.get("/x.txt", &[("Range", "bytes=0-1"), ("Range", "bytes=0-1")]);
    assert_eq!(twice.status, 200);
    let head = scene.ask("HEAD", "/x.txt", &[("Range", "bytes=0-1")]);
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("10")));
}

#[test]
fn several_ranges_are_parts_of_one_body() {
    let scene = Scene::new(&[("x.txt", "0123456789")]);
    let got = scene.get("/x.txt", &[("Range", "bytes=8-9,0-1")]);
    assert_eq!((got.status, got.field("Content-Range")), (206, None));
    let boundary =
        got.field("Content-Type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
    let expected = format!(
        "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
         --{boundary}--\r\n"
    );
    assert_eq!(got.text(), expected);
    assert_ne!(
        scene.get("/x.txt", &[("Range", "bytes=8-9,0-1")]).text(),
        expected,
        "boundaries differ"
    );
}

#[test]
fn if_range_guards_against_parts_of_two_versions() {
    let scene = Scene::new(&[("x", "0123456789")]);
    let first = scene.get("/x", &[]);
    let range =
        |guard: &str| scene.get("/x", &[("Range", "bytes=0-1"), ("If-Range", guard)]).status;
    let tag = first.field("ETag").unwrap();
    assert_eq!(range(tag), 206);
    assert_eq!(range(&format!("W/{tag}")), 200);
    assert_eq!(range("\"other\""), 200);
    assert_eq!(range(first.field("Last-Modified").unwrap()), 206);
    assert_eq!(range("Sun, 09 Sep 2001 01:46:41 GMT"), 200);
}

#[test]
fn rp_14_the_best_coding_beside_the_file_is_sent() {
    let mut scene = Scene::new(&[
        ("x.js", "plain text"),
        ("x.js.br", "brotli"),
        ("x.js.gz", "gzip"),
        ("y.js", "y"),
    ]);
    scene.settings.precompressed = vec![Coding::Brotli, Coding::Zstd, Coding::Gzip];
    let mut tags = Vec::new();
    for (accept, coding, text) in [
        ("gzip, br, zstd", Some("br"), "brotli"),
        ("gzip, zstd", Some("gzip"), "gzip"),
        ("zstd", None, "plain text"),
        ("br;q=0, *", Some("gzip"), "gzip"),
        ("identity;q=0, zstd", None, "plain text"),
    ] {
        let got = scene.get("/x.js", &[("Accept-Encoding", accept)]);
        assert_eq!((got.field("Content-Encoding"), got.text()), (coding, text), "{accept}");
        assert_eq!(got.field("Content-Type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(got.field("Vary"), Some("Accept-Encoding"));
        tags.push((coding, got.field("ETag").unwrap().to_owned()));
    }
    for (coding, tag) in &tags {
        assert!(tags.iter().all(|(other, their)| (their == tag) == (other == coding)));
    }
    assert_eq!(scene.get("/x.js", &[]).text(), "plain text");
    assert_eq!(
        scene.get("/y.js", &[("Accept-Encoding", "br")]).field("Vary"),
        Some("Accept-Encoding")
    );
    let part = scene.get("/x.js", &[("Accept-Encoding", "br"), ("Range", "bytes=0-1")]);
    assert_eq!((part.status, part.text(), part.field("Content-Encoding")), (206, "br", Some("br")));
    // of a coded form there is one part or all: in a body of several, what stands around them is not coded
    let parts = scene.get("/x.js", &[("Accept-Encoding", "br"), ("Range", "bytes=0-1,4-5")]);
    assert_eq!((parts.status, parts.text(), parts.field("Content-Range")), (200, "brotli", None));
    scene.touch("x.js", 1_000_000_100);
    let stale = scene.get("/x.js", &[("Accept-Encoding", "br, gzip")]);
    assert_eq!((stale.field("Content-Encoding"), stale.text()), (None, "plain text"));
    assert_eq!(scene.get("/nothing.js", &[("Accept-Encoding", "br")]).status, 404);
}

#[test]
fn directories_are_listed_only_where_that_is_on() {
    let mut scene =
        Scene::new(&[("d/b.txt", "1"), ("d/a&b.txt", "2"), ("d/.env", "s"), ("d/sub/x", "")]);
    assert_eq!(scene.get("/d/", &[]).status, 404);
    scene.settings.listing = true;
    assert_eq!(scene.get("/d", &[]).status, 308);
    let page = scene.get("/d/", &[]);
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.field("Vary"), Some("Accept"));
    assert!(page.text().contains("a&amp;b.txt") && !page.text().contains(".env"));
    let head = scene.ask("HEAD", "/d/", &[]);
    assert_eq!(head.field("Content-Length"), Some(&*page.body.len().to_string()));
    assert!(head.body.is_empty());
    let json = scene.get("/d/", &[("Accept", "application/json")]);
    assert_eq!(json.field("Content-Type"), Some("application/json"));
    assert!(json.text().starts_with("[\n{\"name\":\"sub\",\"kind\":\"directory\""));
    assert!(scene.get("/%3C/", &[]).status == 404);
}

#[test]
fn large_files_are_streams_of_their_exact_length() {
    let text = "0123456789abcdef".repeat(10_000);
    let scene = Scene::new(&[("big.bin", &text)]);
    assert_eq!(scene.get("/big.bin", &[]).text(), text);
    let got = scene.get("/big.bin", &[("Range", "bytes=16-65551,-16")]);
    assert_eq!(got.status, 206);
    assert!(got.text().contains(&text[16..65552]));
    assert!(
        got.text()
            .contains("Content-Range: bytes 159984-159999/160000\r\n\r\n0123456789abcdef\r\n--")
    );
}

#[test]
fn a_file_that_may_not_be_read_is_forbidden() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new(&[("x", "x")]);
    let path = scene.root().join("x");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Whoever may read everything reads this too.
    let expected = if File::open(&path).is_ok() { 200 } else { 403 };
    assert_eq!(scene.get("/x", &[]).status, expected);
}

#[test]
fn a_coded_form_that_may_not_be_read_is_none() {
    use std::os::unix::fs::PermissionsExt;
    let mut scene = Scene::new(&[("x", "plain"), ("x.gz", "gzip")]);
    scene.settings.precompressed = vec![Coding::Gzip];
    let path = scene.root().join("x.gz");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    let expected = if File::open(&path).is_ok() { "gzip" } else { "plain" };
    let got = scene.get("/x", &[("Accept-Encoding", "gzip")]);
    assert_eq!((got.status, got.text()), (200, expected));
}

/// What a client reads that sends this on one connection, up to its end. The file may be changed
/// once the first bytes have come.
fn over_a_socket(files: Files, send: &str, meanwhile: impl FnOnce()) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rule = Rule::default();
    let route = Route {
        name: "files".into(),
        chain: Vec::new(),
        action: Box::new(files),
        keep: Vec::new(),
        body_limit: None,
        bandwidth: None,
        timeouts: Timeouts::default(),
        priority: 1,
        pages: Pages::default(),
    };
    let router = Router::build(vec![rule]).unwrap();
    let site = Site { router, ..testing::site(vec![route]) };
    let sites = Sites::new(Arc::new(arc_swap::ArcSwap::from_pointee(site)));
    let worker = Worker::new(0);
    let serving = Serving::new(sites, Rc::new(Local::new(worker.clone())));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (accepted, from) = listener.accept().await.unwrap();
        let peer = Rc::new(Peer::new(from, address, None));
        let stream = transom_net::Stream::tcp(accepted, worker.clone());
        let wheel = worker.wheel().clone();
        let reading = async move {
            client.write_all(send.as_bytes()).await.unwrap();
            let mut got = vec![0; 1024];
            let n = client.read(&mut got).await.unwrap();
            got.truncate(n);
            meanwhile();
            // A connection that is cut off may end by a reset.
            let _ = client.read_to_end(&mut got).await;
            got
        };
        tokio::select! {
            (got, ()) = async { tokio::join!(reading, h1::serve(stream, peer, serving)) } => got,
            () = wheel.run() => unreachable!("the wheel runs for ever"),
        }
    })
}

#[test]
fn s4_a_large_file_crosses_a_plain_socket_whole() {
    let text = "0123456789abcdef".repeat(500_000);
    let scene = Scene::new(&[("big.bin", &text), ("small", "small")]);
    let get = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    let send = get("HEAD /big.bin", "")
        + &get("GET /big.bin", "Range: bytes=1-7000000\r\n")
        + &get("GET /big.bin", "")
        + &get("GET /small", "Connection: close\r\n");
    let got = over_a_socket(Files::new(scene.settings.clone()).unwrap(), &send, || {});
    let mut rest = &got[..];
    let length = text.len();
    for (body, length) in
        [("", length), (&text[1..=7_000_000], 7_000_000), (&text, length), ("small", 5)]
    {
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        assert_eq!(head.matches(&format!("Content-Length: {length}\r\n")).count(), 1, "{head}");
        assert!(&rest[end..end + body.len()] == body.as_bytes(), "{head}");
        rest = &rest[end + body.len()..];
    }
    assert!(rest.is_empty());
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_breaks_the_connection() {
    let text = "0".repeat(64 << 20);
    let scene = Scene::new(&[("big.bin", &text)]);
    let path = scene.root().join("big.bin");
    let send = "GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    let got = over_a_socket(Files::new(scene.settings.clone()).unwrap(), send, || {
        File::options().write(true).open(&path).unwrap().set_len(48 << 20).unwrap();
    });
    assert!(got.len() < 49 << 20, "nothing follows the part that was there");
    assert_eq!(got.windows(9).filter(|w| w == b"HTTP/1.1 ").count(), 1);
}
