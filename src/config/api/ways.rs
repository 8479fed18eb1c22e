//! How a request names a version, as conditions of a match.

use std::fmt;

use regex::escape;
use transom_settings::{
    Context, Definitions, FromText, HeaderName, Node, Refusal, Regex, Setting, Spanned, Value,
    json::{Value as Json, json},
    only_key, quote, settings,
};

use crate::config::{Match, ValueMatch};

settings! {
    /// How a request names a version beside its path.
    pub choice VersionField {
        /// In a field of its header.
        "header" => Header(HeaderName),
        /// In a parameter of its query.
        "query" => Query(String),
        /// In the type that it accepts or has: `application/vnd.shop.{version}+json`, or
        /// `application/json; version={version}`.
        "media-type" => MediaType(MediaPattern),
    }
}

/// How a request names a version.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    Path,
    Field(VersionField),
}

impl Setting for Way {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text == "path" => Some(Way::Path),
            Value::Map(_) => only_key(node, at, "way to name a version").map(Way::Field),
            _ => at.mismatch("`path`, `header: NAME`, `query: NAME` or `media-type: TYPE`", node),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "const": "path" }, VersionField::schema(definitions)] })
    }

    fn to_json(&self) -> Json {
        match self {
            Way::Path => "path".into(),
            Way::Field(field) => field.to_json(),
        }
    }
}

/// A type of media with the place of the version in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPattern {
    text: String,
    /// Before and after the version; for a parameter, type and name of it.
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Name(String, String),
    Parameter(String, String),
}

const PLACE: &str = "{version}";

impl FromText for MediaPattern {
    const WHAT: &'static str = "a media type that holds `{version}`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Err(Refusal::new(format!("{} names no version: {why}", quote(text))).hint(
                "write `application/vnd.shop.{version}+json` or `application/json; version={version}`",
            ))
        };
        let form = match text.split_once(PLACE) {
            None => return refuse("it has no `{version}`"),
            Some((_, after)) if after.contains(PLACE) => {
                return refuse("it has `{version}` twice");
            }
            Some((before, after)) => match before.split_once(';') {
                None => Form::Name(before.to_owned(), after.to_owned()),
                Some((essence, name)) => match name.trim().strip_suffix('=') {
                    Some(name) if after.trim().is_empty() => {
                        Form::Parameter(essence.trim().to_owned(), name.trim().to_owned())
                    }
                    _ => return refuse("the parameter is not `name={version}`"),
                },
            },
        };
        let (Form::Name(first, second) | Form::Parameter(first, second)) = &form;
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+/".contains(&c);
        if !first.contains('/') || !first.bytes().chain(second.bytes()).all(plain) {
            return refuse("it is not of the form `type/subtype`");
        }
        Ok(MediaPattern { text: text.to_owned(), form })
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["application/vnd.shop.{version}+json"] })
    }

    fn to_json(&self) -> Json {
        self.text.clone().into()
    }
}

impl fmt::Display for MediaPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl MediaPattern {
    /// For a list of types one of which names one of `versions`, which is an expression.
    fn expression(&self, versions: &str) -> String {
        match &self.form {
            Form::Name(before, after) => {
                let (before, after) = (escape(before), escape(after));
                format!("(?i)(?:.*[,\\s])?{before}(?:{versions}){after}(?:\\s*[;,].*)?")
            }
            Form::Parameter(essence, name) => {
                let (essence, name) = (escape(essence), escape(name));
                format!(
                    "(?i)(?:.*[,\\s])?{essence}\\s*(?:;[^,]*)?;\\s*{name}=\"?(?:{versions})\"?(?:\\s*[;,].*)?"
                )
            }
        }
    }
}

/// Where one version may be named beside the path.
pub(super) struct Asking<'a> {
    place: Place<'a>,
    media: Option<&'a MediaPattern>,
}

enum Place<'a> {
    Header(HeaderName),
    Query(&'a str),
}

/// What may stand for a version in a type.
const ANY: &str = "[^;,\"\\s+]+";

impl<'a> Asking<'a> {
    /// All places, in the order in which they are looked at.
    pub(super) fn all(ways: &'a [Spanned<Way>]) -> Vec<Self> {
        let mut all = Vec::new();
        for way in ways {
            let Way::Field(field) = &way.value else { continue };
            match field {
                VersionField::Header(name) => {
                    all.push(Asking { place: Place::Header(name.clone()), media: None });
                }
                VersionField::Query(name) => {
                    all.push(Asking { place: Place::Query(name), media: None });
                }
                VersionField::MediaType(pattern) => {
                    for name in ["accept", "content-type"] {
                        let place = Place::Header(HeaderName::known(name));
                        all.push(Asking { place, media: Some(pattern) });
                    }
                }
            }
        }
        all
    }

