//! What goes wrong for someone who tries Transom for the first time, each as they would meet it:
//! one clear sentence, and what to do. tests/cli.rs has what needs no more than words.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use transom_testkit::{Client, Port, Transom, client};

const TRANSOM: &str = env!("CARGO_BIN_EXE_transom");

fn transom(folder: &Path, words: &[&str]) -> Output {
    Command::new(TRANSOM)
        .args(words)
        .current_dir(folder)
        .env("XDG_RUNTIME_DIR", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs it: the status it ends with, and all it says.
#[track_caller]
fn says(folder: &Path, words: &[&str], status: i32, expected: &str) {
    let output = transom(folder, words);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(status), "{words:?}\n{said}");
    assert_eq!(said, expected, "{words:?}");
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn d_08_a_port_that_is_taken_is_told_with_how_to_find_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, port) = (taken.local_addr().unwrap(), taken.local_addr().unwrap().port());
    write(
        folder.path(),
        "transom.yaml",
        &format!(
            "listeners: {{ web: {{ address: '{address}', routes: [{{ respond: hello }}] }} }}\n"
        ),
    );
    let expected = format!(
        "error: address {address} is already in use\n\
         hint: `ss -ltnp 'sport = :{port}'` shows who has it; stop that or choose another port\n"
    );
    says(folder.path(), &["run"], 1, &expected);
    let (listen, to) = (address.to_string(), "127.0.0.1:1");
    says(folder.path(), &["proxy", "--listen", &listen, "--to", to], 1, &expected);
}

/// It served for a moment, and then ended.
#[test]
fn nobody_is_served_where_operators_cannot_be_answered() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::reserve().unwrap();
    let free = port.address;
    write(folder.path(), "taken.sock", "no socket");
    write(
        folder.path(),
        "transom.yaml",
        &format!(
            "admin: {{ socket: {}/taken.sock }}\n\
             listeners: {{ web: {{ address: '{free}', routes: [{{ respond: hello }}] }} }}\n",
            folder.path().display()
        ),
    );
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let watch = std::thread::spawn(move || {
        let mut answered = false;
        while !is_over.load(Ordering::Relaxed) {
            answered |= Client::try_connect(free).is_ok_and(|mut client| {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").try_response("GET").is_ok()
            });
        }
        answered
    });
    let output = transom(folder.path(), &["run"]);
    over.store(true, Ordering::Relaxed);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no admin interface: socket"), "{said}");
    assert!(said.contains("hint: "), "{said}");
    assert!(!watch.join().unwrap(), "somebody was served");
}

#[test]
fn a_second_transom_does_not_take_the_port_of_the_first() {
    let first = Transom::run(
        TRANSOM,
        "listeners: { web: { address: '@WEB', routes: [{ respond: first }] } }\n",
    );
    let folder = tempfile::tempdir().unwrap();
    let web = first.web();
    write(
        folder.path(),
        "transom.yaml",
        &format!("listeners: {{ web: {{ address: '{web}', routes: [{{ respond: second }}] }} }}\n"),
    );
    let output = transom(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with(&format!("error: address {web} is already in use\n")), "{said}");
    let response = client::ask(web, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.text(), "first");
}

#[test]
fn an_address_of_another_machine_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "transom.yaml",
        "listeners: { web: { address: '192.0.2.7:8080', routes: [{ respond: hello }] } }\n",
    );
    says(
        folder.path(),
        &["run"],
        1,
        "error: address 192.0.2.7:8080 belongs to no interface of this machine\n\
         hint: `ip address` lists the addresses of this machine\n",
    );
}

#[test]
fn a_certificate_that_is_missing_is_told_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "transom.yaml",
        "listeners:\n  web:\n    address: :0\n    tls: { certificate: shop.pem, key: transom.yaml }\n    \
         routes: [{ respond: hello }]\n",
    );
    let expected = format!(
        "transom.yaml:4:25: listeners.web.tls.certificate: cannot read `shop.pem`: there is no such file\n  \
           4 |     tls: {{ certificate: shop.pem, key: transom.yaml }}\n    \
             |                         ^^^^^^^^\n  \
           hint: put it there, or correct the path, which starts at `{}`\n",
        folder.path().display()
    );
    says(folder.path(), &["run"], 64, &expected);
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    let hint = "\n  hint: name another file with `-c FILE`\n";
    let expected = format!("cannot read `folder.yaml`: it is a directory{hint}");
    says(folder.path(), &["run", "-c", "folder.yaml"], 64, &expected);
    write(folder.path(), "locked.yaml", "listeners: {}\n");
    let locked = folder.path().join("locked.yaml");
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&locked, rights).unwrap();
    // Root may read whatever it likes.
    if std::fs::read(&locked).is_err() {
        let output = transom(folder.path(), &["run", "-c", "locked.yaml"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.starts_with("cannot read `locked.yaml`: "), "{said}");
        assert!(said.contains("permission"), "{said}");
    }
}

