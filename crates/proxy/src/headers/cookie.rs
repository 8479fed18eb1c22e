//! Cookies in `Cookie` lines (RFC 6265).

/// The value of the first cookie of this name in a line, without quotes. An empty one is none.
pub fn value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    line.split(|c| *c == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some(quoted.unwrap_or(value)).filter(|value| !value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        for (line, expected) in [
            ("a=1", Some("1")),
            ("b=2; a=1; a=3", Some("1")),
            ("b=a=1;a=\"x y\"", Some("x y")),
            (" a=1=2 ;", Some("1=2")),
            ("aa=1; A=2; a", None),
            ("a=", None),
            ("a=; a=2", Some("2")),
            ("a=\"\"", None),
            ("", None),
        ] {
            assert_eq!(value(line.as_bytes(), "a"), expected.map(str::as_bytes), "{line}");
        }
    }
}
