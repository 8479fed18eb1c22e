//! OpenAPI documents, 3.0 and 3.1: which operations there are, and what fits them.
//!
//! A document is walked once. What it refers to lies in it: nothing is fetched. Schemas are compiled
//! when they are first asked for by whoever builds a policy; those of 3.0 are brought into the form of
//! 3.1, which is JSON Schema 2020-12.

pub mod parameters;
pub mod read;
mod schema;

use jsonschema::Validator;
use transom_proxy::fault::{Place, Violation};
use transom_settings::json::Value as Json;

pub use parameters::{Parameter, Where};

/// What an OpenAPI document says.
#[derive(Debug)]
pub struct Document {
    pub title: String,
    pub version: String,
    /// The path of the first server: what stands before the paths of operations.
    pub base: String,
    pub operations: Vec<Operation>,
    /// The document itself, as 3.1.
    pub json: Json,
}

/// A path with one method.
#[derive(Debug)]
pub struct Operation {
    /// In upper case.
    pub method: String,
    /// As it is written: `/orders/{id}`.
    pub path: String,
    pub id: Option<String>,
    pub deprecated: bool,
    segments: Vec<Segment>,
    pub parameters: Vec<Parameter>,
    pub body: Option<Content>,
    pub responses: Vec<(Status, Content)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// What stands before, the name, and what stands after: `report-{id}.pdf`.
    Variable(String, String, String),
}

/// For which statuses a response is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Exact(u16),
    Class(u16),
    Default,
}

/// What a body may be.
#[derive(Debug, Default)]
pub struct Content {
    pub required: bool,
    pub media: Vec<Media>,
}

/// A type of media, and what fits it.
#[derive(Debug)]
pub struct Media {
    pub range: String,
    pub schema: Option<Schema>,
    /// Types that a part of a form may have, by its name.
    pub encoding: Vec<(String, Vec<String>)>,
    /// An example: its name, and the value.
    pub examples: Vec<(String, Json)>,
}

/// A compiled schema, and what is known of the types it asks for.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    /// The schema itself, its own reference followed.
    pub json: Json,
}

impl Schema {
    /// What of a value does not fit, at most so much, with its places.
    pub fn violations(&self, value: &Json, most: usize) -> Vec<Violation> {
        let errors = self.validator.iter_errors(value).take(most);
        let told = errors.map(|error| {
            let place = Place::Pointer(error.instance_path().as_str().to_owned());
            // masked: what was sent is not sent back
            Violation { place, detail: shortened(&error.masked().to_string()) }
        });
        told.collect()
    }
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What a request asks of a document.
pub enum Found<'d> {
    /// The operation, and the values of its path as they were sent.
    Operation(&'d Operation, Vec<(&'d str, String)>),
    /// There is the path, but not with the method: these are.
    Methods(Vec<&'d str>),
    Nothing,
}

impl Document {
    /// The operation for a method and a path without the base. Literal segments win over variables.
    pub fn find(&self, method: &str, path: &str) -> Found<'_> {
        let method = if method == "HEAD" { "GET" } else { method };
        let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let mut best: Option<(usize, Found<'_>)> = None;
        let mut others = Vec::new();
        for operation in &self.operations {
            let Some(values) = operation.matches(&parts) else { continue };
            if operation.method != method {
                others.push(operation.method.as_str());
                continue;
            }
            let literal = operation.segments.iter().filter(|s| matches!(s, Segment::Literal(_)));
            let literal = literal.count();
            if best.as_ref().is_none_or(|(most, _)| literal > *most) {
                best = Some((literal, Found::Operation(operation, values)));
            }
        }
        match best {
            Some((_, found)) => found,
            None if others.is_empty() => Found::Nothing,
            None => {
                others.sort_unstable();
                others.dedup();
                Found::Methods(others)
            }
        }
    }

    /// The path below a base, which ends at the border of a segment.
    pub fn below<'p>(base: &str, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(base.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(if rest.is_empty() {
            "/"
        } else {
            rest
        })
    }
}

impl Operation {
    fn matches(&self, parts: &[&str]) -> Option<Vec<(&str, String)>> {
        if parts.len() != self.segments.len() {
            return None;
        }
        let mut values = Vec::new();
        for (segment, part) in self.segments.iter().zip(parts) {
            match segment {
                Segment::Literal(text) if text == part => {}
                Segment::Literal(_) => return None,
                Segment::Variable(before, name, after) => {
                    let value = part.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                    if value.is_empty() {
                        return None;
                    }
                    values.push((name.as_str(), parameters::decoded(value)));
                }
            }
        }
        Some(values)
    }

    /// What is described for a response with this status.
    pub fn response(&self, status: u16) -> Option<&Content> {
        let of = |wanted: Status| {
            self.responses.iter().find(|(status, _)| *status == wanted).map(|(_, content)| content)
        };
        of(Status::Exact(status))
            .or_else(|| of(Status::Class(status / 100)))
            .or_else(|| of(Status::Default))
    }
}

impl Content {
    /// What is described for a type of media in lower case: the narrowest range that it lies in.
    pub fn media(&self, essence: &str) -> Option<&Media> {
        let narrow = |media: &&Media| media.range.matches('*').count();
        let fitting = self.media.iter().filter(|media| crate::media::fits(&media.range, essence));
        fitting.min_by_key(narrow)
    }
}

fn segments(path: &str) -> Vec<Segment> {
    let parts = path.strip_prefix('/').unwrap_or(path).split('/');
    let segment = |part: &str| {
        let variable = part.split_once('{').and_then(|(before, rest)| {
            let (name, after) = rest.split_once('}')?;
            Some(Segment::Variable(before.to_owned(), name.to_owned(), after.to_owned()))
        });
        variable.unwrap_or_else(|| Segment::Literal(part.to_owned()))
    };
    parts.map(segment).collect()
}

#[cfg(test)]
mod tests;
