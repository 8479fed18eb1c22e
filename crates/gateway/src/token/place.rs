//! Where in a request a token stands.

use std::borrow::Cow;
use std::rc::Rc;

use transom_proxy::exchange::Exchange;
use transom_proxy::fields::{Known, Name};
use transom_proxy::message::Request;
use transom_settings::{HeaderName, settings};

use crate::pairs;

settings! {
    /// Where in a request a token stands.
    pub choice Place {
        /// A header field. In `authorization` it follows the word `Bearer`.
        "header" => Header(HeaderName),
        /// A cookie of this name.
        "cookie" => Cookie(String),
        /// A parameter of the query. It never goes on to the endpoint: URLs end up in logs (RFC 6750
        /// §5.3).
        "query" => Query(String),
    }
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown<'r> {
    Nothing,
    /// A token and the index of its place.
    One(usize, Cow<'r, [u8]>),
    /// More than one, so that it is not clear who asks.
    Many,
}

impl<'r> Shown<'r> {
    fn add(&mut self, place: usize, token: Cow<'r, [u8]>) {
        *self = match self {
            Shown::Nothing => Shown::One(place, token),
            _ => Shown::Many,
        };
    }
}

impl Place {
    /// `Authorization: Bearer ...` (RFC 6750 §2.1).
    pub fn bearer() -> Self {
        Place::Header(HeaderName::known("authorization"))
    }

    /// The only token in any of the places.
    pub fn look<'r>(places: &[Place], request: &'r Request) -> Shown<'r> {
        let mut shown = Shown::Nothing;
        for (index, place) in places.iter().enumerate() {
            match place {
                Place::Header(name) => {
                    let name = Name::of(name.as_bytes());
                    for value in request.fields.all(name) {
                        let token = match (bearer(value), name) {
                            (None, Name::Known(Known::Authorization)) => continue,
                            (token, _) => token.unwrap_or(value),
                        };
                        shown.add(index, Cow::Borrowed(token));
                    }
                }
                Place::Cookie(name) => {
                    let cookies = request.fields.all(Known::Cookie).flat_map(pairs::of_cookie);
                    for (_, token) in cookies.filter(|(other, _)| *other == name.as_bytes()) {
                        shown.add(index, Cow::Borrowed(token));
                    }
                }
                Place::Query(name) => {
                    let query = pairs::of_query(request.query.as_deref().unwrap_or_default());
                    for (_, token) in query.filter(|(other, _)| **other == *name.as_bytes()) {
                        shown.add(index, token);
                    }
                }
            }
        }
        shown
    }

    /// Takes the token out of the request.
    pub fn remove(&self, request: &mut Request) {
        match self {
            Place::Header(name) => match Name::of(name.as_bytes()) {
                // what is no token is another's, to hide or to pass on
                Name::Known(Known::Authorization) => request.fields.retain(|field| {
                    field.known != Some(Known::Authorization) || bearer(field.value).is_none()
                }),
                name => request.fields.remove(name),
            },
            Place::Cookie(name) => {
                pairs::remove_cookies(&mut request.fields, |other| other == name.as_bytes());
            }
            Place::Query(name) => {
                if let Some(rest) = without(request.query.as_deref(), name) {
                    request.query = rest;
                }
            }
        }
    }

    /// What is done with these places once somebody was found: nobody reads a token in the log or in a
    /// query; from elsewhere it is taken with `hide`.
    pub fn leave(places: &[Place], hide: bool, exchange: &mut Exchange, request: &mut Request) {
        for place in places {
            place.remove_from_log(exchange);
            if hide || matches!(place, Place::Query(_)) {
                place.remove(request);
            }
        }
    }

    /// Takes it out of what was asked, which is logged, if it stands there.
    pub fn remove_from_log(&self, exchange: &mut Exchange) {
        if let Place::Query(name) = self
            && let Some(rest) = without(exchange.asked.query.as_deref(), name)
        {
            exchange.asked.query = rest;
        }
    }
}

