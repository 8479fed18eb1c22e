//! From letters to tokens.

use super::Wrong;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    Double(f64),
    Text(String),
    /// Operators and brackets.
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "!", "<",
    ">", "+", "-", "*", "/", "%",
];

/// The tokens of a text, the last of which is its end.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Wrong> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, length) = if c.is_ascii_digit() {
            number(rest, at)?
        } else if let Some((raw, quote)) = quoted(rest) {
            literal(text, at + usize::from(raw), quote, raw)?
        } else if c.is_ascii_alphabetic() || c == '_' {
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = &rest[..length.unwrap_or(rest.len())];
            (Token::Name(name.to_owned()), name.len())
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            let (what, hint) = match c {
                '=' => ("a single `=` means nothing".to_owned(), "write `==` to compare"),
                '&' | '|' => (format!("a single `{c}` means nothing"), "write `&&` or `||`"),
                _ => (format!("`{}` means nothing here", c.escape_debug()), "remove it"),
            };
            return Err(Wrong { from: at, to: at + c.len_utf8(), what, hint: hint.to_owned() });
        };
        found.push(Placed { token, from: at, to: at + length });
        at += length;
    }
    found.push(Placed { token: Token::End, from: text.len(), to: text.len() });
    Ok(found)
}

/// Whether a text begins here, whether it is raw, and its quote.
fn quoted(rest: &str) -> Option<(bool, char)> {
    let mut chars = rest.chars();
    match (chars.next()?, chars.next()) {
        (quote @ ('"' | '\''), _) => Some((false, quote)),
        ('r' | 'R', Some(quote @ ('"' | '\''))) => Some((true, quote)),
        _ => None,
    }
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Wrong> {
    let digits = |from: usize| {
        rest[from..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| from + n)
    };
    let mut end = digits(0);
    let mut whole = true;
    if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        whole = false;
        end = digits(end + 1);
    }
    let text = &rest[..end];
    let token = match whole {
        true => text.parse().ok().map(Token::Int),
        false => text.parse().ok().map(Token::Double),
    };
    // as in `1u`, which CEL has for numbers without a sign
    end += usize::from(whole && rest[end..].starts_with('u'));
    token.map(|token| (token, end)).ok_or_else(|| Wrong {
        from: at,
        to: at + end,
        what: format!("`{text}` is too large"),
        hint: "numbers have 64 bits".to_owned(),
    })
}

/// The text whose opening quote stands at `start`, and how long it is as written.
fn literal(text: &str, start: usize, quote: char, raw: bool) -> Result<(Token, usize), Wrong> {
    let begin = start - usize::from(raw);
    let wrong = |from: usize, to: usize, what: &str, hint: &str| Wrong {
        from,
        to,
        what: what.to_owned(),
        hint: hint.to_owned(),
    };
    let mut out = String::new();
    let mut chars = text[start + 1..].char_indices().map(|(i, c)| (start + 1 + i, c));
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((Token::Text(out), at + 1 - begin));
        }
        if c != '\\' || raw {
            out.push(c);
            continue;
        }
        let hint = "write `\\\\` for a backslash, or put an `r` before the text";
        let Some((end, c)) = chars.next() else { break };
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let hex = text.get(end + 1..end + 1 + digits);
            let letter = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok());
            let letter = letter.and_then(char::from_u32);
            let Some(letter) = letter else {
                return Err(wrong(at, end + 1, "this escape stands for no letter", hint));
            };
            out.push(letter);
            chars.by_ref().take(digits).for_each(|_| {});
            continue;
        }
        out.push(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '\\' | '"' | '\'' | '`' | '?' => c,
            _ => return Err(wrong(at, end + c.len_utf8(), "this escape is not known", hint)),
        });
    }
    Err(wrong(begin, text.len(), "this text does not end", "close it with its quote"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_what_is_none() {
        for (text, expected) in [
            (
                "a1 && 2.5",
                Ok(vec![Token::Name("a1".into()), Token::Sign("&&"), Token::Double(2.5)]),
            ),
            ("1u // no more", Ok(vec![Token::Int(1)])),
            (
                r#"'\x41\u00e9\n' r"\d""#,
                Ok(vec![Token::Text("A\u{e9}\n".into()), Token::Text("\\d".into())]),
            ),
            ("a = b", Err((2, "a single `=` means nothing"))),
            ("'abc", Err((0, "this text does not end"))),
            ("'\\q'", Err((1, "this escape is not known"))),
            ("'\\ud800'", Err((1, "this escape stands for no letter"))),
            ("99999999999999999999", Err((0, "`99999999999999999999` is too large"))),
            ("a # b", Err((2, "`#` means nothing here"))),
        ] {
            let found = tokens(text).map(|found| {
                let mut found: Vec<_> = found.into_iter().map(|placed| placed.token).collect();
                assert_eq!(found.pop(), Some(Token::End));
                found
            });
            let expected = expected.map_err(|(at, what): (usize, &str)| (at, what.to_owned()));
            assert_eq!(found.map_err(|wrong| (wrong.from, wrong.what)), expected, "{text}");
        }
    }
}
