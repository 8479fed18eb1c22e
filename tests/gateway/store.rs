//! Consumers and keys that are made while the program runs, and survive it.

use std::process::{Command, Output};

use serde_json::Value as Json;
use transom_testkit::Transom;

use super::rig::{Rig, TRANSOM};

struct Shop {
    rig: Rig,
    _data: tempfile::TempDir,
    config: String,
}

impl Shop {
    fn open() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = format!(
            "workers: 2\ndata: {}\nlisteners:\n  web:\n    address: '@WEB'\n    routes: [{{ policies: [keys], respond: ok }}]\n\
             policies: {{ keys: {{ api-key: {{ query: api_key }} }} }}\nplans: {{ vip: {{ rate: 10/s }} }}\n\
             consumers: {{ carl: {{ groups: [written] }} }}\n",
            data.path().join("transom").display(),
        );
        let rig = Rig::of(transom_testkit::Endpoint::echo(), &config);
        Shop { rig, _data: data, config }
    }

    /// What a command says and how it ends.
    fn run(&self, words: &[&str]) -> Output {
        let socket = self.rig.transom.folder().join("admin.sock");
        Command::new(TRANSOM).args(words).arg("--socket").arg(socket).output().unwrap()
    }

    #[track_caller]
    fn did(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Json {
        let words: Vec<_> = words.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.did(&words)).unwrap()
    }

    #[track_caller]
    fn refused(&self, words: &[&str], why: &str) {
        let output = self.run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{words:?}: {said}");
    }

    fn status(&self, key: &str) -> u16 {
        self.rig.get("/", &[&format!("X-API-Key: {key}")]).status
    }

    /// As after `kill -9`, or a loss of power.
    fn die_and_come_back(&mut self) {
        self.rig.transom.kill();
        self.rig.transom = Transom::run(TRANSOM, &self.config);
    }
}

#[test]
fn gw_07_a_key_is_shown_once_and_survives_a_kill() {
    let mut shop = Shop::open();
    shop.did(&[
        "consumer",
        "add",
        "ann",
        "--group",
        "staff",
        "--plan",
        "vip",
        "--label",
        "team=sales",
    ]);
    let said = shop.did(&["key", "create", "ann", "--note", "ci"]);
    let key = said.lines().next().unwrap().to_owned();
    assert!(key.starts_with("tr_") && key.len() == 44, "{said}");
    assert_eq!(shop.status(&key), 200);
    let id = key[3..11].to_owned();
    let listed = shop.did(&["key", "list"]);
    assert!(listed.contains(&id) && !listed.contains(&key), "{listed}");
    shop.die_and_come_back();
    assert_eq!(shop.status(&key), 200);
    assert_eq!(shop.rig.line_of("/")["consumer"], "ann");
    let shown = shop.json(&["consumer", "show", "ann"]);
    assert_eq!((&shown["plan"], &shown["from"]), (&"vip".into(), &"store".into()));
    assert_eq!(
        (&shown["keys"][0]["note"], &shown["keys"][0]["standing"]),
        (&"ci".into(), &"valid".into())
    );
    let files: Vec<_> = std::fs::read_dir(shop._data.path().join("transom")).unwrap().collect();
    for file in files {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()));
    }
}

#[test]
fn gw_14_a_revoked_key_is_refused_from_the_next_request_on() {
    let mut shop = Shop::open();
    let key = shop.json(&["key", "create", "carl"]);
    let (id, key) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    assert_eq!(shop.status(key), 200);
    shop.did(&["key", "revoke", id]);
    assert_eq!(shop.status(key), 401);
    shop.die_and_come_back();
    assert_eq!(shop.status(key), 401);
    assert_eq!(shop.json(&["key", "list", "carl"])[0]["standing"], "revoked");
    shop.refused(&["key", "rotate", id], "is revoked");
}

/// It is known later who changed what; and neither the program's own log nor the one of requests has a secret.
#[test]
fn gw_40_changes_leave_a_trail_and_no_log_has_a_secret() {
    let shop = Shop::open();
    let key = shop.json(&["key", "create", "carl"]);
    let (id, key) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    assert_eq!(shop.status(key), 200);
    let in_query = shop.rig.get(&format!("/in-query?a=1&api_key={key}"), &[]);
    assert_eq!(in_query.status, 200);
    shop.did(&["key", "revoke", id]);
    assert_eq!(shop.rig.get(&format!("/revoked?api_key={key}&b=2"), &[]).status, 401);
    assert_eq!(shop.rig.line_of("/in-query")["query"], "a=1");
    assert_eq!(shop.rig.line_of("/revoked")["query"], "b=2");
    let said = shop.rig.transom.said();
    for trail in [
        "info: admin: POST /consumers/carl/keys by the socket: 201".to_owned(),
        format!("info: admin: DELETE /keys/{id} by the socket: 200"),
    ] {
        assert!(said.contains(&trail), "{trail}: {said}");
    }
    assert!(!said.contains("admin: GET"), "who only looks leaves none: {said}");
    assert!(!said.contains(key) && !shop.rig.log().contains(key));
}

