//! Which file a path means: from the escapes of a canonical path to names of the file system.

/// A place below the root, as the file system spells it. Every segment is a plain name: none is
/// empty, hidden, `.` or `..`, and none holds `/` or NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Without `/` at either end; empty is the root itself.
    pub(super) relative: Vec<u8>,
    /// Written with a `/` at its end: only a directory will do.
    pub(super) slash: bool,
}

impl Place {
    /// The place of a path that is decoded already.
    pub(super) fn of(path: &[u8]) -> Option<Place> {
        let rest = path.strip_prefix(b"/")?;
        let (relative, slash) = match rest.strip_suffix(b"/") {
            Some(relative) => (relative, true),
            None => (rest, rest.is_empty()),
        };
        let named = |(i, name): (usize, &[u8])| {
            let hidden = name.starts_with(b".") && !(i == 0 && name == b".well-known");
            !name.is_empty() && !hidden && !name.contains(&0)
        };
        let valid = rest.is_empty() || relative.split(|b| *b == b'/').enumerate().all(named);
        valid.then(|| Place { relative: relative.to_vec(), slash })
    }
}

/// Decodes the escapes of a canonical path, once. None where a byte would become a separator or
/// an end, and where an escape is broken: no file is meant then.
pub(super) fn decoded(path: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
        match high << 4 | low {
            0 | b'/' => return None,
            byte => out.push(byte),
        }
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|n| n as u8)
}

/// Something to try for a path: a file or directory, or a status where nothing else was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Try {
    /// The texts around each `{path}`.
    File(Vec<String>),
    Status(u16),
}

/// What is wrong with something to try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TryError {
    #[error("`{0}` does not begin with `/` or `{{path}}`")]
    Relative(String),
    #[error("`{0}` is not `=` and a status from 400 to 599, such as `=404`")]
    Status(String),
    #[error("`{0}` holds a variable other than `{{path}}`")]
    Unknown(String),
}

impl Try {
    const PATH: &str = "{path}";

    /// Reads `{path}`, `{path}.html`, `/index.html`, or `=404`. Text around `{path}` is as the file
    /// system has it: no escapes.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Try, TryError> {
        if let Some(status) = text.strip_prefix('=') {
            return match status.parse() {
                Ok(status @ 400..=599) => Ok(Try::Status(status)),
                _ => Err(TryError::Status(text.to_owned())),
            };
        }
        if !text.starts_with('/') && !text.starts_with(Try::PATH) {
            return Err(TryError::Relative(text.to_owned()));
        }
        let texts: Vec<String> = text.split(Try::PATH).map(Into::into).collect();
        if texts.iter().any(|text| text.contains(['{', '}'])) {
            return Err(TryError::Unknown(text.to_owned()));
        }
        Ok(Try::File(texts))
    }

    /// What was asked for, and nothing else.
    pub(super) fn itself() -> Try {
        Try::File(vec![String::new(), String::new()])
    }
}

/// The texts with the decoded path between them. A `/` that meets a `/` is one.
pub(super) fn joined(texts: &[String], path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 16);
    let mut add = |bytes: &[u8]| {
        let doubled = out.ends_with(b"/") && bytes.starts_with(b"/");
        out.extend_from_slice(&bytes[usize::from(doubled)..]);
    };
    for (i, text) in texts.iter().enumerate() {
        if i > 0 {
            add(path);
        }
        add(text.as_bytes());
    }
    out
}

/// The texts add nothing but perhaps a `/`: what they name is what the client asked for.
pub(super) fn is_itself(texts: &[String]) -> bool {
    matches!(texts, [before, after] if before.is_empty() && matches!(&**after, "" | "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Option<String> {
        let place = Place::of(&decoded(path)?)?;
        let slash = if place.slash { "/" } else { "" };
        Some(String::from_utf8_lossy(&place.relative).into_owned() + slash)
    }

    #[test]
    fn p01_p02_p05_a_path_is_decoded_once_and_names_only_what_lies_below() {
        for (path, expected) in [
            ("/", Some("/")),
            ("/a", Some("a")),
            ("/a/b.html", Some("a/b.html")),
            ("/a/", Some("a/")),
            ("/a%20b", Some("a b")),
            ("/%C3%A4", Some("ä")),
            ("/a;v=1", Some("a;v=1")),
            ("/.well-known/x", Some(".well-known/x")),
            ("/%252e%252e/x", Some("%2e%2e/x")),
            ("/a%5Cb", Some("a\\b")),
            ("/..", None),
            ("/a/../b", None),
            ("/a/%2E%2E/b", None),
            ("/%2e%2e%2fetc", None),
            ("/a/.", None),
            ("/a%2Fb", None),
            ("/a%00.html", None),
            ("/a\0", None),
            ("/%zz", None),
            ("/%", None),
            ("/%4", None),
            ("/%+1", None),
            ("//", None),
            ("//a", None),
            ("/a//b", None),
            ("/a//", None),
            ("/.git/config", None),
            ("/a/.env", None),
            ("/%2Eenv", None),
            ("/a/.well-known/x", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(place(path).as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn what_to_try_is_read_and_joined() {
        for (text, path, expected) in [
            ("{path}", "/a", "/a"),
            ("{path}.html", "/a/b", "/a/b.html"),
            ("{path}/", "/a", "/a/"),
            ("{path}/", "/a/", "/a/"),
            ("{path}/page.html", "/a/", "/a/page.html"),
            ("/pages/{path}.html", "/a", "/pages/a.html"),
            ("/index.html", "/a", "/index.html"),
        ] {
            let Ok(Try::File(texts)) = Try::parse(text) else { panic!("{text}") };
            assert_eq!(
                String::from_utf8_lossy(&joined(&texts, path.as_bytes())),
                expected,
                "{text}"
            );
        }
        assert_eq!(Try::parse("=404"), Ok(Try::Status(404)));
        assert_eq!(Try::parse("{path}"), Ok(Try::itself()));
        for text in ["=200", "=4040", "=", "=x", "index.html", "", "{path}{x}", "/{query}"] {
            assert!(Try::parse(text).is_err(), "{text}");
        }
    }
}
