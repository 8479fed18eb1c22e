//! Policies: rules wrapped around an action.

use transom_gateway::Rule;
use transom_gateway::policy::{self, POLICIES};
use transom_settings::{
    Choice, Context, Definitions, FromText, Name, Node, Object, Setting, Spanned, Value,
    json::{Value as Json, json},
    only_key, settings,
};

use super::{AddressPolicy, HeaderChanges};

settings! {
    /// Changes header fields.
    pub struct HeadersPolicy {
        /// Of the request that is sent on.
        pub request: HeaderChanges = HeaderChanges::default(),
        /// Of the response.
        pub response: HeaderChanges = HeaderChanges::default(),
    }
}

/// A rule wrapped around an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    Address(Spanned<AddressPolicy>),
    Headers(HeadersPolicy),
    /// One that knows who asks, what they may do, or in what shape they want it.
    Rule(Spanned<Rule>),
}

impl Policy {
    /// Whether this is what a kind of policy is called, and not one policy.
    pub fn is_kind(name: &str) -> bool {
        Self::keys().contains(&name)
    }
}

impl Choice for Policy {
    fn keys() -> Vec<&'static str> {
        let mut keys = vec!["address", "headers"];
        keys.extend(POLICIES.iter().map(|entry| entry.name));
        keys
    }

    fn decode_kind(key: &str, node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match key {
            "address" => Setting::decode(node, at).map(Policy::Address),
            "headers" => Setting::decode(node, at).map(Policy::Headers),
            _ => {
                let rule = policy::named(key)?.decode(node, at)?;
                Some(Policy::Rule(Spanned::new(rule, node.span)))
            }
        }
    }

    fn kinds(definitions: &mut Definitions) -> Vec<(&'static str, String, Json)> {
        let mut kinds = vec![
            (
                "address",
                "Lets clients pass or not, by their address.".to_owned(),
                AddressPolicy::schema(definitions),
            ),
            ("headers", "Changes header fields.".to_owned(), HeadersPolicy::schema(definitions)),
        ];
        kinds.extend(
            POLICIES
                .iter()
                .map(|entry| (entry.name, entry.summary.to_owned(), entry.schema(definitions))),
        );
        kinds
    }

    fn kind_to_json(&self) -> (&'static str, Json) {
        match self {
            Policy::Address(rule) => ("address", rule.to_json()),
            Policy::Headers(headers) => ("headers", headers.to_json()),
            Policy::Rule(rule) => (rule.kind(), rule.value.to_json()),
        }
    }
}

impl Setting for Policy {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        only_key(node, at, "policy")
    }

    fn schema(definitions: &mut Definitions) -> Json {
        definitions.define("Policy", |definitions| {
            let mut object = Object::new("A rule wrapped around an action.");
            object.flat::<Policy>(definitions);
            object.finish(None)
        })
    }

    fn to_json(&self) -> Json {
        let (key, value) = self.kind_to_json();
        json!({ key: value })
    }
}

/// A policy of a route: the name of one, or one that stands there itself.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyUse {
    Inline(Policy),
    Named(Spanned<Name>),
}

impl Setting for PolicyUse {
    fn decode(node: &Node, at: &mut Context<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Policy::decode(node, at).map(PolicyUse::Inline),
            Value::Scalar(_) => Spanned::<Name>::decode(node, at).map(PolicyUse::Named),
            _ => at.mismatch("the name of a policy or a map with its kind", node),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [<Name as FromText>::schema(), Policy::schema(definitions)] })
    }

    fn to_json(&self) -> Json {
        match self {
            PolicyUse::Inline(policy) => policy.to_json(),
            PolicyUse::Named(name) => Setting::to_json(name),
        }
    }
}

impl Policy {
    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        self.kind_to_json().0
    }
}
