//! Amounts of bytes: `64KiB`, `10MiB`, `1k`.

use std::fmt;

use crate::decode::{FromText, Refusal};
use crate::diagnostic::quote;

/// An amount of bytes. `KiB`, `MiB`, `GiB`, `TiB` are powers of 1024; `k`, `M`, `G`, `T`, with or
/// without `B`, are powers of 1000; `B` or nothing is single bytes. Letter case does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
];

impl ByteSize {
    pub const fn kib(count: u64) -> Self {
        ByteSize(count << 10)
    }

    pub const fn mib(count: u64) -> Self {
        ByteSize(count << 20)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The amount as a length in memory.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromText for ByteSize {
    const WHAT: &'static str = "a size such as `64KiB`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not a size: {why}", quote(text)))
                .hint("write a whole number with a unit such as `B`, `kB`, `KiB`, `MiB` or `GiB`")
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(refuse("it does not begin with a number"));
        }
        let unit = unit.trim_start_matches(' ');
        let size = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" => 1000,
            "m" => 1_000_000,
            "g" => 1_000_000_000,
            "t" => 1_000_000_000_000,
            lower => match UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(lower)) {
                Some((_, size)) => *size,
                None => return Err(refuse(&format!("the unit {} is not known", quote(unit)))),
            },
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(size));
        bytes.map(ByteSize).ok_or_else(|| refuse("it is too large"))
    }

    fn schema() -> serde_json::Value {
        let pattern = "^[0-9]+ *([kKmMgGtT]?i?[bB]?)$";
        let examples = ["8KiB", "10MiB", "1GB"];
        let schema = serde_json::json!({ "type": ["string", "integer"], "examples": examples });
        crate::schema::or_interpolated(schema, Some(pattern))
    }

    fn to_json(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size));
        match unit {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        crate::scalar::check::<ByteSize>(&[
            ("64KiB", Ok("64KiB")),
            ("10 MiB", Ok("10MiB")),
            ("1k", Ok("1kB")),
            ("1kb", Ok("1kB")),
            ("1024", Ok("1KiB")),
            ("240", Ok("240B")),
            ("0", Ok("0B")),
            ("ten", Err("`ten` is not a size: it does not begin with a number")),
            ("1.5MiB", Err("`1.5MiB` is not a size: the unit `.5MiB` is not known")),
            ("-1", Err("`-1` is not a size: it does not begin with a number")),
            ("99999999999TiB", Err("`99999999999TiB` is not a size: it is too large")),
        ]);
    }
}
