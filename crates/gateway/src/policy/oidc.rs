//! # oidc
//!
//! **What it does.** Sends people to log in at an OpenID Connect provider (authorization code with
//! PKCE) and knows them by a cookie from then on: sealed, so that it can neither be read nor changed,
//! and needing no store, so that any Transom with the same `secret`, `provider` and `client` takes it. Claims of
//! the identity token become who it is, as with `jwt`. Where the provider gives a refresh token, what it has said
//! is asked for anew whenever the access token ends.
//!
//! **When it runs.** Stage `identify`. Write it last: only pages are sent to log in (a `GET` whose
//! `Accept` has `text/html`); other requests without a session are left to the policies around it, or
//! get 401.
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   people:
//!     oidc:
//!       provider: https://id.example
//!       client: { id: shop, secret: "${SECRET}" }
//!       secret: at least 32 bytes, better from a file or the environment
//!       headers: { x-user: sub, x-mail: email }
//! ```
//!
//! **What the client sees.** 302 to the provider, back to `callback`, and to the page that was asked
//! for; 401 for what is no page (`unauthenticated`); 400 at `callback` for what does not fit a login
//! that this browser has begun (`bad-request`); 503 while the provider is needed and does not answer
//! (`authority-unavailable`). `logout` ends the session here and at the provider.
//!
//! **What to know at night.**
//!
//! - Register `https://HOST/oauth2/callback` at the provider (`callback`), and the page that `after`
//!   names for the way back from logging out. Where TLS ends before Transom, write `public`.
//! - The provider's token and key addresses must be on the host of `provider`; others are called only
//!   if `token` and `keys` name them: nothing that a provider says makes Transom dial a new host.
//! - `transom token revoke ada --claim sub` refuses who is known so from the next request on (401), `--claim sid` one
//!   session of the provider's: it is for the provider to let nobody log in again.
//! - A provider that does not say where it has what (its metadata) is asked again after 10 seconds, once for all who
//!   wait; meanwhile logins go by what it has said before, or are answered 503.
//! - A new `secret` ends all sessions. A session lasts `session` at most, whatever is refreshed.
//! - Large tokens make large cookies, cut into pieces of 3.8 KB. Raise `limits.headers` of the
//!   listener if browsers get 431.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::SystemTime;

