//! Arguments as XML, in the order and with the names that their types have.

use transom_proxy::fault::{Place, Violation};
use transom_settings::json::{Map, Value as Json};

use super::schema::{Complex, Field, Id, Schema, Type};
use super::simple::Simple;
use crate::content::xml::element::Name;
use crate::content::xml::{in_attribute, in_element};

/// How deep arguments may lie in each other.
const DEEPEST: usize = 64;

/// The prefixes of an envelope.
#[derive(Debug, Default)]
pub struct Prefixes(Vec<String>);

impl Prefixes {
    pub fn of(schema: &Schema) -> Self {
        Prefixes(schema.spaces().into_iter().map(str::to_owned).collect())
    }

    /// The declarations, for the outermost element.
    pub fn declared(&self) -> String {
        let each = self.0.iter().enumerate();
        each.map(|(i, space)| format!(" xmlns:n{i}=\"{}\"", in_attribute(space))).collect()
    }

    fn written(&self, name: &Name) -> String {
        match self.0.iter().position(|space| *space == name.space) {
            Some(at) => format!("n{at}:{}", name.local),
            None => name.local.clone(),
        }
    }
}

/// Why arguments are not written.
#[derive(Debug)]
pub enum Unwritten {
    /// What of them does not fit, at most [`MOST`] findings.
    Unfit(Vec<Violation>),
    /// They would be longer than they may be: every value of a list has the name of the list.
    TooLong,
}

/// An element with its arguments, of about `most` bytes at most.
///
/// # Errors
/// See [`Unwritten`].
pub fn element(
    schema: &Schema,
    prefixes: &Prefixes,
    field: &Field,
    arguments: &Json,
    most: usize,
) -> Result<String, Unwritten> {
    let mut writing =
        Writing { schema, prefixes, most, out: String::new(), at: Vec::new(), wrong: Vec::new() };
    writing.element(field, arguments);
    match writing {
        Writing { wrong, .. } if !wrong.is_empty() => Err(Unwritten::Unfit(wrong)),
        Writing { out, .. } if out.len() > most => Err(Unwritten::TooLong),
        Writing { out, .. } => Ok(out),
    }
}

/// Findings that are told at most.
pub const MOST: usize = 16;

struct Writing<'w> {
    schema: &'w Schema,
    prefixes: &'w Prefixes,
    most: usize,
    out: String,
    /// The keys and numbers that lead here.
    at: Vec<String>,
    wrong: Vec<Violation>,
}

impl Writing<'_> {
    fn wrong(&mut self, detail: impl Into<String>) {
        if self.wrong.len() < MOST {
            let escaped =
                |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
            let pointer = self.at.iter().map(escaped).collect();
            self.wrong.push(Violation { place: Place::Pointer(pointer), detail: detail.into() });
        }
    }

    fn within(&mut self, step: String, act: impl FnOnce(&mut Self)) {
        self.at.push(step);
        act(self);
        self.at.pop();
    }

    fn element(&mut self, field: &Field, value: &Json) {
        if self.at.len() > DEEPEST {
            return self.wrong("lies too deep");
        }
        if self.out.len() > self.most {
            return;
        }
        let name = self.prefixes.written(&field.name);
        if value.is_null() && field.nillable {
            self.out.push_str(&format!("<{name} xsi:nil=\"true\"/>"));
            return;
        }
        self.out.push_str(&format!("<{name}"));
        self.inside(field.of, value);
        self.out.push_str(&format!("</{name}>"));
    }

    /// The rest of the start of an element, and what is in it.
    fn inside(&mut self, of: Id, value: &Json) {
        match self.schema.get(of) {
            Type::Simple(simple) => self.text(*simple, value),
            Type::Words(simple) => self.words(*simple, value),
            Type::Complex(complex) => match value {
                Json::Object(map) => self.complex(complex, map),
                plain if complex.text.is_some() => {
                    let map = Map::from_iter([("#text".to_owned(), plain.clone())]);
                    self.complex(complex, &map);
                }
                _ => self.wrong("must be an object"),
            },
            Type::Anything => match value {
                Json::Object(_) | Json::Array(_) => self.wrong("must be a text or a number"),
                plain => self.text(Simple::Text, plain),
            },
        }
    }

    fn text(&mut self, simple: Simple, value: &Json) {
        match simple.write(value) {
            Ok(text) => self.out.push_str(&format!(">{}", in_element(&text))),
            Err(why) => self.wrong(why),
        }
    }

    fn words(&mut self, simple: Simple, value: &Json) {
        let items = match value {
            Json::Array(items) => &items[..],
            one => std::slice::from_ref(one),
        };
        self.out.push('>');
        for (number, item) in items.iter().enumerate() {
            if self.out.len() > self.most {
                return;
            }
            match simple.write(item) {
                Ok(word) if word.contains(char::is_whitespace) => {
                    return self.wrong("has values with spaces, which a list cannot have");
                }
                Ok(word) => {
                    self.out.push_str(if number > 0 { " " } else { "" });
                    self.out.push_str(&in_element(&word));
                }
                Err(why) => return self.wrong(why),
            }
        }
    }

    fn complex(&mut self, complex: &Complex, map: &Map<String, Json>) {
        for key in map.keys() {
            let known = match key.strip_prefix('@') {
                Some(own) => complex.attributes.iter().any(|known| known.name.local == own),
                None if key == "#text" => complex.text.is_some(),
                None => complex.fields.iter().any(|known| known.name.local == *key),
            };
            if !known {
                self.within(key.clone(), |at| at.wrong("is not known"));
            }
        }
        for attribute in &complex.attributes {
            let key = format!("@{}", attribute.name.local);
            match map.get(&key).filter(|value| !value.is_null()) {
                Some(value) => self.within(key, |at| match attribute.of.write(value) {
                    Ok(text) => {
                        let name = at.prefixes.written(&attribute.name);
                        at.out.push_str(&format!(" {name}=\"{}\"", in_attribute(&text)));
                    }
                    Err(why) => at.wrong(why),
                }),
                None if attribute.required => self.within(key, |at| at.wrong("is missing")),
                None => {}
            }
        }
        if let Some(simple) = complex.text {
            let value = map.get("#text").unwrap_or(&Json::Null);
            return self.within("#text".to_owned(), |at| at.text(simple, value));
        }
        self.out.push('>');
        for field in &complex.fields {
            let key = field.name.local.clone();
            match map.get(&key) {
                Some(Json::Array(items)) if field.many => self.within(key, |at| {
                    if items.is_empty() && field.required {
                        at.wrong("must not be empty");
                    }
                    for (number, item) in items.iter().enumerate() {
                        at.within(number.to_string(), |at| at.element(field, item));
                    }
                }),
                Some(Json::Null) if !field.nillable && !field.required => {}
                Some(Json::Null) if !field.nillable => {
                    self.within(key, |at| at.wrong("must not be null"));
                }
                Some(value) => self.within(key, |at| at.element(field, value)),
                None if field.required => self.within(key, |at| at.wrong("is missing")),
                None => {}
            }
        }
    }
}
