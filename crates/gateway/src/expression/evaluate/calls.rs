//! What functions come to.

use std::borrow::Cow;
use std::net::IpAddr;

use memchr::memmem;
use transom_settings::json::Value as Json;

use super::{Found, Machine, text_of};
use crate::expression::functions::{self, Function};
use crate::expression::program::Code;
use crate::expression::value::{Trouble, Value};

impl<'a> Machine<'a> {
    pub(super) fn call(&mut self, function: Function, arguments: &'a [Code]) -> Found<'a> {
        let first = self.value(&arguments[0])?;
        Ok(match function {
            Function::Size => Value::Int(self.size(&first)? as i64),
            Function::Contains | Function::StartsWith | Function::EndsWith => {
                let (Value::Text(text), part) = (first, self.text(&arguments[1])?) else {
                    return Err(Trouble::Type);
                };
                Value::Bool(match function {
                    Function::Contains => memmem::find(&text, &part).is_some(),
                    Function::StartsWith => text.starts_with(&part),
                    _ => text.ends_with(&part),
                })
            }
            Function::LowerAscii | Function::UpperAscii => {
                let Value::Text(text) = first else { return Err(Trouble::Type) };
                let lower = function == Function::LowerAscii;
                let same = |c: &u8| match lower {
                    true => !c.is_ascii_uppercase(),
                    false => !c.is_ascii_lowercase(),
                };
                Value::Text(match text.iter().all(same) {
                    true => text,
                    false if lower => text.to_ascii_lowercase().into(),
                    false => text.to_ascii_uppercase().into(),
                })
            }
            Function::ToInt => Value::Int(match first {
                Value::Int(number) => number,
                Value::Double(number) if number.abs() < 9e18 => number as i64,
                Value::Double(_) => return Err(Trouble::Number),
                Value::Text(text) => read(&text)?,
                Value::Time(micros) => micros.div_euclid(1_000_000),
                _ => return Err(Trouble::Type),
            }),
            Function::ToDouble => Value::Double(match first {
                Value::Int(number) => number as f64,
                Value::Double(number) => number,
                Value::Text(text) => read(&text)?,
                _ => return Err(Trouble::Type),
            }),
            Function::ToText => match first {
                Value::Text(text) => Value::Text(text),
                other => Value::Text(Cow::Owned(text_of(&other)?.into_owned())),
            },
            Function::ToTime => Value::Time(match first {
                Value::Time(micros) => micros,
                Value::Int(seconds) => seconds.checked_mul(1_000_000).ok_or(Trouble::Number)?,
                Value::Text(text) => {
                    let text = std::str::from_utf8(&text).map_err(|_| Trouble::Form)?;
                    functions::time(text).ok_or(Trouble::Form)?
                }
                _ => return Err(Trouble::Type),
            }),
            Function::ToAddress => Value::Address(match first {
                Value::Address(address) => address,
                Value::Text(text) => address(&text)?,
                _ => return Err(Trouble::Type),
            }),
            Function::ContainsAddress => {
                let second = self.value(&arguments[1])?;
                return Ok(Value::Bool(self.is_in(&second, &first)?));
            }
            // has a code of its own
            Function::Clock(_) => return Err(Trouble::Type),
        })
    }

    fn size(&self, value: &Value<'_>) -> Result<usize, Trouble> {
        Ok(match value {
            Value::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => text.chars().count(),
                Err(_) => text.len(),
            },
            Value::Texts(texts) => texts.len(),
            Value::List(items) => items.len(),
            Value::Json(Json::Array(items)) => items.len(),
            Value::Json(Json::Object(map)) => map.len(),
            Value::Map(map) => self.facts.count(*map)?,
            _ => return Err(Trouble::Type),
        })
    }
}

pub(super) fn address(text: &[u8]) -> Result<IpAddr, Trouble> {
    std::str::from_utf8(text).ok().and_then(functions::address).ok_or(Trouble::Form)
}

fn read<T: std::str::FromStr>(text: &[u8]) -> Result<T, Trouble> {
    std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).ok_or(Trouble::Form)
}
