//! One tree from a file, the files it includes and the values it takes from outside.
//!
//! `include: [conf.d/*.yaml]` stands at the top of a file. Maps of the same name are joined, so
//! several files may each add listeners, pools and policies; a name given in two places is a
//! finding, never an override. Values may hold `${NAME}`, `${NAME:-default}`, `${file:PATH}` and
//! `${file:PATH:-default}`; `$${` stands for `${` itself.

use crate::diagnostic::{Diagnostic, Diagnostics, Span, quote};
use crate::document::{Entry, Node, Scalar, Value, parse};

/// What a configuration may refer to beyond its own text. Errors are the rest of the sentence
/// "cannot read `x`: ...".
pub trait Outside {
    /// The text of a file. Relative paths start where the caller says.
    fn read(&self, path: &str) -> Result<String, String>;
    /// The files that a pattern such as `conf.d/*.yaml` names, in a fixed order.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String>;
    /// What tells a file from all others, however its path is written; without a path, that of the
    /// main file. A file is read once.
    fn identity(&self, path: Option<&str>) -> String;
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// Reads `name` and everything it includes. `None` if the file itself cannot be understood.
pub fn assemble(
    name: &str,
    text: &str,
    outside: &dyn Outside,
    findings: &mut Diagnostics,
) -> Option<Node> {
    let mut read = vec![outside.identity(None)];
    let mut root = one_file(name, text, outside, findings)?;
    let mut waiting = take_includes(&mut root, outside, findings);
    while let Some((path, place)) = waiting.pop() {
        let identity = outside.identity(Some(&path));
        if read.contains(&identity) {
            continue;
        }
        if read.len() >= MAX_FILES {
            let what = format!("more than {MAX_FILES} files are included");
            findings.push(Diagnostic::error(place, "include", what));
            break;
        }
        read.push(identity);
        let text = match outside.read(&path) {
            Ok(text) => text,
            Err(why) => {
                let what = format!("cannot read {}: {why}", quote(&path));
                findings.push(Diagnostic::error(place, "include", what));
                continue;
            }
        };
        let Some(mut part) = one_file(&path, &text, outside, findings) else { continue };
        waiting.extend(take_includes(&mut part, outside, findings));
        join(&mut root, part, findings);
    }
    Some(root)
}

/// Files that one configuration may consist of.
const MAX_FILES: usize = 1000;

fn one_file(
    name: &str,
    text: &str,
    outside: &dyn Outside,
    findings: &mut Diagnostics,
) -> Option<Node> {
    let file = findings.add_file(name, text);
    let mut root = parse(file, text, findings)?;
    match &root.value {
        Value::Map(_) => {}
        Value::Null => {
            root = Node { span: Span::beginning(file), value: Value::Map(Vec::new()) };
        }
        _ => {
            let what = format!("expected keys such as `listeners:`, found {}", root.kind());
            findings.push(Diagnostic::error(root.span, "", what));
            return None;
        }
    }
    Interpolation { outside, findings, path: Vec::new(), added: 0 }.walk(&mut root);
    Some(root)
}

/// Removes the key `include` and returns the files it names, the first one last.
fn take_includes(
    root: &mut Node,
    outside: &dyn Outside,
    findings: &mut Diagnostics,
) -> Vec<(String, Span)> {
    let Value::Map(entries) = &mut root.value else { return Vec::new() };
    let Some(at) = entries.iter().position(|entry| entry.key.text == "include") else {
        return Vec::new();
    };
    let node = entries.remove(at).value;
    let patterns = match node.value {
        Value::List(items) => items,
        Value::Null => Vec::new(),
        _ => vec![node],
    };
    let mut files = Vec::new();
    for (index, item) in patterns.into_iter().enumerate() {
        let path = format!("include[{index}]");
        let Value::Scalar(pattern) = &item.value else {
            let what = format!("expected the path of a file, found {}", item.kind());
            findings.push(Diagnostic::error(item.span, path, what));
            continue;
        };
        match outside.matching(&pattern.text) {
            // a pattern may match nothing today, a plain path that names nothing is a slip
            Ok(found) if found.is_empty() && !pattern.text.contains(['*', '?', '[']) => {
                let what = format!("there is no file {}", quote(&pattern.text));
                findings.push(Diagnostic::error(item.span, path, what));
            }
            Ok(found) => files.extend(found.into_iter().map(|file| (file, item.span))),
            Err(why) => {
                let what = format!("cannot include {}: {why}", quote(&pattern.text));
                findings.push(Diagnostic::error(item.span, path, what));
            }
        }
    }
    files.reverse();
    files
}

/// Adds the keys of one file to those of another. Only maps directly below the top are joined.
fn join(root: &mut Node, part: Node, findings: &mut Diagnostics) {
    let (Value::Map(ours), Value::Map(theirs)) = (&mut root.value, part.value) else { return };
    for entry in theirs {
        let Some(existing) = ours.iter_mut().find(|ours| ours.key.text == entry.key.text) else {
            ours.push(entry);
            continue;
        };
        match (&mut existing.value.value, entry.value.value) {
            (Value::Map(names), Value::Map(added)) => {
                join_names(&entry.key.text, names, added, findings);
            }
            (mine @ Value::Null, theirs) => *mine = theirs,
            (_, Value::Null) => {}
            _ => {
                let what = format!("{} is given in two files", quote(&entry.key.text));
                findings.push(
                    Diagnostic::error(entry.key.span, entry.key.text, what)
                        .note(existing.key.span, "it stands here already"),
                );
            }
        }
    }
}

fn join_names(path: &str, names: &mut Vec<Entry>, added: Vec<Entry>, findings: &mut Diagnostics) {
    let known: std::collections::HashMap<String, Span> =
        names.iter().map(|name| (name.key.text.clone(), name.key.span)).collect();
    for entry in added {
        match known.get(&entry.key.text) {
            Some(&first) => {
                let what = format!("{} is given in two files", quote(&entry.key.text));
                let path = format!("{path}.{}", entry.key.text);
                findings.push(
                    Diagnostic::error(entry.key.span, path, what)
                        .note(first, "it stands here already"),
                );
            }
            None => names.push(entry),
        }
    }
}

/// Puts values from outside in the place of `${...}`.
struct Interpolation<'a> {
    outside: &'a dyn Outside,
    findings: &'a mut Diagnostics,
    path: Vec<String>,
    added: usize,
}

