//! Every kind of policy of this level, one file each.

use crate::kind::{Entry, entry};

mod access;
mod anonymous;
mod api_key;
mod basic_auth;
pub mod graphql;
pub mod grpc_json;
mod grpc_web;
mod identity_headers;
mod security_headers;

/// In alphabetical order; in which order they run is said by their stage.
pub const POLICIES: &[Entry] = &[
    entry::<access::Access>(),
    entry::<anonymous::Anonymous>(),
    entry::<api_key::ApiKey>(),
    entry::<basic_auth::BasicAuth>(),
    entry::<graphql::GraphQl>(),
    entry::<grpc_json::GrpcJson>(),
    entry::<grpc_web::GrpcWeb>(),
    entry::<identity_headers::IdentityHeaders>(),
    entry::<security_headers::SecurityHeaders>(),
];

/// The kind of this name.
pub fn named(name: &str) -> Option<&'static Entry> {
    POLICIES.iter().find(|entry| entry.name == name)
}

/// The pages of the manual, by the name of the kind: the first lines of its file.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// What the manual says of a kind of policy, in Markdown.
pub fn page(name: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| *known == name).map(|(_, page)| *page)
}
