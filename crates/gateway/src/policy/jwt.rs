//! # jwt
//!
//! **What it does.** Lets requests pass that bring a signed token (JWT, RFC 7519) of an issuer that
//! you trust, and tells the rest of the chain and the endpoint who it is: the identity has its name
//! from the claim `sub`, its scopes from `scope` or `scp`, groups and plan from claims that you name.
//!
//! **When it runs.** Stage `identify`. With others of that stage on one route, the first whose
//! credential is shown decides; see [identity](../../identity.md).
//!
//! **Example.**
//!
//! ```yaml
//! policies:
//!   staff:
//!     jwt:
//!       jwks: https://id.example/.well-known/jwks.json
//!       issuer: https://id.example
//!       audience: shop
//!       groups: realm_access.roles
//!       headers: { x-user: sub, x-mail: email }
//! ```
//!
//! **What the client sees.** 401 without a token, or with one that is not valid (`unauthenticated`,
//! with `WWW-Authenticate: Bearer`, RFC 6750); 400 with more than one (`bad-request`); 503 while no
//! keys could be fetched yet (`authority-unavailable`). Why a token was refused stands in the access
//! log as `detail`, and nowhere else.
//!
//! **How keys are had.** `jwks` is a URL, fetched beside requests and every `refresh` anew. A token
//! that names an unknown key makes it fetched at once, but only once in `pause`; so an issuer may
//! begin to sign with a new key before this Transom has seen it, and strangers cannot make it ask all
//! the time. While the issuer is away, its last keys go on for `stale`, which the log says; then
//! nothing passes. A key that the issuer withdraws is good for no token from the next fetch on.
//! Instead of a URL, `jwks-file` is a file of the same form, `public-key` one in PEM, and `secret` what
//! both sides know.
//!
//! **What it costs.** A token whose signature was found right is remembered until it expires, by a
//! keyed hash over all of it; the next request with it costs that hash and a comparison, whatever its
//! algorithm. `remember` bounds how many (a token takes about 1 KiB of memory).
//!
//! **What to know at night.**
//!
//! - The algorithm is that of the key, not what the token says. An RSA key without `alg` in its set is
//!   for RS256, or for the first RSA algorithm in `algorithms`.
//! - Without `audience`, a token that was made for another service passes here too.
//! - `detail` says `expired`: compare clocks; they may differ by `leeway`.
//! - A token that leaked: `transom token revoke ITS_JTI`, or a line in the file that `revoked` names. With
//!   `--claim sub`, all tokens of somebody.
//! - Tokens must have `exp` unless `required` says otherwise; times are whole seconds.
//! - Encrypted tokens (five parts) are not read. For opaque tokens see `introspection`.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::message::Request;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::json::Value as Json;
use transom_settings::{
    ByteSize, Duration, HeaderName, Map, Secret, Spanned, Target, Url, settings,
};

use crate::call::Caller;
use crate::consumer::joined::{Joined, Joining};
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;
use crate::token::algorithm::Algorithm;
use crate::token::claims::Rules;
use crate::token::jws::Jws;
use crate::token::key::{Key, Print};
use crate::token::keys::Keys;
use crate::token::place::{Place, Shown};
use crate::token::reading::{Headers, Reading};
use crate::token::remembered::Remembered;
use crate::token::remote::{Fetching, Published, Rhythm};
use crate::token::revoked::Revoked;
use crate::token::{Refused, seconds};

