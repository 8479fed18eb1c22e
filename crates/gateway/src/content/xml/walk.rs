//! XML as events, within limits: what every reader of it goes through.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::{DEEPEST, XmlError, is_name};
use crate::content::coding::Coding;

/// Elements and attributes in all.
const MOST: usize = 100_000;

/// What is made of a document while it is read.
pub(super) trait Builder {
    fn begin(&mut self, name: &str, attributes: Vec<(String, String)>) -> Result<(), XmlError>;

    /// Text within the element that was begun last and has not ended.
    fn text(&mut self, text: &str);

    fn end(&mut self);
}

/// Has `builder` see the one element of the document and all in it.
///
/// # Errors
/// When it is malformed, too deep or too large, says that it is in another coding, or declares what
/// would have to be expanded; and what the builder has against it.
pub(super) fn walk(text: &str, builder: &mut dyn Builder) -> Result<(), XmlError> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    reader.config_mut().check_comments = true;
    let malformed = |error: quick_xml::Error| XmlError::Malformed(error.to_string());
    let (mut depth, mut count, mut had) = (0_usize, 0, false);
    loop {
        match reader.read_event().map_err(malformed)? {
            Event::Start(_) if depth >= DEEPEST => return Err(XmlError::TooDeep),
            Event::Start(start) => {
                begin(&start, depth, &mut had, &mut count, builder)?;
                depth += 1;
            }
            Event::Empty(start) => {
                begin(&start, depth, &mut had, &mut count, builder)?;
                builder.end();
            }
            Event::End(_) if depth == 0 => {
                return Err(XmlError::Malformed("an end without a beginning".to_owned()));
            }
            Event::End(_) => {
                builder.end();
                depth -= 1;
            }
            Event::Text(text) => add_text(depth, &text.xml10_content(), builder)?,
            Event::CData(text) => add_text(depth, &text.xml10_content(), builder)?,
            Event::GeneralRef(name) => {
                let character = name.resolve_char_ref().map_err(malformed)?;
                let known =
                    character.map(String::from).or_else(|| entity(&name).map(str::to_owned));
                add_text(depth, &known.ok_or(XmlError::Declares)?, builder)?;
            }
            Event::DocType(_) => return Err(XmlError::Declares),
            Event::Decl(_) if had => {
                return Err(XmlError::Malformed("a declaration within".to_owned()));
            }
            Event::Decl(declaration) => {
                let inside = declaration.strip_prefix("xml").unwrap_or_default();
                let coding = Coding::of_declaration(inside);
                let readable = coding.and_then(|coding| coding.text(text.as_bytes()));
                readable.map_err(XmlError::Unread)?;
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match had && depth == 0 {
        true => Ok(()),
        false => Err(XmlError::Malformed("it ends too early".to_owned())),
    }
}

/// XML 1.0 §4.6: the entities that need no declaration.
fn entity(name: &str) -> Option<&'static str> {
    Some(match name {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "apos" => "'",
        "quot" => "\"",
        _ => return None,
    })
}

fn begin(
    start: &BytesStart<'_>,
    depth: usize,
    had: &mut bool,
    count: &mut usize,
    builder: &mut dyn Builder,
) -> Result<(), XmlError> {
    if depth == 0 && std::mem::replace(had, true) {
        return Err(XmlError::Malformed("a second element outside of the first".to_owned()));
    }
    let mut more = || {
        *count += 1;
        if *count > MOST { Err(XmlError::TooMany) } else { Ok(()) }
    };
    more()?;
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        more()?;
        let attribute = attribute.map_err(|error| XmlError::Malformed(error.to_string()))?;
        let value = unescape(&attribute.value).map_err(|_| XmlError::Declares)?;
        attributes.push((named(attribute.key.into_inner())?.to_owned(), value.into_owned()));
    }
    builder.begin(named(start.name().into_inner())?, attributes)
}

/// What is no name would be taken for an attribute or for text (`<@x>`, `<#text>`).
fn named(name: &str) -> Result<&str, XmlError> {
    if is_name(name) { Ok(name) } else { Err(XmlError::Name(name.chars().take(64).collect())) }
}

fn add_text(depth: usize, text: &str, builder: &mut dyn Builder) -> Result<(), XmlError> {
    match depth {
        0 if text.trim().is_empty() => Ok(()),
        0 => Err(XmlError::Malformed("text outside of its element".to_owned())),
        _ => {
            builder.text(text);
            Ok(())
        }
    }
}
