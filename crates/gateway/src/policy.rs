//! Every kind of policy of this level, one file each.

use crate::kind::{Entry, entry};

mod security_headers;

/// In alphabetical order; in which order they run is said by their stage.
pub const POLICIES: &[Entry] = &[entry::<security_headers::SecurityHeaders>()];

/// The kind of this name.
pub fn named(name: &str) -> Option<&'static Entry> {
    POLICIES.iter().find(|entry| entry.name == name)
}
