//! Places in JSON: `order.items.*.price`.

use std::fmt;
use std::rc::Rc;

use transom_settings::json::{Map, Value as Json, json};
use transom_settings::{FromText, Refusal, quote};

/// A place in JSON, key by key from the top. A number counts the items of a list from 0, and `*` is
/// every item of a list or every value of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place(pub Vec<Step>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Every,
    Key(String),
}

/// What the `*` of a place stood for, from the left.
type Stood = Vec<Rc<str>>;

/// Steps of one place at most.
const DEEPEST: usize = 32;

impl Place {
    /// How many `*` it has.
    pub fn stars(&self) -> usize {
        self.0.iter().filter(|step| **step == Step::Every).count()
    }

    /// What is there; nothing for a place with `*`.
    pub fn get<'a>(&self, value: &'a Json) -> Option<&'a Json> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Key(key) => child(value, key),
            Step::Every => None,
        })
    }

    /// Everything that is there.
    pub fn all<'a>(&self, value: &'a Json) -> Vec<&'a Json> {
        let mut found = vec![value];
        for step in &self.0 {
            found = match step {
                Step::Key(key) => found.into_iter().filter_map(|value| child(value, key)).collect(),
                Step::Every => found.into_iter().flat_map(children).collect(),
            };
        }
        found
    }

    /// Puts a value here. What leads there is made; what stands in the way, such as a text where a map
    /// must be, gives way.
    pub fn put(&self, value: &mut Json, new: Json) {
        put(&self.0, &mut std::iter::empty(), value, new);
    }

    /// Shows everything that is there, to be changed.
    pub fn visit(&self, value: &mut Json, see: &mut dyn FnMut(&mut Json)) {
        visit(&self.0, value, see);
    }

    /// Takes everything away that is there.
    pub fn remove(&self, value: &mut Json) {
        take(&self.0, value, &mut Vec::new(), &mut Vec::new());
    }

    /// Moves what is here `to` there. Each `*` there stands for what the same one here stood for; what
    /// the further ones here stand for is collected in one list, and lists among it are joined.
    pub fn rename(&self, to: &Place, value: &mut Json) {
        let mut taken = Vec::new();
        take(&self.0, value, &mut Vec::new(), &mut taken);
        let stars = to.stars();
        let collects = self.stars() > stars;
        let mut collected: Vec<(Stood, Vec<Json>)> = Vec::new();
        for (mut stood, moved) in taken {
            stood.truncate(stars);
            if !collects {
                put(&to.0, &mut stood.iter(), value, moved);
                continue;
            }
            let moved = match moved {
                Json::Array(items) => items,
                one => vec![one],
            };
            // what belongs together was taken one after the other
            match collected.last_mut().filter(|(known, _)| *known == stood) {
                Some((_, list)) => list.extend(moved),
                None => collected.push((stood, moved)),
            }
        }
        for (stood, list) in collected {
            put(&to.0, &mut stood.iter(), value, Json::Array(list));
        }
    }

    /// Puts `within` at this place of something new.
    pub fn around(&self, within: Json) -> Json {
        self.0.iter().rev().fold(within, |within, step| match step {
            Step::Key(key) => json!({ key: within }),
            Step::Every => within,
        })
    }
}

/// Only what is at or below one of these places, with what leads there.
pub fn keep_only(places: &[Place], value: &mut Json) {
    let steps: Vec<&[Step]> = places.iter().map(|place| &place.0[..]).collect();
    filter(&steps, value);
}

fn filter(places: &[&[Step]], value: &mut Json) {
    if places.iter().any(|place| place.is_empty()) {
        return;
    }
    let below = |key: &str| -> Vec<&[Step]> {
        let below = places.iter().copied().filter_map(|place| match place.split_first()? {
            (Step::Every, rest) => Some(rest),
            (Step::Key(wanted), rest) => (wanted == key).then_some(rest),
        });
        below.collect()
    };
    match value {
        Json::Object(map) => map.retain(|key, value| {
            let below = below(key);
            filter(&below, value);
            !below.is_empty()
        }),
        Json::Array(items) => {
            let mut number = 0;
            items.retain_mut(|item| {
                let below = below(&number.to_string());
                number += 1;
                filter(&below, item);
                !below.is_empty()
            });
        }
        // what is wanted lies below, and there is nothing below
        other => *other = Json::Null,
    }
}

