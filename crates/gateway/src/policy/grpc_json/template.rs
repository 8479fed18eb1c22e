//! Path templates of google.api.http: `/v1/{name=shelves/*/books/**}:verb`.

use crate::escapes;
use std::cmp::Ordering;

/// A path template.
///
/// ```text
/// Template = "/" Segments [ Verb ]
/// Segments = Segment { "/" Segment }
/// Segment  = "*" | "**" | LITERAL | Variable
/// Variable = "{" FieldPath [ "=" Segments ] "}"
/// Verb     = ":" LITERAL
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(super) segments: Vec<Segment>,
    pub(super) verb: Option<String>,
    variables: Vec<Variable>,
}

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Exactly this text, as it is without escapes.
    Literal(String),
    /// Any one segment.
    One,
    /// Any number of segments, at the end.
    Rest,
}

/// A field that is filled with a stretch of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    /// `shelf.name`, taken apart.
    field: Vec<String>,
    /// The segments that it stands for.
    from: usize,
    to: usize,
}

/// Fields and the texts that the path has for them.
pub type Bound = Vec<(Vec<String>, String)>;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("it does not begin with `/`")]
    NoSlash,
    #[error("a segment is empty")]
    Empty,
    #[error("`**` is not at the end")]
    RestInside,
    #[error("a `{{` is never closed")]
    Open,
    #[error("a variable stands inside of another, or beside other text in its segment")]
    Mixed,
    #[error("`{0}` is not the name of a field")]
    Field(String),
    #[error("it has more than {MOST} segments")]
    TooLong,
}

/// Segments of one template.
const MOST: usize = 64;

impl Template {
    /// # Errors
    /// Why it is no template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix('/').ok_or(TemplateError::NoSlash)?;
        let mut template = Template { segments: Vec::new(), verb: None, variables: Vec::new() };
        // the verb follows the last `:` behind the last `/` and `}`
        let tail = rest.rfind(['/', '}']).map_or(0, |at| at + 1);
        let rest = match rest[tail..].rfind(':') {
            Some(at) => {
                let (before, verb) = rest.split_at(tail + at);
                let verb = &verb[1..];
                if verb.is_empty() {
                    return Err(TemplateError::Empty);
                }
                template.verb = Some(decoded(verb, false));
                before
            }
            None => rest,
        };
        if rest.is_empty() && template.verb.is_none() {
            return Ok(template);
        }
        let mut rest = Some(rest);
        while let Some(here) = rest {
            rest = match here.strip_prefix('{') {
                Some(variable) => {
                    let (variable, after) = variable.split_once('}').ok_or(TemplateError::Open)?;
                    template.variable(variable)?;
                    match after.strip_prefix('/') {
                        Some(after) => Some(after),
                        None if after.is_empty() => None,
                        None => return Err(TemplateError::Mixed),
                    }
                }
                None => {
                    let (segment, after) = match here.split_once('/') {
                        Some((segment, after)) => (segment, Some(after)),
                        None => (here, None),
                    };
                    template.segment(segment)?;
                    after
                }
            };
        }
        let inside = template.segments.len().saturating_sub(1);
        if template.segments[..inside].contains(&Segment::Rest) {
            return Err(TemplateError::RestInside);
        }
        Ok(template)
    }

    fn segment(&mut self, text: &str) -> Result<(), TemplateError> {
        if self.segments.len() == MOST {
            return Err(TemplateError::TooLong);
        }
        self.segments.push(match text {
            "" => return Err(TemplateError::Empty),
            "*" => Segment::One,
            "**" => Segment::Rest,
            text if text.contains(['{', '}', '*']) => return Err(TemplateError::Mixed),
            text => Segment::Literal(decoded(text, false)),
        });
        Ok(())
    }

    fn variable(&mut self, text: &str) -> Result<(), TemplateError> {
        let (field, segments) = text.split_once('=').unwrap_or((text, "*"));
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if !field.split('.').all(is_name) {
            return Err(TemplateError::Field(field.to_owned()));
        }
        let from = self.segments.len();
        for segment in segments.split('/') {
            self.segment(segment)?;
        }
        let field = field.split('.').map(str::to_owned).collect();
        self.variables.push(Variable { field, from, to: self.segments.len() });
        Ok(())
    }

    /// The fields that a path fills, if it is of this form. `path` is canonical and without query.
    pub fn matches(&self, path: &str) -> Option<Bound> {
        let mut path = path.strip_prefix('/')?;
        if let Some(verb) = &self.verb {
            let (before, found) = path.rsplit_once(':')?;
            if found.contains('/') || decoded(found, false) != *verb {
                return None;
            }
            path = before;
        }
        let found: Vec<&str> = match path {
            "" => Vec::new(),
            path => path.split('/').collect(),
        };
        let fixed = self.segments.len();
        let open = self.segments.last() == Some(&Segment::Rest);
        if found.len() < fixed - usize::from(open) || !open && found.len() > fixed {
            return None;
        }
        for (segment, found) in self.segments.iter().zip(&found) {
            match segment {
                Segment::Literal(text) if decoded(found, false) == *text => {}
                Segment::One if !found.is_empty() => {}
                Segment::Rest => {}
                Segment::Literal(_) | Segment::One => return None,
            }
        }
        let bound = self.variables.iter().map(|variable| {
            let to = if open && variable.to == fixed { found.len() } else { variable.to };
            let segments = found.get(variable.from..to).unwrap_or_default();
            // of several segments a `/` inside of one stays what it is
            let several = variable.to - variable.from > 1
                || self.segments.get(variable.from) == Some(&Segment::Rest);
            let texts: Vec<_> = segments.iter().map(|text| decoded(text, several)).collect();
            (variable.field.clone(), texts.join("/"))
        });
        Some(bound.collect())
    }

    /// The fields that a path fills.
    pub fn fields(&self) -> impl Iterator<Item = &[String]> {
        self.variables.iter().map(|variable| &variable.field[..])
    }

    /// The text of the first segment, if only one is possible.
    pub(super) fn first(&self) -> Option<&str> {
        match self.segments.first() {
            Some(Segment::Literal(text)) => Some(text),
            _ => None,
        }
    }

    /// Which of two is looked at first: the one that says more from the left on, and one with a verb
    /// before one without.
    pub(super) fn order(&self, other: &Template) -> Ordering {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::One => 1,
            Segment::Rest => 2,
        };
        let own = self.segments.iter().map(rank);
        other
            .verb
            .is_some()
            .cmp(&self.verb.is_some())
            .then_with(|| own.cmp(other.segments.iter().map(rank)))
    }
}

