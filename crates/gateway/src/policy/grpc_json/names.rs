//! That no field of a message stands twice in its JSON. Protobuf knows each by two names, that of the `.proto` file
//! and that of JSON: of `{"page_size": 1, "pageSize": 2}` one would be taken here, and the other by whoever has
//! looked at the request before.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use transom_settings::json;

/// Whether every field of JSON for this message stands once, and every name where there are no fields.
///
/// # Errors
/// Which does not, or why it is no JSON.
pub(super) fn once<'de, D: Deserializer<'de, Error = json::Error>>(
    message: &MessageDescriptor,
    from: D,
) -> Result<(), String> {
    Seen::of(Kind::Message(message.clone())).deserialize(from).map_err(|error| error.to_string())
}

/// What is known of a value that is looked at.
#[derive(Clone)]
enum Seen {
    Message(MessageDescriptor),
    /// A map whose values are of this kind.
    Map(Kind),
    /// Values of which the names alone count.
    Other,
}

impl Seen {
    fn of(kind: Kind) -> Self {
        match kind {
            // these have a form of their own in JSON
            Kind::Message(message) if message.full_name().starts_with("google.protobuf.") => {
                Seen::Other
            }
            Kind::Message(message) => Seen::Message(message),
            _ => Seen::Other,
        }
    }

    fn of_field(field: &FieldDescriptor) -> Self {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                Seen::Map(entry.map_entry_value_field().kind())
            }
            kind => Seen::of(kind),
        }
    }

    /// The field that is called so, and what is known of its value.
    fn below(&self, name: &str) -> (Option<u32>, Seen) {
        match self {
            Seen::Message(message) => {
                let by_name = || message.get_field_by_name(name);
                match message.get_field_by_json_name(name).or_else(by_name) {
                    Some(field) => (Some(field.number()), Seen::of_field(&field)),
                    None => (None, Seen::Other),
                }
            }
            Seen::Map(kind) => (None, Seen::of(kind.clone())),
            Seen::Other => (None, Seen::Other),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seen {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seen {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.clone())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let (mut names, mut fields) = (HashSet::new(), HashSet::new());
        while let Some(Name(name)) = entries.next_key()? {
            let (field, below) = self.below(&name);
            if field.is_some_and(|number| !fields.insert(number)) {
                let name: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format!("the field `{name}` stands twice")));
            }
            if field.is_none() && !names.insert(name) {
                return Err(A::Error::custom("a name stands twice in an object"));
            }
            entries.next_value_seed(below)?;
        }
        Ok(())
    }
}

/// A name, of the text itself where it has no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Naming)
    }
}

struct Naming;

impl<'de> Visitor<'de> for Naming {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::json::Value as Json;

    use super::*;
    use crate::grpc::proto::compiled;

    #[test]
    fn sl_16_no_field_stands_twice_by_whichever_name() {
        let proto = r#"syntax = "proto3"; package t; import "google/protobuf/struct.proto";
            message M {
                int32 page_size = 1; M inner_m = 2; repeated M some_ms = 3; map<string, M> by_key = 4;
                google.protobuf.Struct any_thing = 5; int32 plain = 6;
            }"#;
        let pool = compiled(&[("t.proto".to_owned(), proto.to_owned())]).unwrap();
        let message = pool.get_message_by_name("t.M").unwrap();
        for (text, right) in [
            (r#"{"page_size":1}"#, true),
            (r#"{"pageSize":1,"plain":2}"#, true),
            (r#"{"pageSize":1,"page_size":2}"#, false),
            (r#"{"page_size":1,"pageSize":1}"#, false),
            (r#"{"plain":1,"plain":1}"#, false),
            (r#"{"page_size":1,"page\u005fsize":1}"#, false),
            (r#"{"innerM":{"pageSize":1,"page_size":2}}"#, false),
            (r#"{"inner_m":{},"innerM":null}"#, false),
            (r#"{"someMs":[{},{"page_size":1,"pageSize":1}]}"#, false),
            (r#"{"by_key":{"pageSize":{},"page_size":{}}}"#, true),
            (r#"{"by_key":{"a":{"pageSize":1,"page_size":1}}}"#, false),
            (r#"{"by_key":{"a":{},"a":{}}}"#, false),
            (r#"{"anyThing":{"pageSize":1,"page_size":1}}"#, true),
            (r#"{"anyThing":{"a":1,"a":1}}"#, false),
            (r#"{"unknown":1,"unknown":2}"#, false),
        ] {
            let mut from = json::Deserializer::from_slice(text.as_bytes());
            assert_eq!(once(&message, &mut from).is_ok(), right, "{text}");
        }
        let tree: Json = json::from_str(r#"{"someMs":[{"page_size":1,"pageSize":1}]}"#).unwrap();
        assert_eq!(once(&message, &tree), Err("the field `page_size` stands twice".to_owned()));
    }
}
