//! The one form of a path.

use memchr::memchr;

/// How much freedom a path has. The default is the strictest reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRules {
    /// `//` becomes `/`. Default: true.
    pub merge_slashes: bool,
    /// What `%2F`, `%5C` and `\` do. Default: refuse.
    pub encoded_slashes: EncodedSlashes,
    /// What `;` and `%3B` do. Default: keep.
    pub parameters: Parameters,
}

impl Default for PathRules {
    fn default() -> Self {
        Self {
            merge_slashes: true,
            encoded_slashes: EncodedSlashes::Refuse,
            parameters: Parameters::Keep,
        }
    }
}

/// A slash in disguise inside a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlashes {
    /// Stays an escape, is matched and forwarded as one, and never separates segments.
    Keep,
    Refuse,
}

/// Path parameters such as `;jsessionid=1` (RFC 3986 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// They are data: part of their segment for matching and forwarding.
    Keep,
    /// For endpoints that cut parameters off before they look at the path.
    Refuse,
}

/// A path in its one form: ASCII, beginning with `/`, without dot segments, escapes in upper case
/// and only where a byte needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canonical<'a> {
    /// The bytes as they came were canonical already; nothing was copied.
    Borrowed(&'a [u8]),
    /// The form differs from what came and stands in the buffer handed in.
    Written(&'a [u8]),
}

impl<'a> Canonical<'a> {
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Canonical::Borrowed(bytes) | Canonical::Written(bytes) => bytes,
        }
    }
}

/// Why a path has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path climbs above its root")]
    AboveRoot,
    #[error("the path holds `%` without two hexadecimal digits")]
    BadEscape,
    #[error("the path holds the byte {0:#04x}, which must be written as an escape")]
    Byte(u8),
    #[error("the path holds the control character {0:#04x}")]
    Control(u8),
    #[error("the path hides `.` or `..` beside a parameter or an encoded slash")]
    DisguisedDots,
    #[error("the path holds an encoded slash or a backslash")]
    EncodedSlash,
    #[error("the path holds a fragment")]
    Fragment,
    #[error("the path holds a parameter")]
    Parameter,
    #[error("the path holds `?`, which begins a query")]
    Query,
    #[error("the path does not begin with `/`")]
    Relative,
}

/// Brings a path (no query) into its one form. `out` is only written when the form differs from
/// `raw`; what it held before is discarded then.
///
/// RFC 3986 §6.2.2: escapes of unreserved characters are decoded, the remaining escapes are upper
/// case, and then dot segments go. Reserved characters and their escapes stay what they are, so
/// `/a!` and `/a%21` are two paths. Printable bytes that a path may not hold but that browsers send
/// (`[`, `|`, `^` …) become escapes.
///
/// Stricter than the RFC: a path above its root, an encoded control character, and a dot segment
/// beside a parameter or an encoded slash (`..;`, `..%2F`), which some servers climb by, are errors.
pub fn path<'a>(
    raw: &'a [u8],
    rules: PathRules,
    out: &'a mut Vec<u8>,
) -> Result<Canonical<'a>, PathError> {
    if is_canonical(raw, rules) {
        return Ok(Canonical::Borrowed(raw));
    }
    write_canonical(raw, rules, out)?;
    // `/..a` and `/.b` fail the quick look but are canonical.
    Ok(if *out == raw { Canonical::Borrowed(raw) } else { Canonical::Written(out) })
}

/// The quick look: true only for a path that [`write_canonical`] would leave as it is.
fn is_canonical(raw: &[u8], rules: PathRules) -> bool {
    if raw.first() != Some(&b'/') {
        return false;
    }
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        match CLASS[byte as usize] {
            Class::Unreserved | Class::Reserved => at += 1,
            Class::Slash => {
                // A segment that begins with a dot, or `//`, is for the long way.
                match raw.get(at + 1) {
                    Some(b'.') => return false,
                    Some(b'/') if rules.merge_slashes => return false,
                    _ => at += 1,
                }
            }
            Class::Percent => {
                let [high, low] = match raw.get(at + 1..at + 3) {
                    Some(digits) => [digits[0], digits[1]],
                    None => return false,
                };
                let value = match (hex(high), hex(low)) {
                    (Some(h), Some(l)) if is_upper_hex(high) && is_upper_hex(low) => h << 4 | l,
                    _ => return false,
                };
                // Slashes, semicolons, controls and unreserved bytes are for the long way.
                if !stays_escaped(value) {
                    return false;
                }
                at += 3;
            }
            Class::Semicolon if rules.parameters == Parameters::Keep => at += 1,
            _ => return false,
        }
    }
    true
}

/// True for bytes whose escape needs no second look.
fn stays_escaped(value: u8) -> bool {
    match CLASS[value as usize] {
        Class::Reserved | Class::Escaped | Class::Foreign | Class::Percent => true,
        Class::Fragment | Class::Query | Class::Space => true,
        Class::Backslash | Class::Control | Class::Semicolon => false,
        Class::Slash | Class::Unreserved => false,
    }
}

