//! Golden files: what is found in a configuration, word for word.
//!
//! Each `tests/config/NAME.yaml` is checked as if it stood in the working directory, and what is
//! said about it is in `NAME.out`. With `BLESS=1` the latter is written instead of compared. Files
//! whose name begins with `strict` are checked with `--strict`.

use std::path::Path;

use transom::config::{hardening, schema};
use transom::load::from_text;

/// What is said about a text.
fn said(name: &str, text: &str) -> String {
    let variable = |name: &str| (name == "PORT").then(|| "8080".to_owned());
    let strict = name.starts_with("strict");
    match from_text(Path::new(name), text, strict, &variable) {
        Ok(loaded) => format!("{}{}\n", loaded.findings.render(), hardening(&loaded.config)),
        Err(findings) => findings.render(),
    }
}

#[test]
fn findings_are_word_for_word_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut wrong = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = said(name, &std::fs::read_to_string(path).unwrap());
        let golden = path.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, said).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("{name} says:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_with_ten_mistakes_has_ten_findings() {
    let text = include_str!("config/ten-mistakes.yaml");
    let findings = from_text(Path::new("f"), text, false, &|_| None).unwrap_err();
    assert_eq!(findings.findings().len(), 10, "{}", findings.render());
}

#[test]
fn what_is_loaded_prints_as_a_configuration_that_loads_the_same() {
    use transom_settings::Setting;
    let variable = |_: &str| Some("8080".to_owned());
    let load = |text: &str| from_text(Path::new("f"), text, false, &variable);
    let text = include_str!("config/apis-right.yaml");
    let first = load(text).map_err(|f| f.render()).unwrap().config;
    let again = load(&first.to_json().to_string()).map_err(|f| f.render()).unwrap().config;
    assert_eq!(first.apis, again.apis);
    let text = include_str!("config/everything.yaml");
    let first = load(text).map_err(|f| f.render()).unwrap().config;
    let printed = serde_json::to_string_pretty(&first.to_json()).unwrap();
    assert!(!printed.contains("hunter2") && !format!("{first:?}").contains("hunter2"));
    let again = load(&printed).map_err(|f| f.render()).unwrap().config;
    assert_eq!(first.listeners, again.listeners);
    assert_eq!(first.pools, again.pools);
    assert_eq!(first.policies, again.policies);
    assert_eq!(first.log, again.log);
}

#[test]
fn the_schema_refers_only_to_what_it_defines() {
    let schema = schema();
    let text = schema.to_string();
    for reference in text.split("\"$ref\":\"#/$defs/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
    let config = &schema["$defs"]["Config"];
    assert_eq!(config["required"], serde_json::json!(["listeners"]));
    assert_eq!(config["properties"]["grace"]["default"], "30s");
    let route = &schema["$defs"]["Route"];
    assert_eq!(route["oneOf"].as_array().unwrap().len(), 6);
    assert!(route["properties"]["match"]["$ref"].is_string());
    // every key has a text for the editor to show
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(definition["description"].is_string(), "{name}");
        let object = match definition["anyOf"].as_array() {
            Some(forms) => &forms[forms.len() - 1],
            None => definition,
        };
        for (key, property) in object["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{key}");
        }
    }
}

#[test]
fn no_half_of_a_file_and_no_wrong_byte_makes_it_panic() {
    let text = include_str!("config/everything.yaml");
    let read = |text: &str| {
        if let Err(findings) = from_text(Path::new("f"), text, true, &|_| None) {
            findings.render();
        }
    };
    for at in (0..text.len()).step_by(31) {
        read(&text[..at]);
        for wrong in ["\"", "{", ":", "- ", "\n", "*", "~", "9999999999999999999999", "\u{7f}ü"] {
            read(&format!("{}{wrong}{}", &text[..at], &text[at + 1..]));
        }
    }
}

#[test]
fn thousands_of_routes_are_read_in_a_moment() {
    let mut text = String::from("listeners:\n  web:\n    address: :80\n    routes:\n");
    for n in 0..10_000 {
        let host = n % 1000;
        text += &format!(
            "      - match: {{ host: h{host}.example, path: /p{n}/** }}\n        forward: pool{n}\n"
        );
    }
    text += "pools:\n";
    for n in 0..10_000 {
        text += &format!("  pool{n}: {{ endpoints: [10.0.0.1:80, 10.0.0.2:80] }}\n");
    }
    let start = computed();
    let loaded = from_text(Path::new("f"), &text, true, &|_| None);
    let took = computed() - start;
    let loaded = loaded.map_err(|findings| findings.render()).unwrap();
    assert_eq!(loaded.config.pools.len(), 10_000);
    // a hundredth of this where it is compiled for speed; a square of the number would be minutes
    assert!(took.as_secs() < 20, "{took:?}");
    println!("{took:?}");
}

/// What this thread has computed: how long that takes is up to what else the machine does.
fn computed() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().expect("it is not negative")
}
