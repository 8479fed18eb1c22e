//! The command line as a stranger types it: what is said, and the exit status.

use std::path::Path;
use std::process::{Command, Output};

fn transom(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(words)
        .current_dir(folder)
        .env("XDG_RUNTIME_DIR", folder)
        .output()
        .unwrap()
}

#[test]
fn bad_input_of_any_kind_gives_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "good.yaml",
        "listeners: { web: { address: '127.0.0.1:0', routes: [{ respond: hello }] } }\n",
    );
    write(
        "relaxed.yaml",
        "listeners: { web: { address: ':0', limits: { body: unlimited }, routes: [{ respond: hello }] } }\n",
    );
    write(
        "tls.yaml",
        "listeners:\n  web:\n    address: :0\n    tls: { certificate: no.pem, key: no.key }\n    routes: [{ respond: hello }]\n",
    );
    write("yaml.yaml", "listeners: [\n");
    write("lost.yaml", "listeners: { web: { address: ':0', routes: [{ forward: orders }] } }\n");
    for (words, status, said) in [
        (&["--version"][..], 0, "transom 0."),
        (&["--help"], 0, "transom demo"),
        (&["proxy", "--help"], 0, "transom proxy --listen :8080 --to 127.0.0.1:3000"),
        (&[], 64, "Usage: transom <COMMAND>"),
        (&["chekc"], 64, "'check'"),
        (&["check"], 64, "there is no configuration: neither `transom.yaml`"),
        (&["check", "none.yaml"], 64, "cannot read `none.yaml`: there is no such file"),
        (
            &["check", "good.yaml"],
            0,
            "good.yaml can run: 1 listener, 1 route, 0 pools\nhardening: 20/20 safe\n",
        ),
        (&["check", "-c", "good.yaml"], 0, "good.yaml can run"),
        (&["check", "relaxed.yaml"], 0, "relaxed: listeners.web.limits.body = unlimited"),
        (
            &["check", "--strict", "relaxed.yaml"],
            64,
            "strict: `body: unlimited` relaxes a safe default",
        ),
        (
            &["check", "tls.yaml"],
            64,
            "tls.yaml:4:25: listeners.web.tls.certificate: cannot read `no.pem`: there is no such file",
        ),
        (&["run", "-c", "tls.yaml"], 64, "cannot read `no.key`: there is no such file"),
        (&["check", "yaml.yaml"], 64, "this is not valid YAML"),
        (&["check", "lost.yaml"], 64, "no pool named `orders`"),
        (
            &["explain", "GET", "http://a/", "-c", "good.yaml"],
            0,
            "web[0] (host *, path /**): matched",
        ),
        (&["explain", "GET", "/x", "-c", "good.yaml"], 64, "error: `/x` is not a URL to explain"),
        (
            &["explain", "GET", "https://a/", "-c", "good.yaml"],
            64,
            "no listener takes https: none is with `tls`",
        ),
        (
            &["explain", "GET", "http://a/", "--from", "1.2.3", "-c", "good.yaml"],
            64,
            "error: --from: `1.2.3` is not an IP address",
        ),
        (&["explain", "GET"], 64, "needs a method and a URL"),
        (&["explain", "fault"], 0, "no-endpoint"),
        (&["explain", "policy"], 0, "security-headers"),
        (&["explain", "policy", "security-headers"], 0, "**When it runs.**"),
        (&["explain", "policy", "security"], 64, "there is no policy `security`"),
        (&["explain", "fault", "overload"], 64, "did you mean `overloaded`?"),
        (&["schema"], 0, "\"$schema\""),
        (&["completions", "zsh"], 0, "#compdef transom"),
        (&["reload"], 1, "error: no Transom is running at"),
        (
            &["stop", "--socket", "/none/admin.sock"],
            1,
            "error: no Transom is running at `/none/admin.sock`",
        ),
        (&["proxy", "--listen", "80", "--to", "127.0.0.1:1"], 64, "did you mean `:80`?"),
        (&["proxy", "--listen", ":80"], 64, "--to <ADDR|URL>"),
    ] {
        let output = transom(folder.path(), words);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(status), "{words:?}\n{text}");
        assert!(text.contains(said), "{words:?}\n{text}");
        assert!(!text.contains("panicked"), "{words:?}\n{text}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_transom");
    let line = format!("set -o pipefail; {program} schema | head -1");
    let output = Command::new("bash").args(["-c", &line]).current_dir(folder.path()).output();
    let output = output.unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_transom"))
        .arg("schema")
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be written: No space left on device"), "{said}");
}