    /// As it is written for one version.
    pub(super) fn shown(&self, version: &str) -> String {
        match (&self.place, self.media) {
            (Place::Header(_), Some(media)) => {
                format!("Accept: {}", media.text.replace(PLACE, version))
            }
            (Place::Header(name), None) => format!("{}: {version}", &**name),
            (Place::Query(name), _) => format!("?{name}={version}"),
        }
    }

    /// It names one of these.
    pub(super) fn names(&self, versions: &[&str], matched: &mut Match) {
        let value = match (self.media, versions) {
            (None, [one]) => ValueMatch::Is((*one).to_owned()),
            _ => ValueMatch::Regex(self.one_of(versions)),
        };
        self.ask(value, matched);
    }

    /// It names none.
    pub(super) fn silent(&self, matched: &mut Match) {
        let value = match self.media {
            None => ValueMatch::Present(false),
            Some(media) => ValueMatch::Unlike { like: None, unlike: regex(&media.expression(ANY)) },
        };
        self.ask(value, matched);
    }

    /// It names one that is not among these.
    pub(super) fn names_other(&self, versions: &[&str], matched: &mut Match) {
        let like = match self.media {
            None => ".*".to_owned(),
            Some(media) => media.expression(ANY),
        };
        let unlike = self.one_of(versions);
        self.ask(ValueMatch::Unlike { like: Some(regex(&like)), unlike }, matched);
    }

    fn one_of(&self, versions: &[&str]) -> Spanned<Regex> {
        let versions: Vec<String> = versions.iter().map(|version| escape(version)).collect();
        let versions = versions.join("|");
        regex(&self.media.map_or(versions.clone(), |media| media.expression(&versions)))
    }

    fn ask(&self, value: ValueMatch, matched: &mut Match) {
        match &self.place {
            Place::Header(name) => matched.header.push(name.clone(), value),
            Place::Query(name) => matched.query.push((*name).to_owned(), value),
        }
    }
}

fn regex(text: &str) -> Spanned<Regex> {
    // made of what was checked: it is right, and where it were not, the check of routes says so
    let regex = Regex::from_text(text).unwrap_or_else(|_| unreachable!());
    regex.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_35_a_media_type_names_a_version_in_its_name_or_in_a_parameter() {
        let matches = |pattern: &str, versions: &str, value: &str| {
            let pattern = MediaPattern::from_text(pattern).unwrap();
            let expression = format!("^(?:{})$", pattern.expression(versions));
            regex::Regex::new(&expression).unwrap().is_match(value)
        };
        let vendor = "application/vnd.shop.{version}+json";
        let parameter = "application/json; version={version}";
        for (pattern, versions, value, expected) in [
            (vendor, "v1", "application/vnd.shop.v1+json", true),
            (vendor, "v1", "Application/VND.shop.V1+JSON; q=0.8", true),
            (vendor, "v1", "text/html, application/vnd.shop.v1+json;q=1, */*", true),
            (vendor, "v1", "application/vnd.shop.v11+json", false),
            (vendor, "v1", "application/vnd.shopXv1+json", false),
            (vendor, "v1", "xapplication/vnd.shop.v1+json", false),
            (vendor, ANY, "application/vnd.shop.v9+json", true),
            (vendor, ANY, "application/json", false),
            (parameter, "1|2", "application/json;version=2", true),
            (parameter, "1|2", "application/json; charset=utf-8; version=\"1\"", true),
            (parameter, "1|2", "application/json; version=3", false),
            (parameter, "1|2", "application/json, text/plain; version=1", false),
            (parameter, ANY, "application/json; version=3, */*", true),
            (parameter, ANY, "*/*", false),
        ] {
            assert_eq!(matches(pattern, versions, value), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn what_holds_no_version_is_refused() {
        for text in [
            "application/json",
            "{version}",
            "application/{version}.{version}",
            "application/json; version={version}; a=b",
            "application/json; {version}",
            "application/x y{version}",
        ] {
            assert!(MediaPattern::from_text(text).is_err(), "{text}");
        }
    }
}
