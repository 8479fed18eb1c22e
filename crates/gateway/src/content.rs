//! What bodies hold: read from the forms they come in, changed, and written again.

pub mod coding;
pub mod edit;
pub mod facts;
pub mod form;
pub mod jq;
pub mod literal;
pub mod multipart;
pub mod path;
pub mod strict;
pub mod template;
pub mod xml;

use std::fmt;

use transom_settings::json::{Value as Json, from_slice, to_vec};
use transom_settings::settings;

use self::coding::Coding;
use crate::media;

settings! {
    /// In which form a body is.
    pub enum Form {
        /// JSON.
        Json = "json",
        /// XML.
        Xml = "xml",
        /// A form of HTML.
        Form = "form",
        /// Plain text.
        Text = "text",
    }
}

/// Why a body is not what it says it is, or cannot be written in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotIn(pub Form, pub String);

impl fmt::Display for NotIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl Form {
    /// The form of a type of media.
    pub fn of(essence: &str) -> Option<Form> {
        match essence {
            "application/x-www-form-urlencoded" => Some(Form::Form),
            "text/plain" => Some(Form::Text),
            _ if media::is_json(essence) => Some(Form::Json),
            _ if media::is_xml(essence) => Some(Form::Xml),
            _ => None,
        }
    }

    /// The `Content-Type` of what is written in it.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Xml => "application/xml",
            Form::Form => "application/x-www-form-urlencoded",
            Form::Text => "text/plain; charset=utf-8",
        }
    }

    /// What the bytes hold, of a body with this `Content-Type`. JSON and forms are always in UTF-8
    /// (RFC 8259 §8.1), whatever it says.
    ///
    /// # Errors
    /// When they are not in this form, or are in a coding that is not read.
    pub fn read(self, content_type: &str, bytes: &[u8]) -> Result<Json, NotIn> {
        let not = |why: String| NotIn(self, why);
        let text = || {
            let text = Coding::of_type(content_type).and_then(|coding| coding.text(bytes));
            text.map_err(|why| not(why.to_string()))
        };
        match self {
            Form::Json => from_slice(bytes).map_err(|error| not(format!("it is no JSON: {error}"))),
            Form::Xml => xml::read(text()?).map_err(|error| not(error.to_string())),
            Form::Form => form::read(bytes).map_err(|error| not(error.to_string())),
            Form::Text => Ok(text()?.into()),
        }
    }

    /// The value in this form, of about `most` bytes at most where the form repeats names.
    ///
    /// # Errors
    /// When it cannot be written so, or would be longer.
    pub fn write(self, value: &Json, most: usize) -> Result<Vec<u8>, NotIn> {
        let not = |why: String| NotIn(self, why);
        match self {
            Form::Json => to_vec(value).map_err(|error| not(error.to_string())),
            Form::Xml => {
                let written = xml::write(value, "root", most);
                written.map(String::into_bytes).map_err(|error| not(error.to_string()))
            }
            Form::Form => {
                let written = form::write(value, most);
                written.map(String::into_bytes).map_err(|error| not(error.to_string()))
            }
            Form::Text => Ok(match value {
                Json::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            }),
        }
    }
}
