//! Forms, `application/x-www-form-urlencoded` (URL §5), and JSON.

use crate::escapes::{self, is_plain_in_form, undone_in_form};
use transom_settings::json::{Map, Value as Json};

/// Fields of a form that are read at most.
const FIELDS: usize = 1000;

/// A form has more fields than are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the form has more than {FIELDS} fields")]
pub struct TooMany;

/// The fields as an object of texts; one that stands there several times is a list.
///
/// # Errors
/// When there are too many.
pub fn read(text: &[u8]) -> Result<Json, TooMany> {
    let mut map = Map::new();
    for (number, pair) in text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).enumerate() {
        if number >= FIELDS {
            return Err(TooMany);
        }
        let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (name, value) = (decoded(&pair[..at]), decoded(pair.get(at + 1..).unwrap_or_default()));
        match map.get_mut(&name) {
            None => drop(map.insert(name, value.into())),
            Some(Json::Array(list)) => list.push(value.into()),
            Some(one) => *one = vec![std::mem::take(one), value.into()].into(),
        }
    }
    Ok(Json::Object(map))
}

/// A value as a form: lists as fields of the same name, objects within as `a[b]`. What is no object
/// is one field `value`.
pub fn write(value: &Json) -> String {
    let mut out = String::new();
    match value {
        Json::Object(map) => map.iter().for_each(|(key, value)| field(key, value, &mut out)),
        other => field("value", other, &mut out),
    }
    out
}

fn field(name: &str, value: &Json, out: &mut String) {
    let text = match value {
        Json::Object(map) => {
            return map.iter().for_each(|(k, v)| field(&format!("{name}[{k}]"), v, out));
        }
        Json::Array(list) => return list.iter().for_each(|value| field(name, value, out)),
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    if !out.is_empty() {
        out.push('&');
    }
    encode(name, out);
    out.push('=');
    encode(&text, out);
}

/// What a name or value stands for.
pub fn decoded(text: &[u8]) -> String {
    escapes::text(&undone_in_form(text))
}

fn encode(text: &str, out: &mut String) {
    let from = out.len();
    escapes::write(text.as_bytes(), |byte| byte == b' ' || is_plain_in_form(byte), out);
    if text.contains(' ') {
        let spaced = out.split_off(from);
        out.push_str(&spaced.replace(' ', "+"));
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    #[test]
    fn gw_22_forms_are_read_and_written() {
        for (text, expected) in [
            ("a=1&b=x+y%26&b=2&c", json!({ "a": "1", "b": ["x y&", "2"], "c": "" })),
            ("", json!({})),
            ("&&=v&%zz=%4", json!({ "": "v", "%zz": "%4" })),
        ] {
            assert_eq!(read(text.as_bytes()), Ok(expected), "{text}");
        }
        let value = json!({ "a": 1, "b": ["x y", true], "c": { "d": null, "e": "ü&" } });
        assert_eq!(write(&value), "a=1&b=x+y&b=true&c%5Bd%5D=&c%5Be%5D=%C3%BC%26");
        assert!(read("a&".repeat(FIELDS + 1).as_bytes()).is_err());
    }
}
