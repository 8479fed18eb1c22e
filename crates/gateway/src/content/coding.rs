//! How letters are written as bytes, as far as a message says so: the one rule of all who read text in bodies.
//!
//! Who reads bytes in another way than they are meant finds nothing in them, or something else: in UTF-7 a
//! comment may hold a declaration that only those see who know that it is UTF-7. So what is not read here is
//! never passed over.

use crate::media;

/// What is known of the letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// They are written in UTF-8, which is also what is meant where nothing is said.
    Utf8,
    /// Those of ASCII are what they are there, and the others none of them.
    LikeAscii,
}

/// Codings that extend ASCII byte by byte: what gives a text its structure is found in it.
const LIKE_ASCII: [&str; 4] = ["us-ascii", "ascii", "iso-8859-1", "windows-1252"];

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is written in another coding, or says in two ways in which.
    #[error("it is in a coding that is not read here")]
    Other,
    #[error("it is no text in UTF-8")]
    NoText,
}

impl Coding {
    fn named(name: &str) -> Result<Self, Unread> {
        let name = name.to_ascii_lowercase();
        match &*name {
            "utf-8" | "utf8" => Ok(Coding::Utf8),
            name if LIKE_ASCII.contains(&name) => Ok(Coding::LikeAscii),
            _ => Err(Unread::Other),
        }
    }

    /// What a `Content-Type` says (`charset`).
    ///
    /// # Errors
    /// When it is another, or not everybody would find the same.
    pub fn of_type(content_type: &str) -> Result<Self, Unread> {
        let (_, behind) = content_type.split_once(';').unwrap_or_default();
        match behind.to_ascii_lowercase().matches("charset").count() {
            0 => Ok(Coding::Utf8),
            1 => {
                let all = media::parameters(content_type).map_err(|_| Unread::Other)?;
                let mut named = all.iter().filter(|(name, _)| name == "charset");
                named.next().ok_or(Unread::Other).and_then(|(_, value)| Self::named(value))
            }
            _ => Err(Unread::Other),
        }
    }

    /// What a declaration of XML says (XML 1.0 §2.8), given without `<?xml` and `?>`.
    ///
    /// # Errors
    /// When it is another, or the declaration is none.
    pub fn of_declaration(inside: &str) -> Result<Self, Unread> {
        let blank = [' ', '\t', '\r', '\n'];
        let (mut coding, mut left) = (Coding::Utf8, &["version", "encoding", "standalone"][..]);
        let mut rest = inside.trim_matches(blank);
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or(Unread::Other)?;
            let name = name.trim_end_matches(blank);
            // each at most once, and in this order
            let at = left.iter().position(|known| *known == name).ok_or(Unread::Other)?;
            left = &left[at + 1..];
            let after = after.trim_start_matches(blank);
            let quote =
                after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(Unread::Other)?;
            let (value, after) = after[1..].split_once(quote).ok_or(Unread::Other)?;
            if name == "encoding" {
                coding = Self::named(value)?;
            }
            rest = after.trim_start_matches(blank);
        }
        Ok(coding)
    }

    /// The text that is written so.
    ///
    /// # Errors
    /// When it has letters that are not known.
    pub fn text(self, bytes: &[u8]) -> Result<&str, Unread> {
        match self {
            Coding::LikeAscii if !bytes.is_ascii() => Err(Unread::Other),
            _ => std::str::from_utf8(bytes).map_err(|_| Unread::NoText),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_34_a_type_names_a_coding_that_everybody_finds_and_that_is_read() {
        for (content_type, expected) in [
            ("", Ok(Coding::Utf8)),
            ("text/xml", Ok(Coding::Utf8)),
            ("application/json; utf-8", Ok(Coding::Utf8)),
            ("text/xml; charset=utf-8", Ok(Coding::Utf8)),
            ("text/xml;Charset=\"UTF-8\" ; a=b;", Ok(Coding::Utf8)),
            ("text/xml; charset=ISO-8859-1", Ok(Coding::LikeAscii)),
            ("text/xml; charset=us-ascii", Ok(Coding::LikeAscii)),
            ("text/xml; charset=utf-7", Err(Unread::Other)),
            ("text/xml; charset=utf-16", Err(Unread::Other)),
            ("text/xml; charset=cp037", Err(Unread::Other)),
            ("text/xml; charset=shift_jis", Err(Unread::Other)),
            ("text/xml; charset=", Err(Unread::Other)),
            ("text/xml; charset", Err(Unread::Other)),
            ("text/xml; charset = utf-8", Err(Unread::Other)),
            ("text/xml; charset='utf-8'", Err(Unread::Other)),
            ("text/xml; charset=\"utf\\-8\"", Err(Unread::Other)),
            ("text/xml; charset*=utf-8''utf-7", Err(Unread::Other)),
            ("text/xml; charset*0=utf-; charset*1=7", Err(Unread::Other)),
            ("text/xml; charset=utf-8; charset=utf-7", Err(Unread::Other)),
            ("text/xml; a=\"; charset=utf-7\"; charset=utf-8", Err(Unread::Other)),
            ("text/xml; a=\"charset=utf-7\"", Err(Unread::Other)),
        ] {
            assert_eq!(Coding::of_type(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn gw_34_a_declaration_names_one_that_is_read() {
        for (inside, expected) in [
            ("", Ok(Coding::Utf8)),
            (" version='1.0'", Ok(Coding::Utf8)),
            (" version = '1.0'\n encoding = \"utf-8\" standalone='yes' ", Ok(Coding::Utf8)),
            (" version='1.0' encoding='iso-8859-1'", Ok(Coding::LikeAscii)),
            (" version='1.0' encoding='utf-7'", Err(Unread::Other)),
            (" version='1.0' encoding='utf-16'", Err(Unread::Other)),
            (" version='1.0' encoding=utf-8", Err(Unread::Other)),
            (" version='1.0' encoding='utf-8' encoding='utf-7'", Err(Unread::Other)),
            (" version=\"encoding='utf-8'\" encoding='utf-7'", Err(Unread::Other)),
            (" encodings='utf-8' encoding='utf-7'", Err(Unread::Other)),
            (" encoding='utf-7", Err(Unread::Other)),
            (" version", Err(Unread::Other)),
        ] {
            assert_eq!(Coding::of_declaration(inside), expected, "{inside}");
        }
    }

    #[test]
    fn what_is_like_ascii_is_read_as_far_as_it_is_that() {
        assert_eq!(Coding::Utf8.text("ä".as_bytes()), Ok("ä"));
        assert_eq!(Coding::Utf8.text(b"\xe4"), Err(Unread::NoText));
        assert_eq!(Coding::LikeAscii.text(b"a"), Ok("a"));
        assert_eq!(Coding::LikeAscii.text("ä".as_bytes()), Err(Unread::Other));
    }
}
