//! Logging in and out: the authorization code flow (OpenID Connect Core 1.0 §3.1) with PKCE
//! (RFC 7636), bound to the browser that has begun it by a sealed cookie (RFC 9700 §4.7).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use transom_proxy::exchange::Exchange;
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::Known;
use transom_proxy::message::{Method, Request, Response};
use transom_settings::Duration;
use transom_settings::json::{Value as Json, json};

use super::cookies::{self, Rules};
use super::provider::Provider;
use super::session::{Kept, Session};
use super::{Oidc, Sessions};
use crate::content::strict;
use crate::oauth::{Failed, Granted, escape};
use crate::pairs;
use crate::seal::Seal;
use crate::token::reading::Reading;
use crate::token::seconds;

pub(super) struct Login {
    pub settings: Oidc,
    pub provider: Provider,
    pub sessions: Seal,
    pub logins: Seal,
    pub opened: Arc<Sessions>,
    pub reading: Reading,
}

/// How long a provider that did not answer is not asked for sessions, in seconds.
const AGAIN: i64 = 10;

/// What a request is to a login.
pub(super) enum Outcome {
    Nothing,
    Answer(Box<Response>),
    Fault(Fault),
    Session {
        session: Arc<Session>,
        /// What `Set-Cookie` is to say.
        keep: Vec<String>,
    },
}

/// A login that has begun, as its cookie has it.
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    target: String,
}

impl Login {
    pub(super) async fn look(&self, exchange: &Exchange, request: &Request) -> Outcome {
        let now = seconds(SystemTime::now());
        let answer = match &*request.path {
            path if path == self.settings.callback => self.finish(exchange, request, now).await,
            path if path == self.settings.logout => Ok(self.end(exchange, request, now).await),
            _ => {
                if let Some((session, keep)) = self.session(exchange, request, now).await {
                    return Outcome::Session { session, keep };
                }
                if !is_page(request) || exchange.identity.is_some() {
                    return Outcome::Nothing;
                }
                self.begin(exchange, request, now).await
            }
        };
        match answer {
            Ok(response) => Outcome::Answer(Box::new(response)),
            Err(fault) => Outcome::Fault(fault),
        }
    }

    /// Sends the browser to the provider.
    async fn begin(
        &self,
        exchange: &Exchange,
        request: &Request,
        now: i64,
    ) -> Result<Response, Fault> {
        let metadata = self.provider.metadata(exchange).await.map_err(unavailable)?;
        let begun = Begun {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            target: target(exchange),
        };
        let until = now.saturating_add(whole(self.settings.login));
        let sealed = self.logins.seal(begun.write(until).as_bytes()).ok_or_else(broken)?;
        let name = self.login_cookie();
        let rules = self.rules(exchange, &name, self.settings.login.get().as_secs());
        let cookies = rules.set(&sealed, &request.fields).ok_or_else(broken)?;
        let challenge = digest(&SHA256, begun.verifier.as_bytes());
        let to = with_query(
            &metadata.authorization,
            &[
                ("response_type", "code"),
                ("client_id", &self.settings.client.id),
                ("redirect_uri", &self.callback(exchange)),
                ("scope", &self.settings.scopes.join(" ")),
                ("state", &begun.state),
                ("nonce", &begun.nonce),
                ("code_challenge", &BASE64URL_NOPAD.encode(challenge.as_ref())),
                ("code_challenge_method", "S256"),
            ],
        );
        Ok(redirect(&to, &cookies))
    }

