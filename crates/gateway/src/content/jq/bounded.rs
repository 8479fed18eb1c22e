//! Words of jq's language that make much of little, made anew with a bound: a short body must not become
//! a text that fills the memory, nor a value so deep that whoever walks it goes through its stack.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};
use jaq_core::{Cv, Error, Exn, ValXs};
use jaq_json::{Num, Val, read};

use super::Data;

/// What `a * b` becomes.
pub(super) const TIMES: &str = "transom_times";
/// The variable of `a *= b`.
const BY: &str = "$transom_by";

/// Numbers that `range` counts at most.
pub(super) const LONGEST_RANGE: usize = 100_000;
/// The longest text that a text times a number becomes, in bytes.
const LONGEST_TEXT: usize = 10 << 20;
/// How deep what is read by `fromjson` may be.
const DEEPEST: usize = 100;

fn failed<'a>(why: String) -> Exn<'a, Val> {
    Exn::from(Error::new(Val::from(why)))
}

/// `range` that comes to an end.
pub(super) fn range(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
    let zero = Val::from(0isize);
    let (mut next, mut left) = (from, LONGEST_RANGE);
    Box::new(std::iter::from_fn(move || {
        let more = match by.cmp(&zero) {
            std::cmp::Ordering::Greater => next < to,
            std::cmp::Ordering::Less => next > to,
            std::cmp::Ordering::Equal => next != to,
        };
        left = left.checked_sub(1).filter(|_| more)?;
        if left == 0 {
            return Some(Err(failed(format!("range counts more than {LONGEST_RANGE}"))));
        }
        match next.clone() + by.clone() {
            Ok(sum) => Some(Ok(std::mem::replace(&mut next, sum))),
            Err(error) => {
                left = 0;
                Some(Err(Exn::from(error)))
            }
        }
    }))
}

/// A product; a text times a number is that text so often, and not longer than may be.
pub(super) fn times(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let (by, what) = (cv.0.pop_var(), cv.0.pop_var());
    let length = match (&what, &by) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(number))
        | (Val::Num(number), Val::TStr(text) | Val::BStr(text)) => match number {
            Num::Int(often) => text.len().saturating_mul(usize::try_from(*often).unwrap_or(0)),
            Num::BigInt(_) => usize::MAX,
            Num::Float(_) | Num::Dec(_) => 0,
        },
        _ => 0,
    };
    let product = match length > LONGEST_TEXT {
        true => Err(failed(format!("a product is a text of more than {LONGEST_TEXT} bytes"))),
        false => (what * by).map_err(Exn::from),
    };
    Box::new(std::iter::once(product))
}

/// `fromjson` of what is not too deep.
pub(super) fn from_json(cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let read: Vec<Result<Val, Exn<'_, Val>>> = match &cv.1 {
        Val::TStr(text) if is_deep(text) => {
            vec![Err(failed(format!("the JSON is nested deeper than {DEEPEST}")))]
        }
        Val::TStr(text) => {
            let values = read::parse_many(text);
            values
                .map(|value| value.map_err(|why| failed(format!("it is no JSON: {why}"))))
                .collect()
        }
        _ => vec![Err(failed("only a text is read as JSON".to_owned()))],
    };
    Box::new(read.into_iter())
}

/// Whether a text may be JSON that is too deep: what opens counts wherever it stands, what closes only
/// where it is neither in a text nor in a remark.
fn is_deep(text: &[u8]) -> bool {
    let (mut deep, mut in_text) = (0_usize, false);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => deep += 1,
            b'"' => in_text = !in_text,
            b'\\' if in_text => drop(bytes.next()),
            b']' | b'}' if !in_text => deep = deep.saturating_sub(1),
            b'#' if !in_text => drop(bytes.find(|byte| **byte == b'\n')),
            _ => {}
        }
        if deep > DEEPEST {
            return true;
        }
    }
    false
}

/// The program with every `*` and `*=` in it made one of ours.
pub(super) fn with_products(term: &mut Term<&str>) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(term) = part {
                    with_products(term);
                }
            }
        }
        Term::Arr(inner) => inner.iter_mut().for_each(|inner| with_products(inner)),
        Term::Obj(entries) => {
            for (key, value) in entries {
                with_products(key);
                value.iter_mut().for_each(with_products);
            }
        }
        Term::Neg(inner) | Term::Label(_, inner) => with_products(inner),
        Term::BinOp(left, op, right) => {
            with_products(left);
            with_products(right);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                in_pattern(pattern);
            }
            let (multiplies, updates) = match op {
                BinaryOp::Math(Math::Mul) => (true, false),
                BinaryOp::UpdateMath(Math::Mul) => (true, true),
                _ => (false, false),
            };
            if multiplies {
                let (left, right) = (std::mem::take(&mut **left), std::mem::take(&mut **right));
                *term = if updates { update(left, right) } else { product(left, right) };
            }
        }
        Term::Fold(_, from, pattern, rest) => {
            with_products(from);
            in_pattern(pattern);
            rest.iter_mut().for_each(with_products);
        }
        Term::TryCatch(inner, catch) => {
            with_products(inner);
            catch.iter_mut().for_each(|catch| with_products(catch));
        }
        Term::IfThenElse(cases, other) => {
            for (condition, then) in cases {
                with_products(condition);
                with_products(then);
            }
            other.iter_mut().for_each(|other| with_products(other));
        }
        Term::Def(definitions, then) => {
            definitions.iter_mut().for_each(|Def { body, .. }| with_products(body));
            with_products(then);
        }
        Term::Call(_, arguments) => arguments.iter_mut().for_each(with_products),
        Term::Path(start, Path(parts)) => {
            with_products(start);
            for (part, _) in parts {
                match part {
                    Part::Index(index) => with_products(index),
                    Part::Range(from, to) => from.iter_mut().chain(to).for_each(with_products),
                }
            }
        }
    }
}

fn product<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::Call(TIMES, vec![left, right])
}

/// `a *= b` is `b as $by | a |= . * $by`.
fn update<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    let each = product(Term::Id, Term::Var(BY));
    let updated = Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(each));
    let by = BinaryOp::Pipe(Some(Pattern::Var(BY)));
    Term::BinOp(Box::new(right), by, Box::new(updated))
}

fn in_pattern(pattern: &mut Pattern<&str>) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(parts) => parts.iter_mut().for_each(in_pattern),
        Pattern::Obj(entries) => {
            for (key, value) in entries {
                with_products(key);
                in_pattern(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_22_depth_is_never_counted_too_small() {
        let deep = "[".repeat(DEEPEST + 1);
        for (text, is) in [
            ("[]".repeat(1000), false),
            (r#""]]""#.repeat(10), false),
            (deep.clone(), true),
            (format!("\"]\\\"]]]\"{deep}"), true),
            (format!("{}#]]]]]\n{}", "[".repeat(60), "[".repeat(60)), true),
            (format!("{}\"]]]]]\"{}", "[".repeat(60), ",[".repeat(60)), true),
            (r#"{"a":"#.repeat(DEEPEST + 1), true),
        ] {
            assert_eq!(is_deep(text.as_bytes()), is, "{text}");
        }
    }
}
