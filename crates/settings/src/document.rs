//! YAML text as a tree whose every node knows its place. JSON is YAML, so it is read too.
//!
//! What makes a document ambiguous or dangerous is refused: a key given twice, tags that would
//! change a value's type, aliases that grow without bound, nesting too deep to walk. Values stay
//! text here; whoever decodes them knows what they should be.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::diagnostic::{Diagnostic, Diagnostics, FileId, Span, quote};

/// Part of a document and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: `key:`, `~` or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One value as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scalar {
    pub text: String,
    /// Whether it stood in quotes or in a block, so that `"null"` is a text.
    pub quoted: bool,
    /// The text before `${...}` was put in, if it was and the result must not be shown.
    pub hidden: Option<String>,
    /// Whether a value from outside could not be had. Found already, so nothing more is said.
    pub missing: bool,
}

impl Scalar {
    /// The text for a finding: never what was read from another file.
    pub fn shown(&self) -> &str {
        self.hidden.as_deref().unwrap_or(&self.text)
    }
}

/// One line of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Key,
    pub value: Node,
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub span: Span,
    pub text: String,
}

impl Node {
    /// What kind of thing this is, for "expected a, found b".
    pub fn kind(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Scalar(scalar) => quote(scalar.shown()),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| entry.key.text == key).map(|entry| &entry.value)
            }
            _ => None,
        }
    }
}

/// A document larger than this is refused.
const MAX_SIZE: usize = 32 << 20;
/// Levels of nesting. Everything that walks a tree relies on it.
const MAX_DEPTH: usize = 64;
/// What all anchors and aliases of one document may add, in bytes of memory (roughly).
const MAX_ALIASED: usize = 16 << 20;

/// Reads one document. `None` if it is no YAML at all; findings say why.
///
/// A key given twice keeps its first value, so that everything else is still examined.
pub fn parse(file: FileId, text: &str, findings: &mut Diagnostics) -> Option<Node> {
    let beginning = Span::beginning(file);
    if text.len() > MAX_SIZE {
        let what = format!("the file is larger than {} MiB", MAX_SIZE >> 20);
        findings.push(Diagnostic::error(beginning, "", what));
        return None;
    }
    // saphyr counts letters, spans count bytes; a byte order mark is no letter of the document
    let (text, skipped) = match text.strip_prefix('\u{feff}') {
        Some(rest) => (rest, 3),
        None => (text, 0),
    };
    let places = Places::new(file, text, skipped);
    let mut builder = Builder {
        places,
        findings,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let place = builder.places.span(*error.marker(), *error.marker());
                builder.refuse_syntax(place, error.info(), text);
                return None;
            }
        };
        let span = builder.places.span(span.start, span.end);
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    builder.error(span, "a second document begins here, a file holds only one");
                    return builder.root;
                }
            }
            Event::StreamEnd => break,
            event => builder.take(event, span)?,
        }
    }
    Some(builder.root.unwrap_or(Node { span: beginning, value: Value::Null }))
}

struct Builder<'a> {
    places: Places,
    findings: &'a mut Diagnostics,
    stack: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    aliased: usize,
    root: Option<Node>,
}

/// A list or map whose end has not been seen.
struct Open {
    span: Span,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, places: HashMap<String, Span>, key: Option<Key> },
}

