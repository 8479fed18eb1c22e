//! Points in time as the file has them.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use transom_settings::json::{Value as Json, json};
use transom_settings::{FromText, Refusal, quote};

/// A point in time: `2027-01-31T12:00:00Z`, or a day, which stands for its beginning in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Timestamp);

impl Moment {
    /// So many seconds after the beginning of 1970.
    pub fn of_second(second: i64) -> Option<Self> {
        Timestamp::from_second(second).ok().map(Moment)
    }

    /// Seconds since the beginning of 1970; negative before.
    pub fn second(self) -> i64 {
        self.0.as_second()
    }

    /// As the clock of the system counts; what was before 1970 is its beginning.
    pub fn system(self) -> SystemTime {
        let since = u64::try_from(self.0.as_second()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(since)
    }
}

impl FromText for Moment {
    const WHAT: &'static str = "a day or a point in time such as `2027-01-31T12:00:00Z`";

    fn from_text(text: &str) -> Result<Self, Refusal> {
        let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
        let day = || (text.len() == 10).then(day).flatten().map(|zoned| zoned.timestamp());
        let whole = text.parse::<Timestamp>().ok().or_else(day);
        whole.map(Moment).ok_or_else(|| {
            Refusal::new(format!("{} is not a point in time", quote(text)))
                .hint("write a day such as `2027-01-31`, or with the time `2027-01-31T12:00:00Z`")
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["2027-01-31", "2027-01-31T12:00:00Z"] })
    }

    fn to_json(&self) -> Json {
        self.to_string().into()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_and_nothing_is_guessed() {
        for (text, expected) in [
            ("2027-01-31", Some("2027-01-31T00:00:00Z")),
            ("2027-01-31T12:00:00Z", Some("2027-01-31T12:00:00Z")),
            ("2027-01-31T12:00:00+02:00", Some("2027-01-31T10:00:00Z")),
            ("2027-02-30", None),
            ("2027-01-31 12:00", None),
            ("tomorrow", None),
            ("", None),
        ] {
            let found = Moment::from_text(text).ok().map(|moment| moment.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
