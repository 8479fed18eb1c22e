//! Every kind of policy of this level, one file each.

use crate::kind::{Entry, entry};

mod access;
pub mod anonymous;
pub mod api_key;
mod authorize;
mod basic_auth;
mod client_certificate;
mod concurrency;
mod cookies;
mod cors;
mod credentials;
mod csrf;
mod ext_authz;
mod fault_injection;
mod forward_auth;
pub mod graphql;
pub mod grpc_json;
mod grpc_web;
mod hmac;
mod http_signature;
mod idempotency;
mod identity_headers;
mod introspection;
mod jwt;
pub mod lifecycle;
mod mock;
mod oidc;
mod opa;
mod payload;
mod quota;
mod rate_limit;
mod security_headers;
mod soap;
mod transform;
mod validate;

/// In alphabetical order; in which order they run is said by their stage.
pub const POLICIES: &[Entry] = &[
    entry::<access::Access>(),
    entry::<anonymous::Anonymous>(),
    entry::<api_key::ApiKey>(),
    entry::<authorize::Authorize>(),
    entry::<basic_auth::BasicAuth>(),
    entry::<client_certificate::ClientCertificate>(),
    entry::<concurrency::Concurrency>(),
    entry::<cookies::Cookies>(),
    entry::<cors::Cors>(),
    entry::<credentials::Credentials>(),
    entry::<csrf::Csrf>(),
    entry::<ext_authz::ExtAuthz>(),
    entry::<fault_injection::FaultInjection>(),
    entry::<forward_auth::ForwardAuth>(),
    entry::<graphql::GraphQl>(),
    entry::<grpc_json::GrpcJson>(),
    entry::<grpc_web::GrpcWeb>(),
    entry::<hmac::Hmac>(),
    entry::<http_signature::HttpSignature>(),
    entry::<idempotency::Idempotency>(),
    entry::<identity_headers::IdentityHeaders>(),
    entry::<introspection::Introspection>(),
    entry::<jwt::Jwt>(),
    entry::<lifecycle::Lifecycle>(),
    entry::<mock::Mock>(),
    entry::<oidc::Oidc>(),
    entry::<opa::Opa>(),
    entry::<payload::Payload>(),
    entry::<quota::Quotas>(),
    entry::<rate_limit::RateLimit>(),
    entry::<security_headers::SecurityHeaders>(),
    entry::<soap::Soap>(),
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
