//! Whether times fit into each other, and limits into what there is.

use transom_proxy::codec::head::HeadLimits;
use transom_settings::{ByteSize, Duration, Limit, Rate, Span, Spanned};

use super::Check;
use crate::config::{Limits, Timeouts};

/// What all of a head may have.
const MOST: ByteSize = ByteSize(HeadLimits::MOST as u64);

impl Check<'_> {
    /// A part of an exchange that may take longer than the whole never ends by its own timeout.
    pub(super) fn nesting(&mut self, timeouts: &Timeouts, path: &str) {
        let Limit::At(whole) = timeouts.request.value else { return };
        let parts = [
            ("connect", timeouts.connect),
            ("response", timeouts.response),
            ("response-idle", timeouts.response_idle),
        ];
        for (name, part) in parts {
            // a default that does not fit was not meant, the shorter whole was
            if part.span == Span::NOWHERE {
                continue;
            }
            if let Limit::At(time) = part.value
                && time >= whole
            {
                let what = format!("`{name}` of {time} does not fit into `request` of {whole}");
                self.error(part.span, format!("{path}.{name}"), what)
                    .note(timeouts.request.span, "the whole exchange is limited here")
                    .hint(format!("make it less than {whole}"))
                    .done();
            }
        }
    }

    /// What is given up first must begin first.
    pub(super) fn overload(&mut self) {
        let overload = &self.config.overload;
        if let Limit::At(abort) = overload.abort.value
            && abort < Duration::seconds(1)
        {
            let what = format!("a worker may well be late for {abort}");
            self.error(overload.abort.span, "overload.abort", what)
                .hint("write a second or more, or `off`")
                .done();
        }
        self.rate(&overload.connection_rate, "overload.connection-rate".to_owned());
        let pairs = [
            ("tight", overload.tight, "shed", overload.shed),
            ("shed", overload.shed, "close", overload.close),
        ];
        for (first, lower, second, higher) in pairs {
            if lower.value > higher.value {
                let place = [lower.span, higher.span].into_iter().find(|s| *s != Span::NOWHERE);
                let what = format!("`{first}` of {lower} comes after `{second}` of {higher}");
                self.error(place.unwrap_or_default(), format!("overload.{first}"), what)
                    .hint("they rise: `tight`, `shed`, `close`")
                    .done();
            }
        }
    }

    pub(super) fn rates(&mut self, limits: &Limits, path: &str) {
        let rates = [
            ("connection-rate", limits.connection_rate),
            ("connection-rate-per-client", limits.connection_rate_per_client),
            ("request-rate-per-client", limits.request_rate_per_client),
        ];
        for (key, rate) in rates {
            self.rate(&rate, format!("{path}.{key}"));
        }
    }

    fn rate(&mut self, rate: &Spanned<Limit<Rate>>, path: String) {
        if let Limit::At(Rate { count: 0, .. }) = rate.value {
            self.error(rate.span, path, "a rate of nothing lets nobody pass")
                .hint("write `off` for no limit, or name in `clients` who may connect")
                .done();
        }
    }

    /// A head is read into one buffer, and no limit may promise more than that holds.
    pub(super) fn heads(&mut self, limits: &Limits, path: &str) {
        let (line, headers) = (&limits.request_line, &limits.headers);
        let both = line.bytes().saturating_add(headers.bytes());
        if both > MOST.bytes() {
            let (key, place) = match headers.span {
                Span::NOWHERE => ("request-line", line.span),
                span => ("headers", span),
            };
            let what = format!(
                "`request-line` of {line} and `headers` of {headers} are more than {MOST} together"
            );
            self.error(place, format!("{path}.{key}"), what)
                .hint(format!("a head may have {MOST}, make one of them less"))
                .done();
        }
        self.response_head(&limits.response_headers, path);
    }

    pub(super) fn response_head(&mut self, limit: &Spanned<ByteSize>, path: &str) {
        if limit.value > MOST {
            let what = format!("`response-headers` of {limit} is more than {MOST}");
            self.error(limit.span, format!("{path}.response-headers"), what)
                .hint(format!("make it {MOST} or less"))
                .done();
        }
    }
}
