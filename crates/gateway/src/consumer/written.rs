//! The consumers and plans of the file, as they are looked up.

use std::collections::HashMap;
use std::sync::Arc;

use transom_settings::{Map, Name, Span, Spanned, quote};

use super::certificates::Certificates;
use super::digest::Digest;
use super::password::Hashed;
use super::settings::{self, ConsumerKey, ConsumerPassword};
use super::{Consumer, Held};
use crate::making::Lender;
use crate::plan::Plan;
use crate::signing::{Key, Signer};

/// Shortest key that is taken, in letters: what is shorter can be tried out.
pub const SHORTEST_KEY: usize = 16;

/// Whose a password is, and its hash.
pub type OwnPassword = (Arc<str>, Arc<Hashed>);

/// What the file says of who may ask.
#[derive(Default)]
pub struct Written {
    pub consumers: HashMap<Arc<str>, Arc<Consumer>>,
    pub keys: HashMap<Digest, Held>,
    /// By the name that goes with a password: whose it is, and its hash.
    pub users: HashMap<String, Vec<OwnPassword>>,
    /// By what requests call a key by.
    pub signers: HashMap<String, Signer>,
    pub certificates: Certificates,
    pub plans: HashMap<String, Plan>,
}

impl Written {
    /// Makes it of the settings. What is wrong with them becomes findings.
    pub fn of(
        consumers: &Map<Name, settings::Consumer>,
        plans: &Map<Name, Plan>,
        lender: &mut dyn Lender,
    ) -> Self {
        let mut written = Written {
            plans: plans.iter().map(|(name, plan)| (name.to_string(), plan.clone())).collect(),
            ..Written::default()
        };
        for (name, consumer) in consumers.iter() {
            written.consumer(name, consumer, lender);
        }
        written
    }

    fn consumer(
        &mut self,
        name: &Spanned<Name>,
        settings: &settings::Consumer,
        lender: &mut dyn Lender,
    ) {
        let at = format!("consumers.{name}");
        if let Some(plan) = &settings.plan
            && !self.plans.contains_key(&***plan)
        {
            let what = format!("there is no plan {}", quote(plan));
            let hint = "write it below `plans:`, such as `plans: { ordinary: { rate: 100/min } }`";
            lender.error(plan.span, format!("{at}.plan"), what, hint.to_owned());
        }
        let consumer = Consumer {
            name: Arc::from(&***name),
            groups: settings.groups.iter().map(ToString::to_string).collect(),
            scopes: settings.scopes.clone(),
            plan: settings.plan.as_ref().map(|plan| Arc::from(&***plan)),
            labels: sorted(&settings.labels),
        };
        for (index, key) in settings.keys.iter().enumerate() {
            self.key(&consumer.name, key, format!("{at}.keys[{index}]"), lender);
        }
        for (index, password) in settings.passwords.iter().enumerate() {
            let at = format!("{at}.passwords[{index}]");
            self.password(&consumer.name, password, at, lender);
        }
        let name = &consumer.name;
        for (index, secret) in settings.secrets.iter().enumerate() {
            let at = format!("{at}.secrets[{index}]");
            let key = match secret.secret.expose() {
                text if text.len() >= SHORTEST_KEY => Some(Key::Secret(text.as_bytes().into())),
                _ => None,
            };
            let why = format!("the secret is shorter than {SHORTEST_KEY} letters");
            let hint = "make one with `openssl rand -hex 32`";
            self.signer(name, &secret.id, key.ok_or((why, hint)), secret.span, at, lender);
        }
        for (index, public) in settings.public_keys.iter().enumerate() {
            let at = format!("{at}.public-keys[{index}]");
            let why = "it is no public key of a known sort".to_owned();
            let hint = "`openssl pkey -in KEY -pubout` prints one: Ed25519, P-256, P-384 or RSA";
            let key = Key::read(&public.pem).ok_or((why, hint));
            self.signer(name, &public.id, key, public.span, at, lender);
        }
        for (index, certificate) in settings.certificates.iter().enumerate() {
            if !self.certificates.add(name, certificate) {
                let at = format!("{at}.certificates[{index}]");
                let what = "it tells no certificate".to_owned();
                let hint = "give `subject`, `san` or `fingerprint`".to_owned();
                lender.error(certificate.span, at, what, hint);
            }
        }
        self.consumers.insert(consumer.name.clone(), Arc::new(consumer));
    }

    fn key(
        &mut self,
        consumer: &Arc<str>,
        key: &Spanned<ConsumerKey>,
        at: String,
        lender: &mut dyn Lender,
    ) {
        let digest = match (&key.secret, &key.sha256) {
            (Some(secret), None) if secret.expose().len() >= SHORTEST_KEY => {
                Digest::of(secret.expose().as_bytes())
            }
            (Some(_), None) => {
                let what = format!("the key is shorter than {SHORTEST_KEY} letters");
                let hint = "make one with `openssl rand -hex 16`".to_owned();
                return lender.error(key.span, at, what, hint);
            }
            (None, Some(digest)) => *digest,
            _ => {
                let what = "a key is either `secret` or `sha256`".to_owned();
                let hint = "give one of them".to_owned();
                return lender.error(key.span, at, what, hint);
            }
        };
        let held = Held {
            consumer: consumer.clone(),
            until: key.expires.map_or(Held::FOREVER, |at| u64::try_from(at.second()).unwrap_or(0)),
            scopes: key.scopes.as_ref().map(|scopes| scopes.clone().into()),
        };
        if let Some(other) = self.keys.insert(digest, held) {
            let what = format!("the key is also one of {}", quote(&other.consumer));
            let hint = "give each consumer keys of its own".to_owned();
            lender.error(key.span, at, what, hint);
        }
    }

    fn signer(
        &mut self,
        consumer: &Arc<str>,
        id: &Option<String>,
        key: Result<Key, (String, &str)>,
        place: Span,
        at: String,
        lender: &mut dyn Lender,
    ) {
        let key = match key {
            Ok(key) => key,
            Err((why, hint)) => return lender.error(place, at, why, hint.to_owned()),
        };
        let id = id.clone().unwrap_or_else(|| consumer.to_string());
        let signer = Signer { consumer: consumer.clone(), key };
        if let Some(other) = self.signers.insert(id.clone(), signer) {
            let what = format!("{} is also a key of {}", quote(&id), quote(&other.consumer));
            let hint = "give each an `id` of its own".to_owned();
            lender.error(place, at, what, hint);
        }
    }

    fn password(
        &mut self,
        consumer: &Arc<str>,
        password: &Spanned<ConsumerPassword>,
        at: String,
        lender: &mut dyn Lender,
    ) {
        let hint = "`htpasswd -nB NAME` prints a strong one behind the name".to_owned();
        let hash = match Hashed::read(password.hash.expose()) {
            Ok(hash) => hash,
            Err(why) => return lender.error(password.span, at, why.to_owned(), hint),
        };
        if hash.is_weak() {
            lender.warning(password.span, at, "the hash of the password is weak".to_owned(), hint);
        }
        let user = password.user.clone().unwrap_or_else(|| consumer.to_string());
        self.users.entry(user).or_default().push((consumer.clone(), Arc::new(hash)));
    }
}

fn sorted(labels: &Map<Name, String>) -> Vec<(String, String)> {
    let mut labels: Vec<_> =
        labels.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    labels.sort_unstable();
    labels
}
