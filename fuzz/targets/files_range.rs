//! The fields by which a client asks for part of a file or for a coding of it. The first byte is
//! the length of the file; the rest is read as `Range` and as `Accept-Encoding`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_proxy::action::files::Coding;
use transom_proxy::action::files::coding::preferred;
use transom_proxy::action::files::range::{Selection, select};

fuzz_target!(|bytes: &[u8]| {
    let Some((&length, value)) = bytes.split_first() else { return };
    check_range(value, u64::from(length));
    check_range(value, u64::MAX);
    check_range(value, 1 << 40);
    check_codings(value);
});

fn check_range(value: &[u8], length: u64) {
    let asked = reference(value, length);
    match select(value, length) {
        Selection::Whole => assert!(asked.is_none()),
        Selection::Unsatisfiable => assert_eq!(asked, Some(vec![])),
        Selection::Spans(spans) => {
            let asked = asked.expect("the field should be ignored");
            assert!(!spans.is_empty() && spans.len() <= 16);
            for (at, span) in spans.iter().enumerate() {
                assert!(span.first <= span.last && span.last < length && span.length() > 0);
                for other in &spans[..at] {
                    let apart = span.first > other.last + 1 || other.first > span.last + 1;
                    assert!(apart, "{span:?} touches {other:?}");
                }
            }
            // The same bytes: each that was asked for lies in one span, and all their ends were.
            for (first, last) in &asked {
                assert!(spans.iter().any(|s| s.first <= *first && *last <= s.last));
            }
            for span in &spans {
                assert!(asked.iter().any(|(first, _)| *first == span.first));
                assert!(asked.iter().any(|(_, last)| *last == span.last));
            }
            // RFC 9110 §15.3.7.2: in the order asked for.
            let place = |s: &transom_proxy::action::files::range::Span| {
                asked.iter().position(|(first, last)| s.first <= *first && *last <= s.last)
            };
            assert!(spans.windows(2).all(|two| place(&two[0]) < place(&two[1])));
        }
    }
}

/// What is asked for and there, in order. `None`: the field is ignored.
fn reference(value: &[u8], length: u64) -> Option<Vec<(u64, u64)>> {
    let specs = std::str::from_utf8(value).ok();
    // A byte above ASCII is in no number and in no unit.
    let value = specs.filter(|text| text.is_ascii())?;
    let (unit, specs) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") || length == 0 {
        return None;
    }
    let number = |text: &str| -> Option<u128> {
        let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
        digits.then(|| text.parse().unwrap_or(u128::MAX))
    };
    let (mut asked, mut count) = (Vec::new(), 0);
    let trimmed = |spec: &str| String::from_utf8(spec.as_bytes().trim_ascii().to_vec()).unwrap();
    for spec in specs.split(',').map(trimmed).filter(|spec| !spec.is_empty()) {
        count += 1;
        let (first, last) = spec.split_once('-')?;
        let end = u128::from(length) - 1;
        let (first, last) = match (first, last) {
            ("", suffix) => match number(suffix)? {
                0 => continue,
                n => (u128::from(length).saturating_sub(n), end),
            },
            (first, "") => (number(first)?, u128::MAX),
            (first, last) => (number(first)?, number(last)?),
        };
        // Numbers beyond 64 bits are one number.
        let (first, last) = (first.min(u128::from(u64::MAX)), last.min(u128::from(u64::MAX)));
        if first > last {
            return None;
        }
        if first <= end {
            asked.push((first as u64, last.min(end) as u64));
        }
    }
    (1..=16).contains(&count).then_some(asked)
}

fn check_codings(value: &[u8]) {
    let offered = [Coding::Brotli, Coding::Zstd, Coding::Gzip];
    let found = preferred([value].into_iter(), &offered);
    for (at, coding) in found.iter().enumerate() {
        assert!(offered.contains(coding) && !found[..at].contains(coding));
    }
    // One line or several, in whatever case: the same wish.
    let lines = value.split(|b| *b == b',');
    assert_eq!(preferred(lines, &offered), found);
    let upper = value.to_ascii_uppercase();
    assert_eq!(preferred([&upper[..]].into_iter(), &offered), found);
    // A coding that is not offered is not found; the others do not mind.
    for left_out in offered {
        let fewer: Vec<Coding> = offered.into_iter().filter(|c| *c != left_out).collect();
        let without: Vec<Coding> = found.iter().copied().filter(|c| *c != left_out).collect();
        assert_eq!(preferred([value].into_iter(), &fewer)[..], without[..]);
    }
    // What stands first counts: a refusal put in front of the field cannot be taken back.
    for coding in offered {
        let refusal = format!("{};q=0", coding.as_str());
        let lines = [refusal.as_bytes(), value];
        assert!(!preferred(lines.into_iter(), &offered).contains(&coding));
    }
    assert!(preferred([&b""[..]; 0].into_iter(), &offered).is_empty());
}
