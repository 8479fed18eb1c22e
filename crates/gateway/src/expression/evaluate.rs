//! A program asked about one request.

use std::borrow::Cow;
use std::io::Write;

use memchr::memmem;
use smallvec::SmallVec;
use transom_settings::json::Value as Json;

use super::check::{Code, Constant, Each, Key, Program};
use super::facts::Facts;
use super::functions::{self, Function};
use super::parse::Binary;
use super::value::{Trouble, Value};

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

    fn call(&mut self, function: Function, arguments: &'a [Code]) -> Found<'a> {
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

fn address(text: &[u8]) -> Result<std::net::IpAddr, Trouble> {
    std::str::from_utf8(text).ok().and_then(functions::address).ok_or(Trouble::Form)
}

fn read<T: std::str::FromStr>(text: &[u8]) -> Result<T, Trouble> {
    std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).ok_or(Trouble::Form)
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
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use transom_net::Worker;
    use transom_proxy::body::Body;
    use transom_proxy::exchange::{Exchange, Identity};
    use transom_proxy::local::Local;
    use transom_proxy::message::{Method, Request};
    use transom_settings::json::json;

    use super::*;
    use crate::expression::{Type, compile};

    fn asked() -> (Exchange, Request) {
        let mut exchange = Exchange::alone(&Rc::new(Local::new(Worker::new(0))));
        exchange.client = "10.1.2.3".parse().unwrap();
        exchange.identity = Some(std::sync::Arc::new(Identity {
            name: "ada".into(),
            groups: vec!["staff".into(), "night".into()],
            scopes: vec!["orders:read".into()],
            plan: None,
            is_consumer: false,
            by: "jwt",
            until: None,
            claims: Some(Arc::new(json!({
                "sub": "ada", "age": 42, "share": 1.5, "admin": false, "nothing": null,
                "roles": ["a", "b"], "org": { "id": 7, "tags": [] }, "exp": 1_800_000_000,
            }))),
        }));
        let mut request = Request::new(Method::Post, "shop.example:8443", "/api/orders");
        request.query = Some("a=1&b=x%20y".into());
        request.body = Body::of("12345");
        for (name, value) in
            [("X", "y"), ("Accept", "a"), ("accept", "b"), ("Cookie", "sid=7; t=1")]
        {
            request.fields.append(name, value.as_bytes());
        }
        (exchange, request)
    }

    fn evaluate(text: &str) -> Result<String, String> {
        let program = compile(text, &Type::Any).map_err(|wrong| wrong.what)?;
        let (exchange, request) = asked();
        // a Sunday evening
        let facts =
            Facts::new(&exchange, &request).at(UNIX_EPOCH + Duration::from_secs(1_795_386_600));
        let value = program.evaluate(&facts).map_err(|trouble| format!("{trouble:?}"))?;
        Ok(String::from_utf8(text_of(&value).map_err(|_| format!("{value:?}"))?.into_owned())
            .unwrap())
    }

    #[test]
    fn gw_13_what_expressions_come_to() {
        for (text, expected) in [
            ("request.path.startsWith(\"/api\") && request.headers[\"x\"] == \"y\"", "true"),
            ("request.method == 'POST' ? 5 : 1", "5"),
            ("request.host + request.path", "shop.example/api/orders"),
            ("request.size > 4 && request.size <= 5", "true"),
            ("request.headers.accept", "a, b"),
            ("request.query.b + request.cookies.sid", "x y7"),
            ("request.query[\"a\"] == '1'", "true"),
            ("'x' in request.headers && !('z' in request.headers)", "true"),
            ("request.scheme", "http"),
            ("client.address == '10.1.2.3' && client.address != '::1'", "true"),
            ("client.address in ['192.0.2.1', '10.0.0.0/8']", "true"),
            ("client.address in cidr('10.1.0.0/16')", "true"),
            ("cidr('192.168.0.0/16').containsIP(client.address)", "false"),
            ("ip('10.1.2.3') == client.address", "true"),
            ("string(client.address)", "10.1.2.3"),
            ("identity.name + ' ' + identity.by", "ada jwt"),
            ("'staff' in identity.groups && size(identity.groups) == 2", "true"),
            ("identity.groups.exists(g, g.startsWith('ni'))", "true"),
            ("identity.groups.all(g, g.size() == 5)", "true"),
            ("identity.groups.exists_one(g, g == 'staff')", "true"),
            ("identity.groups.exists(g, identity.claims.roles.exists(r, r == g))", "false"),
            ("identity.groups[1]", "night"),
            ("identity.claims.sub == identity.name", "true"),
            ("identity.claims.age + 1", "43"),
            ("identity.claims.share * 2.0", "3"),
            ("identity.claims.age > 41.5", "true"),
            ("identity.claims.org.id == 7 && identity.claims['org']['id'] == 7.0", "true"),
            ("'b' in identity.claims.roles && 'org' in identity.claims", "true"),
            ("identity.claims.nothing == null && has(identity.claims.sub)", "true"),
            ("has(identity.claims.email) || has(identity.plan) || has(request.headers.z)", "false"),
            ("has(identity.claims.email) ? identity.claims.email : 'none'", "none"),
            ("timestamp(identity.claims.exp) > now", "true"),
            ("now - timestamp('2026-11-22T22:00:00Z') == duration('30m')", "true"),
            ("now.getHours() + now.getDayOfWeek()", "22"),
            ("now.getHours('Europe/Berlin')", "23"),
            ("request.path.matches('^/api/[a-z]+$') && !matches(request.path, '[0-9]')", "true"),
            ("'AbC'.lowerAscii() + 'AbC'.upperAscii()", "abcABC"),
            ("'gr\u{fc}n'.size()", "4"),
            ("int('7') + int(2.9) - -1", "10"),
            ("7 / 2 * 2 + 7 % 2", "7"),
            ("double('0.5') + 1.0", "1.5"),
            ("'a' < 'b' && 'b' >= 'b'", "true"),
            ("1 in [1, 2] && !(3 in [])", "true"),
            ("[1, 2].all(n, n in [2, 1])", "true"),
            // one side alone decides, whatever the other one comes to
            ("identity.claims.email == 'x' || true", "true"),
            ("false && identity.claims.email == 'x'", "false"),
            ("!(identity.claims.email == 'x' && false)", "true"),
        ] {
            assert_eq!(evaluate(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn gw_13_what_comes_to_nothing_says_why() {
        let deep = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22]";
        let long = format!("{deep}.all(a, {deep}.all(b, {deep}.all(c, a + b + c > 0)))");
        for (text, expected) in [
            ("request.headers.z == 'a'", "Missing"),
            ("request.headers.z != 'a' || identity.plan == 'vip'", "Missing"),
            ("identity.claims.email == 'x' && true", "Missing"),
            ("identity.claims.sub.email == 'x'", "Type"),
            ("identity.claims.sub > 3", "Type"),
            ("identity.claims.sub && true", "Type"),
            ("identity.claims.roles[7] == 'a'", "Missing"),
            ("identity.claims.roles[-1] == 'a'", "Missing"),
            ("9223372036854775807 + 1", "Number"),
            ("1 / 0", "Number"),
            ("1 % 0", "Number"),
            ("int('seven')", "Form"),
            ("timestamp('soon') > now", "Form"),
            (&long, "Steps"),
        ] {
            assert_eq!(evaluate(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn gw_13_what_cannot_be_right_is_refused_before_it_runs() {
        for (text, expected) in [
            ("reqest.path", "there is no `reqest`"),
            ("request.paht", "`request` has no `paht`"),
            ("request", "`request` alone is no value"),
            ("request.path == 1", "comparing a text with a whole number never gives true"),
            ("client.address == 'localhost'", "`localhost` is no address"),
            ("client.address in ['10.0.0.0/8', 'x']", "`x` is no address"),
            ("cidr('10.0.0.0/99')", "`10.0.0.0/99` is no block of addresses"),
            ("duration('5 minutes')", "`5 minutes` is no duration"),
            ("request.path && true", "expected true or false, but this is a text"),
            ("request.path.startWith('/a')", "there is no function `startWith`"),
            (
                "request.path.startsWith(1)",
                "`startsWith` takes no such thing as a text and a whole number",
            ),
            ("request.path.matches('(')", "`(` is not a regular expression: unclosed group"),
            ("request.path.matches(request.host)", "the pattern must stand here as it is"),
            ("now.getHours('Mars/Olympus')", "`Mars/Olympus` is no time zone"),
            ("now + now", "this cannot be done with a time and a time"),
            ("1 + 'a'", "this cannot be done with a whole number and a text"),
            ("true ? 1 : 'a'", "it is a whole number or a text"),
            ("-'a'", "a text has no negative"),
            ("request.path.x", "a text has no `x`"),
            ("request.path[0]", "a text has no items"),
            ("identity.groups['a']", "expected a whole number here, but this is a text"),
            ("request.path.exists(x, true)", "`exists` goes over lists, but this is a text"),
            ("identity.groups.exists('x', true)", "a name for each item was expected here"),
            ("identity.groups.exists(x, x)", "expected true or false, but this is a text"),
            ("has(1)", "`has` asks for what may be missing"),
            ("1 in request.headers", "a whole number is never in a map"),
            ("'a' < 1", "a text is neither less nor more than a whole number"),
        ] {
            assert_eq!(evaluate(text), Err(expected.to_owned()), "{text}");
        }
    }
}
