//! Texts of a request that hold what the client asked for and what other parts have answered.

use std::fmt;

use transom_proxy::exchange::Exchange;
use transom_proxy::variables::{Template, Variable, in_braces};
use transom_settings::json::{Value as Json, json};
use transom_settings::{FromText, Refusal, quote};

use super::path::Place;
use crate::escapes::{self, is_unreserved, undone, undone_in_form};

/// The word for the body of the client's request: `{body.id}`.
pub(super) const BODY: &str = "body";
/// The word for the keys that a part with `join` asks for.
pub(super) const KEYS: &str = "keys";

/// A text with variables of the request, `{capture.id}`, and places in answers, `{user.address.city}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pieces: Vec<Piece>,
    /// The variables of the request in it.
    variables: Template,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Literal(String),
    /// A text of one variable.
    Variable(Template),
    Answer(Reference),
}

/// A place in the answer of a part, or in the client's body, or the keys of a join.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reference {
    pub(super) part: String,
    place: Place,
}

/// What a text may ask for.
pub(super) struct Asked<'a> {
    pub(super) exchange: &'a Exchange,
    /// The answer of the part of this name.
    pub(super) answers: &'a dyn Fn(&str) -> Option<&'a Json>,
}

/// What is not there, and cannot be left out.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{{{0}}} has no value that can stand here")]
pub(super) struct Missing(String);

impl Text {
    pub(super) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Answer(reference) => Some(reference),
            _ => None,
        })
    }

    pub(super) fn variables(&self) -> &Template {
        &self.variables
    }

    /// Whether it begins with this character, as it is written.
    pub(super) fn begins_with(&self, wanted: char) -> bool {
        matches!(self.pieces.first(), Some(Piece::Literal(text)) if text.starts_with(wanted))
    }

    /// As path and query. What is put in stays where it is put: nothing in it separates segments or
    /// parameters, and no segment comes to be empty or made of dots by it.
    pub(super) fn target(&self, asked: &Asked<'_>) -> Result<String, Missing> {
        let mut out = String::new();
        let mut in_query = false;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => {
                    in_query |= text.contains('?');
                    out.push_str(text);
                }
                Piece::Variable(one) => {
                    let mut value = Vec::new();
                    one.write(asked.exchange, &mut value);
                    if value.is_empty() && !in_query {
                        return Err(Missing(name_of(one)));
                    }
                    match one.variables().next() {
                        Some(Variable::Capture(_) | Variable::Path | Variable::PathSegment(_)) => {
                            match in_query {
                                false => out.push_str(&String::from_utf8_lossy(&value)),
                                // there `&` and `+` mean something else than in a path
                                true => escapes::write(&undone(&value), is_unreserved, &mut out),
                            }
                        }
                        Some(Variable::Query) if in_query => {
                            out.push_str(&String::from_utf8_lossy(&value));
                        }
                        Some(Variable::QueryParameter(_)) => {
                            escapes::write(&undone_in_form(&value), is_unreserved, &mut out)
                        }
                        _ => escapes::write(&value, is_unreserved, &mut out),
                    }
                }
                Piece::Answer(reference) => {
                    let texts = reference.texts(asked)?;
                    if !in_query && texts.iter().any(String::is_empty) {
                        return Err(Missing(reference.to_string()));
                    }
                    for (number, text) in texts.iter().enumerate() {
                        if number > 0 {
                            out.push(',');
                        }
                        escapes::write(text.as_bytes(), is_unreserved, &mut out);
                    }
                }
            }
        }
        let path = out.split('?').next().unwrap_or_default();
        match path.split('/').find(|segment| is_dots(segment)) {
            Some(dots) => Err(Missing(format!("…}}/{dots}/{{…"))),
            None => Ok(out),
        }
    }

    /// As the value of a field.
    pub(super) fn line(&self, asked: &Asked<'_>) -> Result<Vec<u8>, Missing> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(one) => one.write(asked.exchange, &mut out),
                Piece::Answer(reference) => {
                    out.extend_from_slice(reference.texts(asked)?.join(", ").as_bytes());
                }
            }
        }
        Ok(out)
    }

    /// As a value of JSON: what it names, if it is nothing but that; else a text.
    pub(super) fn value(&self, asked: &Asked<'_>) -> Result<Json, Missing> {
        match &self.pieces[..] {
            [Piece::Answer(reference)] => reference.value(asked).cloned(),
            _ => Ok(String::from_utf8_lossy(&self.line(asked)?).into_owned().into()),
        }
    }
}

