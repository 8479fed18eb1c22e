//! Conditions, keys and costs as expressions over a request: the grammar of CEL
//! (the Common Expression Language), taken apart and checked when the configuration is read.
//!
//! ```text
//! text ─ lexer ─▶ tokens ─ parse ─▶ tree with places ─ check ─▶ Program, or what is wrong and where
//! Program + Facts (one request) ─ evaluate ─▶ Value, or Trouble
//! ```
//!
//! What the names stand for is in [`names`]. Nothing is allocated to compare, to look for a part of a
//! text, for a block of addresses or a pattern; nothing loops but `exists` and `all` over lists, and
//! a program has a number of steps that it may take.

mod asked;
mod check;
mod evaluate;
mod facts;
mod functions;
mod lexer;
pub mod names;
mod parse;
mod program;
mod types;
mod value;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use transom_settings::json::{Value as Json, json};
use transom_settings::{Context, Definitions, Node, Setting, Span};

pub use asked::GraphQlAsked;
pub use check::compile;
pub use facts::Facts;
pub use program::Program;
pub use types::Type;
pub use value::{Trouble, Value};

/// What is wrong with an expression, and which bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub from: usize,
    pub to: usize,
    pub what: String,
    pub hint: String,
}

/// What an expression has to come to.
pub trait Wanted: Copy + fmt::Debug + PartialEq + Send + Sync + 'static {
    const TYPE: Type;
    const EXAMPLE: &'static str;
}

/// True or false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition;

impl Wanted for Condition {
    const TYPE: Type = Type::Bool;
    const EXAMPLE: &'static str = "identity.claims.sub == path.id";
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount;

impl Wanted for Amount {
    const TYPE: Type = Type::Int;
    const EXAMPLE: &'static str = "request.method == \"POST\" ? 5 : 1";
}

/// A text, a number or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anything;

impl Wanted for Anything {
    const TYPE: Type = Type::Any;
    const EXAMPLE: &'static str = "identity.claims.tenant";
}

/// An expression of the configuration.
#[derive(Clone, Debug)]
pub struct Expression<W> {
    text: String,
    program: Arc<Program>,
    wanted: PhantomData<W>,
}

impl<W: Wanted> Expression<W> {
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(text: &str) -> Result<Self, Wrong> {
        let program = Arc::new(compile(text, &W::TYPE)?);
        Ok(Expression { text: text.to_owned(), program, wanted: PhantomData })
    }

    /// One that stands in the code.
    pub fn known(text: &'static str) -> Self {
        Self::new(text).expect("the tests have read it")
    }

    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<W> PartialEq for Expression<W> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<W: Wanted> Setting for Expression<W> {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        let expected = format!("an expression such as `{}`", W::EXAMPLE);
        let scalar = at.scalar(node, &expected)?;
        match Self::new(&scalar.text) {
            Ok(expression) => Some(expression),
            Err(_) if scalar.hidden.is_some() => {
                let what = format!("expected {expected}, which `{}` does not hold", scalar.shown());
                let finding = at.error(node.span, what);
                at.push(finding);
                None
            }
            Err(wrong) => {
                let place = inside(node.span, &scalar.text, scalar.quoted, &wrong);
                let finding = at.error(place, wrong.what).hint(wrong.hint);
                at.push(finding);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": ["string", "number", "boolean"], "examples": [W::EXAMPLE] })
    }

    fn to_json(&self) -> Json {
        self.text.clone().into()
    }
}

/// The place in the file of a part of a text, where the text stands there as it is: plain, or in quotes
/// without escapes, on one line. Otherwise that of the whole.
fn inside(span: Span, text: &str, quoted: bool, wrong: &Wrong) -> Span {
    let before = usize::from(quoted);
    let same = (span.end - span.start) as usize == text.len() + 2 * before;
    if !same || text.contains('\n') || !text.is_char_boundary(wrong.from) {
        return span;
    }
    let start = span.start + (before + wrong.from) as u32;
    let letters = text[..wrong.from].chars().count() + before;
    let length = wrong.to.saturating_sub(wrong.from).max(1) as u32;
    let column = span.column + letters as u32;
    Span { start, end: (start + length).min(span.end), column, ..span }
}

#[cfg(test)]
mod tests {
    use transom_settings::{Diagnostics, parse};

    use super::*;

    #[test]
    fn what_is_wrong_is_shown_where_it_stands_in_the_file() {
        for (text, expected) in [
            ("request.path == 1", "f:1:1: comparing a text with a whole number"),
            ("'request.paht == \"a\"'", "f:1:10: `request` has no `paht`"),
            ("\"request.method = 'GET'\"", "f:1:17: a single `=` means nothing"),
            ("|\n  request.path\n  == 7", "comparing a text with a whole number"),
            ("request.path", "f:1:1: expected true or false, but this is a text"),
        ] {
            let mut findings = Diagnostics::new();
            let file = findings.add_file("f", text);
            let node = parse(file, text, &mut findings).unwrap();
            let found = Expression::<Condition>::decode(&node, &mut Context::new(&mut findings));
            assert!(found.is_none());
            let rendered = findings.render();
            assert!(rendered.contains(expected), "{text}:\n{rendered}");
        }
    }
}
