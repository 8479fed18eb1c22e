//! A program, and the definitions that it is given, with a brake at every place where data decide how much
//! is done: behind what goes through values, in each round of a fold, and at what makes much of little.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

/// Behind each of several values, whatever is done with them.
pub(super) const STEP: &str = "transom_step";
/// Behind what a round of a fold makes.
pub(super) const ROUND: &str = "transom_round";
/// Behind what a filter has made that is not written in jq.
pub(super) const MADE: &str = "transom_made";
/// Before a value becomes a text.
pub(super) const WRITTEN: &str = "transom_written";
pub(super) const PLUS: &str = "transom_plus";
/// As `PLUS`, of what comes in: nobody else has that, where it is the state of a fold.
pub(super) const MORE: &str = "transom_more";
pub(super) const TIMES: &str = "transom_times";
pub(super) const PARTED: &str = "transom_parted";
/// The variable of `a *= b`.
const BY: &str = "$transom_by";

pub(super) struct Rewriting<'n> {
    /// What is not written in jq, and makes new values.
    pub natives: &'n [&'static str],
    /// Whether folds may build: those that come with the language do not.
    pub builds: bool,
    /// Places that can add a level to a value.
    pub levels: u64,
}

impl Rewriting<'_> {
    pub(super) fn definition(&mut self, definition: &mut Def<&str>) {
        self.term(&mut definition.body);
    }

    pub(super) fn term(&mut self, term: &mut Term<&str>) {
        match term {
            Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
            Term::Recurse => behind(term, STEP),
            Term::Str(_, parts) => {
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.term(inner);
                        behind(inner, WRITTEN);
                    }
                }
            }
            Term::Arr(inner) => {
                self.levels += 1;
                inner.iter_mut().for_each(|inner| self.term(inner));
            }
            Term::Obj(entries) => {
                self.levels += 1;
                for (key, value) in entries {
                    self.term(key);
                    value.iter_mut().for_each(|value| self.term(value));
                }
            }
            Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::BinOp(left, op, right) => {
                self.term(left);
                self.term(right);
                if let BinaryOp::Pipe(Some(pattern)) = op {
                    self.pattern(pattern);
                }
                let (math, updates) = match op {
                    BinaryOp::Math(math) => (Some(*math), false),
                    BinaryOp::UpdateMath(math) => (Some(*math), true),
                    _ => (None, false),
                };
                let name = match math {
                    Some(Math::Add) => PLUS,
                    Some(Math::Mul) => TIMES,
                    Some(Math::Div) => PARTED,
                    _ => return,
                };
                let (left, right) = (std::mem::take(&mut **left), std::mem::take(&mut **right));
                *term = match (updates, &left) {
                    (true, _) => update(name, left, right),
                    (false, Term::Id) if name == PLUS => by(right, onto(name)),
                    (false, _) => Term::Call(name, vec![left, right]),
                };
            }
            Term::Fold(_, from, pattern, rest) => {
                self.term(from);
                self.pattern(pattern);
                rest.iter_mut().for_each(|each| self.term(each));
                if let Some(round) = rest.get_mut(1) {
                    behind(round, if self.builds { ROUND } else { STEP });
                }
            }
            Term::TryCatch(inner, catch) => {
                self.term(inner);
                catch.iter_mut().for_each(|catch| self.term(catch));
            }
            Term::IfThenElse(cases, other) => {
                for (condition, then) in cases {
                    self.term(condition);
                    self.term(then);
                }
                other.iter_mut().for_each(|other| self.term(other));
            }
            Term::Def(definitions, then) => {
                definitions.iter_mut().for_each(|one| self.definition(one));
                self.term(then);
            }
            Term::Call(name, arguments) => {
                let makes = self.natives.contains(name);
                arguments.iter_mut().for_each(|argument| self.term(argument));
                if makes {
                    behind(term, MADE);
                }
            }
            Term::Path(start, Path(parts)) => {
                self.term(start);
                let mut several = false;
                for (part, _) in parts {
                    self.levels += 1;
                    match part {
                        Part::Index(index) => self.term(index),
                        Part::Range(from, to) => {
                            several = true;
                            from.iter_mut().chain(to).for_each(|bound| self.term(bound));
                        }
                    }
                }
                if several {
                    behind(term, STEP);
                }
            }
        }
    }

    fn pattern(&mut self, pattern: &mut Pattern<&str>) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(parts) => parts.iter_mut().for_each(|part| self.pattern(part)),
            Pattern::Obj(entries) => {
                for (key, value) in entries {
                    self.term(key);
                    self.pattern(value);
                }
            }
        }
    }
}

/// `a` becomes `a | name`.
fn behind(term: &mut Term<&str>, name: &'static str) {
    let before = std::mem::take(term);
    let call = Term::Call(name, Vec::new());
    *term = Term::BinOp(Box::new(before), BinaryOp::Pipe(None), Box::new(call));
}

/// `a *= b` is `b as $by | a |= . * $by`.
fn update<'s>(name: &'static str, left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    by(right, Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(onto(name))))
}

/// `. * $by`.
fn onto<'s>(name: &'static str) -> Term<&'s str> {
    match name {
        PLUS => Term::Call(MORE, vec![Term::Var(BY)]),
        _ => Term::Call(name, vec![Term::Id, Term::Var(BY)]),
    }
}

/// `term as $by | then`.
fn by<'s>(term: Term<&'s str>, then: Term<&'s str>) -> Term<&'s str> {
    let bound = BinaryOp::Pipe(Some(Pattern::Var(BY)));
    Term::BinOp(Box::new(term), bound, Box::new(then))
}
