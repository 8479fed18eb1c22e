//! Heads that are whole and right, which nearly all are: taken apart in one pass.
//!
//! Whatever is not goes the thorough way in [`super`], which says what is wrong with it, or that more
//! must come. So this need not know why it gives up.

use memchr::memchr;

use super::{HeadLimits, is_token_byte};
use crate::codec::scan::{name_length, value_length};
use crate::fields::{Fields, Known, Place};

/// The start line without its CR LF, the fields, and how long the head is.
pub(super) fn head<'a>(bytes: &'a [u8], limits: &HeadLimits) -> Option<(&'a [u8], Fields, usize)> {
    let line_end = memchr(b'\n', bytes)?;
    if line_end > limits.start_line + 1 {
        return None;
    }
    let start_line = bytes[..line_end].strip_suffix(b"\r")?;
    let (fields, length) = fields(&bytes[line_end + 1..], limits)?;
    Some((start_line, fields, line_end + 1 + length))
}

/// The fields, and how long they are with the empty line behind them.
fn fields(block: &[u8], limits: &HeadLimits) -> Option<(Fields, usize)> {
    let mut fields = Fields::with_lines(16);
    let mut at = 0;
    loop {
        let line = &block[at..];
        if line.starts_with(b"\r\n") {
            break;
        }
        let name = name_length(line)?;
        // A known name needs no look at each of its bytes.
        let known = Known::of(&line[..name]);
        if known.is_none() && (name == 0 || !line[..name].iter().all(|b| is_token_byte(*b))) {
            return None;
        }
        let spaces = line[name + 1..].iter().position(|b| !matches!(b, b' ' | b'\t'))?;
        let value = name + 1 + spaces;
        let end = value + value_length(&line[value..]);
        // A line counts without its LF.
        if !line[end..].starts_with(b"\r\n") || end + 1 > limits.line {
            return None;
        }
        if fields.len() == limits.count {
            return None;
        }
        let mut value_end = end;
        while value_end > value && matches!(line[value_end - 1], b' ' | b'\t') {
            value_end -= 1;
        }
        let written = spaces == 1 && line[name + 1] == b' ' && value_end == end;
        let place = Place { line: at, value: at + value..at + value_end };
        fields.push_line(name, place, known, written);
        at += end + 2;
    }
    if at > limits.fields {
        return None;
    }
    fields.adopt(&block[..at]);
    Some((fields, at + 2))
}
