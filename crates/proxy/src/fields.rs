//! One flat block of header fields: the bytes as received and, per line, where name and value lie.
//!
//! Order, case and repetition are kept. Names that Transom itself reads or writes are known by a
//! small integer, found once while parsing, so that later questions compare numbers. Nothing is
//! allocated per field.

use std::fmt;
use std::ops::Range;

use transom_settings::HeaderName;

mod known;

pub use known::{Known, KnownSet};

/// A name to ask for: known by number, or any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    Known(Known),
    Other(&'a [u8]),
}

impl<'a> Name<'a> {
    /// Looks the spelling up among the known names.
    pub fn of(name: &'a [u8]) -> Name<'a> {
        Known::of(name).map_or(Name::Other(name), Name::Known)
    }
}

impl From<Known> for Name<'_> {
    fn from(known: Known) -> Self {
        Name::Known(known)
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(name: &'a str) -> Self {
        Name::of(name.as_bytes())
    }
}

/// A name that was looked up once, when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldName {
    known: Option<Known>,
    text: Box<str>,
}

impl From<&HeaderName> for FieldName {
    fn from(name: &HeaderName) -> Self {
        FieldName { known: Known::of(name.as_bytes()), text: (**name).into() }
    }
}

impl<'a> From<&'a FieldName> for Name<'a> {
    fn from(name: &'a FieldName) -> Self {
        name.known.map_or(Name::Other(name.text.as_bytes()), Name::Known)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values<'a> {
    None,
    One(&'a [u8]),
    Many,
}

#[derive(Clone, Copy)]
struct Line {
    name: u32,
    value: u32,
    value_len: u32,
    name_len: u16,
    known: Option<Known>,
    /// It lies in the block as it is written: `Name: value CRLF`.
    written: bool,
}

impl Line {
    fn name(&self) -> Range<usize> {
        self.name as usize..self.name as usize + usize::from(self.name_len)
    }

    fn value(&self) -> Range<usize> {
        self.value as usize..self.value as usize + self.value_len as usize
    }

    /// The whole line, where it is `written`.
    fn whole(&self) -> Range<usize> {
        self.name as usize..self.value().end + 2
    }
}

/// Where a line lies in its block, which begins with its name, and where its value does.
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) value: Range<usize>,
}

/// Room for the bytes of what is usually added to a head.
const ADDED: usize = 256;

/// The fields of one message, in order.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// The known names among the lines, so that most questions need no look at them. May hold more
    /// than there are.
    known: KnownSet,
}

impl Fields {
    pub fn new() -> Self {
        Fields::default()
    }

    /// Room for a head of so many bytes, and what is usually added to one.
    pub fn with_room_for(bytes: usize, lines: usize) -> Self {
        let (bytes, lines) = (Vec::with_capacity(bytes + ADDED), Vec::with_capacity(lines + 8));
        Fields { bytes, lines, known: KnownSet::NONE }
    }

