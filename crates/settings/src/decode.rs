//! From nodes of a document to typed values.
//!
//! Every type decodes itself and reports what is wrong with it; a part that cannot be decoded is
//! left out and the rest is still examined, so that one run finds everything.

mod any;
mod collections;
mod wrappers;

use std::borrow::Cow;
use std::fmt::{self, Debug, Display};

use serde_json::Value as Json;

pub use any::Any;
pub use collections::{List, Map, OneOrMany};
pub use wrappers::{Limit, Spanned, Switch};

use crate::diagnostic::{Diagnostic, Diagnostics, Span, list, quote};
use crate::document::{Entry, Key, Node, Scalar, Value};
use crate::elsewhere;
use crate::schema::{Definitions, Object, summary};
use crate::suggest::closest;

/// A type that can be written in a configuration.
pub trait Setting: Sized {
    /// The value of a node. `None` means that findings say why there is none.
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self>;
    /// Its JSON Schema.
    fn schema(definitions: &mut Definitions) -> Json;
    /// The value as it would be written, with secrets masked.
    fn to_json(&self) -> Json;
}

/// A type written as a single text, number or word.
pub trait FromText: Sized {
    /// What is expected, as the end of a sentence: "a duration such as `5s`".
    const WHAT: &'static str;
    fn from_text(text: &str) -> Result<Self, Refusal>;
    fn schema() -> Json {
        crate::schema::text(Self::WHAT, &[])
    }
    fn to_json(&self) -> Json;
}

/// Why a text is not a value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub what: String,
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(what: impl Into<String>) -> Self {
        Refusal { what: what.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{}: {hint}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Refusal {}

/// Where decoding stands in the document, and where its findings go.
#[derive(Debug)]
pub struct Context<'a> {
    findings: &'a mut Diagnostics,
    path: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Key(String, Span),
    Item(usize),
}

impl<'a> Context<'a> {
    pub fn new(findings: &'a mut Diagnostics) -> Self {
        Context { findings, path: Vec::new() }
    }

    /// Runs `inside` one key deeper.
    pub fn key<R>(&mut self, key: &Key, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.known(&key.text, key, inside)
    }

    /// Runs `inside` one key deeper, which is `known` however it is written.
    fn known<R>(&mut self, known: &str, key: &Key, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(Step::Key(known.to_owned(), key.span));
        let result = inside(self);
        self.path.pop();
        result
    }

    /// Runs `inside` for one item of a list.
    pub fn item<R>(&mut self, index: usize, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(Step::Item(index));
        let result = inside(self);
        self.path.pop();
        result
    }

    /// The keys that lead here: `listeners.web.routes[0]`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(key, _) if path.is_empty() => path.push_str(key),
                Step::Key(key, _) => path.extend([".", key]),
                Step::Item(index) => path.push_str(&format!("[{index}]")),
            }
        }
        path
    }

    /// A refusing finding here; pass it on with [`Context::push`].
    pub fn error(&self, place: Span, what: impl Into<String>) -> Diagnostic {
        Diagnostic::error(place, self.path(), what)
    }

    pub fn push(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// Never shows what stands at `place`.
    pub fn mask(&mut self, place: Span) {
        self.findings.mask(place);
    }

    /// Reports that something else was expected, and returns nothing.
    pub fn mismatch<T>(&mut self, expected: &str, node: &Node) -> Option<T> {
        let place = match &node.value {
            // the place of a whole map would be its first key, which is not at fault
            Value::Null | Value::Map(_) | Value::List(_) => self.place(node),
            Value::Scalar(scalar) if scalar.missing => return None,
            Value::Scalar(_) => node.span,
        };
        let what = format!("expected {expected}, found {}", node.kind());
        self.push(self.error(place, what));
        None
    }

    /// The text of a scalar, or a finding that names what was expected.
    pub fn scalar<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n Scalar> {
        match &node.value {
            Value::Scalar(scalar) if scalar.missing => None,
            Value::Scalar(scalar) => Some(scalar),
            _ => self.mismatch(expected, node),
        }
    }

    /// Where a finding about all of `node` points: the key before it, else its own beginning.
    fn place(&self, node: &Node) -> Span {
        match self.path.last() {
            Some(Step::Key(_, span)) if span.file == node.span.file => *span,
            _ => node.span,
        }
    }
}

