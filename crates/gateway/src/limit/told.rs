//! What clients are told of limits: `RateLimit` and `RateLimit-Policy` of
//! draft-ietf-httpapi-ratelimit-headers-10, and the `X-RateLimit-` fields of old.

use transom_proxy::fields::Fields;
use transom_settings::settings;

settings! {
    /// What clients are told of where they stand.
    pub enum Told {
        /// `RateLimit` and `RateLimit-Policy`, as the IETF has them.
        Standard = "standard",
        /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, in seconds from now.
        X = "x",
        /// All of these.
        Both = "both",
        /// Nothing, but for `Retry-After` of those that are refused.
        Nothing = "off",
    }
}

/// One limit as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// `"per-user"`, the text of a structured field.
    name: String,
    /// `"per-user";q=100;w=60`.
    policy: String,
    most: u64,
}

/// How a client stands with one limit.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub left: u64,
    /// Seconds until there is more; none where that is not known.
    pub reset: Option<u64>,
}

/// What a limit is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// So many seconds.
    Seconds(u64),
    /// A month, which has no certain length.
    Month,
    /// At once.
    AtOnce,
}

impl Shown {
    pub fn new(name: &str, most: u64, unit: Unit) -> Self {
        let name = string(name);
        let unit = match unit {
            Unit::Seconds(seconds) => format!(";w={seconds}"),
            Unit::Month => String::new(),
            Unit::AtOnce => ";qu=\"concurrent-requests\"".to_owned(),
        };
        Shown { policy: format!("{name};q={most}{unit}"), name, most }
    }
}

/// A string of a structured field (RFC 9651 §3.3.3): what cannot stand in it becomes `?`.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

impl Told {
    /// Adds the fields for these limits.
    pub fn write(self, limits: &[(&Shown, Standing)], fields: &mut Fields) {
        if matches!(self, Told::Standard | Told::Both) {
            let mut value = Vec::with_capacity(64);
            for (shown, _) in limits {
                separate(&mut value);
                value.extend_from_slice(shown.policy.as_bytes());
            }
            fields.append("RateLimit-Policy", &value);
            value.clear();
            for (shown, standing) in limits {
                separate(&mut value);
                value.extend_from_slice(shown.name.as_bytes());
                number(&mut value, b";r=", standing.left);
                if let Some(reset) = standing.reset {
                    number(&mut value, b";t=", reset);
                }
            }
            fields.append("RateLimit", &value);
        }
        if matches!(self, Told::X | Told::Both)
            && let Some((shown, standing)) = limits.iter().min_by_key(|(_, it)| it.left)
        {
            let mut digits = itoa::Buffer::new();
            fields.set("X-RateLimit-Limit", digits.format(shown.most).as_bytes());
            fields.set("X-RateLimit-Remaining", digits.format(standing.left).as_bytes());
            if let Some(reset) = standing.reset {
                fields.set("X-RateLimit-Reset", digits.format(reset).as_bytes());
            }
        }
    }
}

fn separate(value: &mut Vec<u8>) {
    if !value.is_empty() {
        value.extend_from_slice(b", ");
    }
}

fn number(value: &mut Vec<u8>, key: &[u8], number: u64) {
    value.extend_from_slice(key);
    value.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_21_fields_of_one_and_of_several() {
        let user = Shown::new("per-user", 100, Unit::Seconds(60));
        let odd = Shown::new("a \"b\"\\ \u{e9}", 5, Unit::Seconds(1));
        let once = Shown::new("at-once", 8, Unit::AtOnce);
        let month = Shown::new("month", 7, Unit::Month);
        let standing = |left, reset| Standing { left, reset };
        for (told, limits, expected) in [
            (
                Told::Standard,
                &[(&user, standing(99, Some(7)))][..],
                "RateLimit-Policy: \"per-user\";q=100;w=60\r\nRateLimit: \"per-user\";r=99;t=7\r\n",
            ),
            (
                Told::Both,
                &[(&user, standing(9, Some(7))), (&odd, standing(0, Some(1)))],
                "RateLimit-Policy: \"per-user\";q=100;w=60, \"a \\\"b\\\"\\\\ ?\";q=5;w=1\r\n\
                 RateLimit: \"per-user\";r=9;t=7, \"a \\\"b\\\"\\\\ ?\";r=0;t=1\r\n\
                 X-RateLimit-Limit: 5\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1\r\n",
            ),
            (
                Told::X,
                &[(&once, standing(3, None))],
                "X-RateLimit-Limit: 8\r\nX-RateLimit-Remaining: 3\r\n",
            ),
            (
                Told::Standard,
                &[(&once, standing(3, None))],
                "RateLimit-Policy: \"at-once\";q=8;qu=\"concurrent-requests\"\r\nRateLimit: \"at-once\";r=3\r\n",
            ),
            (
                Told::Standard,
                &[(&month, standing(3, Some(60)))],
                "RateLimit-Policy: \"month\";q=7\r\nRateLimit: \"month\";r=3;t=60\r\n",
            ),
            (Told::Nothing, &[(&user, standing(9, Some(7)))], ""),
        ] {
            let mut fields = Fields::new();
            told.write(limits, &mut fields);
            let mut written = Vec::new();
            fields.write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), expected);
        }
    }
}
