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

mod checker;
mod source;

use std::path::PathBuf;
use std::sync::Arc;

use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{
    ByteSize, Duration, HeaderName, Map, Secret, Spanned, Target, Url, settings,
};

use self::checker::{Checker, Memory};
use self::source::Source;
use crate::consumer::joined::{Joined, Joining};
use crate::identify::Identify;
use crate::kind::Kind;
use crate::making::Making;
use crate::token::algorithm::Algorithm;
use crate::token::claims::Rules;
use crate::token::place::Place;
use crate::token::reading::Reading;
use crate::token::remembered::Remembered;
use crate::token::revoked::Revoked;

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
}
