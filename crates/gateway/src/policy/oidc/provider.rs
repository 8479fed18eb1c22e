//! What a provider says of itself (OpenID Connect Discovery 1.0), its keys, and its tokens.
//!
//! All of it is asked for by the few requests that need it: logins and refreshed sessions. What was
//! said is kept, and goes on while the provider is away.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;
use transom_proxy::exchange::Exchange;
use transom_proxy::message::Method;
use transom_settings::json::{Map, Value as Json};
use transom_settings::{Target, Url};

use super::Oidc;
use crate::call::{self, Called, Caller};
use crate::content::strict;
use crate::making::Making;
use crate::oauth::{Failed, Granted, LONGEST, Server};
use crate::token::algorithm::Algorithm;
use crate::token::claims::Rules;
use crate::token::jws::Jws;
use crate::token::keys::Keys;
use crate::token::seconds;

/// How old what is known may become before it is asked for anew.
const FRESH: Duration = Duration::from_secs(600);

/// For how long nobody asks a provider that has not answered.
const AGAIN: Duration = Duration::from_secs(10);

/// What a provider has said. Goes on over reloads.
pub(super) struct Known {
    provider: Url,
    metadata: ArcSwapOption<(Instant, Metadata)>,
    /// When it was last asked for its metadata in vain, and why that was.
    missed: ArcSwapOption<(Instant, String)>,
    /// Who asks for it: one at a time, for all who wait.
    asking: Mutex<()>,
    keys: ArcSwapOption<(Instant, Keys)>,
}

impl Known {
    pub(super) fn of(settings: &Oidc) -> Self {
        Known {
            provider: settings.provider.clone(),
            metadata: ArcSwapOption::empty(),
            missed: ArcSwapOption::empty(),
            asking: Mutex::new(()),
            keys: ArcSwapOption::empty(),
        }
    }

    pub(super) fn is_of(&self, settings: &Oidc) -> bool {
        self.provider == settings.provider
    }

    /// What is known of it, or why it is not; nothing where it should be asked.
    fn metadata(&self, now: Instant) -> Option<Result<Metadata, String>> {
        let (known, missed) = (self.metadata.load_full(), self.missed.load_full());
        let is_recent = |at: Instant, time| now.saturating_duration_since(at) < time;
        let missed = missed.filter(|missed| is_recent(missed.0, AGAIN));
        match (known, missed) {
            (Some(known), missed) if missed.is_some() || is_recent(known.0, FRESH) => {
                Some(Ok(known.1.clone()))
            }
            (None, Some(missed)) => Some(Err(missed.1.clone())),
            _ => None,
        }
    }
}

/// Where a provider has what.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub issuer: String,
    /// Browsers are sent there.
    pub authorization: String,
    pub end_session: Option<String>,
    token: String,
    keys: String,
}

/// How its addresses are called.
pub(super) struct Calls {
    own: Arc<Caller>,
    token: Arc<Caller>,
    keys: Arc<Caller>,
}

impl Calls {
    pub(super) fn new(settings: &Oidc, making: &mut Making<'_>) -> Option<Self> {
        let timeout = settings.timeout.get();
        let mut caller = |url: &Url, key| {
            let destination = making.destination(&url.target, key)?;
            Some(Arc::new(Caller::new(destination, timeout, LONGEST)))
        };
        let own = caller(&settings.provider, "provider")?;
        let token = match &settings.token {
            Some(url) => caller(url, "token")?,
            None => own.clone(),
        };
        let keys = match &settings.keys {
            Some(url) => caller(url, "keys")?,
            None => own.clone(),
        };
        Some(Calls { own, token, keys })
    }
}

pub(super) struct Provider {
    pub settings: Oidc,
    pub calls: Calls,
    pub known: Arc<Known>,
}

impl Provider {
    /// Where it has what.
    ///
    /// # Errors
    /// Why that is not known.
    pub(super) async fn metadata(&self, exchange: &Exchange) -> Result<Metadata, String> {
        if let Some(known) = self.known.metadata(exchange.local.worker.now()) {
            return known;
        }
        let _turn = self.known.asking.lock().await;
        // what somebody else has found out meanwhile
        let now = exchange.local.worker.now();
        if let Some(known) = self.known.metadata(now) {
            return known;
        }
        match self.discover(exchange).await {
            Ok(metadata) => {
                self.known.metadata.store(Some(Arc::new((now, metadata.clone()))));
                Ok(metadata)
            }
            Err(why) => {
                let missed = (exchange.local.worker.now(), why.clone());
                self.known.missed.store(Some(Arc::new(missed)));
                let known = self.known.metadata.load_full();
                known.map(|known| known.1.clone()).ok_or(why)
            }
        }
    }

