//! What is deliberately absent stays absent: ARCHITECTURE.md, "What is not there".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The sources below `folder` that are no tests, by their path from the root.
fn sources(folder: &str) -> BTreeMap<String, String> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" && name != "testing" {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !["tests", "testing"].contains(&name)
            {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    collect(&root().join(folder), &mut paths);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        (name, code(&std::fs::read_to_string(&path).unwrap()))
    };
    paths.into_iter().map(read).collect()
}

/// The text without comments and without the tests at its end, which keeps the numbers of lines.
fn code(text: &str) -> String {
    let (code, _) = text.split_once("\nmod tests {").unwrap_or((text, ""));
    let bare = code.lines().map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line,
    });
    bare.collect::<Vec<_>>().join("\n")
}

/// Every line of `sources` with one of the words is an offence, except in the files named.
fn offences(sources: &BTreeMap<String, String>, words: &[&str], excepted: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| !excepted.contains(&file.as_str())) {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{file}:{}: `{word}`: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

fn none(offences: Vec<String>, reason: &str) {
    assert!(offences.is_empty(), "{reason}:\n{}", offences.join("\n"));
}

const LIBRARIES: [&str; 5] = [
    "crates/settings/src",
    "crates/net/src",
    "crates/proxy/src",
    "crates/balance/src",
    "crates/gateway/src",
];

fn libraries() -> BTreeMap<String, String> {
    LIBRARIES.iter().flat_map(|folder| sources(folder)).collect()
}

#[test]
fn each_level_depends_only_on_those_below() {
    let allowed = BTreeMap::from([
        ("settings", vec![]),
        ("net", vec!["settings"]),
        ("proxy", vec!["net", "settings"]),
        ("balance", vec!["net", "proxy", "settings"]),
        ("gateway", vec!["balance", "net", "proxy", "settings"]),
    ]);
    for (level, below) in &allowed {
        let manifest = root().join("crates").join(level).join("Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let (dependencies, _) = dependencies.split_once("[dev-dependencies]").unwrap();
        for line in dependencies.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            if let Some(name) = name.strip_prefix("transom-") {
                assert!(below.contains(&name), "{level} must not depend on {name}");
            }
            let web = ["hyper", "axum", "tower"].contains(&name);
            assert!(!web, "{level} must not depend on {name}: the path of a request is our own");
            let frames = ["h2", "http"].contains(&name);
            let below_http = ["settings", "net"].contains(level);
            assert!(!frames || !below_http, "{level} must not know HTTP");
        }
        let runtime = dependencies.contains("tokio") || dependencies.contains("rustix");
        assert!(*level != "settings" || !runtime, "settings knows no sockets");
    }
    let folders = std::fs::read_dir(root().join("crates")).unwrap();
    for folder in folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        let known = allowed.contains_key(folder.as_str()) || folder == "testkit";
        assert!(known, "{folder} has no place among the levels yet: give it one here");
    }
}

#[test]
fn no_library_reads_the_environment() {
    let words = ["env::var", "env::args", "env::temp_dir", "env::current_dir"];
    none(
        offences(&libraries(), &words, &[]),
        "the root reads the environment and passes values on",
    );
}

#[test]
fn no_library_opens_a_file_that_the_configuration_names() {
    let words = ["File::open", "File::create", "fs::read", "fs::write", "openat(", "openat2("];
    let excepted = [
        // its work is to follow a file
        "crates/balance/src/discovery/file.rs",
        // its work is to serve files
        "crates/proxy/src/action/files/root.rs",
        "crates/proxy/src/action/files/listing.rs",
    ];
    none(offences(&libraries(), &words, &excepted), "`load` and `materials` read files");
}

#[test]
fn tasks_are_started_in_two_places() {
    let words = ["tokio::spawn", "task::spawn", "spawn_local", "JoinSet"];
    let mut all = libraries();
    all.extend(sources("src"));
    let excepted = ["crates/net/src/tasks.rs", "src/supervise.rs"];
    let found = offences(&all, &words, &excepted);
    // work that blocks is no task: it has nothing to drain
    let found = found.into_iter().filter(|line| !line.contains("spawn_blocking")).collect();
    none(found, "what is started has a name and can be drained: net::tasks, supervise");
}

#[test]
fn nothing_but_a_test_unwraps() {
    let mut all = libraries();
    all.extend(sources("src"));
    none(offences(&all, &[".unwrap()"], &[]), "`expect` says the invariant that makes it true");
}

#[test]
fn nothing_is_unsafe() {
    let mut all = libraries();
    all.extend(sources("src"));
    none(offences(&all, &["unsafe {", "unsafe fn", "unsafe impl"], &[]), "nothing is unsafe");
    let manifests = LIBRARIES.iter().map(|folder| folder.replace("/src", "/Cargo.toml"));
    for manifest in manifests.chain(["Cargo.toml".to_owned()]) {
        let text = std::fs::read_to_string(root().join(&manifest)).unwrap();
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest} does not take the lints");
    }
}

