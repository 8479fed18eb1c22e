//! Forms with files, `multipart/form-data` (RFC 7578), read as their bytes come.
//!
//! Strict, because who is behind may read otherwise what is read loosely here: nothing stands before the first
//! boundary or after the last, lines end in CRLF, every part says its name once, and no part is encoded.

use memchr::memchr;
use transom_settings::is_token;

use crate::media::{self, parameters};

/// The type of such forms.
pub const TYPE: &str = "multipart/form-data";

/// The header of one part, in bytes.
const LONGEST_HEAD: usize = 8192;

/// What a part says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub name: String,
    /// What the file is called, where the part is one.
    pub file: Option<String>,
    /// Its `Content-Type`; empty where it says none.
    pub content_type: String,
    /// The same in lower case and without parameters.
    pub essence: String,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A part begins.
    Part(Head),
    /// Further bytes of it.
    Data(&'b [u8]),
    /// It is over.
    Over,
}

/// Reads a form as its bytes come.
#[derive(Debug)]
pub struct Reader {
    /// CRLF, two dashes and the boundary.
    delimiter: Vec<u8>,
    state: State,
    /// What is not a whole line or delimiter yet.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Begin,
    /// Behind a boundary.
    Boundary,
    Head,
    /// At the first byte of a part.
    Fresh,
    Data,
    /// Behind the last boundary.
    End,
}

impl Reader {
    /// For a body of this `Content-Type`.
    ///
    /// # Errors
    /// When it names no boundary, or none that can be (RFC 2046 §5.1.1).
    pub fn of(content_type: &str) -> Result<Self, String> {
        let mut boundary = None;
        for parameter in parameters(content_type)? {
            let (name, value) = parameter;
            if name == "boundary" && boundary.replace(value).is_some() {
                return Err("the form has two boundaries".to_owned());
            }
        }
        let boundary = boundary.ok_or("the form has no boundary")?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || b" '()+_,-./:=?".contains(&b);
        if !(1..=70).contains(&boundary.len())
            || !boundary.bytes().all(fits)
            || boundary.ends_with(' ')
        {
            return Err("the boundary of the form is none".to_owned());
        }
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // as if a line had ended before the first
        Ok(Reader { delimiter, state: State::Begin, held: b"\r\n".to_vec() })
    }

