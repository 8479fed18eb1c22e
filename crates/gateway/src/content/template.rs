//! Templates (Jinja's language) that make a body of what is known.

use std::io::{self, Write};

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use transom_settings::json::Value as Json;

use super::Form;

/// Instructions that one rendering may take.
const FUEL: u64 = 200_000;
const DEEPEST: usize = 64;
/// Bytes between `{{` and `}}`, or `{%` and `%}`: the parser's own limit does not see signs and filters
/// that follow each other, for each of which it goes down once (D-17).
const LONGEST: usize = 2000;

/// A template that was read once.
#[derive(Debug)]
pub struct BodyTemplate(Environment<'static>);

const NAME: &str = "body";

/// Why nothing came of a template.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("it gave more than {0} bytes")]
    TooLong(usize),
    #[error("{0}")]
    Failed(String),
}

impl BodyTemplate {
    /// What is put in is written as the form asks: in JSON as a value, in XML with its signs escaped, so
    /// that a value never becomes structure.
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub fn new(source: String, form: Form) -> Result<Self, String> {
        if has_long_code(&source) {
            return Err(format!("what stands between its brackets is longer than {LONGEST} bytes"));
        }
        let mut environment = Environment::empty();
        let escape = match form {
            Form::Json => AutoEscape::Json,
            Form::Xml => AutoEscape::Html,
            Form::Form | Form::Text => AutoEscape::None,
        };
        environment.set_auto_escape_callback(move |_| escape.clone());
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(DEEPEST);
        add_words(&mut environment);
        environment.add_template_owned(NAME, source).map_err(|error| said(&error))?;
        Ok(BodyTemplate(environment))
    }

    /// The text for these values, of at most so many bytes.
    ///
    /// # Errors
    /// When it takes too long, gives too much, or a filter fails.
    pub fn render(&self, values: Json, most: usize) -> Result<String, RenderError> {
        let template =
            self.0.get_template(NAME).map_err(|error| RenderError::Failed(said(&error)))?;
        let mut out = Limited { out: Vec::new(), most, over: false };
        let rendered = template.render_captured_to(Value::from(Serde(values)), &mut out).map(drop);
        match rendered {
            _ if out.over => Err(RenderError::TooLong(most)),
            Err(error) => Err(RenderError::Failed(said(&error))),
            Ok(()) => {
                String::from_utf8(out.out).map_err(|_| RenderError::Failed("no text".to_owned()))
            }
        }
    }
}

/// Whether a piece of code in a template is longer than it may be.
fn has_long_code(source: &str) -> bool {
    let ends = |(at, open): (usize, &str)| {
        let rest = &source.as_bytes()[at..];
        let close: &[u8] = if open == "{{" { b"}}" } else { b"%}" };
        rest.len() <= LONGEST || rest[..LONGEST].windows(2).any(|two| two == close)
    };
    !source.match_indices("{{").chain(source.match_indices("{%")).all(ends)
}

/// The filters that shape what is put in. Those that would make much of little are left out.
fn add_words(environment: &mut Environment<'static>) {
    use minijinja::filters;
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("default", filters::default);
    environment.add_filter("length", filters::length);
    environment.add_filter("join", filters::join);
    environment.add_filter("first", filters::first);
    environment.add_filter("last", filters::last);
    environment.add_filter("int", filters::int);
    environment.add_filter("float", filters::float);
    environment.add_filter("string", filters::string);
    environment.add_filter("round", filters::round);
    environment.add_filter("abs", filters::abs);
    environment.add_filter("items", filters::items);
    environment.add_filter("tojson", filters::tojson);
    environment.add_filter("escape", filters::escape);
    environment.add_filter("safe", filters::safe);
    environment.add_filter("replace", filters::replace);
    use minijinja::tests;
    environment.add_test("defined", tests::is_defined);
    environment.add_test("none", tests::is_none);
    environment.add_test("string", tests::is_string);
    environment.add_test("number", tests::is_number);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("sequence", tests::is_sequence);
}

fn said(error: &minijinja::Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return "it takes too long".to_owned();
    }
    let place = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("{}: {detail}{place}", error.kind()),
        None => format!("{}{place}", error.kind()),
    }
}

struct Limited {
    out: Vec<u8>,
    most: usize,
    over: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() + bytes.len() > self.most {
            self.over = true;
            return Err(io::Error::other("too long"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    fn render(source: &str, form: Form, most: usize) -> Result<String, String> {
        let template = BodyTemplate::new(source.to_owned(), form)?;
        let values = json!({ "body": { "a": "x\"<&", "n": 2, "list": [1, 2] } });
        template.render(values, most).map_err(|error| error.to_string())
    }

    #[test]
    fn d_17_code_without_end_is_refused_before_it_is_read() {
        let times = |text: &str| text.repeat(100_000);
        for code in [
            format!("{{{{ {}1 }}}}", times("-")),
            format!("{{{{ {}1 }}}}", times("not ")),
            format!("{{{{ 1{} }}}}", times("|e")),
            format!("{{% if {}1 %}}", times("-")),
            times("{{"),
        ] {
            let error = BodyTemplate::new(code, Form::Text).unwrap_err();
            assert_eq!(error, "what stands between its brackets is longer than 2000 bytes");
        }
        let long = format!("{}{{{{ body.n }}}}{}", times("x "), times("}"));
        assert!(BodyTemplate::new(long, Form::Text).is_ok(), "text may be as long as it likes");
    }

    #[test]
    fn gw_22_what_is_put_in_never_becomes_structure() {
        for (form, source, expected) in [
            (
                Form::Json,
                r#"{"v": {{ body.a }}, "w": {{ body.missing.deep }}}"#,
                r#"{"v": "x\"<&", "w": null}"#,
            ),
            (Form::Xml, "<v>{{ body.a }}</v>", "<v>x&quot;&lt;&amp;</v>"),
            (Form::Text, "{{ body.a }}", "x\"<&"),
            (
                Form::Json,
                "[{% for n in body.list %}{{ n }}{% if not loop.last %},{% endif %}{% endfor %}]",
                "[1,2]",
            ),
        ] {
            assert_eq!(render(source, form, 1000).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn gw_22_templates_are_bounded() {
        let long = render("{% for a in body.list %}aaaaaaaaaa{% endfor %}", Form::Text, 15);
        assert_eq!(long, Err("it gave more than 15 bytes".to_owned()));
        let nested = "{% set l = [1,2,3,4,5,6,7,8,9,10] %}{% for a in l %}{% for b in l %}{% for c in l %}{% for d in l %}{% for e in l %}{% for f in l %}x{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}";
        assert_eq!(render(nested, Form::Text, 1 << 24), Err("it takes too long".to_owned()));
        let broken = render("a\n{% if %}", Form::Text, 10).unwrap_err();
        assert!(broken.contains("line 2"), "{broken}");
    }
}
