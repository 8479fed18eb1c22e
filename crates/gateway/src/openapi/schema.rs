//! Schemas: brought into one form, compiled, without anything being fetched.

use std::collections::HashMap;

use jsonschema::{Draft, PatternOptions, Retrieve, Uri};
use transom_settings::json::{Map, Value as Json, json};

use super::Schema;
use crate::escapes;

/// How deep references are followed.
const DEEPEST: usize = 32;

/// The value that a local reference leads to.
pub(super) fn resolve<'d>(document: &'d Json, value: &'d Json) -> Result<&'d Json, String> {
    let mut value = value;
    for _ in 0..DEEPEST {
        let Some(reference) = value.get("$ref").and_then(Json::as_str) else { return Ok(value) };
        if !reference.starts_with('#') {
            return Err(format!(
                "`{reference}` leads out of the document, nothing is fetched: write what is there below `components`"
            ));
        }
        value = at(document, reference)
            .ok_or_else(|| format!("`{reference}` leads nowhere in the document"))?;
    }
    Err("a reference leads round in a circle".to_owned())
}

/// Where a reference leads in the document; what cannot stand in a URL is escaped in it (RFC 6901 §6).
fn at<'d>(document: &'d Json, reference: &str) -> Option<&'d Json> {
    let pointer = escapes::undone(reference.strip_prefix('#')?.as_bytes());
    document.pointer(std::str::from_utf8(&pointer).ok()?)
}

/// Compiles a schema of a document.
pub(super) fn compile(document: &Json, schema: &Json) -> Result<Schema, String> {
    let whole = match refers(schema) {
        false => schema.clone(),
        // what it refers to lies where the reference says
        true => {
            let mut whole = Map::new();
            for part in ["components", "definitions", "$defs"] {
                if let Some(part_of) = document.get(part) {
                    whole.insert(part.to_owned(), part_of.clone());
                }
            }
            whole.insert("allOf".to_owned(), json!([schema]));
            Json::Object(whole)
        }
    };
    let own = typed(document, schema)?;
    let validator = standalone(&whole)?;
    Ok(Schema { validator, json: own })
}

/// The schema with its own reference followed, and those of its parts whose types texts are read by:
/// properties, also those of schemas that it consists of, and what is in lists.
fn typed(document: &Json, schema: &Json) -> Result<Json, String> {
    let mut own = resolve(document, schema)?.clone();
    if own.get("properties").is_none() {
        let mut properties = Map::new();
        for part in own["allOf"].as_array().into_iter().flatten() {
            let part = resolve(document, part)?;
            properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
        }
        if !properties.is_empty() {
            own["properties"] = properties.into();
        }
    }
    let follow = |value: &mut Json| -> Result<(), String> {
        *value = resolve(document, value)?.clone();
        if let Some(items) = value.get("items") {
            value["items"] = resolve(document, items)?.clone();
        }
        Ok(())
    };
    if let Some(items) = own.get("items") {
        own["items"] = resolve(document, items)?.clone();
    }
    if let Some(properties) = own.get_mut("properties").and_then(Json::as_object_mut) {
        properties.values_mut().try_for_each(follow)?;
    }
    Ok(own)
}

/// Where other schemas stand that are asked about the same value.
const OF_THE_SAME: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];

/// Whether asking ends. A schema that comes back to itself by way of schemas for the same value would be asked
/// for ever; by way of properties and items values end, and so does the asking.
pub(super) fn ends(document: &Json) -> Result<(), String> {
    let (mut all, mut seen) = (Vec::new(), HashMap::new());
    references(document, "", &mut all);
    all.into_iter().try_for_each(|reference| follow(document, reference, &mut seen))
}

/// Keys of values that may only look like schemas.
const VALUES: [&str; 5] = ["const", "default", "enum", "example", "examples"];
/// Keys of maps by names, which may be those of any key: there is a response `default`.
const BY_NAME: [&str; 13] = [
    "$defs",
    "callbacks",
    "definitions",
    "dependentSchemas",
    "headers",
    "links",
    "parameters",
    "pathItems",
    "patternProperties",
    "properties",
    "requestBodies",
    "responses",
    "schemas",
];

/// Whether what stands under a key of a map is no value but part of the description, where the map itself
/// stands under `above`.
fn describes(above: &str, key: &str) -> bool {
    BY_NAME.contains(&above) || !VALUES.contains(&key)
}

/// Under which key the map of a value stands: a name is none, also where it is `properties`.
fn below<'k>(above: &str, key: &'k str) -> &'k str {
    if BY_NAME.contains(&above) { "" } else { key }
}

