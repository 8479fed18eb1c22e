//! A program asked about one request.

use std::borrow::Cow;
use std::io::Write;

use smallvec::SmallVec;
use transom_settings::json::Value as Json;

use self::calls::address;
use super::facts::Facts;
use super::parse::Binary;
use super::program::{Code, Each, Key, Program};
use super::types::Constant;
use super::value::{Trouble, Value};

mod calls;

/// Steps that a program may take, each a part of it worked out once.
const STEPS: u32 = 10_000;

impl Program {
    /// What it comes to.
    ///
    /// # Errors
    /// Why it comes to nothing.
    pub fn evaluate<'a>(&'a self, facts: &'a Facts<'a>) -> Result<Value<'a>, Trouble> {
        Machine { facts, steps: STEPS, locals: SmallVec::new() }.value(&self.code)
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// Why it comes to nothing, or to something else.
    pub fn is_true(&self, facts: &Facts<'_>) -> Result<bool, Trouble> {
        Machine { facts, steps: STEPS, locals: SmallVec::new() }.is_true(&self.code)
    }

    /// The whole number it comes to.
    ///
    /// # Errors
    /// As [`Program::is_true`].
    pub fn amount(&self, facts: &Facts<'_>) -> Result<i64, Trouble> {
        match self.evaluate(facts)? {
            Value::Int(number) => Ok(number),
            _ => Err(Trouble::Type),
        }
    }

    /// Writes the text, the number or the address it comes to.
    ///
    /// # Errors
    /// As [`Program::is_true`].
    pub fn write(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> Result<(), Trouble> {
        out.extend_from_slice(&text_of(&self.evaluate(facts)?)?);
        Ok(())
    }

    /// The whole number it comes to whatever is asked.
    pub fn constant(&self) -> Option<i64> {
        match self.code {
            Code::Constant(Constant::Int(number)) => Some(number),
            _ => None,
        }
    }
}

struct Machine<'a> {
    facts: &'a Facts<'a>,
    steps: u32,
    /// Items that `all` and `exists` are at.
    locals: SmallVec<[Value<'a>; 2]>,
}

type Found<'a> = Result<Value<'a>, Trouble>;

impl<'a> Machine<'a> {
    fn is_true(&mut self, code: &'a Code) -> Result<bool, Trouble> {
        match code {
            Code::And(a, b) => self.decide(a, b, false),
            Code::Or(a, b) => self.decide(a, b, true),
            Code::Not(inner) => Ok(!self.is_true(inner)?),
            _ => self.value(code)?.is_true(),
        }
    }

    /// One side alone may decide, even if the other one has come to nothing, as CEL has it.
    fn decide(&mut self, a: &'a Code, b: &'a Code, by: bool) -> Result<bool, Trouble> {
        match self.is_true(a) {
            Ok(first) if first == by => Ok(by),
            Ok(_) => self.is_true(b),
            Err(trouble) => match self.is_true(b) {
                Ok(second) if second == by => Ok(by),
                _ => Err(trouble),
            },
        }
    }