settings! {
    /// Lets requests pass that bring a signed token.
    pub struct Jwt flatten(keys: KeySource) {
        /// Who must have issued it (`iss`), letter for letter. Default: anybody whose key fits.
        pub issuer: Vec<String> = Vec::new(),
        /// For whom it must be (`aud`): one of these, letter for letter. Default: for anybody.
        pub audience: Vec<String> = Vec::new(),
        /// With what tokens may be signed. Default: all but those with a secret, unless the key is one.
        pub algorithms: Vec<Algorithm> = Vec::new(),
        /// Claims that must be there.
        pub required: Vec<String> = vec!["exp".to_owned()],
        /// What tokens may call themselves (`typ`); one that says nothing may pass.
        pub types: Vec<String> = vec!["JWT".to_owned(), "at+jwt".to_owned()],
        /// By how much clocks may differ.
        pub leeway: Duration = Duration::seconds(60),
        /// Where tokens stand. Two in one request are refused.
        pub from: Vec<Place> = vec![Place::bearer()],
        /// Whether the endpoint does not get the token.
        pub hide: bool = false,
        /// The claim that names who it is. Claims inside of others are written with dots.
        pub name: String = "sub".to_owned(),
        /// The claim that lists groups or roles.
        pub groups: Option<String> = None,
        /// The claim that lists scopes. Default: `scope`, or else `scp`.
        pub scopes: Option<String> = None,
        /// The claim that names the plan.
        pub plan: Option<String> = None,
        /// What follows where a consumer has the name that a token says: `ignore`, `join` (its plan and
        /// groups hold) or `require` (the same, and nobody else passes).
        pub consumers: Joining = Joining::Ignore,
        /// Fields that tell the endpoint what a claim says. What clients send in them is removed.
        pub headers: Map<HeaderName, String> = Map::default(),
        /// A file with tokens that are not believed although they are right: a `jti` or `claim=value` a
        /// line. Those that the admin interface revokes come on top.
        pub revoked: Option<Spanned<PathBuf>> = None,
        /// The longest token that is looked at.
        pub longest: ByteSize = ByteSize::kib(8),
        /// How many tokens are remembered whose signature was right.
        pub remember: u32 = 10_000,
    }

    /// With which keys tokens are checked.
    pub choice KeySource {
        /// A URL where the issuer publishes its keys (RFC 7517 §5).
        "jwks" => Published(Jwks),
        /// A file with such a set.
        "jwks-file" => File(Spanned<PathBuf>),
        /// A file with one public key in PEM.
        "public-key" => Pem(Spanned<PathBuf>),
        /// What both sides know; for HS256 at least 32 bytes.
        "secret" => Secret(Spanned<SharedSecret>),
    }

    /// Keys at a URL.
    pub struct Jwks short(url) {
        /// The URL, or a pool and a path: `identity/jwks.json`.
        pub url: Url,
        /// How old keys may become before they are fetched anew.
        pub refresh: Duration = Duration::minutes(10),
        /// How long they are used while they cannot be fetched.
        pub stale: Duration = Duration::hours(24),
        /// Between two fetches that unknown keys cause.
        pub pause: Duration = Duration::seconds(30),
        /// How long a fetch may take, and how long a request waits for one.
        pub timeout: Duration = Duration::seconds(5),
    }

    /// A secret that both sides know.
    pub struct SharedSecret short(text) {
        /// The secret.
        pub text: Secret,
        /// How its bytes are written.
        pub encoding: Encoding = Encoding::Text,
    }

    /// How bytes are written.
    pub enum Encoding {
        /// As they are.
        Text = "text",
        /// In base64, of either alphabet.
        Base64 = "base64",
        /// In hexadecimal.
        Hex = "hex",
    }
}

/// The longest set of keys that is read, in bytes.
const LONGEST_SET: usize = 1 << 20;

