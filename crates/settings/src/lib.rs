//! Turns configuration text into typed values and says exactly where and why it could not.
//!
//! The flow: [`assemble`] parses a file and what it includes into one tree of [`Node`]s that know
//! their place; a type described with [`settings!`] decodes itself from that tree and collects
//! every finding in [`Diagnostics`]. The same description gives the type's JSON Schema.
//!
//! This crate opens no file and reads no environment variable: the caller answers through
//! [`Outside`]. It knows nothing of what the settings mean.

mod assemble;
mod decode;
mod diagnostic;
mod document;
mod elsewhere;
mod macros;
pub mod scalar;
mod schema;
mod suggest;

pub use assemble::{Outside, assemble};
pub use decode::{
    Any, Choice, Context, Fields, FromText, Limit, List, Map, OneOrMany, Refusal, Setting, Spanned,
    Switch, key, keys, only_key, put,
};
pub use diagnostic::{Diagnostic, Diagnostics, FileId, Severity, Span, list, quote};
pub use document::{Entry, Key, Node, Scalar, Value, parse};
pub use macros::{unknown_word, words_schema};
pub use scalar::*;
pub use schema::{Definitions, Object, or_interpolated, text as text_schema};
pub use suggest::closest;

#[doc(hidden)]
pub use serde_json as json;
