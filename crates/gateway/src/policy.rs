//! Every kind of policy of this level, one file each.

use crate::kind::{Entry, entry};

mod access;
mod anonymous;
mod api_key;
mod basic_auth;
mod cookies;
mod cors;
mod csrf;
mod identity_headers;
mod lifecycle;
mod mock;
mod payload;
mod security_headers;
mod transform;
mod validate;

/// In alphabetical order; in which order they run is said by their stage.
pub const POLICIES: &[Entry] = &[
    entry::<access::Access>(),
    entry::<anonymous::Anonymous>(),
    entry::<api_key::ApiKey>(),
    entry::<basic_auth::BasicAuth>(),
    entry::<cookies::Cookies>(),
    entry::<cors::Cors>(),
    entry::<csrf::Csrf>(),
    entry::<identity_headers::IdentityHeaders>(),
    entry::<lifecycle::Lifecycle>(),
    entry::<mock::Mock>(),
    entry::<payload::Payload>(),
    entry::<security_headers::SecurityHeaders>(),
    entry::<transform::Transform>(),
    entry::<validate::Validate>(),
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
