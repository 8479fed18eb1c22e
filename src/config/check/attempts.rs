//! What is tried again, and for how long.

use transom_settings::{Limit, StatusPattern};

use super::Check;
use crate::config::{Forward, Timeouts};

impl Check<'_> {
    /// `times` are those that hold for the route.
    pub(super) fn attempts(&mut self, forward: &Forward, times: &Timeouts, path: &str) {
        let retries = &forward.retries;
        let at = format!("{path}.forward.retries");
        for status in &retries.statuses {
            let is_error = match status.value {
                StatusPattern::Exact(status) => status.code() >= 400,
                StatusPattern::Class(digit) => digit >= 4,
            };
            if !is_error {
                let what = format!("`{status}` is no error, nothing is tried again after it");
                self.error(status.span, format!("{at}.statuses"), what)
                    .hint("write statuses from 400 on, such as `503` or `5xx`")
                    .done();
            }
        }
        self.time("per-attempt", Some(retries.per_attempt), &at);
        let (backoff, most) = (&retries.backoff, retries.max_backoff);
        if backoff.value > most {
            let what = format!("`backoff` of {backoff} is longer than `max-backoff` of {most}");
            self.error(backoff.span, format!("{at}.backoff"), what).done();
        }
        if let Some(name) = &forward.deadline_header
            && times.request.value == Limit::Unlimited
        {
            let what = "nothing is told, the exchange has no deadline";
            self.warning(name.span, format!("{path}.forward.deadline-header"), what)
                .hint("set `timeouts.request`")
                .done();
        }
    }
}
