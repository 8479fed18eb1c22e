//! Whether a program could run without end.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Part, Path};

/// Words that repeat, read further input or end the program.
const REFUSED: [&str; 14] = [
    "debug",
    "env",
    "halt",
    "halt_error",
    "input",
    "input_filename",
    "inputs",
    "recurse",
    "repeat",
    "repl",
    "stderr",
    "until",
    "while",
    "combinations",
];

/// # Errors
/// What it may not do.
pub(super) fn check(term: &Term<&str>) -> Result<(), String> {
    Walk { inside: vec![(super::PROGRAM, 0)] }.term(term)
}

/// With the definitions that are being walked.
struct Walk<'s> {
    inside: Vec<(&'s str, usize)>,
}

impl<'s> Walk<'s> {
    fn term(&mut self, term: &Term<&'s str>) -> Result<(), String> {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) => Ok(()),
            Term::Var(name) if *name == "$ENV" => Err("`$ENV` is not told".to_owned()),
            Term::Var(_) => Ok(()),
            Term::Str(_, parts) => parts.iter().try_for_each(|part| match part {
                StrPart::Term(term) => self.term(term),
                _ => Ok(()),
            }),
            Term::Arr(inner) => inner.iter().try_for_each(|inner| self.term(inner)),
            Term::Obj(entries) => entries.iter().try_for_each(|(key, value)| {
                self.term(key)?;
                value.iter().try_for_each(|value| self.term(value))
            }),
            Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::BinOp(left, op, right) => {
                self.term(left)?;
                if let BinaryOp::Pipe(Some(pattern)) = op {
                    self.pattern(pattern)?;
                }
                self.term(right)
            }
            Term::Fold(_, from, pattern, rest) => {
                self.term(from)?;
                self.pattern(pattern)?;
                rest.iter().try_for_each(|term| self.term(term))
            }
            Term::TryCatch(inner, catch) => {
                self.term(inner)?;
                catch.iter().try_for_each(|catch| self.term(catch))
            }
            Term::IfThenElse(cases, other) => {
                for (condition, then) in cases {
                    self.term(condition)?;
                    self.term(then)?;
                }
                other.iter().try_for_each(|other| self.term(other))
            }
            Term::Def(definitions, then) => {
                definitions.iter().try_for_each(|one| self.definition(one))?;
                self.term(then)
            }
            Term::Call(name, arguments) => {
                if self.inside.contains(&(name, arguments.len())) {
                    return Err(format!("`{name}` calls itself, which need not end"));
                }
                if REFUSED.contains(name) && !(*name == "recurse" && arguments.is_empty()) {
                    return Err(format!("`{name}` is not taken, it need not end"));
                }
                arguments.iter().try_for_each(|argument| self.term(argument))
            }
            Term::Path(start, Path(parts)) => {
                self.term(start)?;
                parts.iter().try_for_each(|(part, _)| match part {
                    Part::Index(index) => self.term(index),
                    Part::Range(from, to) => {
                        from.iter().chain(to).try_for_each(|bound| self.term(bound))
                    }
                })
            }
        }
    }

    fn definition(&mut self, definition: &Def<&'s str>) -> Result<(), String> {
        self.inside.push((definition.name, definition.args.len()));
        let body = self.term(&definition.body);
        self.inside.pop();
        body
    }

    fn pattern(&mut self, pattern: &Pattern<&'s str>) -> Result<(), String> {
        match pattern {
            Pattern::Var(_) => Ok(()),
            Pattern::Arr(parts) => parts.iter().try_for_each(|part| self.pattern(part)),
            Pattern::Obj(entries) => entries.iter().try_for_each(|(key, value)| {
                self.term(key)?;
                self.pattern(value)
            }),
        }
    }
}
