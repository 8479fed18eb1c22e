//! The JSON Schema of settings, for editors that complete and check while one writes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Schemas that are referred to by name.
#[derive(Debug, Default)]
pub struct Definitions(BTreeMap<String, Value>);

impl Definitions {
    pub fn new() -> Self {
        Self::default()
    }

    /// A reference to the schema `name`, made on first use. A type may refer to itself.
    pub fn define(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), Value::Null);
            let schema = make(self);
            self.0.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// A whole schema document around the schema of its root.
    pub fn document(self, id: &str, title: &str, root: Value) -> Value {
        let mut document = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": id,
            "title": title,
            "$defs": self.0,
        });
        if let (Value::Object(document), Value::Object(root)) = (&mut document, root) {
            document.extend(root);
        }
        document
    }
}

/// The schema of a map with known keys.
#[derive(Debug)]
pub struct Object {
    description: String,
    properties: Map<String, Value>,
    required: Vec<Value>,
    exactly_one: Vec<Value>,
}

impl Object {
    pub fn new(doc: &str) -> Self {
        let description = description(doc);
        Object {
            description,
            properties: Map::new(),
            required: Vec::new(),
            exactly_one: Vec::new(),
        }
    }

    /// The key of a Rust field, required if it has no default.
    #[inline(never)] // Every field of every setting does this.
    pub fn field(&mut self, field: &str, doc: &str, schema: Value, default: Option<Value>) {
        self.property(&crate::key(field), doc, schema, default);
    }

    /// A key, required if it has no default.
    pub fn property(&mut self, key: &str, doc: &str, schema: Value, default: Option<Value>) {
        let mut schema = schema;
        if let Value::Object(schema) = &mut schema {
            let own = schema.remove("description");
            let doc = description(doc);
            match own {
                Some(own) if doc.is_empty() => _ = schema.insert("description".into(), own),
                _ if doc.is_empty() => {}
                _ => _ = schema.insert("description".into(), doc.into()),
            }
            match default {
                None => self.required.push(key.into()),
                // what a map holds by default stands at its own keys
                Some(Value::Null | Value::Object(_)) => {}
                Some(default) => _ = schema.insert("default".into(), default),
            }
        }
        self.properties.insert(key.to_owned(), schema);
    }

    /// Keys of which exactly one is given.
    pub fn choice(&mut self, keys: Vec<(&'static str, String, Value)>) {
        for (key, doc, schema) in keys {
            self.property(key, &doc, schema, Some(Value::Null));
            self.exactly_one.push(json!({ "required": [key] }));
        }
    }

    /// The schema; with `short`, the value of that key alone may be written instead of the map.
    pub fn finish(self, short: Option<&str>) -> Value {
        let short = short.and_then(|key| {
            let mut schema = self.properties.get(key)?.clone();
            if let Value::Object(schema) = &mut schema {
                schema.remove("default");
            }
            Some(schema)
        });
        let mut object = json!({
            "type": "object",
            "properties": self.properties,
            "additionalProperties": false,
        });
        if !self.required.is_empty() {
            object["required"] = Value::Array(self.required);
        }
        if !self.exactly_one.is_empty() {
            object["oneOf"] = Value::Array(self.exactly_one);
        }
        let mut schema = match short {
            Some(short) => json!({ "anyOf": [short, object] }),
            None => object,
        };
        if !self.description.is_empty() {
            schema["description"] = self.description.into();
        }
        schema
    }
}

/// A doc comment as one text: lines joined, paragraphs kept, indentation of the comment removed.
pub(crate) fn description(doc: &str) -> String {
    let mut out = String::new();
    for line in doc.lines().map(str::trim) {
        if line.is_empty() {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            continue;
        }
        if !out.is_empty() && !out.ends_with('\n') {
            out.push(' ');
        }
        out.push_str(line);
    }
    out.trim_end().to_owned()
}

/// The first sentence of a doc comment, as the end of a hint.
pub(crate) fn summary(doc: &str) -> String {
    let text = description(doc);
    let first = text.split(['\n']).next().unwrap_or("");
    let first = first.split_once(". ").map_or(first, |(first, _)| first);
    first.trim_end_matches('.').to_owned()
}

/// A schema that also takes a text with `${...}` in it, whose value is known only later. `pattern`
/// is what other texts must look like; without it there are none.
pub fn or_interpolated(mut schema: Value, pattern: Option<&str>) -> Value {
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone(), "string".into()],
    };
    schema["type"] = kinds.into();
    schema["pattern"] = match pattern {
        Some(pattern) => format!("{pattern}|\\$\\{{").into(),
        None => "\\$\\{".into(),
    };
    schema
}

/// The schema of a value that is written as text or as a bare number or word.
pub fn text(what: &str, examples: &[&str]) -> Value {
    let mut schema = json!({ "type": ["string", "number", "boolean"] });
    if !what.is_empty() {
        schema["description"] = what.into();
    }
    if !examples.is_empty() {
        schema["examples"] = json!(examples);
    }
    schema
}
