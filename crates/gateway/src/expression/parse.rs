//! From tokens to a tree: operator precedence (Pratt), as the grammar of CEL has it.

use super::Wrong;
use super::lexer::{Placed, Token, tokens};

/// How deep an expression may be nested, and how much may stand in it.
const DEEPEST: usize = 32;
const MOST: usize = 1000;

/// A part of an expression and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) kind: Kind,
    pub(super) from: usize,
    pub(super) to: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Name(String),
    List(Vec<Part>),
    Member(Box<Part>, String),
    Index(Box<Part>, Box<Part>),
    Call { on: Option<Box<Part>>, name: String, arguments: Vec<Part> },
    Not(Box<Part>),
    Negative(Box<Part>),
    Binary(Binary, Box<Part>, Box<Part>),
    If(Box<Part>, Box<Part>, Box<Part>),
}

/// Operators between two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    In,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
}

/// How each is written, and how tightly it binds.
const BINARY: [(&str, Binary, u8); 14] = [
    ("||", Binary::Or, 1),
    ("&&", Binary::And, 2),
    ("==", Binary::Equal, 3),
    ("!=", Binary::Unequal, 3),
    ("<", Binary::Less, 3),
    ("<=", Binary::LessOrEqual, 3),
    (">", Binary::More, 3),
    (">=", Binary::MoreOrEqual, 3),
    ("in", Binary::In, 3),
    ("+", Binary::Plus, 4),
    ("-", Binary::Minus, 4),
    ("*", Binary::Times, 5),
    ("/", Binary::Divide, 5),
    ("%", Binary::Modulo, 5),
];