impl Reference {
    fn value<'a>(&self, asked: &Asked<'a>) -> Result<&'a Json, Missing> {
        let answer = (asked.answers)(&self.part);
        answer.and_then(|answer| self.place.get(answer)).ok_or_else(|| Missing(self.to_string()))
    }

    /// As texts: several if it is a list.
    fn texts(&self, asked: &Asked<'_>) -> Result<Vec<String>, Missing> {
        let text = |value: &Json| match value {
            Json::String(text) => Ok(text.clone()),
            Json::Number(number) => Ok(number.to_string()),
            Json::Bool(truth) => Ok(truth.to_string()),
            Json::Null | Json::Array(_) | Json::Object(_) => Err(Missing(self.to_string())),
        };
        match self.value(asked)? {
            Json::Array(items) => items.iter().map(text).collect(),
            one => Ok(vec![text(one)?]),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.part)?;
        if !self.place.0.is_empty() {
            write!(f, ".{}", self.place)?;
        }
        Ok(())
    }
}

fn name_of(one: &Template) -> String {
    one.variables().next().map(ToString::to_string).unwrap_or_default()
}

/// `.` or `..`, however it is written.
fn is_dots(segment: &str) -> bool {
    matches!(&*undone(segment.as_bytes()), b"." | b"..")
}

impl FromText for Text {
    const WHAT: &'static str = "a text such as `/users/{capture.id}` or `/carts/{user.cart}`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let pieces = in_braces(text, Piece::Literal, piece)?;
        let variables = pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(one) => Some(one.parts.iter().cloned()),
            _ => None,
        });
        let variables = Template { parts: variables.flatten().collect() };
        Ok(Text { pieces, variables })
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"], "examples": ["/users/{capture.id}"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

fn piece(name: &str) -> Result<Piece, Refusal> {
    let refusal = match Template::from_text(&format!("{{{name}}}")) {
        Ok(one) => return Ok(Piece::Variable(one)),
        Err(refusal) => refusal,
    };
    let (part, place) = name.split_once('.').unwrap_or((name, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // a misspelt `{capture.…}` is told as what it is
    if part.is_empty()
        || !part.chars().all(is_name)
        || is_taken(part) && ![BODY, KEYS].contains(&part)
    {
        return Err(refusal);
    }
    let place = match place {
        "" => Place::default(),
        place => Place::from_text(place)?,
    };
    if place.stars() > 0 {
        let what = format!("{} does not name one value", quote(name));
        return Err(Refusal::new(what).hint("use no `*` here"));
    }
    Ok(Piece::Answer(Reference { part: part.to_owned(), place }))
}

/// Whether a word means something in texts, so that no part can be called so.
pub(super) fn is_taken(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "authority",
        BODY,
        "capture",
        "client",
        "cookie",
        "header",
        "host",
        "listener",
        "method",
        "path",
        "query",
        "request",
        "scheme",
        "uri",
    ];
    WORDS.contains(&name) || matches!(name, KEYS | "route" | "tls")
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Piece::Variable(one) => write!(f, "{one}")?,
                Piece::Answer(reference) => write!(f, "{{{reference}}}")?,
            }
        }
        Ok(())
    }
}

/// Data whose texts may hold variables and places in answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Plain(Json),
    Text(Text),
    List(Vec<Data>),
    Map(Vec<(String, Data)>),
}

impl Data {
    /// # Errors
    /// Why a text of it cannot be understood.
    pub(super) fn of(written: &Json) -> Result<Self, Refusal> {
        Ok(match written {
            Json::String(text) => Data::Text(Text::from_text(text)?),
            Json::Array(items) => Data::List(items.iter().map(Data::of).collect::<Result<_, _>>()?),
            Json::Object(map) => {
                let entries = map.iter().map(|(key, value)| Ok((key.clone(), Data::of(value)?)));
                Data::Map(entries.collect::<Result<_, _>>()?)
            }
            plain => Data::Plain(plain.clone()),
        })
    }

    /// Every text in it.
    pub(super) fn texts(&self) -> Vec<&Text> {
        match self {
            Data::Plain(_) => Vec::new(),
            Data::Text(text) => vec![text],
            Data::List(items) => items.iter().flat_map(Data::texts).collect(),
            Data::Map(entries) => entries.iter().flat_map(|(_, value)| value.texts()).collect(),
        }
    }

