//! Which bytes of a file a `Range` field selects (RFC 9110 §14).

use smallvec::SmallVec;

/// More ranges than this are no download but an attack (SL-14): the field is ignored.
const MOST: usize = 16;

/// Bytes from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    /// Never 0.
    pub fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// Overlaps the other, or ends where it begins.
    fn touches(self, other: Span) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    fn with(self, other: Span) -> Span {
        Span { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What a `Range` field selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// At least one; none touches another.
    Spans(SmallVec<[Span; 1]>),
    /// 416.
    Unsatisfiable,
    /// The field is ignored.
    Whole,
}

/// Reads the one value of a `Range` field for a file of `length` bytes.
///
/// Ignored are: other units, anything malformed, too many ranges, and any range of an empty file,
/// because clients that resume send one always (§14.2 leaves that free). The parts stand in the
/// order asked for (§15.3.7.2), those that touch put together where the first of them stood.
pub fn select(value: &[u8], length: u64) -> Selection {
    let Some(specs) = bytes_unit(value).filter(|_| length > 0) else { return Selection::Whole };
    let mut spans: SmallVec<[Span; 1]> = SmallVec::new();
    let mut count = 0;
    for spec in crate::fields::list(specs) {
        count += 1;
        if count > MOST {
            return Selection::Whole;
        }
        match span(spec, length) {
            Ok(Some(span)) => add(&mut spans, span),
            Ok(None) => {}
            Err(Malformed) => return Selection::Whole,
        }
    }
    match (count, spans.is_empty()) {
        (0, _) => Selection::Whole,
        (_, true) => Selection::Unsatisfiable,
        (_, false) => Selection::Spans(spans),
    }
}

fn bytes_unit(value: &[u8]) -> Option<&[u8]> {
    // §14.1: the names of units are case-insensitive.
    let (unit, specs) = value.split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(specs)
}

struct Malformed;

/// The bytes one spec selects; none where the file is too short for it.
fn span(spec: &[u8], length: u64) -> Result<Option<Span>, Malformed> {
    let dash = spec.iter().position(|b| *b == b'-').ok_or(Malformed)?;
    let end = length - 1;
    let (first, last) = match (&spec[..dash], &spec[dash + 1..]) {
        (b"", suffix) => match number(suffix)? {
            0 => return Ok(None),
            n => (length - n.min(length), end),
        },
        (first, b"") => (number(first)?, u64::MAX),
        (first, last) => (number(first)?, number(last)?),
    };
    if first > last {
        return Err(Malformed);
    }
    Ok((first <= end).then(|| Span { first, last: last.min(end) }))
}

/// A decimal number; one too large to count is as good as the largest.
fn number(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() {
        return Err(Malformed);
    }
    digits.iter().try_fold(0u64, |n, digit| match digit {
        b'0'..=b'9' => Ok(n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))),
        _ => Err(Malformed),
    })
}

/// Adds a span, put together with all that it touches.
fn add(spans: &mut SmallVec<[Span; 1]>, mut new: Span) {
    let mut place = None;
    let mut at = 0;
    while at < spans.len() {
        if spans[at].touches(new) {
            new = new.with(spans.remove(at));
            // What was passed over may touch the longer one.
            place = Some(place.map_or(at, |place: usize| place.min(at)));
            at = 0;
        } else {
            at += 1;
        }
    }
    let place = place.unwrap_or(spans.len()).min(spans.len());
    spans.insert(place, new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(value: &str, length: u64) -> String {
        match select(value.as_bytes(), length) {
            Selection::Whole => "whole".into(),
            Selection::Unsatisfiable => "416".into(),
            Selection::Spans(spans) => {
                let texts: Vec<_> =
                    spans.iter().map(|s| format!("{}-{}", s.first, s.last)).collect();
                texts.join(",")
            }
        }
    }

    #[test]
    fn sl_14_ranges_are_bounded_and_never_overflow() {
        let many = |n: usize| format!("bytes={}", vec!["0-"; n].join(","));
        for (value, length, expected) in [
            ("bytes=0-0", 10, "0-0"),
            ("bytes=0-9", 10, "0-9"),
            ("bytes=0-", 10, "0-9"),
            ("bytes=5-100", 10, "5-9"),
            ("BYTES=9-", 10, "9-9"),
            ("bytes=-3", 10, "7-9"),
            ("bytes=-10", 10, "0-9"),
            ("bytes=-11", 10, "0-9"),
            ("bytes=-9223372036854775807", 10, "0-9"),
            ("bytes=-18446744073709551616", 10, "0-9"),
            ("bytes=18446744073709551615-", 10, "416"),
            ("bytes=99999999999999999999-", 10, "416"),
            ("bytes=0-99999999999999999999", 10, "0-9"),
            ("bytes=0-18446744073709551615", u64::MAX, "0-18446744073709551614"),
            ("bytes=10-", 10, "416"),
            ("bytes=10-12", 10, "416"),
            ("bytes=-0", 10, "416"),
            ("bytes=5-4", 10, "whole"),
            ("bytes=50-40", 10, "whole"),
            ("bytes=0-1,5-4", 10, "whole"),
            ("bytes=", 10, "whole"),
            ("bytes=,", 10, "whole"),
            ("bytes=-", 10, "whole"),
            ("bytes=a-b", 10, "whole"),
            ("bytes=+1-2", 10, "whole"),
            ("bytes=1", 10, "whole"),
            ("bytes=--1", 10, "whole"),
            ("bytes=1-2-3", 10, "whole"),
            ("bytes 0-1", 10, "whole"),
            ("bytes", 10, "whole"),
            ("lines=0-1", 10, "whole"),
            ("", 10, "whole"),
            ("bytes=0-", 0, "whole"),
            ("bytes=0-1, 4-5", 10, "0-1,4-5"),
            ("bytes=4-5,0-1", 10, "4-5,0-1"),
            ("bytes=0-1,,2-3", 10, "0-3"),
            ("bytes=0-,0-,0-", 10, "0-9"),
            ("bytes=0-1,8-9,1-8", 10, "0-9"),
            ("bytes=8-9,4-5,0-1,5-7", 10, "4-9,0-1"),
            ("bytes=0-1,20-30", 10, "0-1"),
            ("bytes=20-30,40-", 10, "416"),
            (&many(16), 10, "0-9"),
            (&many(17), 10, "whole"),
            (&many(1300), 10, "whole"),
        ] {
            assert_eq!(selected(value, length), expected, "{value} of {length}");
        }
    }

    proptest::proptest! {
        #[test]
        fn sl_14_any_field_selects_bytes_that_are_there(specs in "[-0-9, ]{0,40}", length in 0u64..200) {
            if let Selection::Spans(spans) = select(format!("bytes={specs}").as_bytes(), length) {
                for (i, span) in spans.iter().enumerate() {
                    assert!(span.first <= span.last && span.last < length);
                    assert!(spans[..i].iter().all(|other| !other.touches(*span)));
                }
            }
        }
    }
}
