//! The one form of a path, a host and a request-target.
//!
//! Every request names what it wants in bytes that can be spelled in many ways: `/a/../b`, `/%62`,
//! `//b`. Routes, policies, the cache key and the endpoint must not each read them their own way, so
//! they are brought into one canonical form here, once, before anything looks at them, and that form
//! is also what is forwarded. A rewrite produces a new path and passes it through [`path`] again.
//!
//! What cannot be read in one way only is refused with an error, never repaired. Nothing here
//! decodes twice, and nothing allocates for a target that is already canonical.
//!
//! Not here: reading the request line (the codec does it), and limits on lengths except that of a
//! host, which a grammar cannot do without.

mod host;
mod path;
mod target;

pub use host::{Host, HostError, host};
pub(crate) use path::escape_at;
pub use path::{Canonical, EncodedSlashes, Parameters, PathError, PathRules, path};
pub use target::{Scheme, Target, TargetError, split, target};

#[cfg(test)]
mod tests;