#[test]
fn words_of_other_balancers_are_told_with_ours() {
    let folder = tempfile::tempdir().unwrap();
    let listeners = "listeners: { web: { address: ':80', routes: [{ forward: shop }] } }";
    for (pool, hint) in [
        ("{ servers: ['10.0.0.1:80'] }", "did you mean `endpoints`?"),
        ("{ endpoints: '10.0.0.1:80', balance: source }", "did you mean `algorithm`?"),
        ("{ endpoints: '10.0.0.1:80', algorithm: least_conn }", "did you mean `least-requests`?"),
        ("{ endpoints: '10.0.0.1:80', health_check: { http: / } }", "did you mean `health`?"),
        ("{ endpoints: [{ address: '10.0.0.1:80', backup: true }] }", "`priority: 1` is used when"),
        ("{ endpoints: [{ address: '10.0.0.1:80', max_fails: 3 }] }", "`health` and `outliers` of"),
        ("{ endpoints: '10.0.0.1:80', retries: 2 }", "a forward has them"),
    ] {
        write(folder.path(), "transom.yaml", &format!("{listeners}\npools:\n  shop: {pool}\n"));
        let output = transom(folder.path(), &["check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(&format!("hint: {hint}")), "{pool}\n{said}");
        assert_eq!(said.matches("hint: ").count(), 1, "{pool}\n{said}");
    }
}

#[test]
fn yaml_that_is_none_is_told_with_how_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (text, place, hint) in [
        ("listeners:\n\tweb: x\n", "2:2", "indent with spaces, YAML forbids tabs"),
        (
            "listeners:\n  web:\n    address: :80\n   routes: []\n",
            "4:4",
            "keys that belong together begin in the same column",
        ),
        (
            "listeners:\n  web:\n    address: :80\n    a: b: c\n",
            "4:9",
            "a value that contains `: ` needs quotes",
        ),
    ] {
        write(folder.path(), "transom.yaml", text);
        let output = transom(folder.path(), &["check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.starts_with(&format!("transom.yaml:{place}: ")), "{place}\n{said}");
        assert_eq!(said.matches("this is not valid YAML").count(), 1, "{said}");
        assert!(said.ends_with(&format!("  hint: {hint}\n")), "{hint}\n{said}");
    }
}

#[test]
fn names_that_are_nearly_right_are_told_with_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "transom.yaml",
        "listeners: { web: { address: ':0', routes: [{ forward: order }] } }\n\
         pools: { orders: { endpoints: 127.0.0.1:1 } }\n",
    );
    let output = transom(folder.path(), &["run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.starts_with(
            "transom.yaml:1:56: listeners.web.routes[0].forward: no pool named `order`\n"
        ),
        "{said}"
    );
    assert!(said.ends_with("hint: did you mean `orders`?\n"), "{said}");
    says(
        folder.path(),
        &["run", "--confg", "x"],
        64,
        "error: unexpected argument '--confg' found\n\n  \
           tip: a similar argument exists: '--config'\n\n\
         Usage: transom run --config <FILE>\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn an_admin_socket_that_cannot_be_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "transom.yaml",
        "admin: { socket: /dev/null/admin.sock }\n\
         listeners: { web: { address: '127.0.0.1:0', routes: [{ respond: hello }] } }\n",
    );
    let output = transom(folder.path(), &["run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let errors = said.lines().filter(|line| !line.starts_with("info: ")).collect::<Vec<_>>();
    assert_eq!(errors.len(), 2, "{said}");
    assert!(errors[0].starts_with("error: no admin interface: "), "{said}");
    assert_eq!(errors[0].matches("/dev/null/admin.sock").count(), 1, "{said}");
    assert!(errors[1].starts_with("hint: `admin.socket` may be any path"), "{said}");
}

#[test]
fn requests_that_cannot_be_served_are_told_to_both_sides() {
    let dead = Port::reserve().unwrap();
    let transom = Transom::run(
        TRANSOM,
        &format!(
            "listeners:\n  web:\n    address: '@WEB'\n    routes:\n      \
             - {{ match: {{ host: shop.example, path: /api/**, method: GET }}, forward: '{}' }}\n",
            dead.address
        ),
    );
    let file = transom.folder().join("transom.yaml");
    for (method, host, path, status, sentence, fault, remedy) in [
        (
            "GET",
            "nobody.example",
            "/api/x",
            421,
            "421 Misdirected Request\nThis host is not served here.\n",
            "misdirected",
            "add a route for the host",
        ),
        (
            "GET",
            "shop.example",
            "/x",
            404,
            "404 Not Found\nNothing is found here.\n",
            "no-route",
            "mend the first condition that failed",
        ),
        (
            "POST",
            "shop.example",
            "/api/x",
            405,
            "405 Method Not Allowed\nThe method is not allowed here.\n",
            "method-not-allowed",
            "",
        ),
    ] {
        let mut client = Client::connect(transom.web());
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = client.response_to(method);
        assert_eq!(answer.status, status);
        assert!(answer.text().starts_with(sentence), "{}", answer.text());
        assert!(answer.text().contains("\nRequest id: "), "{}", answer.text());
        let url = format!("http://{host}{path}");
        let words = ["explain", method, &url, "-c", file.to_str().unwrap()];
        let told = transom_says(transom.folder(), &words);
        assert!(told.contains(&format!("refused {fault} ({status})")), "{told}");
        assert!(told.contains(remedy), "{told}");
    }
    let answer = client::ask(transom.web(), "GET /api/x HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(answer.status, 502);
    let sentence = "502 Bad Gateway\nThe service behind this address cannot be reached.\n";
    assert!(answer.text().starts_with(sentence), "{}", answer.text());
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    let lines = transom.lines_when(4);
    let line = lines.iter().find(|line| line["fault"] == "connect-refused").unwrap();
    assert_eq!(line["blame"], "upstream");
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains(&dead.address.to_string()), "{detail}");
    assert!(detail.contains("Connection refused"), "{detail}");
    let told = transom_says(transom.folder(), &["explain", "fault", "connect-refused"]);
    assert!(told.contains("remedy: start the endpoint named in the log"), "{told}");
}

fn transom_says(folder: &Path, words: &[&str]) -> String {
    let output = transom(folder, words);
    assert_eq!(output.status.code(), Some(0), "{words:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
