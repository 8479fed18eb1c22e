//! Patterns of paths.

use std::fmt;

use super::basic::Regex;
use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// Which paths a route answers for.
///
/// `/a` is that path only. `/api/**` is `/api` and everything below it. `/users/{id}` is one
/// segment in the place of the braces, which is never empty; it may end in `/**` too.
/// `~/v[0-9]+/.*` is a regular expression for the whole path. Matching sees the canonical path
/// without the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    Exact(String),
    /// The path before `/**`; empty for `/**`, which is every path.
    Prefix(String),
    Template {
        segments: Vec<Segment>,
        /// Whether it ends in `/**`.
        below: bool,
    },
    Regex(Regex),
}

/// Part of a path between slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// Any one segment, under this name.
    Capture(String),
}

impl PathPattern {
    /// Every path.
    pub fn all() -> Self {
        PathPattern::Prefix(String::new())
    }

    /// Whether a canonical path is meant. `None` for a regular expression, which is matched by
    /// whoever compiled it.
    pub fn matches(&self, path: &str) -> Option<bool> {
        Some(match self {
            PathPattern::Exact(exact) => exact == path,
            PathPattern::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            PathPattern::Template { segments, below } => {
                let mut parts = path.strip_prefix('/')?.split('/');
                let all = segments.iter().all(|segment| match (segment, parts.next()) {
                    (Segment::Literal(literal), Some(part)) => literal == part,
                    (Segment::Capture(_), Some(part)) => !part.is_empty(),
                    (_, None) => false,
                });
                all && (*below || parts.next().is_none())
            }
            PathPattern::Regex(_) => return None,
        })
    }

    /// Whether every path of the other pattern is one of this, as far as that can be told.
    pub fn covers(&self, other: &PathPattern) -> bool {
        if self == other || *self == PathPattern::all() {
            return true;
        }
        match (self, other) {
            (pattern, PathPattern::Exact(path)) => pattern.matches(path) == Some(true),
            (PathPattern::Prefix(_), PathPattern::Prefix(path)) => {
                !path.is_empty() && self.matches(path) == Some(true)
            }
            (PathPattern::Prefix(prefix), PathPattern::Template { segments, .. }) => {
                let literal = segments.iter().map_while(|segment| match segment {
                    Segment::Literal(literal) => Some(format!("/{literal}")),
                    Segment::Capture(_) => None,
                });
                self.matches(&literal.collect::<String>()) == Some(true) || prefix.is_empty()
            }
            (
                PathPattern::Template { segments, below },
                PathPattern::Template { segments: others, below: other_below },
            ) => {
                let lengths = match (below, other_below) {
                    (false, true) => false,
                    (false, false) => segments.len() == others.len(),
                    (true, _) => segments.len() <= others.len(),
                };
                lengths
                    && segments.iter().zip(others).all(|pair| match pair {
                        (Segment::Capture(_), Segment::Capture(_)) => true,
                        (Segment::Capture(_), Segment::Literal(literal)) => !literal.is_empty(),
                        (ours, theirs) => ours == theirs,
                    })
            }
            _ => false,
        }
    }

    /// A path that this pattern means; none can be told for a regular expression.
    pub fn example(&self) -> Option<String> {
        match self {
            PathPattern::Exact(path) => Some(path.clone()),
            PathPattern::Prefix(prefix) => Some(format!("{prefix}/")),
            PathPattern::Template { segments, .. } => {
                let parts = segments.iter().map(|segment| match segment {
                    Segment::Literal(literal) => format!("/{literal}"),
                    Segment::Capture(name) => format!("/{name}"),
                });
                Some(parts.collect())
            }
            PathPattern::Regex(_) => None,
        }
    }
}

/// What may stand in a path as it is (RFC 3986 §3.3), besides letters and digits.
const PLAIN: &str = "-._~!$&'()*+,;=:@";

