//! The facts of one request, as expressions ask for them.

use crate::escapes::undone_in_form;
use std::borrow::Cow;
use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use transom_proxy::exchange::Exchange;
use transom_proxy::fields::{Known, Name};
use transom_proxy::headers::cookie;
use transom_proxy::message::Request;

use super::asked::GraphQlAsked;
use super::names::{Fact, Map};
use super::program::Key;
use super::value::{Trouble, Value};

/// One request that is being asked about.
pub struct Facts<'a> {
    exchange: &'a Exchange,
    request: &'a Request,
    /// Asked for once, in microseconds since 1970.
    now: Cell<Option<i64>>,
}

impl<'a> Facts<'a> {
    pub fn new(exchange: &'a Exchange, request: &'a Request) -> Self {
        Facts { exchange, request, now: Cell::new(None) }
    }

    /// As if it were this time.
    pub fn at(self, now: SystemTime) -> Self {
        self.now.set(Some(micros(now)));
        self
    }

    pub(super) fn fact(&'a self, fact: Fact) -> Result<Value<'a>, Trouble> {
        let graphql = || self.exchange.extensions.get::<GraphQlAsked>().ok_or(Trouble::Missing);
        let identity = || self.exchange.identity.as_deref().ok_or(Trouble::Missing);
        Ok(match fact {
            Fact::Method => Value::text(self.request.method.as_str()),
            Fact::Path => Value::text(&self.request.path),
            Fact::Host => Value::text(host(&self.request.authority)),
            Fact::Scheme => Value::text(self.request.scheme),
            Fact::Size => {
                let length = self.request.body.length().ok_or(Trouble::Missing)?;
                Value::Int(i64::try_from(length).map_err(|_| Trouble::Number)?)
            }
            Fact::Client => Value::Address(self.exchange.client),
            Fact::Identity => Value::text(&identity()?.name),
            Fact::Groups => Value::Texts(&identity()?.groups),
            Fact::Scopes => Value::Texts(&identity()?.scopes),
            Fact::Plan => Value::text(identity()?.plan.as_deref().ok_or(Trouble::Missing)?),
            Fact::By => Value::text(identity()?.by),
            Fact::Claims => Value::of_json(identity()?.claims.as_deref().ok_or(Trouble::Missing)?),
            Fact::Operations => Value::Texts(&graphql()?.operations),
            Fact::Complexity => {
                let complexity = graphql()?.complexity;
                Value::Int(i64::try_from(complexity).map_err(|_| Trouble::Number)?)
            }
            Fact::Now => {
                let now = self.now.get().unwrap_or_else(|| micros(SystemTime::now()));
                self.now.set(Some(now));
                Value::Time(now)
            }
        })
    }

    /// What has this name.
    pub(super) fn entry(&'a self, map: Map, key: &Key) -> Option<Cow<'a, [u8]>> {
        match map {
            Map::Headers => {
                let name = match key.known {
                    Some(known) => Name::Known(known),
                    None => Name::Other(key.name.as_bytes()),
                };
                let mut lines = self.request.fields.all(name);
                let first = lines.next()?;
                let Some(second) = lines.next() else { return Some(Cow::Borrowed(first)) };
                let mut joined = [first, b", ", second].concat();
                for line in lines {
                    joined.extend_from_slice(b", ");
                    joined.extend_from_slice(line);
                }
                Some(Cow::Owned(joined))
            }
            Map::Cookies => {
                let mut lines = self.request.fields.all(Known::Cookie);
                lines.find_map(|line| cookie::value(line, &key.name)).map(Cow::Borrowed)
            }
            Map::Query => parameter(self.request.query.as_deref()?, &key.name),
            Map::Captures => {
                self.exchange.capture(&key.name).map(|text| Cow::Borrowed(text.as_bytes()))
            }
        }
    }

    /// How many there are, where they can be counted.
    pub(super) fn count(&self, map: Map) -> Result<usize, Trouble> {
        match map {
            Map::Headers => Ok(self.request.fields.len()),
            Map::Query => {
                let query = self.request.query.as_deref().unwrap_or_default();
                Ok(query.split('&').filter(|pair| !pair.is_empty()).count())
            }
            Map::Cookies | Map::Captures => Err(Trouble::Type),
        }
    }
}

/// The authority without its port.
fn host(authority: &str) -> &str {
    let port = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    port.map_or(authority, |at| &authority[..at])
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The first value of a parameter, decoded as forms are.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, [u8]>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (undone_in_form(key.as_bytes())[..] == *name.as_bytes())
            .then(|| undone_in_form(value.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        let query = "a=1&b=x%20y+z&a=2&c&%64=4&e=%zz%2";
        for (name, expected) in [
            ("a", Some("1")),
            ("b", Some("x y z")),
            ("c", Some("")),
            ("d", Some("4")),
            ("e", Some("%zz%2")),
            ("f", None),
        ] {
            assert_eq!(parameter(query, name).as_deref(), expected.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn a_host_has_no_port() {
        for (authority, expected) in
            [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")]
        {
            assert_eq!(host(authority), expected);
        }
    }
}