use transom_proxy::chain::Next;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::Fault;
use transom_proxy::fields::Known;
use transom_proxy::message::Request;
use transom_proxy::policy::{Ahead, Answering, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{Duration, HeaderName, Map, Secret, Spanned, Target, Url, settings};

use crate::consumer::joined::{Joined, Joining};
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;
use crate::oauth::Client;
use crate::seal::Seal;
use crate::token::reading::Reading;
use crate::token::remembered::Remembered;
use crate::token::revoked::Revoked;
use crate::token::seconds;

mod cookies;
mod login;
mod provider;
mod session;

use login::{Login, Outcome};
use provider::{Calls, Known as KnownProvider, Provider};

settings! {
    /// Sends people to log in at an OpenID Connect provider.
    pub struct Oidc {
        /// The provider, as it calls itself (its issuer).
        pub provider: Url,
        /// Who we are there.
        pub client: Client,
        /// What cookies are sealed with: at least 32 bytes. The same for all that share sessions, which are of
        /// one provider and one client.
        pub secret: Spanned<Secret>,
        /// What we ask to know.
        pub scopes: Vec<String> = vec!["openid".to_owned()],
        /// The path to which the provider sends people back.
        pub callback: String = "/oauth2/callback".to_owned(),
        /// The path that logs out.
        pub logout: String = "/oauth2/logout".to_owned(),
        /// Where people get to who have logged out.
        pub after: String = "/".to_owned(),
        /// How browsers reach us, such as `https://shop.example`. Default: as they ask.
        pub public: Option<Url> = None,
        /// Where tokens are had, if that is on another host than the provider.
        pub token: Option<Url> = None,
        /// Where keys are had, if that is on another host than the provider.
        pub keys: Option<Url> = None,
        /// The name of the cookie.
        pub cookie: String = "transom_session".to_owned(),
        /// How long a session lasts.
        pub session: Duration = Duration::hours(8),
        /// How long a login may take.
        pub login: Duration = Duration::minutes(10),
        /// How long the provider may take to answer.
        pub timeout: Duration = Duration::seconds(5),
        /// Whether the endpoint gets the access token, in `Authorization`.
        pub relay: bool = false,
        /// The claim that names who it is.
        pub name: String = "sub".to_owned(),
        /// The claim that lists groups or roles.
        pub groups: Option<String> = None,
        /// The claim that names the plan.
        pub plan: Option<String> = None,
        /// What follows where a consumer has the name that the provider says: `ignore`, `join` (its plan and
        /// groups hold) or `require` (the same, and nobody else passes).
        pub consumers: Joining = Joining::Ignore,
        /// Fields that tell the endpoint what a claim says. What clients send in them is removed.
        pub headers: Map<HeaderName, String> = Map::default(),
    }
}

impl Kind for Oidc {
    const NAME: &'static str = "oidc";
    const SUMMARY: &'static str = "Sends people to log in at an OpenID Connect provider.";
    const STAGE: Stage = Stage::Identify;

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        let mut targets = vec![("provider", &self.provider.target)];
        targets.extend(self.token.iter().map(|url| ("token", &url.target)));
        targets.extend(self.keys.iter().map(|url| ("keys", &url.target)));
        targets
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        if !self.is_right(making) {
            return None;
        }
        let secret = self.secret.expose().as_bytes();
        // who has logged in elsewhere is nobody here, though the secret is the same
        let provider = self.provider.to_string();
        let here = [&*provider, &*self.client.id];
        let calls = Calls::new(self, making)?;
        let known =
            making.keep(|kept: &KnownProvider| kept.is_of(self), || KnownProvider::of(self));
        let sessions = making.keep(
            |kept: &Sessions| kept.settings == *self,
            || Sessions {
                settings: self.clone(),
                opened: Remembered::new(10_000),
                renewed: Remembered::new(10_000),
                turns: Default::default(),
                asked_again: AtomicI64::new(i64::MIN),
            },
        );
        let login = Login {
            settings: self.clone(),
            provider: Provider { settings: self.clone(), calls, known },
            sessions: Seal::new(secret, "oidc session", &here)?,
            logins: Seal::new(secret, "oidc login", &here)?,
            opened: sessions,
            reading: Reading {
                name: self.name.clone(),
                groups: self.groups.clone(),
                scopes: None,
                plan: self.plan.clone(),
                headers: self.headers.iter().map(|(n, c)| (n.value.clone(), c.clone())).collect(),
            },
        };
        let joined = Joined { how: self.consumers, consumers: making.lender.consumers() };
        let revoked = making.lender.revoked();
        Some(Arc::new(People(Identify(Guest { login: Arc::new(login), joined, revoked }))))
    }
}

/// Sessions that were opened. They go on over reloads as long as the settings are the same.
struct Sessions {
    settings: Oidc,
    /// By cookie.
    opened: Remembered<session::Session>,
    /// By the refresh token that was used up, for those who still come with it.
    renewed: Remembered<session::Session>,
    /// Whoever uses a refresh token waits for its turn.
    turns: [tokio::sync::Mutex<()>; 16],
    /// The second before which the provider is not asked again: it did not answer.
    asked_again: AtomicI64,
}

impl Sessions {
    fn turn(&self, refresh: &str) -> &tokio::sync::Mutex<()> {
        let sum: usize = refresh.bytes().map(usize::from).sum();
        &self.turns[sum % self.turns.len()]
    }
}

