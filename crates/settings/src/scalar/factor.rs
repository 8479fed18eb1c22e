//! A number with a decimal point: `1.9`.

use std::fmt;

use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// A number that something is multiplied with, to a hundredth: `1.9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Factor(u32);

impl Factor {
    /// So many hundredths.
    pub const fn hundredths(count: u32) -> Self {
        Factor(count)
    }

    pub fn get(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromText for Factor {
    const WHAT: &'static str = "a number such as `1.9`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = || {
            Refusal::new(format!("{} is not a number", quote(text)))
                .hint("write a number with at most two decimals, such as `1.9`")
        };
        hundredths(text).map(Factor).ok_or_else(refuse)
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": ["number", "string"], "minimum": 0, "examples": [1.9] })
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self.get())
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, rest) if rest % 10 == 0 => write!(f, "{whole}.{}", rest / 10),
            (whole, rest) => write!(f, "{whole}.{rest:02}"),
        }
    }
}

/// A decimal number with at most two decimals.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 2 {
        return None;
    }
    let scale = if rest.len() == 1 { 10 } else { 1 };
    let rest = rest.parse::<u32>().ok()? * scale;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn factors_as_they_are_written() {
        check::<Factor>(&[
            ("1.9", Ok("1.9")),
            ("2", Ok("2")),
            ("1.25", Ok("1.25")),
            ("1.05", Ok("1.05")),
            ("99999999999", Err("`99999999999` is not a number")),
            ("x", Err("`x` is not a number")),
            (".5", Err("`.5` is not a number")),
            ("1.234", Err("`1.234` is not a number")),
        ]);
        assert_eq!(Factor::hundredths(190).get(), 1.9);
    }
}
