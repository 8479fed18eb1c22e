//! Gives each item of a list in one part's answer what another part says of it.

use std::collections::HashMap;

use transom_proxy::fault::{Code, Fault};
use transom_settings::json::Value as Json;

use super::path::Place;

/// See the module.
pub(super) struct Join {
    /// The number of the part that the items are in.
    pub(super) part: usize,
    pub(super) items: Place,
    pub(super) key: Place,
    pub(super) by: Option<Place>,
    pub(super) into: Place,
    pub(super) most: usize,
}

impl Join {
    /// What the items name, each once.
    ///
    /// # Errors
    /// When it is too many, or the items are not there.
    pub(super) fn keys(&self, answer: Option<&Json>) -> Result<Vec<Json>, Fault> {
        let bad = |what: &'static str| Fault::new(Code::BadResponse, what);
        let answer = answer.ok_or_else(|| bad("what it is joined to is not there"))?;
        let mut keys: Vec<Json> = Vec::new();
        for item in self.items.all(answer) {
            let key = self.key.get(item).filter(|key| key.is_string() || key.is_number());
            let Some(key) = key.filter(|key| !keys.contains(key)) else { continue };
            if keys.len() == self.most {
                return Err(bad("more keys than `most` allows"));
            }
            keys.push(key.clone());
        }
        Ok(keys)
    }

    /// Gives each item what belongs to it: of `value`, which is a list or a map, or the fallback where
    /// that is nothing.
    pub(super) fn put(&self, value: Json, fallback: Option<&Json>, answer: &mut Json) {
        // by keys, of which both lists may have very many; of several the first
        let mut by_key: HashMap<String, &Json> = HashMap::new();
        if let (Json::Array(list), Some(by)) = (&value, &self.by) {
            for one in list {
                if let Some(key) = by.get(one).and_then(text_of) {
                    by_key.entry(key).or_insert(one);
                }
            }
        }
        let found = |key: &Json| match &value {
            Json::Null => fallback.cloned(),
            Json::Array(_) => by_key.get(&text_of(key)?).map(|one| (*one).clone()),
            Json::Object(map) => map.get(&text_of(key)?).cloned(),
            _ => None,
        };
        self.items.visit(answer, &mut |item| {
            if let Some(belongs) = self.key.get(item).and_then(found) {
                self.into.put(item, belongs);
            }
        });
    }
}

/// A key as a text: `7` and `"7"` are one.
fn text_of(key: &Json) -> Option<String> {
    match key {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;
    use transom_settings::json::json;

    use super::*;

    fn join() -> Join {
        let place = |text| Place::from_text(text).unwrap();
        Join {
            part: 0,
            items: place("items.*"),
            key: place("id"),
            by: Some(place("n")),
            into: place("of"),
            most: 100,
        }
    }

    #[test]
    fn items_get_what_has_their_key_however_it_is_written() {
        let mut answer = json!({ "items": [{ "id": 7 }, { "id": "7" }, { "id": "x" }, {}] });
        let value = json!([{ "n": "7", "p": 1 }, { "n": 7, "p": 2 }, { "n": true }, {}]);
        join().put(value, None, &mut answer);
        let first = json!({ "n": "7", "p": 1 });
        let items =
            json!([{ "id": 7, "of": first }, { "id": "7", "of": first }, { "id": "x" }, {}]);
        assert_eq!(answer, json!({ "items": items }));
    }

    #[test]
    fn long_lists_are_joined_in_a_time_that_grows_with_them() {
        let many = 60_000;
        let mut answer = json!({ "items": vec![json!({ "id": "x" }); many] });
        let value = (0..many).map(|n| json!({ "n": n })).collect();
        let begun = std::time::Instant::now();
        join().put(value, None, &mut answer);
        // each held against each takes minutes
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    }
}
