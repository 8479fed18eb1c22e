//! A token in exchange for the client's (RFC 8693).

use std::sync::Arc;
use std::time::SystemTime;

use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;

use super::TokenExchange;
use crate::making::Making;
use crate::oauth::{Granted, Server};
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
        let lasts = granted.lasts.map_or(UNSAID, |lasts| lasts.as_secs() / 10 * 9);
        let until = now.saturating_add(i64::try_from(lasts).unwrap_or(i64::MAX));
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
