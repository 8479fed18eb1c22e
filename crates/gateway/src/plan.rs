//! Plans: limits that consumers share by name. They are data; policies that limit read them by the
//! plan of who asks.

use std::fmt;

use transom_settings::json::{Value as Json, json};
use transom_settings::{FromText, Rate, Refusal, quote, settings};

settings! {
    /// What consumers of this plan may ask for. A policy that limits has to be on the route: a plan
    /// alone limits nothing.
    pub struct Plan {
        /// Requests in a time such as `100/min`; several hold at once.
        pub rate: Vec<Rate> = Vec::new(),
        /// Requests in a period of the calendar (UTC), such as `10000/day`; several hold at once.
        pub quota: Vec<Quota> = Vec::new(),
        /// Requests that may be under way at once.
        pub concurrency: Option<u32> = None,
    }
}

/// So many in a period of the calendar: it begins anew with the period, not with the first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    pub count: u64,
    pub per: Period,
}

/// A period of the calendar, in UTC.
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
}