impl Builder<'_> {
    /// One event of the parser. `None` stops reading.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(span, tag.as_deref());
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null {
                    Value::Null
                } else {
                    Value::Scalar(Scalar {
                        text: text.into_owned(),
                        quoted: !plain,
                        ..Scalar::default()
                    })
                };
                self.add(Node { span, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(span, tag.as_deref());
                self.open(span, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(span, tag.as_deref());
                let inside = Inside::Map { entries: Vec::new(), places: HashMap::new(), key: None };
                self.open(span, anchor, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.stack.pop()?;
                let end = self.places.trim(open.span.start, span.end.max(open.span.start));
                let value = match open.inside {
                    Inside::List(items) => Value::List(items),
                    Inside::Map { entries, .. } => Value::Map(entries),
                };
                self.add(Node { span: Span { end, ..open.span }, value }, open.anchor)
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    self.error(span, "the alias has no anchor before it");
                    return None;
                };
                self.grow(size, span)?;
                self.add(node, 0)
            }
            _ => Some(()),
        }
    }

    /// Counts a copy of a node, of so many bytes.
    fn grow(&mut self, size: usize, place: Span) -> Option<()> {
        self.aliased = self.aliased.saturating_add(size);
        if self.aliased <= MAX_ALIASED {
            return Some(());
        }
        self.error(place, "the anchors and aliases of this file grow beyond 16 MiB");
        None
    }

    fn open(&mut self, span: Span, anchor: usize, inside: Inside) -> Option<()> {
        if self.stack.len() >= MAX_DEPTH {
            self.error(span, format!("nested deeper than {MAX_DEPTH} levels"));
            return None;
        }
        self.stack.push(Open { span, anchor, inside });
        Some(())
    }

    /// Puts a finished node into the list or map it stands in.
    fn add(&mut self, node: Node, anchor: usize) -> Option<()> {
        if anchor != 0 {
            let size = size(&node);
            self.grow(size, node.span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        // an alias brings its own levels with it
        if self.stack.len() + depth(&node) > MAX_DEPTH {
            self.error(node.span, format!("nested deeper than {MAX_DEPTH} levels"));
            return None;
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match &mut open.inside {
            Inside::List(items) => items.push(node),
            Inside::Map { entries, places, key } => match key.take() {
                None => {
                    let text = match node.value {
                        Value::Scalar(scalar) => scalar.text,
                        Value::Null => "null".to_owned(),
                        _ => {
                            self.error(node.span, "a list or a map cannot be a key");
                            return None;
                        }
                    };
                    *key = Some(Key { span: node.span, text });
                }
                Some(key) => match places.get(&key.text).copied() {
                    Some(first) => {
                        let what = format!("the key {} is given twice", quote(&key.text));
                        let path = self.path();
                        self.findings.push(
                            Diagnostic::error(key.span, path, what)
                                .note(first, "it stands here already"),
                        );
                    }
                    None => {
                        places.insert(key.text.clone(), key.span);
                        entries.push(Entry { key, value: node });
                    }
                },
            },
        }
        Some(())
    }

    /// The keys that lead to what is open now.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.stack {
            match &open.inside {
                Inside::List(items) => path.push_str(&format!("[{}]", items.len())),
                Inside::Map { key: Some(key), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&key.text);
                }
                Inside::Map { key: None, .. } => {}
            }
        }
        path
    }

    fn error(&mut self, place: Span, what: impl Into<String>) {
        let path = self.path();
        self.findings.push(Diagnostic::error(place, path, what));
    }

    /// Only the tags that YAML itself defines, and those say what the decoding finds anyway.
    fn refuse_tag(&mut self, place: Span, tag: Option<&saphyr_parser::Tag>) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.error(place, format!("the tag {} is not known", quote(&tag.to_string())));
        }
    }

    fn refuse_syntax(&mut self, place: Span, info: &str, text: &str) {
        let what = format!("this is not valid YAML: {}", info.replace('\'', "`"));
        let mut finding = Diagnostic::error(place, self.path(), what);
        let line = text.lines().nth(place.line.saturating_sub(1) as usize).unwrap_or("");
        if line.starts_with('\t') || line.trim_start_matches(' ').starts_with('\t') {
            finding = finding.hint("indent with spaces, YAML forbids tabs");
        } else if line.contains("${") && line.contains(['{', '[']) {
            finding = finding.hint("inside `{ }` and `[ ]` a value with `${` needs quotes");
        } else if info.contains("unknown anchor") {
            finding = finding.hint("a value that begins with `*` needs quotes");
        } else if line.matches(": ").count() > 1 && !line.contains('{') {
            finding = finding.hint("a value that contains `: ` needs quotes");
        } else if ["expected key", "block mapping", "indentation"].iter().any(|w| info.contains(w))
        {
            finding = finding.hint("keys that belong together begin in the same column");
        }
        self.findings.push(finding);
    }
}

/// Levels below and including this node.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|e| depth(&e.value)).max().unwrap_or(0),
    }
}

/// Memory that a copy of this node takes, roughly.
fn size(node: &Node) -> usize {
    let own = std::mem::size_of::<Node>();
    own + match &node.value {
        Value::Null => 0,
        Value::Scalar(scalar) => scalar.text.len(),
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => {
            entries.iter().map(|entry| own + entry.key.text.len() + size(&entry.value)).sum()
        }
    }
}

/// Turns the parser's marks into spans.
struct Places {
    file: FileId,
    /// Byte of each letter; empty where letters are bytes.
    letters: Vec<u32>,
    bytes: Vec<u8>,
    skipped: u32,
}