/// Refuses what no canonical path can look like: the pattern would never match.
fn check_segment(segment: &str) -> Result<(), (String, Option<&'static str>)> {
    if matches!(segment, "." | "..") {
        return Err((format!("{} is resolved before matching", quote(segment)), None));
    }
    let mut rest = segment;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '%' => {
                let hex = rest.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                let byte = hex.filter(|_| rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
                let Some(byte) = byte else {
                    return Err(("a `%` is not followed by two hexadecimal digits".into(), None));
                };
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    let hint = "paths are decoded before matching, write the letter itself";
                    return Err((format!("`%{}` is a plain letter", &rest[..2]), Some(hint)));
                }
                if rest[..2].bytes().any(|c| c.is_ascii_lowercase()) {
                    let hint =
                        "write hexadecimal digits in upper case, as canonical paths have them";
                    return Err((format!("`%{}` is in lower case", &rest[..2]), Some(hint)));
                }
                rest = &rest[2..];
            }
            '*' => {
                let hint =
                    "write `/**` at the end for everything below, or `{name}` for one segment";
                return Err(("`*` cannot stand here".into(), Some(hint)));
            }
            '?' | '#' => {
                let hint = "match the query with `query:`";
                return Err((format!("`{c}` does not belong to a path"), Some(hint)));
            }
            c if c.is_ascii_alphanumeric() || PLAIN.contains(c) => {}
            c => {
                let hint = "write it as it is sent, percent-encoded";
                return Err((
                    format!("{} cannot stand in a path", quote(&c.to_string())),
                    Some(hint),
                ));
            }
        }
    }
    Ok(())
}

/// The expression for the whole of a text in which this one is to be found.
fn whole(found: &str) -> String {
    let (before, rest) = found.strip_prefix('^').map_or((".*", found), |rest| ("", rest));
    let (rest, behind) = rest.strip_suffix('$').map_or((rest, ".*"), |rest| (rest, ""));
    format!("{before}{rest}{behind}")
}

