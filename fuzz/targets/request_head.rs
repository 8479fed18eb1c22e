//! A request head: the verdict does not depend on how the bytes are cut, another parser reads the
//! same, and what is written again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_proxy::codec::framing::{self, Framing};
use transom_proxy::codec::head::{HeadLimits, RequestHead, imitated, request};
use transom_proxy::fields::Known;
use transom_proxy::message::Version;
use transom_settings::is_token_byte;

fuzz_target!(|bytes: &[u8]| {
    cuts_agree(bytes, &HeadLimits::REQUEST);
    let Ok(Some(head)) = request(bytes, &HeadLimits::REQUEST) else { return };
    let whole = &bytes[..head.length];
    fields_are_clean(&head);
    framing_is_certain(&head);
    another_parser_agrees(whole, &head);
    written_again_it_is_the_same(&head);
    limits_are_exact(whole);
});

/// While a head grows it is incomplete, and then it is refused or whole for good.
fn cuts_agree(bytes: &[u8], limits: &HeadLimits) {
    let mut last = None;
    for end in cuts(bytes.len()) {
        let verdict = request(&bytes[..end], limits).map(|head| head.map(|head| head.length));
        let verdict = verdict.map_err(|_| ());
        match (last, verdict) {
            (None | Some(Ok(None)), Ok(Some(length))) => {
                assert!(length <= end, "a head of {length} bytes in {end}");
                assert!(last.is_none_or(|_| end > 0));
                if length < end {
                    assert_eq!(request(&bytes[..length], limits).unwrap().unwrap().length, length);
                    assert!(request(&bytes[..length - 1], limits).unwrap().is_none());
                }
            }
            (None | Some(Ok(None)), _) => {}
            (Some(before), _) => assert_eq!(before, verdict, "the verdict changes at {end}"),
        }
        last = Some(verdict);
    }
}

/// All of them, or in a long head those around its beginning and end.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).filter(move |at| length <= 600 || *at < 150 || *at % 61 == 0 || length - at < 150)
}

fn fields_are_clean(head: &RequestHead<'_>) {
    for field in head.fields.iter() {
        assert!(!field.name.is_empty() && field.name.iter().all(|b| is_token_byte(*b)));
        assert_eq!(field.known, Known::of(field.name));
        assert!(!field.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        assert_eq!(field.value, field.value.trim_ascii());
        let _ = imitated(field.name);
    }
}

/// A body ends where one field, and nothing else, says that it does.
fn framing_is_certain(head: &RequestHead<'_>) {
    let lines = |name: &[u8]| -> Vec<&[u8]> {
        let same = head.fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name));
        same.map(|f| f.value).collect()
    };
    let (lengths, encodings) = (lines(b"content-length"), lines(b"transfer-encoding"));
    match framing::of_request(head.version, &head.fields) {
        Ok(Framing::None) => assert!(lengths.is_empty() && encodings.is_empty()),
        Ok(Framing::Length(n)) => {
            assert!(lengths.len() == 1 && encodings.is_empty());
            let text = std::str::from_utf8(lengths[0]).unwrap();
            assert!(text.bytes().all(|b| b.is_ascii_digit()));
            assert_eq!(text.parse(), Ok(n));
        }
        Ok(Framing::Chunked) => {
            assert!(lengths.is_empty() && encodings.len() == 1);
            assert_eq!(head.version, Version::Http11);
            assert!(encodings[0].eq_ignore_ascii_case(b"chunked"));
        }
        Ok(Framing::UntilClose) => panic!("a request ends before its connection"),
        Err(_) => assert!(!lengths.is_empty() || !encodings.is_empty()),
    }
}

fn another_parser_agrees(whole: &[u8], head: &RequestHead<'_>) {
    // It wants text where bytes are allowed, and knows no minor version above 1.
    if !head.target.is_ascii() {
        return;
    }
    let mut bytes = whole.to_vec();
    let line_end = bytes.iter().position(|b| *b == b'\r').unwrap();
    let minor = &mut bytes[line_end - 1];
    if *minor > b'1' {
        *minor = b'1';
    }
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut room);
    assert_eq!(other.parse(&bytes), Ok(httparse::Status::Complete(head.length)));
    assert_eq!(other.method, Some(head.method.as_str()));
    assert_eq!(other.path.map(str::as_bytes), Some(head.target));
    assert_eq!(other.version, Some(u8::from(head.version == Version::Http11)));
    assert_eq!(other.headers.len(), head.fields.len());
    for (ours, theirs) in head.fields.iter().zip(other.headers.iter()) {
        assert_eq!((ours.name, ours.value), (theirs.name.as_bytes(), theirs.value));
    }
}

fn written_again_it_is_the_same(head: &RequestHead<'_>) {
    let mut out = head.method.as_str().as_bytes().to_vec();
    out.push(b' ');
    out.extend_from_slice(head.target);
    out.extend_from_slice(format!(" HTTP/{}\r\n", head.version.as_str()).as_bytes());
    head.fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    // A space more for each line: the limits must not be in the way.
    let limits = HeadLimits { start_line: 1 << 16, line: 1 << 16, fields: 1 << 17, count: 1000 };
    let again = request(&out, &limits).unwrap().unwrap();
    assert_eq!(again.length, out.len());
    assert_eq!(
        (&again.method, again.target, again.version),
        (&head.method, head.target, head.version)
    );
    assert!(again.fields.iter().eq(head.fields.iter()));
}

/// A head that just fits is taken however it is cut; one byte less of room refuses it.
fn limits_are_exact(whole: &[u8]) {
    let start_line = whole.windows(2).position(|two| two == b"\r\n").unwrap();
    let block = &whole[start_line + 2..whole.len() - 2];
    let lines = || block.split_inclusive(|b| *b == b'\n');
    let exact = HeadLimits {
        start_line,
        line: lines().map(|line| line.len() - 1).max().unwrap_or(0),
        fields: block.len(),
        count: lines().count(),
    };
    assert!(request(whole, &exact).unwrap().is_some());
    cuts_agree(whole, &exact);
    let mut tighter = vec![HeadLimits { start_line: exact.start_line - 1, ..exact }];
    if exact.count > 0 {
        tighter.push(HeadLimits { line: exact.line - 1, ..exact });
        tighter.push(HeadLimits { fields: exact.fields - 1, ..exact });
        tighter.push(HeadLimits { count: exact.count - 1, ..exact });
    }
    for limits in tighter {
        assert!(request(whole, &limits).is_err(), "{limits:?}");
    }
}