/// The YAML key of a Rust field: `header_count` is `header-count`, `r#match` is `match`.
pub fn key(field: &str) -> String {
    field.trim_start_matches("r#").replace('_', "-")
}

/// The keys of some Rust fields.
#[doc(hidden)]
pub fn keys(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| key(field)).collect()
}

/// Writes the value of a field down, if there is one.
#[doc(hidden)]
#[inline(never)] // Every field of every setting does this.
pub fn put(object: &mut serde_json::Map<String, Json>, field: &str, value: Json) {
    if !value.is_null() {
        object.insert(key(field), value);
    }
}

// What stands for every single field of every setting is called, and not copied there.
impl<T: FromText> Setting for T {
    #[inline(never)]
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let scalar = at.scalar(node, T::WHAT)?;
        match T::from_text(&scalar.text) {
            Ok(value) => Some(value),
            Err(refusal) => {
                // the reason may repeat the text, which came from a file and may be a secret
                let mut finding = match &scalar.hidden {
                    Some(hidden) => at.error(
                        node.span,
                        format!("expected {}, which {} does not hold", T::WHAT, quote(hidden)),
                    ),
                    None => at.error(node.span, refusal.what),
                };
                finding.hint = refusal.hint.filter(|_| scalar.hidden.is_none());
                at.push(finding);
                None
            }
        }
    }

    #[inline(never)]
    fn schema(_: &mut Definitions) -> Json {
        <T as FromText>::schema()
    }

    fn to_json(&self) -> Json {
        <T as FromText>::to_json(self)
    }
}

/// The entries of one map while a struct is decoded from it.
///
/// Opening it reports what is not a map and every key that is not known.
#[derive(Debug)]
pub struct Fields<'n> {
    node: &'n Node,
    /// By known key.
    entries: Vec<(Cow<'n, str>, &'n Entry)>,
    /// The key that the short form stands for, and its value.
    short: Option<(&'static str, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// `what` names the thing, `known` its keys; `short` is the key a bare value stands for.
    pub fn open(
        node: &'n Node,
        at: &mut Context<'_>,
        known: &[String],
        short: Option<&'static str>,
    ) -> Option<Self> {
        let mut fields = Fields { node, entries: Vec::new(), short: None };
        match (&node.value, short) {
            (Value::Map(entries), _) => {
                let (known_keys, others): (Vec<_>, Vec<_>) =
                    entries.iter().partition(|entry| known.contains(&entry.key.text));
                let known_keys = known_keys.into_iter();
                fields.entries = known_keys.map(|e| (Cow::from(&*e.key.text), e)).collect();
                for entry in others {
                    let meant = refuse_key(&entry.key, at, known).map(str::to_owned);
                    // Read as what was meant, so that what is wrong behind it is found as well.
                    if let Some(meant) = meant.filter(|meant| !fields.has(meant)) {
                        fields.entries.push((meant.into(), entry));
                    }
                }
                Some(fields)
            }
            (Value::Scalar(_) | Value::List(_), Some(key)) => {
                fields.short = Some((key, node));
                Some(fields)
            }
            _ => {
                let keys = list(known.iter().take(4).map(String::as_str), "or");
                at.mismatch(&format!("a map with keys such as {keys}"), node)
            }
        }
    }

    fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(known, _)| known == key)
    }

    /// The value of a key that must be given.
    #[inline(never)]
    pub fn required<T: Setting>(
        &mut self,
        field: &str,
        doc: &str,
        at: &mut Context<'_>,
    ) -> Option<T> {
        let key = key(field);
        match self.take(&key, at) {
            Taken::Absent => {
                let what = format!("the key {} is missing", quote(&key));
                let finding = at.error(at.place(self.node), what);
                at.push(finding.hint(format!("add `{key}:` - {}", summary(doc))));
                None
            }
            Taken::Decoded(value) => value,
        }
    }

    /// The value of a key, where there is one that could be decoded.
    #[inline(never)]
    pub fn given<T: Setting>(&mut self, field: &str, at: &mut Context<'_>) -> Option<T> {
        match self.take(&key(field), at) {
            Taken::Decoded(value) => value,
            Taken::Absent => None,
        }
    }

    /// The one key of several that names a kind.
    pub fn choice<T: Choice>(&mut self, at: &mut Context<'_>) -> Option<T> {
        let keys = T::keys();
        let given = self.entries.iter().filter(|(key, _)| keys.contains(&&**key));
        let mut given: Vec<&(Cow<'_, str>, &Entry)> = given.collect();
        if given.len() > 1 {
            // What is only guessed excludes nothing.
            let first = given[0];
            given.retain(|(key, entry)| *key == entry.key.text);
            if given.is_empty() {
                given.push(first);
            }
        }
        match given[..] {
            [] => {
                let what = format!("exactly one of {} is needed", list(keys, "and"));
                at.push(at.error(at.place(self.node), what));
                None
            }
            [(key, only)] => at.known(key, &only.key, |at| T::decode_kind(key, &only.value, at)),
            [(_, first), (_, second), ..] => {
                let what = format!(
                    "{} and {} exclude each other",
                    quote(&first.key.text),
                    quote(&second.key.text)
                );
                let all = list(keys, "and");
                let finding = at
                    .key(&second.key, |at| at.error(second.key.span, what))
                    .note(first.key.span, "the other one stands here")
                    .hint(format!("keep exactly one of {all}"));
                at.push(finding);
                None
            }
        }
    }

    #[inline(never)]
    fn take<T: Setting>(&mut self, key: &str, at: &mut Context<'_>) -> Taken<T> {
        if let Some((short, node)) = self.short {
            return if short == key { Taken::Decoded(T::decode(node, at)) } else { Taken::Absent };
        }
        match self.entries.iter().find(|(known, _)| known == key) {
            Some((_, entry)) => {
                Taken::Decoded(at.known(key, &entry.key, |at| T::decode(&entry.value, at)))
            }
            None => Taken::Absent,
        }
    }
}

