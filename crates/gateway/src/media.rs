//! Types of media, as `Content-Type` names them (RFC 9110 §8.3.1).

/// The type itself, in lower case and without parameters; empty where there is none.
pub fn essence(content_type: &str) -> String {
    let own = content_type.split(';').next().unwrap_or_default();
    own.trim().to_ascii_lowercase()
}

/// Whether this is written as `type/subtype`, `type/*` or `*/*`.
pub fn is_range(text: &str) -> bool {
    let token = |part: &str| {
        let sign = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b);
        !part.is_empty() && part.bytes().all(sign)
    };
    match text.split_once('/') {
        Some(("*", "*")) => true,
        Some((kind, subtype)) => token(kind) && (subtype == "*" || token(subtype)),
        None => false,
    }
}

/// Whether a type in lower case lies in a range.
pub fn fits(range: &str, essence: &str) -> bool {
    match range.split_once('/') {
        Some(("*", "*")) => true,
        Some((kind, "*")) => {
            essence.split_once('/').is_some_and(|(own, _)| own.eq_ignore_ascii_case(kind))
        }
        _ => range.eq_ignore_ascii_case(essence),
    }
}

/// Whether a type in lower case is JSON (RFC 6839 §3.1).
pub fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "text/json") || essence.ends_with("+json")
}

/// Whether a type in lower case is XML (RFC 7303 §4).
pub fn is_xml(essence: &str) -> bool {
    matches!(essence, "application/xml" | "text/xml") || essence.ends_with("+xml")
}

/// Whether a `Content-Encoding` says that nothing was done.
pub fn is_identity(coding: &[u8]) -> bool {
    coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        for (written, json, xml) in [
            ("application/json", true, false),
            ("Application/Problem+JSON; charset=utf-8", true, false),
            ("text/xml;charset=utf-8", false, true),
            ("application/soap+xml", false, true),
            ("application/jsonx", false, false),
            ("", false, false),
        ] {
            let own = essence(written);
            assert_eq!((is_json(&own), is_xml(&own)), (json, xml), "{written}");
        }
        for (range, own, expected) in [
            ("*/*", "a/b", true),
            ("image/*", "image/png", true),
            ("image/*", "imagex/png", false),
            ("Application/JSON", "application/json", true),
            ("text/plain", "", false),
        ] {
            assert!(is_range(range));
            assert_eq!(fits(range, own), expected, "{range} {own}");
        }
        assert!(!is_range("json") && !is_range("a/") && !is_range("*/json") && !is_range("a/b/c"));
    }
}