#[test]
fn no_state_is_global() {
    let excepted = [
        // the level of the messages about the program itself
        "src/log.rs",
        // which allocator this is
        "src/main.rs",
    ];
    let mut all = libraries();
    all.extend(sources("src"));
    let words = ["static mut", "LazyLock", "thread_local!", "OnceCell<"];
    none(offences(&all, &words, &excepted), "what outlives a reload is handed on");
    let atomics = offences(&all, &["static "], &excepted)
        .into_iter()
        .filter(|line| line.contains("Atomic") || line.contains("Mutex"))
        .collect();
    none(atomics, "what outlives a reload is handed on");
}

/// Modules of the crate that is most tempted to become a bag, and what they may use. Those that
/// are not named here are used by nobody else than `lib.rs` and the levels above.
#[test]
fn modules_of_proxy_use_only_what_is_below_them() {
    let pure = ["fault", "fields", "normalize", "patience", "peer", "stage"];
    let edges: &[(&str, &[&str])] = &[
        ("announce", &["peer"]),
        ("body", &["fault", "fields"]),
        ("codec", &["fields", "message"]),
        ("destination", &["announce", "exchange", "fault", "fields", "message"]),
        ("fields", &[]),
        ("headers", &["destination", "exchange", "fault", "fields", "message"]),
        ("message", &["body", "fields"]),
        (
            "policy",
            &[
                "chain",
                "exchange",
                "fault",
                "fields",
                "message",
                "normalize",
                "peer",
                "stage",
                "variables",
            ],
        ),
        ("record", &["destination", "exchange", "fault", "fields", "message"]),
        ("route", &["normalize"]),
        ("upgrade", &["destination", "patience"]),
        ("variables", &["exchange", "fields", "headers"]),
        ("writer", &["body", "codec", "fault", "fields"]),
    ];
    let all = sources("crates/proxy/src");
    let used = |module: &str| {
        let (file, folder) =
            (format!("crates/proxy/src/{module}.rs"), format!("crates/proxy/src/{module}/"));
        let mut names = Vec::new();
        for (_, text) in all.iter().filter(|(name, _)| **name == file || name.starts_with(&folder))
        {
            for rest in text.split("crate::").skip(1) {
                let end =
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                names.push(rest[..end].to_owned());
            }
        }
        names.retain(|name| name != module);
        names
    };
    for module in pure {
        assert!(used(module).is_empty(), "{module} uses {:?}: it must use nothing", used(module));
    }
    for (module, allowed) in edges {
        for name in used(module) {
            assert!(allowed.contains(&name.as_str()), "{module} must not use {name}");
        }
    }
}

#[test]
fn every_local_permission_says_why() {
    let mut found = Vec::new();
    for folder in LIBRARIES.iter().chain(&["src"]) {
        for entry in sources(folder).into_keys() {
            let text = std::fs::read_to_string(root().join(&entry)).unwrap();
            for (number, line) in text.lines().enumerate() {
                let allows = line.trim_start().starts_with("#[allow(");
                if allows && !line.contains("//") && !line.contains("reason") {
                    found.push(format!("{entry}:{}", number + 1));
                }
            }
        }
    }
    none(found, "an `allow` says why, behind it");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents: Vec<PathBuf> = Vec::new();
    for folder in ["", "docs", "docs/reference", "changes"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        documents.extend(paths.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    let mut dead = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
            let (path, anchor) = link.0.split_once('#').unwrap_or((link.0, ""));
            if path.contains("://") {
                continue;
            }
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let has_anchor = || {
                let text = std::fs::read_to_string(&target).unwrap_or_default();
                let titles = text.lines().filter_map(|line| line.strip_prefix("## "));
                titles.map(|title| title.to_lowercase().replace(' ', "-")).any(|it| it == anchor)
            };
            if !target.exists() || !anchor.is_empty() && !has_anchor() {
                dead.push(format!("{}: {}", document.display(), link.0));
            }
        }
    }
    none(dead, "links lead nowhere");
}

/// Everything that waits, limits or grows old goes by a clock that never jumps; the time of day is asked
/// only where it is what is meant (D-13).
#[test]
fn d_13_the_time_of_day_is_asked_only_where_it_is_meant() {
    let excepted = [
        // what is written down or shown
        "crates/balance/src/discovery/manual.rs",
        "crates/balance/src/scale/scaler.rs",
        "crates/balance/src/state.rs",
        "crates/proxy/src/local.rs",
        // dates that others send
        "crates/proxy/src/action/files.rs",
        "crates/proxy/src/action/forward/retry.rs",
        // whether certificates are valid
        "crates/net/src/tls/server.rs",
        // the message about a clock that jumps
        "src/watchdog.rs",
    ];
    let mut sources = libraries();
    // tokens, quotas and versions have dates
    sources.retain(|file, _| !file.starts_with("crates/gateway/"));
    for file in ["door", "overload", "workers", "watchdog", "watch"] {
        let name = format!("src/{file}.rs");
        let text = std::fs::read_to_string(root().join(&name)).unwrap();
        sources.insert(name, code(&text));
    }
    sources.extend(self::sources("src/door"));
    let words = ["SystemTime::now", "UNIX_EPOCH.elapsed"];
    none(offences(&sources, &words, &excepted), "it goes by a clock that may jump");
}
