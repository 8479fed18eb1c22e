//! Calls: of functions, and of what only looks like one.

use jiff::tz::TimeZone;
use regex::bytes::RegexBuilder;
use transom_settings::{list, quote};

use super::{Checked, check, condition, meant, wrong};
use crate::expression::Wrong;
use crate::expression::functions::{self, Clock, FUNCTIONS, Function, MAKERS, Signature};
use crate::expression::parse::{Kind, Part};
use crate::expression::program::{Code, Each};
use crate::expression::types::Type;

pub(super) fn call(
    part: &Part,
    on: Option<&Part>,
    name: &str,
    arguments: &[Part],
    scope: &mut Vec<(String, Type)>,
) -> Checked {
    match (name, on, arguments) {
        ("has", None, [inner]) => return has(inner, scope),
        ("all" | "exists" | "exists_one", Some(on), [item, body]) => {
            return each(name, on, item, body, scope);
        }
        ("matches", Some(on), [pattern]) => return matches(on, pattern, scope),
        ("matches", None, [on, pattern]) => return matches(on, pattern, scope),
        _ => {}
    }
    if MAKERS.contains(&name) {
        return made(part, on, name, arguments);
    }
    let mut codes = Vec::new();
    let mut kinds = Vec::new();
    for argument in on.into_iter().chain(arguments) {
        let (code, kind) = check(argument, scope)?;
        codes.push(code);
        kinds.push(kind);
    }
    let named: Vec<&Signature> = FUNCTIONS
        .iter()
        .filter(|known| known.name == name && known.on.is_some() == on.is_some())
        .collect();
    if named.is_empty() {
        return Err(unknown(part, on.is_some(), name));
    }
    let signature = named.iter().find(|known| {
        let takes: Vec<Type> = known.on.into_iter().chain(known.takes.iter().copied()).collect();
        takes.len() == kinds.len()
            && kinds.iter().zip(&takes).all(|(kind, wanted)| kind.fits(*wanted))
    });
    if let Some(signature) = signature {
        return Ok(match signature.function {
            Function::Clock(clock) => {
                let time = codes.remove(0);
                (Code::Clock(clock, Box::new(time), TimeZone::UTC), Type::Int)
            }
            function => (Code::Call(function, codes.into()), signature.gives),
        });
    }
    // a part of a time may name a zone
    if let (Function::Clock(clock), [time, Type::Text]) = (named[0].function, &kinds[..])
        && time.fits(Type::Time)
    {
        return zoned(clock, codes.remove(0), &arguments[0]);
    }
    Err(mismatch(part, name, &named, &kinds))
}

/// A constant that is written like a call.
fn made(part: &Part, on: Option<&Part>, name: &str, arguments: &[Part]) -> Checked {
    let ([Part { kind: Kind::Text(text), .. }], None) = (arguments, on) else {
        let what = format!("{} takes one text as it stands here", quote(name));
        return Err(wrong(part, what, format!("write `{name}(\"...\")`")));
    };
    let made = functions::made(name, text);
    let constant = made.map_err(|(what, hint)| wrong(&arguments[0], what, hint))?;
    let kind = if name == "cidr" { Type::Block } else { Type::Duration };
    Ok((Code::Constant(constant), kind))
}

/// There is no function of that name, on a value or without one.
fn unknown(part: &Part, on_value: bool, name: &str) -> Wrong {
    let known = FUNCTIONS.iter().filter(|known| known.on.is_some() == on_value);
    let others = match on_value {
        true => ["matches", "exists", "all"],
        false => ["has", "cidr", "duration"],
    };
    let mut known: Vec<_> = known.map(|known| known.name).chain(others).collect();
    known.dedup();
    let hint = meant(name, known.into_iter());
    wrong(part, format!("there is no function {}", quote(name)), hint)
}

/// None of the functions of that name takes what it is given.
fn mismatch(part: &Part, name: &str, named: &[&Signature], given: &[Type]) -> Wrong {
    let told = |types: &mut dyn Iterator<Item = &Type>| {
        types.map(ToString::to_string).collect::<Vec<_>>().join(" and ")
    };
    let takes: Vec<_> =
        named.iter().map(|known| told(&mut known.on.iter().chain(known.takes))).collect();
    let found = match given {
        [] => "nothing".to_owned(),
        given => told(&mut given.iter()),
    };
    let hint = format!("it takes {}", list(takes.iter().map(|text| &**text), "or"));
    wrong(part, format!("{} takes no such thing as {found}", quote(name)), hint)
}

fn zoned(clock: Clock, time: Code, zone: &Part) -> Checked {
    let Kind::Text(name) = &zone.kind else {
        return Err(wrong(zone, "the zone must stand here as it is", "write `\"Europe/Berlin\"`"));
    };
    let zone = TimeZone::get(name).map_err(|_| {
        wrong(zone, format!("{} is no time zone", quote(name)), "write one such as `Europe/Berlin`")
    })?;
    Ok((Code::Clock(clock, Box::new(time), zone), Type::Int))
}

fn has(inner: &Part, scope: &mut Vec<(String, Type)>) -> Checked {
    let (code, _) = check(inner, scope)?;
    match code {
        Code::Entry(..)
        | Code::EntryOf(..)
        | Code::Member(..)
        | Code::Index(..)
        | Code::Fact(_) => Ok((Code::Has(Box::new(code)), Type::Bool)),
        _ => {
            let hint = "write a name, such as `has(request.headers.authorization)`";
            Err(wrong(inner, "`has` asks for what may be missing", hint))
        }
    }
}

fn each(
    name: &str,
    on: &Part,
    item: &Part,
    body: &Part,
    scope: &mut Vec<(String, Type)>,
) -> Checked {
    let (items, kind) = check(on, scope)?;
    let kind = match kind {
        Type::List(item) => *item,
        Type::Any => Type::Any,
        _ => {
            let what = format!("{} goes over lists, but this is {kind}", quote(name));
            return Err(wrong(on, what, "take a list, such as `identity.groups`"));
        }
    };
    let Kind::Name(local) = &item.kind else {
        let hint = format!("write `{name}(g, g == \"staff\")`");
        return Err(wrong(item, "a name for each item was expected here", hint));
    };
    scope.push((local.clone(), kind));
    let body = condition(body, scope);
    scope.pop();
    let each = match name {
        "all" => Each::All,
        "exists" => Each::Some,
        _ => Each::One,
    };
    Ok((Code::Each(each, Box::new(items), Box::new(body?)), Type::Bool))
}

fn matches(on: &Part, pattern: &Part, scope: &mut Vec<(String, Type)>) -> Checked {
    let (code, kind) = check(on, scope)?;
    if !kind.fits(Type::Text) {
        return Err(wrong(on, format!("{kind} matches no pattern"), "take a text"));
    }
    let Kind::Text(text) = &pattern.kind else {
        let hint = "write it out: it is prepared when the configuration is read";
        return Err(wrong(pattern, "the pattern must stand here as it is", hint));
    };
    let regex = RegexBuilder::new(text).size_limit(1 << 20).build().map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        let what = format!("{} is not a regular expression: {reason}", quote(text));
        wrong(pattern, what, "correct the expression")
    })?;
    Ok((Code::Matches(Box::new(code), regex), Type::Bool))
}
