//! Who may ask: consumers and what they prove themselves with.
//!
//! Two tables are asked, one after the other: what the file says ([`Written`], made anew with each
//! snapshot), and what is in the store ([`Stored`], one for the program, changed while it runs). A
//! credential names its consumer; of two consumers of one name the file's holds, so that keys may be
//! given out for those too. Nothing here takes a lock on the way of a request.

use std::sync::Arc;
use std::time::SystemTime;

use transom_proxy::exchange::Identity;

pub mod certificates;
pub mod digest;
pub mod joined;
pub mod password;
pub mod settings;
pub mod shards;
pub mod written;

use digest::Digest;
use shards::Shards;
pub use written::Written;

use crate::plan::Plan;

/// A client of the API that has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    pub name: Arc<str>,
    pub groups: Vec<String>,
    /// What it may do, where its credential does not say less.
    pub scopes: Vec<String>,
    pub plan: Option<Arc<str>>,
    /// What the operator remarked, sorted by name.
    pub labels: Vec<(String, String)>,
}

impl Consumer {
    /// Who asks, as the other policies see it. `by` is the kind of policy that found it.
    pub fn identity(&self, by: &'static str, scopes: Option<&[String]>) -> Arc<Identity> {
        self.identity_until(by, scopes, None)
    }

    /// The same by a credential that ends.
    pub fn identity_until(
        &self,
        by: &'static str,
        scopes: Option<&[String]>,
        until: Option<i64>,
    ) -> Arc<Identity> {
        Arc::new(Identity {
            name: self.name.clone(),
            groups: self.groups.clone(),
            scopes: scopes.unwrap_or(&self.scopes).to_vec(),
            plan: self.plan.clone(),
            is_consumer: true,
            is_anonymous: false,
            by,
            until,
            claims: None,
        })
    }
}

/// Whose a key is, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub consumer: Arc<str>,
    /// In seconds since 1970; the key is not known from then on.
    pub until: u64,
    /// What it allows, where that is less than what its consumer may do.
    pub scopes: Option<Arc<[String]>>,
}

impl Held {
    /// A key that does not expire.
    pub const FOREVER: u64 = u64::MAX;

    /// When it ends, where it does.
    pub fn ends(&self) -> Option<i64> {
        i64::try_from(self.until).ok()
    }
}

/// What was made while the program runs, and survives it.
#[derive(Default)]
pub struct Stored {
    pub consumers: Shards<Arc<str>, Arc<Consumer>>,
    pub keys: Shards<Digest, Held>,
}

/// Everybody who may ask, for one snapshot.
#[derive(Clone, Default)]
pub struct Consumers {
    pub written: Arc<Written>,
    pub stored: Arc<Stored>,
}

impl Consumers {
    /// The consumer of this name.
    pub fn named(&self, name: &str) -> Option<Arc<Consumer>> {
        let written = self.written.consumers.get(name).cloned();
        written.or_else(|| self.stored.consumers.get(name))
    }

    /// Whose key this is, with what it allows, if it is valid at `now`.
    ///
    /// A key is found by its digest: how long that takes says nothing of how much of a key is right
    ///
    pub fn by_key(&self, key: &[u8], now: SystemTime) -> Result<(Arc<Consumer>, Held), Unknown> {
        let digest = Digest::of(key);
        let written = self.written.keys.get(&digest).cloned();
        let held = written.or_else(|| self.stored.keys.get(&digest)).ok_or(Unknown::Key)?;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if held.until <= now {
            return Err(Unknown::Expired);
        }
        let consumer = self.named(&held.consumer).ok_or(Unknown::Consumer)?;
        Ok((consumer, held))
    }

    /// What consumers of this plan may ask for.
    pub fn plan(&self, name: &str) -> Option<&Plan> {
        self.written.plans.get(name)
    }
}

/// Why a credential is nobody's. For the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Key,
    Expired,
    /// It is somebody's who is not there any more.
    Consumer,
}

impl Unknown {
    pub fn as_str(self) -> &'static str {
        match self {
            Unknown::Key => "the key is not known, or was revoked",
            Unknown::Expired => "the key has expired",
            Unknown::Consumer => "the consumer of the key is not there any more",
        }
    }
}
