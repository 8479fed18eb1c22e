//! Cookies as browsers keep them (RFC 6265): a long value is cut into several.

use transom_proxy::fields::Fields;
use transom_proxy::fields::Known;

use crate::pairs;

/// The longest value of one cookie. Browsers keep 4 KiB with name and attributes.
const PIECE: usize = 3_800;
/// Pieces that a value may have.
const MOST: usize = 8;

/// How a cookie is set.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub name: &'a str,
    /// Only over TLS.
    pub secure: bool,
    /// In seconds.
    pub lasts: u64,
}

/// `name`, `name.1`, `name.2`, ...
fn piece(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}.{index}") }
}

impl Rules<'_> {
    /// What `Set-Cookie` says so that the browser keeps `value`; nothing where it is too long. Pieces
    /// that an earlier value may have had are taken back.
    pub(super) fn set(&self, value: &str, earlier: &Fields) -> Option<Vec<String>> {
        let pieces: Vec<&str> = (0..value.len().div_ceil(PIECE))
            .filter_map(|index| value.get(index * PIECE..value.len().min((index + 1) * PIECE)))
            .collect();
        if pieces.len() > MOST {
            return None;
        }
        let mut lines: Vec<String> = pieces
            .iter()
            .enumerate()
            .map(|(index, part)| self.line(&piece(self.name, index), part, self.lasts))
            .collect();
        lines.extend(self.taken_back(pieces.len(), earlier));
        Some(lines)
    }

    /// What `Set-Cookie` says so that the browser forgets it.
    pub(super) fn forget(&self, earlier: &Fields) -> Vec<String> {
        self.taken_back(0, earlier).collect()
    }

    fn taken_back(&self, from: usize, earlier: &Fields) -> impl Iterator<Item = String> {
        let there = move |name: &String| {
            let mut cookies = earlier.all(Known::Cookie).flat_map(pairs::of_cookie);
            cookies.any(|(other, _)| other == name.as_bytes())
        };
        let names = (from..MOST).map(|index| piece(self.name, index)).filter(there);
        names.map(|name| self.line(&name, "", 0))
    }

    fn line(&self, name: &str, value: &str, lasts: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Lax{secure}")
    }
}

/// The value that a browser has kept, its pieces put together.
pub(super) fn value(name: &str, fields: &Fields) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    for index in 0..MOST {
        let name = piece(name, index);
        let mut cookies = fields.all(Known::Cookie).flat_map(pairs::of_cookie);
        match cookies.find(|(other, _)| *other == name.as_bytes()) {
            Some((_, part)) => whole.extend_from_slice(part),
            None => break,
        }
    }
    (!whole.is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules<'_> = Rules { name: "s", secure: true, lasts: 60 };

    fn kept(lines: &[String]) -> Fields {
        let mut fields = Fields::new();
        let pairs: Vec<_> = lines.iter().map(|line| line.split(';').next().unwrap()).collect();
        fields.append(Known::Cookie, pairs.join("; ").as_bytes());
        fields
    }

    #[test]
    fn a_long_value_is_cut_and_put_together_again() {
        for length in [1, PIECE, PIECE + 1, PIECE * 3, PIECE * MOST] {
            let text: String = (0..length).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
            let lines = RULES.set(&text, &Fields::new()).unwrap();
            assert_eq!(lines.len(), length.div_ceil(PIECE));
            assert!(lines.iter().all(|line| line.len() < 4096));
            assert_eq!(value("s", &kept(&lines)).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(RULES.set(&"x".repeat(PIECE * MOST + 1), &Fields::new()), None);
        let line = &RULES.set("v", &Fields::new()).unwrap()[0];
        assert_eq!(line, "s=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn pieces_of_an_earlier_value_are_taken_back() {
        let earlier = kept(&RULES.set(&"x".repeat(PIECE * 3), &Fields::new()).unwrap());
        let lines = RULES.set("short", &earlier).unwrap();
        let names: Vec<_> = lines.iter().map(|line| line.split('=').next().unwrap()).collect();
        assert_eq!(names, ["s", "s.1", "s.2"]);
        assert!(lines[1].starts_with("s.1=; Path=/; Max-Age=0;"));
        assert_eq!(RULES.forget(&earlier).len(), 3);
        assert_eq!(RULES.forget(&Fields::new()).len(), 0);
    }
}
