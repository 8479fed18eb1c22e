//! How many, and how much, in a time: `100/min`, `240B/s`.

use std::fmt;

use super::{ByteSize, Duration};
use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// So many in a time. Units of time: `s`, `min` (or `m`), `h`, `d`; a duration such as `10s` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub count: u64,
    pub per: Duration,
}

impl FromText for Rate {
    const WHAT: &'static str = "a rate such as `100/min`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not a rate: {why}", quote(text)))
                .hint("write a number and a time, such as `5/s`, `100/min`, `1000/h` or `20/10s`")
        };
        let (count, per) = text.split_once('/').ok_or_else(|| refuse("it has no `/`"))?;
        let count = count.trim();
        let digits = !count.is_empty() && count.bytes().all(|c| c.is_ascii_digit());
        let count = count.parse().ok().filter(|_| digits);
        let count = count.ok_or_else(|| refuse("it does not begin with a whole number"))?;
        let per = match per.trim() {
            "s" | "sec" | "second" => Duration::seconds(1),
            "m" | "min" | "minute" => Duration::minutes(1),
            "h" | "hour" => Duration::hours(1),
            "d" | "day" => Duration::hours(24),
            other => Duration::from_text(other)
                .map_err(|_| refuse(&format!("the time {} is not known", quote(other))))?,
        };
        if per.is_zero() {
            return Err(refuse("the time is zero"));
        }
        Ok(Rate { count, per })
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "examples": ["5/s", "100/min", "1000/h"] })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per.as_secs() {
            1 if self.per.subsec_millis() == 0 => "s".to_owned(),
            60 if self.per.subsec_millis() == 0 => "min".to_owned(),
            3600 if self.per.subsec_millis() == 0 => "h".to_owned(),
            86_400 if self.per.subsec_millis() == 0 => "d".to_owned(),
            _ => self.per.to_string(),
        };
        write!(f, "{}/{per}", self.count)
    }
}

/// So many bytes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(pub ByteSize);

impl FromText for ByteRate {
    const WHAT: &'static str = "bytes in a second such as `240B/s`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = || {
            Refusal::new(format!("{} is not an amount of bytes in a second", quote(text)))
                .hint("write a size and `/s`, such as `240B/s` or `1MiB/s`")
        };
        let (size, _) =
            text.split_once('/').filter(|(_, per)| per.trim() == "s").ok_or_else(refuse)?;
        ByteSize::from_text(size.trim()).map(ByteRate).map_err(|_| refuse())
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "examples": ["240B/s", "1MiB/s"] })
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        crate::scalar::check::<Rate>(&[
            ("100/min", Ok("100/min")),
            ("100/m", Ok("100/min")),
            ("5 / s", Ok("5/s")),
            ("20/10s", Ok("20/10s")),
            ("1/d", Ok("1/d")),
            ("5", Err("`5` is not a rate: it has no `/`")),
            ("x/s", Err("`x/s` is not a rate: it does not begin with a whole number")),
            ("+5/s", Err("`+5/s` is not a rate: it does not begin with a whole number")),
            ("5/week", Err("`5/week` is not a rate: the time `week` is not known")),
            ("5/0", Err("`5/0` is not a rate: the time is zero")),
        ]);
        crate::scalar::check::<ByteRate>(&[
            ("240B/s", Ok("240B/s")),
            ("1MiB/s", Ok("1MiB/s")),
            ("240", Err("`240` is not an amount of bytes in a second")),
            ("1MiB/h", Err("`1MiB/h` is not an amount of bytes in a second")),
        ]);
    }
}
