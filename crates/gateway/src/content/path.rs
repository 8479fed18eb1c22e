//! Places in JSON: `order.items.*.price`, or a JSON Pointer (RFC 6901) such as `/order/items/0`.

use std::fmt;

use transom_settings::json::{Map, Value as Json, json};
use transom_settings::{FromText, Refusal, quote};

/// A place, or with `*` several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A key of an object, or the number of a value in a list.
    Key(String),
    /// Each value of a list or an object.
    Each,
}

/// Values that a path may lead through: how deep a document is ever made.
const DEEPEST: usize = 64;

impl FromText for JsonPath {
    const WHAT: &'static str = "a place in JSON such as `order.items.*.price` or `/order/id`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is no place in JSON: {why}", quote(text)))
                .hint("write keys with dots between, such as `order.items.*.price`, or a pointer such as `/order/id`")
        };
        let steps: Vec<Step> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|part| Step::Key(unescaped(part))).collect(),
            None => {
                let parts = text.split('.').map(|part| match part {
                    "" => Err(refuse("a key between dots is empty")),
                    "*" => Ok(Step::Each),
                    key => Ok(Step::Key(key.to_owned())),
                });
                parts.collect::<Result<_, _>>()?
            }
        };
        if steps.len() > DEEPEST {
            return Err(refuse("it is too deep"));
        }
        Ok(JsonPath { text: text.to_owned(), steps })
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number"], "examples": ["order.items.*.price", "/order/id"] })
    }

    fn to_json(&self) -> Json {
        self.text.clone().into()
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// RFC 6901 §4.
fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

impl JsonPath {
    /// Whether it leads to one place only.
    pub fn is_single(&self) -> bool {
        !self.steps.contains(&Step::Each)
    }

    /// The value at the first place that there is.
    pub fn get<'v>(&self, value: &'v Json) -> Option<&'v Json> {
        get(&self.steps, value)
    }

    /// Takes away what stands there.
    pub fn remove(&self, value: &mut Json) {
        if let Some((last, before)) = self.steps.split_last() {
            each(before, value, &mut |parent| drop_from(parent, last));
        }
    }

    /// Takes out what stands at the one place.
    pub fn take(&self, value: &mut Json) -> Option<Json> {
        let (last, before) = self.steps.split_last()?;
        let mut taken = None;
        each(before, value, &mut |parent| taken = take_from(parent, last));
        taken
    }

    /// Gives the last key of each place another name, where there is such a key. What had that name
    /// before is replaced.
    pub fn rename(&self, value: &mut Json, name: &str) {
        let Some((Step::Key(key), before)) = self.steps.split_last() else { return };
        each(before, value, &mut |parent| {
            let Json::Object(map) = parent else { return };
            if key == name || !map.contains_key(key) {
                return;
            }
            map.remove(name);
            let entries = std::mem::take(map).into_iter();
            let renamed = |(k, v)| if k == *key { (name.to_owned(), v) } else { (k, v) };
            *map = entries.map(renamed).collect();
        });
    }

    /// Puts a value there, and objects on the way where there is nothing. What cannot be gone through,
    /// such as a text, is replaced; `-` or the length of a list is its end.
    pub fn put(&self, value: &mut Json, new: &Json) {
        put(&self.steps, value, new);
    }
}

/// Keeps of a value what these paths lead to, and what leads there.
pub fn keep(paths: &[JsonPath], value: &mut Json) {
    let steps: Vec<&[Step]> = paths.iter().map(|path| &path.steps[..]).collect();
    keep_in(&steps, value);
}

fn keep_in(paths: &[&[Step]], value: &mut Json) {
    if paths.iter().any(|path| path.is_empty()) {
        return;
    }
    let below = |key: &str| -> Vec<&[Step]> {
        let fits =
            |step: &Step| matches!(step, Step::Each) || matches!(step, Step::Key(k) if k == key);
        let ways = paths.iter().filter_map(|path| path.split_first());
        ways.filter(|(first, _)| fits(first)).map(|(_, rest)| rest).collect()
    };
    match value {
        Json::Object(map) => {
            let entries = std::mem::take(map);
            for (key, mut value) in entries {
                let ways = below(&key);
                if !ways.is_empty() {
                    keep_in(&ways, &mut value);
                    map.insert(key, value);
                }
            }
        }
        Json::Array(list) => {
            let mut number = 0;
            list.retain_mut(|value| {
                let ways = below(&number.to_string());
                number += 1;
                if !ways.is_empty() {
                    keep_in(&ways, value);
                }
                !ways.is_empty()
            });
        }
        // a path leads through it, but it has nothing inside
        other => *other = Json::Null,
    }
}

fn get<'v>(steps: &[Step], value: &'v Json) -> Option<&'v Json> {
    let Some((first, rest)) = steps.split_first() else { return Some(value) };
    match (first, value) {
        (Step::Key(key), Json::Object(map)) => get(rest, map.get(key)?),
        (Step::Key(key), Json::Array(list)) => get(rest, list.get(number(key)?)?),
        (Step::Each, Json::Object(map)) => map.values().find_map(|value| get(rest, value)),
        (Step::Each, Json::Array(list)) => list.iter().find_map(|value| get(rest, value)),
        _ => None,
    }
}

