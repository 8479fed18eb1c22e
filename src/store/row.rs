//! Lists and maps, as they stand in a column.

use serde_json::Value as Json;

pub(super) fn list(values: &[String]) -> String {
    Json::from(values).to_string()
}

pub(super) fn read_list(text: &str) -> Vec<String> {
    let values = serde_json::from_str::<Vec<String>>(text);
    values.unwrap_or_default()
}

pub(super) fn labels(labels: &[(String, String)]) -> String {
    let map = labels.iter().map(|(name, value)| (name.clone(), Json::from(&**value)));
    Json::Object(map.collect()).to_string()
}

/// Sorted by name.
pub(super) fn read_labels(text: &str) -> Vec<(String, String)> {
    let map = serde_json::from_str::<std::collections::BTreeMap<String, String>>(text);
    map.unwrap_or_default().into_iter().collect()
}
