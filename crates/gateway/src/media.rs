//! Types of media, as `Content-Type` names them (RFC 9110 §8.3.1).

use transom_settings::is_token;

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

/// The parameters of a value, with names in lower case (RFC 9110 §5.6.6).
///
/// # Errors
/// When one is none, or is read by some in another way than by others.
pub fn parameters(value: &str) -> Result<Vec<(String, String)>, String> {
    let bad = || "a parameter is none".to_owned();
    let mut all = Vec::new();
    let mut rest = value.split_once(';').map(|(_, rest)| rest);
    while let Some(text) = rest {
        let text = text.trim_start_matches([' ', '\t']);
        if text.is_empty() {
            break;
        }
        let (name, after) = text.split_once('=').ok_or_else(bad)?;
        if !is_token(name.as_bytes()) {
            return Err(bad());
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(bad)?,
            None => {
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        // an escape for some, and for others a letter of a path
        if value.ends_with('\\') || value.contains("\\\\") || value.contains('"') {
            return Err("a parameter can be read in two ways".to_owned());
        }
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(';') {
            return Err(bad());
        }
        all.push((name.to_ascii_lowercase(), value.to_owned()));
        rest = after.strip_prefix(';');
    }
    Ok(all)
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
