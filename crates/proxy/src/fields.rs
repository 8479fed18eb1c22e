//! One flat block of header fields: the bytes as received and, per line, where name and value lie.
//!
//! Order, case and repetition are kept. Names that Transom itself reads or writes are known by a
//! small integer, found once while parsing, so that later questions compare numbers. Nothing is
//! allocated per field.

use std::fmt;

mod known;

pub use known::Known;

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
}

/// The fields of one message, in order.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

impl Fields {
    pub fn new() -> Self {
        Fields::default()
    }

    /// Room for a head of so many bytes, and what is usually added to one.
    pub fn with_room_for(bytes: usize, lines: usize) -> Self {
        Fields { bytes: Vec::with_capacity(bytes + 256), lines: Vec::with_capacity(lines + 8) }
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
        let name = name.into();
        self.lines.iter().find(|l| self.is(l, name)).map(|l| self.value(l))
    }

    /// Whether there is no value, exactly one, or several lines of this name.
    pub fn only<'n>(&self, name: impl Into<Name<'n>>) -> Values<'_> {
        let name = name.into();
        let mut found = self.lines.iter().filter(|l| self.is(l, name));
        match (found.next(), found.next()) {
            (None, _) => Values::None,
            (Some(line), None) => Values::One(self.value(line)),
            _ => Values::Many,
        }
    }

    /// Every value of this name, in order.
    pub fn all<'n>(&self, name: impl Into<Name<'n>>) -> impl Iterator<Item = &[u8]> {
        let name = name.into();
        self.lines.iter().filter(move |l| self.is(l, name)).map(|l| self.value(l))
    }

    pub fn has<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        let name = name.into();
        self.lines.iter().any(|l| self.is(l, name))
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
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        let value_start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        for byte in &mut self.bytes[value_start..] {
            if matches!(*byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        self.push(start, text.len(), value_start, value.len(), known);
    }

    /// As [`Fields::append`], for a name that is known to be none of the known ones, and a value that
    /// was checked.
    pub(crate) fn append_other(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.push(start, name.len(), start + name.len(), value.len(), None);
    }

    /// Makes this the only line of the name: in the place of the first one, else at the end.
    pub fn set<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) {
        let name = name.into();
        let Some(at) = self.lines.iter().position(|l| self.is(l, name)) else {
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
        let name = name.into();
        self.retain(|field| !field.is(name));
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
    }

    /// Writes every line as HTTP/1 does: `Name: value CRLF`.
    pub fn write(&self, out: &mut Vec<u8>) {
        for line in &self.lines {
            let name = line.name as usize;
            out.extend_from_slice(&self.bytes[name..name + line.name_len as usize]);
            out.extend_from_slice(b": ");
            out.extend_from_slice(self.value(line));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// For the codec: takes over the bytes of a received head, to which `push_line` then points.
    pub(crate) fn adopt(&mut self, head: &[u8]) {
        self.bytes.extend_from_slice(head);
    }

    /// For the codec: the bytes in which the lines lie.
    pub(crate) fn block(&self) -> &[u8] {
        &self.bytes
    }

    /// For the codec: where in the block each line's value lies.
    pub(crate) fn places(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let place =
            |line: &Line| line.value as usize..line.value as usize + line.value_len as usize;
        self.lines.iter().map(place)
    }

    /// For the codec: one line, as ranges into the adopted bytes.
    pub(crate) fn push_line(&mut self, name: (usize, usize), value: (usize, usize)) {
        let known = Known::of(&self.bytes[name.0..name.1]);
        self.push(name.0, name.1 - name.0, value.0, value.1 - value.0, known);
    }

    fn push(
        &mut self,
        name: usize,
        name_len: usize,
        value: usize,
        len: usize,
        known: Option<Known>,
    ) {
        self.lines.push(Line {
            name: name as u32,
            value: value as u32,
            value_len: len as u32,
            name_len: name_len as u16,
            known,
        });
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
        let value = line.value as usize;
        &self.bytes[value..value + line.value_len as usize]
    }

    fn is(&self, line: &Line, name: Name<'_>) -> bool {
        self.field(line).is(name)
    }
}

fn field_of<'a>(bytes: &'a [u8], line: &Line) -> Field<'a> {
    let (name, value) = (line.name as usize, line.value as usize);
    Field {
        name: &bytes[name..name + line.name_len as usize],
        known: line.known,
        value: &bytes[value..value + line.value_len as usize],
    }
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
