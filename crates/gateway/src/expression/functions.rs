//! What can be called: names, what they take and what they give. Those that make something of a text in
//! the expression do so when it is read.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::types::{Constant, Type};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    UpperAscii,
    ToInt,
    ToDouble,
    ToText,
    ToTime,
    ToAddress,
    ContainsAddress,
    Clock(Clock),
}

/// A part of a time, counted as CEL does: months, days of the month and of the year from 0, days of the
/// week from Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    Year,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
}

/// How one may be called.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// What stands before the dot, if any does.
    pub(super) on: Option<Type>,
    pub(super) takes: &'static [Type],
    pub(super) gives: Type,
    pub(super) function: Function,
}

const fn on(
    name: &'static str,
    on: Type,
    takes: &'static [Type],
    gives: Type,
    function: Function,
) -> Signature {
    Signature { name, on: Some(on), takes, gives, function }
}

const fn of(
    name: &'static str,
    takes: &'static [Type],
    gives: Type,
    function: Function,
) -> Signature {
    Signature { name, on: None, takes, gives, function }
}

const fn clock(name: &'static str, part: Clock) -> Signature {
    on(name, Type::Time, &[], Type::Int, Function::Clock(part))
}

pub(super) const FUNCTIONS: [Signature; 41] = [
    of("size", &[Type::Text], Type::Int, Function::Size),
    of("size", &[Type::List(&Type::Any)], Type::Int, Function::Size),
    of("size", &[Type::Map], Type::Int, Function::Size),
    on("size", Type::Text, &[], Type::Int, Function::Size),
    on("size", Type::List(&Type::Any), &[], Type::Int, Function::Size),
    on("size", Type::Map, &[], Type::Int, Function::Size),
    on("contains", Type::Text, &[Type::Text], Type::Bool, Function::Contains),
    on("startsWith", Type::Text, &[Type::Text], Type::Bool, Function::StartsWith),
    on("endsWith", Type::Text, &[Type::Text], Type::Bool, Function::EndsWith),
    on("lowerAscii", Type::Text, &[], Type::Text, Function::LowerAscii),
    on("upperAscii", Type::Text, &[], Type::Text, Function::UpperAscii),
    of("int", &[Type::Int], Type::Int, Function::ToInt),
    of("int", &[Type::Double], Type::Int, Function::ToInt),
    of("int", &[Type::Text], Type::Int, Function::ToInt),
    of("int", &[Type::Time], Type::Int, Function::ToInt),
    of("uint", &[Type::Int], Type::Int, Function::ToInt),
    of("uint", &[Type::Text], Type::Int, Function::ToInt),
    of("double", &[Type::Int], Type::Double, Function::ToDouble),
    of("double", &[Type::Double], Type::Double, Function::ToDouble),
    of("double", &[Type::Text], Type::Double, Function::ToDouble),
    of("string", &[Type::Text], Type::Text, Function::ToText),
    of("string", &[Type::Int], Type::Text, Function::ToText),
    of("string", &[Type::Double], Type::Text, Function::ToText),
    of("string", &[Type::Bool], Type::Text, Function::ToText),
    of("string", &[Type::Address], Type::Text, Function::ToText),
    of("timestamp", &[Type::Int], Type::Time, Function::ToTime),
    of("timestamp", &[Type::Text], Type::Time, Function::ToTime),
    of("timestamp", &[Type::Time], Type::Time, Function::ToTime),
    of("ip", &[Type::Text], Type::Address, Function::ToAddress),
    of("ip", &[Type::Address], Type::Address, Function::ToAddress),
    on("containsIP", Type::Block, &[Type::Address], Type::Bool, Function::ContainsAddress),
    on("containsIP", Type::Block, &[Type::Text], Type::Bool, Function::ContainsAddress),
    clock("getFullYear", Clock::Year),
    clock("getMonth", Clock::Month),
    clock("getDate", Clock::Date),
    clock("getDayOfMonth", Clock::DayOfMonth),
    clock("getDayOfWeek", Clock::DayOfWeek),
    clock("getDayOfYear", Clock::DayOfYear),
    clock("getHours", Clock::Hours),
    clock("getMinutes", Clock::Minutes),
    clock("getSeconds", Clock::Seconds),
];

/// Those that make something of a text of the expression, and nothing of any other.
pub(super) const MAKERS: [&str; 2] = ["cidr", "duration"];

/// What `cidr` and `duration` make of a text.
pub(super) fn made(name: &str, text: &str) -> Result<Constant, (String, &'static str)> {
    match name {
        "cidr" => {
            let block = text.parse::<IpNet>().map(|block| block.trunc());
            block.map(Constant::Block).map_err(|_| {
                (format!("`{text}` is no block of addresses"), "write one such as `10.0.0.0/8`")
            })
        }
        _ => duration(text).map(Constant::Duration).ok_or_else(|| {
            (format!("`{text}` is no duration"), "write one such as `90s`, `1h30m` or `250ms`")
        }),
    }
}

/// In microseconds: numbers with units, `1h30m`.
fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" => 0.000_001,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    let micros = i64::try_from(sum.as_micros()).ok()?;
    Some(if negative { -micros } else { micros })
}

/// RFC 3339, in microseconds since 1970.
pub(super) fn time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

impl Clock {
    /// This part of a time, as the clocks of a zone show it.
    pub(super) fn of(self, micros: i64, zone: &TimeZone) -> Option<i64> {
        let time = Timestamp::from_microsecond(micros).ok()?.to_zoned(zone.clone());
        Some(match self {
            Clock::Year => time.year().into(),
            Clock::Month => i64::from(time.month()) - 1,
            Clock::Date => time.day().into(),
            Clock::DayOfMonth => i64::from(time.day()) - 1,
            Clock::DayOfWeek => time.weekday().to_sunday_zero_offset().into(),
            Clock::DayOfYear => i64::from(time.day_of_year()) - 1,
            Clock::Hours => time.hour().into(),
            Clock::Minutes => time.minute().into(),
            Clock::Seconds => time.second().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times() {
        for (text, expected) in [
            ("90s", Some(90_000_000)),
            ("1h30m", Some(5_400_000_000)),
            ("1.5s", Some(1_500_000)),
            ("-250ms", Some(-250_000)),
            ("", None),
            ("-", None),
            ("5", None),
            ("5 s", None),
            ("5d", None),
            ("1e400s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
        assert_eq!(time("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn clocks_count_as_cel_does() {
        // a Sunday
        let micros = time("2026-11-22T22:30:05Z").unwrap();
        for (part, utc, berlin) in [
            (Clock::Year, 2026, 2026),
            (Clock::Month, 10, 10),
            (Clock::Date, 22, 22),
            (Clock::DayOfMonth, 21, 21),
            (Clock::DayOfWeek, 0, 0),
            (Clock::DayOfYear, 325, 325),
            (Clock::Hours, 22, 23),
            (Clock::Minutes, 30, 30),
            (Clock::Seconds, 5, 5),
        ] {
            assert_eq!(part.of(micros, &TimeZone::UTC), Some(utc), "{part:?}");
            let zone = TimeZone::fixed(jiff::tz::offset(1));
            assert_eq!(part.of(micros, &zone), Some(berlin), "{part:?}");
        }
        assert_eq!(Clock::Year.of(i64::MAX, &TimeZone::UTC), None);
    }
}
