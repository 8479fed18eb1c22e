//! From a tree to a program: every name is found, every type fits, whatever is known is worked out.

use transom_settings::{closest, list, quote};

use self::calls::call;
use super::Wrong;
use super::functions;
use super::names::{self, Meaning};
use super::parse::{Binary, Kind, Part, parse};
use super::program::{Code, Key, Program};
use super::types::{Constant, Type};

mod calls;

/// Takes a text apart and checks it.
///
/// # Errors
/// The first thing that is wrong with it, and where.
pub fn compile(text: &str, wanted: &Type) -> Result<Program, Wrong> {
    let part = parse(text)?;
    let mut scope = Vec::new();
    let (code, kind) = check(&part, &mut scope)?;
    if !kind.fits(*wanted) {
        let what = format!("expected {wanted}, but this is {kind}");
        return Err(wrong(&part, what, "compare it with something, or convert it"));
    }
    Ok(Program { code })
}

type Checked = Result<(Code, Type), Wrong>;

fn wrong(part: &Part, what: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong { from: part.from, to: part.to, what: what.into(), hint: hint.into() }
}

/// `scope` has the names that `all` and `exists` have given, and their types.
fn check(part: &Part, scope: &mut Vec<(String, Type)>) -> Checked {
    let constant = |constant, kind| Ok((Code::Constant(constant), kind));
    match &part.kind {
        Kind::Null => constant(Constant::Null, Type::Null),
        Kind::Bool(value) => constant(Constant::Bool(*value), Type::Bool),
        Kind::Int(value) => constant(Constant::Int(*value), Type::Int),
        Kind::Double(value) => constant(Constant::Double(*value), Type::Double),
        Kind::Text(text) => constant(Constant::Text((**text).into()), Type::Text),
        Kind::Name(name) => named(part, name, scope),
        Kind::List(items) => {
            let mut codes = Vec::new();
            let mut kind = None;
            for item in items {
                let (code, its) = check(item, scope)?;
                kind = Some(kind.map_or(its, |known| if known == its { known } else { Type::Any }));
                codes.push(code);
            }
            Ok((Code::List(codes.into()), kind.unwrap_or(Type::Any).list()))
        }
        Kind::Member(on, name) => member(part, on, name, scope),
        Kind::Index(on, index) => indexed(part, on, index, scope),
        Kind::Call { on, name, arguments } => call(part, on.as_deref(), name, arguments, scope),
        Kind::Not(inner) => {
            let code = condition(inner, scope)?;
            Ok((Code::Not(Box::new(code)), Type::Bool))
        }
        Kind::Negative(inner) => {
            let (code, kind) = check(inner, scope)?;
            if !matches!(kind, Type::Int | Type::Double | Type::Any) {
                return Err(wrong(inner, format!("{kind} has no negative"), "take a number"));
            }
            Ok((Code::Negative(Box::new(code)), kind))
        }
        Kind::Binary(operator, left, right) => binary(part, *operator, left, right, scope),
        Kind::If(test, yes, no) => {
            let test = condition(test, scope)?;
            let (yes, first) = check(yes, scope)?;
            let (no, second) = check(no, scope)?;
            let kind = if first == second { first } else { Type::Any };
            if !first.fits(second) {
                let what = format!("it is {first} or {second}");
                return Err(wrong(part, what, "both sides of `:` must be of one type"));
            }
            Ok((Code::If(Box::new([test, yes, no])), kind))
        }
    }
}

fn condition(part: &Part, scope: &mut Vec<(String, Type)>) -> Result<Code, Wrong> {
    match check(part, scope)? {
        (code, kind) if kind.fits(Type::Bool) => Ok(code),
        (_, kind) => {
            let hint = "compare it with something, such as `== \"x\"`";
            Err(wrong(part, format!("expected true or false, but this is {kind}"), hint))
        }
    }
}

fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match closest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean {}?", quote(meant)),
        None => format!("there is {}", list(known, "and")),
    }
}

fn of(meaning: Meaning) -> (Code, Type) {
    match meaning {
        Meaning::Fact(fact, kind) => (Code::Fact(fact), kind),
        Meaning::Map(map) => (Code::Map(map), Type::Map),
    }
}

fn named(part: &Part, name: &str, scope: &[(String, Type)]) -> Checked {
    if let Some(at) = scope.iter().rposition(|(known, _)| known == name) {
        return Ok((Code::Local(at), scope[at].1));
    }
    if let Some(meaning) = names::meaning(name) {
        return Ok(of(meaning));
    }
    if names::is_root(name) {
        let members: Vec<_> = names::members(name).collect();
        let hint = format!("write what of it, such as `{name}.{}`", members[0]);
        return Err(wrong(part, format!("{} alone is no value", quote(name)), hint));
    }
    let mut known: Vec<&str> = names::roots().collect();
    known.extend(scope.iter().map(|(name, _)| &**name));
    let hint = meant(name, known.into_iter());
    Err(wrong(part, format!("there is no {}", quote(name)), hint))
}

fn member(part: &Part, on: &Part, name: &str, scope: &mut Vec<(String, Type)>) -> Checked {
    if let Kind::Name(root) = &on.kind
        && !scope.iter().any(|(known, _)| known == root)
        && names::is_root(root)
    {
        if let Some(meaning) = names::meaning(&format!("{root}.{name}")) {
            return Ok(of(meaning));
        }
        let place = Wrong { from: part.to - name.len(), ..wrong(part, "", "") };
        let what = format!("{} has no {}", quote(root), quote(name));
        return Err(Wrong { what, hint: meant(name, names::members(root)), ..place });
    }
    match check(on, scope)? {
        (Code::Map(map), _) => Ok((Code::Entry(map, Key::of(map, name)), Type::Text)),
        (code, Type::Any) => Ok((Code::Member(Box::new(code), name.into()), Type::Any)),
        (_, kind) => {
            Err(wrong(part, format!("{kind} has no {}", quote(name)), "only claims have members"))
        }
    }
}

fn indexed(part: &Part, on: &Part, index: &Part, scope: &mut Vec<(String, Type)>) -> Checked {
    let (code, kind) = check(on, scope)?;
    let (index_code, index_kind) = check(index, scope)?;
    let expect = |wanted: Type| match index_kind.fits(wanted) {
        true => Ok(()),
        false => {
            let what = format!("expected {wanted} here, but this is {index_kind}");
            Err(wrong(index, what, "lists are counted from 0, maps have names"))
        }
    };
    match (code, kind) {
        (Code::Map(map), _) => {
            expect(Type::Text)?;
            match index_code {
                Code::Constant(Constant::Text(name)) => {
                    Ok((Code::Entry(map, Key::of(map, &name)), Type::Text))
                }
                other => Ok((Code::EntryOf(map, Box::new(other)), Type::Text)),
            }
        }
        (code, Type::List(item)) => {
            expect(Type::Int)?;
            Ok((Code::Index(Box::new(code), Box::new(index_code)), *item))
        }
        (code, Type::Any) => match index_code {
            Code::Constant(Constant::Text(name)) => {
                Ok((Code::Member(Box::new(code), name), Type::Any))
            }
            other => Ok((Code::Index(Box::new(code), Box::new(other)), Type::Any)),
        },
        (_, kind) => Err(wrong(part, format!("{kind} has no items"), "only lists and maps have")),
    }
}

