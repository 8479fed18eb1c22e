//! Lists and maps: items that cannot be decoded are found and left out, the others stay.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Deref;

use serde_json::{Value as Json, json};

use super::{Context, FromText, Setting, Spanned};
use crate::diagnostic::quote;
use crate::document::{Entry, Node, Value};
use crate::schema::Definitions;

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

    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&Spanned<K>, &mut T)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
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
