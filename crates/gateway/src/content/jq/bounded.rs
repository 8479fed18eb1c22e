//! Words of jq's language that make much of little, made anew with a bound: a short body must not become
//! a text that fills the memory, nor a value so deep that whoever walks it goes through its stack.

use jaq_core::native::{self, bome};
use jaq_core::{Cv, Exn, Native, RunPtr, ValXs};
use jaq_json::{Num, Rc, Val, read};

use super::bounds::{Bounds, DEEPEST, Data, failed};
use super::rewriting::{MADE, MORE, PARTED, PLUS, ROUND, STEP, TIMES, WRITTEN};

/// Numbers that `range` counts at most.
pub(super) const LONGEST_RANGE: usize = 100_000;
/// The longest text that a text times a number becomes, in bytes.
const LONGEST_TEXT: usize = 10 << 20;
/// The longest number, in bits.
const LONGEST_NUMBER: u64 = 1 << 16;
/// How deep what is read by `fromjson` may be.
const DEEPEST_JSON: usize = 100;

/// What stands in the place of filters of the same names, and is called by programs that were rewritten.
pub(super) fn filters() -> impl Iterator<Item = native::Fun<Data>> {
    let own: [native::Filter<RunPtr<Data>>; 8] = [
        ("range", native::v(3), |cv| range(cv)),
        ("fromjson", native::v(0), |cv| from_json(cv)),
        ("tojson", native::v(0), |cv| to_json(cv)),
        (PLUS, native::v(2), |cv| plus(cv)),
        (MORE, native::v(1), |cv| more(cv)),
        (TIMES, native::v(2), |cv| times(cv)),
        (PARTED, native::v(2), |cv| parted(cv)),
        (WRITTEN, native::v(0), |cv| passed(cv, Bounds::written)),
    ];
    let step = Native::new(|cv| passed(cv, |bounds, _| bounds.charge(1)));
    let round = Native::new(|cv| {
        passed(cv, |bounds, state| bounds.charge(1).and_then(|()| bounds.round(state)))
    });
    let made = Native::new(|cv| passed(cv, Bounds::made));
    let walks = [(STEP, step), (ROUND, round), (MADE, made)];
    let walks = walks.map(|(name, native)| (name, native::v(0), along_paths(native)));
    own.into_iter().map(native::run::<Data>).chain(walks)
}

/// Names of those for which this file has others.
pub(super) const ANEW: [&str; 3] = ["range", "fromjson", "tojson"];

/// The same where the way to values is asked for, or values are changed in their places.
fn along_paths(native: Native<Data>) -> Native<Data> {
    let native = native.with_paths(|cv| {
        let bounds = cv.0.data().bounds;
        let (value, path) = cv.1;
        let charged = bounds.charge(1).and_then(|()| match path.iter().nth(DEEPEST) {
            Some(_) => Err(format!("a path has more than {DEEPEST} parts")),
            None => Ok(()),
        });
        Box::new(std::iter::once(charged.map(|()| (value, path)).map_err(failed)))
    });
    native.with_update(|cv, update| {
        let bounds = cv.0.data().bounds;
        let value = cv.1;
        let begun = bounds.charge(1).and_then(|()| bounds.within(|| update(value)));
        match begun {
            Ok(inner) => Box::new(Within { bounds, inner }),
            Err(why) => Box::new(std::iter::once(Err(failed(why)))),
        }
    })
}

/// What comes of an update, each with all that is done for it.
struct Within<'a> {
    bounds: &'a Bounds,
    inner: ValXs<'a, Val>,
}

impl<'a> Iterator for Within<'a> {
    type Item = Result<Val, Exn<'a, Val>>;

    fn next(&mut self) -> Option<Self::Item> {
        let inner = &mut self.inner;
        self.bounds.within(|| inner.next()).unwrap_or_else(|why| Some(Err(failed(why))))
    }
}

/// The value itself, if it is within its bounds.
fn passed<'a>(cv: Cv<'a, Data>, look: fn(&Bounds, &Val) -> Result<(), String>) -> ValXs<'a, Val> {
    let looked = look(cv.0.data().bounds, &cv.1);
    Box::new(std::iter::once(looked.map(|()| cv.1).map_err(failed)))
}