fn binary(
    part: &Part,
    operator: Binary,
    left: &Part,
    right: &Part,
    scope: &mut Vec<(String, Type)>,
) -> Checked {
    if matches!(operator, Binary::And | Binary::Or) {
        let (a, b) = (Box::new(condition(left, scope)?), Box::new(condition(right, scope)?));
        let code = if operator == Binary::And { Code::And(a, b) } else { Code::Or(a, b) };
        return Ok((code, Type::Bool));
    }
    let (mut a, first) = check(left, scope)?;
    let (mut b, second) = check(right, scope)?;
    let kind = match operator {
        Binary::Equal | Binary::Unequal => {
            if !first.comparable(second) {
                let what = format!("comparing {first} with {second} never gives true");
                return Err(wrong(part, what, "convert one of them, as with `string(...)`"));
            }
            if first == Type::Address {
                addressed(&mut b, right)?;
            }
            if second == Type::Address {
                addressed(&mut a, left)?;
            }
            Type::Bool
        }
        Binary::In => {
            let known = match second {
                Type::List(item) => first.comparable(*item),
                Type::Map => first.fits(Type::Text),
                Type::Block => first.fits(Type::Address) || first == Type::Text,
                Type::Any => true,
                _ => false,
            };
            if !known {
                let what = format!("{first} is never in {second}");
                let hint = "behind `in` stands a list, a map or a block of addresses";
                return Err(wrong(part, what, hint));
            }
            if first == Type::Address
                && let (Code::List(items), Kind::List(parts)) = (&mut b, &right.kind)
            {
                for (item, part) in items.iter_mut().zip(parts) {
                    addressed(item, part)?;
                }
            }
            Type::Bool
        }
        Binary::Less | Binary::LessOrEqual | Binary::More | Binary::MoreOrEqual => {
            if !first.ordered() || !second.ordered() || !first.comparable(second) {
                let what = format!("{first} is neither less nor more than {second}");
                return Err(wrong(part, what, "compare numbers, texts or times with their like"));
            }
            Type::Bool
        }
        _ => sum(operator, first, second).ok_or_else(|| {
            let what = format!("this cannot be done with {first} and {second}");
            wrong(part, what, "convert one of them, as with `int(...)` or `string(...)`")
        })?,
    };
    Ok((Code::Binary(operator, Box::new(a), Box::new(b)), kind))
}

/// What a sum, a product and the like come to.
fn sum(operator: Binary, first: Type, second: Type) -> Option<Type> {
    use Type::{Any, Double, Duration, Int, Text, Time};
    match (operator, first, second) {
        (_, Int, Int) => Some(Int),
        (Binary::Modulo, Any | Int, Any | Int) => Some(Int),
        (Binary::Modulo, ..) => None,
        (_, Double, Double) => Some(Double),
        (Binary::Plus, Text, Text) => Some(Text),
        (Binary::Plus, Time, Duration) | (Binary::Plus, Duration, Time) => Some(Time),
        (Binary::Minus, Time, Duration) => Some(Time),
        (Binary::Minus, Time, Time) => Some(Duration),
        (Binary::Plus | Binary::Minus, Duration, Duration) => Some(Duration),
        (_, Any, Any) => Some(Any),
        (_, Any, Int | Double) | (_, Int | Double, Any) => Some(Any),
        (Binary::Plus, Any, Text) | (Binary::Plus, Text, Any) => Some(Text),
        (Binary::Plus | Binary::Minus, Any, Time | Duration) => Some(Any),
        (Binary::Plus | Binary::Minus, Time | Duration, Any) => Some(Any),
        _ => None,
    }
}

/// A text that an address is compared with becomes an address or a block.
fn addressed(code: &mut Code, part: &Part) -> Result<(), Wrong> {
    let Code::Constant(Constant::Text(text)) = &*code else { return Ok(()) };
    let address = functions::address(text).map(Constant::Address);
    let constant = address.or_else(|| text.parse().ok().map(Constant::Block)).ok_or_else(|| {
        let what = format!("{} is no address", quote(text));
        wrong(part, what, "write one such as `10.0.0.1` or a block such as `10.0.0.0/8`")
    })?;
    *code = Code::Constant(constant);
    Ok(())
}
