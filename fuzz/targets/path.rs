//! The one form of a path, under all rules: stable, without dot segments or hidden ones, and the
//! one that a second, slow reading gives. The same bytes are read as a request-target too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_proxy::normalize::{
    Canonical, EncodedSlashes, Parameters, PathRules, Target, path, target,
};

fuzz_target!(|raw: &[u8]| {
    for bits in 0..8 {
        let rules = PathRules {
            merge_slashes: bits & 1 == 0,
            encoded_slashes: match bits & 2 {
                0 => EncodedSlashes::Refuse,
                _ => EncodedSlashes::Keep,
            },
            parameters: if bits & 4 == 0 { Parameters::Keep } else { Parameters::Refuse },
        };
        check_path(raw, rules);
    }
    for method in [&b"GET"[..], b"OPTIONS", b"CONNECT"] {
        check_target(method, raw);
    }
});

fn check_path(raw: &[u8], rules: PathRules) {
    let mut out = b"what was here before".to_vec();
    let found = path(raw, rules, &mut out).map(|form| (form.bytes().to_vec(), form));
    let expected = reference(raw, rules);
    let Ok((once, form)) = found else {
        assert_eq!(expected, None, "{rules:?}");
        return;
    };
    assert_eq!(matches!(form, Canonical::Borrowed(_)), once == raw);
    let text = std::str::from_utf8(&once).unwrap();
    assert_eq!(Some(text), expected.as_deref(), "{rules:?}");
    assert!(text.starts_with('/') && text.bytes().all(|b| (0x21..=0x7e).contains(&b)));
    assert!(!text[1..].split('/').any(|segment| matches!(segment, "." | "..")));
    assert!(!rules.merge_slashes || !text.contains("//"));
    for never in ["%2e", "%2E", "%2f", "%5c", "%00", "%0D", "%0A", "\\", "#", "?"] {
        assert!(!text.contains(never), "{never} in {text}");
    }
    if rules.encoded_slashes == EncodedSlashes::Refuse {
        assert!(!text.contains("%2F") && !text.contains("%5C"));
    }
    if rules.parameters == Parameters::Refuse {
        assert!(!text.contains(';') && !text.contains("%3B"));
    }
    let mut again = Vec::new();
    assert_eq!(path(&once, rules, &mut again), Ok(Canonical::Borrowed(&once)));
}

/// A byte of a path after its one decoding: itself, or to be written as an escape.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Plain(u8),
    Escape(u8),
}

/// RFC 3986 §6.2.2 in the most obvious way. `None` is refused.
fn reference(raw: &[u8], rules: PathRules) -> Option<String> {
    let raw = raw.strip_prefix(b"/")?;
    let mut kept: Vec<Vec<Unit>> = Vec::new();
    let mut open = false;
    for segment in raw.split(|b| *b == b'/') {
        let units = units(segment, rules)?;
        open = true;
        match &units[..] {
            [] if rules.merge_slashes => {}
            [Unit::Plain(b'.')] => {}
            [Unit::Plain(b'.'), Unit::Plain(b'.')] => {
                kept.pop()?;
            }
            _ if hides_dots(&units) => return None,
            _ => {
                kept.push(units);
                open = false;
            }
        }
    }
    if open {
        kept.push(Vec::new());
    }
    let mut out = String::new();
    for segment in kept {
        out.push('/');
        for unit in segment {
            match unit {
                Unit::Plain(byte) => out.push(char::from(byte)),
                Unit::Escape(byte) => out.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    Some(out)
}

fn units(segment: &[u8], rules: PathRules) -> Option<Vec<Unit>> {
    let mut units = Vec::new();
    let mut bytes = segment.iter().copied();
    while let Some(byte) = bytes.next() {
        let (byte, escaped) = match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                (u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?, true)
            }
            byte => (byte, false),
        };
        let refused = match byte {
            0..0x20 | 0x7f => true,
            b' ' | b'#' | b'?' | 0x80.. => !escaped,
            b'/' | b'\\' => rules.encoded_slashes == EncodedSlashes::Refuse,
            b';' => rules.parameters == Parameters::Refuse,
            _ => false,
        };
        if refused {
            return None;
        }
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let allowed = b"!$&'()*+,=:@;".contains(&byte);
        units.push(match unreserved || (allowed && !escaped) {
            true => Unit::Plain(byte),
            false => Unit::Escape(byte),
        });
    }
    Some(units)
}

fn hides_dots(segment: &[Unit]) -> bool {
    let slash = |u: &Unit| matches!(u, Unit::Escape(b'/' | b'\\'));
    let semicolon = |u: &Unit| matches!(u, Unit::Plain(b';') | Unit::Escape(b';'));
    segment.split(slash).any(|part| {
        let name = part.split(semicolon).next().unwrap_or_default();
        matches!(name, [Unit::Plain(b'.')] | [Unit::Plain(b'.'), Unit::Plain(b'.')])
    })
}

/// The parts of a target are pieces of it, and put together again they are the whole.
fn check_target(method: &[u8], raw: &[u8]) {
    let Ok(found) = target(method, raw) else { return };
    let joined = |path: &[u8], query: Option<&[u8]>| match query {
        Some(query) => [path, b"?", query].concat(),
        None => path.to_vec(),
    };
    match found {
        Target::Origin { path, query } => {
            assert!(raw.starts_with(b"/") && !path.contains(&b'#') && !path.contains(&b'?'));
            assert_eq!(joined(path, query), raw);
        }
        Target::Absolute { authority, path, query, .. } => {
            assert!(!authority.iter().any(|b| b"/?#@".contains(b)) && path.starts_with(b"/"));
            let tail = joined(path, query);
            let written = [b"://", authority, &tail].concat();
            let without_path = [b"://", authority, &tail[1..]].concat();
            assert!(raw.ends_with(&written) || raw.ends_with(&without_path));
        }
        Target::Asterisk { authority: None } => {
            assert_eq!((method, raw), (&b"OPTIONS"[..], &b"*"[..]))
        }
        Target::Asterisk { authority: Some(authority) } => {
            assert!(method == b"OPTIONS" && raw.ends_with(authority));
        }
        Target::Authority(authority) => assert_eq!((method, authority), (&b"CONNECT"[..], raw)),
    }
}
