//! Which patterns a path fits, the most specific first: whole paths by hash, templates and prefixes
//! by a tree of segments, regular expressions in sets.

use memchr::memchr;

mod names;
mod pattern;
mod rank;
mod regexes;
mod table;
mod tree;

pub(super) use names::{Names, Ranges};
pub use pattern::{PathMatch, PathMatchError, Segment};
pub(super) use table::PathTable;

/// One pattern of one rule in one table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) rule: u32,
    pub(super) pattern: u32,
}

/// A run of the entries of a table.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    from: u32,
    to: u32,
}

/// One pattern as it goes into a table.
#[derive(Clone, Copy)]
pub(super) struct Offer<'a> {
    pub(super) pattern: &'a PathMatch,
    pub(super) entry: Entry,
    /// Where the pattern stands among those of its rule.
    pub(super) place: u32,
    pub(super) conditions: usize,
}

/// The end of the segment whose slash is at `slash`; `None` behind the last one.
fn segment_end(path: &[u8], slash: usize) -> Option<usize> {
    if slash >= path.len() {
        return None;
    }
    let rest = &path[slash + 1..];
    Some(slash + 1 + memchr(b'/', rest).unwrap_or(rest.len()))
}
