//! Conditional requests: whether the client's copy is still good (RFC 9110 §13).

use std::time::UNIX_EPOCH;

use crate::fields::{Fields, Known, Values};

/// By what two versions of a file are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    /// Strong, with its quotes.
    pub(super) tag: &'a [u8],
    /// Seconds since 1970; none where the file system tells nothing sensible.
    pub(super) modified: Option<u64>,
}

/// What the conditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 412.
    Failed,
    /// 304.
    NotModified,
    Send,
}

/// Evaluates the conditions in the order of RFC 9110 §13.2.2, apart from `If-Range`.
pub(super) fn evaluate(fields: &Fields, current: Validators<'_>) -> Verdict {
    if fields.has(Known::IfMatch) {
        // §13.1.1: the comparison is strong.
        if !names(fields, Known::IfMatch, |tag| !tag.weak && tag.text == current.tag) {
            return Verdict::Failed;
        }
    } else if let Some(changed) = changed_since(fields, Known::IfUnmodifiedSince, current)
        && changed
    {
        return Verdict::Failed;
    }
    if fields.has(Known::IfNoneMatch) {
        // §13.1.2: the comparison is weak.
        if names(fields, Known::IfNoneMatch, |tag| tag.text == current.tag) {
            return Verdict::NotModified;
        }
    } else if changed_since(fields, Known::IfModifiedSince, current) == Some(false) {
        return Verdict::NotModified;
    }
    Verdict::Send
}

/// Whether `If-Range` lets `Range` count: there is none, or it names exactly the current version.
/// `now` in seconds since 1970.
pub(super) fn range_counts(fields: &Fields, current: Validators<'_>, now: u64) -> bool {
    let value = match fields.only(Known::IfRange) {
        Values::None => return true,
        Values::One(value) => value,
        Values::Many => return false,
    };
    if value.starts_with(b"\"") || value.starts_with(b"W/") {
        // §13.1.5: the comparison is strong, which a weak tag never passes.
        return value == current.tag;
    }
    // §8.8.2.2: a date is strong only when no second change can lie within the same second.
    date(value).is_some_and(|since| current.modified == Some(since) && since < now)
}

/// Whether the file has changed after the date of this field; none where the field is to be
/// ignored.
fn changed_since(fields: &Fields, name: Known, current: Validators<'_>) -> Option<bool> {
    let Values::One(value) = fields.only(name) else { return None };
    Some(current.modified? > date(value)?)
}

fn date(value: &[u8]) -> Option<u64> {
    let at = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Whether the lines of this field name a tag that `fits`, or any with `*`.
fn names(fields: &Fields, name: Known, fits: impl Fn(Tag<'_>) -> bool) -> bool {
    fields.all(name).any(|value| value.trim_ascii() == b"*" || Tags(value).any(&fits))
}

/// An entity tag as received.
#[derive(Clone, Copy)]
struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    text: &'a [u8],
}

/// The tags of a list, in which commas may also lie within tags. What is no tag is passed over.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        loop {
            let start = self.0.iter().position(|b| !matches!(b, b' ' | b'\t' | b','))?;
            let rest = &self.0[start..];
            let (weak, quoted) = match rest.strip_prefix(b"W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let end =
                quoted.strip_prefix(b"\"").and_then(|inner| inner.iter().position(|b| *b == b'"'));
            let after = end.map_or(quoted, |end| &quoted[end + 2..]);
            let comma = after.iter().position(|b| *b == b',').unwrap_or(after.len());
            self.0 = &after[comma..];
            if let Some(end) = end {
                return Some(Tag { weak, text: &quoted[..end + 2] });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const AT: u64 = 784_111_777;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, value.as_bytes());
        }
        fields
    }

    #[test]
    fn conditions_follow_the_order_of_rfc_9110_13_2_2() {
        use Verdict::{Failed, NotModified, Send};
        let current = Validators { tag: b"\"a,b\"", modified: Some(AT) };
        for (lines, expected) in [
            (&[][..], Send),
            (&[("If-None-Match", "\"a,b\"")], NotModified),
            (&[("If-None-Match", "W/\"a,b\"")], NotModified),
            (&[("If-None-Match", "\"x\" , W/\"y\",\"a,b\"")], NotModified),
            (&[("If-None-Match", "\"x\""), ("If-None-Match", "\"a,b\"")], NotModified),
            (&[("If-None-Match", "*")], NotModified),
            (&[("If-None-Match", "\"a\"")], Send),
            (&[("If-None-Match", "a,b")], Send),
            (&[("If-None-Match", "\"a,b")], Send),
            (&[("If-None-Match", "")], Send),
            (&[("If-Modified-Since", EARLIER)], Send),
            (&[("If-Modified-Since", SAME)], NotModified),
            (&[("If-Modified-Since", LATER)], NotModified),
            (&[("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
            (&[("If-Modified-Since", "yesterday")], Send),
            (&[("If-Modified-Since", SAME), ("If-Modified-Since", SAME)], Send),
            // The tag decides where both stand.
            (&[("If-None-Match", "\"x\""), ("If-Modified-Since", LATER)], Send),
            (&[("If-None-Match", "\"a,b\""), ("If-Modified-Since", EARLIER)], NotModified),
            (&[("If-Match", "\"a,b\"")], Send),
            (&[("If-Match", "W/\"a,b\"")], Failed),
            (&[("If-Match", "\"x\"")], Failed),
            (&[("If-Match", "*")], Send),
            (&[("If-Match", "*"), ("If-None-Match", "\"a,b\"")], NotModified),
            (&[("If-Match", "\"x\""), ("If-None-Match", "\"a,b\"")], Failed),
            (&[("If-Unmodified-Since", EARLIER)], Failed),
            (&[("If-Unmodified-Since", SAME)], Send),
            (&[("If-Unmodified-Since", "never")], Send),
            (&[("If-Match", "\"a,b\""), ("If-Unmodified-Since", EARLIER)], Send),
            (&[("If-Unmodified-Since", EARLIER), ("If-None-Match", "\"a,b\"")], Failed),
        ] {
            assert_eq!(evaluate(&fields(lines), current), expected, "{lines:?}");
        }
        let undated = Validators { modified: None, ..current };
        for name in ["If-Modified-Since", "If-Unmodified-Since"] {
            assert_eq!(evaluate(&fields(&[(name, EARLIER)]), undated), Send);
            assert_eq!(evaluate(&fields(&[(name, LATER)]), undated), Send);
        }
    }

    #[test]
    fn a_range_counts_only_for_exactly_this_version() {
        let current = Validators { tag: b"\"a\"", modified: Some(AT) };
        for (value, now, expected) in [
            ("\"a\"", AT, true),
            ("W/\"a\"", AT, false),
            ("\"b\"", AT, false),
            ("*", AT, false),
            (SAME, AT + 1, true),
            (SAME, AT, false),
            (EARLIER, AT + 9, false),
            (LATER, AT + 9, false),
            ("tomorrow", AT + 9, false),
        ] {
            let fields = fields(&[("If-Range", value)]);
            assert_eq!(range_counts(&fields, current, now), expected, "{value}");
        }
        assert!(range_counts(&Fields::new(), current, AT));
        assert!(!range_counts(
            &fields(&[("If-Range", "\"a\""), ("If-Range", "\"a\"")]),
            current,
            AT
        ));
    }
}
