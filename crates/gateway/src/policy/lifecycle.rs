//! # lifecycle
//!
//! **What it does.** Tells clients that what they ask for is deprecated and until when it is served
//! (`Deprecation`, RFC 9745; `Sunset`, RFC 8594; `Link` to what follows), refuses it for a while on
//! announced brown-outs, so that who has not read that notices in time, and ends it on its day.
//!
//! **When it runs.** Stage `admit`: refusals inside carry the fields, too.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   orders-v1:
//!     lifecycle:
//!       deprecated: 2027-01-31
//!       sunset: 2027-12-31
//!       successor: https://shop.example/v2/orders
//!       documentation: https://shop.example/docs/moving-to-v2
//!       brown-outs: [{ from: "2027-11-02T10:00:00Z", to: "2027-11-02T10:15:00Z" }]
//! ```
//!
//! **What the client sees.** The fields, and `gone` (410) during brown-outs, then with `Retry-After`,
//! and after the sunset.
//!
//! **Traps.** Who still asks for it stands in the access log: once it is deprecated, each line of its requests
//! has the remark `lifecycle: deprecated`, beside the consumer. Clocks of several Transoms should agree
//! for brown-outs to begin and end together. It refuses before anybody asks who it is, so that `consumer`
//! is empty in the lines of what it refused: with `dry-run` that is filled in.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use transom_proxy::answer;
use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Fields;
use transom_proxy::message::Request;
use transom_proxy::policy::{Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{HeaderValue, List, Spanned, settings};

use crate::kind::Kind;
use crate::making::Making;
use crate::moment::Moment;

settings! {
    /// Announces that something ends, and ends it.
    pub struct Lifecycle {
        /// Since when it is deprecated; that may be announced before.
        pub deprecated: Spanned<Moment>,
        /// From when on it is no longer served.
        pub sunset: Option<Spanned<Moment>> = None,
        /// The URL of what follows.
        pub successor: Option<HeaderValue> = None,
        /// The URL of a page that says how to move there.
        pub documentation: Option<HeaderValue> = None,
        /// Times at which it is refused before.
        pub brown_outs: List<Spanned<BrownOut>> = List::default(),
        /// Whether it only announces: what is over passes nevertheless, is marked in the access log
        /// (`dry_run`), and counted in `transom_dry_run_total`.
        pub dry_run: bool = false,
    }

    /// A time at which something is refused.
    pub struct BrownOut {
        /// When it begins.
        pub from: Moment,
        /// When it ends.
        pub to: Moment,
    }
}

impl Kind for Lifecycle {
    const NAME: &'static str = "lifecycle";
    const SUMMARY: &'static str = "Announces that something ends, and ends it on its day.";
    const STAGE: Stage = Stage::Admit;

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if let Some(sunset) = self.sunset.as_ref().filter(|sunset| ***sunset < *self.deprecated) {
            // RFC 9745 §4
            let what = "`sunset` is before `deprecated`";
            making.error(sunset.span, "sunset", what, "deprecate it first");
            return None;
        }
        if let Some(wrong) = self.brown_outs.iter().find(|one| one.to <= one.from) {
            let what = "a brown-out ends before it begins";
            making.error(wrong.span, "brown-outs", what, "let `to` be after `from`");
            return None;
        }
        let mut fields = vec![("Deprecation", format!("@{}", self.deprecated.second()))];
        if let Some(date) = self.sunset.as_ref().and_then(|sunset| http_date(**sunset)) {
            fields.push(("Sunset", date));
        }
        for (url, relation) in
            [(&self.successor, "successor-version"), (&self.documentation, "deprecation")]
        {
            fields.extend(url.iter().map(|url| ("Link", format!("<{}>; rel=\"{relation}\"", url))));
        }
        Some(Arc::new(Ending { name: making.name.into(), settings: self.clone(), fields }))
    }
}