impl Kind for Jwt {
    const NAME: &'static str = "jwt";
    const SUMMARY: &'static str = "Lets requests pass that bring a signed token.";
    const STAGE: Stage = Stage::Identify;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        let keys = match &self.keys {
            KeySource::File(path) | KeySource::Pem(path) => Some(path),
            KeySource::Published(_) | KeySource::Secret(_) => None,
        };
        keys.into_iter().chain(&self.revoked).collect()
    }

    fn targets(&self) -> Vec<(&'static str, &Spanned<Target>)> {
        match &self.keys {
            KeySource::Published(jwks) => vec![("jwks", &jwks.url.target)],
            _ => Vec::new(),
        }
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let source = self.source(making)?;
        if self.audience.is_empty() && matches!(source, Source::Published(..)) {
            making.warning(
                making.place,
                "",
                "tokens that the issuer has made for other services pass too",
                "name in `audience` for whom tokens must be",
            );
        }
        let mut revoked = vec![making.lender.revoked()];
        if let Some(path) = &self.revoked {
            match Revoked::of_text(&making.file(path)?) {
                Ok(list) => revoked.push(Arc::new(list)),
                Err(why) => {
                    let hint = "write a `jti` or `claim=value` a line";
                    making.error(path.span, "revoked", format!("the file: {why}"), hint);
                    return None;
                }
            }
        }
        let checker = Checker {
            source,
            revoked,
            rules: self.rules(),
            reading: Reading {
                name: self.name.clone(),
                groups: self.groups.clone(),
                scopes: self.scopes.clone(),
                plan: self.plan.clone(),
                headers: self.headers.iter().map(|(n, c)| (n.value.clone(), c.clone())).collect(),
            },
            joined: Joined { how: self.consumers, consumers: making.lender.consumers() },
            places: self.from.clone(),
            hide: self.hide,
            longest: self.longest.len(),
            // what is remembered was found right by the settings of then
            memory: making.keep(
                |kept: &Memory| kept.settings == *self,
                || Memory {
                    settings: self.clone(),
                    tokens: Remembered::new(self.remember as usize),
                },
            ),
        };
        Some(Arc::new(Identify(checker)))
    }
}

impl Jwt {
    fn rules(&self) -> Rules {
        Rules {
            issuers: self.issuer.clone(),
            audiences: self.audience.clone(),
            required: self.required.clone(),
            kinds: self.types.iter().map(|kind| kind.to_ascii_lowercase()).collect(),
            leeway: i64::try_from(self.leeway.get().as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// With what keys of a set may be used: never with a secret where others can read the set.
    fn algorithms(&self, secrets: bool) -> Vec<Algorithm> {
        let fits = |each: &Algorithm| secrets || each.hmac().is_none();
        match self.algorithms.is_empty() {
            true => Algorithm::ALL.into_iter().filter(fits).collect(),
            false => self.algorithms.iter().copied().filter(fits).collect(),
        }
    }

    fn source(&self, making: &mut Making<'_>) -> Option<Source> {
        let place = making.place;
        let refuse = |making: &mut Making<'_>, key: &str, place, what: String, hint: &str| {
            making.error(place, key, what, hint);
            None
        };
        match &self.keys {
            KeySource::Published(jwks) => self.published(jwks, making),
            KeySource::File(path) => {
                let text = making.file(path)?;
                match Keys::of_jwks(&text, &self.algorithms(true)) {
                    Ok((keys, wrong)) => {
                        for why in wrong {
                            let hint = "the other keys of the file are used";
                            making.warning(path.span, "jwks-file", why, hint);
                        }
                        Some(Source::Fixed(keys))
                    }
                    Err(why) => {
                        let what = format!("the file is no set of keys: {why}");
                        let hint = "write a JWK set: `{\"keys\": [{\"kty\": ...}]}`";
                        refuse(making, "jwks-file", path.span, what, hint)
                    }
                }
            }
            KeySource::Pem(path) => {
                let text = making.file(path)?;
                match Key::of_pem(&text, self.algorithms.first().copied()) {
                    Ok(key) => Some(Source::Fixed(Keys::of(vec![key]))),
                    Err(why) => {
                        let what = format!("the file cannot be used: {why}");
                        let hint =
                            "write the public key of the issuer, `-----BEGIN PUBLIC KEY-----`";
                        refuse(making, "public-key", path.span, what, hint)
                    }
                }
            }
            KeySource::Secret(secret) => {
                let algorithm = self.algorithms.first().copied().unwrap_or(Algorithm::Hs256);
                let hint = "make one with `openssl rand -base64 48`, and give it to the issuer too";
                match secret.bytes().and_then(|bytes| Key::of_secret(algorithm, &bytes)) {
                    Ok(key) => Some(Source::Fixed(Keys::of(vec![key]))),
                    Err(why) => {
                        let what = format!("the secret cannot be used: {why}");
                        let place = if secret.span.line > 0 { secret.span } else { place };
                        refuse(making, "secret", place, what, hint)
                    }
                }
            }
        }
    }

    fn published(&self, jwks: &Jwks, making: &mut Making<'_>) -> Option<Source> {
        let allowed = self.algorithms(false);
        if allowed.is_empty() {
            let hint = "secrets cannot be published: use `secret`, or name other algorithms";
            making.error(making.place, "algorithms", "no key of the set could be used", hint);
            return None;
        }
        let destination = making.destination(&jwks.url.target, "jwks")?;
        let timeout = jwks.timeout.get();
        let rhythm = Rhythm {
            refresh: jwks.refresh.get(),
            stale: jwks.stale.get(),
            pause: jwks.pause.get(),
            wait: timeout,
        };
        let published = making.keep(
            |kept: &Published| kept.is_at(&jwks.url, &allowed),
            || Published::at(jwks.url.clone(), allowed.clone()),
        );
        let fetching = Fetching {
            name: format!("policy {}", making.name),
            published: published.clone(),
            caller: Caller::new(destination, timeout, LONGEST_SET),
            rhythm,
            log: making.log(),
        };
        making.task("jwks", Arc::new(fetching));
        Some(Source::Published(published, rhythm))
    }
}

impl SharedSecret {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let text = self.text.expose();
        match self.encoding {
            Encoding::Text => Ok(text.as_bytes().to_vec()),
            Encoding::Base64 => {
                let one: String = text.trim_end_matches('=').chars().map(url_safe).collect();
                let decoded = BASE64URL_NOPAD.decode(one.as_bytes());
                decoded.map_err(|_| "it is not base64".to_owned())
            }
            Encoding::Hex => {
                let decoded = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
                decoded.map_err(|_| "it is not hexadecimal".to_owned())
            }
        }
    }
}

/// A letter of the usual alphabet of base64 in that of URLs.
fn url_safe(letter: char) -> char {
    match letter {
        '+' => '-',
        '/' => '_',
        other => other,
    }
}

enum Source {
    Fixed(Keys),
    Published(Arc<Published>, Rhythm),
}

/// A token whose signature was right.
struct Verified {
    identity: Arc<Identity>,
    headers: Headers,
    /// The key that has signed it: nothing is believed once that is withdrawn.
    key: Print,
}

/// What is remembered goes on over reloads as long as the settings are the same.
struct Memory {
    settings: Jwt,
    tokens: Remembered<Verified>,
}

struct Checker {
    source: Source,
    rules: Rules,
    reading: Reading,
    joined: Joined,
    places: Vec<Place>,
    hide: bool,
    longest: usize,
    memory: Arc<Memory>,
    /// What the operator does not believe any more: by hand, and in the file.
    revoked: Vec<Arc<Revoked>>,
}

impl Way for Checker {
    fn kind(&self) -> &'static str {
        Jwt::NAME
    }

