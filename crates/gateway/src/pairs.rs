//! Names and values in queries and cookies.

use crate::escapes::undone_in_form;
use std::borrow::Cow;

use transom_proxy::fields::{Fields, Known};

/// The pairs of a query, with their escapes undone. `;` separates too, as some servers read it.
pub(crate) fn of_query(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split(['&', ';']).filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (undone_in_form(name.as_bytes()), undone_in_form(value.as_bytes()))
    })
}

/// A query without the pairs whose name is `hidden`; nothing where there is none of them.
pub(crate) fn without(query: &str, hidden: impl Fn(&[u8]) -> bool) -> Option<String> {
    let is_hidden = |pair: &str| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        !pair.is_empty() && hidden(&undone_in_form(name.as_bytes()))
    };
    if !query.split(['&', ';']).any(is_hidden) {
        return None;
    }
    let mut rest = String::with_capacity(query.len());
    for pair in query.split_inclusive(['&', ';']) {
        let bare = pair.strip_suffix(['&', ';']).unwrap_or(pair);
        if !is_hidden(bare) {
            rest.push_str(pair);
        }
    }
    if rest.ends_with(['&', ';']) && !query.ends_with(['&', ';']) {
        rest.pop();
    }
    Some(rest)
}

/// The pairs of a `Cookie` field (RFC 6265 §5.4).
pub(crate) fn of_cookie(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|b| *b == b';').filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|b| *b == b'=')?;
        Some((pair[..at].trim_ascii_end(), pair[at + 1..].trim_ascii_start()))
    })
}

/// Takes the cookies whose name is `hidden` off a request.
pub(crate) fn remove_cookies(fields: &mut Fields, hidden: impl Fn(&[u8]) -> bool) {
    let lines = || fields.all(Known::Cookie);
    if !lines().flat_map(of_cookie).any(|(name, _)| hidden(name)) {
        return;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for pair in lines().flat_map(|line| line.split(|b| *b == b';')) {
        let pair = pair.trim_ascii();
        if !pair.is_empty() && !of_cookie(pair).any(|(name, _)| hidden(name)) {
            kept.push(pair);
        }
    }
    let kept = kept.join(&b"; "[..]);
    match kept.is_empty() {
        true => fields.remove(Known::Cookie),
        false => fields.set(Known::Cookie, &kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_taken_out_and_the_rest_stays_as_it_was() {
        for (query, expected) in [
            ("key=1", Some("")),
            ("a=1&key=2&b=3", Some("a=1&b=3")),
            ("a=1&key=2", Some("a=1")),
            ("key=2&a=%41+", Some("a=%41+")),
            ("a=1;k%65y=2;b=3", Some("a=1;b=3")),
            ("key=1&key=2&a", Some("a")),
            ("key", Some("")),
            ("a=1&key=2&", Some("a=1&")),
            ("monkey=1&", None),
            ("", None),
        ] {
            let rest = without(query, |name| name == b"key");
            assert_eq!(rest.as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        for (text, expected) in
            [("a%41+b", "aA b"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%%41", "%A"), ("", "")]
        {
            assert_eq!(&*undone_in_form(text.as_bytes()), expected.as_bytes(), "{text}");
        }
    }

    #[test]
    fn cookies_are_taken_out_of_all_lines() {
        for (lines, expected) in [
            (&["a=1; key=2; b=3"][..], Some("a=1; b=3")),
            (&["key=2", "a=1"], Some("a=1")),
            (&["key = 2"], None),
            (&["a=1", "b=2"], Some("a=1")),
        ] {
            let mut fields = Fields::new();
            lines.iter().for_each(|line| fields.append(Known::Cookie, line.as_bytes()));
            remove_cookies(&mut fields, |name| name == b"key");
            assert_eq!(fields.get(Known::Cookie), expected.map(str::as_bytes), "{lines:?}");
        }
    }
}