fn child<'a>(value: &'a Json, key: &str) -> Option<&'a Json> {
    match value {
        Json::Object(map) => map.get(key),
        Json::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

fn children(value: &Json) -> Vec<&Json> {
    match value {
        Json::Object(map) => map.values().collect(),
        Json::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    }
}

fn child_mut<'a>(value: &'a mut Json, key: &str) -> Option<&'a mut Json> {
    match value {
        Json::Object(map) => map.get_mut(key),
        Json::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    }
}

fn visit(steps: &[Step], value: &mut Json, see: &mut dyn FnMut(&mut Json)) {
    let Some((step, rest)) = steps.split_first() else { return see(value) };
    match (step, value) {
        (Step::Key(key), value) => {
            if let Some(child) = child_mut(value, key) {
                visit(rest, child, see);
            }
        }
        (Step::Every, Json::Object(map)) => {
            map.values_mut().for_each(|value| visit(rest, value, see));
        }
        (Step::Every, Json::Array(items)) => {
            items.iter_mut().for_each(|item| visit(rest, item, see));
        }
        (Step::Every, _) => {}
    }
}

/// Takes what is at a place, each with what the `*` stood for.
fn take(steps: &[Step], value: &mut Json, stood: &mut Stood, taken: &mut Vec<(Stood, Json)>) {
    let Some((step, rest)) = steps.split_first() else { return };
    let last = rest.is_empty();
    match (step, value) {
        (Step::Key(key), Json::Object(map)) if last => {
            taken.extend(map.remove(key).map(|value| (stood.clone(), value)));
        }
        (Step::Key(key), Json::Array(items)) if last => {
            let at = key.parse::<usize>().ok().filter(|at| *at < items.len());
            taken.extend(at.map(|at| (stood.clone(), items.remove(at))));
        }
        (Step::Key(key), value) => {
            if let Some(child) = child_mut(value, key) {
                take(rest, child, stood, taken);
            }
        }
        (Step::Every, Json::Object(map)) if last => {
            for (key, value) in std::mem::take(map) {
                stood.push(key.into());
                taken.push((stood.clone(), value));
                stood.pop();
            }
        }
        (Step::Every, Json::Array(items)) if last => {
            for (number, value) in items.drain(..).enumerate() {
                stood.push(number.to_string().into());
                taken.push((stood.clone(), value));
                stood.pop();
            }
        }
        (Step::Every, Json::Object(map)) => {
            for (key, value) in map {
                stood.push(key.as_str().into());
                take(rest, value, stood, taken);
                stood.pop();
            }
        }
        (Step::Every, Json::Array(items)) => {
            for (number, value) in items.iter_mut().enumerate() {
                stood.push(number.to_string().into());
                take(rest, value, stood, taken);
                stood.pop();
            }
        }
        (Step::Every, _) => {}
    }
}

fn put<'a>(
    steps: &[Step],
    stood: &mut impl Iterator<Item = &'a Rc<str>>,
    value: &mut Json,
    new: Json,
) {
    let Some((step, rest)) = steps.split_first() else {
        *value = new;
        return;
    };
    let key = match step {
        Step::Key(key) => key.as_str(),
        Step::Every => match stood.next() {
            Some(key) => key,
            None => return,
        },
    };
    if let Json::Array(items) = value {
        if let Some(item) = key.parse::<usize>().ok().and_then(|number| items.get_mut(number)) {
            put(rest, stood, item, new);
        }
        return;
    }
    if !value.is_object() {
        *value = Json::Object(Map::new());
    }
    if let Json::Object(map) = value {
        if !map.contains_key(key) {
            map.insert(key.to_owned(), Json::Null);
        }
        if let Some(below) = map.get_mut(key) {
            put(rest, stood, below, new);
        }
    }
}