    fn value(&mut self, code: &'a Code) -> Found<'a> {
        self.steps = self.steps.checked_sub(1).ok_or(Trouble::Steps)?;
        Ok(match code {
            Code::Constant(constant) => match constant {
                Constant::Null => Value::Null,
                Constant::Bool(value) => Value::Bool(*value),
                Constant::Int(number) => Value::Int(*number),
                Constant::Double(number) => Value::Double(*number),
                Constant::Text(text) => Value::text(text),
                Constant::Address(address) => Value::Address(*address),
                Constant::Block(block) => Value::Block(block),
                Constant::Duration(micros) => Value::Duration(*micros),
            },
            Code::Fact(fact) => self.facts.fact(*fact)?,
            Code::Map(map) => Value::Map(*map),
            Code::Entry(map, key) => {
                Value::Text(self.facts.entry(*map, key).ok_or(Trouble::Missing)?)
            }
            Code::EntryOf(map, name) => {
                let name = self.text(name)?;
                let name = std::str::from_utf8(&name).map_err(|_| Trouble::Missing)?;
                let found = self.facts.entry(*map, &Key::of(*map, name));
                Value::Text(found.ok_or(Trouble::Missing)?)
            }
            Code::Member(on, name) => match self.value(on)? {
                Value::Json(Json::Object(map)) => {
                    Value::of_json(map.get(&**name).ok_or(Trouble::Missing)?)
                }
                Value::Null => return Err(Trouble::Missing),
                _ => return Err(Trouble::Type),
            },
            Code::Index(on, index) => self.index(on, index)?,
            Code::List(items) => Value::List(items),
            Code::Local(at) => self.locals[*at].clone(),
            Code::And(..) | Code::Or(..) | Code::Not(_) => Value::Bool(self.is_true(code)?),
            Code::Negative(inner) => match self.value(inner)? {
                Value::Int(number) => Value::Int(number.checked_neg().ok_or(Trouble::Number)?),
                Value::Double(number) => Value::Double(-number),
                _ => return Err(Trouble::Type),
            },
            Code::If(parts) => {
                let [test, yes, no] = &**parts;
                let chosen = if self.is_true(test)? { yes } else { no };
                self.value(chosen)?
            }
            Code::Binary(operator, a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                self.binary(*operator, a, b)?
            }
            Code::Has(inner) => match self.value(inner) {
                Ok(value) => Value::Bool(!matches!(value, Value::Null)),
                Err(Trouble::Missing) => Value::Bool(false),
                Err(trouble) => return Err(trouble),
            },
            Code::Call(function, arguments) => self.call(*function, arguments)?,
            Code::Clock(clock, time, zone) => match self.value(time)? {
                Value::Time(micros) => Value::Int(clock.of(micros, zone).ok_or(Trouble::Number)?),
                _ => return Err(Trouble::Type),
            },
            Code::Matches(on, regex) => Value::Bool(regex.is_match(&self.text(on)?)),
            Code::Each(each, items, body) => Value::Bool(self.each(*each, items, body)?),
        })
    }

    fn text(&mut self, code: &'a Code) -> Result<Cow<'a, [u8]>, Trouble> {
        match self.value(code)? {
            Value::Text(text) => Ok(text),
            _ => Err(Trouble::Type),
        }
    }

    fn index(&mut self, on: &'a Code, index: &'a Code) -> Found<'a> {
        let (on, index) = (self.value(on)?, self.value(index)?);
        let place = match index {
            Value::Int(place) => usize::try_from(place).map_err(|_| Trouble::Missing),
            _ => Err(Trouble::Type),
        };
        match (on, index) {
            (Value::Json(Json::Object(map)), Value::Text(name)) => {
                let name = std::str::from_utf8(&name).map_err(|_| Trouble::Missing)?;
                map.get(name).map(Value::of_json).ok_or(Trouble::Missing)
            }
            (list, _) => self.item(&list, place?)?.ok_or(Trouble::Missing),
        }
    }

    /// The item of a list at this place, if there are so many.
    fn item(&mut self, list: &Value<'a>, place: usize) -> Result<Option<Value<'a>>, Trouble> {
        match list {
            Value::Texts(texts) => Ok(texts.get(place).map(|text| Value::text(text))),
            Value::Json(Json::Array(items)) => Ok(items.get(place).map(Value::of_json)),
            Value::List(items) => {
                let items: &'a [Code] = items;
                items.get(place).map(|item| self.value(item)).transpose()
            }
            _ => Err(Trouble::Type),
        }
    }

    fn each(&mut self, each: Each, items: &'a Code, body: &'a Code) -> Result<bool, Trouble> {
        let items = self.value(items)?;
        let (mut passed, mut trouble) = (0, None);
        let mut place = 0;
        while let Some(item) = self.item(&items, place)? {
            self.steps = self.steps.checked_sub(1).ok_or(Trouble::Steps)?;
            place += 1;
            self.locals.push(item);
            let found = self.is_true(body);
            self.locals.pop();
            match (each, found) {
                (Each::All, Ok(false)) => return Ok(false),
                (Each::Some, Ok(true)) => return Ok(true),
                (_, Ok(found)) => passed += usize::from(found),
                (_, Err(found)) => trouble = Some(found),
            }
        }
        match (each, trouble) {
            (_, Some(trouble)) => Err(trouble),
            (Each::All, None) => Ok(true),
            (Each::Some, None) => Ok(false),
            (Each::One, None) => Ok(passed == 1),
        }
    }

    fn binary(&mut self, operator: Binary, a: Value<'a>, b: Value<'a>) -> Found<'a> {
        let order = || a.order(&b).ok_or(Trouble::Type);
        Ok(Value::Bool(match operator {
            Binary::Equal => a.equals(&b),
            Binary::Unequal => !a.equals(&b),
            Binary::Less => order()?.is_lt(),
            Binary::LessOrEqual => order()?.is_le(),
            Binary::More => order()?.is_gt(),
            Binary::MoreOrEqual => order()?.is_ge(),
            Binary::In => self.is_in(&a, &b)?,
            _ => return sum(operator, a, b),
        }))
    }

    fn is_in(&mut self, a: &Value<'a>, b: &Value<'a>) -> Result<bool, Trouble> {
        match (a, b) {
            (Value::Text(name), Value::Map(map)) => {
                let name = std::str::from_utf8(name).map_err(|_| Trouble::Form)?;
                Ok(self.facts.entry(*map, &Key::of(*map, name)).is_some())
            }
            (Value::Text(name), Value::Json(Json::Object(map))) => {
                Ok(std::str::from_utf8(name).is_ok_and(|name| map.contains_key(name)))
            }
            (Value::Address(address), Value::Block(block)) => Ok(block.contains(address)),
            (Value::Text(text), Value::Block(block)) => Ok(block.contains(&address(text)?)),
            _ => {
                let mut place = 0;
                while let Some(item) = self.item(b, place)? {
                    self.steps = self.steps.checked_sub(1).ok_or(Trouble::Steps)?;
                    place += 1;
                    if a.equals(&item) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn text_of<'v>(value: &'v Value<'_>) -> Result<Cow<'v, [u8]>, Trouble> {
    let mut out = Vec::new();
    // Writing into memory cannot fail.
    let _ = match value {
        Value::Text(text) => return Ok(Cow::Borrowed(text)),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Int(number) => write!(out, "{number}"),
        Value::Double(number) => write!(out, "{number}"),
        Value::Address(address) => write!(out, "{address}"),
        _ => return Err(Trouble::Type),
    };
    Ok(Cow::Owned(out))
}

fn sum<'a>(operator: Binary, a: Value<'a>, b: Value<'a>) -> Found<'a> {
    let whole = |a: i64, b: i64| {
        match operator {
            Binary::Plus => a.checked_add(b),
            Binary::Minus => a.checked_sub(b),
            Binary::Times => a.checked_mul(b),
            Binary::Divide => a.checked_div(b),
            _ => a.checked_rem(b),
        }
        .ok_or(Trouble::Number)
    };
    let broken = |a: f64, b: f64| match operator {
        Binary::Plus => Ok(a + b),
        Binary::Minus => Ok(a - b),
        Binary::Times => Ok(a * b),
        Binary::Divide => Ok(a / b),
        _ => Err(Trouble::Type),
    };
    Ok(match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Int(whole(a, b)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(broken(a, b)?),
        (Value::Int(a), Value::Double(b)) => Value::Double(broken(a as f64, b)?),
        (Value::Double(a), Value::Int(b)) => Value::Double(broken(a, b as f64)?),
        (Value::Text(a), Value::Text(b)) if operator == Binary::Plus => {
            Value::Text(Cow::Owned([a, b].concat()))
        }
        (Value::Time(a), Value::Duration(b)) => Value::Time(whole(a, b)?),
        (Value::Duration(a), Value::Time(b)) if operator == Binary::Plus => {
            Value::Time(whole(a, b)?)
        }
        (Value::Time(a), Value::Time(b)) if operator == Binary::Minus => {
            Value::Duration(whole(a, b)?)
        }
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(whole(a, b)?),
        _ => return Err(Trouble::Type),
    })
}

#[cfg(test)]
mod tests;
