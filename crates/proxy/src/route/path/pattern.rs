//! What the configuration writes for paths, and what it means.

use std::fmt;

use super::segment_end;
use crate::normalize::{self, EncodedSlashes, PathError, PathRules};

/// The paths a route serves. All patterns speak of the canonical path that [`normalize::path`]
/// gives, and their literal parts are canonical themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This path and no other; a trailing slash counts.
    Exact(String),
    /// `/api/**`: these segments alone, with a slash, or with anything below. `/**` is every path.
    Prefix(Vec<Segment>),
    /// A regular expression over the whole path.
    Regex(String),
    /// `/users/{id}`: as many segments as here, a name standing for one that is not empty.
    Template(Vec<Segment>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Literal(String),
    Name(String),
}

/// Why a text is no pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathMatchError {
    #[error("`*` is no pattern; write `{{name}}` for one segment, or end with `/**`")]
    Asterisk,
    #[error("`{0}` is no name; a name is letters, digits and `_`, alone in its segment")]
    Name(String),
    #[error("the name `{0}` stands twice")]
    NameTwice(String),
    #[error("the path has a dot segment")]
    Dots,
    #[error("the path has more than {MAX_NAMES} names")]
    Names,
    #[error(transparent)]
    Path(#[from] PathError),
}

const MAX_NAMES: usize = 16;

impl PathMatch {
    /// Reads `/exact`, `/prefix/**` or `/template/{name}`; a prefix may hold names too. What a
    /// person writes in other letters than ASCII becomes escapes.
    pub fn parse(text: &str) -> Result<Self, PathMatchError> {
        let Some(below) = text.strip_prefix('/') else {
            return Err(PathError::Relative.into());
        };
        let (below, is_prefix) = match below.strip_suffix("**") {
            Some("") => return Ok(PathMatch::Prefix(Vec::new())),
            Some(front) => (front.strip_suffix('/').ok_or(PathMatchError::Asterisk)?, true),
            None => (below, false),
        };
        let segments = below.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = segments.iter().filter_map(Segment::name).collect();
        if let Some((_, twice)) =
            names.iter().enumerate().find(|(place, name)| names[..*place].contains(name))
        {
            return Err(PathMatchError::NameTwice(twice.to_string()));
        }
        if names.len() > MAX_NAMES {
            return Err(PathMatchError::Names);
        }
        Ok(match (is_prefix, names.is_empty()) {
            (true, _) => PathMatch::Prefix(segments),
            (false, false) => PathMatch::Template(segments),
            (false, true) => PathMatch::Exact(joined(&segments)),
        })
    }

    /// The slow and obvious reading, for `explain`. `None` for expressions, which only their table
    /// keeps compiled.
    pub(in crate::route) fn fits(&self, path: &[u8]) -> Option<bool> {
        match self {
            PathMatch::Exact(wanted) => Some(wanted.as_bytes() == path),
            PathMatch::Prefix(segments) => Some(fit(segments, true, path)),
            PathMatch::Regex(_) => None,
            PathMatch::Template(segments) => Some(fit(segments, false, path)),
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PathMatchError> {
        if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            return match name.bytes().all(plain) && !name.is_empty() {
                true => Ok(Segment::Name(name.into())),
                false => Err(PathMatchError::Name(name.into())),
            };
        }
        if text.contains(['{', '}']) {
            return Err(PathMatchError::Name(text.into()));
        }
        if text.contains('*') {
            return Err(PathMatchError::Asterisk);
        }
        let mut raw = String::from("/");
        for byte in text.bytes() {
            match byte {
                b' ' | 0x80.. => raw.push_str(&format!("%{byte:02X}")),
                _ => raw.push(char::from(byte)),
            }
        }
        // What a site refuses in requests can stand in a pattern; it just never matches there.
        let rules = PathRules { encoded_slashes: EncodedSlashes::Keep, ..PathRules::default() };
        let mut out = Vec::new();
        let canonical = match normalize::path(raw.as_bytes(), rules, &mut out) {
            Err(PathError::AboveRoot) => return Err(PathMatchError::Dots),
            other => other?.bytes(),
        };
        if canonical == b"/" && !text.is_empty() {
            return Err(PathMatchError::Dots);
        }
        Ok(Segment::Literal(String::from_utf8_lossy(&canonical[1..]).into_owned()))
    }

    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Segment::Literal(_) => None,
            Segment::Name(name) => Some(name),
        }
    }
}

