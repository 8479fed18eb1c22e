//! Quotas: so many in a period of the calendar, and when such a period ends.

use std::fmt;

use jiff::civil::Weekday;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};
use transom_settings::json::{Value as Json, json};
use transom_settings::{FromText, Refusal, quote};

/// So many in a period of the calendar: it begins anew with the period, not with the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    pub count: u64,
    pub per: Period,
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    Hour,
    Day,
    /// From Monday (ISO 8601).
    Week,
    Month,
}

impl Period {
    pub const ALL: [Period; 4] = [Period::Hour, Period::Day, Period::Week, Period::Month];

    pub fn as_str(self) -> &'static str {
        match self {
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }

    /// In seconds; nothing where it depends on the month.
    pub fn seconds(self) -> Option<u64> {
        match self {
            Period::Hour => Some(3600),
            Period::Day => Some(24 * 3600),
            Period::Week => Some(7 * 24 * 3600),
            Period::Month => None,
        }
    }

    /// No period of this sort takes longer, in seconds: clocks are put back by an hour or two.
    fn longest(self) -> i64 {
        let whole = match self {
            Period::Hour => 3600,
            Period::Day => 24 * 3600,
            Period::Week => 7 * 24 * 3600,
            Period::Month => 31 * 24 * 3600,
        };
        whole + 2 * 3600
    }
}

/// Where days begin, and months.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    pub zone: Zone,
    /// The day of the month with which one begins, from 1 to 28.
    pub month_starts: u8,
}

impl Calendar {
    /// When the period ends that holds `now`; both in seconds since 1970.
    pub fn ends(&self, period: Period, now: i64) -> i64 {
        // beyond the year 9999 there is no calendar
        self.next(period, now).unwrap_or_else(|| now.saturating_add(period.longest()))
    }

    /// Whether a period that ends at `until` is the one that holds `now`, or the next one: another
    /// worker, or another process, may be a moment ahead. A clock that was put back by more than that
    /// is believed.
    pub fn holds(period: Period, until: i64, now: i64) -> bool {
        now < until && until - now <= 2 * period.longest()
    }

    fn next(&self, period: Period, now: i64) -> Option<i64> {
        let local = Timestamp::from_second(now).ok()?.to_zoned(self.zone.zone.clone());
        let today = local.date();
        let first = match period {
            Period::Hour => {
                let shown = now.checked_add(local.offset().seconds().into())?;
                return Some(now - shown.rem_euclid(3600) + 3600);
            }
            Period::Day => today.tomorrow().ok()?,
            Period::Week => {
                let days = today.weekday().until(Weekday::Monday);
                today.checked_add(i32::from(if days == 0 { 7 } else { days }).days()).ok()?
            }
            Period::Month => {
                let starts = i8::try_from(self.month_starts).ok()?;
                let this = today.with().day(starts).build().ok()?;
                if today < this { this } else { this.checked_add(1.month()).ok()? }
            }
        };
        Some(first.to_zoned(self.zone.zone.clone()).ok()?.timestamp().as_second())
    }
}

/// A time zone: `UTC`, how far it is from it, or its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    text: String,
    zone: TimeZone,
}

