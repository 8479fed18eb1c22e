//! Limits on forms with files, and on what their parts hold.

use transom_settings::Switch;

use super::{FormLimits, JsonLimits, XmlLimits, json, xml};
use crate::content::coding::Coding;
use crate::content::multipart::{Event, Head, Reader};
use crate::media;

/// Reads a form as it passes.
pub(super) struct Scanner {
    reader: Reader,
    parts: Parts,
}

/// What was seen of the parts.
struct Parts {
    limits: FormLimits,
    json: Option<JsonLimits>,
    xml: Option<XmlLimits>,
    fields: u32,
    files: u32,
    /// Bytes that may still come of this part.
    left: u64,
    /// What looks into this part.
    inside: Option<Inside>,
}

enum Inside {
    Json(json::Scanner),
    Xml(xml::Scanner),
}

impl Scanner {
    /// For a body of this `Content-Type`.
    pub(super) fn new(
        content_type: &str,
        limits: &FormLimits,
        json: &Switch<JsonLimits>,
        xml: &Switch<XmlLimits>,
    ) -> Result<Self, String> {
        let parts = Parts {
            limits: limits.clone(),
            json: json.on().cloned(),
            xml: xml.on().cloned(),
            fields: 0,
            files: 0,
            left: 0,
            inside: None,
        };
        Ok(Scanner { reader: Reader::of(content_type)?, parts })
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        let parts = &mut self.parts;
        self.reader.read(bytes, &mut |event| match event {
            Event::Part(head) => parts.begin(&head),
            Event::Data(bytes) => parts.more(bytes),
            Event::Over => parts.over(),
        })
    }

    pub(super) fn end(&self) -> Result<(), String> {
        self.reader.end()
    }
}

impl Parts {
    fn begin(&mut self, head: &Head) -> Result<(), String> {
        let (count, most, what) = match head.file {
            Some(_) => (&mut self.files, self.limits.files, "files"),
            None => (&mut self.fields, self.limits.fields, "fields"),
        };
        *count += 1;
        if *count > most {
            return Err(format!("the form has more than {most} {what}"));
        }
        let named = [Some(&head.name), head.file.as_ref()].into_iter().flatten();
        if named.clone().any(|name| name.len() > self.limits.name.len()) {
            return Err(format!("a name in the form is longer than {}", self.limits.name));
        }
        let types = &self.limits.types;
        let taken = |range: &String| media::fits(range, &head.essence);
        if head.file.is_some() && !types.is_empty() && !types.iter().any(taken) {
            return Err("a file in the form is of a type that is not taken".to_owned());
        }
        let size = if head.file.is_some() { self.limits.file } else { self.limits.field };
        self.left = size.bytes();
        let inside = match (&self.json, &self.xml) {
            (Some(limits), _) if media::is_json(&head.essence) => {
                Some(Inside::Json(json::Scanner::new(limits)))
            }
            (_, Some(limits)) if media::is_xml(&head.essence) => {
                Some(Inside::Xml(xml::Scanner::new(limits)))
            }
            _ => None,
        };
        if inside.is_some() {
            Coding::of_type(&head.content_type)
                .map_err(|why| format!("a part of the form: {why}"))?;
        }
        self.inside = inside;
        Ok(())
    }

    fn more(&mut self, bytes: &[u8]) -> Result<(), String> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or("a part of the form is too long")?;
        match &mut self.inside {
            Some(Inside::Json(json)) => json.read(bytes),
            Some(Inside::Xml(xml)) => xml.read(bytes),
            None => Ok(()),
        }
    }

    fn over(&mut self) -> Result<(), String> {
        match &mut self.inside {
            Some(Inside::Json(json)) => json.end(),
            Some(Inside::Xml(xml)) => xml.end(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::{ByteSize, List};

    use super::*;

    fn form(parts: &[(&str, &str)]) -> Vec<u8> {
        let part = |(head, data): &(&str, &str)| {
            format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{data}\r\n")
        };
        (parts.iter().map(part).collect::<String>() + "--b--").into_bytes()
    }

    #[test]
    fn gw_31_parts_are_limited_and_looked_into() {
        let limits = FormLimits {
            fields: 2,
            files: 1,
            name: ByteSize(8),
            field: ByteSize(4),
            file: ByteSize(6),
            types: List::from(vec!["image/*".to_owned(), "application/json".to_owned()]),
        };
        let image = "name=i; filename=i\r\nContent-Type: image/png";
        let document = "name=d\r\nContent-Type: application/json";
        for (parts, expected) in [
            (&[("name=a", "1234"), ("name=b", ""), (image, "123456")][..], None),
            (&[("name=a", "12345")], Some("too long")),
            (&[(image, "1234567")], Some("too long")),
            (&[("name=a", ""), ("name=b", ""), ("name=c", "")], Some("more than 2 fields")),
            (&[(image, ""), (image, "")], Some("more than 1 files")),
            (&[("name=abcdefghi", "")], Some("longer than 8")),
            (&[("name=a; filename=abcdefghi", "")], Some("longer than 8")),
            (&[("name=a; filename=a\r\nContent-Type: text/html", "")], Some("not taken")),
            (&[("name=a; filename=a", "")], Some("not taken")),
            (&[(document, "[1]")], None),
            (&[(document, "[1")], Some("")),
            (&[("name=d\r\nContent-Type: text/xml", "<a>")], Some("")),
            (&[("name=d\r\nContent-Type: text/xml;charset=utf-8", "<a/>")], None),
            (&[("name=d\r\nContent-Type: text/xml;charset=utf-7", "<a/>")], Some("coding")),
        ] {
            let (json, xml) = (Switch::On(JsonLimits::default()), Switch::On(XmlLimits::default()));
            let kind = "multipart/form-data; boundary=b";
            let mut scanner = Scanner::new(kind, &limits, &json, &xml).unwrap();
            let mut bytes = form(parts);
            let found = bytes.chunks_mut(3).try_for_each(|piece| scanner.read(piece));
            let found = found.and_then(|()| scanner.end()).err();
            assert_eq!(found.is_some(), expected.is_some(), "{parts:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{parts:?}");
        }
    }
}
