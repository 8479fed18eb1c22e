//! # introspection
//!
//! **What it does.** Lets requests pass whose token the server that has issued it calls active
//! (RFC 7662): for opaque tokens, which say nothing by themselves. What the server tells of the token
//! becomes who it is, as with `jwt`.
//!
//! **When it runs.** Stage `identify`. With others of that stage on one route, the first whose
//! credential is shown decides; see [identity](../../identity.md).
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   opaque:
//!     introspection:
//!       url: https://id.example/introspect
//!       client: { id: gateway, secret: "${SECRET}" }
//!       audience: shop
//! ```
//!
//! **What the client sees.** 401 without a token, or with one that is not active (`unauthenticated`,
//! with `WWW-Authenticate: Bearer`); 400 with more than one; 503 while the server does not answer
//! (`authority-unavailable`).
//!
//! **What to know at night.**
//!
//! - What the server calls active is valid: its clock counts. Times in its answer that are a minute off, as clocks
//!   may differ, are no reason to refuse a token that was made just now.
//! - A token is remembered for `remember`, or until it expires if that is sooner: a revoked one is
//!   good for so long. What is not active is remembered for a tenth of that, in places of its own.
//! - `transom token revoke` refuses tokens by what the server tells of them, such as `sub` or `jti`, at once.
//! - With a `jwt` on the same route, write the `jwt` first and give each its place (`from`): a token
//!   that is shown has to be right for the first that looks there.

use std::sync::Arc;
use std::time::SystemTime;

use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::json::{Map as Object, Value as Json};
use transom_settings::{ByteSize, Duration, HeaderName, Map, Spanned, Target, Url, settings};

use crate::call::Caller;
use crate::consumer::joined::{Joined, Joining};
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;
use crate::oauth::{Client, LONGEST, Server};
use crate::token::claims::Rules;
use crate::token::place::{Place, Shown};
use crate::token::reading::{Headers, Reading};
use crate::token::remembered::Remembered;
use crate::token::revoked::Revoked;
use crate::token::seconds;

settings! {
    /// Lets requests pass whose token its issuer calls active.
    pub struct Introspection {
        /// Where tokens are asked about: a URL, or a pool and a path.
        pub url: Url,
        /// Who we are there.
        pub client: Client,
        /// For whom tokens must be (`aud`). Default: for anybody.
        pub audience: Vec<String> = Vec::new(),
        /// Where tokens stand. Two in one request are refused.
        pub from: Vec<Place> = vec![Place::bearer()],
        /// Whether the endpoint does not get the token.
        pub hide: bool = false,
        /// What names who it is. Where it is not there: `username`, or else `client_id`.
        pub name: String = "sub".to_owned(),
        /// What lists groups or roles.
        pub groups: Option<String> = None,
        /// What names the plan.
        pub plan: Option<String> = None,
        /// What follows where a consumer has the name that the server says: `ignore`, `join` (its plan and
        /// groups hold) or `require` (the same, and nobody else passes).
        pub consumers: Joining = Joining::Ignore,
        /// Fields that tell the endpoint what the server says. What clients send in them is removed.
        pub headers: Map<HeaderName, String> = Map::default(),
        /// How long the server may take.
        pub timeout: Duration = Duration::seconds(5),
        /// For how long what it says is remembered; in whole seconds.
        pub remember: Duration = Duration::seconds(60),
        /// How many tokens are remembered.
        pub most: u32 = 10_000,
        /// The longest token that is asked about.
        pub longest: ByteSize = ByteSize::kib(8),
    }
}

impl Kind for Introspection {
    const NAME: &'static str = "introspection";
    const SUMMARY: &'static str = "Lets requests pass whose token its issuer calls active.";
    const STAGE: Stage = Stage::Identify;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        vec![("url", &self.url.target)]
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let destination = making.destination(&self.url.target, "url")?;
        let memory = making.keep(
            |kept: &Memory| kept.settings == *self,
            || Memory {
                settings: self.clone(),
                active: Remembered::new(self.most as usize),
                inactive: Remembered::new(self.most as usize / 4),
            },
        );
        Some(Arc::new(Identify(Asker {
            server: Server {
                url: self.url.clone(),
                client: self.client.clone(),
                caller: Arc::new(Caller::new(destination, self.timeout.get(), LONGEST)),
            },
            rules: Rules {
                issuers: Vec::new(),
                audiences: self.audience.clone(),
                required: Vec::new(),
                kinds: Vec::new(),
                leeway: CLOCKS,
            },
            reading: Reading {
                name: self.name.clone(),
                groups: self.groups.clone(),
                scopes: None,
                plan: self.plan.clone(),
                headers: self.headers.iter().map(|(n, c)| (n.value.clone(), c.clone())).collect(),
            },
            joined: Joined { how: self.consumers, consumers: making.lender.consumers() },
            revoked: making.lender.revoked(),
            memory,
        })))
    }
}

