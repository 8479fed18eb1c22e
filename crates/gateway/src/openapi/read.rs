//! A document is read and walked.

use transom_settings::json::{Map, Number, Value as Json, from_slice};
use transom_settings::{Diagnostics, Node, Value};

use super::parameters::{Parameter, Where};
use super::{Content, Document, Media, Operation, Schema, Status, schema, segments};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// JSON or YAML as JSON.
///
/// # Errors
/// Why it is neither.
pub fn json(bytes: &[u8]) -> Result<Json, String> {
    // a map of YAML may have braces, too; what has the quotes of JSON is not taken for one, or what is
    // missing in it would be read as nothing
    let mut meaning = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    match (meaning.next(), meaning.next()) {
        (Some(b'{'), Some(b'"' | b'}') | None) => {
            from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"))
        }
        _ => yaml(bytes),
    }
}

fn yaml(bytes: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text in UTF-8".to_owned())?;
    let mut findings = Diagnostics::new();
    let file = findings.add_file("", text);
    let node = transom_settings::parse(file, text, &mut findings);
    if let Some(first) = findings.findings().first() {
        return Err(format!("line {}: {}", first.place.line, first.what));
    }
    node.map(|node| of_node(&node)).ok_or_else(|| "it is empty".to_owned())
}

fn of_node(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar(scalar) => match &*scalar.text {
            text if scalar.quoted => text.into(),
            "true" => true.into(),
            "false" => false.into(),
            "null" | "~" => Json::Null,
            text => text.parse::<Number>().map_or_else(|_| text.into(), Json::Number),
        },
        Value::List(items) => items.iter().map(of_node).collect(),
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key.text.clone(), of_node(&entry.value))).collect()
        }
    }
}

impl Document {
    /// # Errors
    /// What keeps it from being used, and where.
    pub fn read(bytes: &[u8]) -> Result<Document, String> {
        let mut document = json(bytes)?;
        let version = document["openapi"].as_str().unwrap_or_default().to_owned();
        match version.get(..4) {
            Some("3.0.") => schema::modernize(&mut document),
            Some("3.1.") => {}
            _ if document.get("swagger").is_some() => {
                return Err("it is Swagger 2.0; convert it to OpenAPI 3".to_owned());
            }
            _ => return Err("it has no `openapi: 3.0.x` or `openapi: 3.1.x`".to_owned()),
        }
        schema::ends(&document)?;
        let mut operations = Vec::new();
        let empty = Map::new();
        for (path, item) in document["paths"].as_object().unwrap_or(&empty) {
            let item =
                schema::resolve(&document, item).map_err(|why| format!("`{path}`: {why}"))?;
            for method in METHODS {
                let Some(written) = item.get(method) else { continue };
                let walked = operation(&document, path, item, method, written);
                operations.push(walked.map_err(|why| format!("`{method} {path}`: {why}"))?);
            }
        }
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let base = document["servers"][0]["url"].as_str().map(path_of).unwrap_or_default();
        Ok(Document {
            title: text(&document["info"]["title"]),
            version: text(&document["info"]["version"]),
            base,
            operations,
            json: document,
        })
    }
}

/// A schema that stands in a file of its own.
///
/// # Errors
/// Why it cannot be used.
pub fn schema(bytes: &[u8]) -> Result<Schema, String> {
    schema::alone(json(bytes)?)
}

/// The path of a server's URL, without the slash at its end.
fn path_of(url: &str) -> String {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    };
    // one with variables says nothing that is certain
    let path = if path.contains('{') { "" } else { path };
    path.trim_end_matches('/').to_owned()
}

fn operation(
    document: &Json,
    path: &str,
    item: &Json,
    method: &str,
    written: &Json,
) -> Result<Operation, String> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for list in [&item["parameters"], &written["parameters"]] {
        for parameter in list.as_array().into_iter().flatten() {
            let Some(parameter) = self::parameter(document, parameter)? else { continue };
            // an operation's own wins over its path's
            parameters.retain(|one| (one.place, &one.name) != (parameter.place, &parameter.name));
            parameters.push(parameter);
        }
    }
    let body = match written.get("requestBody") {
        None => None,
        Some(body) => {
            let body = schema::resolve(document, body)?;
            let required = body["required"].as_bool().unwrap_or(false);
            Some(Content { required, media: media(document, body)? })
        }
    };
    let mut responses = Vec::new();
    for (status, response) in written["responses"].as_object().into_iter().flatten() {
        let response = schema::resolve(document, response)?;
        let status = match status.as_str() {
            "default" => Status::Default,
            other => self::status(other).ok_or_else(|| format!("`{other}` is no status"))?,
        };
        responses.push((status, Content { required: false, media: media(document, response)? }));
    }
    Ok(Operation {
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        id: written["operationId"].as_str().map(str::to_owned),
        deprecated: written["deprecated"].as_bool().unwrap_or(false),
        segments: segments(path),
        parameters,
        body,
        responses,
    })
}