    /// The browser is back.
    async fn finish(
        &self,
        exchange: &Exchange,
        request: &Request,
        now: i64,
    ) -> Result<Response, Fault> {
        let name = self.login_cookie();
        let wrong = |why: String| Fault::new(Code::BadRequest, format!("at the callback: {why}"));
        let cookie = cookies::value(&name, &request.fields);
        let begun = cookie.and_then(|cookie| Begun::read(&self.logins.open(&cookie)?, now));
        let begun = begun.ok_or_else(|| wrong("no login of this browser has begun".to_owned()))?;
        let query = request.query.as_deref().unwrap_or_default();
        let said = |name: &str| {
            let mut values =
                pairs::of_query(query).filter(|(other, _)| **other == *name.as_bytes());
            let (_, value) = values.next()?;
            values.next().is_none().then(|| String::from_utf8_lossy(&value).into_owned())
        };
        if said("state").as_deref() != Some(&begun.state) {
            return Err(wrong("the state is of another login".to_owned()));
        }
        if let Some(error) = said("error") {
            let error: String = error.chars().filter(char::is_ascii_graphic).take(80).collect();
            return Err(Fault::new(Code::Forbidden, format!("the provider says {error}")));
        }
        let metadata = self.provider.metadata(exchange).await.map_err(unavailable)?;
        // RFC 9207: an answer of another provider
        if said("iss").is_some_and(|issuer| issuer != metadata.issuer) {
            return Err(wrong("the answer is of another provider".to_owned()));
        }
        let code = said("code").ok_or_else(|| wrong("there is no code".to_owned()))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &self.callback(exchange)),
            ("code_verifier", &begun.verifier),
        ];
        let granted = self.provider.tokens(exchange, &metadata, &form).await;
        let granted = granted.map_err(|failed| match failed.refused {
            true => wrong(failed.why),
            false => unavailable(failed.why),
        })?;
        let Some(id) = &granted.id else {
            return Err(unavailable("the provider gives no identity token".to_owned()));
        };
        let claims = self.provider.claims(exchange, &metadata, id, Some(&begun.nonce)).await;
        let claims = claims.map_err(|why| {
            Fault::new(Code::Unauthenticated, format!("the identity token: {why}"))
        })?;
        let until = now.saturating_add(whole(self.settings.session));
        let kept = Kept {
            claims,
            id: id.clone(),
            renew: renewed(&granted, now),
            access: granted.access,
            refresh: granted.refresh,
            until,
        };
        let mut cookies = self.keep(exchange, request, &kept, now).ok_or_else(|| {
            Fault::new(Code::Internal, "what the provider says is too long for cookies")
        })?;
        cookies.extend(self.rules(exchange, &name, 0).forget(&request.fields));
        Ok(redirect(&begun.target, &cookies))
    }

    /// Forgets the session, here and at the provider (OpenID Connect RP-Initiated Logout 1.0).
    async fn end(&self, exchange: &Exchange, request: &Request, now: i64) -> Response {
        let name = &self.settings.cookie;
        let cookies = self.rules(exchange, name, 0).forget(&request.fields);
        let kept = self.opened(request, now);
        let after = format!("{}{}", self.base(exchange), self.settings.after);
        let metadata = self.provider.metadata(exchange).await.ok();
        let end = metadata.and_then(|metadata| metadata.end_session);
        let to = match (end, kept) {
            (Some(end), Some(session)) => with_query(
                &end,
                &[
                    ("id_token_hint", &session.kept.id),
                    ("client_id", &self.settings.client.id),
                    ("post_logout_redirect_uri", &after),
                ],
            ),
            _ => self.settings.after.clone(),
        };
        redirect(&to, &cookies)
    }

    /// The session of a request, and what the browser is to keep of it from now on.
    async fn session(
        &self,
        exchange: &Exchange,
        request: &Request,
        now: i64,
    ) -> Option<(Arc<Session>, Vec<String>)> {
        let session = self.opened(request, now)?;
        let Some(refresh) = session.kept.refresh.as_deref().filter(|_| session.kept.renew <= now)
        else {
            return Some((session, Vec::new()));
        };
        // one at a time: a provider may take a second use of a refresh token for a theft
        let turn = self.opened.turn(refresh).lock().await;
        if let Some(newer) = self.opened.renewed.get(refresh.as_bytes(), now) {
            let keep = self.keep(exchange, request, &newer.kept, now).unwrap_or_default();
            return Some((newer, keep));
        }
        // the provider is away: nobody is thrown out for that, nor waits for it one after the other
        let again = &self.opened.asked_again;
        if seconds(SystemTime::now()) < again.load(Ordering::Relaxed) {
            return Some((session, Vec::new()));
        }
        let outcome = Box::pin(self.renew(exchange, &session.kept, refresh, now)).await;
        let newer = match outcome {
            Ok(kept) => Arc::new(kept.session(&self.reading)?),
            Err(failed) if failed.refused => return None,
            Err(_) => {
                let later = seconds(SystemTime::now()).saturating_add(AGAIN);
                again.store(later, Ordering::Relaxed);
                return Some((session, Vec::new()));
            }
        };
        self.opened.renewed.insert(refresh.as_bytes(), newer.clone(), now + 60, now);
        drop(turn);
        let keep = self.keep(exchange, request, &newer.kept, now).unwrap_or_default();
        Some((newer, keep))
    }

    async fn renew(
        &self,
        exchange: &Exchange,
        kept: &Kept,
        refresh: &str,
        now: i64,
    ) -> Result<Kept, Failed> {
        let metadata = self.provider.metadata(exchange).await?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        let granted = self.provider.tokens(exchange, &metadata, &form).await?;
        let mut newer = Kept { renew: renewed(&granted, now), ..kept.clone() };
        if let Some(id) = &granted.id {
            let claims = self.provider.claims(exchange, &metadata, id, None).await?;
            // OpenID Connect Core 1.0 §12.2
            if claims.get("sub") != kept.claims.get("sub") {
                let why = "the identity token speaks of somebody else".to_owned();
                return Err(Failed { refused: true, why });
            }
            (newer.claims, newer.id) = (claims, id.clone());
        }
        newer.access = granted.access;
        newer.refresh = granted.refresh.or(newer.refresh);
        Ok(newer)
    }

    /// What the cookie of a request holds.
    fn opened(&self, request: &Request, now: i64) -> Option<Arc<Session>> {
        let sealed = cookies::value(&self.settings.cookie, &request.fields)?;
        if let Some(session) = self.opened.opened.get(&sealed, now) {
            return Some(session);
        }
        let kept = Kept::read(&self.sessions.open(&sealed)?).filter(|kept| now < kept.until)?;
        let until = kept.until;
        let session = Arc::new(kept.session(&self.reading)?);
        self.opened.opened.insert(&sealed, session.clone(), until, now);
        Some(session)
    }

    /// What `Set-Cookie` says so that the browser keeps a session.
    fn keep(
        &self,
        exchange: &Exchange,
        request: &Request,
        kept: &Kept,
        now: i64,
    ) -> Option<Vec<String>> {
        let sealed = self.sessions.seal(kept.write().as_bytes())?;
        let lasts = u64::try_from(kept.until.saturating_sub(now)).unwrap_or(0);
        self.rules(exchange, &self.settings.cookie, lasts).set(&sealed, &request.fields)
    }

    fn rules<'a>(&self, exchange: &Exchange, name: &'a str, lasts: u64) -> Rules<'a> {
        Rules { name, secure: self.base(exchange).starts_with("https://"), lasts }
    }

    fn login_cookie(&self) -> String {
        format!("{}_login", self.settings.cookie)
    }

    /// How browsers reach us.
    fn base(&self, exchange: &Exchange) -> String {
        match &self.settings.public {
            Some(public) => format!("{}://{}", public.scheme(), public.authority),
            None => format!("{}://{}", exchange.asked.scheme, exchange.asked.authority),
        }
    }

    fn callback(&self, exchange: &Exchange) -> String {
        format!("{}{}", self.base(exchange), self.settings.callback)
    }
}