/// By how many seconds the clock of the server may differ from ours.
const CLOCKS: i64 = 60;

/// What is remembered goes on over reloads as long as the settings are the same.
struct Memory {
    settings: Introspection,
    active: Remembered<Active>,
    inactive: Remembered<&'static str>,
}

struct Active {
    identity: Arc<Identity>,
    headers: Headers,
}

struct Asker {
    server: Server,
    rules: Rules,
    reading: Reading,
    joined: Joined,
    /// What the operator does not believe any more.
    revoked: Arc<Revoked>,
    memory: Arc<Memory>,
}

impl Asker {
    fn settings(&self) -> &Introspection {
        &self.memory.settings
    }

    async fn check(
        &self,
        exchange: &Exchange,
        request: &Request,
    ) -> Result<Option<Arc<Active>>, Fault> {
        let token = match Place::look(&self.settings().from, request) {
            Shown::One(_, token) => token,
            Shown::Nothing => return Ok(None),
            Shown::Many => {
                let fault = Fault::new(Code::BadRequest, "there is more than one token");
                return Err(fault.challenge(r#"Bearer error="invalid_request""#));
            }
        };
        let text = std::str::from_utf8(&token).ok();
        let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
        let Some(text) = text.filter(|text| text.len() <= self.settings().longest.len()) else {
            return Err(refused("the token is too long, or is none"));
        };
        let now = seconds(SystemTime::now());
        if let Some(active) = self.memory.active.get(&token, now) {
            return Ok(Some(active));
        }
        if let Some(why) = self.memory.inactive.get(&token, now) {
            return Err(refused(&why));
        }
        Box::pin(self.ask(exchange, text, now)).await.map(Some)
    }

    async fn ask(&self, exchange: &Exchange, token: &str, now: i64) -> Result<Arc<Active>, Fault> {
        let form = [("token", token), ("token_type_hint", "access_token")];
        let answer = self.server.ask_for(exchange, &form).await;
        let answer = answer.map_err(|failed| Fault::new(Code::AuthorityUnavailable, failed.why))?;
        let most = i64::try_from(self.settings().remember.get().as_secs()).unwrap_or(i64::MAX);
        match self.judge(answer, now) {
            Ok((active, until)) => {
                // beyond its end it is asked about each time
                let until = until.saturating_sub(CLOCKS).min(now.saturating_add(most));
                let active = Arc::new(active);
                self.memory.active.insert(token.as_bytes(), active.clone(), until, now);
                Ok(active)
            }
            Err(why) => {
                let until = now.saturating_add(most / 10);
                self.memory.inactive.insert(token.as_bytes(), Arc::new(why), until, now);
                Err(refused(why))
            }
        }
    }

    /// RFC 7662 §2.2.
    fn judge(&self, answer: Object<String, Json>, now: i64) -> Result<(Active, i64), &'static str> {
        if answer.get("active") != Some(&Json::Bool(true)) {
            return Err("the token is not active");
        }
        let until = self.rules.judge(&answer, None, now).map_err(|refused| match refused {
            crate::token::Refused::Claims(why) => why,
            _ => "what the server says cannot be read",
        })?;
        let headers = self.reading.headers(&answer);
        let other = ["username", "client_id"];
        let other = other.iter().find_map(|name| answer.get(*name)?.as_str()).map(Arc::from);
        let mut identity = self.reading.identity(answer, Introspection::NAME);
        if identity.name.is_empty() {
            identity.name = other.ok_or("the server does not say whose it is")?;
        }
        Ok((Active { identity: Arc::new(identity), headers }, until))
    }
}

impl Way for Asker {
    fn kind(&self) -> &'static str {
        Introspection::NAME
    }

    fn describe(&self) -> String {
        format!("a token that {} calls active", self.server.url)
    }

    fn challenge(&self) -> Option<&str> {
        Some("Bearer")
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.reading.headers.iter().map(|(name, _)| name.clone()).collect()
    }

    async fn find(&self, exchange: &mut Exchange, request: &mut Request) -> Found {
        match self.check(exchange, request).await {
            Ok(None) => Found::Nothing,
            Ok(Some(active))
                if self.revoked.names(&active.identity, seconds(SystemTime::now())) =>
            {
                Found::Wrong(refused("the token was revoked"))
            }
            Ok(Some(active)) => {
                self.reading.tell(&active.headers, &mut request.fields);
                self.joined.found(self, &active.identity)
            }
            Err(fault) => Found::Wrong(fault),
        }
    }

    fn hide(&self, exchange: &mut Exchange, request: &mut Request) {
        Place::leave(&self.settings().from, self.settings().hide, exchange, request);
    }
}

fn refused(why: &str) -> Fault {
    Fault::new(Code::Unauthenticated, why.to_owned()).challenge(r#"Bearer error="invalid_token""#)
}
