//! XML, read byte by byte as it comes (XML 1.0), for its structure alone. Names of tags are not held
//! against each other: that is the parser's work.

use transom_settings::ByteSize;

use super::XmlLimits;
use crate::content::coding::{Coding, Unread};

pub(super) struct Scanner {
    limits: XmlLimits,
    state: State,
    depth: u32,
    elements: u32,
    attributes: u32,
    /// Of the name, value or text that is being read.
    length: u64,
    /// Bytes so far, up to the first that is no byte order mark.
    at: u64,
    /// What stands in the declaration, or after `<!`.
    word: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Text,
    /// After `<`.
    Open,
    StartName,
    /// Inside of a start tag, between attributes.
    Tag,
    AttributeName,
    /// A name was read: `=` is due.
    Equals,
    /// A quote is due.
    Quote,
    Value(u8),
    /// After the `/` of an empty element.
    Slash,
    EndName,
    /// After `<!`, until it is known what this is.
    Bang,
    /// How many of `-->` have been read.
    Comment(u8),
    /// How many of `]]>` have been read.
    Literal(u8),
    /// A processing instruction; whether the last byte was `?`.
    Instruction(bool),
}

const NO_XML: &str = "it is no XML";
/// Longest declaration, `<?xml ... ?>`, that is looked into.
const DECLARATION: usize = 256;