    /// For the codec: room for so many lines of a block that is adopted later.
    pub(crate) fn with_lines(lines: usize) -> Self {
        Fields { bytes: Vec::new(), lines: Vec::with_capacity(lines + 8), known: KnownSet::NONE }
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines in order: name as spelled, its number, value.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| self.field(line))
    }

    /// The first value. For anything that decides, ask [`Fields::only`] instead.
    pub fn get<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Whether there is no value, exactly one, or several lines of this name.
    pub fn only<'n>(&self, name: impl Into<Name<'n>>) -> Values<'_> {
        let mut found = self.all(name);
        match (found.next(), found.next()) {
            (None, _) => Values::None,
            (Some(value), None) => Values::One(value),
            _ => Values::Many,
        }
    }

    /// Every value of this name, in order.
    pub fn all<'n>(&self, name: impl Into<Name<'n>>) -> impl Iterator<Item = &[u8]> {
        let name = name.into();
        let lines: &[Line] = if self.may_have(name) { &self.lines } else { &[] };
        lines.iter().filter(move |l| self.is(l, name)).map(|l| self.value(l))
    }

    pub fn has<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        self.all(name).next().is_some()
    }

    /// False where none of these names is among the lines. Mostly, but not always, true where one is.
    pub fn may_have_any(&self, names: KnownSet) -> bool {
        self.known.meets(names)
    }

    /// Adds a line at the end.
    ///
    /// Bytes that would end the line are replaced by spaces: a value computed at run time can
    /// never start another field (RFC 9112 §11.1). Configured and received values are checked
    /// before and contain none.
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) {
        let name = name.into();
        let (text, known) = match name {
            Name::Known(known) => (known.text().as_bytes(), Some(known)),
            Name::Other(other) => (other, None),
        };
        let at = self.lay(text, value, known);
        for byte in &mut self.bytes[at] {
            if matches!(*byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
    }

    /// As [`Fields::append`], for a known name and a value that cannot end its line.
    pub(crate) fn append_clean(&mut self, name: Known, value: &[u8]) {
        self.lay(name.text().as_bytes(), value, Some(name));
    }

    /// As [`Fields::append`], for a name that is known to be none of the known ones, and a value that
    /// was checked.
    pub(crate) fn append_other(&mut self, name: &[u8], value: &[u8]) {
        self.lay(name, value, None);
    }

    /// Adds a line to the block as it is to be written; where its value lies.
    fn lay(&mut self, name: &[u8], value: &[u8], known: Option<Known>) -> Range<usize> {
        self.bytes.reserve(name.len() + value.len() + 4);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value = value_start..self.bytes.len();
        self.bytes.extend_from_slice(b"\r\n");
        let place = Place { line: start, value: value.clone() };
        self.push_line(name.len(), place, known, true);
        value
    }

    /// Makes this the only line of the name: in the place of the first one, else at the end.
    pub fn set<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) {
        let name = name.into();
        let at = match self.may_have(name) {
            true => self.lines.iter().position(|l| self.is(l, name)),
            false => None,
        };
        let Some(at) = at else {
            self.append(name, value);
            return;
        };
        self.append(name, value);
        let Some(line) = self.lines.pop() else { return };
        self.remove_after(at, name);
        self.lines[at] = line;
    }

    /// Removes every line of the name.
    pub fn remove<'n>(&mut self, name: impl Into<Name<'n>>) {
        match name.into() {
            Name::Known(known) => self.remove_all(KnownSet::of(&[known])),
            name => self.retain(|field| !field.is(name)),
        }
    }

    /// Removes every line of these names.
    pub fn remove_all(&mut self, names: KnownSet) {
        if self.may_have_any(names) {
            self.lines.retain(|line| !line.known.is_some_and(|known| names.has(known)));
            self.known = self.known.without(names);
        }
    }

    /// Keeps the lines for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let bytes = &self.bytes;
        self.lines.retain(|line| keep(field_of(bytes, line)));
    }

    /// Removes all lines but keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        self.known = KnownSet::NONE;
    }

    /// Writes every line as HTTP/1 does: `Name: value CRLF`.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Lines that lie one behind the other are copied as one.
        let mut run = 0..0;
        for line in &self.lines {
            if line.written && run.end == line.name as usize {
                run.end = line.whole().end;
                continue;
            }
            out.extend_from_slice(&self.bytes[run.clone()]);
            run = 0..0;
            match line.written {
                true => run = line.whole(),
                false => {
                    out.extend_from_slice(&self.bytes[line.name()]);
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(self.value(line));
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(&self.bytes[run]);
    }

    /// For the codec: takes over the bytes of a received head, to which `push_line` then points.
    pub(crate) fn adopt(&mut self, head: &[u8]) {
        self.bytes.reserve_exact(head.len() + ADDED);
        self.bytes.extend_from_slice(head);
    }

    /// For the codec: the bytes in which the lines lie.
    pub(crate) fn block(&self) -> &[u8] {
        &self.bytes
    }

    /// For the codec: where in the block each line's value lies.
    pub(crate) fn places(&self) -> impl Iterator<Item = Range<usize>> {
        self.lines.iter().map(Line::value)
    }

    /// One line of the block, which the codec adopts later.
    pub(crate) fn push_line(
        &mut self,
        name_len: usize,
        place: Place,
        known: Option<Known>,
        written: bool,
    ) {
        if let Some(known) = known {
            self.known.insert(known);
        }
        self.lines.push(Line {
            name: place.line as u32,
            value: place.value.start as u32,
            value_len: place.value.len() as u32,
            name_len: name_len as u16,
            known,
            written,
        });
    }

    /// False where nothing has this name.
    fn may_have(&self, name: Name<'_>) -> bool {
        match name {
            Name::Known(known) => self.known.has(known),
            Name::Other(_) => true,
        }
    }

    fn remove_after(&mut self, at: usize, name: Name<'_>) {
        let bytes = &self.bytes;
        let mut index = 0;
        self.lines.retain(|line| {
            index += 1;
            index - 1 <= at || !field_of(bytes, line).is(name)
        });
    }

    fn field(&self, line: &Line) -> Field<'_> {
        field_of(&self.bytes, line)
    }

    fn value(&self, line: &Line) -> &[u8] {
        &self.bytes[line.value()]
    }

    fn is(&self, line: &Line, name: Name<'_>) -> bool {
        match (name, line.known) {
            (Name::Known(asked), Some(known)) => asked == known,
            (Name::Other(asked), None) => self.bytes[line.name()].eq_ignore_ascii_case(asked),
            _ => false,
        }
    }
}