#[test]
fn gw_07_a_rotated_key_is_valid_for_its_grace_and_no_longer() {
    let shop = Shop::open();
    let first = shop.json(&["key", "create", "carl", "--scope", "orders:read", "--expires", "90d"]);
    let id = first["id"].as_str().unwrap();
    let second = shop.json(&["key", "rotate", id, "--grace", "1h"]);
    assert_eq!((&second["expires"], &second["scopes"]), (&first["expires"], &first["scopes"]));
    for key in [&first, &second] {
        assert_eq!(shop.status(key["key"].as_str().unwrap()), 200);
    }
    let third = shop.json(&["key", "rotate", second["id"].as_str().unwrap(), "--grace", "0s"]);
    assert_eq!(shop.status(second["key"].as_str().unwrap()), 401);
    assert_eq!(shop.status(third["key"].as_str().unwrap()), 200);
    shop.refused(&["key", "rotate", id], "is leaving");
}

#[test]
fn gw_07_a_key_expires_and_a_consumer_goes_with_its_keys() {
    let shop = Shop::open();
    let brief = shop.json(&["key", "create", "carl", "--expires", "2020-01-01"]);
    assert_eq!(shop.status(brief["key"].as_str().unwrap()), 401);
    shop.did(&["consumer", "add", "ann"]);
    let key = shop.json(&["key", "create", "ann"]);
    let key = key["key"].as_str().unwrap();
    assert_eq!(shop.status(key), 200);
    shop.did(&["consumer", "remove", "ann"]);
    assert_eq!(shop.status(key), 401);
}

#[test]
fn gw_07_what_cannot_be_done_is_refused_in_a_sentence() {
    let shop = Shop::open();
    for (words, why) in [
        (&["consumer", "add", "carl"][..], "stands in the file"),
        (&["consumer", "add", "a/b"], "is not a name"),
        (&["consumer", "add", "ann", "--plan", "none"], "there is no plan `none`"),
        (&["consumer", "remove", "nobody"], "there is no consumer `nobody` in the store"),
        (&["consumer", "show", "nobody"], "there is no consumer `nobody`"),
        (&["key", "create", "nobody"], "there is no consumer `nobody`"),
        (&["key", "create", "carl", "--expires", "soon"], "is not a point in time"),
        (&["key", "revoke", "nothing"], "there is no key `nothing`"),
        (&["consumer", "import", "/nowhere"], "/nowhere"),
    ] {
        shop.refused(words, why);
    }
    let bare = Rig::with(&["keys: { api-key: {} }"], "consumers: { carl: {} }");
    let created = bare.transom.admin("DELETE", "/keys/x");
    assert_eq!(created.status, 409);
    assert!(created.text().contains("there is no store"));
}

#[test]
fn gw_07_thousands_are_imported_all_or_none() {
    let mut shop = Shop::open();
    let line = |n: usize| {
        format!(
            "{{\"name\": \"c{n}\", \"plan\": \"vip\", \"keys\": [{{\"secret\": \"secret-of-number-{n}\"}}]}}\n"
        )
    };
    let good: String = (0..5000).map(line).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.jsonl");
    let import = ["consumer", "import", file.to_str().unwrap()];
    for (bad, why) in [
        ("{\"name\": \"x\"", "line 5001: it is no JSON"),
        ("{\"name\": \"x\", \"plan\": \"none\"}", "line 5001: there is no plan `none`"),
        ("{\"name\": \"x\", \"keys\": [{\"secret\": \"secret-of-number-7\"}]}", "is there already"),
        (
            "{\"name\": \"x\", \"keys\": [{\"secret\": \"short\"}]}",
            "line 5001: a key has at least 16",
        ),
        ("{\"name\": \"x\", \"kyes\": []}", "line 5001: `kyes` is not known"),
        ("{\"name\": \"x\", \"keys\": {}}", "line 5001: `keys` is a list"),
    ] {
        std::fs::write(&file, format!("{good}{bad}\n")).unwrap();
        shop.refused(&import, why);
        assert_eq!(shop.status("secret-of-number-7"), 401);
    }
    std::fs::write(&file, &good).unwrap();
    assert_eq!(shop.did(&import), "imported 5000 consumers with 5000 keys\n");
    assert_eq!(shop.status("secret-of-number-4999"), 200);
    shop.die_and_come_back();
    assert_eq!(shop.status("secret-of-number-0"), 200);
    assert_eq!(shop.json(&["consumer", "list", "--limit", "7"]).as_array().unwrap().len(), 7);
    let next = shop.json(&["consumer", "list", "--limit", "1", "--after", "c4998"]);
    assert_eq!(next[0]["name"], "c4999");
}

#[test]
fn a_data_directory_is_for_one_program() {
    let shop = Shop::open();
    let file = shop.rig.transom.folder().join("other.yaml");
    std::fs::write(&file, shop.config.replace("'@WEB'", "127.0.0.1:0")).unwrap();
    let second = Command::new(TRANSOM).args(["run", "-c"]).arg(&file).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(
        !second.status.success() && said.contains("another Transom has the data directory"),
        "{said}"
    );
}
