//! JSON, read byte by byte as it comes (RFC 8259), for its structure alone. Strict: what this reads
//! otherwise than the parser behind it could hide something from one of them.

use super::JsonLimits;

pub(super) struct Scanner {
    limits: JsonLimits,
    state: State,
    levels: Vec<Level>,
    /// Of the text or number that is being read.
    length: u64,
}

struct Level {
    is_object: bool,
    count: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// A value is due.
    Value,
    /// A value, or the end of a list that has none.
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    /// A comma, or the end of what is open.
    More,
    Text {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    Unicode {
        is_key: bool,
        left: u8,
    },
    Number(Number),
    /// What is left of `true`, `false` or `null`.
    Word(&'static [u8]),
    /// After the one value.
    Done,
}

/// Where in a number.
#[derive(Clone, Copy, PartialEq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Number {
    fn may_end(self) -> bool {
        matches!(self, Number::Zero | Number::Whole | Number::Fraction | Number::Exponent)
    }

    fn after(self, byte: u8) -> Option<Number> {
        Some(match (self, byte) {
            (Number::Minus, b'0') => Number::Zero,
            (Number::Minus, b'1'..=b'9') | (Number::Whole, b'0'..=b'9') => Number::Whole,
            (Number::Zero | Number::Whole, b'.') => Number::Point,
            (Number::Point | Number::Fraction, b'0'..=b'9') => Number::Fraction,
            (Number::Zero | Number::Whole | Number::Fraction, b'e' | b'E') => Number::E,
            (Number::E, b'+' | b'-') => Number::Sign,
            (Number::E | Number::Sign | Number::Exponent, b'0'..=b'9') => Number::Exponent,
            _ => return None,
        })
    }
}

const NO_JSON: &str = "it is no JSON";

impl Scanner {
    pub(super) fn new(limits: &JsonLimits) -> Self {
        Scanner { limits: limits.clone(), state: State::Value, levels: Vec::new(), length: 0 }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        bytes.iter().try_for_each(|byte| self.byte(*byte))
    }

    pub(super) fn end(&mut self) -> Result<(), String> {
        let number = matches!(self.state, State::Number(number) if number.may_end());
        let ended = self.state == State::Done || number && self.levels.is_empty();
        if ended { Ok(()) } else { Err(format!("{NO_JSON}: it ends too early")) }
    }

    fn byte(&mut self, byte: u8) -> Result<(), String> {
        match self.state {
            State::Text { is_key } => return self.in_text(is_key, byte),
            State::Escape { is_key } => {
                self.grow(is_key)?;
                self.state = match byte {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                        State::Text { is_key }
                    }
                    b'u' => State::Unicode { is_key, left: 4 },
                    _ => return Err(NO_JSON.to_owned()),
                };
                return Ok(());
            }
            State::Unicode { is_key, left } => {
                self.grow(is_key)?;
                if !byte.is_ascii_hexdigit() {
                    return Err(NO_JSON.to_owned());
                }
                self.state = match left {
                    1 => State::Text { is_key },
                    _ => State::Unicode { is_key, left: left - 1 },
                };
                return Ok(());
            }
            State::Number(number) => {
                if let Some(number) = number.after(byte) {
                    self.length += 1;
                    if self.length > self.limits.number.bytes() {
                        return Err(format!("a number is longer than {}", self.limits.number));
                    }
                    self.state = State::Number(number);
                    return Ok(());
                }
                if !number.may_end() {
                    return Err(NO_JSON.to_owned());
                }
                self.ended_value();
            }
            State::Word([next, rest @ ..]) => {
                if byte != *next {
                    return Err(NO_JSON.to_owned());
                }
                match rest {
                    [] => self.ended_value(),
                    rest => self.state = State::Word(rest),
                }
                return Ok(());
            }
            _ => {}
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(());
        }
        match (self.state, byte) {
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => self.close(),
            (State::Value | State::ValueOrEnd, _) => return self.begin(byte),
            (State::Key | State::KeyOrEnd, b'"') => {
                let most = self.limits.keys;
                self.count(most, "an object has more keys")?;
                self.length = 0;
                self.state = State::Text { is_key: true };
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::More, b',') => {
                let is_object = self.levels.last().is_some_and(|level| level.is_object);
                self.state = if is_object { State::Key } else { State::Value };
            }
            (State::More, b']' | b'}') => {
                let is_object = self.levels.last().is_some_and(|level| level.is_object);
                if is_object != (byte == b'}') {
                    return Err(NO_JSON.to_owned());
                }
                self.close();
            }
            _ => return Err(NO_JSON.to_owned()),
        }
        Ok(())
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> Result<(), String> {
        if self.levels.last().is_some_and(|level| !level.is_object) {
            let most = self.limits.items;
            self.count(most, "a list has more values")?;
        }
        self.length = 1;
        self.state = match byte {
            b'{' | b'[' => {
                if self.levels.len() as u64 >= u64::from(self.limits.depth) {
                    return Err(format!("it is nested deeper than {}", self.limits.depth));
                }
                let is_object = byte == b'{';
                self.levels.push(Level { is_object, count: 0 });
                if is_object { State::KeyOrEnd } else { State::ValueOrEnd }
            }
            b'"' => {
                self.length = 0;
                State::Text { is_key: false }
            }
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Whole),
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            _ => return Err(NO_JSON.to_owned()),
        };
        Ok(())
    }

