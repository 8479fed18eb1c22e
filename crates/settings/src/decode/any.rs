//! Data of any form: what becomes JSON somewhere.

use serde_json::{Map, Number, Value as Json, json};

use super::{Context, Setting};
use crate::document::{Entry, Node, Scalar, Value};
use crate::schema::Definitions;

/// Data as it is written: texts, numbers, `true`, `false`, `null`, lists and maps of these. What stands
/// in quotes is a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Any(pub Json);

impl Setting for Any {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        Some(Any(match &node.value {
            Value::Null => Json::Null,
            Value::Scalar(scalar) if scalar.missing => return None,
            Value::Scalar(scalar) => plain(scalar),
            Value::List(items) => {
                let items = items.iter().enumerate();
                let all: Vec<_> = items
                    .map(|(number, item)| at.item(number, |at| Any::decode(item, at)))
                    .collect();
                Json::Array(
                    all.into_iter().map(|item| item.map(|any| any.0)).collect::<Option<_>>()?,
                )
            }
            Value::Map(entries) => {
                let mut map = Map::new();
                let mut whole = true;
                for Entry { key, value } in entries {
                    match at.key(key, |at| Any::decode(value, at)) {
                        Some(value) => drop(map.insert(key.text.clone(), value.0)),
                        None => whole = false,
                    }
                }
                whole.then_some(Json::Object(map))?
            }
        }))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": ["null", "string", "number", "boolean", "array", "object"] })
    }

    fn to_json(&self) -> Json {
        self.0.clone()
    }
}

fn plain(scalar: &Scalar) -> Json {
    let text = scalar.text.as_str();
    let number = || text.parse::<Number>().ok().map(Json::Number);
    match text {
        _ if scalar.quoted => text.into(),
        "true" => true.into(),
        "false" => false.into(),
        _ => number().unwrap_or_else(|| text.into()),
    }
}
