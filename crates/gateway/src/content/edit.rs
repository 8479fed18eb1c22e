//! Changes of JSON that are declared.

use transom_proxy::exchange::Exchange;
use transom_proxy::variables::Template;
use transom_settings::json::Value as Json;
use transom_settings::{List, Map, settings};

use super::literal::Literal;
use super::path::{self, JsonPath};

settings! {
    /// Changes of JSON, in this order. Places are `order.items.*.price` or `/order/id`.
    pub struct JsonEdits {
        /// What stays; all else is removed.
        pub allow: List<JsonPath> = List::default(),
        /// What is removed.
        pub remove: List<JsonPath> = List::default(),
        /// Keys that are called otherwise: `items.*.fullName: name`.
        pub rename: Map<JsonPath, String> = Map::new(),
        /// What stands elsewhere: from where to where, each one place.
        pub r#move: Map<JsonPath, JsonPath> = Map::new(),
        /// What is put there: any value, with variables in its texts.
        pub set: Map<JsonPath, Literal> = Map::new(),
    }
}

impl JsonEdits {
    pub fn is_empty(&self) -> bool {
        *self == JsonEdits::default()
    }

    /// The changed value.
    pub fn apply(&self, exchange: &Exchange, value: &mut Json) {
        if !self.allow.is_empty() {
            let allowed: Vec<_> = self.allow.iter().cloned().collect();
            path::keep(&allowed, value);
        }
        for place in &self.remove {
            place.remove(value);
        }
        for (place, name) in self.rename.iter() {
            place.rename(value, name);
        }
        for (from, to) in self.r#move.iter() {
            if let Some(taken) = from.take(value) {
                to.put(value, &taken);
            }
        }
        for (place, literal) in self.set.iter() {
            place.put(value, &literal.value(exchange));
        }
    }

    /// The texts with variables in it.
    pub fn templates<'e>(&'e self, into: &mut Vec<&'e Template>) {
        self.set.values().for_each(|literal| literal.templates(into));
    }
}
