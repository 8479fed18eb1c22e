//! Makes the message of a call of the path, the query and the body of a request.

use std::fmt;

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use transom_settings::json::{self, Map, Value as Json};

use super::names;
use super::rules::{Binding, BodyOf, Method, leaf_of};
use super::template::Bound;
use crate::content::strict;
use crate::escapes::{self, undone_in_form};
use crate::grpc::frame;

/// Fields inside of each other that a parameter of the query may name.
const DEEPEST: usize = 64;

/// How strict requests are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) refuse_unknown_fields: bool,
    pub(super) refuse_unknown_query: bool,
}

/// What is wrong with a request: the field, if it is known, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) field: Option<String>,
    pub(super) what: String,
}

impl Bad {
    fn of(field: &str, what: impl Into<String>) -> Self {
        Bad { field: Some(field.to_owned()), what: what.into() }
    }

    fn body(what: impl Into<String>) -> Self {
        Bad { field: None, what: what.into() }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// A request as it came.
pub(super) struct Asked<'a> {
    pub(super) bound: Bound,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    pub(super) content_type: &'a str,
}

/// The messages of a call, framed.
pub(super) fn messages(
    method: &Method,
    binding: Option<&Binding>,
    asked: Asked<'_>,
    reading: Reading,
) -> Result<Bytes, Bad> {
    let whole = binding.is_none_or(|binding| binding.body == BodyOf::Message);
    if method.streams_in && whole {
        return several(method, asked.body, reading);
    }
    let message = match binding {
        // nothing but the body: no detour over a tree
        None => read(&method.input, asked.body, reading)?,
        Some(_) if whole && asked.bound.is_empty() && !is_http_body(&method.input) => {
            read(&method.input, asked.body, reading)?
        }
        Some(binding) => {
            let tree = tree(method, binding, asked, reading)?;
            of_tree(&method.input, Json::Object(tree), reading)?
        }
    };
    Ok(frame::framed(&message.encode_to_vec()))
}

/// One message of a stream.
pub(super) fn message(
    input: &MessageDescriptor,
    json: &[u8],
    reading: Reading,
) -> Result<Bytes, Bad> {
    Ok(frame::framed(&read(input, json, reading)?.encode_to_vec()))
}

/// A message for each value of a JSON list, or each of several values one after the other.
fn several(method: &Method, body: &[u8], reading: Reading) -> Result<Bytes, Bad> {
    let mut out = BytesMut::new();
    let is_list = body.trim_ascii_start().first() == Some(&b'[');
    let mut values = json::Deserializer::from_slice(body).into_iter::<strict::Strict>();
    let mut add = |value: Json| -> Result<(), Bad> {
        frame::write(&of_tree(&method.input, value, reading)?.encode_to_vec(), &mut out);
        Ok(())
    };
    for value in &mut values {
        let value = value.map_err(|error| Bad::body(format!("the body is not JSON: {error}")))?;
        match value.0 {
            Json::Array(items) if is_list => items.into_iter().try_for_each(&mut add)?,
            one => add(one)?,
        }
    }
    Ok(out.freeze())
}

fn options(reading: Reading) -> DeserializeOptions {
    DeserializeOptions::new().deny_unknown_fields(reading.refuse_unknown_fields)
}

fn read(input: &MessageDescriptor, body: &[u8], reading: Reading) -> Result<DynamicMessage, Bad> {
    if body.trim_ascii().is_empty() {
        return Ok(DynamicMessage::new(input.clone()));
    }
    // of two that stand under one name, the last would be taken here and another elsewhere
    let mut from = json::Deserializer::from_slice(body);
    let once = names::once(input, &mut from);
    once.map_err(|why| Bad::body(format!("the body: {why}")))?;
    let mut from = json::Deserializer::from_slice(body);
    let message =
        DynamicMessage::deserialize_with_options(input.clone(), &mut from, &options(reading));
    let message = message.and_then(|message| from.end().map(|()| message));
    message.map_err(|error| Bad::body(format!("the body: {error}")))
}

fn of_tree(input: &MessageDescriptor, tree: Json, reading: Reading) -> Result<DynamicMessage, Bad> {
    names::once(input, &tree).map_err(|why| Bad::body(format!("the body: {why}")))?;
    DynamicMessage::deserialize_with_options(input.clone(), tree, &options(reading))
        .map_err(|error| Bad::body(error.to_string()))
}

/// The message as JSON.
fn tree(
    method: &Method,
    binding: &Binding,
    asked: Asked<'_>,
    reading: Reading,
) -> Result<Map<String, Json>, Bad> {
    let mut tree = Map::new();
    match &binding.body {
        BodyOf::Nothing => {}
        BodyOf::Message => match body(&Kind::Message(method.input.clone()), &asked)? {
            Some(Json::Object(fields)) => tree = fields,
            Some(_) => return Err(Bad::body("the body is not a JSON object")),
            None => {}
        },
        BodyOf::Field(field) => {
            let value = body(&field.kind(), &asked)?;
            tree.extend(value.map(|value| (field.json_name().to_owned(), value)));
        }
    }
    if binding.body != BodyOf::Message {
        for (name, value) in parameters(asked.query) {
            let path: Vec<String> = name.split('.').map(str::to_owned).collect();
            // a message may lie in one of its own kind without end
            if path.len() > DEEPEST {
                return Err(Bad::body(format!("a parameter names more than {DEEPEST} fields")));
            }
            // what the path has, the query cannot change
            if asked.bound.iter().any(|(bound, _)| *bound == path) {
                return Err(Bad::of(&name, "it stands in the path already"));
            }
            let field = match leaf_of(&method.input, &path) {
                Ok(field) => field,
                Err(_) if !reading.refuse_unknown_query => continue,
                Err(why) => return Err(Bad::of(&name, why)),
            };
            if let BodyOf::Field(body) = &binding.body
                && (path[0] == body.name() || path[0] == body.json_name())
            {
                return Err(Bad::of(&name, "it stands in the body already"));
            }
            put(&mut tree, &method.input, &path, &field, &value, false)?;
        }
    }
    for (path, value) in &asked.bound {
        let name = path.join(".");
        let field = leaf_of(&method.input, path).map_err(|why| Bad::of(&name, why))?;
        put(&mut tree, &method.input, path, &field, value, true)?;
    }
    Ok(tree)
}

/// The body as JSON; nothing where there is none.
fn body(kind: &Kind, asked: &Asked<'_>) -> Result<Option<Json>, Bad> {
    if let Kind::Message(message) = kind
        && is_http_body(message)
    {
        let data = data_encoding::BASE64.encode(asked.body);
        return Ok(Some(json::json!({ "contentType": asked.content_type, "data": data })));
    }
    if asked.body.trim_ascii().is_empty() {
        return Ok(None);
    }
    strict::parse(asked.body)
        .map(Some)
        .map_err(|why| Bad::body(format!("the body is not JSON: {why}")))
}

pub(super) fn is_http_body(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.api.HttpBody"
}

/// Puts a text where the field is. `over`: in place of what stands there.
fn put(
    tree: &mut Map<String, Json>,
    message: &MessageDescriptor,
    path: &[String],
    leaf: &FieldDescriptor,
    text: &str,
    over: bool,
) -> Result<(), Bad> {
    let name = path.join(".");
    let (mut tree, mut message) = (tree, message.clone());
    let (_, parents) = path.split_last().ok_or_else(|| Bad::of(&name, "it names no field"))?;
    for parent in parents {
        let field =
            leaf_of(&message, std::slice::from_ref(parent)).map_err(|why| Bad::of(&name, why))?;
        // the body may have it under either name, and not under both: the path would fill one of them
        let (own, in_json) = (field.name(), field.json_name());
        let key = match (tree.contains_key(own), tree.contains_key(in_json)) {
            (true, true) if own != in_json => {
                return Err(Bad::of(&name, format!("`{parent}` stands twice in the body")));
            }
            (true, _) => own.to_owned(),
            (false, _) => in_json.to_owned(),
        };
        let below = tree.entry(key).or_insert_with(|| Json::Object(Map::new()));
        if below.is_null() {
            *below = Json::Object(Map::new());
        }
        let Json::Object(below) = below else {
            return Err(Bad::of(&name, format!("`{parent}` is something else in the body")));
        };
        let Kind::Message(inner) = field.kind() else {
            return Err(Bad::of(&name, format!("`{parent}` has no fields")));
        };
        (tree, message) = (below, inner);
    }
    if leaf.is_map() {
        return Err(Bad::of(&name, "a map cannot be written so"));
    }
    let value = value_of(&leaf.kind(), text).map_err(|why| Bad::of(&name, why))?;
    if over {
        tree.remove(leaf.name());
        tree.insert(leaf.json_name().to_owned(), value);
        return Ok(());
    }
    match tree.get_mut(leaf.json_name()) {
        None if leaf.is_list() => {
            tree.insert(leaf.json_name().to_owned(), Json::Array(vec![value]));
        }
        None => drop(tree.insert(leaf.json_name().to_owned(), value)),
        Some(Json::Array(items)) if leaf.is_list() => items.push(value),
        Some(_) => return Err(Bad::of(&name, "it is given twice")),
    }
    Ok(())
}

/// A text as JSON has values of this kind.
fn value_of(kind: &Kind, text: &str) -> Result<Json, String> {
    let whole = |signed: bool| {
        let digits = text.strip_prefix('-').filter(|_| signed).unwrap_or(text);
        digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty()
    };
    match kind {
        Kind::Bool => match text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => Err(format!("`{text}` is neither `true` nor `false`")),
        },
        Kind::Int32
        | Kind::Int64
        | Kind::Sint32
        | Kind::Sint64
        | Kind::Sfixed32
        | Kind::Sfixed64
            if !whole(true) =>
        {
            Err(format!("`{text}` is no whole number"))
        }
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 if !whole(false) => {
            Err(format!("`{text}` is no whole number from 0 on"))
        }
        Kind::Enum(_) if whole(true) => {
            text.parse::<i32>().map(Json::from).map_err(|_| format!("`{text}` is out of range"))
        }
        Kind::Enum(known) if known.get_value_by_name(text).is_none() => {
            Err(format!("`{text}` is no value of {}", known.full_name()))
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp"
            | "google.protobuf.Duration"
            | "google.protobuf.FieldMask" => Ok(text.into()),
            "google.protobuf.BoolValue" => value_of(&Kind::Bool, text),
            name if name.starts_with("google.protobuf.")
                && name.ends_with("Value")
                && message.get_field_by_name("value").is_some() =>
            {
                let field = message.get_field_by_name("value").ok_or("it has no value")?;
                value_of(&field.kind(), text)
            }
            name => Err(format!("it is a message, {name}: name its fields, as in `a.b=1`")),
        },
        _ => Ok(text.into()),
    }
}

/// The parameters of a query in their order, as they were meant.
fn parameters(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let decode = |text: &str| escapes::text(&undone_in_form(text.as_bytes()));
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}
