//! What a request of GraphQL asks for, as whoever has read its documents leaves it for expressions.

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphQlAsked {
    /// What stands at the root of its operations: `query.orders`, `mutation.pay`. Each once, by the name of
    /// the field, whatever the client calls it.
    pub operations: Vec<String>,
    /// Of all of them together.
    pub complexity: u64,
}
