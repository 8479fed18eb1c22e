//! Changes of header fields.

use transom_proxy::exchange::Exchange;
use transom_proxy::fields::{Fields, Name};
use transom_proxy::variables::Template;
use transom_settings::{HeaderName, List, Map, OneOrMany, Spanned, settings};

use crate::making::Making;

settings! {
    /// Changes of header fields, in this order.
    pub struct FieldEdits {
        /// The fields that stay, beside those of framing and routing; all others are removed.
        pub allow: List<Spanned<HeaderName>> = List::default(),
        /// Fields that are removed.
        pub remove: List<Spanned<HeaderName>> = List::default(),
        /// Fields that are called otherwise.
        pub rename: Map<HeaderName, Spanned<HeaderName>> = Map::new(),
        /// Fields with the one value they then have, with variables.
        pub set: Map<HeaderName, Template> = Map::new(),
        /// Fields with values that are added.
        pub append: Map<HeaderName, OneOrMany<Template>> = Map::new(),
    }
}

/// What says where a message ends and who has the connection: nothing that a rule may touch.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What stays though it is not allowed by name: without it a body could not be read.
const NEEDED: [&str; 3] = ["content-type", "content-encoding", "content-length"];

impl FieldEdits {
    pub(super) fn is_empty(&self) -> bool {
        *self == FieldEdits::default()
    }

    pub(super) fn templates<'e>(&'e self, into: &mut Vec<&'e Template>) {
        into.extend(self.set.values());
        into.extend(self.append.values().flatten());
    }

    /// Whether it may be done.
    pub(super) fn check(&self, key: &str, making: &mut Making<'_>) -> bool {
        let removed = self.remove.iter().map(|name| (name.span, &name.value));
        let renamed = self.rename.iter();
        let renamed =
            renamed.flat_map(|(from, to)| [(from.span, &from.value), (to.span, &to.value)]);
        let set = self.set.names().map(|name| (name.span, &name.value));
        let added = self.append.names().map(|name| (name.span, &name.value));
        let mut all = removed.chain(renamed).chain(set).chain(added);
        let Some((place, name)) = all.find(|(_, name)| FRAMING.contains(&&***name)) else {
            return true;
        };
        let what = format!("`{name}` is written anew for each hop and cannot be changed");
        making.error(place, key, what, "leave it out; `rewrite.host` of the route sets the host");
        false
    }

    pub(super) fn apply(&self, exchange: &Exchange, fields: &mut Fields) {
        if !self.allow.is_empty() {
            fields.retain(|field| {
                let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
                self.allow.iter().any(|name| is(name)) || NEEDED.iter().any(|name| is(name))
            });
        }
        for name in &self.remove {
            fields.remove(Name::of(name.as_bytes()));
        }
        for (from, to) in self.rename.iter() {
            let values: Vec<Vec<u8>> =
                fields.all(Name::of(from.as_bytes())).map(<[u8]>::to_vec).collect();
            if !values.is_empty() {
                fields.remove(Name::of(from.as_bytes()));
                fields.remove(Name::of(to.as_bytes()));
                for value in values {
                    fields.append(Name::of(to.as_bytes()), &value);
                }
            }
        }
        let mut value = Vec::new();
        for (name, template) in self.set.iter() {
            value.clear();
            template.write(exchange, &mut value);
            fields.set(Name::of(name.as_bytes()), &value);
        }
        for (name, templates) in self.append.iter() {
            for template in templates {
                value.clear();
                template.write(exchange, &mut value);
                fields.append(Name::of(name.as_bytes()), &value);
            }
        }
    }
}
