//! # basic-auth
//!
//! **What it does.** Finds out who asks by a name and a password (RFC 7617), from a file that
//! `htpasswd` wrote or from the `passwords` of consumers. Hashes may be argon2id, bcrypt, and the older
//! forms of Apache: SHA-512 and SHA-256 crypt, `$apr1$`, `{SHA}`; the last two are weak, which is
//! remarked. A user who is also a consumer has its groups and its plan. The endpoint does not see
//! the password.
//!
//! A password is verified beside the workers, since that takes from milliseconds to a second of a
//! core; what came of it is remembered for `remember` by a keyed hash. A name that nobody has takes as
//! long as one that somebody has. Behind plain HTTP, everybody on the way reads the password.
//!
//! **When it runs.** Stage `identify`. With others of that stage on one route, the first whose
//! credential is shown decides; see [identity](../../identity.md).
//!
//! **Example.**
//!
//! ```yaml
//! consumers:
//!   ann: { passwords: "$2y$05$VhOZvODTEQVdECOfl9YxZu8LT/N901hcSF0OQsRXu8SRQrJHYOIE2" }
//! policies:
//!   staff: { basic-auth: { realm: Back office } }
//! ```
//!
//! **What the client sees.** 401 `unauthenticated` with `WWW-Authenticate: Basic`, on which browsers
//! ask for a password; 503 `overloaded` with Retry-After where too many passwords wait to be verified.

use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::BASE64;
use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::{Code, Fault};
use transom_proxy::fields::{Known, Values};
use transom_proxy::message::Request;
use transom_proxy::policy::Policy;
use transom_proxy::stage::Stage;
use transom_settings::{Duration, Spanned, quote, settings};

use crate::consumer::Consumers;
use crate::consumer::password::Hashed;
use crate::identify::{Found, Identify, Way};
use crate::kind::Kind;
use crate::making::Making;

mod htpasswd;
mod verifier;

use htpasswd::Users;
use verifier::Verifier;

settings! {
    /// Finds out who asks by a name and a password.
    pub struct BasicAuth {
        /// A file of `htpasswd` with users, beside the consumers that have passwords.
        pub users: Option<Spanned<PathBuf>> = None,
        /// What the client is told that the password is for.
        pub realm: String = "api".to_owned(),
        /// For how long it is remembered whether a password was right; `0s` verifies it each time.
        pub remember: Duration = Duration::seconds(30),
        /// Whether the password is taken off before the endpoint sees the request.
        pub hide: bool = true,
    }
}

/// Longer passwords are nobody's, and are not hashed.
const LONGEST: usize = 1024;

impl Kind for BasicAuth {
    const NAME: &'static str = "basic-auth";
    const SUMMARY: &'static str = "Finds out who asks by a name and a password.";
    const STAGE: Stage = Stage::Identify;

    fn files(&self) -> Vec<&Spanned<PathBuf>> {
        self.users.iter().collect()
    }

    fn build(&self, making: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let users = match &self.users {
            Some(path) => users(path, making)?,
            None => Users::new(),
        };
        let consumers = making.lender.consumers();
        let of_consumers = consumers.written.users.values().flatten().map(|(_, hash)| hash);
        let decoys: Vec<_> = users.values().chain(of_consumers).cloned().collect();
        if decoys.is_empty() {
            let place = making.place;
            let hint = "name a file of `htpasswd` in `users`, or give consumers `passwords`";
            making.error(place, "", "nobody has a password", hint);
            return None;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let Some(verifier) = Verifier::new(cores) else {
            making.error(making.place, "", "the system gives no random bytes", "try again");
            return None;
        };
        let verifier = making.lender.kept().keep("", |_: &Verifier| true, || verifier);
        let realm: String = self.realm.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
        let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        let remember = self.remember.get();
        let hide = self.hide;
        let way = Passwords { users, consumers, decoys, verifier, remember, hide, challenge };
        Some(Arc::new(Identify(way)))
    }
}

/// The users of the file, or findings about it.
fn users(path: &Spanned<PathBuf>, making: &mut Making<'_>) -> Option<Users> {
    let text = making.file(path)?;
    let name = quote(&path.display().to_string());
    let hint = "`htpasswd -B FILE USER` writes one that is strong";
    match htpasswd::read(&text) {
        Ok((users, _)) if users.is_empty() => {
            making.error(path.span, "users", format!("{name} has no users"), hint);
            None
        }
        Ok((users, weak)) => {
            if weak > 0 {
                let what = format!("{weak} of the hashes in {name} are weak");
                making.warning(path.span, "users", what, hint);
            }
            Some(users)
        }
        Err((line, why)) => {
            making.error(path.span, "users", format!("{name}, line {line}: {why}"), hint);
            None
        }
    }
}

struct Passwords {
    users: Users,
    consumers: Consumers,
    /// What the password of a name is held against that nobody has. They are those of the users, of
    /// which each name always has the same one: it takes as long as if it were somebody's.
    decoys: Vec<Arc<Hashed>>,
    verifier: Arc<Verifier>,
    remember: std::time::Duration,
    hide: bool,
    challenge: String,
}

/// What `Authorization` holds.
#[derive(Debug, PartialEq)]
enum Shown {
    Nothing,
    Twice,
    Wrong(&'static str),
    /// Name and password.
    Pair(String, Vec<u8>),
}

fn shown(request: &Request) -> Shown {
    match request.fields.only(Known::Authorization) {
        Values::None => Shown::Nothing,
        Values::Many => Shown::Twice,
        Values::One(value) => read(value),
    }
}

/// RFC 7617 §2.
fn read(value: &[u8]) -> Shown {
    let at = value.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(value.len());
    let (scheme, encoded) = value.split_at(at);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Shown::Nothing;
    }
    let encoded = encoded.trim_ascii();
    if encoded.len() > LONGEST * 2 {
        return Shown::Wrong("name and password are too long");
    }
    let Ok(pair) = BASE64.decode(encoded) else {
        return Shown::Wrong("name and password are not base64");
    };
    let Some(colon) = pair.iter().position(|b| *b == b':') else {
        return Shown::Wrong("there is no colon between name and password");
    };
    let (name, password) = (&pair[..colon], &pair[colon + 1..]);
    if pair.iter().any(u8::is_ascii_control) {
        return Shown::Wrong("name or password holds a control character");
    }
    if password.len() > LONGEST {
        return Shown::Wrong("the password is too long");
    }
    match std::str::from_utf8(name) {
        Ok(name) => Shown::Pair(name.to_owned(), password.to_owned()),
        Err(_) => Shown::Wrong("the name is not UTF-8"),
    }
}

impl Passwords {
    async fn judge(&self, name: &str, password: &[u8]) -> Result<Option<Arc<Identity>>, Fault> {
        let of_file = self.users.get(name).map(|hash| (None, hash));
        let of_consumers = self.consumers.written.users.get(name).into_iter().flatten();
        let of_consumers = of_consumers.map(|(consumer, hash)| (Some(consumer), hash));
        let mut known = false;
        for (consumer, hash) in of_file.into_iter().chain(of_consumers) {
            known = true;
            if self.verifier.is_right(name.as_bytes(), password, hash, self.remember).await? {
                return Ok(Some(self.identity(consumer.map_or(name, |name| name))));
            }
        }
        if !known {
            // as long as for somebody; what comes of it does not matter
            let decoy = &self.decoys[self.verifier.draw(name, self.decoys.len())];
            self.verifier.is_right(name.as_bytes(), password, decoy, self.remember).await?;
        }
        Ok(None)
    }

