//! # identity-headers
//!
//! **What it does.** Tells the endpoint who asks, in header fields: by default the consumer in
//! `X-Consumer-Name`, its groups in `X-Consumer-Groups` (with commas between them) and its plan in
//! `X-Consumer-Plan`. What is not known has no field.
//!
//! Nobody outside can send these fields: whatever names policies of the file write are taken off every
//! request, on all routes and before anything else sees it, and a name that some server takes for one
//! of them (`X_Consumer_Name`) is refused. So an endpoint may believe them, as long as only Transom
//! reaches it.
//!
//! **When it runs.** Stage `shape`: when it is known who asks, and that they may.
//!
//! **Example.**
//!
//! ```yaml
//! consumers:
//!   ann: { groups: [staff], keys: "${KEY_OF_ANN}" }
//! policies:
//!   keys: { api-key: {} }
//!   who: { identity-headers: { fields: { X-User: name, X-Roles: groups } } }
//! ```
//!
//! **What the client sees.** Nothing; 400 `bad-request` where it imitates such a field.

use std::sync::Arc;

use transom_proxy::exchange::{Exchange, Identity};
use transom_proxy::fault::Fault;
use transom_proxy::fields::{Fields, Name};
use transom_proxy::message::Request;
use transom_proxy::policy::{Ahead, Policy};
use transom_proxy::stage::Stage;
use transom_settings::{HeaderName, Map, settings};

use crate::identify::USUAL_HEADERS;
use crate::kind::Kind;
use crate::making::Making;

settings! {
    /// Tells the endpoint who asks.
    pub struct IdentityHeaders {
        /// Header fields, and what each says.
        pub fields: Map<HeaderName, Fact> = usual(),
    }

    /// What a field may say of who asks.
    pub enum Fact {
        /// The name of the consumer, or of whom a token speaks.
        Name = "name",
        /// The groups, with commas between them.
        Groups = "groups",
        /// What the credential allows, with spaces between.
        Scopes = "scopes",
        /// The plan.
        Plan = "plan",
        /// The kind of policy that has found out, such as `api-key`.
        By = "by",
    }
}

/// The fields that are usual.
fn usual() -> Map<HeaderName, Fact> {
    let mut fields = Map::new();
    for (name, fact) in USUAL_HEADERS.into_iter().zip([Fact::Name, Fact::Groups, Fact::Plan]) {
        fields.push(HeaderName::known(name), fact);
    }
    fields
}

impl Kind for IdentityHeaders {
    const NAME: &'static str = "identity-headers";
    const SUMMARY: &'static str = "Tells the endpoint who asks.";
    const STAGE: Stage = Stage::Shape;

    fn vouched(&self) -> Vec<&HeaderName> {
        self.fields.names().map(|name| &name.value).collect()
    }

    fn build(&self, _: &mut Making<'_>) -> Option<Arc<dyn Policy>> {
        let fields = self.fields.iter().map(|(name, fact)| (name.value.clone(), *fact));
        Some(Arc::new(Telling(fields.collect())))
    }
}

struct Telling(Vec<(HeaderName, Fact)>);

impl Telling {
    fn apply(&self, who: Option<&Identity>, fields: &mut Fields) {
        for (name, fact) in &self.0 {
            let name = Name::of(name.as_bytes());
            match who.and_then(|who| value(who, *fact)) {
                Some(value) => fields.set(name, value.as_bytes()),
                None => fields.remove(name),
            }
        }
    }
}

fn value(who: &Identity, fact: Fact) -> Option<String> {
    let joined = |values: &[String], between: char| {
        // one that looks like two, as a token may hold it, would be taken for two
        let whole = |value: &&String| !value.contains(between) && !value.contains(char::is_control);
        let kept: Vec<&str> = values.iter().filter(whole).map(String::as_str).collect();
        kept.join(&between.to_string())
    };
    // what a token calls somebody may be anything, and no name or plan has such letters
    let plain = |text: &str| if text.contains(char::is_control) { "" } else { text }.to_owned();
    let value = match fact {
        Fact::Name => plain(&who.name),
        Fact::Groups => joined(&who.groups, ','),
        Fact::Scopes => joined(&who.scopes, ' '),
        Fact::Plan => plain(who.plan.as_deref().unwrap_or_default()),
        Fact::By => who.by.to_owned(),
    };
    (!value.is_empty()).then_some(value)
}

impl Policy for Telling {
    fn kind(&self) -> &'static str {
        IdentityHeaders::NAME
    }

    fn stage(&self) -> Stage {
        IdentityHeaders::STAGE
    }

    fn describe(&self) -> String {
        let fields: Vec<_> = self.0.iter().map(|(name, fact)| format!("{name}: {fact}")).collect();
        format!("tells the endpoint {}", fields.join(", "))
    }

    fn ahead(&self, exchange: &mut Exchange, request: &mut Request) -> Result<Ahead, Fault> {
        self.apply(exchange.identity.as_deref(), &mut request.fields);
        Ok(Ahead::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_15_what_is_not_known_has_no_field_and_no_group_becomes_two() {
        let who = Identity {
            name: "ann".into(),
            groups: vec!["staff".into(), "night,admin".into(), "a\nb".into()],
            by: "jwt",
            ..Identity::default()
        };
        let all = [
            ("x-consumer-name", Fact::Name),
            ("x-consumer-groups", Fact::Groups),
            ("x-consumer-plan", Fact::Plan),
            ("x-scopes", Fact::Scopes),
            ("x-by", Fact::By),
        ];
        let telling = Telling(all.map(|(name, fact)| (HeaderName::known(name), fact)).to_vec());
        let mut fields = Fields::new();
        fields.append("X-Consumer-Plan", b"vip");
        fields.append("X-Consumer-Name", b"bob");
        fields.append("X-Consumer-Name", b"carl");
        telling.apply(Some(&who), &mut fields);
        let mut written = Vec::new();
        fields.write(&mut written);
        let expected = "x-consumer-name: ann\r\nx-consumer-groups: staff\r\nx-by: jwt\r\n";
        assert_eq!(String::from_utf8(written).unwrap(), expected);
        telling.apply(None, &mut fields);
        assert!(fields.is_empty());
        let name = "ann\u{7}\nx: y".into();
        telling.apply(Some(&Identity { name, plan: Some("a\tb".into()), ..who }), &mut fields);
        assert!(!fields.has("x-consumer-name") && !fields.has("x-consumer-plan"));
    }
}
