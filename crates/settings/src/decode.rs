//! From nodes of a document to typed values.
//!
//! Every type decodes itself and reports what is wrong with it; a part that cannot be decoded is
//! left out and the rest is still examined, so that one run finds everything.

use std::collections::HashMap;
use std::fmt::{self, Debug, Display};
use std::ops::Deref;

use serde_json::{Value as Json, json};

use crate::diagnostic::{Diagnostic, Diagnostics, Span, list, quote};
use crate::document::{Entry, Key, Node, Scalar, Value};
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
        self.path.push(Step::Key(key.text.clone(), key.span));
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

impl<T: FromText> Setting for T {
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
    entries: Vec<&'n Entry>,
    /// The key that the short form stands for, and its value.
    short: Option<(&'static str, &'n Node)>,
    /// Known keys that unknown ones were probably meant to be.
    meant: Vec<String>,
}

impl<'n> Fields<'n> {
    /// `what` names the thing, `known` its keys; `short` is the key a bare value stands for.
    pub fn open(
        node: &'n Node,
        at: &mut Context<'_>,
        known: &[String],
        short: Option<&'static str>,
    ) -> Option<Self> {
        let mut fields = Fields { node, entries: Vec::new(), short: None, meant: Vec::new() };
        match (&node.value, short) {
            (Value::Map(entries), _) => {
                for entry in entries {
                    if known.contains(&entry.key.text) {
                        fields.entries.push(entry);
                    } else {
                        fields.refuse_key(&entry.key, at, known);
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

    fn refuse_key(&mut self, key: &Key, at: &mut Context<'_>, known: &[String]) {
        let what = format!("there is no key {} here", quote(&key.text));
        let suggestion = closest(&key.text, known.iter().map(String::as_str));
        let mut finding = at.key(key, |at| at.error(key.span, what)).suggest(suggestion);
        if key.text == "<<" {
            finding = finding.hint("YAML 1.2 has no merge keys, repeat the settings");
        } else if suggestion.is_none() {
            let all = list(known.iter().map(String::as_str), "and");
            finding = finding.hint(format!("the keys here are {all}"));
        }
        at.push(finding);
        self.meant.extend(suggestion.map(str::to_owned));
    }

    /// The value of a key that must be given.
    pub fn required<T: Setting>(
        &mut self,
        field: &str,
        doc: &str,
        at: &mut Context<'_>,
    ) -> Option<T> {
        let key = key(field);
        match self.take(&key, at) {
            Taken::Absent if self.meant.contains(&key) => None,
            Taken::Absent => {
                let what = format!("the key {} is missing", quote(&key));
                let finding = at.error(at.place(self.node), what);
                at.push(finding.hint(format!("add `{key}:` - {}", summary(doc))));
                None
            }
            Taken::Decoded(value) => value,
        }
    }

    /// The value of a key, or its default where it is absent or could not be decoded.
    pub fn optional<T: Setting>(
        &mut self,
        field: &str,
        default: impl FnOnce() -> T,
        at: &mut Context<'_>,
    ) -> T {
        match self.take(&key(field), at) {
            Taken::Decoded(Some(value)) => value,
            Taken::Decoded(None) | Taken::Absent => default(),
        }
    }

    /// The one key of several that names a kind.
    pub fn choice<T: Choice>(&mut self, at: &mut Context<'_>) -> Option<T> {
        let keys = T::keys();
        let given: Vec<&Entry> = self
            .entries
            .iter()
            .copied()
            .filter(|entry| keys.contains(&entry.key.text.as_str()))
            .collect();
        match given[..] {
            [] if self.meant.iter().any(|key| keys.contains(&key.as_str())) => None,
            [] => {
                let what = format!("exactly one of {} is needed", list(keys, "and"));
                at.push(at.error(at.place(self.node), what));
                None
            }
            [only] => at.key(&only.key, |at| T::decode_kind(&only.key.text, &only.value, at)),
            [first, second, ..] => {
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

    fn take<T: Setting>(&mut self, key: &str, at: &mut Context<'_>) -> Taken<T> {
        if let Some((short, node)) = self.short {
            return if short == key { Taken::Decoded(T::decode(node, at)) } else { Taken::Absent };
        }
        match self.entries.iter().find(|entry| entry.key.text == key) {
            Some(entry) => Taken::Decoded(at.key(&entry.key, |at| T::decode(&entry.value, at))),
            None => Taken::Absent,
        }
    }
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
            [Entry { key, .. }] if !known.contains(&key.text) => {
                let finding = at.key(key, |at| {
                    at.error(key.span, format!("{} is no known {what}", quote(&key.text)))
                });
                let suggestion = closest(&key.text, T::keys());
                let all = format!("known are {}", list(T::keys(), "and"));
                at.push(finding.hint(all).suggest(suggestion));
                None
            }
            _ => Fields::open(node, at, &known, None)?.choice(at),
        },
        _ => at.mismatch(&format!("a {what}: a map with one of {}", list(T::keys(), "or")), node),
    }
}

/// A value and where it was written. Two are equal if their values are, wherever they stand.
#[derive(Clone, Copy, Default)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Self {
        Spanned { value, span }
    }
}

impl<T> From<T> for Spanned<T> {
    fn from(value: T) -> Self {
        Spanned { value, span: Span::NOWHERE }
    }
}

impl<T: Setting> Setting for Spanned<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let span = match node.value {
            Value::Scalar(_) => node.span,
            _ => at.place(node),
        };
        Some(Spanned { value: T::decode(node, at)?, span })
    }
    fn schema(definitions: &mut Definitions) -> Json {
        T::schema(definitions)
    }
    fn to_json(&self) -> Json {
        self.value.to_json()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: Debug> Debug for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Display> Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match node.value {
            Value::Null => Some(None),
            _ => T::decode(node, at).map(Some),
        }
    }
    fn schema(definitions: &mut Definitions) -> Json {
        T::schema(definitions)
    }
    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::to_json)
    }
}

