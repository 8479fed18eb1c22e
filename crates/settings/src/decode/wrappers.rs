//! Values that may be absent, given up, switched off, or that know where they were written.

use std::fmt::{self, Debug, Display};
use std::ops::Deref;

use serde_json::{Value as Json, json};

use super::{Context, FromText, Refusal, Setting};
use crate::diagnostic::{Span, quote};
use crate::document::{Node, Value};
use crate::schema::Definitions;

/// A value and where it was written. Two are equal if their values are, wherever they stand.
#[derive(Clone, Copy, Default)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Self {
        Spanned { value, span }
    }
}

impl<T> From<T> for Spanned<T> {
    fn from(value: T) -> Self {
        Spanned { value, span: Span::NOWHERE }
    }
}

impl<T: Setting> Setting for Spanned<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let span = match node.value {
            Value::Scalar(_) => node.span,
            _ => at.place(node),
        };
        Some(Spanned { value: T::decode(node, at)?, span })
    }
    fn schema(definitions: &mut Definitions) -> Json {
        T::schema(definitions)
    }
    fn to_json(&self) -> Json {
        self.value.to_json()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: Debug> Debug for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Display> Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Setting> Setting for Option<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match node.value {
            Value::Null => Some(None),
            _ => T::decode(node, at).map(Some),
        }
    }
    fn schema(definitions: &mut Definitions) -> Json {
        T::schema(definitions)
    }
    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, T::to_json)
    }
}

/// A limit that may be given up in writing: a value, or `off` or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<T> {
    At(T),
    Unlimited,
}

impl<T: Copy> Limit<T> {
    /// The value, or nothing where there is no limit.
    pub fn get(&self) -> Option<T> {
        match self {
            Limit::At(value) => Some(*value),
            Limit::Unlimited => None,
        }
    }
}

impl<T: FromText> FromText for Limit<T> {
    const WHAT: &'static str = T::WHAT;
    fn from_text(text: &str) -> Result<Self, Refusal> {
        match text {
            "off" | "unlimited" => Ok(Limit::Unlimited),
            "none" | "no" | "false" => {
                let what = format!("expected {}, found {}", T::WHAT, quote(text));
                Err(Refusal::new(what).hint("write `off` or `unlimited` for no limit"))
            }
            text => T::from_text(text).map(Limit::At),
        }
    }
    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), { "enum": ["off", "unlimited"] }] })
    }
    fn to_json(&self) -> Json {
        match self {
            Limit::At(value) => value.to_json(),
            Limit::Unlimited => "unlimited".into(),
        }
    }
}

impl<T: Display> Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::At(value) => value.fmt(f),
            Limit::Unlimited => f.write_str("unlimited"),
        }
    }
}

/// Settings that may be switched off, or on with every default: `off`, `on` or the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Switch<T> {
    #[default]
    Off,
    On(T),
}

impl<T> Switch<T> {
    pub fn on(&self) -> Option<&T> {
        match self {
            Switch::On(settings) => Some(settings),
            Switch::Off => None,
        }
    }
}

impl<T: Setting + Default> Setting for Switch<T> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if matches!(&*scalar.text, "off" | "false") => Some(Switch::Off),
            Value::Scalar(scalar) if matches!(&*scalar.text, "on" | "true") => {
                Some(Switch::On(T::default()))
            }
            Value::Map(_) => T::decode(node, at).map(Switch::On),
            _ => at.mismatch("`on`, `off` or a map of settings", node),
        }
    }
    fn schema(definitions: &mut Definitions) -> Json {
        let on = T::schema(definitions);
        json!({ "anyOf": [{ "enum": ["on", "off", true, false] }, on] })
    }
    fn to_json(&self) -> Json {
        match self {
            Switch::Off => "off".into(),
            Switch::On(settings) => settings.to_json(),
        }
    }
}