/// `range` that comes to an end.
fn range(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let bounds = cv.0.data().bounds;
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
        if let Err(why) = bounds.charge(1) {
            left = 0;
            return Some(Err(failed(why)));
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

/// `a + b`.
fn plus(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let (more, what) = (cv.0.pop_var(), cv.0.pop_var());
    sum(cv.0.data().bounds, what, more)
}

/// `. + a`.
fn more(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let more = cv.0.pop_var();
    sum(cv.0.data().bounds, cv.1, more)
}

/// A sum. What stands on the left becomes it where nobody else has it, and is copied otherwise.
fn sum<'a>(bounds: &Bounds, what: Val, more: Val) -> ValXs<'a, Val> {
    let copied = match &what {
        Val::TStr(text) | Val::BStr(text) => !text.is_unique(),
        Val::Arr(list) => Rc::strong_count(list) > 1,
        Val::Obj(map) => Rc::strong_count(map) > 1,
        _ => false,
    };
    let charged = if copied { bounds.copied(&what) } else { Ok(()) };
    match charged.and_then(|()| bounds.made(&more)) {
        Ok(()) => bome(what + more),
        Err(why) => Box::new(std::iter::once(Err(failed(why)))),
    }
}

/// A product; a text times a number is that text so often, and not longer than may be.
fn times(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let (by, what) = (cv.0.pop_var(), cv.0.pop_var());
    let bounds = cv.0.data().bounds;
    let fits = match (&what, &by) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(number))
        | (Val::Num(number), Val::TStr(text) | Val::BStr(text)) => {
            let length = match number {
                Num::Int(often) => text.len().saturating_mul(usize::try_from(*often).unwrap_or(0)),
                Num::BigInt(_) => usize::MAX,
                Num::Float(_) | Num::Dec(_) => 0,
            };
            match length > LONGEST_TEXT {
                true => Err(format!("a product is a text of more than {LONGEST_TEXT} bytes")),
                false => Ok(()),
            }
        }
        (Val::Num(one), Val::Num(other)) if bits(one) + bits(other) > LONGEST_NUMBER => {
            Err("a product is a number without end".to_owned())
        }
        (Val::Obj(_), Val::Obj(_)) => bounds.written(&what).and_then(|()| bounds.written(&by)),
        _ => Ok(()),
    };
    let product = fits.map_err(failed).and_then(|()| (what * by).map_err(Exn::from));
    let made = product.and_then(|product| match bounds.made(&product) {
        Ok(()) => Ok(product),
        Err(why) => Err(failed(why)),
    });
    Box::new(std::iter::once(made))
}

fn bits(number: &Num) -> u64 {
    match number {
        Num::BigInt(number) => number.bits(),
        _ => 64,
    }
}

/// A quotient; a text by a text is its pieces.
fn parted(mut cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let (by, what) = (cv.0.pop_var(), cv.0.pop_var());
    let bounds = cv.0.data().bounds;
    let parts = (what / by).map_err(Exn::from);
    let made = parts.and_then(|parts| match bounds.made(&parts) {
        Ok(()) => Ok(parts),
        Err(why) => Err(failed(why)),
    });
    Box::new(std::iter::once(made))
}

/// `tojson` of what is not too much.
fn to_json(cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let fits = cv.0.data().bounds.written(&cv.1);
    let text = fits.map(|()| Val::from(cv.1.to_string()));
    Box::new(std::iter::once(text.map_err(failed)))
}

/// `fromjson` of what is not too deep.
fn from_json(cv: Cv<'_, Data>) -> ValXs<'_, Val> {
    let bounds = cv.0.data().bounds;
    let read: Vec<Result<Val, Exn<'_, Val>>> = match &cv.1 {
        Val::TStr(text) if is_deep(text) => {
            vec![Err(failed(format!("the JSON is nested deeper than {DEEPEST_JSON}")))]
        }
        Val::TStr(text) => match bounds.charge(text.len() as u64) {
            Err(why) => vec![Err(failed(why))],
            Ok(()) => {
                let values = read::parse_many(text);
                values
                    .map(|value| value.map_err(|why| failed(format!("it is no JSON: {why}"))))
                    .collect()
            }
        },
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
        if deep > DEEPEST_JSON {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_22_depth_is_never_counted_too_small() {
        let deep = "[".repeat(DEEPEST_JSON + 1);
        for (text, is) in [
            ("[]".repeat(1000), false),
            (r#""]]""#.repeat(10), false),
            (deep.clone(), true),
            (format!("\"]\\\"]]]\"{deep}"), true),
            (format!("{}#]]]]]\n{}", "[".repeat(60), "[".repeat(60)), true),
            (format!("{}\"]]]]]\"{}", "[".repeat(60), ",[".repeat(60)), true),
            (r#"{"a":"#.repeat(DEEPEST_JSON + 1), true),
        ] {
            assert_eq!(is_deep(text.as_bytes()), is, "{text}");
        }
    }
}
