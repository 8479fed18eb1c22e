//! XML and JSON, each as the other.
//!
//! An element is an object: attributes as `@name`, elements as `name`, several of one name as a list, text as
//! `#text`. One with nothing but text is that text, an empty one is null. The whole is an object with
//! the one root: `<a x="1"><b>2</b><b>3</b></a>` is `{"a": {"@x": "1", "b": ["2", "3"]}}`. Prefixes
//! stay as they are. All values are texts: XML knows no others. Elements are written in the order of
//! their names, since objects have none; where another is asked for, a template writes it.

pub mod element;
mod walk;

use quick_xml::escape::{escape, partial_escape};
use transom_settings::json::{Map, Value as Json};

use self::walk::{Builder, walk};
use super::coding::Unread;

/// How deep elements may lie in each other.
const DEEPEST: usize = 64;

/// Why a text is no XML that is read here, or a value cannot be written as XML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("it is no XML: {0}")]
    Malformed(String),
    #[error(transparent)]
    Unread(Unread),
    #[error("it declares a type or entities")]
    Declares,
    #[error("it is nested deeper than {DEEPEST}")]
    TooDeep,
    #[error("it has too many elements")]
    TooMany,
    #[error("`{0}` is no name of an element")]
    Name(String),
    #[error("it has more than {0} bytes")]
    TooLong(usize),
}

/// The document as JSON.
///
/// # Errors
/// When it is malformed, too deep or too large, says that it is in another coding, or declares what
/// would have to be expanded.
pub fn read(text: &str) -> Result<Json, XmlError> {
    let mut reading = Reading::default();
    walk(text, &mut reading)?;
    Ok(Json::Object(reading.root))
}

/// Whether the text is a document that [`read`] reads.
///
/// # Errors
/// As with [`read`].
pub fn check(text: &str) -> Result<(), XmlError> {
    walk(text, &mut Nothing)
}

/// An element that is being read.
struct Open {
    name: String,
    inside: Map<String, Json>,
    text: String,
}

#[derive(Default)]
struct Reading {
    open: Vec<Open>,
    root: Map<String, Json>,
}

impl Builder for Reading {
    fn begin(&mut self, name: &str, attributes: Vec<(String, String)>) -> Result<(), XmlError> {
        let attributes = attributes.into_iter();
        let inside = attributes.map(|(name, value)| (format!("@{name}"), value.into())).collect();
        self.open.push(Open { name: name.to_owned(), inside, text: String::new() });
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
    }

    fn end(&mut self) {
        let Some(Open { name, mut inside, text }) = self.open.pop() else { return };
        let value = match (inside.is_empty(), text.trim().is_empty()) {
            (true, true) => Json::Null,
            (true, false) => text.into(),
            (false, true) => inside.into(),
            (false, false) => {
                inside.insert("#text".to_owned(), text.trim().into());
                inside.into()
            }
        };
        let parent = self.open.last_mut().map_or(&mut self.root, |parent| &mut parent.inside);
        add(parent, name, value);
    }
}

struct Nothing;

impl Builder for Nothing {
    fn begin(&mut self, _: &str, _: Vec<(String, String)>) -> Result<(), XmlError> {
        Ok(())
    }

    fn text(&mut self, _: &str) {}

    fn end(&mut self) {}
}

/// Adds an element to what its parent holds; several of one name are a list. The value of an element
/// is never one itself.
pub fn add(parent: &mut Map<String, Json>, name: String, value: Json) {
    match parent.get_mut(&name) {
        None => drop(parent.insert(name, value)),
        Some(Json::Array(list)) => list.push(value),
        Some(one) => *one = vec![std::mem::take(one), value].into(),
    }
}

/// A value as XML. One that is no object with a single key becomes the content of an element `root`.
///
/// # Errors
/// When a key cannot be the name of an element, or it lies too deep, or it would have more than about `most`
/// bytes: each value of a list has the name of the list.
pub fn write(value: &Json, root: &str, most: usize) -> Result<String, XmlError> {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    match value {
        Json::Object(map) if map.len() == 1 && map.values().all(|one| !one.is_array()) => {
            for (name, value) in map {
                write_element(name, value, 0, most, &mut out)?;
            }
        }
        Json::Array(_) => {
            let items = Map::from_iter([("item".to_owned(), value.clone())]);
            write_element(root, &Json::Object(items), 0, most, &mut out)?;
        }
        other => write_element(root, other, 0, most, &mut out)?,
    }
    Ok(out)
}

/// One element, or for a list one for each of its values.
fn write_element(
    name: &str,
    value: &Json,
    depth: usize,
    most: usize,
    out: &mut String,
) -> Result<(), XmlError> {
    if out.len() > most {
        return Err(XmlError::TooLong(most));
    }
    if depth >= DEEPEST {
        return Err(XmlError::TooDeep);
    }
    if !is_name(name) {
        return Err(XmlError::Name(name.chars().take(64).collect()));
    }
    match value {
        Json::Array(list) => {
            for value in list {
                // a list in a list has no name of its own
                let nested =
                    value.is_array().then(|| Map::from_iter([("item".to_owned(), value.clone())]));
                let nested = nested.map(Json::Object);
                write_element(name, nested.as_ref().unwrap_or(value), depth, most, out)?;
            }
            return Ok(());
        }
        Json::Null => out.push_str(&format!("<{name}/>")),
        Json::Object(map) => {
            out.push_str(&format!("<{name}"));
            for (key, value) in map {
                let Some(attribute) = key.strip_prefix('@') else { continue };
                if !is_name(attribute) {
                    return Err(XmlError::Name(key.chars().take(64).collect()));
                }
                out.push_str(&format!(" {attribute}=\"{}\"", in_attribute(&text_of(value))));
            }
            out.push('>');
            for (key, value) in map {
                match key.as_str() {
                    "#text" => out.push_str(&in_element(&text_of(value))),
                    key if key.starts_with('@') => {}
                    key => write_element(key, value, depth + 1, most, out)?,
                }
            }
            out.push_str(&format!("</{name}>"));
        }
        scalar => {
            out.push_str(&format!("<{name}>{}</{name}>", in_element(&text_of(scalar))));
        }
    }
    Ok(())
}

