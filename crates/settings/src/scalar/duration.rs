//! Spans of time: `5s`, `250ms`, `1h30m`.

use std::fmt;
use std::ops::Deref;
use std::time;

use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// A span of time, to the millisecond. Units: `ms`, `s`, `m`, `h`, `d`; several may follow each
/// other, the larger first. A number alone is refused, because nobody knows its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(time::Duration);

/// Units from the largest to the smallest, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Longer than this is surely a slip, and timers would overflow far beyond it.
const MAX: u64 = 10 * 365 * 86_400_000;

impl Duration {
    pub const ZERO: Duration = Duration::milliseconds(0);

    pub const fn milliseconds(count: u64) -> Self {
        Duration(time::Duration::from_millis(count))
    }

    pub const fn seconds(count: u64) -> Self {
        Duration(time::Duration::from_secs(count))
    }

    pub const fn minutes(count: u64) -> Self {
        Duration::seconds(count * 60)
    }

    pub const fn hours(count: u64) -> Self {
        Duration::minutes(count * 60)
    }

    pub const fn get(self) -> time::Duration {
        self.0
    }
}

impl Deref for Duration {
    type Target = time::Duration;
    fn deref(&self) -> &time::Duration {
        &self.0
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromText for Duration {
    const WHAT: &'static str = "a duration such as `5s`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not a duration: {why}", quote(text)))
                .hint("write numbers with the units `d`, `h`, `m`, `s` or `ms`, such as `1h30m`")
        };
        if text == "0" {
            return Ok(Duration::ZERO);
        }
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.bytes().all(|c| c.is_ascii_digit()) {
            return Err(refuse("it has no unit").hint(format!("did you mean `{text}s`?")));
        }
        let (mut total, mut rest, mut last) = (0u64, text, UNITS[0].1 + 1);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            if number.is_empty() {
                return Err(refuse(&format!("{} is not a number", quote(rest))));
            }
            let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
                return Err(refuse(&format!("the unit {} is not known", quote(unit))));
            };
            if *size >= last {
                return Err(refuse("larger units stand first, each once"));
            }
            last = *size;
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*size));
            total = part.and_then(|part| part.checked_add(total)).unwrap_or(u64::MAX);
            rest = after;
        }
        if total > MAX {
            return Err(refuse("it is longer than ten years").hint("write `off` for no limit"));
        }
        Ok(Duration::milliseconds(total))
    }

    fn schema() -> serde_json::Value {
        let pattern = "^(0|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";
        let examples = ["250ms", "5s", "1h30m"];
        let schema = serde_json::json!({ "type": ["string", "number"], "examples": examples });
        crate::schema::or_interpolated(schema, Some(pattern))
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        crate::scalar::check::<Duration>(&[
            ("5s", Ok("5s")),
            ("250ms", Ok("250ms")),
            ("1h30m", Ok("1h30m")),
            ("90m", Ok("1h30m")),
            ("0", Ok("0s")),
            ("1500ms", Ok("1s500ms")),
            ("5", Err("`5` is not a duration: it has no unit")),
            ("", Err("`` is not a duration: it is empty")),
            ("5x", Err("`5x` is not a duration: the unit `x` is not known")),
            ("5S", Err("`5S` is not a duration: the unit `S` is not known")),
            ("-5s", Err("`-5s` is not a duration: `-5s` is not a number")),
            ("1.5s", Err("`1.5s` is not a duration: the unit `.` is not known")),
            ("1m1h", Err("`1m1h` is not a duration: larger units stand first, each once")),
            ("1s1s", Err("`1s1s` is not a duration: larger units stand first, each once")),
            (
                "99999999999999999999h",
                Err("`99999999999999999999h` is not a duration: it is longer than ten years"),
            ),
        ]);
    }
}