/// A list, or a value that stands for a list of it alone. Items that cannot be decoded are found
/// and left out.
impl<T: Setting> Setting for Vec<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::List(items) => {
                let decoded = items.iter().enumerate();
                Some(decoded.filter_map(|(i, n)| at.item(i, |at| T::decode(n, at))).collect())
            }
            Value::Null => Some(Vec::new()),
            _ => Some(vec![T::decode(node, at)?]),
        }
    }
    fn schema(definitions: &mut Definitions) -> Json {
        let one = T::schema(definitions);
        json!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
    fn to_json(&self) -> Json {
        self.iter().map(T::to_json).collect()
    }
}

/// A list whose items know their number in the file, also where one before them was left out
/// because it could not be decoded.
#[derive(Clone, Debug)]
pub struct List<T> {
    items: Vec<(usize, T)>,
    written: usize,
}

impl<T> List<T> {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.items.iter().map(|(_, item)| item)
    }

    /// Items with their number in the file, from zero.
    pub fn numbered(&self) -> impl ExactSizeIterator<Item = (usize, &T)> {
        self.items.iter().map(|(number, item)| (*number, item))
    }

    /// Items that were written, also those that could not be decoded.
    pub fn len(&self) -> usize {
        self.written
    }

    pub fn is_empty(&self) -> bool {
        self.written == 0
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List { items: Vec::new(), written: 0 }
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        List { written: items.len(), items: items.into_iter().enumerate().collect() }
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (usize, T)>, fn(&'a (usize, T)) -> &'a T>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter().map(|(_, item)| item)
    }
}

impl<T: Setting> Setting for List<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::List(nodes) => {
                let decoded = nodes.iter().enumerate();
                let items = decoded
                    .filter_map(|(i, n)| Some((i, at.item(i, |at| T::decode(n, at))?)))
                    .collect();
                Some(List { items, written: nodes.len() })
            }
            Value::Null => Some(List::default()),
            _ => at.mismatch("a list", node),
        }
    }
    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "type": "array", "items": T::schema(definitions) })
    }
    fn to_json(&self) -> Json {
        self.iter().map(T::to_json).collect()
    }
}

