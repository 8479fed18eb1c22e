use super::*;

fn check_request(bytes: &[u8], expected: Result<bool, HeadError>) {
    let got = request(bytes, &HeadLimits::REQUEST).map(|head| head.is_some());
    assert_eq!(got, expected, "{}", bytes.escape_ascii());
}

fn line_and_host(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: a\r\n\r\n").into_bytes()
}

fn with_field(line: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat()
}

#[test]
fn a_plain_request_is_taken_apart() {
    let bytes = b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX:  v \t\r\n\r\nbody";
    let head = request(bytes, &HeadLimits::REQUEST).unwrap().unwrap();
    assert_eq!((head.method, head.target), (Method::Post, &b"/a?b"[..]));
    assert_eq!(head.length, bytes.len() - 4);
    assert_eq!(head.fields.get("x"), Some(&b"v"[..]));
    assert_eq!(head.fields.get("x-empty"), Some(&b""[..]));
}

#[test]
fn h1_03_control_bytes_anywhere_in_a_field_are_refused() {
    for b in [0x01, 0x04, 0x08, 0x0b, 0x0c, 0x1f, 0x7f] {
        for line in [
            [b"Transfer-Encoding:", &[b][..], b"chunked"].concat(),
            [b"Transfer-Encoding", &[b][..], b": chunked"].concat(),
            [&[b][..], b"Transfer-Encoding: chunked"].concat(),
            [b"Transfer-Encoding: chunked", &[b][..]].concat(),
            [b"X: X", &[b][..], b"Transfer-Encoding: chunked"].concat(),
            [b"X: X\r", &[b][..], b"Transfer-Encoding: chunked"].concat(),
            [b"X: X", &[b][..], b"\nTransfer-Encoding: chunked"].concat(),
        ] {
            assert!(request(&with_field(&line), &HeadLimits::REQUEST).is_err());
        }
    }
    for b in [0xa0, 0xff] {
        let name = [b"Transfer-Encoding", &[b][..], b": chunked"].concat();
        assert!(request(&with_field(&name), &HeadLimits::REQUEST).is_err());
    }
}

#[test]
fn h1_14_to_16_names_and_values_are_strict() {
    for (line, error) in [
        (&b"Content-Length : 34"[..], HeadError::BadName),
        (b"\tContent-Length: 1", HeadError::Folded),
        (b"Content-Length\x00: 5", HeadError::BadName),
        (b"Content-Length 10", HeadError::BadName),
        (b"Nocolon", HeadError::FieldWithoutName),
        (b": x", HeadError::FieldWithoutName),
        (b"Transfer-\r\nEncoding: chunked", HeadError::FieldWithoutName),
        (b"X: a\x00b", HeadError::BadValue),
        (b"X: v\rSmuggled: 1", HeadError::BadValue),
        (b"X: v\nSmuggled: 1", HeadError::BareLineEnd),
    ] {
        check_request(&with_field(line), Err(error));
    }
}

#[test]
fn h1_17_bare_line_ends_are_refused_even_before_the_end() {
    for bytes in [
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        b"GET / HTTP/1.1\r\nHost: a\r\n\rX",
        b"\n",
    ] {
        check_request(bytes, Err(HeadError::BareLineEnd));
    }
}

#[test]
fn h1_32_to_34_request_lines_are_strict() {
    for (line, error) in [
        ("GET /admin", HeadError::BadRequestLine),
        ("GET /a  HTTP/1.1", HeadError::BadRequestLine),
        ("GET  /a HTTP/1.1", HeadError::BadRequestLine),
        ("GET\t/a HTTP/1.1", HeadError::BadRequestLine),
        ("GET /a HTTP/1.1 ", HeadError::BadRequestLine),
        ("GET /a b HTTP/1.1", HeadError::BadRequestLine),
        ("GET HTTP/1.1", HeadError::BadRequestLine),
        ("GET\x0b/ HTTP/1.1", HeadError::BadRequestLine),
        (" GET / HTTP/1.1", HeadError::BadRequestLine),
        ("GET / HTTP/2.0", HeadError::OtherVersion),
        ("GET / HTTP/3.0", HeadError::OtherVersion),
        ("GET / HTTP/01.1", HeadError::BadVersion),
        ("GET / HTTP/1.", HeadError::BadVersion),
        ("GET / http/1.1", HeadError::BadVersion),
        ("GET / HTTP/1.1\0", HeadError::BadVersion),
        ("GET / HTTP/0.9", HeadError::BadVersion),
        ("GET / HTTP/4294967295.255", HeadError::BadVersion),
    ] {
        check_request(&line_and_host(line), Err(error));
    }
    check_request(&line_and_host("GET / HTTP/1.2"), Ok(true));
    check_request(b"GET /admin\r\n", Err(HeadError::BadRequestLine));
    check_request(b"GET / HTTP/1.1\r\n", Ok(false));
}