    fn in_text(&mut self, is_key: bool, byte: u8) -> Result<(), String> {
        match byte {
            b'"' if is_key => self.state = State::Colon,
            b'"' => self.ended_value(),
            0..0x20 => return Err(NO_JSON.to_owned()),
            _ => {
                self.grow(is_key)?;
                if byte == b'\\' {
                    self.state = State::Escape { is_key };
                }
            }
        }
        Ok(())
    }

    fn grow(&mut self, is_key: bool) -> Result<(), String> {
        self.length += 1;
        let (most, what) = match is_key {
            true => (self.limits.key, "key"),
            false => (self.limits.string, "text"),
        };
        if self.length > most.bytes() {
            return Err(format!("a {what} is longer than {most}"));
        }
        Ok(())
    }

    /// One more in what is open.
    fn count(&mut self, most: u32, what: &str) -> Result<(), String> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        level.count += 1;
        if level.count > most { Err(format!("{what} than {most}")) } else { Ok(()) }
    }

    fn close(&mut self) {
        self.levels.pop();
        self.ended_value();
    }

    fn ended_value(&mut self) {
        self.state = if self.levels.is_empty() { State::Done } else { State::More };
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::ByteSize;
    use transom_settings::json::{Value, from_str};

    use super::*;

    fn read(limits: &JsonLimits, text: &str) -> Result<(), String> {
        let mut scanner = Scanner::new(limits);
        text.as_bytes().chunks(3).try_for_each(|chunk| scanner.read(chunk))?;
        scanner.end()
    }

    #[test]
    fn gw_34_each_limit_holds_exactly() {
        let limits = JsonLimits {
            depth: 2,
            keys: 2,
            items: 3,
            key: ByteSize(3),
            string: ByteSize(4),
            number: ByteSize(5),
        };
        for (text, why) in [
            (r#"{"a":[1,2,3],"abc":"1234"}"#, ""),
            (r#"[[1],[]]"#, ""),
            (r#"[[[]]]"#, "nested deeper than 2"),
            (r#"{"a":{"b":{}}}"#, "nested deeper than 2"),
            (r#"{"a":1,"b":2,"c":3}"#, "more keys than 2"),
            (r#"[1,2,3,4]"#, "more values than 3"),
            (r#"{"abcd":1}"#, "key is longer than 3B"),
            (r#"["12345"]"#, "text is longer than 4B"),
            (r#"["\u0041"]"#, "text is longer than 4B"),
            (r#"[-1.23]"#, ""),
            (r#"[-1.234]"#, "number is longer than 5B"),
        ] {
            let found = read(&limits, text).err().unwrap_or_default();
            assert!(found.contains(why) && found.is_empty() == why.is_empty(), "{text}: {found}");
        }
    }

    /// Whatever another parser reads is read here, and nothing else.
    #[test]
    fn gw_34_what_is_no_json_is_refused_as_by_a_parser() {
        let limits = JsonLimits::default();
        for text in [
            "1",
            "-0",
            "01",
            "1.",
            ".5",
            "1e5",
            "1e",
            "-",
            "+1",
            "0x1",
            "true",
            "tru",
            "nul",
            "\"a\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\ud83d\\ude00\"",
            "\"\n\"",
            "",
            " ",
            "[]",
            "[",
            "]",
            "[,]",
            "[1,]",
            "[1 2]",
            "{}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "{\"a\":1}}",
            "[}",
            "{]",
            "[1]x",
            "1 1",
            "// a\n1",
            "/**/1",
            "'a'",
            "[NaN]",
            "[Infinity]",
            "{\"a\":1 \"b\":2}",
            "[[[[]]]]",
            " { \"a\" : [ null , 1.5e-3 ] } ",
        ] {
            let expected = from_str::<Value>(text).is_ok();
            assert_eq!(read(&limits, text).is_ok(), expected, "{text}");
        }
    }
}
