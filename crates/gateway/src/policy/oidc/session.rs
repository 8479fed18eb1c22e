//! Who has logged in.

use std::sync::Arc;

use transom_proxy::exchange::Identity;
use transom_settings::json::{Map, Value as Json, json};

use super::Oidc;
use crate::content::strict;
use crate::kind::Kind;
use crate::token::reading::{Headers, Reading};

/// What a cookie holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// Of the identity token.
    pub claims: Map<String, Json>,
    /// The identity token as it came: to log out with.
    pub id: String,
    pub access: String,
    pub refresh: Option<String>,
    /// When the access token ends, in seconds since 1970.
    pub renew: i64,
    /// When the session ends.
    pub until: i64,
}

/// A session, as requests use it.
pub(super) struct Session {
    pub kept: Kept,
    pub identity: Arc<Identity>,
    pub headers: Headers,
    pub access: String,
}

impl Kept {
    pub(super) fn write(&self) -> String {
        json!({
            "claims": self.claims, "id": self.id, "access": self.access, "refresh": self.refresh,
            "renew": self.renew, "until": self.until,
        })
        .to_string()
    }

    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let kept = strict::parse(text).ok()?;
        let text = |name: &str| kept.get(name).and_then(Json::as_str).map(str::to_owned);
        Some(Kept {
            claims: kept.get("claims")?.as_object()?.clone(),
            id: text("id")?,
            access: text("access")?,
            refresh: text("refresh"),
            renew: kept.get("renew")?.as_i64()?,
            until: kept.get("until")?.as_i64()?,
        })
    }

    /// Nothing where the claims do not say who it is.
    pub(super) fn session(self, reading: &Reading) -> Option<Session> {
        let headers = reading.headers(&self.claims);
        let identity = reading.identity(self.claims.clone(), Oidc::NAME);
        let identity = Identity { until: Some(self.until), ..identity };
        let access = self.access.clone();
        let named = !identity.name.is_empty();
        named.then(|| Session { kept: self, identity: Arc::new(identity), headers, access })
    }
}
