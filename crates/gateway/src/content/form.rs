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

/// What is written would be longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the form has more than {0} bytes")]
pub struct TooLong(usize);

/// A value as a form: lists as fields of the same name, objects within as `a[b]`. What is no object
/// is one field `value`.
///
/// # Errors
/// When it would have more than about `most` bytes: a long name stands before all that is below it.
pub fn write(value: &Json, most: usize) -> Result<String, TooLong> {
    let mut writing = Writing { out: String::new(), most, named: 0 };
    match value {
        Json::Object(map) => map.iter().try_for_each(|(key, value)| writing.field(key, value))?,
        other => writing.field("value", other)?,
    }
    Ok(writing.out)
}

struct Writing {
    out: String,
    most: usize,
    /// The lengths of all names that were made, also of those of which nothing is written.
    named: usize,
}

impl Writing {
    fn field(&mut self, name: &str, value: &Json) -> Result<(), TooLong> {
        self.named = self.named.saturating_add(name.len());
        if self.out.len() > self.most || self.named / 8 > self.most {
            return Err(TooLong(self.most));
        }
        let text = match value {
            Json::Object(map) => {
                let mut entries = map.iter();
                return entries.try_for_each(|(k, v)| self.field(&format!("{name}[{k}]"), v));
            }
            Json::Array(list) => return list.iter().try_for_each(|value| self.field(name, value)),
            Json::Null => String::new(),
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        if !self.out.is_empty() {
            self.out.push('&');
        }
        encode(name, &mut self.out);
        self.out.push('=');
        encode(&text, &mut self.out);
        Ok(())
    }
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
        let written = write(&value, 1000).unwrap();
        assert_eq!(written, "a=1&b=x+y&b=true&c%5Bd%5D=&c%5Be%5D=%C3%BC%26");
        assert!(read("a&".repeat(FIELDS + 1).as_bytes()).is_err());
    }

    #[test]
    fn gw_22_a_long_name_before_many_values_does_not_fill_the_memory() {
        let long = "n".repeat(100_000);
        let many = |value: Json| -> Json {
            (0..10_000).map(|n| (n.to_string(), value.clone())).collect::<Map<_, _>>().into()
        };
        for below in [many(json!(1)), many(json!({})), json!(vec![1; 10_000])] {
            assert_eq!(write(&json!({ &long: below }), 1 << 20), Err(TooLong(1 << 20)));
        }
        assert!(write(&json!({ &long: 1 }), 1 << 20).is_ok());
        assert!(write(&many(json!({ "a": { "b": 1 } })), 1 << 20).is_ok());
    }
}