/// A text without its escapes. `keep_slashes`: an escaped `/` stays an escape.
pub(super) fn decoded(text: &str, keep_slashes: bool) -> String {
    let bytes = match keep_slashes {
        true => escapes::undone_but(text.as_bytes(), b'/'),
        false => escapes::undone(text.as_bytes()),
    };
    escapes::text(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_23_templates_match_paths_and_fill_fields() {
        for (template, path, expected) in [
            ("/v1/shelves", "/v1/shelves", Some(vec![])),
            ("/v1/shelves", "/v1/shelves/", None),
            ("/v1/shelves", "/v1", None),
            ("/", "/", Some(vec![])),
            ("/v1/{id}", "/v1/7", Some(vec![("id", "7")])),
            ("/v1/{id}", "/v1/", None),
            ("/v1/{id}", "/v1/7/8", None),
            ("/v1/{a.b_c}/x", "/v1/7/x", Some(vec![("a.b_c", "7")])),
            ("/v1/{name=shelves/*}", "/v1/shelves/3", Some(vec![("name", "shelves/3")])),
            ("/v1/{name=shelves/*}", "/v1/other/3", None),
            (
                "/v1/{name=shelves/*/books/**}",
                "/v1/shelves/1/books/2/3",
                Some(vec![("name", "shelves/1/books/2/3")]),
            ),
            ("/v1/{name=**}", "/v1", Some(vec![("name", "")])),
            ("/v1/{name=**}", "/v1/a/b", Some(vec![("name", "a/b")])),
            ("/v1/**", "/v1/a/b", Some(vec![])),
            ("/v1/*/x", "/v1/a/x", Some(vec![])),
            ("/v1/{id}:undelete", "/v1/7:undelete", Some(vec![("id", "7")])),
            ("/v1/{id}:undelete", "/v1/7", None),
            ("/v1/{id}", "/v1/7:undelete", Some(vec![("id", "7:undelete")])),
            ("/v1/all:clear", "/v1/all:clear", Some(vec![])),
            // escapes: one segment loses all, several keep the slash
            ("/v1/{id}", "/v1/a%2Fb%20c", Some(vec![("id", "a/b c")])),
            ("/v1/{id=**}", "/v1/a%2Fb%20c/d", Some(vec![("id", "a%2Fb c/d")])),
            ("/v1/a%20b", "/v1/a%20b", Some(vec![])),
            ("/v1/{x}/{y=a/*}", "/v1/1/a/2", Some(vec![("x", "1"), ("y", "a/2")])),
        ] {
            let found = Template::parse(template).unwrap().matches(path);
            let found = found.map(|bound| {
                bound.into_iter().map(|(field, text)| (field.join("."), text)).collect::<Vec<_>>()
            });
            let expected = expected.map(|bound| {
                let owned =
                    bound.into_iter().map(|(f, t): (&str, &str)| (f.to_owned(), t.to_owned()));
                owned.collect::<Vec<_>>()
            });
            assert_eq!(found, expected, "{template} {path}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let deep = "/a".repeat(65);
        for (text, expected) in [
            ("v1", TemplateError::NoSlash),
            ("", TemplateError::NoSlash),
            ("/v1//x", TemplateError::Empty),
            ("/v1/", TemplateError::Empty),
            ("/v1/x:", TemplateError::Empty),
            ("/v1/**/x", TemplateError::RestInside),
            ("/v1/{a=**}/x", TemplateError::RestInside),
            ("/v1/{a", TemplateError::Open),
            ("/v1/{a}b", TemplateError::Mixed),
            ("/v1/{a={b}}", TemplateError::Mixed),
            ("/v1/a*", TemplateError::Mixed),
            ("/v1/{1a}", TemplateError::Field("1a".to_owned())),
            ("/v1/{a..b}", TemplateError::Field("a..b".to_owned())),
            (&deep, TemplateError::TooLong),
        ] {
            assert_eq!(Template::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_one_that_says_more_goes_first() {
        let mut all: Vec<_> = ["/v1/**", "/v1/{a}", "/v1/b", "/v1/{a}:c", "/v1/b/{c}"]
            .iter()
            .map(|text| (Template::parse(text).unwrap(), *text))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.order(other));
        let texts: Vec<_> = all.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts, ["/v1/{a}:c", "/v1/b", "/v1/b/{c}", "/v1/{a}", "/v1/**"]);
    }
}
