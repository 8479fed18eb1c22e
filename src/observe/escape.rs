//! Bytes that a stranger chose, written so that they can neither end a line, nor forge a field,
//! nor move a terminal's cursor (M-06).

/// Writes a JSON string, quotes and all: always valid UTF-8 and without raw control characters.
///
/// Bytes that are not UTF-8 stand as `\xNN`.
pub(super) fn json(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let plain = value.iter().take_while(|b| is_plain(**b)).count();
    out.extend_from_slice(&value[..plain]);
    if plain < value.len() {
        escaped(&value[plain..], out);
    }
    out.push(b'"');
}

/// Makes a JSON string of what was appended since `start`. Moves it only where it must be escaped.
pub(super) fn json_in_place(out: &mut Vec<u8>, start: usize) {
    if out[start..].iter().all(|b| is_plain(*b)) {
        out.insert(start, b'"');
        out.push(b'"');
    } else {
        let value = out.split_off(start);
        json(&value, out);
    }
}

/// Writes the value of a `key=value` line: as it is where it is one harmless word, else as a JSON
/// string.
pub(super) fn text(value: &[u8], out: &mut Vec<u8>) {
    let bare = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'=');
    if !value.is_empty() && value.iter().all(bare) {
        out.extend_from_slice(value);
    } else {
        json(value, out);
    }
}

/// At most `most` bytes of `value`, and whether that is not all of it. No character is cut.
pub(super) fn capped(value: &[u8], most: usize) -> (&[u8], bool) {
    if value.len() <= most {
        return (value, false);
    }
    let is_continuation = |b: u8| b & 0xc0 == 0x80;
    let end = (most.saturating_sub(3)..=most).rev().find(|end| !is_continuation(value[*end]));
    (&value[..end.unwrap_or(most)], true)
}

fn is_plain(b: u8) -> bool {
    matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\'
}

fn escaped(value: &[u8], out: &mut Vec<u8>) {
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            character(c, out);
        }
        for b in chunk.invalid() {
            out.extend_from_slice(b"\\\\x");
            hex(u32::from(*b), 2, out);
        }
    }
}

fn character(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if is_deceptive(c) => {
            out.extend_from_slice(b"\\u");
            hex(c.into(), 4, out);
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Characters that act on a terminal or a viewer instead of being seen. All have four digits.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn hex(value: u32, digits: u32, out: &mut Vec<u8>) {
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * place) & 0xf) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: fn(&[u8], &mut Vec<u8>), value: &[u8]) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hostile_bytes_become_harmless_json() {
        for (value, expected) in [
            (&b"/plain path"[..], r#""/plain path""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"a\r\nb\tc", r#""a\r\nb\tc""#),
            (b"\x1b[2J\0\x7f", r#""\u001b[2J\u0000\u007f""#),
            (b"\xff\xfe ok \xc3", r#""\\xff\\xfe ok \\xc3""#),
            ("é \u{2028}\u{202e}\u{85}😀".as_bytes(), r#""é \u2028\u202e\u0085😀""#),
            (b"", r#""""#),
        ] {
            assert_eq!(written(json, value), expected);
        }
    }

    #[test]
    fn every_byte_in_every_place_is_one_valid_json_string_without_control_bytes() {
        for b in 0..=u8::MAX {
            for value in [vec![b], vec![b'a', b, b'z'], vec![0xe2, 0x80, b], vec![b, 0xf0, 0x9f]] {
                let out = written(json, &value);
                assert!(serde_json::from_str::<String>(&out).is_ok(), "{out}");
                assert!(!out.chars().any(char::is_control), "{out:?}");
            }
        }
    }

    #[test]
    fn text_is_quoted_where_it_could_be_taken_for_more_than_one_word() {
        for (value, expected) in [
            ("/a/b", "/a/b"),
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("x status=200", r#""x status=200""#),
            ("a\nb", r#""a\nb""#),
            ("\\", r#""\\""#),
            ("é", r#""é""#),
        ] {
            assert_eq!(written(text, value.as_bytes()), expected);
        }
    }

    #[test]
    fn a_cap_cuts_no_character() {
        assert_eq!(capped(b"abc", 3), (&b"abc"[..], false));
        assert_eq!(capped(b"abcd", 3), (&b"abc"[..], true));
        assert_eq!(capped("a😀😀".as_bytes(), 6), ("a😀".as_bytes(), true));
        assert_eq!(capped("aé".as_bytes(), 2), (&b"a"[..], true));
        assert_eq!(capped(&[0x80; 9], 4).0.len(), 4);
    }
}
