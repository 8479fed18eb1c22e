//! # headers
//!
//! **What it does.** Sets, appends and removes header fields of the request before the endpoint
//! sees it, and of the response before the client does. Values may hold variables.
//!
//! **When it runs.** Stage `shape`: after identity is known, before the cache.
//!
//! **Settings.** `set`, `append`: name and value; `remove`: names. Removal comes first, then
//! `set`, then `append`.
//!
//! **What the client sees.** The edited fields; never a fault.

use std::fmt;

use super::{Ahead, Policy};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::fields::{FieldName, Fields};
use crate::message::{Request, Response};
use crate::stage::Stage;
use crate::variables::Template;

/// Edits of one message's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    pub remove: Vec<FieldName>,
    pub set: Vec<(FieldName, Template)>,
    pub append: Vec<(FieldName, Template)>,
}

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.append.is_empty()
    }

    /// Removes, sets and appends, in that order.
    pub fn apply(&self, exchange: &Exchange, fields: &mut Fields) {
        for name in &self.remove {
            fields.remove(name);
        }
        let mut room = Vec::new();
        for (name, template) in &self.set {
            fields.set(name, value(template, exchange, &mut room));
        }
        for (name, template) in &self.append {
            fields.append(name, value(template, exchange, &mut room));
        }
    }
}

/// What a template makes of this exchange; only one with variables needs the room.
fn value<'a>(template: &'a Template, exchange: &Exchange, room: &'a mut Vec<u8>) -> &'a [u8] {
    if let Some(text) = template.literal() {
        return text.as_bytes();
    }
    room.clear();
    template.write(exchange, room);
    room
}

impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = self.remove.iter().map(|name| format!("remove {name}"));
        let set = self.set.iter().map(|(name, value)| format!("set {name} to `{value}`"));
        let append = self.append.iter().map(|(name, value)| format!("append `{value}` to {name}"));
        let all: Vec<String> = removed.chain(set).chain(append).collect();
        f.write_str(&all.join(", "))
    }
}

/// Edits fields both ways.
pub struct Edit {
    pub request: Edits,
    pub response: Edits,
}

impl Policy for Edit {
    fn kind(&self) -> &'static str {
        "headers"
    }

    fn stage(&self) -> Stage {
        Stage::Shape
    }

    fn describe(&self) -> String {
        let sides = [("request", &self.request), ("response", &self.response)];
        let sides = sides.iter().filter(|(_, edits)| !edits.is_empty());
        sides.map(|(side, edits)| format!("{side}: {edits}")).collect::<Vec<_>>().join("; ")
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        self.request.apply(exchange, &mut request.fields);
        Ok(if self.response.is_empty() { Ahead::Done } else { Ahead::Behind })
    }

    fn behind(&self, exchange: &mut Exchange, response: &mut Response) {
        self.response.apply(exchange, &mut response.fields);
    }
}