fn joined(segments: &[Segment]) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        match segment {
            Segment::Literal(literal) => text.push_str(literal),
            Segment::Name(name) => text.extend(["{", name, "}"]),
        }
    }
    text
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathMatch::Exact(path) => f.write_str(path),
            PathMatch::Prefix(segments) => write!(f, "{}/**", joined(segments)),
            PathMatch::Regex(regex) => write!(f, "regex `{regex}`"),
            PathMatch::Template(segments) => f.write_str(&joined(segments)),
        }
    }
}

/// Fits segments to a path, one by one; `open` lets the path go on.
fn fit(segments: &[Segment], open: bool, path: &[u8]) -> bool {
    let mut at = 0;
    for segment in segments {
        let Some(end) = segment_end(path, at) else {
            return false;
        };
        let found = &path[at + 1..end];
        let fits = match segment {
            Segment::Literal(literal) => literal.as_bytes() == found,
            Segment::Name(_) => !found.is_empty(),
        };
        if !fits {
            return false;
        }
        at = end;
    }
    open || at == path.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_patterns_are_read_strictly() {
        let literal = |text: &str| Segment::Literal(text.into());
        let name = |text: &str| Segment::Name(text.into());
        let exact = |text: &str| Ok(PathMatch::Exact(text.into()));
        let rows = [
            ("usual", "/", exact("/")),
            ("usual", "/a/b/", exact("/a/b/")),
            ("usual", "/**", Ok(PathMatch::Prefix(vec![]))),
            ("usual", "/api/**", Ok(PathMatch::Prefix(vec![literal("api")]))),
            ("usual", "/u/{id}/**", Ok(PathMatch::Prefix(vec![literal("u"), name("id")]))),
            ("usual", "/users/{id}", Ok(PathMatch::Template(vec![literal("users"), name("id")]))),
            ("usual", "/caf\u{e9} 1", exact("/caf%C3%A9%201")),
            ("P-02", "/a%2fb", exact("/a%2Fb")),
            ("P-06", "/%41dmin", exact("/Admin")),
            ("P-01", "/a/../b", Err(PathMatchError::Dots)),
            ("P-01", "/./b", Err(PathMatchError::Dots)),
            ("P-01", "/%2e%2E/**", Err(PathMatchError::Dots)),
            ("P-05", "/%zz", Err(PathError::BadEscape.into())),
            ("usual", "/a?b", Err(PathError::Query.into())),
            ("usual", "a", Err(PathError::Relative.into())),
            ("usual", "/a/*", Err(PathMatchError::Asterisk)),
            ("usual", "/a**", Err(PathMatchError::Asterisk)),
            ("usual", "/**/a", Err(PathMatchError::Asterisk)),
            ("usual", "/{}", Err(PathMatchError::Name("".into()))),
            ("usual", "/f-{id}", Err(PathMatchError::Name("f-{id}".into()))),
            ("usual", "/{a-b}", Err(PathMatchError::Name("a-b".into()))),
            ("usual", "/{a}/{a}", Err(PathMatchError::NameTwice("a".into()))),
        ];
        for (id, text, expected) in rows {
            let found = PathMatch::parse(text);
            assert_eq!(found, expected, "{id}: {text}");
            if let Ok(pattern) = found {
                assert_eq!(PathMatch::parse(&pattern.to_string()), Ok(pattern), "{text}");
            }
        }
    }
}