fn text_of(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// A text as it stands between quotes.
pub fn in_attribute(text: &str) -> String {
    escape(legal(text)).into_owned()
}

/// A text as it stands in an element.
pub fn in_element(text: &str) -> String {
    partial_escape(legal(text)).into_owned()
}

/// XML 1.0 §2.2: control characters cannot stand in XML, however they are written.
pub fn legal(text: &str) -> String {
    let is_legal = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if is_legal(&c) { c } else { '\u{fffd}' }).collect()
}

/// XML 1.0 §2.3, for names in ASCII and whatever lies beyond it.
fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':' || c.is_alphabetic();
    let further = |c: char| first(c) || c.is_ascii_digit() || c == '-' || c == '.';
    let mut letters = name.chars();
    letters.next().is_some_and(first) && letters.all(further)
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    #[test]
    fn gw_26_xml_is_read() {
        for (text, expected) in [
            (
                "<?xml version='1.0'?><a x=\"1\"><b>2</b><b>3</b><c/> </a>",
                Ok(json!({ "a": { "@x": "1", "b": ["2", "3"], "c": null } })),
            ),
            (
                "<s:a xmlns:s='u'>x &amp; &#65;<![CDATA[<y>]]></s:a>",
                Ok(json!({ "s:a": { "@xmlns:s": "u", "#text": "x & A<y>" } })),
            ),
            ("<a>x<!-- no -->y</a>", Ok(json!({ "a": "xy" }))),
            ("<!DOCTYPE a><a/>", Err(XmlError::Declares)),
            ("<a>&b;</a>", Err(XmlError::Declares)),
            ("<a b='&c;'/>", Err(XmlError::Declares)),
            (
                "\u{feff}<?xml version='1.0' encoding='UTF-8'?><a>\u{e4}</a>",
                Ok(json!({ "a": "\u{e4}" })),
            ),
            ("<?xml version='1.0' encoding='iso-8859-1'?><a>b</a>", Ok(json!({ "a": "b" }))),
            (
                "<?xml version='1.0' encoding='iso-8859-1'?><a>\u{e4}</a>",
                Err(XmlError::Unread(Unread::Other)),
            ),
            ("<?xml version='1.0' encoding='utf-7'?><a/>", Err(XmlError::Unread(Unread::Other))),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for broken in [
            "",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "x",
            "<a/>x",
            "<a b='1' b='2'/>",
            "<a><?xml version='1.0'?></a>",
            "<a/><?xml version='1.0'?>",
        ] {
            assert!(matches!(read(broken), Err(XmlError::Malformed(_))), "{broken}");
        }
        for name in ["@x", "#text", "1a", "a=b", "&a"] {
            let element = read(&format!("<a><{name}/></a>"));
            assert_eq!(element, Err(XmlError::Name(name.to_owned())), "{name}");
        }
        assert_eq!(read("<a @x='1'/>"), Err(XmlError::Name("@x".to_owned())));
        let deep = |n| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
        assert!(read(&deep(DEEPEST)).is_ok());
        assert_eq!(read(&deep(DEEPEST + 1)), Err(XmlError::TooDeep));
    }

    #[test]
    fn gw_26_json_is_written_and_read_again_as_it_was() {
        for (value, expected) in [
            (
                json!({ "a": { "@x": "<\"", "b": ["1", "2 & <"], "c": null, "#text": "t" } }),
                "<a x=\"&lt;&quot;\">t<b>1</b><b>2 &amp; &lt;</b><c/></a>",
            ),
            (json!({ "a": "x" }), "<a>x</a>"),
        ] {
            let written = write(&value, "root", 10_000).unwrap();
            assert_eq!(written.split_once('\n').unwrap().1, expected);
            assert_eq!(read(&written), Ok(value));
        }
        for (value, expected) in [
            (json!([1, [2]]), "<root><item>1</item><item><item>2</item></item></root>"),
            (json!({ "a": 1, "b": true }), "<root><a>1</a><b>true</b></root>"),
            (json!("a\u{0}b"), "<root>a\u{fffd}b</root>"),
        ] {
            assert_eq!(
                write(&value, "root", 10_000).unwrap().split_once('\n').unwrap().1,
                expected
            );
        }
        // lists are no level of their own
        let deep = format!("{}<b/><b/>{}", "<a>".repeat(DEEPEST - 1), "</a>".repeat(DEEPEST - 1));
        assert!(write(&read(&deep).unwrap(), "root", 10_000).unwrap().ends_with(&deep));
        for name in ["", "1a", "a b", "<x>", "a>"] {
            assert!(write(&json!({ name: 1 }), "root", 10_000).is_err(), "{name}");
        }
    }

    #[test]
    fn gw_22_a_long_name_before_many_values_does_not_fill_the_memory() {
        let value = json!({ "n".repeat(100_000): vec![1; 10_000] });
        assert_eq!(write(&value, "root", 1 << 20), Err(XmlError::TooLong(1 << 20)));
    }
}
