//! Policies: rules wrapped around an action.

use transom_settings::{
    Choice, Context, Definitions, FromText, Name, Node, Setting, Spanned, Value,
    json::{Value as Json, json},
    settings,
};

use super::{Addresses, HeaderChanges};

settings! {
    /// A rule wrapped around an action.
    pub choice Policy {
        /// Lets clients pass or not, by their address.
        "address" => Address(Spanned<Addresses>),
        /// Changes header fields.
        "headers" => Headers(HeadersPolicy),
    }

    /// Changes header fields.
    pub struct HeadersPolicy {
        /// Of the request that is sent on.
        pub request: HeaderChanges = HeaderChanges::default(),
        /// Of the response.
        pub response: HeaderChanges = HeaderChanges::default(),
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