/// One value or a list of at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T: Setting> Setting for OneOrMany<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                at.push(at.error(at.place(node), "the list is empty").hint("give at least one"));
                None
            }
            Value::List(_) => {
                let decoded = Vec::decode(node, at)?;
                (!decoded.is_empty()).then_some(OneOrMany(decoded))
            }
            _ => Some(OneOrMany(vec![T::decode(node, at)?])),
        }
    }
    fn schema(definitions: &mut Definitions) -> Json {
        let one = T::schema(definitions);
        json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
    fn to_json(&self) -> Json {
        self.0.iter().map(T::to_json).collect()
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> From<T> for OneOrMany<T> {
    fn from(one: T) -> Self {
        OneOrMany(vec![one])
    }
}

impl<'a, T> IntoIterator for &'a OneOrMany<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Names and what they stand for, in the order of the file. Two are equal if they hold the same in
/// any order.
#[derive(Clone, Debug)]
pub struct Map<K, T> {
    entries: Vec<(Spanned<K>, T)>,
    /// Names whose value could not be decoded: they are not undefined, only wrong.
    broken: Vec<K>,
}

impl<K, T> Map<K, T> {
    pub fn new() -> Self {
        Map { entries: Vec::new(), broken: Vec::new() }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Spanned<K>, &T)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub fn names(&self) -> impl ExactSizeIterator<Item = &Spanned<K>> {
        self.entries.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a name that is not there yet.
    pub fn push(&mut self, name: impl Into<Spanned<K>>, value: T) {
        self.entries.push((name.into(), value));
    }
}

impl<K: PartialEq, T> Map<K, T> {
    pub fn get<Q: ?Sized>(&self, name: &Q) -> Option<&T>
    where
        K: PartialEq<Q>,
    {
        self.entries.iter().find(|(key, _)| key.value == *name).map(|(_, value)| value)
    }

    /// Whether the name was written, even if what it stands for could not be understood.
    pub fn mentions<Q: ?Sized>(&self, name: &Q) -> bool
    where
        K: PartialEq<Q>,
    {
        self.get(name).is_some() || self.broken.iter().any(|key| key == name)
    }
}

impl<K, T> Default for Map<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, T: PartialEq> PartialEq for Map<K, T> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(name, value): &(Spanned<K>, T)| other.get(&name.value) == Some(value);
        self.entries == other.entries || self.len() == other.len() && self.entries.iter().all(same)
    }
}

impl<K: FromText + PartialEq + Display, T: Setting> Setting for Map<K, T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => return Some(Map::new()),
            _ => return at.mismatch(&format!("a map from {}", K::WHAT), node),
        };
        let mut map = Map::new();
        let mut seen = HashMap::new();
        for Entry { key, value } in entries {
            at.key(key, |at| {
                let name = match K::from_text(&key.text) {
                    Ok(name) => name,
                    Err(refusal) => {
                        let mut finding = at.error(key.span, refusal.what);
                        finding.hint = refusal.hint;
                        at.push(finding);
                        return;
                    }
                };
                // two spellings of one name, such as header names in different case
                if let Some(first) = seen.insert(name.to_string(), key.span) {
                    let what = format!("{} is given twice", quote(&name.to_string()));
                    let finding = at.error(key.span, what).note(first, "it stands here already");
                    at.push(finding);
                    return;
                }
                match T::decode(value, at) {
                    Some(value) => map.entries.push((Spanned::new(name, key.span), value)),
                    None => map.broken.push(name),
                }
            });
        }
        Some(map)
    }
    fn schema(definitions: &mut Definitions) -> Json {
        let mut schema =
            json!({ "type": "object", "additionalProperties": T::schema(definitions) });
        if let Some(pattern) = K::schema().get("pattern") {
            schema["propertyNames"] = json!({ "pattern": pattern });
        }
        schema
    }
    fn to_json(&self) -> Json {
        self.iter().map(|(key, value)| (key.to_string(), value.to_json())).collect()
    }
}

/// A limit that may be given up in writing: a value, or `off` or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    At(T),
    Unlimited,
}

impl<T: Copy> Limit<T> {
    /// The value, or nothing where there is no limit.
    pub fn get(&self) -> Option<T> {
        match self {
            Limit::At(value) => Some(*value),
            Limit::Unlimited => None,
        }
    }
}

impl<T: FromText> FromText for Limit<T> {
    const WHAT: &'static str = T::WHAT;
    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "off" | "unlimited" => Ok(Limit::Unlimited),
            "none" | "no" | "false" => {
                let what = format!("expected {}, found {}", T::WHAT, quote(text));
                Err(Refusal::new(what).hint("write `off` or `unlimited` for no limit"))
            }
            text => T::from_text(text).map(Limit::At),
        }
    }
    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), { "enum": ["off", "unlimited"] }] })
    }
    fn to_json(&self) -> Json {
        match self {
            Limit::At(value) => value.to_json(),
            Limit::Unlimited => "unlimited".into(),
        }
    }
}

impl<T: Display> Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::At(value) => value.fmt(f),
            Limit::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// Settings that may be switched off, or on with every default: `off`, `on` or the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Switch<T> {
    #[default]
    Off,
    On(T),
}

impl<T> Switch<T> {
    pub fn on(&self) -> Option<&T> {
        match self {
            Switch::On(settings) => Some(settings),
            Switch::Off => None,
        }
    }
}

impl<T: Setting + Default> Setting for Switch<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if matches!(&*scalar.text, "off" | "false") => Some(Switch::Off),
            Value::Scalar(scalar) if matches!(&*scalar.text, "on" | "true") => {
                Some(Switch::On(T::default()))
            }
            Value::Map(_) => T::decode(node, at).map(Switch::On),
            _ => at.mismatch("`on`, `off` or a map of settings", node),
        }
    }
    fn schema(definitions: &mut Definitions) -> Json {
        let on = T::schema(definitions);
        json!({ "anyOf": [{ "enum": ["on", "off", true, false] }, on] })
    }
    fn to_json(&self) -> Json {
        match self {
            Switch::Off => "off".into(),
            Switch::On(settings) => settings.to_json(),
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
