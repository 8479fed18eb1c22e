//! Values without structure: the simple types of XML Schema (part 2) and JSON.

use transom_settings::json::{Number, Value as Json};

/// What a simple type is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simple {
    /// `xsd:boolean`.
    Bool,
    /// `xsd:integer` and what is derived from it.
    Whole,
    /// `xsd:decimal`.
    Decimal,
    /// `xsd:float` and `xsd:double`.
    Float,
    /// All others, dates among them.
    Text,
}

impl Simple {
    /// A type of XML Schema itself; nothing where it has no such simple type.
    pub fn named(local: &str) -> Option<Simple> {
        Some(match local {
            "boolean" => Simple::Bool,
            "integer" | "long" | "int" | "short" | "byte" | "nonNegativeInteger"
            | "nonPositiveInteger" | "positiveInteger" | "negativeInteger" | "unsignedLong"
            | "unsignedInt" | "unsignedShort" | "unsignedByte" => Simple::Whole,
            "decimal" => Simple::Decimal,
            "float" | "double" => Simple::Float,
            "string" | "normalizedString" | "token" | "language" | "Name" | "NCName"
            | "NMTOKEN" | "NMTOKENS" | "ID" | "IDREF" | "IDREFS" | "ENTITY" | "ENTITIES"
            | "anyURI" | "QName" | "NOTATION" | "dateTime" | "date" | "time" | "duration"
            | "gYear" | "gYearMonth" | "gMonth" | "gMonthDay" | "gDay" | "hexBinary"
            | "base64Binary" | "anySimpleType" => Simple::Text,
            _ => return None,
        })
    }

    fn what(self) -> &'static str {
        match self {
            Simple::Bool => "`true` or `false`",
            Simple::Whole => "a whole number",
            Simple::Decimal | Simple::Float => "a number",
            Simple::Text => "a text",
        }
    }

    /// The value as it stands in XML. Numbers may be given as texts, as queries and paths have them.
    ///
    /// # Errors
    /// What it must be.
    pub fn write(self, value: &Json) -> Result<String, String> {
        let refused = || Err(format!("must be {}", self.what()));
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Bool(value) => value.to_string(),
            Json::Number(number) => plain(number),
            Json::Null | Json::Array(_) | Json::Object(_) => return refused(),
        };
        let fits = match self {
            Simple::Bool => matches!(&*text, "true" | "false" | "1" | "0") && !value.is_number(),
            Simple::Whole => is_whole(&text),
            Simple::Decimal => is_decimal(&text),
            Simple::Float => text.parse::<f64>().is_ok_and(f64::is_finite),
            Simple::Text => true,
        };
        if fits { Ok(text) } else { refused() }
    }

    /// What a text of XML is in JSON. What is not of its type, or would lose digits as a number of 64
    /// bits, stays a text.
    pub fn read(self, text: &str) -> Json {
        let bare = text.trim();
        let read = match self {
            Simple::Bool => match bare {
                "true" | "1" => Some(true.into()),
                "false" | "0" => Some(false.into()),
                _ => None,
            },
            Simple::Whole => {
                let digits = bare.strip_prefix('+').unwrap_or(bare);
                let small = digits.parse::<i64>().ok().map(Json::from);
                small.or_else(|| digits.parse::<u64>().ok().map(Json::from))
            }
            Simple::Decimal => bare.parse::<f64>().ok().filter(|_| is_exact(bare)).and_then(number),
            Simple::Float => bare.parse::<f64>().ok().and_then(number),
            Simple::Text => None,
        };
        read.unwrap_or_else(|| text.into())
    }
}

fn number(value: f64) -> Option<Json> {
    Number::from_f64(value).map(Json::Number)
}

/// Without an exponent, which decimals do not have.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => value.to_string(),
        _ => number.to_string(),
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let all = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    !(whole.is_empty() && rest.is_empty()) && all(whole) && all(rest)
}

/// Whether a number of 64 bits has all its digits: 15 are always kept.
fn is_exact(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    is_decimal(text) && digits.count() <= 15
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    #[test]
    fn gw_26_values_are_written_as_their_type_has_them() {
        for (simple, value, expected) in [
            (Simple::Bool, json!(true), Some("true")),
            (Simple::Bool, json!("false"), Some("false")),
            (Simple::Bool, json!(1), None),
            (Simple::Bool, json!("yes"), None),
            (Simple::Whole, json!(-7), Some("-7")),
            (Simple::Whole, json!("123456789012345678901"), Some("123456789012345678901")),
            (Simple::Whole, json!(7.5), None),
            (Simple::Whole, json!("7x"), None),
            (Simple::Whole, json!(""), None),
            (Simple::Decimal, json!(19.9), Some("19.9")),
            (Simple::Decimal, json!(1e21), Some("1000000000000000000000")),
            (Simple::Decimal, json!("1e3"), None),
            (Simple::Decimal, json!("."), None),
            (Simple::Float, json!("1e3"), Some("1e3")),
            (Simple::Float, json!("NaN"), None),
            (Simple::Text, json!("a"), Some("a")),
            (Simple::Text, json!(7), Some("7")),
            (Simple::Text, json!(null), None),
            (Simple::Text, json!([1]), None),
        ] {
            assert_eq!(simple.write(&value).ok().as_deref(), expected, "{simple:?} {value}");
        }
    }

    #[test]
    fn gw_26_texts_are_read_as_their_type_says() {
        for (simple, text, expected) in [
            (Simple::Bool, " 1 ", json!(true)),
            (Simple::Bool, "false", json!(false)),
            (Simple::Bool, "perhaps", json!("perhaps")),
            (Simple::Whole, "+7", json!(7)),
            (Simple::Whole, "18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            (Simple::Whole, "184467440737095516150", json!("184467440737095516150")),
            (Simple::Decimal, "19.90", json!(19.9)),
            (Simple::Decimal, "0.1234567890123456789", json!("0.1234567890123456789")),
            (Simple::Float, "INF", json!("INF")),
            (Simple::Float, "1e3", json!(1000.0)),
            (Simple::Text, " a ", json!(" a ")),
            (Simple::Text, "7", json!("7")),
        ] {
            assert_eq!(simple.read(text), expected, "{simple:?} {text}");
        }
    }
}
