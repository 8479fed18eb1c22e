//! Results as JSON: by their types where they are known, and else as texts.

use transom_settings::json::{Map, Value as Json};

use super::XSI;
use super::schema::{Complex, Id, Schema, Type};
use crate::content::xml::add;
use crate::content::xml::element::Element;

/// What an empty list is long beside its name: `"":[],`.
const EMPTY: usize = 6;

/// What the element holds, which is of this type. Lists that may be there and are not take of `left` what their
/// names are long: nothing is left where they would make much of little.
pub fn typed(schema: &Schema, of: Id, element: &Element, left: &mut usize) -> Json {
    if is_nil(element) {
        return Json::Null;
    }
    // a type derived from the one that was declared
    let own = element.attribute_in(XSI, "type").and_then(|name| element.name_of(name));
    let of = own.and_then(|name| schema.named(&name)).unwrap_or(of);
    match schema.get(of) {
        Type::Simple(simple) => simple.read(&element.text),
        Type::Words(simple) => {
            element.text.split_ascii_whitespace().map(|word| simple.read(word)).collect()
        }
        Type::Complex(complex) => Json::Object(fields(schema, complex, element, left)),
        Type::Anything => plain(element),
    }
}

fn fields(
    schema: &Schema,
    complex: &Complex,
    element: &Element,
    left: &mut usize,
) -> Map<String, Json> {
    let mut map = Map::new();
    for (name, value) in &element.attributes {
        let known = complex.attributes.iter().find(|known| known.name == *name);
        if let Some(known) = known {
            map.insert(format!("@{}", name.local), known.of.read(value));
        }
    }
    if let Some(simple) = complex.text {
        map.insert("#text".to_owned(), simple.read(&element.text));
    }
    // a list is one also where it has one value or none
    for field in complex.fields.iter().filter(|field| field.many) {
        *left = left.saturating_sub(field.name.local.len() + EMPTY);
        if *left == 0 {
            break;
        }
        map.insert(field.name.local.clone(), Json::Array(Vec::new()));
    }
    for child in &element.children {
        match complex.fields.iter().find(|field| field.name == child.name) {
            Some(field) => {
                let value = typed(schema, field.of, child, left);
                add(&mut map, child.name.local.clone(), value);
            }
            None => add(&mut map, child.name.local.clone(), plain(child)),
        }
    }
    map
}

/// What the element holds, where nothing is known of its type: prefixes and declarations are left out,
/// values are texts, several elements of one name are a list.
pub fn plain(element: &Element) -> Json {
    if is_nil(element) {
        return Json::Null;
    }
    let mut map = Map::new();
    for (name, value) in &element.attributes {
        if name.space != XSI {
            map.insert(format!("@{}", name.local), value.as_str().into());
        }
    }
    for child in &element.children {
        add(&mut map, child.name.local.clone(), plain(child));
    }
    match (map.is_empty(), element.text.trim().is_empty()) {
        (true, true) => Json::String(String::new()),
        (true, false) => element.text.as_str().into(),
        (false, true) => map.into(),
        (false, false) => {
            map.insert("#text".to_owned(), element.text.trim().into());
            map.into()
        }
    }
}

fn is_nil(element: &Element) -> bool {
    matches!(element.attribute_in(XSI, "nil"), Some("true" | "1"))
}
