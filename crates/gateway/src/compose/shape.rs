//! How the answer of one part becomes its share of the whole, and how shares become one.

use transom_settings::json::{Map, Value as Json};

use super::path::{Place, keep_only};

/// What is done with the answer of a part, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// Only what is here is looked at.
    pub(super) target: Option<Place>,
    /// Where there are any, only these stay.
    pub(super) allow: Vec<Place>,
    pub(super) deny: Vec<Place>,
    pub(super) rename: Vec<(Place, Place)>,
    /// Where it is put.
    pub(super) group: Option<Place>,
}

impl Shape {
    /// What the target holds; nothing where there is none.
    pub(super) fn aimed(&self, mut answer: Json) -> Option<Json> {
        let Some(target) = &self.target else { return Some(answer) };
        let mut found = None;
        target.visit(&mut answer, &mut |value| found = Some(value.take()));
        found
    }

    /// Leaves out and renames.
    pub(super) fn trim(&self, value: &mut Json) {
        if !self.allow.is_empty() {
            keep_only(&self.allow, value);
        }
        self.deny.iter().for_each(|place| place.remove(value));
        for (from, to) in &self.rename {
            from.rename(to, value);
        }
    }

    /// Puts it in its group. What has none and is no map is put under the name of the part: only maps
    /// can be joined.
    pub(super) fn grouped(&self, name: &str, value: Json) -> Json {
        match &self.group {
            Some(group) => group.around(value),
            None if value.is_object() => value,
            None => Json::Object(Map::from_iter([(name.to_owned(), value)])),
        }
    }
}

/// Adds a share to the whole: maps are joined at any depth, and of anything else the later one stays.
pub(super) fn merge(whole: &mut Json, share: Json) {
    match (whole, share) {
        (Json::Object(whole), Json::Object(share)) => {
            for (key, value) in share {
                match whole.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => drop(whole.insert(key, value)),
                }
            }
        }
        (whole, share) => *whole = share,
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;
    use transom_settings::json::json;

    use super::*;

    fn place(text: &str) -> Place {
        Place::from_text(text).unwrap()
    }

    #[test]
    fn an_answer_is_aimed_at_trimmed_renamed_and_grouped() {
        let shape = Shape {
            target: Some(place("data.items")),
            allow: vec![place("*.id"), place("*.cost")],
            deny: vec![place("1")],
            rename: vec![(place("*.cost"), place("*.price"))],
            group: Some(place("shop.prices")),
        };
        let answer = json!({ "data": { "items": [
            { "id": 1, "cost": 2, "secret": 3 },
            { "id": 9, "cost": 9 },
        ] } });
        let mut value = shape.aimed(answer).unwrap();
        shape.trim(&mut value);
        let expected = json!({ "shop": { "prices": [{ "id": 1, "price": 2 }] } });
        assert_eq!(shape.grouped("part", value), expected);
        assert_eq!(shape.aimed(json!({ "data": [] })), None, "the target is not there");
    }

    #[test]
    fn only_maps_go_without_a_group() {
        for (value, expected) in [
            (json!({ "a": 1 }), json!({ "a": 1 })),
            (json!([1]), json!({ "part": [1] })),
            (json!("text"), json!({ "part": "text" })),
        ] {
            assert_eq!(Shape::default().grouped("part", value), expected);
        }
    }

    #[test]
    fn shares_are_joined_and_the_later_one_stays() {
        let mut whole = json!({});
        for share in [
            json!({ "a": { "x": 1, "y": 2 }, "l": [1] }),
            json!({ "a": { "y": 3, "z": 4 }, "l": [2] }),
            json!({ "a": { "x": { "deep": true } } }),
        ] {
            merge(&mut whole, share);
        }
        let expected = json!({ "a": { "x": { "deep": true }, "y": 3, "z": 4 }, "l": [2] });
        assert_eq!(whole, expected);
    }
}
