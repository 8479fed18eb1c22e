//! What expressions come to.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use ipnet::IpNet;
use transom_settings::json::Value as Json;

use super::names::Map;
use super::program::Code;

/// A value, borrowed from the request or the program wherever it can be.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    /// As it came: a header field may hold any bytes.
    Text(Cow<'a, [u8]>),
    Address(IpAddr),
    /// Of addresses.
    Block(&'a IpNet),
    /// Microseconds since 1970.
    Time(i64),
    /// Microseconds.
    Duration(i64),
    /// A list or a map of a token.
    Json(&'a Json),
    Texts(&'a [String]),
    /// One that stands in the expression.
    List(&'a [Code]),
    /// What is looked up in the request by name.
    Map(Map),
}

/// Why an expression comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// What it asks for is not there: a field, a claim, an identity.
    Missing,
    /// A claim is of another type than it would have to be.
    Type,
    /// A number became too large, or was divided by zero.
    Number,
    /// A text is not what it is to be read as.
    Form,
    /// It took more steps than it may.
    Steps,
}

impl Trouble {
    pub fn as_str(self) -> &'static str {
        match self {
            Trouble::Missing => "something it asks for is not there",
            Trouble::Type => "a value is of another type than it must be",
            Trouble::Number => "a number is too large, or divided by zero",
            Trouble::Form => "a text cannot be read as what it must be",
            Trouble::Steps => "it took too many steps",
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text.as_bytes()))
    }

    pub(super) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, number) => Value::Double(number.unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::text(text),
            Json::Array(_) | Json::Object(_) => Value::Json(json),
        }
    }

    pub(super) fn is_true(&self) -> Result<bool, Trouble> {
        match self {
            Value::Bool(value) => Ok(*value),
            _ => Err(Trouble::Type),
        }
    }

    /// Numbers are equal by their value, an address is equal to its text; what else is of different
    /// types is never equal.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Address(a), Value::Address(b)) => a == b,
            (Value::Address(address), Value::Block(block)) => block.contains(address),
            (Value::Block(a), Value::Block(b)) => a == b,
            (Value::Address(address), Value::Text(text))
            | (Value::Text(text), Value::Address(address)) => {
                std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()) == Some(*address)
            }
            (Value::Json(a), Value::Json(b)) => a == b,
            (Value::Texts(a), Value::Texts(b)) => a == b,
            (Value::Texts(texts), Value::Json(Json::Array(items)))
            | (Value::Json(Json::Array(items)), Value::Texts(texts)) => {
                texts.len() == items.len()
                    && texts.iter().zip(items).all(|(text, item)| item == text)
            }
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// Of numbers, texts and times.
    pub(super) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        Some(match (self, other) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b)) | (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b)?,
            (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64))?,
            (Value::Double(a), Value::Double(b)) => a.partial_cmp(b)?,
            _ => return None,
        })
    }
}
