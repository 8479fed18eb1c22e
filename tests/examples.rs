//! Every example is right, and the shop is served as its first lesson says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use transom::build::build;
use transom::load::{Seen, from_text, load};
use transom::materials::Materials;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// What the examples name and a reader has to bring along.
fn bring_along(folder: &Path) {
    for directory in ["certs", "site", "app", "public", "lists"] {
        std::fs::create_dir_all(folder.join(directory)).unwrap();
    }
    std::fs::create_dir_all(folder.join("documents")).unwrap();
    let document = "documents/orders.json";
    std::fs::copy(examples().join(document), folder.join(document)).unwrap();
    let description = include_str!("policies/orders.wsdl");
    std::fs::write(folder.join("orders.wsdl"), description).unwrap();
    for list in ["blocked", "office"] {
        std::fs::write(folder.join(format!("lists/{list}.txt")), "192.0.2.0/24\n").unwrap();
    }
    for name in ["shop", "wildcard", "transom", "partners-ca", "internal-ca"] {
        let key = KeyPair::generate().unwrap();
        let host = match name {
            "wildcard" => "*.shop.example",
            _ => "shop.example",
        };
        let certificate =
            CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(folder.join(format!("certs/{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("certs/{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What examples read that is not configuration, such as `.proto` files.
fn documents(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file() && path.extension().is_none_or(|end| end != "yaml"))
}

#[test]
fn every_example_is_right_strictly_and_without_a_remark() {
    let files = yaml_files(&examples());
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let folder = tempfile::tempdir().unwrap();
        bring_along(folder.path());
        let copy = folder.path().join("transom.yaml");
        std::fs::copy(&file, &copy).unwrap();
        for beside in documents(file.parent().unwrap()) {
            std::fs::copy(&beside, folder.path().join(beside.file_name().unwrap())).unwrap();
        }
        let wrong = |findings: transom_settings::Diagnostics| -> String {
            format!("{}:\n{}", file.display(), findings.render())
        };
        let loaded = load(Some(&copy), true).unwrap_or_else(|found| panic!("{}", wrong(*found)));
        assert!(loaded.findings.is_empty(), "{}", wrong(loaded.findings.clone()));
        let materials = Materials::load(&loaded.config, &loaded.base, &mut Seen::default());
        let materials = materials.unwrap_or_else(|found| panic!("{}", wrong(found)));
        let built = build(&loaded.config, &materials, None, &|_, _| Vec::new());
        let built = built.unwrap_or_else(|found| panic!("{}", wrong(found)));
        assert!(built.warnings.is_empty(), "{}", wrong(built.warnings.clone()));
    }
}

#[test]
fn every_example_says_first_what_it_is_for() {
    for file in yaml_files(&examples()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{} has no header", file.display());
    }
}

#[test]
fn files_shown_in_documents_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let documents = [
        "README.md",
        "docs/operating.md",
        "docs/discovery.md",
        "docs/scaling.md",
        "docs/layer-4.md",
        "docs/limits.md",
        "docs/identity.md",
        "docs/tokens.md",
        "docs/compose.md",
        "docs/grpc.md",
        "docs/versions.md",
        "docs/shaping.md",
        "docs/portal.md",
    ];
    for document in documents {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")) {
            let loaded = from_text(Path::new(document), block.0, true, &|_| {
                Some("secret-from-outside".into())
            });
            let loaded = loaded.unwrap_or_else(|findings| panic!("{}", findings.render()));
            assert!(loaded.findings.is_empty(), "{}", loaded.findings.render());
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// The demo while it runs.
struct Demo {
    process: Child,
    introduction: String,
    port: u16,
}

impl Demo {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_transom"))
            .arg("demo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut introduction = String::new();
        while !introduction.contains("A line each request:") {
            assert!(lines.read_line(&mut introduction).unwrap() > 0, "{introduction}");
        }
        let (_, rest) = introduction.split_once("http://localhost:").unwrap();
        let port = rest.split_whitespace().next().unwrap().parse().unwrap();
        // what it tells later must not fill the pipe
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Demo { process, introduction, port }
    }

    /// The status, the head and the body of the answer.
    fn ask(&self, method: &str, path: &str, more: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (fields, body) = more.split_once("\n\n").unwrap_or((more, ""));
        let fields: String = fields.lines().map(|line| format!("{line}\r\n")).collect();
        let host = if fields.contains("host:") { "" } else { "host: localhost\r\n" };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{host}connection: close\r\n{fields}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask("GET", path, "")
    }

    fn type_in(&self, line: &str) {
        let mut stdin = self.process.stdin.as_ref().unwrap();
        stdin.write_all(line.as_bytes()).unwrap();
    }

    /// As Ctrl-C does.
    fn interrupt(mut self) -> bool {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        self.process.wait().unwrap().success()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[allow(clippy::disallowed_methods, reason = "the test waits on a thread of its own")]
#[test]
fn the_demo_serves_the_shop_and_cleans_up_behind_itself() {
    let demo = Demo::start();

    // scenario A: a page and its pictures come from the disk
    let (status, head, body) = demo.get("/");
    assert_eq!(status, 200, "{head}");
    assert!(body.contains("<title>myshop</title>"), "{body}");
    for asset in ["shop.css", "shop.js", "lamp.svg", "chair.svg", "teapot.svg"] {
        assert!(body.contains(&format!("/static/{asset}")), "{asset}");
        assert_eq!(demo.get(&format!("/static/{asset}")).0, 200, "{asset}");
    }
    let (status, head, body) = demo.ask("GET", "/static/lamp.svg", "range: bytes=0-99");
    assert_eq!((status, body.len()), (206, 100), "{head}");

    // one service each, which know nothing of /api
    let (status, _, body) = demo.get("/api/users");
    assert_eq!((status, body.contains("Grace")), (200, true), "{body}");
    assert_eq!(demo.get("/api/users/2").2, r#"{"id":2,"name":"Grace"}"#);

    // four calls are answered by the four instances in turn
    for expected in [1, 2, 3, 4, 1] {
        let (status, _, body) = demo.get("/api/orders");
        assert_eq!(status, 200);
        assert!(body.starts_with(&format!(r#"{{"instance":{expected},"#)), "{expected}: {body}");
    }

    // scenario B: into the cart, then "Buy now"
    let (status, _, body) = demo.ask("POST", "/api/cart", "\n\n{\"product\":\"lamp\"}");
    assert_eq!((status, &*body), (201, r#"{"items":["lamp"]}"#));
    let (_, head, body) = demo.get("/api/cart");
    assert_eq!(body, r#"{"items":["lamp"],"shopper":"127.0.0.1"}"#);
    assert!(head.contains("cache-control: no-store") && !head.contains("x-internal"), "{head}");
    let buy = |more: &str| demo.ask("POST", "/api/checkout", more);
    let log_in = |name: &str| {
        let (status, _, token) =
            demo.ask("POST", "/api/login", &format!("\n\n{{\"name\":\"{name}\"}}"));
        assert_eq!(status, 200, "{token}");
        format!("authorization: Bearer {token}")
    };
    let (status, head, _) = buy("");
    assert_eq!(status, 401, "without a token");
    assert!(head.contains("www-authenticate: bearer"), "{head}");
    assert_eq!(buy("authorization: Bearer nobody").0, 401);
    assert_eq!(buy(&log_in("edsger")).0, 403, "his token says nothing of buying");

    // paid once, however often it is asked; what the client says of itself is not believed
    let ada = log_in("ada");
    let once = format!("{ada}\nx-user: root\nidempotency-key: 1");
    let (status, _, first) = buy(&once);
    assert_eq!(status, 201, "{first}");
    assert!(first.contains(r#""user":"ada""#) && first.contains(r#""plan":"vip""#), "{first}");
    let (status, head, again) = buy(&once);
    assert_eq!((status, again), (201, first));
    assert!(head.contains("idempotent-replayed: true"), "{head}");
    assert_eq!(buy(&ada).0, 409, "the cart is empty");

    // 100 a minute are for each: the 101st of grace is one too many, and ada goes on
    let grace = log_in("grace");
    for nth in 1..=100 {
        assert_eq!(buy(&grace).0, 409, "{nth}");
    }
    let (status, head, _) = buy(&grace);
    assert_eq!(status, 429);
    assert!(head.contains("retry-after: "), "{head}");
    assert_eq!(buy(&ada).0, 409);

    // a service that speaks gRPC
    assert_eq!(demo.get("/api/inventory/lamp").2, r#"{"product":"lamp","left":12,"shelf":"A1"}"#);
    let (status, head, body) = demo.get("/api/inventory/unicorn");
    assert_eq!(status, 404, "{body}");
    assert!(
        head.contains("application/problem+json") && body.contains("no such product"),
        "{body}"
    );
    let (_, _, all) = demo.get("/api/inventory");
    assert!(["lamp", "chair", "teapot"].iter().all(|product| all.contains(product)), "{all}");

    // the old version says what follows
    let (status, head, _) = demo.get("/api/v1/orders");
    assert_eq!(status, 200);
    for field in ["deprecation: @", "sunset: ", "</api/orders>; rel=\"successor-version\""] {
        assert!(head.contains(field), "{field}: {head}");
    }

    // three services in one answer
    let (status, head, body) = demo.get("/api/page/2");
    assert_eq!(status, 200, "{head}");
    assert!(head.contains("x-transom-completed: true"), "{head}");
    let expected = r#"{"cart":{"items":[]},"orders":[{"items":["lamp"],"number":1001}],"user":{"id":2,"name":"Grace"}}"#;
    assert_eq!(body, expected);
    assert_eq!(demo.get("/api/page/9").0, 404, "without the user there is no page");
    let big = format!("\n\n{}", "a".repeat(20_000));
    assert_eq!(demo.ask("POST", "/api/cart", &big).0, 413);

    // what is not there, and what is not so
    assert_eq!(demo.get("/nowhere").0, 404);
    let (status, head, _) = demo.ask("DELETE", "/api/users", "");
    assert_eq!(status, 405);
    assert!(head.contains("allow: get, head"), "{head}");
    let (status, head, _) = demo.ask("GET", "/cart?from=mail", "host: myshop.com");
    assert_eq!(status, 308);
    assert!(head.contains("location: https://www.myshop.com/cart?from=mail"), "{head}");
    assert_eq!(demo.get("/healthz").2, "fine");

    // nothing runs behind this until somebody asks
    let on_demand = demo.introduction.split("time curl http://localhost:").nth(1).unwrap();
    let on_demand: u16 = on_demand.split('/').next().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", on_demand)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("42 lamps were sold"), "{answer}");

    // one of the four is killed at the prompt: nobody notices, and it comes back
    demo.type_in("kill 3\n");
    let asked: Vec<_> = (0..8).map(|_| demo.get("/api/orders")).collect();
    assert!(asked.iter().all(|(status, ..)| *status == 200), "{asked:?}");
    demo.type_in("start 3\n");
    // who was asked for it too often while it was away keeps from it for 30 seconds
    let began = Instant::now();
    while !demo.get("/api/orders").2.starts_with("{\"instance\":3,") {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }

    let file = demo.introduction.split("The file that runs:").nth(1).unwrap();
    let file = PathBuf::from(file.split_whitespace().next().unwrap());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("${"), "a variable was not filled in:\n{text}");
    assert!(demo.interrupt());
    assert!(!file.parent().unwrap().exists());
}