impl FromText for PathPattern {
    const WHAT: &'static str = "a path such as `/a`, `/api/**`, `/users/{id}` or `~/v[0-9]+/.*`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse =
            |why: String| Refusal::new(format!("{} is not a path pattern: {why}", quote(text)));
        if let Some(regex) = text.strip_prefix('~') {
            // as nginx writes it
            if regex.starts_with([' ', '*']) {
                let (found, flags) = match regex.strip_prefix('*') {
                    Some(found) => (found.trim_start(), "(?i)"),
                    None => (regex.trim_start(), ""),
                };
                let whole = whole(found);
                return Err(refuse("the expression begins right behind the `~`".into()).hint(
                    format!("it holds for the whole path; did you mean `~{flags}{whole}`?"),
                ));
            }
            return Regex::from_text(regex).map(PathPattern::Regex);
        }
        let Some(inner) = text.strip_prefix('/') else {
            let hint = match text.starts_with('^') {
                true => format!("an expression begins with `~`; did you mean `~{}`?", whole(text)),
                false if text.ends_with('*') => {
                    let base = text.trim_end_matches(['*', '/']);
                    let slash = if base.is_empty() { "" } else { "/" };
                    format!("did you mean `{slash}{base}/**`?")
                }
                false => format!("did you mean `/{text}`?"),
            };
            return Err(refuse("it does not begin with `/`".into()).hint(hint));
        };
        let (inner, below) = match inner {
            "**" => return Ok(PathPattern::all()),
            inner => match inner.strip_suffix("/**") {
                Some(inner) => (inner, true),
                None => (inner, false),
            },
        };
        let (mut segments, mut captures) = (Vec::new(), 0);
        let parts: Vec<&str> = inner.split('/').collect();
        for (index, part) in parts.iter().enumerate() {
            if part.is_empty() && index + 1 < parts.len() {
                return Err(refuse("a part between slashes is empty".into()));
            }
            if !part.contains(['{', '}']) {
                check_segment(part).map_err(|(why, hint)| Refusal {
                    hint: hint.map(str::to_owned),
                    ..refuse(why)
                })?;
                segments.push(Segment::Literal((*part).to_owned()));
                continue;
            }
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let name = name.filter(|name| {
                !name.is_empty()
                    && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
            });
            let Some(name) = name else {
                return Err(refuse(format!("{} is not a capture", quote(part)))
                    .hint("`{name}` stands for a whole segment, the name is letters and digits"));
            };
            if segments.contains(&Segment::Capture(name.to_owned())) {
                return Err(refuse(format!("the capture {} is given twice", quote(name))));
            }
            captures += 1;
            segments.push(Segment::Capture(name.to_owned()));
        }
        if below && segments.last() == Some(&Segment::Literal(String::new())) {
            return Err(refuse("a part between slashes is empty".into()));
        }
        Ok(match (captures, below) {
            (0, false) => PathPattern::Exact(text.to_owned()),
            (0, true) => PathPattern::Prefix(format!("/{inner}")),
            (_, below) => PathPattern::Template { segments, below },
        })
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({
            "type": "string",
            "pattern": "^[/~]",
            "examples": ["/", "/api/**", "/users/{id}", "~/v[0-9]+/.*"],
        })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathPattern::Exact(path) => f.write_str(path),
            PathPattern::Prefix(prefix) => write!(f, "{prefix}/**"),
            PathPattern::Template { segments, below } => {
                for segment in segments {
                    match segment {
                        Segment::Literal(literal) => write!(f, "/{literal}")?,
                        Segment::Capture(name) => write!(f, "/{{{name}}}")?,
                    }
                }
                f.write_str(if *below { "/**" } else { "" })
            }
            PathPattern::Regex(regex) => write!(f, "~{regex}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        crate::scalar::check::<PathPattern>(&[
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a/", Ok("/a/")),
            ("/api/**", Ok("/api/**")),
            ("/**", Ok("/**")),
            ("/users/{id}", Ok("/users/{id}")),
            ("/users/{id}/orders/**", Ok("/users/{id}/orders/**")),
            ("~^/x", Ok("~^/x")),
            ("/a%20b", Ok("/a%20b")),
            ("api", Err("`api` is not a path pattern: it does not begin with `/`")),
            ("^/a", Err("`^/a` is not a path pattern: it does not begin with `/`")),
            (
                "~ /a",
                Err("`~ /a` is not a path pattern: the expression begins right behind the `~`"),
            ),
            (
                "~* /a",
                Err("`~* /a` is not a path pattern: the expression begins right behind the `~`"),
            ),
            ("/a//b", Err("`/a//b` is not a path pattern: a part between slashes is empty")),
            ("//**", Err("`//**` is not a path pattern: a part between slashes is empty")),
            ("/a/../b", Err("`/a/../b` is not a path pattern: `..` is resolved before matching")),
            ("/a*", Err("`/a*` is not a path pattern: `*` cannot stand here")),
            ("/**/a", Err("`/**/a` is not a path pattern: `*` cannot stand here")),
            ("/a?b=c", Err("`/a?b=c` is not a path pattern: `?` does not belong to a path")),
            ("/a b", Err("`/a b` is not a path pattern: ` ` cannot stand in a path")),
            ("/%61", Err("`/%61` is not a path pattern: `%61` is a plain letter")),
            ("/%c3%BC", Err("`/%c3%BC` is not a path pattern: `%c3` is in lower case")),
            (
                "/%2",
                Err("`/%2` is not a path pattern: a `%` is not followed by two hexadecimal digits"),
            ),
            ("/{a}/{a}", Err("`/{a}/{a}` is not a path pattern: the capture `a` is given twice")),
            ("/x{a}", Err("`/x{a}` is not a path pattern: `x{a}` is not a capture")),
        ]);
    }

    #[test]
    fn matching() {
        for (pattern, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/api/**", "/api", true),
            ("/api/**", "/api/", true),
            ("/api/**", "/api/x/y", true),
            ("/api/**", "/apix", false),
            ("/**", "/", true),
            ("/users/{id}", "/users/7", true),
            ("/users/{id}", "/users/", false),
            ("/users/{id}", "/users/7/x", false),
            ("/users/{id}/**", "/users/7/x", true),
            ("/users/{id}/**", "/users/7", true),
        ] {
            let found = PathPattern::from_text(pattern).unwrap().matches(path);
            assert_eq!(found, Some(expected), "{pattern} {path}");
        }
    }

    #[test]
    fn covering() {
        for (wide, narrow, expected) in [
            ("/**", "/a", true),
            ("/**", "~^/x", true),
            ("/a/**", "/a/b/**", true),
            ("/a/b/**", "/a/**", false),
            ("/a/**", "/**", false),
            ("/a/**", "/a/{x}", true),
            ("/a/b/**", "/a/{x}", false),
            ("/a/{x}", "/a/{y}", true),
            ("/a/{x}", "/a/b", true),
            ("/a/{x}", "/a/{y}/**", false),
            ("/a/{x}/**", "/a/{y}/z", true),
            ("/a/b", "/a/{x}", false),
            ("~^/x", "~^/x", true),
            ("~^/x", "/x", false),
        ] {
            let pattern = |text| PathPattern::from_text(text).unwrap();
            assert_eq!(pattern(wide).covers(&pattern(narrow)), expected, "{wide} {narrow}");
        }
    }
}
