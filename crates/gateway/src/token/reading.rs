//! What of a token's claims the rest of the chain and the endpoint get to see.

use std::sync::Arc;

use transom_proxy::exchange::Identity;
use transom_proxy::fields::Fields;
use transom_settings::HeaderName;
use transom_settings::json::{Map, Value as Json};

/// Which claims say what.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub name: String,
    pub groups: Option<String>,
    /// None: `scope` (RFC 8693 §4.2), or else `scp`.
    pub scopes: Option<String>,
    pub plan: Option<String>,
    /// Fields for the endpoint, each with the claim that it holds.
    pub headers: Vec<(HeaderName, String)>,
}

/// The fields for the endpoint, in the order of [`Reading::headers`].
pub type Headers = Vec<Option<Box<str>>>;

impl Reading {
    /// Who it is. The identity has no name where the claim is not there.
    pub fn identity(&self, claims: Map<String, Json>, by: &'static str) -> Identity {
        let scopes = match &self.scopes {
            Some(claim) => find(&claims, claim),
            None => find(&claims, "scope").or_else(|| find(&claims, "scp")),
        };
        let scopes = scopes.map(words).unwrap_or_default();
        let groups = self.groups.as_ref().and_then(|claim| find(&claims, claim));
        let groups = groups.map(texts).unwrap_or_default();
        let name = find(&claims, &self.name).and_then(text).unwrap_or_default();
        let plan = self.plan.as_ref().and_then(|claim| find(&claims, claim)).and_then(text);
        Identity {
            name: name.into(),
            groups,
            scopes,
            plan: plan.map(Arc::from),
            is_consumer: false,
            is_anonymous: false,
            by,
            until: claims.get("exp").and_then(seconds),
            claims: Some(Arc::new(Json::Object(claims))),
        }
    }

    /// What the endpoint is told.
    pub fn headers(&self, claims: &Map<String, Json>) -> Headers {
        let values = self.headers.iter().map(|(_, claim)| find(claims, claim).and_then(value));
        values.collect()
    }

    /// Sets the fields. That clients cannot set them is for the chain to see to.
    pub fn tell(&self, headers: &Headers, fields: &mut Fields) {
        for ((name, _), value) in self.headers.iter().zip(headers) {
            if let Some(value) = value {
                fields.set(&**name, value.as_bytes());
            }
        }
    }
}

/// The claim of this name, or what lies below: `realm_access.roles`. A whole name comes first, since
/// names may be URLs with dots in them.
pub fn find<'c>(claims: &'c Map<String, Json>, name: &str) -> Option<&'c Json> {
    if let Some(claim) = claims.get(name) {
        return Some(claim);
    }
    name.match_indices('.').find_map(|(at, _)| {
        let inside = claims.get(&name[..at])?.as_object()?;
        find(inside, &name[at + 1..])
    })
}

/// A claim that is a time (RFC 7519 §2), in whole seconds.
fn seconds(claim: &Json) -> Option<i64> {
    claim.as_i64().or_else(|| claim.as_f64().map(|seconds| seconds as i64))
}

/// A claim that is one text.
pub fn text(claim: &Json) -> Option<String> {
    match claim {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A claim that is a list of texts, or one.
fn texts(claim: &Json) -> Vec<String> {
    match claim {
        Json::Array(list) => list.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    }
}

/// As [`texts`], where one text holds several words (RFC 6749 §3.3).
fn words(claim: &Json) -> Vec<String> {
    match claim {
        Json::String(text) => text.split_ascii_whitespace().map(str::to_owned).collect(),
        other => texts(other),
    }
}

/// A claim as a field holds it: lists with commas, objects as JSON. Nothing that could not stand in a
/// field (RFC 9110 §5.5).
fn value(claim: &Json) -> Option<Box<str>> {
    let value = match claim {
        Json::Null => return None,
        Json::Bool(value) => value.to_string(),
        Json::Array(list) if list.iter().all(|each| text(each).is_some()) => texts(claim).join(","),
        Json::Array(_) | Json::Object(_) => claim.to_string(),
        one => text(one)?,
    };
    let stands = !value.is_empty() && !value.chars().any(char::is_control);
    stands.then(|| value.into())
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    fn claims() -> Map<String, Json> {
        let Json::Object(claims) = json!({
            "sub": "ada", "uid": 7, "scope": "read write", "scp": ["other"], "tier": "gold",
            "realm": {"roles": ["staff", "admin"], "of.us": true},
            "exp": 1_900_000_000.5, "https://a.example/x": "url", "bad": "a\nb", "mixed": [1, {"a": 2}], "none": null,
        }) else {
            unreachable!()
        };
        claims
    }

    #[test]
    fn claims_say_who_it_is() {
        let reading = Reading {
            name: "sub".into(),
            groups: Some("realm.roles".into()),
            scopes: None,
            plan: Some("tier".into()),
            headers: vec![],
        };
        let identity = reading.identity(claims(), "jwt");
        assert_eq!((&*identity.name, identity.by), ("ada", "jwt"));
        assert_eq!(identity.until, Some(1_900_000_000));
        assert_eq!(identity.groups, ["staff", "admin"]);
        assert_eq!(identity.scopes, ["read", "write"]);
        assert_eq!(identity.plan.as_deref(), Some("gold"));
        let other = Reading { name: "uid".into(), scopes: Some("scp".into()), ..reading };
        let identity = other.identity(claims(), "jwt");
        assert_eq!((&*identity.name, &identity.scopes[..]), ("7", &["other".to_owned()][..]));
    }

    #[test]
    fn fields_hold_claims() {
        let claims_of = [
            ("x-user", "sub", Some("ada")),
            ("x-id", "uid", Some("7")),
            ("x-roles", "realm.roles", Some("staff,admin")),
            ("x-of-us", "realm.of.us", Some("true")),
            ("x-url", "https://a.example/x", Some("url")),
            ("x-mixed", "mixed", Some(r#"[1,{"a":2}]"#)),
            ("x-bad", "bad", None),
            ("x-none", "none", None),
            ("x-missing", "sub.x", None),
        ];
        let reading = Reading {
            name: "sub".into(),
            groups: None,
            scopes: None,
            plan: None,
            headers: claims_of
                .iter()
                .map(|(name, claim, _)| (HeaderName::known(name), (*claim).to_owned()))
                .collect(),
        };
        let mut fields = Fields::new();
        let headers = reading.headers(&claims());
        reading.tell(&headers, &mut fields);
        for (name, _, expected) in claims_of {
            let found: Vec<_> = fields.all(name).collect();
            assert_eq!(found, expected.iter().map(|value| value.as_bytes()).collect::<Vec<_>>());
        }
    }
}