fn each(steps: &[Step], value: &mut Json, act: &mut dyn FnMut(&mut Json)) {
    let Some((first, rest)) = steps.split_first() else { return act(value) };
    match (first, value) {
        (Step::Key(key), Json::Object(map)) => {
            if let Some(value) = map.get_mut(key) {
                each(rest, value, act);
            }
        }
        (Step::Key(key), Json::Array(list)) => {
            if let Some(value) = number(key).and_then(|number| list.get_mut(number)) {
                each(rest, value, act);
            }
        }
        (Step::Each, Json::Object(map)) => map.values_mut().for_each(|v| each(rest, v, act)),
        (Step::Each, Json::Array(list)) => list.iter_mut().for_each(|v| each(rest, v, act)),
        _ => {}
    }
}

fn drop_from(parent: &mut Json, step: &Step) {
    match (parent, step) {
        (Json::Object(map), Step::Each) => map.clear(),
        (Json::Array(list), Step::Each) => list.clear(),
        (parent, step) => drop(take_from(parent, step)),
    }
}

fn take_from(parent: &mut Json, step: &Step) -> Option<Json> {
    let Step::Key(key) = step else { return None };
    match parent {
        Json::Object(map) => map.remove(key),
        Json::Array(list) => {
            let at = number(key).filter(|at| *at < list.len())?;
            Some(list.remove(at))
        }
        _ => None,
    }
}

fn put(steps: &[Step], value: &mut Json, new: &Json) {
    let Some((first, rest)) = steps.split_first() else {
        *value = new.clone();
        return;
    };
    match (first, value) {
        (Step::Each, Json::Object(map)) => map.values_mut().for_each(|v| put(rest, v, new)),
        (Step::Each, Json::Array(list)) => list.iter_mut().for_each(|v| put(rest, v, new)),
        (Step::Each, _) => {}
        (Step::Key(key), Json::Array(list)) => {
            let at = if key == "-" { Some(list.len()) } else { number(key) };
            match at {
                Some(at) if at < list.len() => put(rest, &mut list[at], new),
                Some(at) if at == list.len() => {
                    let mut made = Json::Null;
                    put(rest, &mut made, new);
                    list.push(made);
                }
                _ => {}
            }
        }
        (Step::Key(key), value) => {
            if !value.is_object() {
                *value = Json::Object(Map::new());
            }
            if let Json::Object(map) = value {
                put(rest, map.entry(key.clone()).or_insert(Json::Null), new);
            }
        }
    }
}

/// RFC 6901 §4: no sign and no zeros before.
fn number(key: &str) -> Option<usize> {
    let plain = key.bytes().all(|b| b.is_ascii_digit()) && (key == "0" || !key.starts_with('0'));
    plain.then(|| key.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::from_text(text).unwrap()
    }

    fn order() -> Json {
        json!({ "id": 7, "items": [{ "n": "a", "p": 1 }, { "n": "b", "p": 2 }], "x.y": { "~": 1 } })
    }

    #[test]
    fn places_are_found() {
        for (text, expected) in [
            ("id", Some(json!(7))),
            ("/items/1/n", Some(json!("b"))),
            ("items.1.n", Some(json!("b"))),
            ("items.*.p", Some(json!(1))),
            ("/x.y/~0", Some(json!(1))),
            ("x.y", None),
            ("items.2", None),
            ("items.01", None),
            ("id.a", None),
        ] {
            assert_eq!(path(text).get(&order()), expected.as_ref(), "{text}");
        }
        assert!(JsonPath::from_text("a..b").is_err());
    }

    #[test]
    fn gw_22_values_are_removed_renamed_moved_and_put() {
        let mut value = order();
        path("items.*.p").remove(&mut value);
        path("items.*.n").rename(&mut value, "name");
        path("/x.y").remove(&mut value);
        path("nothing.here").remove(&mut value);
        assert_eq!(value, json!({ "id": 7, "items": [{ "name": "a" }, { "name": "b" }] }));
        let taken = path("items.0").take(&mut value).unwrap();
        path("first.of.all").put(&mut value, &taken);
        path("items.*.q").put(&mut value, &json!(0));
        path("/items/-").put(&mut value, &json!("end"));
        path("id.deep").put(&mut value, &json!(true));
        path("items.9").put(&mut value, &json!("too far"));
        assert_eq!(
            value,
            json!({
                "id": { "deep": true },
                "items": [{ "name": "b", "q": 0 }, "end"],
                "first": { "of": { "all": { "name": "a" } } },
            })
        );
    }

    #[test]
    fn gw_22_only_what_is_allowed_stays() {
        let mut value = order();
        keep(&[path("id"), path("items.*.n"), path("id.more")], &mut value);
        assert_eq!(value, json!({ "id": 7, "items": [{ "n": "a" }, { "n": "b" }] }));
        let mut text = json!("plain");
        keep(&[path("a")], &mut text);
        assert_eq!(text, Json::Null, "nothing inside it was allowed");
    }
}