/// `404`, or `4XX`.
fn status(text: &str) -> Option<Status> {
    let class = text.strip_suffix("XX").or_else(|| text.strip_suffix("xx"));
    match class {
        Some(class) => {
            class.parse().ok().filter(|class| (1..=5).contains(class)).map(Status::Class)
        }
        None => text.parse().ok().filter(|code| (100..=599).contains(code)).map(Status::Exact),
    }
}

/// A parameter; nothing for those that OpenAPI says are described elsewhere.
fn parameter(document: &Json, written: &Json) -> Result<Option<Parameter>, String> {
    let written = schema::resolve(document, written)?;
    let name = written["name"].as_str().ok_or("a parameter has no `name`")?;
    let place = written["in"].as_str().and_then(Where::named);
    let place = place.ok_or_else(|| format!("the parameter `{name}` stands nowhere"))?;
    // OpenAPI 3.1 §4.8.12.1: these are no parameters
    let elsewhere = ["accept", "content-type", "authorization"];
    if place == Where::Header && elsewhere.contains(&&*name.to_ascii_lowercase()) {
        return Ok(None);
    }
    let style = written["style"].as_str().unwrap_or(match place {
        Where::Query | Where::Cookie => "form",
        Where::Header | Where::Path => "simple",
    });
    let schema = match written.get("schema") {
        Some(schema) => Some(
            schema::compile(document, schema)
                .map_err(|why| format!("the parameter `{name}`: {why}"))?,
        ),
        None => None,
    };
    let is_object = schema
        .as_ref()
        .is_some_and(|schema| super::parameters::kinds(&schema.json).contains(&"object"));
    Ok(Some(Parameter {
        name: name.to_owned(),
        place,
        required: written["required"].as_bool().unwrap_or(false),
        exploded: written["explode"].as_bool().unwrap_or(style == "form"),
        separator: match style {
            "spaceDelimited" => ' ',
            "pipeDelimited" => '|',
            _ => ',',
        },
        schema,
        opaque: is_object
            || !matches!(style, "form" | "simple" | "spaceDelimited" | "pipeDelimited"),
    }))
}

fn media(document: &Json, holder: &Json) -> Result<Vec<Media>, String> {
    let mut all = Vec::new();
    for (range, written) in holder["content"].as_object().into_iter().flatten() {
        let schema = match written.get("schema") {
            Some(schema) => Some(schema::compile(document, schema)?),
            None => None,
        };
        let mut examples = Vec::new();
        if let Some(example) = written.get("example") {
            examples.push((String::new(), example.clone()));
        }
        for (name, example) in written["examples"].as_object().into_iter().flatten() {
            let example = schema::resolve(document, example)?;
            examples.push((name.clone(), example["value"].clone()));
        }
        if let Some(schema) = schema.as_ref().filter(|_| examples.is_empty()) {
            examples.extend(example_of(document, &schema.json, 0).map(|one| (String::new(), one)));
        }
        let encoding = written["encoding"].as_object().into_iter().flatten();
        let encoding = encoding.filter_map(|(name, part)| {
            let types = part["contentType"].as_str()?.split(',').map(crate::media::essence);
            Some((name.clone(), types.collect()))
        });
        let encoding = encoding.collect();
        all.push(Media { range: crate::media::essence(range), schema, encoding, examples });
    }
    Ok(all)
}

/// An example that a schema gives of itself, or that is put together of its parts'.
fn example_of(document: &Json, schema: &Json, depth: usize) -> Option<Json> {
    if depth > 8 {
        return None;
    }
    let schema = schema::resolve(document, schema).ok()?;
    let own = schema.get("example").or(schema["examples"].get(0));
    let own = own.or(schema.get("default")).or(schema.get("const")).or(schema["enum"].get(0));
    if let Some(own) = own {
        return Some(own.clone());
    }
    let kinds = super::parameters::kinds(schema);
    match kinds.first().copied() {
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let values = properties.filter_map(|(name, schema)| {
                Some((name.clone(), example_of(document, schema, depth + 1)?))
            });
            Some(Json::Object(values.collect()))
        }
        Some("array") => {
            Some(example_of(document, &schema["items"], depth + 1).into_iter().collect())
        }
        Some("string") => Some("text".into()),
        Some("integer") => Some(schema.get("minimum").cloned().unwrap_or_else(|| 1.into())),
        Some("number") => Some(schema.get("minimum").cloned().unwrap_or_else(|| 1.5.into())),
        Some("boolean") => Some(true.into()),
        Some("null") => Some(Json::Null),
        _ => schema["allOf"].as_array().map(|parts| {
            let objects = parts.iter().filter_map(|part| example_of(document, part, depth + 1));
            let mut merged = Map::new();
            for object in objects {
                if let Json::Object(object) = object {
                    merged.extend(object);
                }
            }
            Json::Object(merged)
        }),
    }
}