    async fn discover(&self, exchange: &Exchange) -> Result<Metadata, String> {
        let provider = &self.settings.provider;
        let path =
            format!("{}/.well-known/openid-configuration", provider.path.trim_end_matches('/'));
        let url = Url { path, ..provider.clone() };
        let said = get(&self.calls.own, exchange, &url).await?;
        let said = strict::parse(&said.body).map_err(|error| format!("{url}: {error}"))?;
        let text = |name: &str| said.get(name).and_then(Json::as_str).map(str::to_owned);
        let needed = |name: &str| text(name).ok_or_else(|| format!("{url} does not say `{name}`"));
        let issuer = needed("issuer")?;
        let own = provider.to_string();
        // OpenID Connect Discovery 1.0 §4.3: it must be the one that was asked for
        let same = issuer.trim_end_matches('/') == own.trim_end_matches('/');
        if !same && !matches!(provider.target.value, Target::Pool(_)) {
            return Err(format!("{url} speaks for `{issuer}`"));
        }
        Ok(Metadata {
            issuer,
            authorization: needed("authorization_endpoint")?,
            end_session: text("end_session_endpoint"),
            token: needed("token_endpoint")?,
            keys: needed("jwks_uri")?,
        })
    }

    /// An address that the provider names, as far as the file lets us dial it.
    fn address(&self, written: Option<&Url>, named: &str, key: &str) -> Result<Url, String> {
        if let Some(url) = written {
            return Ok(url.clone());
        }
        let provider = &self.settings.provider;
        let url = Url::parse(named).map_err(|refusal| refusal.what)?;
        let same = url.target.value == provider.target.value;
        if !same && !matches!(provider.target.value, Target::Pool(_)) {
            return Err(format!("the provider has its {key} at {named}: name it with `{key}`"));
        }
        let (target, authority) = (provider.target.clone(), provider.authority.clone());
        Ok(Url { target, authority, ..url })
    }

    /// Asks for tokens.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn tokens(
        &self,
        exchange: &Exchange,
        metadata: &Metadata,
        form: &[(&str, &str)],
    ) -> Result<Granted, Failed> {
        let server = Server {
            url: self.address(self.settings.token.as_ref(), &metadata.token, "token")?,
            client: self.settings.client.clone(),
            caller: self.calls.token.clone(),
        };
        Ok(Granted::of(&server.ask_for(exchange, form).await?)?)
    }

    /// The claims of an identity token that is for us (OpenID Connect Core 1.0 §3.1.3.7).
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub(super) async fn claims(
        &self,
        exchange: &Exchange,
        metadata: &Metadata,
        token: &str,
        nonce: Option<&str>,
    ) -> Result<Map<String, Json>, String> {
        let jws = Jws::parse(token.as_bytes()).map_err(|why| why.to_string())?;
        let keys = self.keys(exchange, metadata, false).await?;
        let mut checked = keys.1.verify(&jws).map(|_| ());
        if checked.is_err() && keys.1.may_lack(&jws) {
            let keys = self.keys(exchange, metadata, true).await?;
            checked = keys.1.verify(&jws).map(|_| ());
        }
        checked.map_err(|why| why.to_string())?;
        let claims = jws.claims().map_err(|why| why.to_string())?;
        let client = &self.settings.client.id;
        let rules = Rules {
            issuers: vec![metadata.issuer.clone()],
            audiences: vec![client.clone()],
            required: ["exp", "iat", "sub"].map(str::to_owned).to_vec(),
            kinds: vec!["jwt".to_owned()],
            leeway: 60,
        };
        let now = seconds(SystemTime::now());
        rules.judge(&claims, jws.kind.as_deref(), now).map_err(|why| why.to_string())?;
        let text = |name: &str| claims.get(name).and_then(Json::as_str);
        if text("azp").is_some_and(|party| party != client) {
            return Err("it was issued to somebody else".to_owned());
        }
        if nonce.is_some_and(|nonce| text("nonce") != Some(nonce)) {
            return Err("it is of another login".to_owned());
        }
        Ok(claims)
    }

    async fn keys(
        &self,
        exchange: &Exchange,
        metadata: &Metadata,
        anew: bool,
    ) -> Result<Arc<(Instant, Keys)>, String> {
        let now = exchange.local.worker.now();
        let known = self.known.keys.load_full();
        if let Some(known) = &known
            && now.saturating_duration_since(known.0) < FRESH
            && !anew
        {
            return Ok(known.clone());
        }
        let url = self.address(self.settings.keys.as_ref(), &metadata.keys, "keys")?;
        let fetched = get(&self.calls.keys, exchange, &url).await;
        let allowed: Vec<_> =
            Algorithm::ALL.into_iter().filter(|each| each.hmac().is_none()).collect();
        match (fetched.and_then(|called| Keys::of_jwks(&called.body, &allowed)), known) {
            (Ok((keys, _)), _) => {
                let keys = Arc::new((now, keys));
                self.known.keys.store(Some(keys.clone()));
                Ok(keys)
            }
            (Err(_), Some(known)) => Ok(known),
            (Err(why), None) => Err(why),
        }
    }
}

async fn get(caller: &Caller, exchange: &Exchange, url: &Url) -> Result<Called, String> {
    let mut request = call::request(Method::Get, url);
    request.fields.append("Accept", b"application/json");
    let called = caller.call_for(exchange, request).await;
    let called = called.map_err(|fault| format!("{url}: {fault}"))?;
    match called.status {
        200 => Ok(called),
        status => Err(format!("{url} answers {status}")),
    }
}
