//! Regular expressions over whole paths: a few one by one, many in sets.

use regex::bytes::{Regex, RegexSet};

use super::Entry;
use crate::route::Fix;
use crate::route::regex::{whole_regex, whole_regexes};

/// Up to this many are tried one by one.
const FEW_REGEXES: usize = 4;
/// Larger sets thrash the cache of their lazy automaton.
const SET_SIZE: usize = 64;

/// Expressions in the order they are tried.
#[derive(Debug)]
pub(super) enum Regexes {
    Few(Vec<(Regex, Entry)>),
    /// One pass over the path tries a whole set.
    Many(Vec<(RegexSet, Vec<Entry>)>),
}

impl Regexes {
    pub(super) fn new(list: &[(&str, Entry)]) -> Result<Self, Fix> {
        if list.len() <= FEW_REGEXES {
            let compiled = list.iter().map(|(text, entry)| Ok((whole_regex(text)?, *entry)));
            return Ok(Regexes::Few(compiled.collect::<Result<_, _>>()?));
        }
        let mut sets = Vec::new();
        for chunk in list.chunks(SET_SIZE) {
            push_sets(chunk, &mut sets)?;
        }
        Ok(Regexes::Many(sets))
    }

    pub(super) fn find(
        &self,
        path: &[u8],
        accept: &mut impl FnMut(Entry) -> bool,
    ) -> Option<Entry> {
        match self {
            Regexes::Few(list) => list
                .iter()
                .find(|(regex, entry)| regex.is_match(path) && accept(*entry))
                .map(|(_, entry)| *entry),
            Regexes::Many(sets) => sets.iter().find_map(|(set, entries)| {
                // Asking whether any matches costs no allocation; asking which does.
                if !set.is_match(path) {
                    return None;
                }
                set.matches(path).into_iter().map(|i| entries[i]).find(|entry| accept(*entry))
            }),
        }
    }
}

/// A set that grows over its limit is halved.
fn push_sets(list: &[(&str, Entry)], sets: &mut Vec<(RegexSet, Vec<Entry>)>) -> Result<(), Fix> {
    match whole_regexes(list.iter().map(|(text, _)| *text)) {
        Ok(set) => sets.push((set, list.iter().map(|(_, entry)| *entry).collect())),
        Err(_) if list.len() > 1 => {
            let (front, back) = list.split_at(list.len() / 2);
            push_sets(front, sets)?;
            push_sets(back, sets)?;
        }
        Err(fix) => return Err(fix),
    }
    Ok(())
}