/// What may be put in, over one file: a large secret repeated a million times is a mistake.
const MAX_ADDED: usize = 16 << 20;

impl Interpolation<'_> {
    fn walk(&mut self, node: &mut Node) {
        let span = node.span;
        match &mut node.value {
            Value::Null => {}
            Value::Scalar(scalar) => self.fill(scalar, span),
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.path.push(format!("[{index}]"));
                    self.walk(item);
                    self.path.pop();
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.path.push(format!(".{}", entry.key.text));
                    self.walk(&mut entry.value);
                    self.path.pop();
                }
            }
        }
    }

    fn fill(&mut self, scalar: &mut Scalar, span: Span) {
        if !scalar.text.contains("${") {
            return;
        }
        let (mut filled, mut secret) = (String::new(), false);
        let mut rest = scalar.text.as_str();
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                filled.push_str(&rest[..at - 1]);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.push_str(&rest[..at]);
            let Some(length) = rest[at..].find('}') else {
                self.error(span, "`${` has no `}`", "write `$${` for the characters themselves");
                scalar.missing = true;
                return;
            };
            let inside = &rest[at + 2..at + length];
            let Some((value, from_file)) = self.resolve(inside, span) else {
                scalar.missing = true;
                return;
            };
            secret |= from_file;
            self.added = self.added.saturating_add(value.len());
            if self.added > MAX_ADDED {
                self.error(span, "the values put in are larger than 16 MiB", "shorten them");
                scalar.missing = true;
                return;
            }
            filled.push_str(&value);
            rest = &rest[at + length + 1..];
        }
        filled.push_str(rest);
        let written = std::mem::replace(&mut scalar.text, filled);
        if secret {
            scalar.hidden = Some(written);
        }
    }

    /// The value of what stands between the braces, and whether it came from a file. `None` is
    /// found already.
    fn resolve(&mut self, inside: &str, span: Span) -> Option<(String, bool)> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if let Some(path) = name.strip_prefix("file:") {
            return match (self.outside.read(path), default) {
                // a secret written by an editor or a shell ends in a line break that is not its
                (Ok(text), _) => Some((text.trim_end_matches(['\r', '\n']).to_owned(), true)),
                (Err(_), Some(default)) => Some((default.to_owned(), false)),
                (Err(why), None) => {
                    let what = format!("cannot read {}: {why}", quote(path));
                    self.error(span, &what, "give a default: `${file:PATH:-default}`");
                    None
                }
            };
        }
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if !valid {
            let what = format!("{} is not the name of a variable", quote(name));
            self.error(span, &what, "write `${NAME}`, `${file:PATH}`, or `$${` for `${` itself");
            return None;
        }
        match (self.outside.variable(name), default) {
            // as in a shell, `:-` also stands in for an empty value
            (Some(value), Some(default)) if value.is_empty() => Some((default.to_owned(), false)),
            (Some(value), _) => Some((value, false)),
            (None, Some(default)) => Some((default.to_owned(), false)),
            (None, None) => {
                let what = format!("the environment variable {} is not set", quote(name));
                let hint = format!("set it or give a default: `${{{name}:-default}}`");
                self.error(span, &what, &hint);
                None
            }
        }
    }

    fn error(&mut self, span: Span, what: &str, hint: &str) {
        let path = self.path.concat();
        let path = path.strip_prefix('.').unwrap_or(&path);
        self.findings.push(Diagnostic::error(span, path, what).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(&'static [(&'static str, &'static str)]);

    impl Outside for Fake {
        fn read(&self, path: &str) -> Result<String, String> {
            let found = self.0.iter().find(|(name, _)| *name == path);
            found.map(|(_, text)| text.to_string()).ok_or("no such file".into())
        }
        fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
            let prefix = pattern.trim_end_matches("*.yaml");
            let wild = prefix != pattern;
            let names = self.0.iter().map(|(name, _)| name.to_string());
            Ok(names
                .filter(|name| if wild { name.starts_with(prefix) } else { name == pattern })
                .collect())
        }
        fn identity(&self, path: Option<&str>) -> String {
            path.unwrap_or("main.yaml").trim_start_matches("./").to_owned()
        }
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "PORT" => Some("8080".into()),
                "EMPTY" => Some(String::new()),
                _ => None,
            }
        }
    }

    fn run(text: &str, files: &'static [(&'static str, &'static str)]) -> (Option<Node>, String) {
        let mut findings = Diagnostics::new();
        let node = assemble("main.yaml", text, &Fake(files), &mut findings);
        let shown: Vec<_> = findings
            .findings()
            .iter()
            .map(|f| {
                format!("{} {}: {}", findings.place(f.place).unwrap_or_default(), f.path, f.what)
            })
            .collect();
        (node, shown.join("\n"))
    }

    #[test]
    fn values_come_from_outside() {
        for (text, expected) in [
            ("${PORT}", "8080"),
            ("127.0.0.1:${PORT}/x", "127.0.0.1:8080/x"),
            ("${NONE:-9090}", "9090"),
            ("${EMPTY:-9090}", "9090"),
            ("${NONE:-}", ""),
            ("${file:token}", "hunter2"),
            ("${file:none:-a:b}", "a:b"),
            ("$${PORT}", "${PORT}"),
            ("$5", "$5"),
        ] {
            let (node, findings) = run(&format!("a: \"{text}\""), &[("token", "hunter2\n")]);
            assert_eq!(findings, "", "{text}");
            let node = node.unwrap();
            let Value::Scalar(scalar) = &node.get("a").unwrap().value else { panic!("{node:?}") };
            assert_eq!(scalar.text, expected);
            assert!(!scalar.shown().contains("hunter2"));
        }
    }

    #[test]
    fn what_cannot_be_resolved_is_a_finding_at_its_place() {
        for (text, expected) in [
            ("a:\n  - ${NONE}", "main.yaml:2:5 a[0]: the environment variable `NONE` is not set"),
            ("a: {b: '${file:x}'}", "main.yaml:1:8 a.b: cannot read `x`: no such file"),
            ("a: ${B-C}", "main.yaml:1:4 a: `B-C` is not the name of a variable"),
            ("a: x${B", "main.yaml:1:4 a: `${` has no `}`"),
        ] {
            assert_eq!(run(text, &[]).1, expected);
        }
    }

    #[test]
    fn included_maps_are_joined_and_names_given_twice_are_found() {
        let files = &[
            ("conf.d/a.yaml", "pools:\n  users: {}\n"),
            ("conf.d/b.yaml", "pools:\n  orders: {}\n  carts: {}\nlog: {}\n"),
        ];
        let (node, findings) = run("include: conf.d/*.yaml\npools:\n  orders: {}\n", files);
        assert_eq!(findings, "conf.d/b.yaml:2:3 pools.orders: `orders` is given in two files");
        let node = node.unwrap();
        let Value::Map(pools) = &node.get("pools").unwrap().value else { panic!() };
        let names: Vec<_> = pools.iter().map(|entry| entry.key.text.as_str()).collect();
        assert_eq!(names, ["orders", "users", "carts"]);
        assert!(node.get("log").is_some() && node.get("include").is_none());
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let (node, findings) =
            run("include: [a.yaml]", &[("a.yaml", "include: [a.yaml, main.yaml]")]);
        assert_eq!(findings, "a.yaml:1:19 include[1]: there is no file `main.yaml`");
        assert!(node.is_some());
        assert_eq!(
            run("include: [no.yaml]", &[]).1,
            "main.yaml:1:11 include[0]: there is no file `no.yaml`"
        );
        // by whichever path
        let files = &[("conf/a.yaml", "policies: {}"), ("./conf/a.yaml", "policies: {}")];
        let text = "include: [conf/*.yaml, ./conf/a.yaml]";
        assert_eq!(run(text, files).1, "");
    }
}