    fn describe(&self) -> String {
        let of = |what: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!(" {what} {}", names.join(" or ")),
        };
        let (issuers, audiences) = (&self.rules.issuers, &self.rules.audiences);
        format!("a token{}{}", of("of", issuers), of("for", audiences))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Bearer")
    }

    fn reserves(&self) -> Vec<HeaderName> {
        self.reading.headers.iter().map(|(name, _)| name.clone()).collect()
    }

    fn at_once(&self, _: &mut Exchange, request: &mut Request) -> Option<Found> {
        let known = match self.shown(request) {
            Ok(None) => return Some(Found::Nothing),
            Ok(Some(token)) => self.known(&token, seconds(SystemTime::now())),
            Err(fault) => Err(fault),
        };
        match known {
            Ok(known) => known.map(|verified| self.found(&verified, request)),
            Err(fault) => Some(Found::Wrong(fault)),
        }
    }

    async fn find(&self, exchange: &mut Exchange, request: &mut Request) -> Found {
        let verified = match self.shown(request) {
            Ok(None) => return Found::Nothing,
            Ok(Some(token)) => self.verify(exchange, &token, seconds(SystemTime::now())).await,
            Err(fault) => Err(fault),
        };
        match verified {
            Ok(verified) => self.found(&verified, request),
            Err(fault) => Found::Wrong(fault),
        }
    }

    fn hide(&self, exchange: &mut Exchange, request: &mut Request) {
        Place::leave(&self.places, self.hide, exchange, request);
    }
}

