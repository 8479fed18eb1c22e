//! Schemas: brought into one form, compiled, without anything being fetched.

use jsonschema::{Draft, PatternOptions, Retrieve, Uri};
use transom_settings::json::{Map, Value as Json, json};

use super::Schema;

/// How deep references are followed.
const DEEPEST: usize = 32;

/// The value that a local reference leads to.
pub(super) fn resolve<'d>(document: &'d Json, value: &'d Json) -> Result<&'d Json, String> {
    let mut value = value;
    for _ in 0..DEEPEST {
        let Some(reference) = value.get("$ref").and_then(Json::as_str) else { return Ok(value) };
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(format!("`{reference}` leads out of the document, nothing is fetched"));
        };
        value = document
            .pointer(pointer)
            .ok_or_else(|| format!("`{reference}` leads nowhere in the document"))?;
    }
    Err("a reference leads round in a circle".to_owned())
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
    let own = resolve(document, schema)?.clone();
    let validator = standalone(&whole)?;
    Ok(Schema { validator, json: own })
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
    match value {
        Json::Array(list) => list.iter_mut().for_each(modernize),
        Json::Object(map) => {
            map.values_mut().for_each(modernize);
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