impl FromText for Place {
    const WHAT: &'static str = "a place in JSON such as `order.items.*.price`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not a place in JSON: {why}", quote(text)))
                .hint("write keys with dots between them, such as `order.items.*.price`")
        };
        let steps: Vec<_> = text
            .split('.')
            .map(|step| match step {
                "*" => Step::Every,
                key => Step::Key(key.to_owned()),
            })
            .collect();
        match steps {
            _ if text.is_empty() => Err(refuse("it is empty")),
            steps if steps.contains(&Step::Key(String::new())) => Err(refuse("a key is empty")),
            steps if steps.len() > DEEPEST => Err(refuse("it is too deep")),
            steps => Ok(Place(steps)),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number"], "examples": ["order.items.*.price"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(".")?;
            }
            f.write_str(match step {
                Step::Every => "*",
                Step::Key(key) => key,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::from_text(text).unwrap()
    }

    #[test]
    fn places_are_written_with_dots() {
        for (text, expected) in [
            ("a", Ok(1)),
            ("a.*.0", Ok(3)),
            ("", Err("`` is not a place in JSON: it is empty")),
            ("a..b", Err("`a..b` is not a place in JSON: a key is empty")),
        ] {
            let found = Place::from_text(text);
            let told = found.as_ref().map(|place| place.0.len()).map_err(|why| why.what.as_str());
            assert_eq!(told, expected);
            if let Ok(place) = found {
                assert_eq!(place.to_string(), text);
            }
        }
        assert!(Place::from_text(&["a"; 33].join(".")).is_err());
    }

    #[test]
    fn what_is_at_a_place_is_found() {
        let value = json!({ "a": { "b": [1, { "c": 2 }] } });
        for (text, expected) in [
            ("a.b.0", Some(json!(1))),
            ("a.b.1.c", Some(json!(2))),
            ("a.b.2", None),
            ("a.x", None),
            ("a.b.c", None),
            ("a.*", None),
        ] {
            assert_eq!(place(text).get(&value), expected.as_ref(), "{text}");
        }
    }

    #[test]
    fn only_what_is_wanted_stays() {
        for (places, expected) in [
            (&["a"][..], json!({ "a": 1 })),
            (&["b.c", "l.*.x"], json!({ "b": { "c": 2 }, "l": [{ "x": 3 }, { "x": 5 }] })),
            (
                &["*"],
                json!({ "a": 1, "b": { "c": 2, "d": 0 }, "l": [{ "x": 3, "y": 4 }, { "x": 5 }] }),
            ),
            (&["l.1"], json!({ "l": [{ "x": 5 }] })),
            (&["a.deeper"], json!({ "a": null })),
            (&["nowhere"], json!({})),
        ] {
            let mut value =
                json!({ "a": 1, "b": { "c": 2, "d": 0 }, "l": [{ "x": 3, "y": 4 }, { "x": 5 }] });
            let places: Vec<_> = places.iter().map(|text| place(text)).collect();
            keep_only(&places, &mut value);
            assert_eq!(value, expected, "{places:?}");
        }
    }

    #[test]
    fn what_is_not_wanted_goes() {
        for (text, expected) in [
            ("a", json!({ "l": [{ "x": 3 }, { "x": 5 }] })),
            ("l.*.x", json!({ "a": 1, "l": [{}, {}] })),
            ("l.0", json!({ "a": 1, "l": [{ "x": 5 }] })),
            ("l.*", json!({ "a": 1, "l": [] })),
            ("a.b.c", json!({ "a": 1, "l": [{ "x": 3 }, { "x": 5 }] })),
        ] {
            let mut value = json!({ "a": 1, "l": [{ "x": 3 }, { "x": 5 }] });
            place(text).remove(&mut value);
            assert_eq!(value, expected, "{text}");
        }
    }

    #[test]
    fn what_moves_takes_its_stars_along_and_the_rest_is_collected() {
        let schools = || {
            json!({ "schools": [
                { "name": "a", "pupils": [1, 2] },
                { "name": "b", "pupils": [3] },
            ] })
        };
        for (from, to, expected) in [
            (
                "schools.*.name",
                "schools.*.called",
                json!({ "schools": [
                    { "called": "a", "pupils": [1, 2] },
                    { "called": "b", "pupils": [3] },
                ] }),
            ),
            (
                "schools.*.pupils",
                "pupils",
                json!({ "pupils": [1, 2, 3], "schools": [{ "name": "a" }, { "name": "b" }] }),
            ),
            (
                "schools.*.pupils.*",
                "schools.*.all",
                json!({ "schools": [
                    { "name": "a", "pupils": [], "all": [1, 2] },
                    { "name": "b", "pupils": [], "all": [3] },
                ] }),
            ),
            (
                "schools.0.name",
                "first.name.text",
                json!({
                    "schools": [{ "pupils": [1, 2] }, { "name": "b", "pupils": [3] }],
                    "first": { "name": { "text": "a" } },
                }),
            ),
            ("nowhere", "somewhere", schools()),
        ] {
            let mut value = schools();
            place(from).rename(&place(to), &mut value);
            assert_eq!(value, expected, "{from} to {to}");
        }
        let mut value = json!({ "a": 1, "b": "text" });
        place("a").rename(&place("b.c"), &mut value);
        assert_eq!(value, json!({ "b": { "c": 1 } }), "what stands in the way gives way");
    }
}