fn write_canonical(raw: &[u8], rules: PathRules, out: &mut Vec<u8>) -> Result<(), PathError> {
    let Some(mut rest) = raw.strip_prefix(b"/") else {
        return Err(PathError::Relative);
    };
    out.clear();
    out.push(b'/');
    loop {
        let (segment, after) = match memchr(b'/', rest) {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        let start = out.len();
        write_segment(segment, rules, out)?;
        let written = &out[start..];
        // RFC 3986 §5.2.4, on what was decoded: `%2e%2e` has become `..` by now.
        let ends_open = match written {
            b"." => {
                out.truncate(start);
                false
            }
            b".." => {
                let Some(parent) = out[..start - 1].iter().rposition(|&b| b == b'/') else {
                    return Err(PathError::AboveRoot);
                };
                out.truncate(parent + 1);
                false
            }
            b"" => !rules.merge_slashes,
            other if hides_dots(other) => return Err(PathError::DisguisedDots),
            _ => true,
        };
        match after {
            None => return Ok(()),
            Some(after) => rest = after,
        }
        if ends_open {
            out.push(b'/');
        }
    }
}

fn write_segment(segment: &[u8], rules: PathRules, out: &mut Vec<u8>) -> Result<(), PathError> {
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        at += 1;
        match CLASS[byte as usize] {
            Class::Unreserved | Class::Reserved => out.push(byte),
            Class::Semicolon if rules.parameters == Parameters::Refuse => {
                return Err(PathError::Parameter);
            }
            Class::Semicolon | Class::Slash => out.push(byte),
            Class::Escaped => push_escape(byte, out),
            Class::Backslash if rules.encoded_slashes == EncodedSlashes::Refuse => {
                return Err(PathError::EncodedSlash);
            }
            Class::Backslash => push_escape(byte, out),
            Class::Percent => {
                let value = escape_at(segment, at).ok_or(PathError::BadEscape)?;
                at += 2;
                match CLASS[value as usize] {
                    Class::Unreserved => out.push(value),
                    Class::Control => return Err(PathError::Control(value)),
                    Class::Slash | Class::Backslash
                        if rules.encoded_slashes == EncodedSlashes::Refuse =>
                    {
                        return Err(PathError::EncodedSlash);
                    }
                    Class::Semicolon if rules.parameters == Parameters::Refuse => {
                        return Err(PathError::Parameter);
                    }
                    _ => push_escape(value, out),
                }
            }
            Class::Control => return Err(PathError::Control(byte)),
            Class::Foreign | Class::Space => return Err(PathError::Byte(byte)),
            Class::Fragment => return Err(PathError::Fragment),
            Class::Query => return Err(PathError::Query),
        }
    }
    Ok(())
}

/// True when a server that cuts parameters, or takes an encoded slash for a slash, would see a dot
/// segment in here. `segment` is written already, so its escapes are upper case.
fn hides_dots(segment: &[u8]) -> bool {
    let is_mark =
        |at: usize, marks: [&[u8]; 2]| marks.iter().any(|mark| segment[at..].starts_with(mark));
    let mut start = 0;
    while start <= segment.len() {
        let slash = (start..segment.len()).find(|&at| is_mark(at, [b"%2F", b"%5C"]));
        let end = slash.unwrap_or(segment.len());
        let cut = (start..end).find(|&at| is_mark(at, [b";", b"%3B"])).unwrap_or(end);
        if matches!(&segment[start..cut], b"." | b"..") {
            return true;
        }
        start = end + 3;
    }
    false
}

fn push_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// The byte that the two digits at `at` stand for.
pub(crate) fn escape_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digits = bytes.get(at..at + 2)?;
    Some(hex(digits[0])? << 4 | hex(digits[1])?)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_upper_hex(digit: u8) -> bool {
    !digit.is_ascii_lowercase()
}

/// What one byte means in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Backslash,
    Control,
    /// Printable, not of the grammar of a path, harmless: written as an escape.
    Escaped,
    /// 0x80 and above.
    Foreign,
    Fragment,
    Percent,
    Query,
    /// RFC 3986 `sub-delims` without `;`, and `:` and `@`: stays as it is, escaped or not.
    Reserved,
    Semicolon,
    Slash,
    Space,
    /// RFC 3986 §2.3: the only bytes whose escapes are decoded.
    Unreserved,
}

static CLASS: [Class; 256] = {
    let mut table = [Class::Escaped; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            0..=0x1f | 0x7f => Class::Control,
            0x80.. => Class::Foreign,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => Class::Unreserved,
            b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' => Class::Reserved,
            b':' | b'@' => Class::Reserved,
            b' ' => Class::Space,
            b'#' => Class::Fragment,
            b'%' => Class::Percent,
            b'/' => Class::Slash,
            b';' => Class::Semicolon,
            b'?' => Class::Query,
            b'\\' => Class::Backslash,
            _ => Class::Escaped,
        };
        byte += 1;
    }
    table
};