impl Zone {
    pub fn utc() -> Self {
        Zone { text: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    fn of(text: &str) -> Option<TimeZone> {
        if text.eq_ignore_ascii_case("utc") {
            return Some(TimeZone::UTC);
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return TimeZone::get(text).ok(),
        };
        let (hours, minutes) = text[1..].split_once(':')?;
        let two = |digits: &str, most: i32| {
            let whole = digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_digit());
            digits.parse().ok().filter(|number: &i32| whole && *number <= most)
        };
        let seconds = sign * (two(hours, 18)? * 3600 + two(minutes, 59)? * 60);
        Offset::from_seconds(seconds).ok().map(TimeZone::fixed)
    }
}

impl FromText for Zone {
    const WHAT: &'static str = "a time zone such as `UTC`, `+02:00` or `Europe/Berlin`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let zone = Zone::of(text).ok_or_else(|| {
            Refusal::new(format!("{} is no time zone", quote(text)))
                .hint("write `UTC`, how far it is from it such as `+02:00`, or a name such as `Europe/Berlin`")
        })?;
        Ok(Zone { text: text.to_owned(), zone })
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["UTC", "+02:00", "Europe/Berlin"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromText for Quota {
    const WHAT: &'static str = "a quota such as `10000/day`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let refuse = |why: &str| {
            Refusal::new(format!("{} is not a quota: {why}", quote(text)))
                .hint("write a number and a period: `hour`, `day`, `week` or `month`")
        };
        let (count, per) = text.split_once('/').ok_or_else(|| refuse("it has no `/`"))?;
        let count = count.trim();
        let digits = count.bytes().all(|c| c.is_ascii_digit());
        let count = count.parse().ok().filter(|_| digits);
        let count = count.ok_or_else(|| refuse("it does not begin with a whole number"))?;
        let per = Period::ALL.into_iter().find(|period| period.as_str() == per.trim());
        Ok(Quota { count, per: per.ok_or_else(|| refuse("its period is not known"))? })
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["10000/day", "250000/month"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_20_quotas_count_by_periods_of_the_calendar() {
        for (text, expected) in [
            ("10000/day", Ok("10000/day")),
            ("5 / month", Ok("5/month")),
            ("0/week", Ok("0/week")),
            ("5", Err("`5` is not a quota: it has no `/`")),
            ("x/day", Err("`x/day` is not a quota: it does not begin with a whole number")),
            ("/day", Err("`/day` is not a quota: it does not begin with a whole number")),
            ("+5/day", Err("`+5/day` is not a quota: it does not begin with a whole number")),
            ("5/min", Err("`5/min` is not a quota: its period is not known")),
        ] {
            let found = Quota::from_text(text);
            let found = found.as_ref().map(ToString::to_string).map_err(|r| r.what.clone());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn gw_20_a_period_ends_where_the_calendar_says() {
        for (zone, starts, period, now, ends) in [
            ("UTC", 1, Period::Hour, "2026-11-22T11:59:59Z", "2026-11-22T12:00:00Z"),
            ("UTC", 1, Period::Hour, "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"),
            ("+05:30", 1, Period::Hour, "2026-11-22T12:00:00Z", "2026-11-22T12:30:00Z"),
            ("UTC", 1, Period::Day, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            ("+02:00", 1, Period::Day, "2026-11-22T21:59:59Z", "2026-11-22T22:00:00Z"),
            ("-08:00", 1, Period::Day, "2026-11-22T07:00:00Z", "2026-11-22T08:00:00Z"),
            // a Sunday, and the Monday after it
            ("UTC", 1, Period::Week, "2026-11-22T23:00:00Z", "2026-11-23T00:00:00Z"),
            ("UTC", 1, Period::Week, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            ("UTC", 1, Period::Month, "2028-02-29T12:00:00Z", "2028-03-01T00:00:00Z"),
            ("UTC", 1, Period::Month, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("UTC", 15, Period::Month, "2026-11-14T23:59:59Z", "2026-11-15T00:00:00Z"),
            ("UTC", 15, Period::Month, "2026-11-15T00:00:00Z", "2026-12-15T00:00:00Z"),
            ("UTC", 28, Period::Month, "2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z"),
            // the day on which clocks are put back has 25 hours
            ("Europe/Berlin", 1, Period::Day, "2026-10-25T10:00:00Z", "2026-10-25T23:00:00Z"),
            ("Europe/Berlin", 1, Period::Day, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ] {
            let calendar = Calendar { zone: Zone::from_text(zone).unwrap(), month_starts: starts };
            let second = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
            let (now, expected) = (second(now), second(ends));
            let found = calendar.ends(period, now);
            assert_eq!(found, expected, "{zone} {period:?} from {starts}: {ends}");
            assert!(Calendar::holds(period, found, now) && !Calendar::holds(period, found, found));
        }
    }

    #[test]
    fn l_05_a_clock_that_was_put_back_far_is_believed_and_a_little_is_not() {
        let calendar = Calendar { zone: Zone::utc(), month_starts: 1 };
        for period in Period::ALL {
            let now = 1_795_000_000;
            let until = calendar.ends(period, now);
            assert!(Calendar::holds(period, until, now - 60), "{period:?}");
            assert!(!Calendar::holds(period, until, now - 100 * 24 * 3600), "{period:?}");
        }
        assert!(calendar.ends(Period::Month, i64::MAX - 7) > 0, "nothing overflows");
    }

    #[test]
    fn zones_are_read_and_nothing_is_guessed() {
        for (text, fits) in [
            ("UTC", true),
            ("utc", true),
            ("+02:00", true),
            ("-09:30", true),
            ("Europe/Berlin", true),
            ("+2", false),
            ("+2:00", false),
            ("+99:00", false),
            ("+02:60", false),
            ("+-2:00", false),
            ("Mars/Olympus", false),
            ("", false),
        ] {
            assert_eq!(Zone::from_text(text).is_ok(), fits, "{text}");
        }
    }
}