    pub(super) fn value(&self, asked: &Asked<'_>) -> Result<Json, Missing> {
        Ok(match self {
            Data::Plain(plain) => plain.clone(),
            Data::Text(text) => text.value(asked)?,
            Data::List(items) => {
                Json::Array(items.iter().map(|item| item.value(asked)).collect::<Result<_, _>>()?)
            }
            Data::Map(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| Ok((key.clone(), value.value(asked)?)));
                Json::Object(entries.collect::<Result<_, _>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use transom_net::Worker;
    use transom_proxy::local::Local;

    use super::*;

    fn text(text: &str) -> Text {
        Text::from_text(text).unwrap()
    }

    #[test]
    fn texts_are_taken_apart_and_written_again() {
        for (written, expected) in [
            ("/a/{capture.id}/{user.cart.0}", Ok(4)),
            ("/a?{query}&x={body}", Ok(4)),
            ("{{{keys}}}", Ok(3)),
            ("/{captur.id}", Ok(2)),
            ("/{capture}", Err("there is no variable `capture`")),
            ("/{header.}", Err("`` is not a header name: it is empty")),
            ("/{user.*.id}", Err("`user.*.id` does not name one value")),
            ("/{user..id}", Err("`.id` is not a place in JSON: a key is empty")),
            ("/{a b}", Err("there is no variable `a b`")),
            ("/{", Err("`/{` has a lone `{`")),
        ] {
            let found = Text::from_text(written);
            let told = found.as_ref().map(|text| text.pieces.len());
            assert_eq!(told.map_err(|why| why.what.as_str()), expected, "{written}");
            if let Ok(found) = found {
                assert_eq!(Text::from_text(&found.to_string()), Ok(found));
            }
        }
    }

    fn with<R>(query: &str, path: &str, see: impl FnOnce(&Asked<'_>) -> R) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let local = Rc::new(Local::new(Worker::new(0)));
            let mut exchange = Exchange::alone(&local);
            exchange.asked.query = Some(Rc::from(query));
            exchange.asked.path = Rc::from(path);
            let user = json!({
                "id": 7, "name": "a/b?c&d ü", "dots": "..", "empty": "", "none": null,
                "friends": [1, "x,y"], "deep": { "a": [{ "b": true }] },
            });
            let answers = |part: &str| (part == "user").then_some(&user);
            see(&Asked { exchange: &exchange, answers: &answers })
        })
    }

    #[test]
    fn gw_29_nothing_that_is_put_into_a_target_leaves_its_place() {
        let missing = |name: &str| Err(Missing(name.to_owned()));
        for (written, expected) in [
            ("/users/{user.id}", Ok("/users/7")),
            ("/users/{user.name}", Ok("/users/a%2Fb%3Fc%26d%20%C3%BC")),
            (
                "/u?name={user.name}&{query}",
                Ok("/u?name=a%2Fb%3Fc%26d%20%C3%BC&q=a%2Fb+c&dots=%2e.&e="),
            ),
            ("/u/{query.q}", Ok("/u/a%2Fb%20c")),
            ("/u/{path.1}", Ok("/u/x%20y&role=a+b")),
            ("/u?id={path.1}&role=user", Ok("/u?id=x%20y%26role%3Da%2Bb&role=user")),
            ("/u?at={path}", Ok("/u?at=%2Fx%20y%26role%3Da%2Bb")),
            ("/u/{user.friends}", Ok("/u/1,x%2Cy")),
            ("/u/{user.deep.a.0.b}", Ok("/u/true")),
            ("/u?x={query.nothing}", Ok("/u?x=")),
            // what would climb, or ask for all
            ("/u/{user.dots}/secret", missing("…}/../{…")),
            ("/u/{query.dots}", missing("…}/../{…")),
            ("/u/.{query.e}", missing("query.e")),
            ("/u/{query.e}", missing("query.e")),
            ("/u/{user.empty}", missing("user.empty")),
            ("/u/{user.none}", missing("user.none")),
            ("/u/{user.deep}", missing("user.deep")),
            ("/u/{user.nothing}", missing("user.nothing")),
            ("/u/{other.id}", missing("other.id")),
        ] {
            let found = with("q=a%2Fb+c&dots=%2e.&e=", "/x%20y&role=a+b", |asked| {
                text(written).target(asked)
            });
            assert_eq!(found, expected.map(str::to_owned), "{written}");
        }
    }

    #[test]
    fn data_keeps_its_types_and_needs_no_quoting() {
        let written = json!({
            "id": "{user.id}", "friends": ["{user.friends}"], "hello": "to \"{user.name}\"", "n": 1,
        });
        let data = Data::of(&written).unwrap();
        assert_eq!(data.texts().len(), 3);
        let expected = json!({
            "id": 7, "friends": [[1, "x,y"]], "hello": "to \"a/b?c&d ü\"", "n": 1,
        });
        assert_eq!(with("", "/", |asked| data.value(asked)), Ok(expected));
        assert!(Data::of(&json!(["{"])).is_err());
    }
}
