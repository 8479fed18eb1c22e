//! A token in exchange for the client's (RFC 8693).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;

use super::TokenExchange;
use crate::making::Making;
use crate::oauth::{Granted, Server};
use crate::token::jws::Jws;
use crate::token::place::{Place, Shown};
use crate::token::remembered::Remembered;
use crate::token::seconds;

pub(super) struct Exchanging {
    pub server: Server,
    memory: Arc<Memory>,
}

/// Goes on over reloads as long as the settings are the same.
struct Memory {
    settings: TokenExchange,
    /// What `Authorization` says, by the client's token.
    tokens: Remembered<str>,
}

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// How long a token is remembered of which the server does not say how long it is good, in seconds.
const UNSAID: u64 = 60;

impl Exchanging {
    pub(super) fn new(settings: &TokenExchange, server: Server, making: &mut Making<'_>) -> Self {
        let memory = making.keep(
            |kept: &Memory| kept.settings == *settings,
            || Memory {
                settings: settings.clone(),
                tokens: Remembered::new(settings.remember as usize),
            },
        );
        Exchanging { server, memory }
    }

    /// What `Authorization` is to say for this client.
    pub(super) async fn token(
        &self,
        exchange: &Exchange,
        request: &Request,
    ) -> Result<Arc<str>, Fault> {
        let Shown::One(_, shown) = Place::look(&[Place::bearer()], request) else {
            let fault = Fault::new(Code::Unauthenticated, "there is no token to exchange");
            return Err(fault.challenge("Bearer"));
        };
        let now = seconds(SystemTime::now());
        if let Some(token) = self.memory.tokens.get(&shown, now) {
            return Ok(token);
        }
        let text = std::str::from_utf8(&shown).ok();
        let Some(text) = text.filter(|text| text.bytes().all(|b| b.is_ascii_graphic())) else {
            let fault = Fault::new(Code::Unauthenticated, "the token to exchange is none");
            return Err(fault.challenge(r#"Bearer error="invalid_token""#));
        };
        let granted = Box::pin(self.exchange(exchange, text)).await?;
        let token: Arc<str> = format!("Bearer {}", granted.access).into();
        // nobody comes by it for longer than by its own
        let identified = exchange.identity.as_ref().and_then(|identity| identity.until);
        let until = remembered(granted.lasts, [identified, end_of(text)], now);
        self.memory.tokens.insert(&shown, token.clone(), until, now);
        Ok(token)
    }

    async fn exchange(&self, exchange: &Exchange, token: &str) -> Result<Granted, Fault> {
        let settings = &self.memory.settings;
        let mut form = vec![
            ("grant_type", GRANT),
            ("subject_token", token),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
        ];
        form.extend(settings.scope.iter().map(|scope| ("scope", scope.as_str())));
        form.extend(settings.audience.iter().map(|audience| ("audience", audience.as_str())));
        let answer = self.server.ask_for(exchange, &form).await;
        let granted = answer.and_then(|answer| Ok(Granted::of(&answer)?));
        granted.map_err(|failed| match failed.refused {
            // RFC 8693 §2.2.2: the token itself is not good for that
            true => Fault::new(Code::Unauthenticated, failed.why)
                .challenge(r#"Bearer error="invalid_token""#),
            false => Fault::new(Code::AuthorityUnavailable, failed.why),
        })
    }
}

/// Up to which second a token is remembered: until a tenth of its time is left, and not longer than the
/// client's own is good.
fn remembered(lasts: Option<Duration>, ends: [Option<i64>; 2], now: i64) -> i64 {
    let lasts = lasts.map_or(UNSAID, |lasts| lasts.as_secs() / 10 * 9);
    let until = now.saturating_add(i64::try_from(lasts).unwrap_or(i64::MAX));
    ends.into_iter().flatten().fold(until, i64::min)
}

/// When a token ends by its own word. It is believed by whoever has exchanged it, and here only as far as
/// it shortens a time.
fn end_of(token: &str) -> Option<i64> {
    let claims = Jws::parse(token.as_bytes()).ok()?.claims().ok()?;
    let end = claims.get("exp")?;
    end.as_i64().or_else(|| end.as_f64().map(|seconds| seconds as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gw_15_no_exchanged_token_outlives_the_clients_own() {
        let hour = Some(Duration::from_secs(3600));
        for (lasts, ends, expected) in [
            (hour, [None, None], 1000 + 3240),
            (None, [None, None], 1000 + 60),
            (hour, [None, Some(1100)], 1100),
            (hour, [Some(1050), Some(1100)], 1050),
            (hour, [Some(9000), None], 1000 + 3240),
            (hour, [None, Some(900)], 900),
            (Some(Duration::MAX), [None, None], i64::MAX),
        ] {
            assert_eq!(remembered(lasts, ends, 1000), expected, "{lasts:?} {ends:?}");
        }
        let token = |claims: &str| {
            let part = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
            format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(claims), part("x"))
        };
        for (token, expected) in [
            (token(r#"{"exp":1100}"#), Some(1100)),
            (token(r#"{"exp":1100.5}"#), Some(1100)),
            (token(r#"{"sub":"ann"}"#), None),
            ("opaque".to_owned(), None),
        ] {
            assert_eq!(end_of(&token), expected, "{token}");
        }
    }
}
