//! The names of a pattern, and where in a path that it fits stands what they are for.

use regex::bytes::Regex;
use smallvec::SmallVec;

use super::{PathMatch, Segment, segment_end};
use crate::route::Fix;
use crate::route::regex::whole_regex;

/// Where the names of a pattern lie in a path: from, to.
pub(in crate::route) type Ranges = SmallVec<[(u32, u32); 4]>;

/// The names of a pattern, and how to find what they stand for.
#[derive(Debug)]
pub(in crate::route) struct Names {
    pub(in crate::route) list: Box<[Box<str>]>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// No names. Even an expression is not kept here: thousands of them weigh too much.
    Nowhere,
    Regex(Regex),
    /// Bit `n`: the segment `n` is a name.
    Segments(u64),
}

impl Names {
    pub(in crate::route) fn of(pattern: &PathMatch) -> Result<Self, Fix> {
        let (names, place): (Vec<Box<str>>, _) = match pattern {
            PathMatch::Exact(_) => (Vec::new(), Place::Nowhere),
            PathMatch::Prefix(segments) | PathMatch::Template(segments) => {
                if segments.len() > u64::BITS as usize {
                    return Err(Fix::Segments(segments.len()));
                }
                let names = segments.iter().filter_map(Segment::name).map(Into::into);
                let bits = segments
                    .iter()
                    .rev()
                    .fold(0, |bits, segment| bits << 1 | u64::from(segment.name().is_some()));
                (names.collect(), Place::Segments(bits))
            }
            PathMatch::Regex(text) => {
                let regex = whole_regex(text)?;
                let names = regex.capture_names().flatten().map(Into::into).collect();
                (names, Place::Regex(regex))
            }
        };
        let place = if names.is_empty() { Place::Nowhere } else { place };
        Ok(Names { list: names.into(), place })
    }

    /// Where the names lie in a path that the pattern fits.
    pub(in crate::route) fn ranges(&self, path: &[u8]) -> Ranges {
        match &self.place {
            Place::Nowhere => Ranges::new(),
            Place::Regex(regex) => {
                let found = regex.captures(path);
                let place = |name: &str| {
                    // A group that took no part is empty.
                    let group = found.as_ref().and_then(|found| found.name(name));
                    group.map_or((0, 0), |m| (m.start() as u32, m.end() as u32))
                };
                self.list.iter().map(|name| place(name)).collect()
            }
            Place::Segments(bits) => {
                let (mut bits, mut slash, mut ranges) = (*bits, 0, Ranges::new());
                while bits != 0
                    && let Some(end) = segment_end(path, slash)
                {
                    if bits & 1 == 1 {
                        ranges.push((slash as u32 + 1, end as u32));
                    }
                    (bits, slash) = (bits >> 1, end);
                }
                ranges
            }
        }
    }
}