impl Checker {
    /// The only token of the request.
    fn shown<'r>(&self, request: &'r Request) -> Result<Option<Cow<'r, [u8]>>, Fault> {
        match Place::look(&self.places, request) {
            Shown::One(_, token) if token.len() > self.longest => {
                Err(refused("the token is longer than may be looked at"))
            }
            Shown::One(_, token) => Ok(Some(token)),
            Shown::Nothing => Ok(None),
            Shown::Many => {
                let fault = Fault::new(Code::BadRequest, "there is more than one token");
                Err(fault.challenge(r#"Bearer error="invalid_request""#))
            }
        }
    }

    /// What is remembered of a token, while it is still to be believed.
    fn known(&self, token: &[u8], now: i64) -> Result<Option<Arc<Verified>>, Fault> {
        let known = self.memory.tokens.get(token, now).filter(|known| self.have(&known.key));
        if let Some(known) = &known {
            self.stands(known.identity.claims.as_deref(), now)?;
        }
        Ok(known)
    }

    /// Whose it is; the endpoint is told what the file wants it to be told.
    fn found(&self, verified: &Verified, request: &mut Request) -> Found {
        self.reading.tell(&verified.headers, &mut request.fields);
        self.joined.found(self, &verified.identity)
    }

    /// Whether nobody has revoked it.
    fn stands(&self, claims: Option<&Json>, now: i64) -> Result<(), Fault> {
        let Some(claims) = claims.and_then(Json::as_object) else { return Ok(()) };
        match self.revoked.iter().any(|list| list.has(claims, now)) {
            true => Err(refused("the token was revoked")),
            false => Ok(()),
        }
    }

    fn have(&self, key: &Print) -> bool {
        match &self.source {
            Source::Fixed(keys) => keys.have(key),
            Source::Published(published, _) => published.have(key),
        }
    }

    /// Checks everything, and remembers a token that is to be believed.
    async fn verify(
        &self,
        exchange: &Exchange,
        token: &[u8],
        now: i64,
    ) -> Result<Arc<Verified>, Fault> {
        let jws = Jws::parse(token).map_err(refused)?;
        let key = self.key(exchange, &jws).await?;
        let claims = jws.claims().map_err(refused)?;
        let until = self.rules.judge(&claims, jws.kind.as_deref(), now).map_err(refused)?;
        let headers = self.reading.headers(&claims);
        let identity = self.reading.identity(claims, Jwt::NAME);
        if identity.name.is_empty() {
            return Err(refused(Refused::Claims("the claim that names who it is is missing")));
        }
        self.stands(identity.claims.as_deref(), now)?;
        let verified = Arc::new(Verified { identity: Arc::new(identity), headers, key });
        self.memory.tokens.insert(token, verified.clone(), until, now);
        Ok(verified)
    }

    /// The key that has signed it.
    async fn key(&self, exchange: &Exchange, jws: &Jws<'_>) -> Result<Print, Fault> {
        let (published, rhythm) = match &self.source {
            Source::Fixed(keys) => return keys.verify(jws).map(Key::print).map_err(refused),
            Source::Published(published, rhythm) => (published, rhythm),
        };
        let worker = &exchange.local.worker;
        let Some(keys) = published.keys(worker, rhythm).await else {
            return Err(Fault::new(Code::AuthorityUnavailable, "there are no keys of the issuer"));
        };
        match keys.verify(jws) {
            Ok(key) => Ok(key.print()),
            Err(why) if keys.may_lack(jws) => {
                let newer = published.after_miss(&keys, worker, rhythm).await;
                let newer = newer.ok_or_else(|| refused(why))?;
                newer.verify(jws).map(Key::print).map_err(refused)
            }
            Err(why) => Err(refused(why)),
        }
    }
}

/// RFC 6750 §3.1. The client is not told what is wrong.
fn refused(why: impl ToString) -> Fault {
    Fault::new(Code::Unauthenticated, why.to_string()).challenge(r#"Bearer error="invalid_token""#)
}
