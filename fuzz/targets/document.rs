//! A configuration: whatever the text is, reading it ends soon, and every node and every finding
//! has its place inside it.
//!
//! The first byte says how often the rest is repeated, so that cost which grows faster than the
//! text shows. Runs with `-timeout`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom::config::{Config, check, printed};
use transom_settings::{Diagnostics, Node, Outside, Span, Value, assemble, parse};

fuzz_target!(|bytes: &[u8]| {
    let Some((&times, bytes)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    examine(text);
    if times > 0 && !text.is_empty() {
        let fitting = (64 << 10) / text.len();
        examine(&text.repeat((usize::from(times) * 8).min(fitting).max(1)));
    }
});

/// Nothing is read from the machine: names answer for themselves.
struct Nowhere;

impl Outside for Nowhere {
    fn read(&self, path: &str) -> Result<String, String> {
        match path {
            "secret" => Ok("hunter2-very-secret\n".into()),
            "part.yaml" => {
                Ok("pools: { part: { endpoints: 127.0.0.1:1 } }\ninclude: part.yaml".into())
            }
            _ => Err("there is no such file".into()),
        }
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(if pattern == "*" { vec!["part.yaml".into()] } else { vec![pattern.into()] })
    }

    fn identity(&self, path: Option<&str>) -> String {
        path.unwrap_or_default().to_owned()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name.len() < 4).then(|| "8080".into())
    }
}

fn examine(text: &str) {
    let mut findings = Diagnostics::new();
    let file = findings.add_file("f", text);
    let node = parse(file, text, &mut findings);
    assert!(node.is_some() || findings.has_errors());
    if let Some(node) = &node {
        inside(node, text, 0);
    }
    for finding in findings.findings() {
        stands_in(finding.place, text);
        assert!(!finding.what.is_empty() && !finding.what.contains('\n'));
        if let Some((place, _)) = &finding.note {
            stands_in(*place, text);
        }
    }
    assert_eq!(findings.is_empty(), findings.render().is_empty());

    let mut findings = Diagnostics::new();
    let root = assemble("f", text, &Nowhere, &mut findings);
    assert!(root.is_some() || findings.has_errors());
    let config = root.and_then(|root| Config::decode(&root, &mut findings));
    if let Some(config) = &config {
        check(config, true, &mut findings);
        let _ = printed(config, 1);
    }
    assert!(config.is_some() || findings.has_errors(), "no configuration and no reason");
    for finding in findings.findings() {
        if findings.file_name(finding.place.file) == Some("f") {
            stands_in(finding.place, text);
        }
    }
    let shown = findings.render();
    assert!(text.contains("hunter2") || !shown.contains("hunter2"), "a secret is shown");
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

fn inside(node: &Node, text: &str, depth: usize) {
    assert!(depth <= 64);
    stands_in(node.span, text);
    match &node.value {
        Value::Null | Value::Scalar(_) => {}
        Value::List(items) => items.iter().for_each(|item| inside(item, text, depth + 1)),
        Value::Map(entries) => {
            for (at, entry) in entries.iter().enumerate() {
                stands_in(entry.key.span, text);
                let twice = entries.len() <= 100
                    && entries[..at].iter().any(|other| other.key.text == entry.key.text);
                assert!(!twice, "a key stands twice");
                inside(&entry.value, text, depth + 1);
            }
        }
    }
}

fn stands_in(span: Span, text: &str) {
    if span == Span::NOWHERE {
        return;
    }
    let (start, end) = (span.start as usize, span.end as usize);
    assert!(start <= end && end <= text.len(), "{span:?} in {} bytes", text.len());
    assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "{span:?}");
    assert!(span.line >= 1 && span.column >= 1);
}