impl Scanner {
    pub(super) fn new(limits: &XmlLimits) -> Self {
        Scanner {
            limits: limits.clone(),
            state: State::Text,
            depth: 0,
            elements: 0,
            attributes: 0,
            length: 0,
            at: 0,
            word: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        for byte in bytes {
            self.first(*byte)?;
            self.byte(*byte)?;
            self.at += 1;
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), String> {
        match self.state {
            State::Text if self.depth == 0 && self.elements > 0 => Ok(()),
            _ => Err(format!("{NO_XML}: it ends too early")),
        }
    }

    /// Text in a coding with wide letters begins otherwise, and would read as nothing at all.
    fn first(&self, byte: u8) -> Result<(), String> {
        const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
        let right = match (self.at, byte) {
            (_, 0) => false,
            (0, b'<' | b' ' | b'\t' | b'\r' | b'\n') | (3.., _) => true,
            (at, byte) => {
                self.elements > 0 || self.state != State::Text || {
                    MARK.get(at as usize) == Some(&byte)
                        || byte == b'<'
                        || byte.is_ascii_whitespace()
                }
            }
        };
        if right { Ok(()) } else { Err(Unread::Other.to_string()) }
    }

    fn byte(&mut self, byte: u8) -> Result<(), String> {
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Text if byte == b'<' => self.state = State::Open,
            State::Text => {
                self.grow(self.limits.text, "text")?;
                if self.depth == 0 && !blank && self.at >= 3 {
                    return Err(format!("{NO_XML}: text outside of its element"));
                }
            }
            State::Open => return self.open(byte),
            State::StartName => match byte {
                b'>' => self.enter(),
                b'/' => self.state = State::Slash,
                _ if blank => self.state = State::Tag,
                _ => self.grow_name(byte)?,
            },
            State::Tag => match byte {
                b'>' => self.enter(),
                b'/' => self.state = State::Slash,
                _ if blank => {}
                _ => {
                    self.attributes += 1;
                    if self.attributes > self.limits.attributes {
                        let most = self.limits.attributes;
                        return Err(format!("an element has more attributes than {most}"));
                    }
                    self.length = 0;
                    self.grow_name(byte)?;
                    self.state = State::AttributeName;
                }
            },
            State::AttributeName => match byte {
                b'=' => self.state = State::Quote,
                _ if blank => self.state = State::Equals,
                _ => self.grow_name(byte)?,
            },
            State::Equals => match byte {
                b'=' => self.state = State::Quote,
                _ if blank => {}
                _ => return Err(NO_XML.to_owned()),
            },
            State::Quote => match byte {
                b'"' | b'\'' => {
                    self.length = 0;
                    self.state = State::Value(byte);
                }
                _ if blank => {}
                _ => return Err(NO_XML.to_owned()),
            },
            State::Value(quote) => match byte {
                b'<' => return Err(NO_XML.to_owned()),
                _ if byte == quote => self.state = State::Tag,
                _ => self.grow(self.limits.value, "value of an attribute")?,
            },
            State::Slash if byte == b'>' => self.text(),
            State::Slash => return Err(NO_XML.to_owned()),
            State::EndName => match byte {
                b'>' => {
                    self.depth = self.depth.checked_sub(1).ok_or_else(|| NO_XML.to_owned())?;
                    self.text();
                }
                _ if blank => {}
                _ => self.grow_name(byte)?,
            },
            State::Bang => return self.bang(byte),
            State::Comment(dashes) => match (dashes, byte) {
                (2, b'>') => self.text(),
                (_, b'-') => self.state = State::Comment((dashes + 1).min(2)),
                _ => {
                    self.state = State::Comment(0);
                    self.grow(self.limits.text, "comment")?;
                }
            },
            State::Literal(brackets) => match (brackets, byte) {
                (2, b'>') => self.text(),
                (_, b']') => {
                    self.grow(self.limits.text, "text")?;
                    self.state = State::Literal((brackets + 1).min(2));
                }
                _ => {
                    self.grow(self.limits.text, "text")?;
                    self.state = State::Literal(0);
                }
            },
            State::Instruction(true) if byte == b'>' => {
                self.declared()?;
                self.text();
            }
            State::Instruction(_) => {
                self.grow(self.limits.text, "instruction")?;
                if self.word.len() <= DECLARATION {
                    self.word.push(byte);
                }
                self.state = State::Instruction(byte == b'?');
            }
        }
        Ok(())
    }

    fn open(&mut self, byte: u8) -> Result<(), String> {
        self.length = 0;
        self.word.clear();
        self.state = match byte {
            b'!' => State::Bang,
            b'?' => State::Instruction(false),
            b'/' => State::EndName,
            _ => {
                if self.depth == 0 && self.elements > 0 {
                    return Err(format!("{NO_XML}: a second element outside of the first"));
                }
                if self.depth >= self.limits.depth {
                    return Err(format!("it is nested deeper than {}", self.limits.depth));
                }
                self.elements += 1;
                if self.elements > self.limits.elements {
                    return Err(format!("it has more elements than {}", self.limits.elements));
                }
                self.attributes = 0;
                self.grow_name(byte)?;
                State::StartName
            }
        };
        Ok(())
    }

    /// A start tag has ended: what follows lies inside of the element.
    fn enter(&mut self) {
        self.depth += 1;
        self.text();
    }

    fn text(&mut self) {
        self.length = 0;
        self.state = State::Text;
    }

    fn bang(&mut self, byte: u8) -> Result<(), String> {
        self.word.push(byte);
        let (comment, literal) = (&b"--"[..], &b"[CDATA["[..]);
        if self.word == comment {
            self.length = 0;
            self.state = State::Comment(0);
        } else if self.word == literal && self.depth > 0 {
            self.length = 0;
            self.state = State::Literal(0);
        } else if !comment.starts_with(&self.word) && !literal.starts_with(&self.word) {
            return Err("it declares a type or entities".to_owned());
        }
        Ok(())
    }

    /// An instruction has ended. If it was the declaration, the coding it names must be one in which
    /// the bytes are what they were taken for.
    fn declared(&self) -> Result<(), String> {
        let text = String::from_utf8_lossy(&self.word).to_ascii_lowercase();
        let Some(declaration) =
            text.strip_prefix("xml").filter(|rest| rest.starts_with([' ', '\t', '\r', '\n']))
        else {
            return Ok(());
        };
        if self.elements > 0 || self.word.len() > DECLARATION {
            return Err(NO_XML.to_owned());
        }
        let inside = declaration.strip_suffix('?').unwrap_or(declaration);
        Coding::of_declaration(inside).map(drop).map_err(|why| why.to_string())
    }

    fn grow_name(&mut self, byte: u8) -> Result<(), String> {
        let sign = byte.is_ascii_alphanumeric() || b"_:-.".contains(&byte) || !byte.is_ascii();
        if !sign {
            return Err(NO_XML.to_owned());
        }
        self.grow(self.limits.name, "name")
    }

    fn grow(&mut self, most: ByteSize, what: &str) -> Result<(), String> {
        self.length += 1;
        if self.length > most.bytes() {
            Err(format!("a {what} is longer than {most}"))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(limits: &XmlLimits, bytes: &[u8]) -> Result<(), String> {
        let mut scanner = Scanner::new(limits);
        bytes.chunks(2).try_for_each(|chunk| scanner.read(chunk))?;
        scanner.end()
    }

    #[test]
    fn gw_34_each_limit_holds_exactly_and_nothing_is_declared() {
        let limits = XmlLimits {
            depth: 2,
            elements: 4,
            attributes: 1,
            name: ByteSize(3),
            value: ByteSize(3),
            text: ByteSize(5),
        };
        for (text, why) in [
            ("<a><b/><b x='1'>12345</b></a>", ""),
            ("<?x?><a/>", ""),
            ("\u{feff}<a/>\n", ""),
            ("<a><![CDATA[]]]]></a><!-- -->", ""),
            ("<a><b><c/></b></a>", "nested deeper than 2"),
            ("<a><b/><b/><b/><b/></a>", "more elements than 4"),
            ("<a x='' y=''/>", "more attributes than 1"),
            ("<abcd/>", "name is longer than 3B"),
            ("<a x='1234'/>", "attribute is longer than 3B"),
            ("<a>123456</a>", "text is longer than 5B"),
            ("<a><![CDATA[123456]]></a>", "text is longer than 5B"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "declares a type"),
            ("<a><!ENTITY b 'c'></a>", "declares a type"),
            ("<a>", "ends too early"),
            ("<a/><b/>", "a second element"),
            ("</a>", "no XML"),
            ("<a", "ends too early"),
            ("<a b/>", "no XML"),
            ("<a b=c/>", "no XML"),
            ("a<a/>", "coding that is not read"),
            ("<a/>text", "outside"),
        ] {
            let found = read(&limits, text.as_bytes()).err().unwrap_or_default();
            assert!(found.contains(why) && found.is_empty() == why.is_empty(), "{text}: {found}");
        }
    }

    #[test]
    fn gw_34_codings_that_would_hide_something_are_refused() {
        let limits = XmlLimits::default();
        let wide: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [&[0xff, 0xfe][..], &wide].concat();
        for (bytes, right) in [
            (&b"<?xml version='1.0' encoding=\"UTF-8\"?><a/>"[..], true),
            (b"<?xml version='1.0' encoding='ISO-8859-1'?><a/>", true),
            (b"<?xml version='1.0'?><a/>", true),
            (b"<?xml version='1.0' encoding='UTF-7'?><a/>", false),
            (b"<?xml version='1.0' encoding='cp037'?><a/>", false),
            (&wide, false),
            (&marked, false),
        ] {
            assert_eq!(read(&limits, bytes).is_ok(), right, "{bytes:?}");
        }
    }
}
