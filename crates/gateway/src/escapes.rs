//! Percent escapes (RFC 3986 §2.1): undone, and made.

use std::borrow::Cow;

/// With `%41` undone; what is no escape stays.
pub fn undone(text: &[u8]) -> Cow<'_, [u8]> {
    undo(text, |_| false, b'+')
}

/// As [`undone`], but what stands for a byte that is `kept` stays an escape.
pub fn undone_but(text: &[u8], kept: u8) -> Cow<'_, [u8]> {
    undo(text, |byte| byte == kept, b'+')
}

/// As [`undone`], and `+` is a space: so forms and most queries are written (URL §5.1).
pub fn undone_in_form(text: &[u8]) -> Cow<'_, [u8]> {
    undo(text, |_| false, b' ')
}

/// As text; what is no UTF-8 in it is replaced.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes these bytes, as escapes but for those that are `plain`.
pub fn write(bytes: &[u8], plain: impl Fn(u8) -> bool, out: &mut String) {
    for byte in bytes {
        if plain(*byte) {
            out.push(char::from(*byte));
        } else {
            let digit = |half: u8| char::from(b"0123456789ABCDEF"[usize::from(half & 15)]);
            out.extend(['%', digit(byte >> 4), digit(*byte)]);
        }
    }
}

/// What never needs an escape (RFC 3986 §2.3).
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What needs none in a form (URL §1.3).
pub fn is_plain_in_form(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_')
}

fn undo(text: &[u8], kept: impl Fn(u8) -> bool, plus: u8) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| *byte == b'%' || *byte == b'+' && plus != b'+') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped.map(|(high, low)| high << 4 | low) {
            Some(byte) if kept(byte) => out.extend_from_slice(&rest[..3]),
            Some(byte) => out.push(byte),
            None => {
                out.push(if *first == b'+' { plus } else { *first });
                rest = after;
                continue;
            }
        }
        rest = &rest[3..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once_and_nothing_else_is_touched() {
        for (given, plain, form, slashes) in [
            ("", "", "", ""),
            ("a b", "a b", "a b", "a b"),
            ("a%20b+c", "a b+c", "a b c", "a b+c"),
            ("%2F%2f%2e", "//.", "//.", "%2F%2f."),
            ("%2541", "%41", "%41", "%41"),
            ("100%", "100%", "100%", "100%"),
            ("%4", "%4", "%4", "%4"),
            ("%zz%+1", "%zz%+1", "%zz% 1", "%zz%+1"),
        ] {
            let text = given.as_bytes();
            assert_eq!(&*undone(text), plain.as_bytes(), "{given}");
            assert_eq!(&*undone_in_form(text), form.as_bytes(), "{given}");
            assert_eq!(&*undone_but(text, b'/'), slashes.as_bytes(), "{given}");
        }
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let all: Vec<u8> = (0..=255).collect();
        for plain in [is_unreserved, is_plain_in_form] {
            let mut out = String::new();
            write(&all, plain, &mut out);
            assert_eq!(&*undone(out.as_bytes()), all);
        }
    }
}