#[test]
fn h1_35_methods_are_tokens_and_never_case_folded() {
    for (line, error) in [
        ("G=\":<>(e),[T];?\" / HTTP/1.1", HeadError::BadRequestLine),
        ("get / HTTP/1.1", HeadError::MiscasedMethod),
        ("GET\0 / HTTP/1.1", HeadError::BadRequestLine),
        ("G\u{c9}T / HTTP/1.1", HeadError::BadRequestLine),
    ] {
        check_request(&line_and_host(line), Err(error));
    }
    let long = "X".repeat(4096) + " / HTTP/1.1";
    check_request(&line_and_host(&long), Err(HeadError::LongMethod));
    check_request(&line_and_host("PROPFIND / HTTP/1.1"), Ok(true));
}

#[test]
fn h1_41_42_folding_is_refused() {
    check_request(&with_field(b"X: a\r\n b"), Err(HeadError::Folded));
    check_request(b"GET / HTTP/1.1\r\n Host: evil\r\nHost: a\r\n\r\n", Err(HeadError::Folded));
}

#[test]
fn h1_50_names_are_ascii() {
    check_request(&with_field(b"Transfer-Encod\xc4\xb1ng: chunked"), Err(HeadError::BadName));
    check_request(&with_field(b"\xe2\x84\xaaeep-Alive: 1"), Err(HeadError::BadName));
}

#[test]
fn sl_09_10_limits_hold_before_the_head_is_complete() {
    let long_line = [b"GET /".as_slice(), &[b'a'; 9000]].concat();
    check_request(&long_line, Err(HeadError::LongStartLine));
    let long_field = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 17 << 10]].concat();
    check_request(&[&long_field[..], b"\r\n\r\n"].concat(), Err(HeadError::LongFields));
    let long_all = [b"GET / HTTP/1.1\r\n".as_slice(), &b"X: a\r\n".repeat(6000)].concat();
    check_request(&long_all, Err(HeadError::LongFields));
    let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"X: a\r\n".repeat(101), b"\r\n"].concat();
    check_request(&many, Err(HeadError::ManyFields));
    let most = [b"GET / HTTP/1.1\r\n".as_slice(), &b"X: a\r\n".repeat(100), b"\r\n"].concat();
    check_request(&most, Ok(true));
}

/// A head as large as is allowed was refused when its last two bytes came apart.
#[test]
fn a_head_that_just_fits_is_taken_however_it_is_cut() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let limits = HeadLimits { start_line: 14, line: 8, fields: 9, count: 1 };
    for end in 0..bytes.len() {
        assert!(request(&bytes[..end], &limits).unwrap().is_none(), "{end}");
    }
    assert!(request(bytes, &limits).unwrap().is_some());
    let less = HeadLimits { fields: 8, ..limits };
    assert_eq!(request(bytes, &less).err(), Some(HeadError::LongFields));
}

