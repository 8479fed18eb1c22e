//! A response head, from an endpoint that nobody controls: as `request_head`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_proxy::codec::framing::{self, Framing};
use transom_proxy::codec::head::{HeadLimits, ResponseHead, response};
use transom_proxy::fields::Known;
use transom_proxy::message::{Method, Version};
use transom_settings::is_token_byte;

fuzz_target!(|bytes: &[u8]| {
    cuts_agree(bytes, &HeadLimits::RESPONSE);
    let Ok(Some(head)) = response(bytes, &HeadLimits::RESPONSE) else { return };
    let whole = &bytes[..head.length];
    assert!((100..=999).contains(&head.status));
    for field in head.fields.iter() {
        assert!(!field.name.is_empty() && field.name.iter().all(|b| is_token_byte(*b)));
        assert_eq!(field.known, Known::of(field.name));
        assert!(!field.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    }
    framing_is_certain(&head);
    another_parser_agrees(whole, &head);
    written_again_it_is_the_same(&head);
    limits_are_exact(whole);
});

/// While a head grows it is incomplete, and then it is refused or whole for good.
fn cuts_agree(bytes: &[u8], limits: &HeadLimits) {
    let mut last = None;
    for end in cuts(bytes.len()) {
        let verdict = response(&bytes[..end], limits).map(|head| head.map(|head| head.length));
        let verdict = verdict.map_err(|_| ());
        match (last, verdict) {
            (None | Some(Ok(None)), Ok(Some(length))) => {
                assert!(length <= end, "a head of {length} bytes in {end}");
                assert!(response(&bytes[..length - 1], limits).unwrap().is_none());
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

fn framing_is_certain(head: &ResponseHead) {
    let count =
        |name: &[u8]| head.fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name)).count();
    let (lengths, encodings) = (count(b"content-length"), count(b"transfer-encoding"));
    for method in [Method::Get, Method::Head, Method::Connect] {
        match framing::of_response(head.version, head.status, &head.fields, &method) {
            Ok(Framing::None) => {
                assert!(method == Method::Head || matches!(head.status, 100..=199 | 204 | 304));
            }
            Ok(Framing::Length(_)) => assert_eq!((lengths, encodings), (1, 0)),
            Ok(Framing::Chunked) => {
                assert_eq!((lengths, encodings, head.version), (0, 1, Version::Http11));
            }
            Ok(Framing::UntilClose) => assert_eq!((lengths, encodings), (0, 0)),
            Err(_) => assert!(lengths + encodings > 0),
        }
    }
}

fn another_parser_agrees(whole: &[u8], head: &ResponseHead) {
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Response::new(&mut room);
    assert_eq!(other.parse(whole), Ok(httparse::Status::Complete(head.length)));
    assert_eq!(other.code, Some(head.status));
    assert_eq!(other.version, Some(u8::from(head.version == Version::Http11)));
    assert_eq!(other.headers.len(), head.fields.len());
    for (ours, theirs) in head.fields.iter().zip(other.headers.iter()) {
        assert_eq!((ours.name, ours.value), (theirs.name.as_bytes(), theirs.value));
    }
}

fn written_again_it_is_the_same(head: &ResponseHead) {
    let line = format!("HTTP/{} {} Reason\r\n", head.version.as_str(), head.status);
    let mut out = line.into_bytes();
    head.fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    let limits = HeadLimits { start_line: 1 << 16, line: 1 << 16, fields: 1 << 17, count: 1000 };
    let again = response(&out, &limits).unwrap().unwrap();
    assert_eq!((again.length, again.version, again.status), (out.len(), head.version, head.status));
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
    assert!(response(whole, &exact).unwrap().is_some());
    cuts_agree(whole, &exact);
    let mut tighter = vec![HeadLimits { start_line: exact.start_line - 1, ..exact }];
    if exact.count > 0 {
        tighter.push(HeadLimits { line: exact.line - 1, ..exact });
        tighter.push(HeadLimits { fields: exact.fields - 1, ..exact });
        tighter.push(HeadLimits { count: exact.count - 1, ..exact });
    }
    for limits in tighter {
        assert!(response(whole, &limits).is_err(), "{limits:?}");
    }
}