/// Every reference in a document, but for those in values that only look like one.
fn references<'d>(value: &'d Json, above: &str, all: &mut Vec<&'d str>) {
    match value {
        Json::Array(list) => list.iter().for_each(|value| references(value, "", all)),
        Json::Object(map) => {
            all.extend(map.get("$ref").and_then(Json::as_str));
            let schemas = map.iter().filter(|(key, _)| describes(above, key));
            schemas.for_each(|(key, value)| references(value, below(above, key), all));
        }
        _ => {}
    }
}

/// Follows a reference to all that are asked about the same value. `seen` has those that are open, and those
/// of which it is known that they end.
fn follow<'d>(
    document: &'d Json,
    reference: &'d str,
    seen: &mut HashMap<&'d str, bool>,
) -> Result<(), String> {
    match seen.insert(reference, false) {
        Some(true) => {}
        Some(false) => {
            return Err(format!(
                "`{reference}` comes back to itself with no property or item between: take it out of its own `allOf`, `anyOf` or `oneOf`"
            ));
        }
        None => {
            // one that leads out, or nowhere, is found where it is used
            let mut open: Vec<&Json> = at(document, reference).into_iter().collect();
            while let Some(Json::Object(map)) = open.pop() {
                if let Some(Json::String(next)) = map.get("$ref") {
                    follow(document, next, seen)?;
                }
                for part in OF_THE_SAME.iter().filter_map(|key| map.get(*key)) {
                    match part {
                        Json::Array(parts) => open.extend(parts),
                        one => open.push(one),
                    }
                }
            }
        }
    }
    seen.insert(reference, true);
    Ok(())
}

/// Where schemas that others name are fetched from: a document says all itself.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Json, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` is another document, and nothing is fetched").into())
    }
}

/// Compiles a schema that is a document of its own.
pub(super) fn standalone(schema: &Json) -> Result<jsonschema::Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_retriever(Nowhere)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        // linear in the text, whatever the expression
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| format!("{error} (at `{}`)", error.schema_path()))
}

/// Compiles a schema that is a document of its own.
pub(super) fn alone(json: Json) -> Result<Schema, String> {
    ends(&json)?;
    // what is not said is the newest; an own `$schema` wins
    let draft = json.get("$schema").and_then(Json::as_str).unwrap_or_default();
    let options = jsonschema::options().with_retriever(Nowhere).should_validate_formats(true);
    let options = match draft {
        "" => options.with_draft(Draft::Draft202012),
        _ => options,
    };
    let built = options.with_pattern_options(PatternOptions::regex()).build(&json);
    let validator = built.map_err(|error| format!("{error} (at `{}`)", error.schema_path()))?;
    Ok(Schema { validator, json })
}

fn refers(value: &Json) -> bool {
    match value {
        Json::Object(map) => map.contains_key("$ref") || map.values().any(refers),
        Json::Array(list) => list.iter().any(refers),
        _ => false,
    }
}

/// What 3.0 writes otherwise than JSON Schema: `nullable`, exclusive bounds as switches, `example`.
pub(super) fn modernize(value: &mut Json) {
    modernize_below(value, "");
}

fn modernize_below(value: &mut Json, above: &str) {
    match value {
        Json::Array(list) => list.iter_mut().for_each(|value| modernize_below(value, "")),
        Json::Object(map) => {
            let schemas = map.iter_mut().filter(|(key, _)| describes(above, key));
            schemas.for_each(|(key, value)| modernize_below(value, below(above, key)));
            // its keys are names
            if BY_NAME.contains(&above) {
                return;
            }
            if map.get("nullable") == Some(&Json::Bool(true)) {
                map.remove("nullable");
                match map.get_mut("type") {
                    Some(Json::String(kind)) => {
                        let kinds = json!([kind.as_str(), "null"]);
                        map.insert("type".to_owned(), kinds);
                    }
                    _ => {
                        let own = Json::Object(std::mem::take(map));
                        map.insert("anyOf".to_owned(), json!([own, { "type": "null" }]));
                    }
                }
                if let Some(Json::Array(words)) = map.get_mut("enum")
                    && !words.contains(&Json::Null)
                {
                    words.push(Json::Null);
                }
            }
            for (switch, bound) in
                [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")]
            {
                match map.get(switch) {
                    Some(Json::Bool(true)) => {
                        map.remove(switch);
                        if let Some(bound) = map.remove(bound) {
                            map.insert(switch.to_owned(), bound);
                        }
                    }
                    Some(Json::Bool(false)) => drop(map.remove(switch)),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}
