//! JSON that is written in the file, with variables in its texts.

use transom_proxy::exchange::Exchange;
use transom_proxy::variables::Template;
use transom_settings::json::{Number, Value as Json, json};
use transom_settings::{Context, Definitions, FromText, Node, Setting, Value};

/// A value: `7`, `true`, `{client.address}`, a list or a map. What stands in quotes is a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Plain(Json),
    Text(Template),
    List(Vec<Literal>),
    Map(Vec<(String, Literal)>),
}

impl Literal {
    /// The value for this exchange.
    pub fn value(&self, exchange: &Exchange) -> Json {
        match self {
            Literal::Plain(value) => value.clone(),
            Literal::Text(template) => {
                let mut text = Vec::new();
                template.write(exchange, &mut text);
                String::from_utf8_lossy(&text).into_owned().into()
            }
            Literal::List(list) => list.iter().map(|one| one.value(exchange)).collect(),
            Literal::Map(map) => {
                map.iter().map(|(key, one)| (key.clone(), one.value(exchange))).collect()
            }
        }
    }

    /// The texts with variables in it.
    pub fn templates<'l>(&'l self, into: &mut Vec<&'l Template>) {
        match self {
            Literal::Plain(_) => {}
            Literal::Text(template) => into.push(template),
            Literal::List(list) => list.iter().for_each(|one| one.templates(into)),
            Literal::Map(map) => map.iter().for_each(|(_, one)| one.templates(into)),
        }
    }
}

/// What an unquoted word of YAML is in JSON.
fn plain(text: &str) -> Option<Json> {
    match text {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        "null" | "~" => Some(Json::Null),
        _ => text.parse::<Number>().ok().map(Json::Number),
    }
}

impl Setting for Literal {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        Some(match &node.value {
            Value::Null => Literal::Plain(Json::Null),
            Value::Scalar(scalar) => match plain(&scalar.text).filter(|_| !scalar.quoted) {
                Some(value) => Literal::Plain(value),
                None => Literal::Text(Template::decode(node, at)?),
            },
            Value::List(items) => {
                let decode = |(i, node)| at.item(i, |at| Literal::decode(node, at));
                Literal::List(items.iter().enumerate().map(decode).collect::<Option<_>>()?)
            }
            Value::Map(entries) => {
                let mut map = Vec::with_capacity(entries.len());
                for entry in entries {
                    let value = at.key(&entry.key, |at| Literal::decode(&entry.value, at))?;
                    map.push((entry.key.text.clone(), value));
                }
                Literal::Map(map)
            }
        })
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({})
    }

    fn to_json(&self) -> Json {
        match self {
            Literal::Plain(value) => value.clone(),
            Literal::Text(template) => FromText::to_json(template),
            Literal::List(list) => list.iter().map(Setting::to_json).collect(),
            Literal::Map(map) => map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect(),
        }
    }
}