#[test]
fn rs_08_11_status_lines_and_response_fields_are_strict() {
    for (line, expected) in [
        ("HTTP/1.1 200 OK", Some(200)),
        ("HTTP/1.1 200 ", Some(200)),
        ("HTTP/1.1 200", Some(200)),
        ("HTTP/1.0 404 Not Found", Some(404)),
        ("HTTP/1.1 099 X", None),
        ("HTTP/1.1 1000 X", None),
        ("HTTP/1.1 20 X", None),
        ("HTTP/2 200", None),
        ("ICY 200 OK", None),
        ("HTTP/1.1  200 OK", None),
        ("HTTP/1.1 200 O\x00K", None),
    ] {
        let bytes = format!("{line}\r\nA: b\r\n\r\n");
        let got = response(bytes.as_bytes(), &HeadLimits::RESPONSE);
        assert_eq!(got.ok().flatten().map(|h| h.status), expected, "{line}");
    }
    let lf_only = b"HTTP/1.1 200 OK\nA: b\n\n";
    assert_eq!(response(lf_only, &HeadLimits::RESPONSE).err(), Some(HeadError::BareLineEnd));
    let long = format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(response(long.as_bytes(), &HeadLimits::RESPONSE).is_err());
}

#[test]
fn h1_49_imitations_of_known_names_are_recognised() {
    assert_eq!(imitated(b"Content_Length"), Some(Known::ContentLength));
    assert_eq!(imitated(b"X.Real_IP"), Some(Known::XRealIp));
    assert_eq!(imitated(b"X-Real-IP"), None);
    assert_eq!(imitated(b"my_field"), None);
}

/// Whatever this parser takes, the parser that most Rust servers use takes too, alike.
#[test]
fn agrees_with_another_parser_on_what_it_accepts() {
    proptest::proptest!(|(line in "[ -~\r\n\t\u{80}]{0,40}", value in ".{0,20}")| {
        let bytes = format!("GET /{line} HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n");
        if let Ok(Some(head)) = request(bytes.as_bytes(), &HeadLimits::REQUEST) {
            let mut room = [httparse::EMPTY_HEADER; 128];
            let mut other = httparse::Request::new(&mut room);
            let parsed = other.parse(bytes.as_bytes());
            let refused_utf8_target = !head.target.is_ascii();
            if !refused_utf8_target {
                proptest::prop_assert_eq!(parsed, Ok(httparse::Status::Complete(head.length)));
                proptest::prop_assert_eq!(other.headers.len(), head.fields.len());
                for (ours, theirs) in head.fields.iter().zip(other.headers.iter()) {
                    proptest::prop_assert_eq!(ours.name, theirs.name.as_bytes());
                    proptest::prop_assert_eq!(ours.value, theirs.value.trim_ascii());
                }
            }
        }
    });
}

#[test]
fn the_quick_way_takes_what_the_thorough_way_takes_and_reads_it_alike() {
    let line = "(x-a|Host|X)?:?[ \t]{0,2}[a-z\t \r\x7f\u{80}]{0,12}[ \t]?(\r\n|\r\n|\r\n|\n|\r)";
    proptest::proptest!(|(lines in proptest::collection::vec(line, 0..5), rest in ".{0,3}")| {
        let bytes = format!("HTTP/1.1 200 OK\r\n{}\r\n{rest}", lines.concat()).into_bytes();
        for count in [1, 100] {
            let limits = HeadLimits { start_line: 15, line: 14, fields: 40, count };
            let quick = whole::head(&bytes, &limits);
            let thorough = split(&bytes, &limits).and_then(|parts| match parts {
                Some((start, block)) => field_lines(block, &limits).map(|f| Some((start, f, block))),
                None => Ok(None),
            });
            match (quick, thorough) {
                (Some((start, fields, length)), Ok(Some((as_start, as_fields, block)))) => {
                    proptest::prop_assert_eq!(start, as_start);
                    proptest::prop_assert_eq!(length, start.len() + block.len() + 4);
                    proptest::prop_assert!(fields.iter().eq(as_fields.iter()));
                    let (mut once, mut twice) = (Vec::new(), Vec::new());
                    fields.write(&mut once);
                    field_lines(&once, &HeadLimits::REQUEST).unwrap().write(&mut twice);
                    proptest::prop_assert_eq!(once, twice);
                }
                (None, Ok(None) | Err(_)) => {}
                (quick, thorough) => {
                    proptest::prop_assert!(false, "{:?} {:?}", quick, thorough);
                }
            }
        }
    });
}

#[test]
fn no_bytes_make_it_panic() {
    proptest::proptest!(|(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300))| {
        let _ = request(&bytes, &HeadLimits::REQUEST);
        let _ = response(&bytes, &HeadLimits::RESPONSE);
    });
}