fn field_of<'a>(bytes: &'a [u8], line: &Line) -> Field<'a> {
    Field { name: &bytes[line.name()], known: line.known, value: &bytes[line.value()] }
}

/// One line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub known: Option<Known>,
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether the line has this name, in any case.
    pub fn is(&self, name: Name<'_>) -> bool {
        match (name, self.known) {
            (Name::Known(asked), Some(known)) => asked == known,
            (Name::Other(asked), None) => self.name.eq_ignore_ascii_case(asked),
            _ => false,
        }
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The members of a comma-separated list, without the white space around them; empty ones are
/// left out (RFC 9110 §5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value.as_bytes());
        }
        fields
    }

    fn written(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn order_case_and_repetition_are_kept() {
        let fields = fields(&[("x-A", "1"), ("HOST", "h"), ("X-a", "2")]);
        assert_eq!(written(&fields), "x-A: 1\r\nHost: h\r\nX-a: 2\r\n");
        assert_eq!(fields.all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(fields.only("x-a"), Values::Many);
        assert_eq!(fields.only("host"), Values::One(b"h"));
        assert_eq!(fields.only("cookie"), Values::None);
    }

    #[test]
    fn set_replaces_all_in_the_place_of_the_first() {
        let mut fields = fields(&[("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")]);
        fields.set("a", b"9");
        assert_eq!(written(&fields), "a: 9\r\nb: 2\r\nc: 4\r\n");
        fields.set("d", b"5");
        fields.remove("b");
        assert_eq!(written(&fields), "a: 9\r\nc: 4\r\nd: 5\r\n");
    }

    /// P-09: a value computed at run time cannot start another line.
    #[test]
    fn p09_an_appended_value_never_ends_its_line() {
        let fields = fields(&[("a", "1\r\nevil: 2\0")]);
        assert_eq!(written(&fields), "a: 1  evil: 2 \r\n");
    }

    #[test]
    fn lists_are_split_at_commas() {
        let members: Vec<_> = list(b" a ,, b;q=1\t,c").collect();
        assert_eq!(members, [&b"a"[..], b"b;q=1", b"c"]);
    }
}