impl Places {
    fn new(file: FileId, text: &str, skipped: u32) -> Self {
        let letters = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at as u32).collect()
        };
        Places { file, letters, bytes: text.as_bytes().to_vec(), skipped }
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        let from = self.byte(start.index());
        let to = self.byte(end.index()).max(from);
        Span {
            file: self.file,
            start: from + self.skipped,
            end: to + self.skipped,
            line: u32::try_from(start.line()).unwrap_or(u32::MAX).max(1),
            column: u32::try_from(start.col()).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn byte(&self, letter: usize) -> u32 {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if self.letters.is_empty() {
            return u32::try_from(letter).unwrap_or(u32::MAX).min(length);
        }
        self.letters.get(letter).copied().unwrap_or(length)
    }

    /// The end of a block without the blank lines that the parser counts to it.
    fn trim(&self, start: u32, end: u32) -> u32 {
        let start = start.saturating_sub(self.skipped) as usize;
        let mut at = (end.saturating_sub(self.skipped) as usize).min(self.bytes.len());
        while at > start && self.bytes[at - 1].is_ascii_whitespace() {
            at -= 1;
        }
        at as u32 + self.skipped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Option<Node>, Diagnostics) {
        let mut findings = Diagnostics::new();
        let file = findings.add_file("f", text);
        let node = parse(file, text, &mut findings);
        (node, findings)
    }

    fn check(text: &str, expected: &str) {
        let (_, findings) = read(text);
        let shown: Vec<_> = findings
            .findings()
            .iter()
            .map(|f| format!("{}:{} {}: {}", f.place.line, f.place.column, f.path, f.what))
            .collect();
        assert_eq!(shown.join("\n"), expected, "{text}");
    }

    #[test]
    fn spans_point_at_what_was_written() {
        let text = "# ü\nlisteners:\n  wöb:\n    address: [\":80\", ':81']\n";
        let (node, findings) = read(text);
        assert!(findings.is_empty(), "{}", findings.render());
        let list = node.unwrap();
        let list = list.get("listeners").and_then(|n| n.get("wöb")?.get("address")).unwrap();
        let Value::List(items) = &list.value else { panic!("{list:?}") };
        let shown: Vec<_> =
            items.iter().map(|n| &text[n.span.start as usize..n.span.end as usize]).collect();
        assert_eq!(shown, ["\":80\"", "':81'"]);
        assert_eq!((items[0].span.line, items[0].span.column), (4, 15));
    }

    #[test]
    fn a_byte_order_mark_moves_nothing() {
        let text = "\u{feff}a: b\n";
        let (node, findings) = read(text);
        let node = node.unwrap();
        let b = node.get("a").unwrap();
        assert!(findings.is_empty());
        assert_eq!(&text[b.span.start as usize..b.span.end as usize], "b");
    }

    #[test]
    fn json_is_read_and_null_is_nothing() {
        let (node, findings) = read("{\"a\": [1, null, \"null\"], \"b\": {}}");
        assert!(findings.is_empty(), "{}", findings.render());
        let node = node.unwrap();
        let Value::List(items) = &node.get("a").unwrap().value else { panic!() };
        assert_eq!(items[1].value, Value::Null);
        assert!(matches!(&items[2].value, Value::Scalar(s) if s.text == "null" && s.quoted));
        assert_eq!(read("").0.unwrap().value, Value::Null);
    }

    #[test]
    fn what_is_refused() {
        check("a:\n  b: 1\n  c: 2\n  b: 3\n", "4:3 a: the key `b` is given twice");
        check("- {x: 1, x: 2}", "1:10 [0]: the key `x` is given twice");
        check("a: !secret b", "1:4 a: the tag `!secret` is not known");
        check("a: 1\n---\nb: 2\n", "2:1 : a second document begins here, a file holds only one");
        check("{[a]: b}", "1:2 : a list or a map cannot be a key");
    }

    #[test]
    fn aliases_share_but_do_not_explode() {
        let (node, findings) = read("a: &x {p: 1}\nb: *x\n");
        assert!(findings.is_empty());
        let node = node.unwrap();
        assert_eq!(node.get("a").unwrap().value, node.get("b").unwrap().value);

        let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(8);
            laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        let (node, findings) = read(&laughs);
        assert!(node.is_none());
        assert!(findings.render().contains("grow beyond"), "{}", findings.render());

        // Every anchor keeps a copy of what it names, and they may stand in one another.
        let nested = (0..60).map(|n| format!("&a{n} [")).collect::<String>();
        let (node, findings) = read(&(nested + &"x, ".repeat(1 << 16) + &"]".repeat(60)));
        assert!(node.is_none());
        assert!(findings.render().contains("grow beyond"), "{}", findings.render());
    }

    #[test]
    fn depth_is_bounded() {
        for text in ["[".repeat(5000), "{a: ".repeat(5000), "- ".repeat(5000)] {
            let (node, findings) = read(&text);
            assert!(node.is_none() && findings.has_errors());
        }
    }

    #[test]
    fn syntax_errors_have_a_place_and_a_remedy() {
        let (node, findings) = read("a:\n  token: { x: ${TOKEN} }\n");
        assert!(node.is_none() || findings.has_errors());
        let (_, findings) = read("a:\n\tb: 1\n");
        assert!(findings.render().contains("indent with spaces"), "{}", findings.render());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in any::<String>()) {
            let (_, findings) = read(&text);
            findings.render();
        }

        #[test]
        fn any_yaml_like_text_is_read_without_panic(text in "[a-c:{}\\[\\],&*!|>'\"%@#~\\-? \n\tü]{0,80}") {
            let (_, findings) = read(&text);
            findings.render();
        }
    }
}