/// RFC 9110 §5.6.7.
fn http_date(moment: Moment) -> Option<String> {
    let time = Timestamp::from_second(moment.second()).ok()?;
    Some(time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// Where in its life something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Published,
    Deprecated,
    /// For so many seconds more.
    BrownOut(u64),
    Retired,
}

struct Ending {
    name: Arc<str>,
    settings: Lifecycle,
    fields: Vec<(&'static str, String)>,
}

impl Lifecycle {
    /// `now` in seconds since the beginning of 1970.
    pub fn age(&self, now: i64) -> Age {
        if self.sunset.as_ref().is_some_and(|sunset| sunset.second() <= now) {
            return Age::Retired;
        }
        let within = |one: &&Spanned<BrownOut>| (one.from.second()..one.to.second()).contains(&now);
        if let Some(one) = self.brown_outs.iter().find(within) {
            return Age::BrownOut(one.to.second().abs_diff(now));
        }
        match self.deprecated.second() <= now {
            true => Age::Deprecated,
            false => Age::Published,
        }
    }
}

impl Ending {
    fn announce(&self, fields: &mut Fields) {
        for (name, value) in &self.fields {
            fields.append(*name, value.as_bytes());
        }
    }
}

impl Policy for Ending {
    fn kind(&self) -> &'static str {
        Lifecycle::NAME
    }

    fn stage(&self) -> Stage {
        Lifecycle::STAGE
    }

    fn describe(&self) -> String {
        let sunset = self.settings.sunset.as_ref();
        let sunset = sunset.map(|sunset| format!(", gone from {sunset}")).unwrap_or_default();
        let dry_run = if self.settings.dry_run { ", only told in the log" } else { "" };
        format!("deprecated since {}{sunset}{dry_run}", self.settings.deprecated)
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let fault = match self.settings.age(i64::try_from(now.as_secs()).unwrap_or(i64::MAX)) {
                Age::Retired => Some(Fault::new(Code::Gone, "lifecycle: its sunset is over")),
                Age::BrownOut(left) => {
                    let fault = Fault::new(Code::Gone, "lifecycle: a brown-out");
                    Some(fault.retry_after(Duration::from_secs(left)))
                }
                Age::Deprecated => {
                    exchange.record.remark("lifecycle: deprecated");
                    None
                }
                Age::Published => None,
            };
            let mut response = match fault {
                Some(fault) if !self.settings.dry_run => answer::to(exchange, fault),
                over => {
                    if over.is_some() {
                        exchange.record.would_refuse(&self.name);
                    }
                    next.run(exchange, request).await
                }
            };
            self.announce(&mut response.fields);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::FromText;

    use super::*;

    #[test]
    fn gw_36_everything_has_its_day() {
        let moment = |text: &str| Moment::from_text(text).unwrap();
        let brown_out =
            BrownOut { from: moment("2027-11-02T10:00:00Z"), to: moment("2027-11-02T10:15:00Z") };
        let ending = Lifecycle {
            deprecated: moment("2027-01-31").into(),
            sunset: Some(moment("2027-12-31").into()),
            successor: None,
            documentation: None,
            brown_outs: vec![Spanned::from(brown_out)].into(),
            dry_run: false,
        };
        for (now, expected) in [
            ("2027-01-30T23:59:59Z", Age::Published),
            ("2027-01-31", Age::Deprecated),
            ("2027-11-02T09:59:59Z", Age::Deprecated),
            ("2027-11-02T10:00:00Z", Age::BrownOut(900)),
            ("2027-11-02T10:14:59Z", Age::BrownOut(1)),
            ("2027-11-02T10:15:00Z", Age::Deprecated),
            ("2027-12-31", Age::Retired),
        ] {
            assert_eq!(ending.age(moment(now).second()), expected, "{now}");
        }
        let date = http_date(moment("2027-12-31T08:09:07Z"));
        assert_eq!(date.as_deref(), Some("Fri, 31 Dec 2027 08:09:07 GMT"));
    }
}
