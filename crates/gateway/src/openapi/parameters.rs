//! Parameters: how a value is made of what was sent.

use transom_proxy::fault::{Place, Violation};
use transom_settings::json::{Map, Number, Value as Json};

use super::Schema;
use crate::content::multipart::Part;
use crate::content::strict;
use crate::{escapes, media};

/// What a request may have beside its body.
#[derive(Debug)]
pub struct Parameter {
    pub name: String,
    pub place: Where,
    pub required: bool,
    /// Each value of a list has a pair of its own (`style: form`, `explode: true`).
    pub exploded: bool,
    /// What stands between the values of a list that has not.
    pub separator: char,
    pub schema: Option<Schema>,
    /// Its values are not told apart here (`deepObject`, `matrix`, `label`): only whether it is there.
    pub opaque: bool,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Cookie,
    Header,
    Path,
    Query,
}

impl Where {
    pub fn as_str(self) -> &'static str {
        match self {
            Where::Cookie => "cookie",
            Where::Header => "header",
            Where::Path => "path",
            Where::Query => "query",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "cookie" => Where::Cookie,
            "header" => Where::Header,
            "path" => Where::Path,
            "query" => Where::Query,
            _ => return None,
        })
    }
}

/// What stands for a part of a path.
pub(super) fn decoded(part: &str) -> String {
    escapes::text(&escapes::undone(part.as_bytes()))
}

impl Parameter {
    /// What does not fit of the texts that were sent under its name.
    pub fn violations(&self, sent: &[String]) -> Vec<Violation> {
        let told = |detail: String| Violation {
            place: Place::Parameter(self.place.as_str(), self.name.clone()),
            detail,
        };
        let Some(first) = sent.first() else {
            return match self.required {
                true => vec![told("it is missing".to_owned())],
                false => Vec::new(),
            };
        };
        let Some(schema) = self.schema.as_ref().filter(|_| !self.opaque) else { return Vec::new() };
        let kinds = kinds(&schema.json);
        let is_list = kinds.contains(&"array");
        let value = match is_list {
            true => {
                let items = schema.json.get("items").cloned().unwrap_or_default();
                let item_kinds = self::kinds(&items);
                let texts: Vec<String> = match self.exploded {
                    true => sent.to_vec(),
                    false => first.split(self.separator).map(str::to_owned).collect(),
                };
                texts.iter().map(|text| typed(text, &item_kinds)).collect()
            }
            false if sent.len() > 1 => {
                return vec![told("it stands there several times".to_owned())];
            }
            false => typed(first, &kinds),
        };
        let found = schema.violations(&value, 3);
        found.into_iter().map(|violation| told(violation.detail)).collect()
    }
}

/// The types that a schema asks for.
pub(crate) fn kinds(schema: &Json) -> Vec<&str> {
    match &schema["type"] {
        Json::String(kind) => vec![kind],
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => match schema["allOf"].as_array().or(schema["anyOf"].as_array()) {
            Some(parts) => parts.iter().flat_map(kinds).collect(),
            None => Vec::new(),
        },
    }
}

/// A text as a value of one of these types; a text where it is none.
fn typed(text: &str, kinds: &[&str]) -> Json {
    let is = |kind: &str| kinds.contains(&kind);
    if is("string") || kinds.is_empty() {
        return text.into();
    }
    if is("integer") || is("number") {
        let plain = !text.starts_with('+') && !text.is_empty();
        if let Some(number) = plain.then(|| text.parse::<Number>().ok()).flatten() {
            return Json::Number(number);
        }
    }
    match text {
        "true" if is("boolean") => true.into(),
        "false" if is("boolean") => false.into(),
        "" | "null" if is("null") => Json::Null,
        _ => text.into(),
    }
}

/// The parts of a form with files as a schema of an object sees them: what says that it is JSON is read as
/// such, as is what has no type and should be an object (OpenAPI 3.1 §4.8.15.1.1); of a file each byte is a
/// letter, so that its length is that of the text.
///
/// # Errors
/// The part that says it is JSON and is none.
pub fn parts(parts: Vec<Part>, schema: &Json) -> Result<Json, Violation> {
    let mut fields: Map<String, Json> = Map::new();
    for Part { head, body } in parts {
        let own = &schema["properties"][&head.name];
        let own_kinds = kinds(own);
        let item_kinds = kinds(&own["items"]);
        let object = |kinds: &[&str]| kinds.contains(&"object") && !kinds.contains(&"string");
        let is_json = match &*head.essence {
            "" => head.file.is_none() && (object(&own_kinds) || object(&item_kinds)),
            essence => media::is_json(essence),
        };
        let value = match (is_json, std::str::from_utf8(&body)) {
            (true, _) => strict::parse(&body).map_err(|error| Violation {
                place: Place::Pointer(pointer(&head.name)),
                detail: format!("it is no JSON: {error}"),
            })?,
            (false, Ok(text)) if head.file.is_none() => match own_kinds.contains(&"array") {
                true => typed(text, &item_kinds),
                false => typed(text, &own_kinds),
            },
            (false, _) => body.iter().copied().map(char::from).collect::<String>().into(),
        };
        match fields.get_mut(&head.name) {
            Some(Json::Array(list)) if own_kinds.contains(&"array") => list.push(value),
            // twice where there is one: a list, which then does not fit
            Some(one) => *one = vec![std::mem::take(one), value].into(),
            None if own_kinds.contains(&"array") && !value.is_array() => {
                fields.insert(head.name, vec![value].into());
            }
            None => drop(fields.insert(head.name, value)),
        }
    }
    Ok(Json::Object(fields))
}

/// Parts that say they are of another type than they may be.
pub fn of_other_types(parts: &[Part], encoding: &[(String, Vec<String>)]) -> Vec<Violation> {
    let wrong = |part: &Part| {
        let (name, types) = encoding.iter().find(|(name, _)| *name == part.head.name)?;
        // RFC 7578 §4.4
        let own = if part.head.essence.is_empty() { "text/plain" } else { &part.head.essence };
        let fits = types.iter().any(|range| media::fits(range, own));
        let place = Place::Pointer(pointer(name));
        let detail = format!("it is of another type than {}", types.join(", "));
        (!fits).then_some(Violation { place, detail })
    };
    parts.iter().filter_map(wrong).collect()
}

/// RFC 6901 §3.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The fields of a form as a schema of an object sees them.
pub fn typed_form(form: Json, schema: &Json) -> Json {
    let Json::Object(fields) = form else { return form };
    let typed_field = |(name, value): (String, Json)| {
        let own = &schema["properties"][&name];
        let kinds = kinds(own);
        let value = match value {
            Json::Array(list) => {
                let item_kinds = self::kinds(&own["items"]);
                let one = |text: &Json| typed(text.as_str().unwrap_or_default(), &item_kinds);
                list.iter().map(one).collect()
            }
            Json::String(text) if kinds.contains(&"array") => {
                vec![typed(&text, &self::kinds(&own["items"]))].into()
            }
            Json::String(text) => typed(&text, &kinds),
            other => other,
        };
        (name, value)
    };
    Json::Object(fields.into_iter().map(typed_field).collect::<Map<_, _>>())
}