/// Reports a key that is not known; the known one that it was probably meant to be.
fn refuse_key<'k>(key: &Key, at: &mut Context<'_>, known: &'k [String]) -> Option<&'k str> {
    let what = format!("there is no key {} here", quote(&key.text));
    let advice = elsewhere::advice(&key.text, known);
    let suggestion = match advice {
        Some(_) => None,
        None => closest(&key.text, known.iter().map(String::as_str)),
    };
    let mut finding = at.key(key, |at| at.error(key.span, what)).suggest(suggestion);
    if key.text == "<<" {
        finding = finding.hint("YAML 1.2 has no merge keys, repeat the settings");
    } else if let Some(advice) = advice {
        finding = finding.hint(advice);
    } else if suggestion.is_none() {
        let all = list(known.iter().map(String::as_str), "and");
        finding = finding.hint(format!("the keys here are {all}"));
    }
    at.push(finding);
    suggestion
}

enum Taken<T> {
    Absent,
    Decoded(Option<T>),
}

/// A set of kinds of which exactly one is given, as one key that names it.
pub trait Choice: Sized {
    fn keys() -> Vec<&'static str>;
    /// Decodes the settings of the kind `key`, which is one of the keys.
    fn decode_kind(key: &str, node: &Node, at: &mut Context<'_>) -> Option<Self>;
    /// Key, documentation and schema of each kind.
    fn kinds(definitions: &mut Definitions) -> Vec<(&'static str, String, Json)>;
    fn kind_to_json(&self) -> (&'static str, Json);
}

/// Decodes a choice that stands alone: a map with a single key.
pub fn only_key<T: Choice>(node: &Node, at: &mut Context<'_>, what: &str) -> Option<T> {
    let known: Vec<String> = T::keys().iter().map(|key| key.to_string()).collect();
    match &node.value {
        Value::Map(entries) => match &entries[..] {
            [Entry { key, value }] if !known.contains(&key.text) => {
                let finding = at.key(key, |at| {
                    at.error(key.span, format!("{} is no known {what}", quote(&key.text)))
                });
                let suggestion = closest(&key.text, T::keys());
                let all = format!("known are {}", list(T::keys(), "and"));
                at.push(finding.hint(all).suggest(suggestion));
                at.known(suggestion?, key, |at| T::decode_kind(suggestion?, value, at))
            }
            _ => Fields::open(node, at, &known, None)?.choice(at),
        },
        _ => {
            let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
            let keys = list(T::keys(), "or");
            at.mismatch(&format!("{article} {what}: a map with one of {keys}"), node)
        }
    }
}

/// What the macro needs to build an object schema without naming this module's types.
impl Object {
    /// Adds the kinds of a choice that stands among the other keys.
    pub fn flat<T: Choice>(&mut self, definitions: &mut Definitions) {
        let kinds = T::kinds(definitions);
        self.choice(kinds);
    }
}
