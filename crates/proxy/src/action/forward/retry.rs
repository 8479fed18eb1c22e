//! Which attempts are followed by another one.

use std::time::{Duration, SystemTime};

use super::backoff::Backoff;
use crate::fault::{Fault, Retry};
use crate::fields::{Fields, Known};
use crate::message::Request;

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrying {
    /// Attempts after the first for requests that may have reached an endpoint and may be sent
    /// twice. Default 1.
    pub retries: u16,
    /// Attempts after the first where no connection came to be, so nothing was sent. Default 3.
    pub connect_retries: u16,
    /// Statuses, from and to, after which a request is tried again. Default: none.
    pub statuses: Vec<(u16, u16)>,
    /// Methods that are not idempotent may be sent twice as well. Default: no.
    pub any_method: bool,
    pub backoff: Backoff,
    /// How long one attempt may take up to the head of its response.
    pub per_try: Option<Duration>,
}

impl Default for Retrying {
    fn default() -> Self {
        Retrying {
            retries: 1,
            connect_retries: 3,
            statuses: Vec::new(),
            any_method: false,
            backoff: Backoff::default(),
            per_try: None,
        }
    }
}

impl Retrying {
    /// RFC 9110 §9.2.2: what may have reached the endpoint is sent twice only if that does no harm.
    pub(super) fn is_resendable(&self, request: &Request) -> bool {
        (self.any_method || request.method.is_idempotent()) && request.upgrade.is_none()
    }

    /// Whether the request may be sent again after this fault.
    pub(super) fn after(&self, request: &Request, fault: &Fault) -> bool {
        match fault.code().row().retry {
            Retry::Yes => true,
            Retry::IfIdempotent => self.is_resendable(request),
            Retry::No => false,
        }
    }

    /// Whether a response with this status asks for another attempt.
    pub(super) fn asks(&self, status: u16) -> bool {
        self.statuses.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// How long to wait before retry number `retry`, after a response with these fields. Who says
    /// `Retry-After` is believed: nothing where that is longer than any back-off (U-06).
    pub(super) fn wait(&self, retry: u16, fields: &Fields, random: f64) -> Option<Duration> {
        let wait = self.backoff.wait(retry, random);
        match fields.get(Known::RetryAfter) {
            None => Some(wait),
            Some(value) => {
                let asked = retry_after(value, SystemTime::now())?;
                (asked <= self.backoff.most).then(|| wait.max(asked))
            }
        }
    }
}

/// The value of `Retry-After`: seconds or a date (RFC 9110 §10.2.3).
fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_when_to_come_back_is_believed() {
        let ms = Duration::from_millis;
        for (most, value, expected) in [
            (250, None, Some(25)),
            (250, Some("0"), Some(25)),
            (250, Some("1"), None),
            (1000, Some("1"), Some(1000)),
            (1000, Some("2"), None),
            (250, Some("Thu, 01 Jan 1970 00:00:00 GMT"), Some(25)),
            (250, Some("Fri, 31 Dec 9999 23:59:59 GMT"), None),
            (250, Some("soon"), None),
            (250, Some("-1"), None),
        ] {
            let backoff = Backoff { base: ms(25), most: ms(most) };
            let retrying = Retrying { backoff, ..Retrying::default() };
            let mut fields = Fields::new();
            if let Some(value) = value {
                fields.set(Known::RetryAfter, value.as_bytes());
            }
            assert_eq!(retrying.wait(1, &fields, 1.0), expected.map(ms), "{most} {value:?}");
        }
    }

    #[test]
    fn statuses_are_asked_for_by_choice() {
        let retrying = Retrying { statuses: vec![(500, 599), (429, 429)], ..Retrying::default() };
        for (status, asks) in [(200, false), (429, true), (499, false), (500, true), (599, true)] {
            assert_eq!(retrying.asks(status), asks, "{status}");
        }
        assert!(!Retrying::default().asks(503));
    }
}