/// The tree of a text.
pub(super) fn parse(text: &str) -> Result<Part, Wrong> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.tokens.len() > MOST {
        let what = format!("this has more than {MOST} words and signs");
        let hint = "say it in several policies";
        return Err(Wrong { from: 0, to: text.len(), what, hint: hint.to_owned() });
    }
    let part = parser.part()?;
    match parser.peek() {
        Token::End => Ok(part),
        _ => Err(parser.wrong("the end of the expression was expected here")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        // the last token is the end, which nobody takes
        &self.tokens[self.at.min(self.tokens.len() - 1)].token
    }

    fn here(&self) -> &Placed {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn before(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].to
    }

    fn take(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, sign: &str) -> Result<(), Wrong> {
        match self.take(sign) {
            true => Ok(()),
            false => Err(self.wrong(&format!("`{sign}` was expected here"))),
        }
    }

    fn wrong(&self, what: &str) -> Wrong {
        let here = self.here();
        let hint = match &here.token {
            Token::End => "the expression ends too early",
            _ => "look for a missing operator, quote or bracket before it",
        };
        Wrong { from: here.from, to: here.to, what: what.to_owned(), hint: hint.to_owned() }
    }

    /// Anything, up to `a ? b : c`.
    fn part(&mut self) -> Result<Part, Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(&format!("this is nested more than {DEEPEST} deep")));
        }
        let condition = self.binary(1)?;
        let part = if self.take("?") {
            let yes = self.part()?;
            self.expect(":")?;
            let no = self.part()?;
            let (from, to) = (condition.from, no.to);
            let kind = Kind::If(Box::new(condition), Box::new(yes), Box::new(no));
            Part { kind, from, to }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(part)
    }

    fn binary(&mut self, least: u8) -> Result<Part, Wrong> {
        let mut left = self.unary()?;
        let mut joined = 0;
        loop {
            let word = match self.peek() {
                Token::Sign(sign) => *sign,
                Token::Name(name) if name == "in" => "in",
                _ => return Ok(left),
            };
            let found = BINARY.iter().find(|(sign, ..)| *sign == word);
            let Some((_, operator, strength)) = found.filter(|(.., strength)| *strength >= least)
            else {
                return Ok(left);
            };
            // a long chain is a deep tree, too
            joined += 1;
            if joined > DEEPEST * 4 {
                return Err(self.wrong("too many parts are joined here"));
            }
            self.at += 1;
            let right = self.binary(strength + 1)?;
            let (from, to) = (left.from, right.to);
            let kind = Kind::Binary(*operator, Box::new(left), Box::new(right));
            left = Part { kind, from, to };
        }
    }

    fn unary(&mut self) -> Result<Part, Wrong> {
        let from = self.here().from;
        let not = self.take("!");
        if !not && !self.take("-") {
            return self.followed();
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(&format!("this is nested more than {DEEPEST} deep")));
        }
        let inner = self.unary()?;
        self.depth -= 1;
        let to = inner.to;
        let kind = match (not, inner.kind) {
            (true, kind) => Kind::Not(Box::new(Part { kind, ..inner })),
            (false, Kind::Int(number)) => Kind::Int(-number),
            (false, Kind::Double(number)) => Kind::Double(-number),
            (false, kind) => Kind::Negative(Box::new(Part { kind, ..inner })),
        };
        Ok(Part { kind, from, to })
    }

    /// A value and what follows it: `.name`, `.call(...)`, `[index]`.
    fn followed(&mut self) -> Result<Part, Wrong> {
        let mut part = self.value()?;
        let mut steps = 0;
        loop {
            let from = part.from;
            steps += 1;
            if steps > DEEPEST {
                return Err(self.wrong("too many parts follow each other here"));
            }
            let kind = if self.take(".") {
                let Token::Name(name) = self.peek().clone() else {
                    return Err(self.wrong("a name was expected here"));
                };
                self.at += 1;
                match self.take("(") {
                    true => {
                        let arguments = self.list(")")?;
                        Kind::Call { on: Some(Box::new(part)), name, arguments }
                    }
                    false => Kind::Member(Box::new(part), name),
                }
            } else if self.take("[") {
                let index = self.part()?;
                self.expect("]")?;
                Kind::Index(Box::new(part), Box::new(index))
            } else {
                return Ok(part);
            };
            part = Part { kind, from, to: self.before() };
        }
    }

    fn value(&mut self) -> Result<Part, Wrong> {
        let Placed { token, from, to } = self.here().clone();
        let kind = match token {
            Token::Int(number) => Kind::Int(number),
            Token::Double(number) => Kind::Double(number),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) => match &*name {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "null" => Kind::Null,
                "in" => return Err(self.wrong("a value was expected here")),
                _ => {
                    self.at += 1;
                    if self.take("(") {
                        let arguments = self.list(")")?;
                        let kind = Kind::Call { on: None, name, arguments };
                        return Ok(Part { kind, from, to: self.before() });
                    }
                    return Ok(Part { kind: Kind::Name(name), from, to });
                }
            },
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.part()?;
                self.expect(")")?;
                return Ok(Part { kind: inner.kind, from, to: self.before() });
            }
            Token::Sign("[") => {
                self.at += 1;
                let items = self.list("]")?;
                return Ok(Part { kind: Kind::List(items), from, to: self.before() });
            }
            Token::Sign("{") => return Err(self.wrong("maps cannot be written here")),
            Token::Sign(_) | Token::End => return Err(self.wrong("a value was expected here")),
        };
        self.at += 1;
        Ok(Part { kind, from, to })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Part>, Wrong> {
        let mut items = Vec::new();
        while !self.take(end) {
            if !items.is_empty() {
                self.expect(",")?;
                // as CEL allows it after the last item
                if self.take(end) {
                    break;
                }
            }
            items.push(self.part()?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With every bracket that is meant.
    fn shown(part: &Part) -> String {
        let list = |parts: &[Part]| parts.iter().map(shown).collect::<Vec<_>>().join(", ");
        match &part.kind {
            Kind::Null => "null".into(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Double(value) => value.to_string(),
            Kind::Text(value) => format!("{value:?}"),
            Kind::Name(name) => name.clone(),
            Kind::List(items) => format!("[{}]", list(items)),
            Kind::Member(on, name) => format!("{}.{name}", shown(on)),
            Kind::Index(on, index) => format!("{}[{}]", shown(on), shown(index)),
            Kind::Call { on, name, arguments } => {
                let on = on.as_ref().map(|on| shown(on) + ".").unwrap_or_default();
                format!("{on}{name}({})", list(arguments))
            }
            Kind::Not(inner) => format!("!{}", shown(inner)),
            Kind::Negative(inner) => format!("-{}", shown(inner)),
            Kind::Binary(operator, left, right) => {
                let sign = BINARY.iter().find(|(_, known, _)| known == operator).unwrap().0;
                format!("({} {sign} {})", shown(left), shown(right))
            }
            Kind::If(a, b, c) => format!("({} ? {} : {})", shown(a), shown(b), shown(c)),
        }
    }

    #[test]
    fn operators_bind_as_in_cel() {
        for (text, expected) in [
            ("a || b && c", "(a || (b && c))"),
            ("!a && b", "(!a && b)"),
            ("a + b * c - d", "((a + (b * c)) - d)"),
            ("a == b + 1 && c in [1, 2,]", "((a == (b + 1)) && (c in [1, 2]))"),
            ("a ? b : c ? d : e", "(a ? b : (c ? d : e))"),
            ("-1 - -a.b", "(-1 - -a.b)"),
            ("a.b[\"c\"].d(e, f(g))", "a.b[\"c\"].d(e, f(g))"),
            ("(a || b) && c", "((a || b) && c)"),
            ("x.all(g, g != 'a')", "x.all(g, (g != \"a\"))"),
        ] {
            assert_eq!(shown(&parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_place() {
        let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
        let not = format!("{}a", "!".repeat(100));
        let long = vec!["a"; 600].join("+");
        let chain = vec!["a"; 200].join("+");
        let dots = format!("a{}", ".a".repeat(100));
        for (text, at, what) in [
            ("", 0, "a value was expected here"),
            ("a b", 2, "the end of the expression was expected here"),
            ("a +", 3, "a value was expected here"),
            ("(a", 2, "`)` was expected here"),
            ("a.1", 2, "a name was expected here"),
            ("f(a b)", 4, "`,` was expected here"),
            ("{'a': 1}", 0, "maps cannot be written here"),
            ("a ? b", 5, "`:` was expected here"),
            ("in", 0, "a value was expected here"),
            (&deep, 32, "this is nested more than 32 deep"),
            (&not, 32, "this is nested more than 32 deep"),
            (&long, 0, "this has more than 1000 words and signs"),
            (&chain, 257, "too many parts are joined here"),
            (&dots, 65, "too many parts follow each other here"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!((wrong.from, &*wrong.what), (at, what), "{text}");
        }
    }
}