impl Begun {
    fn write(&self, until: i64) -> String {
        json!({
            "state": self.state, "nonce": self.nonce, "verifier": self.verifier,
            "target": self.target, "until": until,
        })
        .to_string()
    }

    fn read(text: &[u8], now: i64) -> Option<Self> {
        let begun = strict::parse(text).ok()?;
        let text = |name: &str| begun.get(name).and_then(Json::as_str).map(str::to_owned);
        let until = begun.get("until")?.as_i64()?;
        let (state, nonce) = (text("state")?, text("nonce")?);
        let begun = Begun { state, nonce, verifier: text("verifier")?, target: text("target")? };
        (now < until).then_some(begun)
    }
}

/// A page that a person looks at: nothing else is sent to log in, since nothing else could.
fn is_page(request: &Request) -> bool {
    let html = |value: &[u8]| value.to_ascii_lowercase().windows(9).any(|w| w == b"text/html");
    let mode = request.fields.get("sec-fetch-mode");
    request.method == Method::Get
        && request.fields.all(Known::Accept).any(html)
        && mode.is_none_or(|mode| mode == b"navigate")
}

/// The page that was asked for, on this site.
fn target(exchange: &Exchange) -> String {
    let path = &exchange.asked.path;
    let whole = match exchange.asked.query.as_deref() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_string(),
    };
    // `//host` and `/\host` are other sites for browsers
    let ours = whole.starts_with('/') && !whole[1..].starts_with(['/', '\\']);
    if ours && whole.len() <= 2_000 { whole } else { "/".to_owned() }
}

fn redirect(to: &str, cookies: &[String]) -> Response {
    let mut response = Response::new(302);
    response.fields.append(Known::Location, to.as_bytes());
    response.fields.append(Known::CacheControl, b"no-store");
    for cookie in cookies {
        response.fields.append(Known::SetCookie, cookie.as_bytes());
    }
    response
}

fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = url.to_owned();
    for (index, (name, value)) in pairs.iter().enumerate() {
        out.push(if index == 0 && !url.contains('?') { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

/// 256 bits that nobody can guess.
fn random() -> Result<String, Fault> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| broken())?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

fn renewed(granted: &Granted, now: i64) -> i64 {
    let lasts = granted.lasts.map_or(i64::MAX, |lasts| i64::try_from(lasts.as_secs()).unwrap_or(0));
    now.saturating_add(lasts)
}

fn whole(time: Duration) -> i64 {
    i64::try_from(time.get().as_secs()).unwrap_or(i64::MAX)
}

fn unavailable(why: String) -> Fault {
    Fault::new(Code::AuthorityUnavailable, why)
}

fn broken() -> Fault {
    Fault::new(Code::Internal, "a cookie cannot be sealed")
}
