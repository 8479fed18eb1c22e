//! Gives each item of a list in one part's answer what another part says of it.

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
        let found = |key: &Json| match (&value, &self.by) {
            (Json::Null, _) => fallback.cloned(),
            (Json::Array(list), Some(by)) => {
                list.iter().find(|one| by.get(one).is_some_and(|own| same(own, key))).cloned()
            }
            (Json::Object(map), _) => match key {
                Json::String(key) => map.get(key).cloned(),
                key => map.get(&key.to_string()).cloned(),
            },
            _ => None,
        };
        self.items.visit(answer, &mut |item| {
            if let Some(belongs) = self.key.get(item).and_then(found) {
                self.into.put(item, belongs);
            }
        });
    }
}

/// Whether two keys are one: `7` and `"7"` are.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::String(text), Json::Number(number)) | (Json::Number(number), Json::String(text)) => {
            number.to_string() == *text
        }
        (one, other) => one == other,
    }
}