impl Oidc {
    fn is_right(&self, making: &mut Making<'_>) -> bool {
        let mut right = true;
        if self.secret.expose().len() < 32 {
            let what = format!("the secret has {} bytes", self.secret.expose().len());
            let hint = "write at least 32: `openssl rand -base64 48` makes such";
            making.error(self.secret.span, "secret", what, hint);
            right = false;
        }
        for (key, path) in [("callback", &self.callback), ("logout", &self.logout)] {
            let plain = |c: char| c.is_ascii_graphic() && !"?#%\"<>\\^`{|}".contains(c);
            if !path.starts_with('/') || path.starts_with("//") || !path.chars().all(plain) {
                let what = format!("`{path}` is no path of this site");
                making.error(making.place, key, what, "write a path such as `/oauth2/callback`");
                right = false;
            }
        }
        let token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.cookie.is_empty() || !self.cookie.chars().all(token) {
            let hint = "use letters, digits, `-`, `_` and `.`";
            making.error(making.place, "cookie", "this cannot be the name of a cookie", hint);
            right = false;
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            let hint = "add `openid`: without it the provider does not say who it is";
            making.error(making.place, "scopes", "there is no scope `openid`", hint);
            right = false;
        }
        right
    }
}

/// The policy: what a login finds out is handed to the rules of its stage, and what the browser is to
/// keep goes into the response.
struct People(Identify<Guest>);

struct Guest {
    login: Arc<Login>,
    joined: Joined,
    /// Whom the operator does not believe any more.
    revoked: Arc<Revoked>,
}

/// What was found out before the rules of the stage are asked.
struct Prepared(Option<Outcome>);

impl Policy for People {
    fn kind(&self) -> &'static str {
        Oidc::NAME
    }

    fn stage(&self) -> Stage {
        Oidc::STAGE
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.0.reserves()
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        // who is found already needs no login
        self.0.ahead(exchange, request)
    }

    fn handle<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        request: Box<Request>,
        next: Next,
    ) -> Answering<'a> {
        Box::pin(async move {
            let Identify(Guest { login, .. }) = &self.0;
            let outcome = Box::pin(login.look(exchange, &request)).await;
            let keep = match &outcome {
                Outcome::Session { keep, .. } => keep.clone(),
                _ => Vec::new(),
            };
            exchange.extensions.insert(Prepared(Some(outcome)));
            let mut response = self.0.handle(exchange, request, next).await?;
            for cookie in keep {
                response.fields.append(Known::SetCookie, cookie.as_bytes());
            }
            Ok(response)
        })
    }
}

impl Way for Guest {
    fn kind(&self) -> &'static str {
        Oidc::NAME
    }

    fn describe(&self) -> String {
        format!("a login at {}", self.login.settings.provider)
    }

    fn challenge(&self) -> Option<&str> {
        Some("Cookie")
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.login.reading.headers.iter().map(|(name, _)| name.clone()).collect()
    }

    async fn find(&self, exchange: &mut Exchange, request: &mut Request) -> Found {
        let prepared = exchange.extensions.get_or_insert_with(|| Prepared(None)).0.take();
        match prepared {
            None | Some(Outcome::Nothing) => Found::Nothing,
            Some(Outcome::Answer(response)) => Found::Answer(response),
            Some(Outcome::Fault(fault)) => Found::Wrong(fault),
            Some(Outcome::Session { session, .. })
                if self.revoked.names(&session.identity, seconds(SystemTime::now())) =>
            {
                Found::wrong(self, "the session was revoked")
            }
            Some(Outcome::Session { session, .. }) => {
                self.login.reading.tell(&session.headers, &mut request.fields);
                if self.login.settings.relay {
                    let value = format!("Bearer {}", session.access);
                    request.fields.set(Known::Authorization, value.as_bytes());
                }
                self.joined.found(self, &session.identity)
            }
        }
    }

    /// Endpoints have no use for the cookies of a session.
    fn hide(&self, _: &mut Exchange, request: &mut Request) {
        let name = self.login.settings.cookie.as_bytes();
        crate::pairs::remove_cookies(&mut request.fields, |other| other.starts_with(name));
    }
}
