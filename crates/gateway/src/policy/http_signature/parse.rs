//! `Signature-Input` and `Signature`: dictionaries of structured fields (RFC 8941), as far as
//! RFC 9421 uses them.

/// One signature: what it covers, and how it was made.
#[derive(Debug, PartialEq)]
pub(super) struct Input<'a> {
    pub(super) label: &'a str,
    pub(super) components: Vec<Component>,
    pub(super) parameters: Vec<(&'a str, Bare)>,
    /// Components and parameters as they were sent: the last line of what is signed.
    pub(super) raw: &'a str,
}

#[derive(Debug, PartialEq)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) parameters: Vec<(String, Bare)>,
    /// With its quotes and parameters, as it stands in what is signed.
    pub(super) raw: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bare {
    Integer(i64),
    Text(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
}

impl Input<'_> {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.parameter(name)? {
            Bare::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.parameter(name)? {
            Bare::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&Bare> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Signatures that one request may have, and components that one may cover.
const MOST_SIGNATURES: usize = 4;
const MOST_COMPONENTS: usize = 32;

/// The signatures that `Signature-Input` names; nothing where it is not of this form.
pub(super) fn inputs(text: &str) -> Option<Vec<Input<'_>>> {
    let mut rest = Rest(text.trim_matches(' '));
    let mut all: Vec<Input<'_>> = Vec::new();
    loop {
        let label = rest.key()?;
        rest.expect(b'=')?;
        let before = rest.0;
        let components = rest.components()?;
        let parameters = rest.parameters()?;
        let raw = &before[..before.len() - rest.0.len()];
        if all.iter().any(|known| known.label == label) || all.len() == MOST_SIGNATURES {
            return None;
        }
        all.push(Input { label, components, parameters, raw });
        if rest.ended_or_next()? {
            return Some(all);
        }
    }
}

/// The bytes of the signature with this label.
pub(super) fn signature(text: &str, label: &str) -> Option<Vec<u8>> {
    let mut rest = Rest(text.trim_matches(' '));
    let mut found = None;
    loop {
        let key = rest.key()?;
        rest.expect(b'=')?;
        let Bare::Bytes(bytes) = rest.bare()? else { return None };
        rest.parameters()?;
        if key == label {
            // the last of the same key holds (RFC 8941 §4.2.2): two are refused instead
            if found.is_some() {
                return None;
            }
            found = Some(bytes);
        }
        if rest.ended_or_next()? {
            return found;
        }
    }
}

struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn first(&self) -> Option<u8> {
        self.0.bytes().next()
    }

    fn take(&mut self, count: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn while_in(&mut self, fits: impl Fn(u8) -> bool) -> Option<&'a str> {
        let end = self.0.bytes().position(|b| !fits(b)).unwrap_or(self.0.len());
        self.take(end).filter(|taken| !taken.is_empty())
    }

    fn expect(&mut self, letter: u8) -> Option<()> {
        (self.first()? == letter).then(|| self.0 = &self.0[1..])
    }

    fn key(&mut self) -> Option<&'a str> {
        self.first().filter(|b| b.is_ascii_lowercase() || *b == b'*')?;
        self.while_in(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b'*')
        })
    }

    fn components(&mut self) -> Option<Vec<Component>> {
        self.expect(b'(')?;
        let mut all: Vec<Component> = Vec::new();
        loop {
            self.0 = self.0.trim_start_matches(' ');
            if self.expect(b')').is_some() {
                return Some(all);
            }
            let before = self.0;
            let Bare::Text(name) = self.bare()? else { return None };
            let parameters = self.parameters()?;
            let parameters = parameters.into_iter().map(|(key, value)| (key.to_owned(), value));
            let parameters = parameters.collect();
            let raw = before[..before.len() - self.0.len()].to_owned();
            // RFC 9421 §2.5: each at most once
            if all.iter().any(|known| known.raw == raw) || all.len() == MOST_COMPONENTS {
                return None;
            }
            all.push(Component { name, parameters, raw });
            self.first().filter(|b| matches!(b, b' ' | b')'))?;
        }
    }

    fn parameters(&mut self) -> Option<Vec<(&'a str, Bare)>> {
        let mut all: Vec<(&'a str, Bare)> = Vec::new();
        while self.expect(b';').is_some() {
            self.0 = self.0.trim_start_matches(' ');
            let key = self.key()?;
            let value = match self.expect(b'=') {
                Some(()) => self.bare()?,
                None => Bare::Boolean(true),
            };
            if all.iter().any(|(known, _)| *known == key) {
                return None;
            }
            all.push((key, value));
        }
        Some(all)
    }

    fn bare(&mut self) -> Option<Bare> {
        match self.first()? {
            b'"' => self.text().map(Bare::Text),
            b':' => {
                self.expect(b':')?;
                let end = self.0.find(':')?;
                let bytes = data_encoding::BASE64.decode(self.take(end)?.as_bytes()).ok()?;
                self.expect(b':')?;
                Some(Bare::Bytes(bytes))
            }
            b'?' => {
                let text = self.take(2)?;
                matches!(text, "?0" | "?1").then_some(Bare::Boolean(text == "?1"))
            }
            b'-' | b'0'..=b'9' => {
                let text = self.while_in(|b| b == b'-' || b.is_ascii_digit())?;
                (text.len() <= 16).then(|| text.parse().ok().map(Bare::Integer))?
            }
            b if b.is_ascii_alphabetic() || b == b'*' => {
                let token = |b: u8| transom_settings::is_token_byte(b) || matches!(b, b':' | b'/');
                self.while_in(token).map(|token| Bare::Token(token.to_owned()))
            }
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            match self.take(1)?.as_bytes()[0] {
                b'"' => return Some(text),
                b'\\' => match self.take(1)? {
                    escaped @ ("\"" | "\\") => text.push_str(escaped),
                    _ => return None,
                },
                b @ 0x20..=0x7e => text.push(char::from(b)),
                _ => return None,
            }
        }
    }

    /// Whether nothing follows; otherwise a comma did.
    fn ended_or_next(&mut self) -> Option<bool> {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        if self.0.is_empty() {
            return Some(true);
        }
        self.expect(b',')?;
        self.0 = self.0.trim_start_matches([' ', '\t']);
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed_is_taken_apart() {
        let text = "a=(\"@method\" \"@query-param\";name=\"x y\");created=12;keyid=\"k\\\"1\";alg=\"x\", b=()";
        let inputs = inputs(text).unwrap();
        assert_eq!((inputs.len(), inputs[0].label, inputs[1].raw), (2, "a", "()"));
        let first = &inputs[0];
        assert_eq!((first.number("created"), first.text("keyid")), (Some(12), Some("k\"1")));
        assert_eq!(first.components[1].raw, "\"@query-param\";name=\"x y\"");
        assert_eq!(signature("b=:YQ==:, a=:Yg==:;x", "a"), Some(b"b".to_vec()));
    }

    #[test]
    fn what_is_not_is_refused() {
        for text in [
            "",
            "a",
            "a=",
            "a=(",
            "a=(\"x\"",
            "a=(\"x\"\"y\")",
            "a=(x)",
            "a=(\"x\" \"x\")",
            "a=();",
            "a=();created=",
            "a=();created=1;created=2",
            "a=(),",
            "a=()b",
            "a=(), a=()",
            "A=()",
            "a=();k=\"",
            "a=();k=\"\\x\"",
            "a=();n=123456789012345678",
            "a=() b=()",
            "a=();k=é",
        ] {
            assert_eq!(inputs(text), None, "{text}");
        }
        for text in ["a=:?:", "a=:YQ==", "a=b", "a=:YQ==:, a=:Yg==:", "b=:YQ==:"] {
            assert_eq!(signature(text, "a"), None, "{text}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        proptest::proptest!(|(text in "[a-z=();\" :,\\\\?@0-9é-]{0,60}")| {
            let _ = (inputs(&text), signature(&text, "a"));
        });
    }
}