    fn identity(&self, name: &str) -> Arc<Identity> {
        match self.consumers.named(name) {
            Some(consumer) => consumer.identity(BasicAuth::NAME, None),
            None => {
                let name = Arc::from(name);
                Arc::new(Identity { name, by: BasicAuth::NAME, ..Identity::default() })
            }
        }
    }
}

impl Way for Passwords {
    fn kind(&self) -> &'static str {
        BasicAuth::NAME
    }

    fn describe(&self) -> String {
        format!("a name and a password; {} users in the file", self.users.len())
    }

    fn challenge(&self) -> Option<&str> {
        Some(&self.challenge)
    }

    async fn find(&self, _: &mut Exchange, request: &mut Request) -> Found {
        let (name, password) = match shown(request) {
            Shown::Nothing => return Found::Nothing,
            Shown::Twice => {
                return Found::Wrong(Fault::new(Code::BadRequest, "Authorization stands twice"));
            }
            Shown::Wrong(why) => return Found::wrong(self, why),
            Shown::Pair(name, password) => (name, password),
        };
        match self.judge(&name, &password).await {
            Ok(Some(identity)) => Found::Known(identity),
            Ok(None) => Found::wrong(self, "nobody has this name and password"),
            Err(fault) => Found::Wrong(fault),
        }
    }

    fn hide(&self, _: &mut Exchange, request: &mut Request) {
        if self.hide && shown(request) != Shown::Nothing {
            request.fields.remove(Known::Authorization);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_13_what_is_no_pair_is_wrong_and_what_is_another_scheme_is_anothers() {
        let wrong = |value: &[u8]| match read(value) {
            Shown::Wrong(why) => why,
            other => panic!("{other:?}"),
        };
        let pair = |name: &str, password: &str| Shown::Pair(name.into(), password.into());
        let encoded = |pair: &str| format!("Basic {}", BASE64.encode(pair.as_bytes()));
        assert_eq!(read(b"Basic YW5uOnNlY3JldA=="), pair("ann", "secret"));
        assert_eq!(read(b"bASIC \t YW5uOnNlY3JldA=="), pair("ann", "secret"));
        assert_eq!(read(encoded("ann:a:b").as_bytes()), pair("ann", "a:b"));
        assert_eq!(read(encoded("änn:pässword").as_bytes()), pair("änn", "pässword"));
        assert_eq!(read(encoded(":").as_bytes()), pair("", ""));
        assert_eq!(read(b"Bearer YW5uOnNlY3JldA=="), Shown::Nothing);
        assert_eq!(read(b""), Shown::Nothing);
        assert_eq!(wrong(b"Basic"), "there is no colon between name and password");
        assert_eq!(wrong(b"Basic ??"), "name and password are not base64");
        assert_eq!(wrong(b"Basic YW5uOnNlY3JldA"), "name and password are not base64");
        assert_eq!(wrong(encoded("ann").as_bytes()), "there is no colon between name and password");
        assert_eq!(
            wrong(encoded("a\0n:b").as_bytes()),
            "name or password holds a control character"
        );
        assert_eq!(
            wrong(encoded(&format!("a:{}", "b".repeat(1100))).as_bytes()),
            "the password is too long"
        );
        let long = format!("Basic {}", "a".repeat(10_240));
        assert_eq!(wrong(long.as_bytes()), "name and password are too long");
    }
}
