//! Values that must not be seen.

use std::fmt;

use crate::decode::{Context, Setting};
use crate::document::{Node, Value};
use crate::schema::Definitions;

/// A text that prints as `********` wherever it is shown, in findings too.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

const MASK: &str = "********";

impl Setting for Secret {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        // what could not be had is only the reference to a secret
        if !matches!(&node.value, Value::Scalar(scalar) if scalar.missing) {
            at.mask(node.span);
        }
        let scalar = at.scalar(node, "a secret text")?;
        if scalar.text.is_empty() {
            at.push(at.error(node.span, "the secret is empty"));
            return None;
        }
        Some(Secret(scalar.text.clone()))
    }

    fn schema(_: &mut Definitions) -> serde_json::Value {
        serde_json::json!({
            "type": "string",
            "minLength": 1,
            "examples": ["${TOKEN}", "${file:/run/secrets/token}"],
        })
    }

    fn to_json(&self) -> serde_json::Value {
        MASK.into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
