//! What expressions may ask for: every name, its type and what it stands for.

use super::types::Type;

/// A fact of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    Method,
    Path,
    Host,
    Scheme,
    Size,
    Client,
    Identity,
    Groups,
    Scopes,
    Plan,
    By,
    Claims,
    Operations,
    Complexity,
    Now,
}

/// What is looked up in a request by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    Headers,
    Query,
    Cookies,
    Captures,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Fact(Fact, Type),
    Map(Map),
}

/// A name and what it means.
#[derive(Debug)]
pub struct Named {
    /// Such as `request.method`.
    pub name: &'static str,
    pub about: &'static str,
    pub(super) meaning: Meaning,
}

const fn fact(name: &'static str, fact: Fact, kind: Type, about: &'static str) -> Named {
    Named { name, about, meaning: Meaning::Fact(fact, kind) }
}

const fn map(name: &'static str, map: Map, about: &'static str) -> Named {
    Named { name, about, meaning: Meaning::Map(map) }
}

/// All of them.
pub const NAMES: [Named; 19] = [
    fact("request.method", Fact::Method, Type::Text, "the method, such as `GET`"),
    fact("request.path", Fact::Path, Type::Text, "the canonical path"),
    fact("request.host", Fact::Host, Type::Text, "the host, without the port"),
    fact("request.scheme", Fact::Scheme, Type::Text, "`http` or `https`"),
    fact("request.size", Fact::Size, Type::Int, "bytes of the body, where it is known before"),
    map("request.headers", Map::Headers, "header fields; several lines are joined by commas"),
    map("request.query", Map::Query, "the first of each parameter, decoded"),
    map("request.cookies", Map::Cookies, "cookies"),
    fact("client.address", Fact::Client, Type::Address, "the client behind trusted proxies"),
    fact("identity.name", Fact::Identity, Type::Text, "the consumer, or whom a token speaks of"),
    fact("identity.groups", Fact::Groups, Type::List(&Type::Text), "its groups"),
    fact("identity.scopes", Fact::Scopes, Type::List(&Type::Text), "what the credential allows"),
    fact("identity.plan", Fact::Plan, Type::Text, "its plan"),
    fact("identity.by", Fact::By, Type::Text, "the kind of policy that found out, such as `jwt`"),
    fact("identity.claims", Fact::Claims, Type::Any, "everything that a token says"),
    map("path", Map::Captures, "the variables of the route's path: `path.id` of `/users/{id}`"),
    fact(
        "graphql.operations",
        Fact::Operations,
        Type::List(&Type::Text),
        "what is asked of GraphQL at the root, such as `mutation.pay`; behind the policy `graphql`",
    ),
    fact(
        "graphql.complexity",
        Fact::Complexity,
        Type::Int,
        "its fields, each as often as lists have items; behind the policy `graphql`",
    ),
    fact("now", Fact::Now, Type::Time, "the time"),
];

pub(super) fn meaning(name: &str) -> Option<Meaning> {
    NAMES.iter().find(|named| named.name == name).map(|named| named.meaning)
}

/// What stands before the dot of names that have one.
pub(super) fn is_root(name: &str) -> bool {
    members(name).next().is_some()
}

/// What stands behind the dot of this one.
pub(super) fn members(root: &str) -> impl Iterator<Item = &'static str> {
    NAMES.iter().filter_map(move |named| named.name.strip_prefix(root)?.strip_prefix('.'))
}

/// What an expression may begin with.
pub(super) fn roots() -> impl Iterator<Item = &'static str> {
    ["request", "client", "identity", "path", "graphql", "now"].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_begins_with_a_root_and_every_root_is_one() {
        for named in &NAMES {
            let root = named.name.split('.').next().unwrap();
            assert!(roots().any(|known| known == root), "{}", named.name);
        }
        assert!(roots().all(|root| meaning(root).is_some() || is_root(root)));
    }
}
