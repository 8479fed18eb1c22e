//! A part of the whole: `50%`, `0.5%`.

use std::fmt;

use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// A part of the whole, to the hundredth of a percent; from 0 % to 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    hundredths: u16,
}

impl Percent {
    /// Whole percents; panics at compile time or at start beyond 100.
    pub const fn of(percent: u16) -> Self {
        assert!(percent <= 100, "a part of the whole");
        Percent { hundredths: percent * 100 }
    }

    /// The part of 10,000 that it is.
    pub const fn of_ten_thousand(self) -> u32 {
        self.hundredths as u32
    }

    /// The part of one that it is.
    pub fn ratio(self) -> f64 {
        f64::from(self.hundredths) / 10_000.0
    }
}

impl FromText for Percent {
    const WHAT: &'static str = "a percentage such as `50%`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not a percentage: {why}", quote(text)))
                .hint("write a number from 0 to 100 and `%`, such as `50%` or `0.5%`")
        };
        let number = text.strip_suffix('%').ok_or_else(|| refuse("it has no `%`"))?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_number =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
        if !is_number(whole) || !is_number(part) {
            return Err(refuse("it does not begin with a number"));
        }
        if part.len() > 2 {
            return Err(refuse("it is finer than a hundredth of a percent"));
        }
        let part: u32 = format!("{part:0<2}").parse().map_err(|_| refuse("it is no number"))?;
        let whole = whole.parse::<u32>().ok().filter(|whole| *whole <= 100);
        let hundredths = whole.map(|whole| whole * 100 + part).filter(|all| *all <= 10_000);
        match hundredths.and_then(|all| u16::try_from(all).ok()) {
            Some(hundredths) => Ok(Percent { hundredths }),
            None => Err(refuse("it is more than the whole")),
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "examples": ["50%", "0.5%"] })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.hundredths / 100, self.hundredths % 100);
        match part {
            0 => write!(f, "{whole}%"),
            part if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            part => write!(f, "{whole}.{part:02}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        crate::scalar::check::<Percent>(&[
            ("50%", Ok("50%")),
            ("0%", Ok("0%")),
            ("100 %", Ok("100%")),
            ("0.5%", Ok("0.5%")),
            ("99.99%", Ok("99.99%")),
            ("7.05%", Ok("7.05%")),
            ("50", Err("`50` is not a percentage: it has no `%`")),
            ("x%", Err("`x%` is not a percentage: it does not begin with a number")),
            ("-1%", Err("`-1%` is not a percentage: it does not begin with a number")),
            ("1.%", Err("`1.%` is not a percentage: it does not begin with a number")),
            ("100.01%", Err("`100.01%` is not a percentage: it is more than the whole")),
            ("9999999999%", Err("`9999999999%` is not a percentage: it is more than the whole")),
            (
                "0.001%",
                Err("`0.001%` is not a percentage: it is finer than a hundredth of a percent"),
            ),
        ]);
        assert_eq!(Percent::of(25).ratio(), 0.25);
    }
}
