//! The order in which patterns that fit the same path are tried.

use std::cmp::Reverse;

use super::{Offer, PathMatch, Segment};

impl Offer<'_> {
    /// The whole order among the patterns of a table.
    pub(in crate::route) fn rank(&self) -> (PathRank, Reverse<usize>, u32, u32) {
        let path = self.pattern.rank(self.entry.rule, self.place);
        (path, Reverse(self.conditions), self.entry.rule, self.place)
    }
}

impl PathMatch {
    /// Less is tried first. `rule` and `place` say where the pattern stands in the file.
    fn rank(&self, rule: u32, place: u32) -> PathRank {
        let shape = |segments: &[Segment]| Shape {
            literals: Reverse(segments.iter().filter(|s| s.name().is_none()).count()),
            names: segments.iter().map(|s| s.name().is_some()).collect(),
        };
        match self {
            PathMatch::Exact(_) => PathRank::Exact,
            PathMatch::Prefix(segments) if segments.is_empty() => PathRank::Any,
            PathMatch::Prefix(segments) => {
                PathRank::Prefix(Reverse(segments.len()), shape(segments))
            }
            PathMatch::Regex(_) => PathRank::Regex { rule, place },
            PathMatch::Template(segments) => PathRank::Template(shape(segments)),
        }
    }
}

/// Less is tried first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::route) enum PathRank {
    Exact,
    Template(Shape),
    Prefix(Reverse<usize>, Shape),
    Regex { rule: u32, place: u32 },
    Any,
}

/// More literals first; among equals, the one whose first difference is a literal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::route) struct Shape {
    literals: Reverse<usize>,
    names: Vec<bool>,
}