    /// Reads on, and tells what was read.
    ///
    /// # Errors
    /// What is wrong with the form, or what `see` refuses.
    pub fn read(
        &mut self,
        bytes: &[u8],
        see: &mut dyn FnMut(Event<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(read) = self.step(&held[at..], see)? {
            at += read;
        }
        held.drain(..at);
        self.held = held;
        Ok(())
    }

    /// Whether all of it was there.
    ///
    /// # Errors
    /// When it was not.
    pub fn end(&self) -> Result<(), String> {
        match (self.state, &self.held[..]) {
            (State::End, b"" | b"\r\n") => Ok(()),
            _ => Err("the form ends too early".to_owned()),
        }
    }

    /// How many bytes were read; nothing where more have to come.
    fn step(
        &mut self,
        rest: &[u8],
        see: &mut dyn FnMut(Event<'_>) -> Result<(), String>,
    ) -> Result<Option<usize>, String> {
        match self.state {
            State::Begin => {
                let whole = rest.len() >= self.delimiter.len();
                if !rest.iter().zip(&self.delimiter).all(|(have, want)| have == want) {
                    return Err("the form does not begin with its boundary".to_owned());
                }
                self.state = if whole { State::Boundary } else { State::Begin };
                Ok(whole.then_some(self.delimiter.len()))
            }
            State::Boundary => Ok(match rest {
                [b'\r', b'\n', ..] => {
                    self.state = State::Head;
                    Some(2)
                }
                [b'-', b'-', ..] => {
                    self.state = State::End;
                    Some(2)
                }
                [] | [b'\r' | b'-'] => None,
                _ => return Err("something stands behind a boundary of the form".to_owned()),
            }),
            State::Head => {
                let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
                let Some(end) = end else {
                    return match rest.len() >= LONGEST_HEAD + 4 {
                        true => Err("the header of a part is too long".to_owned()),
                        false => Ok(None),
                    };
                };
                if end > LONGEST_HEAD {
                    return Err("the header of a part is too long".to_owned());
                }
                see(Event::Part(head(&rest[..end])?))?;
                self.state = State::Fresh;
                Ok(Some(end + 4))
            }
            State::Fresh => {
                let boundary = &self.delimiter[2..];
                if rest.starts_with(boundary) {
                    // the empty line would be that of the delimiter: others read on to the next one
                    return Err("a part of the form has no body, not even an empty one".to_owned());
                }
                let open = boundary.starts_with(rest);
                self.state = if open { State::Fresh } else { State::Data };
                Ok((!open).then_some(0))
            }
            State::Data => self.data(rest, see),
            State::End => match rest {
                b"" | b"\r" | b"\r\n" => Ok(None),
                _ => Err("something stands behind the form".to_owned()),
            },
        }
    }

    fn data(
        &mut self,
        rest: &[u8],
        see: &mut dyn FnMut(Event<'_>) -> Result<(), String>,
    ) -> Result<Option<usize>, String> {
        let mut from = 0;
        loop {
            let at = memchr(b'\r', &rest[from..]).map_or(rest.len(), |at| from + at);
            let behind = &rest[at..];
            if behind.starts_with(&self.delimiter) {
                if at > 0 {
                    see(Event::Data(&rest[..at]))?;
                }
                see(Event::Over)?;
                self.state = State::Boundary;
                return Ok(Some(at + self.delimiter.len()));
            }
            if self.delimiter.starts_with(behind) {
                // nothing, or what may become a delimiter
                if at > 0 {
                    see(Event::Data(&rest[..at]))?;
                }
                return Ok((at > 0).then_some(at));
            }
            from = at + 1;
        }
    }
}

/// A part that was read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub head: Head,
    pub body: Vec<u8>,
}

/// Parts that are read whole at most.
const PARTS: usize = 1000;

/// All parts of a form.
///
/// # Errors
/// What is wrong with it.
pub fn whole(content_type: &str, body: &[u8]) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut reader = Reader::of(content_type)?;
    reader.read(body, &mut |event| {
        match event {
            Event::Part(_) if parts.len() == PARTS => {
                return Err(format!("the form has more than {PARTS} parts"));
            }
            Event::Part(head) => parts.push(Part { head, body: Vec::new() }),
            Event::Data(bytes) => {
                parts.last_mut().into_iter().for_each(|part| part.body.extend_from_slice(bytes));
            }
            Event::Over => {}
        }
        Ok(())
    })?;
    reader.end()?;
    Ok(parts)
}

/// What the header of a part says.
fn head(bytes: &[u8]) -> Result<Head, String> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| "the header of a part is no text in UTF-8".to_owned())?;
    let (mut disposition, mut content_type) = (None, None);
    for line in text.split("\r\n") {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if !is_token(name.as_bytes()) || value.contains(|c: char| c.is_control() && c != '\t') {
            return Err("a line in the header of a part is no field".to_owned());
        }
        let twice = match &*name.to_ascii_lowercase() {
            "content-disposition" => disposition.replace(value).is_some(),
            "content-type" => content_type.replace(value).is_some(),
            "content-transfer-encoding" => {
                let plain = ["7bit", "8bit", "binary"];
                if !plain.iter().any(|known| value.trim().eq_ignore_ascii_case(known)) {
                    return Err("a part of the form is encoded".to_owned());
                }
                false
            }
            _ => false,
        };
        if twice {
            return Err("a part of the form says twice what it is".to_owned());
        }
    }
    let disposition = disposition.ok_or("a part of the form has no `Content-Disposition`")?;
    if media::essence(disposition) != "form-data" {
        return Err("a part is no part of a form".to_owned());
    }
    let (mut own, mut file) = (None, None);
    for (name, value) in parameters(disposition)? {
        let twice = match &*name {
            "name" => own.replace(value).is_some(),
            // some clients send the second alone, where letters are not those of ASCII
            "filename" | "filename*" => file.replace(value).is_some(),
            "name*" => true,
            _ => false,
        };
        if twice {
            return Err("a part of the form says in two ways what it is called".to_owned());
        }
    }
    let name = own.ok_or("a part of the form has no name")?;
    let content_type = content_type.unwrap_or_default().to_owned();
    let essence = media::essence(&content_type);
    Ok(Head { name, file, content_type, essence })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=xYz";

    /// What is told of a form that comes in pieces of this length: a line for each part.
    fn told(body: &[u8], step: usize) -> Result<Vec<String>, String> {
        let mut reader = Reader::of(KIND).unwrap();
        let (mut all, mut data, mut open) = (Vec::new(), Vec::new(), None);
        for piece in body.chunks(step) {
            reader.read(piece, &mut |event| {
                match event {
                    Event::Part(head) => open = Some(head),
                    Event::Data(bytes) => data.extend_from_slice(bytes),
                    Event::Over => {
                        let Head { name, file, essence, .. } = open.take().unwrap();
                        let file = file.map(|file| format!(" {file}")).unwrap_or_default();
                        let data = std::mem::take(&mut data);
                        all.push(format!("{name}{file} {essence}: {}", data.escape_ascii()));
                    }
                }
                Ok(())
            })?;
        }
        reader.end()?;
        Ok(all)
    }

    fn part(head: &str, data: &str) -> String {
        format!("--xYz\r\nContent-Disposition: form-data; {head}\r\n\r\n{data}\r\n")
    }

    #[test]
    fn gw_31_forms_with_files_are_read_however_they_come() {
        let body = [
            part("name=\"a\"", "1"),
            part(
                "name=b; filename=\"C:\\x y.png\"\r\nContent-Type: image/PNG; q=1",
                "\r\n--xY\r\r\n-",
            ),
            part("name=\"\"", ""),
            part("name=\"ü;=\"; filename*=UTF-8''%e2\r\nX-Own: y", "--xYz"),
            "--xYz--\r\n".to_owned(),
        ]
        .concat();
        let expected = ["a : 1", "b C:\\x y.png image/png: \\r\\n--xY\\r\\r\\n-", " : "];
        for step in [1, 2, 3, 7, 50, usize::MAX] {
            // a body that begins with the boundary is read in two ways
            assert!(told(body.as_bytes(), step).unwrap_err().contains("no body"), "{step}");
            let body = body.replace("\r\n\r\n--xYz\r\n--xYz--", "\r\n\r\n-xYz\r\n--xYz--");
            let told = told(body.as_bytes(), step).unwrap();
            assert_eq!(told[..3], expected, "{step}");
            assert_eq!(told[3], "ü;= UTF-8''%e2 : -xYz");
        }
        assert_eq!(told(b"--xYz--", 1), Ok(vec![]), "a form without parts");
    }

    #[test]
    fn gw_31_what_could_be_read_in_two_ways_is_refused() {
        let end = "--xYz--";
        let field = part("name=a", "1");
        for (body, why) in [
            (String::new(), "too early"),
            (field.clone(), "too early"),
            (format!("{field}--xYz-"), "too early"),
            (format!("\r\n{field}{end}"), "does not begin"),
            (format!("preamble\r\n{field}{end}"), "does not begin"),
            (format!("{field}{end}\r\nepilogue"), "behind the form"),
            (format!("--xYz \r\n{end}"), "behind a boundary"),
            (format!("{field}--xYzz\r\n{end}"), "behind a boundary"),
            (field.replace("\r\n", "\n") + end, "behind a boundary"),
            (part("filename=a", "1") + end, "no name"),
            (part("name=a; name=b", "1") + end, "in two ways"),
            (part("name=a; filename=a; filename*=b", "1") + end, "in two ways"),
            (part("name=a; name*=b", "1") + end, "in two ways"),
            (part("name=\"a\\\"; filename=\"b\"", "1") + end, "in two ways"),
            (part("name=a\"b\"", "1") + end, "in two ways"),
            (part("name=\"a", "1") + end, "is none"),
            (part("name", "1") + end, "is none"),
            (part("name=a b", "1") + end, "is none"),
            (part("name=a\r\n folded", "1") + end, "no field"),
            (part("name=a\r\nContent-Disposition: form-data; name=b", "1") + end, "twice"),
            (part("name=a\r\nContent-Type: a/b\r\ncontent-type: c/d", "1") + end, "twice"),
            (part("name=a\r\nContent-Transfer-Encoding: base64", "1") + end, "encoded"),
            (part(&format!("name={}", "a".repeat(9000)), "1") + end, "too long"),
            (
                format!("--xYz\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n{end}"),
                "no part",
            ),
            (format!("--xYz\r\nContent-Type: a/b\r\n\r\n1\r\n{end}"), "no `Content-Disposition`"),
        ] {
            for step in [1, 5, usize::MAX] {
                let found = told(body.as_bytes(), step);
                assert!(
                    found.as_ref().is_err_and(|told| told.contains(why)),
                    "{body:?}: {found:?}"
                );
            }
        }
        for (kind, why) in [
            ("multipart/form-data", "no boundary"),
            ("multipart/form-data; boundary=", "is none"),
            ("multipart/form-data; boundary=a; boundary=b", "two boundaries"),
            ("multipart/form-data; boundary=\"a\u{e4}\"", "is none"),
            ("multipart/form-data; boundary=\"a \"", "is none"),
            (&format!("multipart/form-data; boundary={}", "a".repeat(71)), "is none"),
        ] {
            assert!(Reader::of(kind).unwrap_err().contains(why), "{kind}");
        }
        assert!(Reader::of("multipart/form-data; charset=utf-8; Boundary=\"a b:c\"").is_ok());
    }
}