/// A query without a parameter, where it has it.
fn without(query: Option<&str>, name: &str) -> Option<Option<Rc<str>>> {
    let rest = pairs::without(query?, |other| other == name.as_bytes())?;
    Some(Some(Rc::from(rest)).filter(|rest: &Rc<str>| !rest.is_empty()))
}

/// What follows the scheme, which is written in any case (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && token.len() < rest.len()).then_some(token)
}

#[cfg(test)]
mod tests {
    use transom_proxy::message::Method;

    use super::*;

    fn request(lines: &[(&str, &str)], query: &str) -> Request {
        let mut request = Request::new(Method::Get, "a", "/");
        for (name, value) in lines {
            request.fields.append(*name, value.as_bytes());
        }
        request.query = (!query.is_empty()).then(|| query.into());
        request
    }

    #[test]
    fn a_11_one_token_in_one_place() {
        let places = [
            Place::bearer(),
            Place::Header(HeaderName::known("x-token")),
            Place::Cookie("session".to_owned()),
            Place::Query("access_token".to_owned()),
        ];
        let auth = |value| ("Authorization", value);
        let one = |index, token: &'static str| Shown::One(index, token.as_bytes().into());
        for (lines, query, expected) in [
            (&[][..], "", Shown::Nothing),
            (&[auth("Bearer t")], "", one(0, "t")),
            (&[auth("bEARER  t")], "", one(0, "t")),
            (&[auth("Bearer\tt")], "", one(0, "t")),
            (&[auth("Basic dDp0")], "", Shown::Nothing),
            (&[auth("Bearert")], "", Shown::Nothing),
            (&[auth("Bearer")], "", Shown::Nothing),
            // not a token, for whoever reads it
            (&[auth("Bearer a, Bearer b")], "", one(0, "a, Bearer b")),
            (&[auth("Bearer a"), auth("Bearer a")], "", Shown::Many),
            // the other one is for another policy
            (&[auth("Bearer a"), auth("Basic b")], "", one(0, "a")),
            (&[auth("Bearer a"), ("Cookie", "session=b")], "", Shown::Many),
            (&[auth("Bearer a")], "access_token=b", Shown::Many),
            (&[("X-Token", "t")], "", one(1, "t")),
            (&[("X-Token", "Bearer t")], "", one(1, "t")),
            (&[("Cookie", "a=1; session=t; sessions=2")], "", one(2, "t")),
            (&[("Cookie", "session=t; session=u")], "", Shown::Many),
            (&[("Cookie", "session=t"), ("Cookie", "session=u")], "", Shown::Many),
            (&[], "a=1&access_token=t&access_tokens=2", one(3, "t")),
            (&[], "access_token=t&access_token=t", Shown::Many),
        ] {
            let request = request(lines, query);
            assert_eq!(Place::look(&places, &request), expected, "{lines:?} {query}");
        }
    }

    #[test]
    fn a_token_is_taken_out_and_the_rest_stays() {
        for (place, expected) in [
            (Place::bearer(), "Cookie: a=1; s=2; b=3\r\n?s=1&t=2&s=3"),
            (
                Place::Cookie("s".into()),
                "Authorization: Bearer t\r\nCookie: a=1; b=3\r\n?s=1&t=2&s=3",
            ),
            (Place::Query("s".into()), "Authorization: Bearer t\r\nCookie: a=1; s=2; b=3\r\n?t=2"),
        ] {
            let lines = [("Authorization", "Bearer t"), ("Cookie", "a=1; s=2; b=3")];
            let mut request = request(&lines, "s=1&t=2&s=3");
            place.remove(&mut request);
            let mut written = Vec::new();
            request.fields.write(&mut written);
            let query = request.query.as_deref().unwrap_or_default();
            assert_eq!(format!("{}?{query}", String::from_utf8(written).unwrap()), expected);
        }
        let mut request = request(&[("Cookie", "s=2")], "s=1");
        Place::Cookie("s".into()).remove(&mut request);
        Place::Query("s".into()).remove(&mut request);
        assert!(request.fields.is_empty() && request.query.is_none());
    }
}
